#!/usr/bin/env python3
"""Verifies a proof of one package, or of one index, on one day. Needs no network and no server.

    python3 verify.py PROOF --policy FILE --repo NAME --snapshot DAY [--document PATH] [--file PACKAGEFILE | --packages PACKAGES]

PROOF: the proof, of a package (format rspm-proof/1) or of an index. FILE: the keys of the log and of its witnesses (C2SP tlog-policy); get it from the auditor or
from the witnesses, not from the server that is audited. NAME, DAY: what must be proved. PATH: the
index below the snapshot, by default src/contrib/PACKAGES; of Python simple/. PACKAGEFILE: a package
file, compared with the digests in the record. PACKAGES: the whole index, as plain text.
Exit status: 0 proved; 1 refused or not readable, with one line on standard error; 2 wrong usage.

Proved, if the keys in FILE are the right ones:
* The log states that the index of the repository had this record, byte for byte, on this day. With --packages:
  that the index had exactly these records.
* With --file: the file has the digests of the record.
* The log signed a tree with this statement. At the time printed, by its own clock, each witness in the output
  had verified that this tree extends every tree of the log that it cosigned before. The log cannot change the
  statement later without a conflict with a tree that the witness cosigned.

Not proved:
* That the statement is true. A server can log a false one, or send other bytes to a client.
* That the server gave these answers on DAY, if the cosignatures are much later than DAY: such a statement was
  made afterwards (back-filled days, days before the log was started).
* That the log has no second statement for this day: a change of a block rule causes one (`rspm history audit`
  reads all entries and reports those without a cause).
* What `latest` was during the day; what the server answers now.
* The content of the file, if the record has only MD5sum: its author can make two files with the same MD5.
* PACKAGES.rds, metadata, READMEs, web pages, downloads. That this tree is the newest one of the log.
"""
import base64
import datetime
import hashlib
import os
import re
import sys

PARTS = ("", "path in the index", "record", "entry", "path in the log", "checkpoint", "signatures")
MAX_PROOF, MAX_ENTRY, MAX_NOTE, MAX_SIGNATURES = 1 << 20, 60_000, 256 << 10, 64  # bytes, bytes, bytes, lines
INDEX = b"src/contrib/PACKAGES"
YEAR_10000 = 253_402_300_800  # seconds since 1970


class Refused(Exception):
    """The reason: one line of ASCII."""


def printable(data):
    """Bytes as ASCII: a proof must not control the terminal or show letters that only look like others."""
    text = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in data[:100])
    return text + ("..." if len(data) > 100 else "")


def check(condition, where, reason, value=None):
    if not condition:
        raise Refused(f"{where}: {reason}" + ("" if value is None else f': "{printable(value)}"'))


def at(part, line=None):
    return f"part {part} ({PARTS[part]})" + ("" if line is None else f", line {line}")


def number(text, where):
    """15 digits, so that programs that compute with doubles get the same number."""
    is_number = re.fullmatch(rb"0|[1-9][0-9]{0,14}", text)
    check(is_number, where, "not a number of 1 to 15 digits without leading zeros", text)
    return int(text)


def numbers(line, word, count, where):
    """The numbers of a line `WORD NUMBER` or `WORD NUMBER NUMBER`."""
    words = line.split(b" ")
    check(words[0] == word and len(words) == count + 1, where, f"not {word.decode()} and {count} numbers", line)
    return [number(text, where) for text in words[1:]]


def sha256(*data):
    return hashlib.sha256(b"".join(data)).digest()


