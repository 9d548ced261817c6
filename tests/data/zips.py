"""Zip files: zips.py binaries LIBRARY TO, zips.py hostile TO

`binaries` packs the installed packages of a library in the form of binaries for Windows. `hostile` writes ambiguous or
damaged files (reject/) and unusual valid ones (accept/), composed byte by byte.
"""

import pathlib
import struct
import sys
import zipfile
import zlib


def binaries(library, target):
    target.mkdir(parents=True, exist_ok=True)
    for folder in sorted(library.iterdir()):
        lines = (folder / "DESCRIPTION").read_text().splitlines()
        version = next(line.split()[1] for line in lines if line.startswith("Version:"))
        with zipfile.ZipFile(target / f"{folder.name}_{version}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in [folder, *sorted(folder.rglob("*"))]:
                name = str(path.relative_to(library)) + ("/" if path.is_dir() else "")
                member = zipfile.ZipInfo(name, (2025, 5, 31, 2, 22, 12))
                member.compress_type = zipfile.ZIP_STORED if path.is_dir() else zipfile.ZIP_DEFLATED
                member.external_attr = (0o40755 << 16 | 0x10) if path.is_dir() else 0o644 << 16
                archive.writestr(member, b"" if path.is_dir() else path.read_bytes())


TEXT = b"one text, one text, one text"


class Member:
    """A member of a zip file; every field can be overridden, in the local header and in the central directory."""

    def __init__(self, name="file", data=TEXT, method=8, flags=0, extra=b"", **overrides):
        self.name, self.data, self.method, self.flags, self.extra = name.encode(), data, method, flags, extra
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        self.packed = deflate.compress(data) + deflate.flush() if method == 8 else data
        self.overrides = overrides

    def value(self, where, what):
        true = {
            "name": self.name, "extra": self.extra, "flags": self.flags, "method": self.method, "version": 20,
            "crc": zlib.crc32(self.data), "csize": len(self.packed), "usize": len(self.data), "comment": b"",
        }  # fmt: skip
        return self.overrides.get(f"{where}_{what}", self.overrides.get(what, true[what]))

    def local(self):
        of = lambda what: self.value("local", what)
        head = struct.pack(
            "<4sHHHHHIIIHH", b"PK\3\4", of("version"), of("flags"), of("method"), 0, 0x5A21,
            of("crc"), of("csize"), of("usize"), len(of("name")), len(of("extra")),
        )  # fmt: skip
        return head + of("name") + of("extra") + self.packed + self.overrides.get("after", b"")

    def central(self, offset):
        of = lambda what: self.value("central", what)
        head = struct.pack(
            "<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, of("version"), of("flags"), of("method"), 0, 0x5A21,
            of("crc"), of("csize"), of("usize"), len(of("name")), len(of("extra")), len(of("comment")),
            0, 0, 0, self.overrides.get("offset", offset),
        )  # fmt: skip
        return head + of("name") + of("extra") + of("comment")


def end(true_count, true_size, true_offset, comment=b"", **overrides):
    of = lambda what, true: overrides.get(what, true)
    return (
        struct.pack(
            "<4sHHHHIIH", b"PK\5\6", 0, 0, of("here", true_count), of("count", true_count), of("size", true_size),
            of("offset", true_offset), of("comment_length", len(comment)),
        )  # fmt: skip
        + comment
    )


def archive(*members, listed=None, before=b"", between=b"", comment=b"", after=b"", zip64=None, **overrides):
    """A file of these members; `listed` are those in the central directory."""
    body, offsets = before, {}
    for member in members:
        offsets[member] = len(body)
        body += member.local()
    directory = b"".join(m.central(offsets.get(m, 0)) for m in (members if listed is None else listed))
    count = len(members if listed is None else listed)
    start = len(body)
    body += directory + between
    if zip64 is not None:
        body += zip64(count, len(directory), start, len(body))
    return body + end(count, len(directory), start, comment, **overrides) + after


def zip64_end(true_count, true_size, true_start, place, locator=None, magic=b"PK\6\6", more=b"", with_locator=True, **overrides):
    of = lambda what, true: overrides.get(what, true)
    record = struct.pack(
        "<4sQHHIIQQQQ", magic, 44 + len(more), 45, 45, 0, 0, of("here", true_count), of("count", true_count), of("size", true_size),
        of("start", true_start),
    )  # fmt: skip
    pointer = struct.pack("<4sIQI", b"PK\6\7", 0, place if locator is None else locator, 1)
    return record + more + (pointer if with_locator else b"")


def descriptor(member, signature=True, wide=False, crc=None, csize=None, usize=None):
    data, packed = member.data, member.packed
    numbers = [zlib.crc32(data) if crc is None else crc, len(packed) if csize is None else csize]
    numbers.append(len(data) if usize is None else usize)
    return (b"PK\7\x08" if signature else b"") + struct.pack("<IQQ" if wide else "<III", *numbers)


def streamed(**how):
    plain = Member()
    return Member(flags=8, local_crc=0, local_csize=0, local_usize=0, after=descriptor(plain, **how))


def field64(*numbers):
    return struct.pack("<HH", 1, 8 * len(numbers)) + b"".join(struct.pack("<Q", number) for number in numbers)


def unicode_name(name, of=b"file"):
    return struct.pack("<HHBI", 0x7075, 5 + len(name), 1, zlib.crc32(of)) + name


def hostile():
    a, b = Member("a"), Member("b", b"other")
    plain = archive(Member())
    size = len(Member().packed)
    wide = Member(csize=0xFFFFFFFF, usize=0xFFFFFFFF, extra=field64(len(TEXT), size), version=45)
    yield from {
        "bytes-before": b"MZ" + plain,
        "bytes-after": plain + b"x",
        "bytes-between": archive(Member(), between=b"????"),
        "bytes-between-members": archive(Member("a", after=b"gap!"), b),
        "no-zip": b"no zip file at all" * 9,
        "cut-short": plain[:-9],
        "two-ends": plain + end(0, 0, len(plain)),
        "two-archives": plain + archive(Member("other")),
        "archive-in-comment": archive(Member(), comment=archive(Member("other"))),
        "comment-length-too-large": archive(Member(), comment_length=9),
        "comment-length-too-small": archive(Member(), comment=b"comment", comment_length=2),
        "directory-names-more": archive(a, listed=[a, b]),
        "directory-names-less": archive(a, b, listed=[a]),
        "directory-names-twice": archive(a, listed=[a, a]),
        "directory-count-too-large": archive(a, b, count=3, here=3),
        "directory-count-too-small": archive(a, b, count=1, here=1),
        "directory-counts-differ": archive(a, b, here=1),
        "directory-size-too-small": archive(a, b, size=len(a.central(0))),
        "directory-elsewhere": archive(a, b, offset=3),
        "member-elsewhere": archive(a, Member("b", offset=1)),
        "names-differ": archive(Member("a", local_name=b"b")),
        "methods-differ": archive(Member(local_method=0)),
        "sizes-differ": archive(Member(local_csize=3)),
        "wrong-sum": archive(Member(crc=1)),
        "wrong-size": archive(Member(usize=3)),
        "wrong-packed-size": archive(Member(csize=size - 1)),
        "unknown-method": archive(Member(method=99)),
        "encrypted": archive(Member(flags=1)),
        "two-of-one-name": archive(Member("a"), Member("a", b"another")),
        "descriptor-wrong-sum": archive(streamed(crc=1)),
        "descriptor-wrong-size": archive(streamed(usize=1)),
        "descriptor-wrong-packed-size": archive(streamed(csize=1)),
        "descriptor-without-signature-wrong-size": archive(streamed(signature=False, usize=2)),
        "descriptor-wide-wrong-size": archive(streamed(wide=True, usize=2)),
        "extra-cut-short": archive(Member(extra=b"\1\0\20")),
        "extra-longer-than-itself": archive(Member(extra=struct.pack("<HH", 1, 99))),
        "second-name": archive(Member(extra=unicode_name(b"evil"))),
        "third-name": archive(Member(extra=unicode_name(b"evil") + unicode_name(b"worse"))),
        "member-comment": archive(Member(comment=b"a comment")),
        "name-with-zero": archive(Member("a\0b")),
        "zip64-count-differs": archive(a, b, zip64=lambda *at: zip64_end(*at, count=1), count=0xFFFF, here=0xFFFF),
        "zip64-locator-elsewhere": archive(a, zip64=lambda *at: zip64_end(*at, locator=0)),
        "zip64-without-locator": archive(a, zip64=lambda *at: zip64_end(*at, with_locator=False)),
        "zip64-more-than-known": archive(a, zip64=lambda *at: zip64_end(*at, more=b"more and more")),
        "zip64-field-too-short": archive(Member(csize=0xFFFFFFFF, usize=0xFFFFFFFF, extra=field64(28))),
        "zip64-field-wrong-size": archive(Member(csize=0xFFFFFFFF, usize=0xFFFFFFFF, extra=field64(3, 3))),
    }.items()


def odd():
    size = len(Member().packed)
    wide = Member(csize=0xFFFFFFFF, usize=0xFFFFFFFF, extra=field64(len(TEXT), size), version=45)
    yield from {
        "comment": archive(Member(), comment=b"a comment"),
        "deflated": archive(Member()),
        "stored": archive(Member(method=0)),
        "no-member": archive(),
        "folder": archive(Member("folder/", b"", 0), Member("folder/file")),
        "folder-without-entry": archive(Member("folder/file")),
        "several": archive(*(Member(f"{n}.txt", TEXT * n) for n in range(20))),
        "zip64-member": archive(wide),
        "zip64-end": archive(
            Member(), zip64=zip64_end, count=0xFFFF, here=0xFFFF, size=0xFFFFFFFF, offset=0xFFFFFFFF
        ),
    }.items()


if __name__ == "__main__":
    if sys.argv[1] == "binaries":
        binaries(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
    else:
        for kind, files in [("reject", hostile()), ("accept", odd())]:
            folder = pathlib.Path(sys.argv[2]) / kind
            folder.mkdir(parents=True, exist_ok=True)
            for name, data in files:
                (folder / f"{name}.zip").write_bytes(data)
