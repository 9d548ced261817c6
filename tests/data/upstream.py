"""Selects the upstream files that Debian has unmodified, and creates mirrors of them.

upstream.py versions              reads `apt-cache showsrc`, writes arguments for `apt-get source`
upstream.py mirrors FROM TO       FROM has a folder of *.orig.tar.gz for each Debian release
"""

import datetime
import hashlib
import os
import pathlib
import re
import shutil
import sys
import tarfile


def records(text):
    """Records of a control file, as dictionaries."""
    for record in re.split(r"\n\n+", text.strip()):
        joined = re.sub(r"\n[ \t]+", " ", record)
        yield dict(line.split(": ", 1) for line in joined.split("\n") if ": " in line)


def versions():
    newest = {}
    for record in records(sys.stdin.read()):
        # A repacked file (+dfsg, .xz) differs from CRAN's.
        if re.search(r"_[0-9A-Za-z.-]+\.orig\.tar\.gz\b", record.get("Files", "")):
            newest[record["Package"]] = record["Version"]
    print(" ".join(f"{name}={version}" for name, version in newest.items()))


def description(path):
    """The DESCRIPTION of an unmodified source package of CRAN or Bioconductor; else an error with the reason."""
    with tarfile.open(path) as archive:
        members = [member for member in archive.getmembers() if not member.isdir()]
        folders = {member.name.split("/")[0] for member in members}
        if len(folders) != 1:
            raise ValueError("more than one top folder")
        folder = folders.pop()
        files = {member.name[len(folder) + 1 :]: archive.extractfile(member).read() for member in members}
    if "DESCRIPTION" not in files:
        raise ValueError("no DESCRIPTION")
    text = files["DESCRIPTION"].decode("utf-8", "replace").replace("\r\n", "\n")
    fields = next(records(text))
    if fields["Package"] != folder or "Packaged" not in fields:
        raise ValueError("not written by `R CMD build`")
    if "MD5" in files:
        for line in files["MD5"].decode().splitlines():
            digest, name = line.split(maxsplit=1)
            name = name.lstrip("*")
            if hashlib.md5(files.get(name, b"")).hexdigest() != digest:
                raise ValueError(f"'{name}' does not match the MD5 file")
    elif fields.get("Repository") == "CRAN":
        raise ValueError("no MD5 file")
    return fields


def publication_time(fields):
    """`Date/Publication`, else `Packaged`, in seconds."""
    stamp = fields.get("Date/Publication") or fields["Packaged"]
    found = re.match(r"(\d+-\d+-\d+)(?: (\d+:\d+:\d+))?", stamp)
    moment = datetime.datetime.fromisoformat(f"{found[1]} {found[2] or '00:00:00'}")
    return int(moment.replace(tzinfo=datetime.timezone.utc).timestamp())


def order(version):
    return [int(part) for part in re.split(r"[.-]", version)]


def put(path, fields, folder):
    folder.mkdir(parents=True, exist_ok=True)
    to = folder / f"{fields['Package']}_{fields['Version']}.tar.gz"
    shutil.copyfile(path, to)
    os.utime(to, (publication_time(fields),) * 2)


def mirrors(source, target):
    roles = {}
    for line in (pathlib.Path(__file__).parent / "packages.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            suite, role, name = line.split()
            roles[suite, name] = role
    cran = {}
    for path in sorted(source.glob("*/*.orig.tar.gz")):
        suite, name = path.parent.name, path.name.split("_")[0]
        if (suite, name) not in roles:
            continue
        try:
            fields = description(path)
        except (ValueError, KeyError, tarfile.TarError) as reason:
            print(f"setup: {suite}/{path.name} is left out: {reason}")
            continue
        role = roles[suite, name]
        if role == "cran":
            cran.setdefault(fields["Package"], {})[fields["Version"]] = (path, fields)
        elif role == "windows":
            put(path, fields, target / "without-source")
        else:
            put(path, fields, target / f"bioc-mirror/packages/{role}/bioc/src/contrib")
    contrib = target / "cran-mirror/src/contrib"
    for package, releases in cran.items():
        ordered = sorted(releases, key=order)
        put(*releases[ordered.pop()], contrib)
        for version in ordered:
            put(*releases[version], contrib / "Archive" / package)


if __name__ == "__main__":
    if sys.argv[1] == "versions":
        versions()
    else:
        mirrors(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