def decode64(text, where, size=None):
    """RFC 4648, section 4. The bytes are encoded again, to refuse other spellings of them."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = b""
    check(data and base64.b64encode(data) == text, where, "not canonical base64", text)
    check(size is None or len(data) == size, where, f"{len(data)} bytes where {size} are expected", text)
    return data


# Merkle trees (RFC 6962, section 2.1): SHA-256 of 0 and a leaf, of 1 and two nodes. The last node of a level with an
# odd number of nodes has no sibling and moves up unchanged.

def root_of_all(leaves):
    level = [sha256(b"\0", leaf) for leaf in leaves] or [sha256()]
    while len(level) > 1:
        pairs = [sha256(b"\1", level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[2 * len(pairs):]
    return level[0]


def root_of_path(leaf, index, size, part, lines):
    """The path is lines 3 and following of the part, from the leaf upwards."""
    check(index < size, at(part, 2), f"index {index} in a tree of size {size}")
    path = [decode64(line, at(part, n), 32) for n, line in enumerate(lines[2:], 3)]
    node = sha256(b"\0", leaf)
    while size > 1:
        if index % 2 == 1 or index < size - 1:
            check(path, at(part, len(lines)), "the path is too short, it ends with", lines[-1])
            sibling = path.pop(0)
            node = sha256(b"\1", sibling, node) if index % 2 == 1 else sha256(b"\1", node, sibling)
        index, size = index // 2, (size + 1) // 2
    check(not path, at(part, len(lines)), f"the path is {len(path)} lines too long, it ends with", lines[-1])
    return node


# Ed25519 (RFC 8032, section 5.1). A point is (X, Y, Z, T): x = X/Z, y = Y/Z, xy = T/Z.

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
# y of the points of order 1, 2, 4, 8 and 8. A signature of such a key can be valid for many texts.
SMALL_ORDER = (1, P - 1, 0, Y8, P - Y8)


def add(p, q):
    """Section 5.1.4."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]), (p[1] + p[0]) * (q[1] + q[0])
    c, d = 2 * p[3] * q[3] * D, 2 * p[2] * q[2]
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(factor, point):
    result = (0, 1, 1, 0)
    for bit in f"{factor:b}":
        result = add(result, result)
        result = add(result, point) if bit == "1" else result
    return result


def decode_point(data):
    """Section 5.1.3: x^2 = (y^2 - 1) / (d y^2 + 1). None, if this has no root."""
    y, sign = int.from_bytes(data, "little") % 2**255, data[31] >> 7
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square:
        return None
    x = x if x % 2 == sign else P - x
    return x, y, 1, x * y % P


BASE = decode_point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def is_signed(key, message, signature):
    """Whether R is the encoding of [S]B - [k]A. The caller has refused S >= ORDER and keys of small order."""
    point, s = decode_point(key), int.from_bytes(signature[32:], "little")
    if point is None:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    minus_a = (P - point[0], point[1], point[2], P - point[3])
    x, y, z, _ = add(multiply(s, BASE), multiply(k, minus_a))
    x, y = x * pow(z, -1, P) % P, y * pow(z, -1, P) % P
    return (y + (x % 2 << 255)).to_bytes(32, "little") == signature[:32]


# Policies (C2SP tlog-policy), their keys and the signatures of checkpoints (C2SP signed-note, tlog-cosignature).

LOG, WITNESS = 1, 4  # signature types: Ed25519, cosignature/v1
SIGNATURE_SIZE = {LOG: 4 + 64, WITNESS: 4 + 8 + 64}  # key id, time, signature


def is_name(name):
    """UTF-8 without spaces, '+' and control characters."""
    try:
        return not re.search("[\\s+\0-\x1f\x7f-\x9f]", name.decode())
    except UnicodeDecodeError:
        return False


def read_key(text, kind, keys, where):
    """Adds a key to `keys`: (key name, key id) -> (type, public key). Returns its name and id."""
    match = re.fullmatch(rb"([^+]+)\+([0-9a-f]{8})\+(.+)", text)
    check(match, where, "not a key NAME+ID+BASE64", text)
    data = decode64(match[3], where)
    check(len(data) == 33 and data[0] == kind, where, f"not an Ed25519 key of signature type {kind}", text)
    key_id = sha256(match[1], b"\n", data)[:4]
    y = int.from_bytes(data[1:], "little") % 2**255
    check(key_id.hex().encode() == match[2], where, "the key id is not that of the key", text)
    check(is_name(match[1]), where, "not a name of a key", text)
    check(y not in SMALL_ORDER and y < P, where, "a key of small order or not in canonical form", text)
    check((match[1], key_id) not in keys and (kind, data[1:]) not in keys.values(), where, "a key twice", text)
    keys[match[1], key_id] = (kind, data[1:])
    return match[1], key_id


