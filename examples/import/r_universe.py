#!/usr/bin/env python3
"""Prints the list of an import of an R-universe, which has only the newest version of each package:

    python3 r_universe.py https://acme.r-universe.dev > list.ndjson

A git builder for each repository (rspm create git-builder) also follows later versions.
"""
import json
import sys
import urllib.parse
import urllib.request

sys.excepthook = lambda kind, error, _: print(
    f"r_universe.py: {getattr(error, 'url', kind.__name__)}: {error}", file=sys.stderr)
if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
    sys.exit("usage: " + " ".join(__doc__.split("\n\n")[1].split()))
base = sys.argv[1].rstrip("/")
LIMIT = 10_000

with urllib.request.urlopen(f"{base}/api/packages?limit={LIMIT}", timeout=300) as answer:
    packages = json.load(answer)
if len(packages) >= LIMIT:
    sys.exit(f"r_universe.py: there are {LIMIT} or more packages: the list is not complete")
events, lost = [], []
for package in packages:
    if package["_type"] == "src":
        events.append({
            "op": "add", "at": package["_published"], "exact": "_published", "file": package["_file"],
            "from": f"{base}/src/contrib/{urllib.parse.quote(package['_file'])}",
            "sha256": package["_fileid"], "size": package.get("_filesize"),
        })
    else:
        what = f"{package['Package']} {package['Version']}"
        lost.append({"op": "lost", "what": what, "why": f"is of type {package['_type']}, and not a source package"})
for event in sorted(events, key=lambda event: (event["at"], event["file"])) + lost:
    print(json.dumps(event))
