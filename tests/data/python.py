"""A small mirror of Python packages, made of packages of our own: python.py FOLDER

web/simple/{project}/index.v1_json and index.html are the same page in both formats (in JSON only of the quarantined
project), web/packages/ has the files of the newest versions, and held.ndjson has a line for each of them.
"""

import base64
import bz2
import gzip
import hashlib
import html
import io
import json
import pathlib
import sys
import tarfile
import zipfile

DATE = (2026, 1, 2, 3, 4, 6)


def metadata(name, version, format="2.4", extra=""):
    return (
        f"Metadata-Version: {format}\nName: {name}\nVersion: {version}\nSummary: an example\n{extra}\nThe description.\n"
    ).encode()


def digest(data):
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def wheel(name, version, text):
    """A wheel with a vendored package, whose metadata is deeper in."""
    top = f"{name}-{version}.dist-info"
    members = {
        f"{name}/__init__.py": b"",
        f"{name}/_vendor/other-1.0.dist-info/METADATA": metadata("other", "1.0"),
        f"{top}/METADATA": text,
        f"{top}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{top}/licenses/LICENSE": b"free",
    }
    rows = [f"{path},sha256={digest(data)},{len(data)}" for path, data in members.items()]
    members[f"{top}/RECORD"] = ("\n".join([*rows, f"{top}/RECORD,,"]) + "\n").encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in members.items():
            archive.writestr(zipfile.ZipInfo(path, DATE), data)
    return out.getvalue()


def sdist(name, version, text, kind):
    members = {f"{name}-{version}/PKG-INFO": text, f"{name}-{version}/src/x.egg-info/PKG-INFO": b"", f"{name}-{version}/setup.py": b""}
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, data in members.items():
                archive.writestr(zipfile.ZipInfo(path, DATE), data)
        return out.getvalue()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, data in members.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(out.getvalue(), mtime=0) if kind == "gz" else bz2.compress(out.getvalue())


LICENSE = "License-Expression: mit\nLicense-File: LICENSE\n"
ODD = metadata("odd", "2.0", extra=LICENSE + 'Requires-Python: >=3.9\nRequires-Dist: even.name[x]>=1,<3; extra == "y"\n')
EVEN = metadata("Even.Name", "1.0.post1", "2.1", "License: x\nRequires-Dist: odd (>=1.0)\n")
# File name, content if the mirror has it, and facts of the page.
PROJECTS = {
    "odd": [
        ("odd-2004d.tar.gz", None, {}),
        ("odd-0.9-py2.7.egg", None, {}),
        ("odd-0.9.win32-py2.7.exe", None, {"yanked": 'it is "wrong" & <old>'}),
        ("odd-1.0-1.zip", None, {"yanked": True}),
        ("odd-1.1+local.1.tar.gz", None, {"requires-python": ">=2.7, !=3.0.*"}),
        ("odd-2.0-py3-none-any.whl", wheel("odd", "2.0", ODD), {"requires-python": ">=3.9"}),
        ("odd-2.0.tar.gz", sdist("odd", "2.0", ODD, "gz"), {"requires-python": ">=3.9"}),
    ],
    "even-name": [
        ("Even.Name-1.0.post1.zip", sdist("Even.Name", "1.0.post1", EVEN, "zip"), {}),
        ("even_name-1.0.post1.tar.bz2", sdist("even_name", "1.0.post1", EVEN, "bz2"), {}),
        ("Even.Name-1.0.post1-3b-py2.py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", None, {}),
    ],
    "withdrawn": [],
}
DISPLAY = {"odd": "odd", "even-name": "Even.Name"}


def main(folder):
    web = pathlib.Path(folder) / "pypi-mirror/web"
    stored = []
    for number, (project, files) in enumerate(PROJECTS.items()):
        entries, anchors = [], []
        for name, data, facts in files:
            known = hashlib.sha256(data if data is not None else name.encode()).hexdigest()
            blake = hashlib.blake2b(data if data is not None else name.encode(), digest_size=32).hexdigest()
            path = f"packages/{blake[:2]}/{blake[2:4]}/{blake[4:]}/{name}"
            url = "../../" + path.replace("+", "%2B")
            time = f"20{10 + len(entries)}-03-04T05:06:07.{number:06}Z"
            entry = {"filename": name, "hashes": {"sha256": known}, "requires-python": facts.get("requires-python")}
            entry |= {"upload-time": time, "url": url, "yanked": facts.get("yanked", False)}
            if data is not None:
                entry["size"] = len(data)
                target = web / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
                text = ODD if project == "odd" else EVEN
                stored.append({
                    "project": project, "name": DISPLAY[project], "version": "2.0" if project == "odd" else "1.0.post1",
                    "filename": name, "path": path, "sha256": known, "metadata_version": "2.4" if project == "odd" else "2.1",
                })
                if name.endswith(".whl"):
                    stored[-1]["core_metadata_sha256"] = hashlib.sha256(text).hexdigest()
            entries.append(entry)
            attributes = [("href", f"{url}#sha256={known}"), ("data-requires-python", entry["requires-python"])]
            yanked = {True: "", False: None}.get(entry["yanked"], entry["yanked"])
            attributes += [("data-yanked", yanked), ("data-upload-time", time)]
            text = " ".join(f'{key}="{html.escape(value)}"' for key, value in attributes if value is not None)
            anchors.append(f"<a {text}>{name}</a><br/>")
        page = {"files": entries, "meta": {"api-version": "1.4", "_last-serial": number + 1}, "name": project}
        page["versions"] = {"odd": ["2004d", "0.9", "1.0.post1", "1.1+local.1", "2.0"], "even-name": ["1.0.post1"]}.get(project, [])
        page["project-status"] = {"status": "active" if files else "quarantined"}
        target = web / "simple" / project
        target.mkdir(parents=True)
        (target / "index.v1_json").write_text(json.dumps(page))
        if not files:
            continue
        title = f"Links for {project}"
        body = "\n".join(anchors)
        (target / "index.html").write_text(
            f"<!DOCTYPE html>\n<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
        )
    projects = [{"name": name, "_last-serial": 1} for name in DISPLAY.values()]
    root = {"meta": {"api-version": "1.4", "_last-serial": 3}, "projects": projects}
    (web / "simple/index.v1_json").write_text(json.dumps(root))
    links = "".join(f'<a href="{project}/">{name}</a>\n' for project, name in DISPLAY.items())
    (web / "simple/index.html").write_text(
        f'<!DOCTYPE html>\n<html><head><meta name="pypi:repository-version" content="1.4"></head><body>\n{links}</body></html>\n'
    )
    lines = "".join(json.dumps(line) + "\n" for line in stored)
    (web.parent / "held.ndjson").write_text(lines)


main(sys.argv[1])
