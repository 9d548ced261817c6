//! Lists of references in the format of git's protocol: packets that begin with their length (gitprotocol-common(5)).
//! The data that a git server sends is not trusted.

/// Maximum length of a packet in bytes, including the length field.
const MAX_PACKET: usize = 65_520;

/// An object and the name of a reference. In a list, an annotated tag is followed by the tagged commit and `name^{}`.
pub(super) type Reference = (String, String);

#[derive(Debug, PartialEq, Eq)]
enum Packet<'a> {
    /// The end of a list.
    Flush,
    /// A separator between the parts of a list.
    Delimiter,
    /// A line, without the newline at its end.
    Line(&'a [u8]),
}

/// Removes the first packet from the bytes and returns it; `None` if there is no complete packet.
fn next<'a>(bytes: &mut &'a [u8]) -> Option<Packet<'a>> {
    let (digits, rest) = bytes.split_at_checked(4)?;
    let digits =
        std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let length = usize::from_str_radix(digits, 16).ok()?;
    let (packet, rest) = match length {
        0 => (Packet::Flush, rest),
        1 => (Packet::Delimiter, rest),
        4..=MAX_PACKET => {
            let (line, rest) = rest.split_at_checked(length - 4)?;
            (Packet::Line(line.strip_suffix(b"\n").unwrap_or(line)), rest)
        }
        _ => return None,
    };
    *bytes = rest;
    Some(packet)
}

/// Returns the body of the command `ls-refs` (gitprotocol-v2(5)) for references that begin with one of the prefixes.
pub(super) fn command(prefixes: &[String]) -> Vec<u8> {
    let packet = |line: String| format!("{:04x}{line}\n", line.len() + 5);
    let mut body = packet("command=ls-refs".to_owned()) + "0001" + &packet("peel".to_owned());
    for prefix in prefixes {
        body += &packet(format!("ref-prefix {prefix}"));
    }
    (body + "0000").into_bytes()
}

/// Reads the response to [`command`]: lines of the form `<object> <name>[ peeled:<commit>]`. `None` if it is invalid.
pub(super) fn command_response(mut bytes: &[u8]) -> Option<Vec<Reference>> {
    let mut references = Vec::new();
    loop {
        match next(&mut bytes)? {
            Packet::Flush => return Some(references),
            Packet::Delimiter => return None,
            Packet::Line(line) => {
                // No builder uses a name that is not UTF-8.
                let Ok(line) = std::str::from_utf8(line) else { continue };
                let mut words = line.split(' ');
                let (object, name) = (words.next().filter(|word| is_object(word))?, words.next()?);
                references.push((object.to_owned(), name.to_owned()));
                if let Some(commit) = words.find_map(|word| word.strip_prefix("peeled:")) {
                    let commit = Some(commit).filter(|commit| is_object(commit))?;
                    references.push((commit.to_owned(), format!("{name}^{{}}")));
                }
            }
        }
    }
}

/// Reads an advertisement (gitprotocol-http(5)): lines of the form `<object> <name>`; the first line also contains
/// capabilities, after a NUL byte. `None` if it is invalid.
pub(super) fn advertisement(mut bytes: &[u8]) -> Option<Vec<Reference>> {
    if next(&mut bytes)? != Packet::Line(b"# service=git-upload-pack") || next(&mut bytes)? != Packet::Flush {
        return None;
    }
    let mut references = Vec::new();
    loop {
        match next(&mut bytes)? {
            Packet::Flush => return Some(references),
            Packet::Delimiter => return None,
            Packet::Line(line) => {
                let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
                let Ok(line) = std::str::from_utf8(line) else { continue };
                let (object, name) = line.split_once(' ')?;
                // Without references, a line has only capabilities; a shallow repository lists its oldest commits.
                if name != "capabilities^{}" && object != "shallow" {
                    references
                        .push((Some(object).filter(|object| is_object(object))?.to_owned(), name.to_owned()));
                }
            }
        }
    }
}

/// Returns whether a text is the name of an object: SHA-1 or SHA-256 in lower-case hexadecimal.
fn is_object(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn packets(lines: &[&str]) -> Vec<u8> {
        let lines: String = lines.iter().map(|line| format!("{:04x}{line}\n", line.len() + 5)).collect();
        (lines + "0000").into_bytes()
    }

    fn pair(object: &str, name: &str) -> Reference {
        (object.to_owned(), name.to_owned())
    }

    #[test]
    fn the_command_names_prefixes() {
        let body = String::from_utf8(command(&["HEAD".to_owned()])).unwrap();
        assert_eq!(body, "0014command=ls-refs\n00010009peel\n0014ref-prefix HEAD\n0000");
    }

    #[test]
    fn responses_to_the_command_are_read_with_peeled_tags() {
        let (head, tag) = (format!("{A} HEAD"), format!("{A} refs/tags/v1 peeled:{B}"));
        let expected = vec![pair(A, "HEAD"), pair(A, "refs/tags/v1"), pair(B, "refs/tags/v1^{}")];
        assert_eq!(command_response(&packets(&[&head, &tag])), Some(expected));
        assert_eq!(command_response(b"0000"), Some(vec![]));
    }

    #[test]
    fn advertisements_are_read_without_capabilities() {
        let mut body = packets(&["# service=git-upload-pack"]);
        let lines = [format!("{A} HEAD\0multi_ack agent=git/2"), format!("{B} refs/heads/main")];
        body.extend(packets(&[&lines[0], &lines[1], &format!("shallow {B}")]));
        assert_eq!(advertisement(&body), Some(vec![pair(A, "HEAD"), pair(B, "refs/heads/main")]));
        let mut empty = packets(&["# service=git-upload-pack"]);
        empty.extend(packets(&[&format!("{} capabilities^{{}}\0agent=git/2", "0".repeat(40))]));
        assert_eq!(advertisement(&empty), Some(vec![]));
    }

    #[test]
    fn other_bytes_are_not_read_as_a_list() {
        let complete = packets(&[&format!("{A} HEAD")]);
        let cut = |count: usize| complete[..complete.len() - count].to_vec();
        for body in [
            vec![],
            cut(1),
            cut(4),
            cut(9),
            b"0003".to_vec(),
            b"+004x".to_vec(),
            b"ffff".to_vec(),
            b"<html>".to_vec(),
            "00é0".into(),
            packets(&["ERR no such repository"]),
            packets(&["x HEAD"]),
            packets(&[&format!("{} HEAD", A.to_uppercase())]),
            packets(&[A]),
            packets(&[&format!("{A} refs/tags/v1 peeled:x")]),
        ] {
            assert_eq!(command_response(&body), None, "{}", String::from_utf8_lossy(&body));
            assert_eq!(advertisement(&body), None, "{}", String::from_utf8_lossy(&body));
        }
    }
}
