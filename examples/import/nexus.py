#!/usr/bin/env python3
"""Prints the list of an import of a hosted repository of Sonatype Nexus, of format pypi or r:

    NEXUS_USER=ann NEXUS_PASSWORD=… python3 nexus.py https://nexus.example.org REPOSITORY > list.ndjson
"""
import base64
import json
import os
import sys
import urllib.parse
import urllib.request
from datetime import datetime, timezone


def fail(kind, error, _):
    remedy = "; set NEXUS_USER and NEXUS_PASSWORD" if getattr(error, "code", 0) == 401 else ""
    print(f"nexus.py: {getattr(error, 'url', kind.__name__)}: {error}{remedy}", file=sys.stderr)


sys.excepthook = fail
if len(sys.argv) != 3:
    sys.exit("usage: " + " ".join(__doc__.split("\n\n")[1].split()))
base, repository = sys.argv[1].rstrip("/"), sys.argv[2]


def get(query):
    request = urllib.request.Request(f"{base}/service/rest/v1/components?{urllib.parse.urlencode(query)}")
    if "NEXUS_USER" in os.environ:
        login = f"{os.environ['NEXUS_USER']}:{os.environ.get('NEXUS_PASSWORD', '')}".encode()
        # Not sent to the target of a redirect.
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(login).decode()}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def time(text):
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z").astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


events, token, tokens = [], None, set()
while token not in tokens:
    tokens.add(token)
    page = get({"repository": repository} | ({"continuationToken": token} if token else {}))
    for asset in (asset for item in page["items"] for asset in item["assets"]):
        modified, created = time(asset["lastModified"]), time(asset.get("blobCreated") or asset["lastModified"])
        event = {"op": "add", "at": modified, "exact": "lastModified", "file": asset["path"].rsplit("/", 1)[-1],
                 "from": asset["downloadUrl"], "sha256": asset["checksum"].get("sha256"), "size": asset.get("fileSize")}
        if asset["path"].lstrip("/").startswith("bin/"):
            event = {"op": "lost", "what": asset["path"], "why": "is a binary of an R package"}
        elif not event["file"].endswith((".whl", ".tar.gz", ".zip", ".egg")):
            continue
        elif created < modified:
            event |= {"at": created, "exact": "blobCreated",
                      "note": "lastModified is later than blobCreated: the earlier one counts"}
        events.append(event)
    token = page.get("continuationToken")
if token:
    sys.exit(f"nexus.py: the server repeats the token {token!r}: the list is not complete")
for event in sorted(events, key=lambda event: (event["op"], event.get("at", ""), event.get("file", ""))):
    print(json.dumps(event))