def read_policy(data):
    """Returns the keys, the witnesses and groups as name -> (threshold, members), and the name of the quorum."""
    keys, groups, quorum, listed = {}, {}, None, set()
    check(len(data) <= MAX_NOTE, "policy", f"more than {MAX_NOTE} bytes")
    check(is_utf8(data), "policy", "not UTF-8")
    for n, line in enumerate(data.split(b"\n"), 1):
        where, words = f"policy, line {n}", line.split()
        check(not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", line), where, "a control character", line)
        if not words or words[0].startswith(b"#"):
            continue
        if words[0] == b"log" and len(words) in (2, 3):
            read_key(words[1], LOG, keys, where)
        elif words[0] == b"quorum" and len(words) == 2:
            is_known = words[1] in (b"none", *groups)
            check(quorum is None and is_known, where, "a second quorum, or an unknown name", line)
            quorum = words[1]
        else:
            is_group = words[0] == b"group" and len(words) > 3
            is_witness = words[0] == b"witness" and len(words) in (3, 4)
            check(is_group or is_witness, where, "not a line of a policy", line)
            check(words[1] not in (b"none", *groups), where, "a name twice, or the name none", words[1])
            threshold, members = 1, words[3:]
            if is_witness:
                members = [read_key(words[2], WITNESS, keys, where)]
            elif words[2] != b"any":
                threshold = len(members) if words[2] == b"all" else number(words[2], where)
            check(1 <= threshold <= len(members), where, f"not a threshold of {len(members)} members", words[2])
            for member in members if is_group else ():
                check(member in groups and member not in listed, where, "an unknown member, or a member twice", member)
                listed.add(member)
            groups[words[1]] = (threshold, members)
    check(quorum and LOG in [kind for kind, _ in keys.values()], "policy", "it needs a line log and a line quorum")
    return keys, groups, quorum


def check_signatures(text, lines, policy):
    """Checks all signatures of known keys and the quorum. Returns (key name, time) of each cosignature."""
    (keys, groups, quorum), origin, cosignatures, verified = policy, text.split(b"\n")[0], [], set()
    check(len(text) + sum(len(line) + 1 for line in lines) < MAX_NOTE, at(6), f"more than {MAX_NOTE} bytes")
    check(len(lines) <= MAX_SIGNATURES, at(6, MAX_SIGNATURES + 1), f"more than {MAX_SIGNATURES} signature lines")
    for n, line in enumerate(lines, 1):
        match = re.fullmatch("\u2014 ([^ +]+) ([^ ]+)".encode(), line)
        check(match and is_name(match[1]), at(6, n), "not a signature line", line)
        name, data = match[1], decode64(match[2], at(6, n))
        check(len(data) > 4, at(6, n), "a key id without a signature", line)
        if (name, data[:4]) not in keys:
            continue  # signed-note: signatures of unknown keys are ignored
        kind, key = keys[name, data[:4]]
        size = SIGNATURE_SIZE[kind]
        check(len(data) == size, at(6, n), f"{len(data)} bytes where {size} are expected", line)
        check((name, data[:4]) not in verified, at(6, n), "a second signature of the same key", line)
        message = text
        if kind == WITNESS:
            time = int.from_bytes(data[4:12], "big")
            check(time < YEAR_10000, at(6, n), "a time after the year 9999", line)
            message = b"cosignature/v1\ntime %d\n" % time + text
            cosignatures.append((name, time))
        check(int.from_bytes(data[-32:], "little") < ORDER, at(6, n), "S is not below the order of the group", line)
        check(is_signed(key, message, data[-64:]), at(6, n), "wrong signature", line)
        verified.add((name, data[:4]))
    is_logged = any(keys[key][0] == LOG and key[0] == origin for key in verified)
    check(is_logged, at(6), "no signature of a known log with the name", origin)
    met = {b"none", *verified}
    for name, (threshold, members) in groups.items():  # in the order of the policy: members before their groups
        if sum(member in met for member in members) >= threshold:
            met.add(name)
    check(quorum in met, at(6), f"{len(cosignatures)} cosignatures do not meet the quorum", quorum)
    return cosignatures


# The proof.

def is_utf8(data):
    try:
        return data.decode() is not None
    except UnicodeDecodeError:
        return False


def split_parts(data):
    """Returns the parts 1 to 6 (and an empty part 0), without their last line feed. The proof of an index has no first two."""
    check(len(data) <= MAX_PROOF, "proof", f"more than {MAX_PROOF} bytes")
    parts = data.split(b"\n\n")
    check(b"\n\n\n" not in data, "proof", "two empty lines in sequence")
    is_record = data.startswith(b"rspm-proof/")
    count = 6 if is_record else 4
    check(len(parts) == count, "proof", f"{len(parts)} parts separated by an empty line instead of {count}")
    check(data.endswith(b"\n"), at(6), "no line feed at the end")
    parts = [b"", *([] if is_record else [b"", b""]), *parts[:-1], parts[-1][:-1]]
    check(b"\0" not in parts[2], at(2), "a NUL byte")  # tabs and other encodings are allowed in a record
    for part in (1, 3, 4, 5, 6):
        for n, line in enumerate(parts[part].split(b"\n"), 1):
            is_text = is_utf8(line) and not re.search("[\0-\x1f\x7f-\x9f]", line.decode())
            check(is_text, at(part, n), "not UTF-8, or a control character", line)
    return parts


def read_entry(lines):
    values = {}
    for n, line in enumerate(lines[1:], 2):
        match = re.fullmatch(rb"([a-z0-9-]+) (.+)", line)
        is_repeated = match and match[1] in values and match[1] not in (b"tree", b"list", b"file")
        check(match and not is_repeated, at(3, n), "a key twice, or not a key with a value", line)
        values[match[1]] = match[2]
    return values


def read_record(lines, is_of_project):
    """A line that begins with a blank continues the value before it, as in PACKAGES. Python has 'PROJECT FILE SHA256'."""
    values, key = {}, None
    if is_of_project:
        words = b"\n".join(lines).split(b" ")
        check(len(words) == 3, at(2), "not PROJECT FILE SHA256", lines[0])
        return dict(zip((b"Package", b"Version", b"SHA256"), words))
    for n, line in enumerate(lines, 1):
        match = re.fullmatch(rb"([!-9;-~]+):[ \t]*(.*)", line)
        if key and line[:1] in (b" ", b"\t"):
            values[key] += b"\n" + line
        else:
            check(match and match[1] not in values, at(2, n), "a field twice, or not a field", line)
            key = match[1]
            values[key] = match[2]
    return values


def value_of(values, key, part):
    check(values.get(key), at(part), "it does not have", key)
    return values[key]


def digest_of(record):
    """The digest of the file that a record has: name and value."""
    for name, size in (("SHA256", 64), ("MD5sum", 32)):
        value = record.get(name.encode())
        if value is not None:
            check(re.fullmatch(rb"[0-9a-f]{%d}" % size, value), at(2), f"{name} is not {size} digits 0-9 a-f", value)
            return name, value.decode()
    return None


def check_file(content, digest):
    """Compares a file with the digest of its record."""
    check(digest, at(2), "it has neither SHA256 nor MD5sum, to compare the file with")
    name, value = digest
    found = (hashlib.sha256(content) if name == "SHA256" else hashlib.md5(content, usedforsecurity=False)).hexdigest()
    check(found == value, "file", f"its {name} is {found}, and in the record", value.encode())
    return f"{name} {found}"


def check_index(content, records, root):
    """Compares the whole index with the number of records and the root in the entry."""
    leaves = [leaf for leaf in re.split(rb"\n\n+", content.strip(b"\n")) if leaf]
    check(len(leaves) == records, "index", f"{len(leaves)} records and not {records} (is it plain text?)")
    found = root_of_all(leaves).hex()
    check(found.encode() == root, "index", f"its root is {found}, and in the entry", root)
    return f"{records} records, root {found}"


def verify(proof, policy, repository, snapshot, document=INDEX, file=None, packages=None, name=None):
    """Takes contents, as bytes, and the name of the file. Returns the lines to print, or raises Refused."""
    policy, parts = read_policy(policy), split_parts(proof)
    lines = [part.split(b"\n") for part in parts]
    is_record = parts[1] != b""
    for part, first in ((1, b"rspm-proof/1"), (4, b"c2sp.org/tlog-proof@v1"))[0 if is_record else 1:]:
        is_path = lines[part][0] == first and len(lines[part]) > 1
        check(is_path, at(part, 1), f"not {first.decode()} and a second line", lines[part][0])

    cosignatures = check_signatures(parts[5] + b"\n", lines[6], policy)
    check(len(lines[5]) == 3, at(5, len(lines[5])), "the checkpoint must have 3 lines, it ends with", lines[5][-1])
    size, log_root = number(lines[5][1], at(5, 2)), decode64(lines[5][2], at(5, 3), 32)

    check(len(parts[3]) < MAX_ENTRY, at(3), f"more than {MAX_ENTRY} bytes")
    index = numbers(lines[4][1], b"index", 1, at(4, 2))[0]
    found = root_of_path(parts[3] + b"\n", index, size, 4, lines[4])
    check(found == log_root, at(3), f"not in the log at index {index}, or the path is wrong", lines[3][0])

    entry = read_entry(lines[3])
    check(lines[3][0] == b"rspm-log/1 view", at(3, 1), "not rspm-log/1 view", lines[3][0])
    for key, expected in ((b"repository", repository), (b"snapshot", snapshot), (b"document", document)):
        found = value_of(entry, key, 3)
        check(found == expected, at(3), f'{key.decode()} is not "{printable(expected)}" but', found)
    root = value_of(entry, b"root", 3)
    check(re.fullmatch(rb"[0-9a-f]{64}", root), at(3), "root is not 64 digits 0-9 a-f", root)
    records = number(value_of(entry, b"records", 3), at(3))

    result = [("repository", f"{printable(repository)}, snapshot {printable(snapshot)}, {printable(document)}")]
    if is_record:
        position, count = numbers(lines[1][1], b"member", 2, at(1, 2))
        check(count == records, at(1, 2), f"the entry has {records} records", lines[1][1])
        found = root_of_path(parts[2], position, count, 1, lines[1]).hex().encode()
        check(found == root, at(2), f"not in the index at position {position}, or the path is wrong", lines[2][0])
        record = read_record(lines[2], document == b"simple/")
        digest = digest_of(record)
        package, version = record.get(b"Package", b""), record.get(b"Version", b"")
        result.insert(0, ("package", f"{printable(package)} {printable(version)}"))
        if file is not None:
            expected = version if document == b"simple/" else record.get(b"File") or package + b"_" + version + b".tar.gz"
            check(name in (None, expected), "file", "the record is of", expected)
            result.append(("file", check_file(file, digest)))
    else:
        check(file is None, "file", "the proof is of an index, and proves no file: --packages, or a proof of the package")
    if packages is not None:
        result.append(("index", check_index(packages, records, root)))
    result.append(("log", f"{printable(lines[5][0])}, entry {index}, tree size {size}"))
    for name, time in cosignatures:
        utc = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=time)
        result.append(("witness", f"{printable(name)}, {utc} UTC"))
    if policy[2] == b"none":
        result.append(("warning", "the policy requires no witness: the log can show a different history to others"))
    return [f"{label:<10}  {text}" for label, text in result]


