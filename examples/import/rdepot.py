#!/usr/bin/env python3
"""Prints the list of an import of a repository of R packages of RDepot; its events are its history:

    RDEPOT_TOKEN=… python3 rdepot.py https://rdepot.example.org REPOSITORY https://r.example.org/REPOSITORY > list.ndjson

The last address is that of the published repository, from which files are fetched.
"""
import json
import os
import sys
import urllib.request


def fail(kind, error, _):
    remedy = "; set RDEPOT_TOKEN" if getattr(error, "code", 0) == 401 else ""
    print(f"rdepot.py: {getattr(error, 'url', kind.__name__)}: {error}{remedy}", file=sys.stderr)


sys.excepthook = fail
if len(sys.argv) != 4:
    sys.exit("usage: " + " ".join(__doc__.split("\n\n")[1].split()))
base, repository, published = sys.argv[1].rstrip("/"), sys.argv[2], sys.argv[3].rstrip("/")


def pages():
    number, total = 0, 1
    while number < total:
        request = urllib.request.Request(f"{base}/api/v2/manager/events?page={number}&size=100&sort=time,asc")
        if "RDEPOT_TOKEN" in os.environ:
            # Not sent to the target of a redirect.
            request.add_unredirected_header("Authorization", f"Bearer {os.environ['RDEPOT_TOKEN']}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            data = json.load(answer)["data"]
        if data["page"]["number"] != number:
            sys.exit("rdepot.py: the server repeats a page: the list is not complete")
        number, total = number + 1, data["page"]["totalPages"]
        yield from data["content"]


present = set()
for event in sorted(pages(), key=lambda event: (event["time"], event["id"])):
    resource = event["relatedResource"]
    package = resource.get("packageBag", resource)
    if event["technology"] != "R" or package.get("repository", {}).get("name") != repository or "version" not in package:
        continue
    file = f"{package['name']}_{package['version']}.tar.gz"
    changes = {change["property"]: str(change["valueAfter"]).lower() for change in event["changedProperties"]}
    is_removed = event["eventType"] == "delete" or changes.get("active") == "false" or changes.get("deleted") == "true"
    is_accepted = event["eventType"] == "upload" and resource.get("state") == "ACCEPTED"
    is_added = is_accepted or changes.get("active") == "true" or changes.get("state") == "accepted"
    # A time without a zone is in UTC.
    when = {"at": event["time"].removesuffix("Z") + "Z", "exact": "event"}
    if is_removed and file in present:
        present.remove(file)
        print(json.dumps({"op": "remove", **when, "name": package["name"], "version": package["version"]}))
    elif is_added and not is_removed and file not in present:
        present.add(file)
        address = f"{published}/src/contrib/{file}"
        print(json.dumps({"op": "add", **when, "file": file, "from": address}))
