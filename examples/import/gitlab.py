#!/usr/bin/env python3
"""Prints the list of an import of the Python packages of a project of GitLab:

    GITLAB_TOKEN=… python3 gitlab.py https://gitlab.example.org PROJECT > list.ndjson

PROJECT is its number or its path. The token needs the scope read_api.
"""
import json
import os
import sys
import urllib.parse
import urllib.request


def fail(kind, error, _):
    remedy = "; set GITLAB_TOKEN" if getattr(error, "code", 0) == 401 else ""
    print(f"gitlab.py: {getattr(error, 'url', kind.__name__)}: {error}{remedy}", file=sys.stderr)


sys.excepthook = fail
if len(sys.argv) != 3:
    sys.exit("usage: " + " ".join(__doc__.split("\n\n")[1].split()))
project = f"{sys.argv[1].rstrip('/')}/api/v4/projects/{urllib.parse.quote(sys.argv[2], safe='')}"


def rows(path, query=""):
    """The rows of all pages."""
    ids, number = set(), 0
    while True:
        number += 1
        request = urllib.request.Request(f"{project}/{path}?{query}per_page=100&page={number}")
        if "GITLAB_TOKEN" in os.environ:
            # Not sent to the target of a redirect.
            request.add_unredirected_header("PRIVATE-TOKEN", os.environ["GITLAB_TOKEN"])
        with urllib.request.urlopen(request, timeout=60) as answer:
            page = json.load(answer)
        if not page:
            return
        if ids.intersection(row["id"] for row in page):
            sys.exit(f"gitlab.py: {path} repeats a page: the list is not complete")
        ids.update(row["id"] for row in page)
        yield from page


events = []
for package in rows("packages", "package_type=pypi&"):
    # Others are being deleted or uploaded.
    if package["status"] not in ("default", "hidden"):
        continue
    for file in rows(f"packages/{package['id']}/package_files"):
        events.append({
            "op": "add", "at": file["created_at"], "exact": "created_at", "file": file["file_name"],
            "from": f"{project}/packages/pypi/files/{file['file_sha256']}/{urllib.parse.quote(file['file_name'])}",
            "sha256": file["file_sha256"], "size": file["size"],
        })
for event in sorted(events, key=lambda event: (event["at"], event["file"])):
    print(json.dumps(event))
