"""A complete index of CRAN's size in its Windows form, of made-up packages: index.py TO

The same at every run. The fields are written in all the ways that maintainers write them.
"""

import gzip
import pathlib
import random
import sys

PACKAGES = 22362
BEGINNINGS = "ab bio cat dat est fit geo hd im jag krig lm mix net opt pan qu rob sim tidy uni vec wav xgb yar zoo".split()
MIDDLES = "a ar be co di el fo gi hy in ka lo mu no or pe ra so tu vi".split()
ENDINGS = "R s r2 Data .utils Test Tools Plot ML Net 3D Series Reg Bayes .core x fit Maps".split()
BASE = "methods stats utils graphics grDevices tools parallel grid splines stats4".split()
LICENSES = [
    "GPL-3", "GPL-2", "MIT + file LICENSE", "GPL (>= 2)", "GPL-2 | GPL-3", "Apache License (>= 2)", "LGPL-3",
    "BSD_3_clause + file LICENSE", "CC0", "GPL (>= 2.15.1) | file LICENCE", "AGPL (>= 3)", "MPL-2.0",
]  # fmt: skip


def names(chance):
    found = set()
    while len(found) < PACKAGES:
        word = chance.choice(BEGINNINGS) + "".join(chance.choices(MIDDLES, k=chance.randint(1, 2)))
        word += chance.choice(ENDINGS + [""] * 8)
        found.add(chance.choice([word, word.capitalize(), word.upper() if len(word) < 5 else word]))
    return sorted(found)


def version(chance):
    parts = [str(chance.choice([0, 0, 1, 1, 2, 3, 4, 20, 2024])), str(chance.randint(0, 30))]
    parts += [str(chance.choice([0, 1, 2, 5, 10, 99, 9000]))] * chance.choice([0, 1, 1, 1])
    text = ".".join(parts)
    return text + (f"-{chance.randint(0, 12)}" if chance.random() < 0.12 else "")


def requirement(chance, name):
    """A package with a version, in one of the ways to write it."""
    if chance.random() < 0.6:
        return name
    operator, wanted = chance.choice([">=", ">=", ">=", ">", "==", "<", "<="]), version(chance)
    return name + chance.choice([" ({} {})", " ({} {})", " ({} {})", "({} {})", " ({}{})", "  ({}  {})"]).format(
        operator, wanted
    )


def listing(chance, items):
    """A field: in one line or folded, with or without a comma that ends it."""
    comma = chance.choice([", ", ", ", ", ", ",", ",  ", " , "])
    text, width = "", 0
    for place, item in enumerate(items):
        if place:
            text += comma
            if width > 60:
                text, width = text.rstrip() + "\n" + " " * 8, 0
        text += item
        width += len(item)
    return text + ("," if chance.random() < 0.01 else "")


def main(target):
    chance = random.Random(22362)
    every = names(chance)
    # A few are needed by many.
    popular = chance.sample(every, 300)
    records = []

    def needs(most):
        of = chance.sample(every, chance.randint(0, 2)) + chance.sample(popular, chance.randint(1, most))
        of += chance.sample(BASE, chance.randint(0, 2))
        return [requirement(chance, name) for name in dict.fromkeys(of)]

    for name in every:
        fields = [("Package", name), ("Version", version(chance))]
        if chance.random() < 0.74:
            r = chance.choice(["R (>= 3.5.0)", "R (>= 2.10)", "R (>= 4.1)", "R(>= 3.0.2)", "R (>=3.6)", "R"])
            fields.append(("Depends", listing(chance, [r] + (needs(2) if chance.random() < 0.3 else []))))
        if chance.random() < 0.81:
            fields.append(("Imports", listing(chance, needs(8))))
        if chance.random() < 0.14:
            fields.append(("LinkingTo", listing(chance, chance.sample(popular[:8], 2))))
        if chance.random() < 0.67:
            fields.append(("Suggests", listing(chance, needs(6))))
        if chance.random() < 0.01:
            fields.append(("Enhances", listing(chance, needs(2))))
        fields.append(("License", chance.choice(LICENSES)))
        if chance.random() < 0.2:
            fields.append(("Archs", chance.choice(["x64", f"{name}.so.dSYM"])))
        records.append("".join(f"{tag}: {value}\n" for tag, value in fields))
    folder = pathlib.Path(target) / "cran-index-full"
    folder.mkdir(parents=True, exist_ok=True)
    packed = gzip.compress("\n".join(records).encode(), mtime=0)
    (folder / "PACKAGES.gz").write_bytes(packed)


main(sys.argv[1])
