"""Advisories about packages of R and Python in the forms of OSV: advisories.py TO

Those about R packages follow published advisories, with texts written for these tests and some of the versions. Those
about Python packages are generated, except one whose versions are easily sorted wrongly.
"""

import gzip
import io
import json
import pathlib
import random
import sys
import tarfile

# Identifier, package, summary, first vulnerable version, first fixed version (or None), all vulnerable versions.
CRAN = [
    ("RSEC-2023-0", "readxl", "Old libxls reads out of bounds", "0", "1.2.0", "0.1.0 0.1.1 1.0.0 1.1.0"),
    ("RSEC-2023-1", "readxl", "libxls: integer overflow", "0", "1.3.0", "0.1.0 0.1.1 1.0.0 1.1.0 1.2.0"),
    ("RSEC-2023-2", "readxl", "libxls: memory is freed twice", "1.4.0", "1.4.1", "1.4.0"),
    ("RSEC-2023-3", "jsonlite", "yajl: reads beyond a buffer", "0", "1.8.5", "1.8.0 1.8.1 1.8.2 1.8.3 1.8.4"),
    ("RSEC-2023-4", "igraph", "Null pointer for crafted graphs", "0", "1.2.2.2", "1.0.0 1.0.1 1.1.1 1.1.2 1.2.1 1.2.2 1.2.2.1"),
    ("RSEC-2023-5", "haven", "ReadStat: crafted files overflow a buffer", "0", "2.0.0", "1.0.0 1.1.0 1.1.1 1.1.2"),
    ("RSEC-2023-6", "commonmark", "cmark-gfm: quadratic time in tables", "0", "1.8.0", "1.0 1.1 1.2 1.4 1.5 1.6 1.7"),
    ("RSEC-2023-7", "commonmark", "cmark-gfm: quadratic time in links", "0", "1.9.0", "1.0 1.1 1.2 1.4 1.5 1.6 1.7 1.8.0 1.8.1"),
    ("RSEC-2023-8", "commonmark", "cmark-gfm: integer overflow in tables", "0", "1.8.0", "1.0 1.1 1.2 1.4 1.5 1.6 1.7"),
    ("RSEC-2023-9", "gdata", "Perl's Spreadsheet::ParseExcel runs code of a file", "2.1.0", "3.0.0", "2.1.0 2.2.0 2.18.0 2.19.0"),
    ("RSEC-2025-0", "gh", "Answers hold the token of the request", "0", "1.5.0", "1.0.0 1.0.1 1.1.0 1.2.0 1.4.0 1.4.1"),
    ("RSEC-2025-1", "plotly", "Prototype pollution in plotly.js", "0", "4.10.3", "4.9.0 4.10.0 4.10.1 4.10.2"),
    ("RSEC-2026-0", "widgetframe", "Messages of other windows are taken", "0", None, "0.3.0 0.3.1"),
    ("RSEC-2026-1", "png", "On Windows an old libpng is downloaded and built", "0.1-3", "0.1-9", "0.1-3 0.1-4 0.1-5 0.1-6 0.1-7 0.1-8"),
]  # fmt: skip


def quoted(text):
    """A scalar: plain where YAML reads a string, else quoted."""
    plain = text[0].isalpha() and ": " not in text and "#" not in text
    number = text[0].isdigit() and (text.count(".") > 1 or "-" in text)
    return text if plain or number else json.dumps(text)


def record(identifier, published, summary, package, ecosystem, first, fixed, versions, more=""):
    events = f"    - introduced: {quoted(first)}\n" + (f"    - fixed: {quoted(fixed)}\n" if fixed else "")
    listed = "".join(f"  - {quoted(version)}\n" for version in versions)
    return (
        f"id: {identifier}\nsummary: {quoted(summary)}\ndetails: |\n {summary}.\n More than one line of text: with a colon.\n"
        f"affected:\n- package:\n    name: {package}\n    ecosystem: {ecosystem}\n"
        f"  ranges:\n  - type: ECOSYSTEM\n    events:\n{events}  versions:\n{listed}"
        f"references:\n- type: WEB\n  url: https://example.org/{identifier}\n{more}"
        f'modified: "{published}"\npublished: "{published}"\n'
    )


def cran(root):
    for index, (identifier, package, summary, first, fixed, versions) in enumerate(CRAN):
        published = f"{identifier.split('-')[1]}-03-{index + 1:02}T20:45:00Z"
        folder = root / "vulns" / package
        folder.mkdir(parents=True, exist_ok=True)
        text = record(identifier, published, summary, package, "CRAN", first, fixed, versions.split())
        (folder / f"{identifier}.yaml").write_text(text)


def python(target):
    chance = random.Random(2662)
    files = {}
    for number in range(2662):
        package = f"project-{chance.randint(0, 999)}"
        # All releases of three major versions in numeric order: 1.10 after 1.9.
        releases = [f"{a}.{b}.{c}" for a in range(1, 4) for b in range(chance.randint(4, 14)) for c in range(3)]
        first, last = sorted(chance.sample(range(len(releases)), 2))
        year = chance.randint(2018, 2024)
        identifier = f"PYSEC-{year}-{number}"
        more = f"aliases:\n- CVE-{year}-{10000 + number}\n"
        if chance.random() < 0.08:
            vector = f"CVSS:3.1/AV:{chance.choice('NAL')}/AC:{chance.choice('LH')}/PR:{chance.choice('NLH')}/UI:N/S:U/C:H/I:L/A:N"
            more += f"severity:\n- type: CVSS_V3\n  score: {vector}\n"
        if chance.random() < 0.01:
            more += f'withdrawn: "{year}-12-01T00:00:00Z"\n'
        published = f"{year}-0{chance.randint(1, 9)}-1{chance.randint(0, 9)}T14:15:00Z"
        files[f"vulns/{package}/{identifier}.yaml"] = record(
            identifier, published, f"Made up: number {number}", package, "PyPI", releases[first], releases[last], releases[first:last], more
        )
    jinja = [f"2.{minor}" for minor in range(11)] + ["2.9.1", "2.9.5", "2.9.6"]
    more = "aliases:\n- CVE-2019-10906\n"
    files["vulns/jinja2/PYSEC-2019-217.yaml"] = record(
        "PYSEC-2019-217", "2019-04-07T00:29:00Z", "str.format_map leaves the sandbox", "jinja2", "PyPI", "0", "2.10.1", jinja, more
    )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in sorted(files.items()):
            member = tarfile.TarInfo(f"./{name}")
            member.size, member.mtime = len(text), 1700000000
            archive.addfile(member, io.BytesIO(text.encode()))
    (target / "pypi-advisories.tar.gz").write_bytes(gzip.compress(buffer.getvalue(), mtime=0))


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1]) / "advisories"
    cran(folder / "cran")
    python(folder)
