"""Counts the texts of the sample that have requirements: sysreqs.py BASE DISTRIBUTION RELEASE ...

Prints a count for each system, and the count of the texts that match no pattern. It reads the documented form of the
rules and uses another engine of regular expressions.
"""

import json
import pathlib
import re
import sys

base = pathlib.Path(sys.argv[1])
systems = list(zip(sys.argv[2::2], sys.argv[3::2]))
rules = [json.loads(path.read_text()) for path in (base / "rules").iterdir()]
texts = [row["SystemRequirements"] for row in json.loads((base / "test/sysreqs.json").read_text())]


def holds(constraint, distribution, release):
    return (
        constraint["os"] == "linux"
        and constraint.get("distribution", distribution) == distribution
        and release in constraint.get("versions", [release])
    )


found = [[rule for rule in rules if any(re.search(p, text, re.I) for p in rule["patterns"])] for text in texts]
for system in systems:
    has_block = {
        id(rule): any(holds(c, *system) for block in rule["dependencies"] for c in block["constraints"]) for rule in rules
    }
    print(sum(any(has_block[id(rule)] for rule in matching) for matching in found))
print(sum(not matching for matching in found))
