//! The checksum lists of packages, `MD5` and, from R 4.6 on, `SHA256`: R checks the files at each installation.

use md5::Md5;
use sha2::{Digest, Sha256};

use super::dcf;

/// The file with the signature of `SHA256`. A package with this file must keep its bytes.
pub(in crate::r) const SIGNATURE: &str = "SHA256.sig";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::r) enum ChecksumList {
    /// Lines of 32 digits, a blank, a `*` or a blank, and a path.
    Md5,
    /// Lines of 64 digits, the size in bytes, and a path, with a blank between them.
    Sha256,
}

impl ChecksumList {
    pub(in crate::r) const ALL: [ChecksumList; 2] = [ChecksumList::Md5, ChecksumList::Sha256];

    pub(in crate::r) fn file_name(self) -> &'static str {
        match self {
            ChecksumList::Md5 => "MD5",
            ChecksumList::Sha256 => "SHA256",
        }
    }

    /// Returns the list with the checksums of replaced files, pairs of path and new bytes. Other lines are unchanged.
    pub(in crate::r) fn update(self, contents: &[u8], replaced: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::with_capacity(contents.len() + 16);
        let mut text = contents;
        while !text.is_empty() {
            let (line, rest) = dcf::split_line(text);
            let line_end = &text[line.len()..text.len() - rest.len()];
            let new_file =
                self.path(line).and_then(|path| replaced.iter().find(|(name, _)| name.as_bytes() == path));
            match (self, new_file) {
                (_, None) => out.extend_from_slice(line),
                (ChecksumList::Md5, Some((_, bytes))) => {
                    out.extend_from_slice(hex::encode(Md5::digest(bytes)).as_bytes());
                    out.extend_from_slice(&line[32..]);
                }
                (ChecksumList::Sha256, Some((path, bytes))) => {
                    let digest = hex::encode(Sha256::digest(bytes));
                    out.extend_from_slice(format!("{digest} {} {path}", bytes.len()).as_bytes());
                }
            }
            out.extend_from_slice(line_end);
            text = rest;
        }
        out
    }

    /// Returns the path in a line; `None` for a line of another form.
    fn path(self, line: &[u8]) -> Option<&[u8]> {
        match self {
            ChecksumList::Md5 => match line.get(32..34)? {
                b" *" | b"  " => Some(&line[34..]),
                _ => None,
            },
            ChecksumList::Sha256 => {
                let (size, path) = split_blank(line.get(64..)?.strip_prefix(b" ")?)?;
                size.iter().all(u8::is_ascii_digit).then_some(path)
            }
        }
    }
}

fn split_blank(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = text.iter().position(|b| *b == b' ')?;
    Some((&text[..blank], &text[blank + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_of_replaced_files_change() {
        let (md5, sha256) = ("0".repeat(32), "0".repeat(64));
        let new: &[(&str, &[u8])] = &[("DESCRIPTION", b"A: 1\n"), ("Meta/package.rds", b"")];
        let update = |list: ChecksumList, text: String| {
            String::from_utf8(list.update(text.as_bytes(), new)).expect("text")
        };
        let text =
            format!("{md5} *DESCRIPTION\r\n{md5}  Meta/package.rds\n{md5} *R/DESCRIPTION\nother\n{md5} *x");
        let expected = format!(
            "{} *DESCRIPTION\r\n{}  Meta/package.rds\n{md5} *R/DESCRIPTION\nother\n{md5} *x",
            hex::encode(Md5::digest(b"A: 1\n")),
            hex::encode(Md5::digest(b""))
        );
        assert_eq!(update(ChecksumList::Md5, text), expected);
        let text = format!(
            "{sha256} 99 DESCRIPTION\n{sha256} 1234 Meta/package.rds\n{sha256} 3 inst/DESCRIPTION\n{sha256} x DESCRIPTION\n"
        );
        let expected = format!(
            "{} 5 DESCRIPTION\n{} 0 Meta/package.rds\n{sha256} 3 inst/DESCRIPTION\n{sha256} x DESCRIPTION\n",
            hex::encode(Sha256::digest(b"A: 1\n")),
            hex::encode(Sha256::digest(b""))
        );
        assert_eq!(update(ChecksumList::Sha256, text), expected);
    }
}
