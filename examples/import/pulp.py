#!/usr/bin/env python3
"""Prints the list of an import of a Python repository of Pulp; its versions are its history:

    PULP_USER=ann PULP_PASSWORD=… python3 pulp.py https://pulp.example.org/pulp/api/v3/repositories/python/python/ID/ \\
        https://pulp.example.org/pulp/content/team/ > list.ndjson

The second address is that of a distribution of the repository, from which files are fetched.
"""
import base64
import json
import os
import sys
import urllib.parse
import urllib.request


def fail(kind, error, _):
    remedy = "; set PULP_USER and PULP_PASSWORD" if getattr(error, "code", 0) == 401 else ""
    print(f"pulp.py: {getattr(error, 'url', kind.__name__)}: {error}{remedy}", file=sys.stderr)


sys.excepthook = fail
if len(sys.argv) != 3:
    sys.exit("usage: " + " ".join(__doc__.split("\n\n")[1].split()).replace("\\ ", ""))
repository, distribution = (address.rstrip("/") + "/" for address in sys.argv[1:3])
origin = urllib.parse.urlsplit(repository)._replace(path="", query="").geturl()


def rows(address):
    """The results of all pages."""
    addresses = set()
    while address:
        if address in addresses or not address.startswith(origin + "/"):
            sys.exit(f"pulp.py: {address} is a repeated page, or one of another server: the list is not complete")
        addresses.add(address)
        request = urllib.request.Request(address)
        if "PULP_USER" in os.environ:
            login = f"{os.environ['PULP_USER']}:{os.environ.get('PULP_PASSWORD', '')}".encode()
            # Not sent to the target of a redirect.
            request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(login).decode()}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            page = json.load(answer)
        yield from page["results"]
        address = page["next"]


content = repository.split("/repositories/")[0] + "/content/python/packages/?"
for version in sorted(rows(f"{repository}versions/"), key=lambda version: version["number"]):
    at = {"at": version["pulp_created"], "exact": "repository version"}
    for op in ("removed", "added") if version["number"] else ():
        query = urllib.parse.urlencode({f"repository_version_{op}": version["pulp_href"]})
        for file in sorted(rows(content + query), key=lambda file: file["filename"]):
            event = {"op": op[:-1] if op == "removed" else "add", **at, "file": file["filename"]}
            if op == "added":
                event |= {"from": distribution + urllib.parse.quote(file["filename"]), "sha256": file["sha256"]}
                event |= {"size": file["size"]} if file.get("size") else {}
            print(json.dumps(event))
