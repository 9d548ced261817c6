//! RECORD of a wheel: the digest of every member, as CSV (PEP 376, 427).

use std::collections::HashMap;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::PackageError;
use crate::model::digest::Sha256;

/// The digests, by path; `None` for a row without a SHA-256.
pub(super) type Record = HashMap<String, Option<Sha256>>;

/// Parses RECORD. Rows of paths that are not members of the wheel are not stored, so that millions of them take no
/// memory.
///
/// # Errors
/// [`PackageError::Record`] with the number of a malformed line.
pub(super) fn parse(bytes: &[u8], is_member: impl Fn(&str) -> bool) -> Result<Record, PackageError> {
    let text = String::from_utf8_lossy(bytes);
    let mut record = Record::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let (path, rest) = path(line).ok_or(PackageError::Record(number + 1))?;
        if is_member(&path) {
            let hash = rest.split(',').next().unwrap_or_default().trim();
            record.insert(path, hash.strip_prefix("sha256=").and_then(digest));
        }
    }
    Ok(record)
}

/// Splits off the first column, which may be quoted.
fn path(line: &str) -> Option<(String, &str)> {
    let Some(inner) = line.strip_prefix('"') else {
        let (path, rest) = line.split_once(',')?;
        return (!path.is_empty()).then(|| (path.to_owned(), rest));
    };
    let mut path = String::new();
    let mut rest = inner;
    loop {
        let (piece, tail) = rest.split_once('"')?;
        path.push_str(piece);
        match tail.strip_prefix('"') {
            Some(tail) => {
                path.push('"');
                rest = tail;
            }
            None => return Some((path, tail.strip_prefix(',')?)),
        }
    }
}

fn digest(text: &str) -> Option<Sha256> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
    Some(Sha256(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_a_path_and_a_digest() {
        let digest = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
        let text = format!(
            "a/b.py,sha256={digest},3\r\n\"x,\"\"y\"\"\",sha256={digest}=,\n\na/RECORD,,\nold,md5=00,1\nother,,\n"
        );
        let record = parse(text.as_bytes(), |path| path != "other").expect("a record");
        assert_eq!(record["a/b.py"], Some(Sha256([7; 32])));
        assert_eq!(record["x,\"y\""], Some(Sha256([7; 32])));
        assert_eq!((record["a/RECORD"], record["old"], record.len()), (None, None, 4));
    }

    #[test]
    fn malformed_rows_are_refused_by_line() {
        for bad in ["a,,\nno columns", "a,,\n\"open,,", "a,,\n,,", "a,,\n\"x\"y,,"] {
            assert!(matches!(parse(bad.as_bytes(), |_| true), Err(PackageError::Record(2))), "{bad}");
        }
    }
}
