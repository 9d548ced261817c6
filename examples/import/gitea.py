#!/usr/bin/env python3
"""Prints the list of an import of the Python or R packages of an owner in Gitea or Forgejo:

    GITEA_TOKEN=… python3 gitea.py https://git.example.org OWNER pypi > list.ndjson      (or cran)

All files of a version have the time of the version.
"""
import json
import os
import sys
import urllib.parse
import urllib.request


def fail(kind, error, _):
    remedy = "; set GITEA_TOKEN" if getattr(error, "code", 0) == 401 else ""
    print(f"gitea.py: {getattr(error, 'url', kind.__name__)}: {error}{remedy}", file=sys.stderr)


sys.excepthook = fail
if len(sys.argv) != 4:
    sys.exit("usage: " + " ".join(__doc__.split("\n\n")[1].split()))
base, owner, kind = sys.argv[1].rstrip("/"), urllib.parse.quote(sys.argv[2], safe=""), sys.argv[3]


def get(path):
    request = urllib.request.Request(f"{base}/api/v1/packages/{owner}{path}")
    if "GITEA_TOKEN" in os.environ:
        # Not sent to the target of a redirect.
        request.add_unredirected_header("Authorization", f"token {os.environ['GITEA_TOKEN']}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


events, ids, number = [], set(), 1
while page := get(f"?type={kind}&limit=50&page={number}"):
    if ids.intersection(row["id"] for row in page):
        sys.exit("gitea.py: the server repeats a page: the list is not complete")
    ids.update(row["id"] for row in page)
    number += 1
    for package in (package for package in page if package["type"] == kind):
        path = "/".join(urllib.parse.quote(package[key], safe="") for key in ("name", "version"))
        folder = f"{base}/api/packages/{owner}/" + ("cran/src/contrib" if kind == "cran" else f"pypi/files/{path}")
        for file in get(f"/{kind}/{path}/files"):
            events.append({
                "op": "add", "at": package["created_at"], "exact": "created_at", "file": file["name"],
                "from": f"{folder}/{urllib.parse.quote(file['name'])}", "sha256": file["sha256"], "size": file["size"],
            })
for event in sorted(events, key=lambda event: (event["at"], event["file"])):
    print(json.dumps(event))
