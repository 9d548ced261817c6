# An independent model of the public API for Python packages, with the `packaging` that pip contains. Reads one line of
# JSON from standard input: {project: {version: yanked}}. Writes one line of JSON: {"newest": {project: version},
# "order": {project: [versions, the highest first]}, "search": {part: [normalized names]}}.
import json, re, sys

from pip._vendor.packaging.version import Version

projects = json.loads(sys.stdin.readline())
parts = json.loads(sys.stdin.readline())


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def newest(versions):
    listed = [text for text, yanked in versions.items() if not yanked]
    final = [text for text in listed if not Version(text).is_prerelease]
    return max(final or listed or versions, key=Version)


names = sorted(map(normal, projects))
print(
    json.dumps(
        {
            "newest": {normal(name): newest(versions) for name, versions in projects.items()},
            "order": {normal(name): sorted(versions, key=Version, reverse=True) for name, versions in projects.items()},
            "search": {
                part: sorted((name for name in names if normal(part) in name), key=lambda name: name != normal(part))
                for part in parts
            },
        }
    )
)
