"""An index of CRAN's size in the form for Windows, of generated packages: index.py TO

The output is the same in every run. The fields have the various styles of maintainers. Closures of dependencies are as
large as those of CRAN: on average about 30 packages, at most a few hundred.
"""

import gzip
import pathlib
import random
import sys

PACKAGES = 22362
# Number of packages that have many reverse dependencies.
POPULAR = 300
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
    """A dependency, with or without a version, in one of the usual styles."""
    if chance.random() < 0.6:
        return name
    operator, bound = chance.choice([">=", ">=", ">=", ">", "==", "<", "<="]), version(chance)
    return name + chance.choice([" ({} {})", " ({} {})", " ({} {})", "({} {})", " ({}{})", "  ({}  {})"]).format(
        operator, bound
    )


def listing(chance, items):
    """A field: in one line or folded, with or without a trailing comma."""
    comma = chance.choice([", ", ", ", ", ", ",", ",  ", " , "])
    text, width = "", 0
    for index, item in enumerate(items):
        if index:
            text += comma
            if width > 60:
                text, width = text.rstrip() + "\n" + " " * 8, 0
        text += item
        width += len(item)
    return text + ("," if chance.random() < 0.01 else "")


def main(target):
    chance = random.Random(22362)
    packages = names(chance)
    # As on CRAN, packages depend on older ones, most of them popular, which have few dependencies themselves. They may
    # suggest any package.
    by_age = chance.sample(packages, PACKAGES)
    popular = by_age[:POPULAR]
    ages = {name: age for age, name in enumerate(by_age)}
    records = []

    def requirements(chosen):
        chosen = chosen + chance.sample(BASE, chance.randint(0, 2))
        return [requirement(chance, name) for name in dict.fromkeys(chosen)]

    def dependencies(name, most):
        age = ages[name]
        if age < POPULAR:
            return requirements([chance.choice(by_age[:age])] if age and chance.random() < 0.5 else [])
        others = [by_age[chance.randrange(age)] for _ in range(chance.choice([0, 1, 1, 2]))]
        return requirements(others + chance.sample(popular, chance.randint(1, most)))

    def suggestions(most):
        others = chance.sample(packages, chance.randint(0, 2))
        return requirements(others + chance.sample(popular, chance.randint(1, most)))

    for name in packages:
        fields = [("Package", name), ("Version", version(chance))]
        if chance.random() < 0.74:
            r = chance.choice(["R (>= 3.5.0)", "R (>= 2.10)", "R (>= 4.1)", "R(>= 3.0.2)", "R (>= 3.6)", "R"])
            needed = dependencies(name, 2) if chance.random() < 0.3 else []
            fields.append(("Depends", listing(chance, [r] + needed)))
        if chance.random() < 0.81 and (needed := dependencies(name, 8)):
            fields.append(("Imports", listing(chance, needed)))
        if chance.random() < 0.14 and ages[name] >= 8:
            fields.append(("LinkingTo", listing(chance, chance.sample(popular[:8], 2))))
        if chance.random() < 0.67:
            fields.append(("Suggests", listing(chance, suggestions(6))))
        if chance.random() < 0.01:
            fields.append(("Enhances", listing(chance, suggestions(2))))
        fields.append(("License", chance.choice(LICENSES)))
        if chance.random() < 0.2:
            fields.append(("Archs", chance.choice(["x64", f"{name}.so.dSYM"])))
        records.append("".join(f"{tag}: {value}\n" for tag, value in fields))
    folder = pathlib.Path(target) / "cran-index-full"
    folder.mkdir(parents=True, exist_ok=True)
    compressed = gzip.compress("\n".join(records).encode(), mtime=0)
    (folder / "PACKAGES.gz").write_bytes(compressed)


main(sys.argv[1])