def main(arguments):
    names, options, positional = ("--policy", "--repo", "--snapshot", "--document", "--file", "--packages"), {}, []
    rest = iter(arguments)
    for word in rest:
        if word in names and word not in options:
            options[word] = next(rest, "")
        else:
            positional.append(word)
    is_complete = all(options.get(name) for name in names[:3]) and "" not in options.values()
    if not is_complete or {"--file", "--packages"} <= options.keys() or len(positional) != 1 or positional[0].startswith("-"):
        print("usage: " + __doc__.split("\n\n")[1].strip(), file=sys.stderr)
        return 2
    try:
        contents = {}
        for name in ("PROOF", "--policy", "--file", "--packages"):
            path = positional[0] if name == "PROOF" else options.get(name)
            if path is not None:
                with open(path, "rb") as file:
                    contents[name] = file.read(MAX_PROOF + 1 if name == "PROOF" else -1)
        document = os.fsencode(options["--document"]) if "--document" in options else INDEX
        expected = os.fsencode(options["--repo"]), os.fsencode(options["--snapshot"]), document
        files = contents.get("--file"), contents.get("--packages"), os.fsencode(os.path.basename(options.get("--file", "")))
        result = verify(contents["PROOF"], contents["--policy"], *expected, *files)
    except OSError as error:
        print(f"cannot read {printable(os.fsencode(path))}: {error.strerror}", file=sys.stderr)
        return 1
    except Refused as reason:
        print(f"refused: {reason}", file=sys.stderr)
        return 1
    print("\n".join(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
