//! RECORD of a wheel: the digest of every member, as CSV (PEP 376, 427).

use std::collections::HashMap;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::{MAX_NOTICES, PackageError, excerpt};
use crate::python::metadata::validity::is_line_boundary;
use base::model::digest::Sha256;

/// The digests, by path; `None` for a row without a SHA-256.
pub(super) type Record = HashMap<String, Option<Sha256>>;

/// A table of the members of a wheel.
pub(super) struct Rows {
    pub record: Record,
    /// The paths of rows that are no members, at most [`MAX_NOTICES`].
    pub others: Vec<String>,
}

/// Parses RECORD. Rows of paths that are not members of the wheel are not stored, so that millions of them take no
/// memory. Fails with [`PackageError::Record`] with the number of a malformed line, [`PackageError::RecordPath`] for a
/// path that is not below the folder of the installation: pip deletes what stands there when it removes or replaces the
/// package.
pub(super) fn parse(bytes: &[u8], is_member: impl Fn(&str) -> bool) -> Result<Rows, PackageError> {
    let text = String::from_utf8_lossy(bytes);
    let mut rows = Rows { record: Record::new(), others: Vec::new() };
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let bad_line = || PackageError::Record(number + 1);
        let line = line.trim_end_matches('\r');
        // pip would read several rows.
        if line.contains(is_line_boundary) {
            return Err(bad_line());
        }
        let (path, rest) = path(line).ok_or_else(bad_line)?;
        if is_member(&path) {
            let hash = rest.split(',').next().unwrap_or_default().trim();
            rows.record.insert(path, hash.strip_prefix("sha256=").and_then(digest));
        } else if !is_inside(&path) {
            return Err(PackageError::RecordPath { line: number + 1, path: excerpt(&path) });
        } else if rows.others.len() < MAX_NOTICES {
            rows.others.push(path);
        }
    }
    Ok(rows)
}

/// Returns true for a path that is below the folder of the installation, and not the folder itself, on every system: `\` is
/// a separator on Windows, and a part of names elsewhere.
fn is_inside(path: &str) -> bool {
    let is_absolute = path.starts_with(['/', '\\']) || path.as_bytes().get(1) == Some(&b':');
    !is_absolute && goes_down(path.split('/')) && goes_down(path.split(['/', '\\']))
}

/// Returns whether the parts of a path never leave the folder in which they begin, and do not end in it.
fn goes_down<'a>(mut parts: impl Iterator<Item = &'a str>) -> bool {
    let depth = parts.try_fold(0_usize, |depth, part| match part {
        "" | "." => Some(depth),
        ".." => depth.checked_sub(1),
        _ => Some(depth + 1),
    });
    depth.is_some_and(|depth| depth > 0)
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
        let Rows { record, others } = parse(text.as_bytes(), |path| path != "other").expect("a record");
        assert_eq!(others, ["other"]);
        assert_eq!(record["a/b.py"], Some(Sha256([7; 32])));
        assert_eq!(record["x,\"y\""], Some(Sha256([7; 32])));
        assert_eq!((record["a/RECORD"], record["old"], record.len()), (None, None, 4));
    }

    #[test]
    fn malformed_rows_are_refused_by_line() {
        for bad in [
            "a,,\nno columns",
            "a,,\n\"open,,",
            "a,,\n,,",
            "a,,\n\"x\"y,,",
            "a,,\nb,,\u{2028}/x,,",
            "a,,\nb,,\r/x,,",
        ] {
            assert!(matches!(parse(bad.as_bytes(), |_| true), Err(PackageError::Record(2))), "{bad}");
        }
    }

    #[test]
    fn rows_are_inside_the_installation() {
        for path in [
            "none.py",
            "other/__init__.py",
            "folder/",
            "a/../b",
            "./a",
            "a\\b",
            "a/..b",
            "...",
            "~/x",
            "a\\b/../c",
            "a/b\\..\\c",
        ] {
            let rows = parse(format!("{path},,\r\r\n").as_bytes(), |_| false).expect(path);
            assert_eq!(rows.others, [path], "reported");
        }
        for path in [
            "/x",
            "../../../bin/x",
            "a/../../x",
            "./",
            ".",
            "a/..",
            "..",
            "\\x",
            "..\\x",
            "C:\\x",
            "c:x",
            // One part on Unix.
            "odd\\a\\b\\c/../../../../bin/victim",
            "a\\b\\c\\d/../../../../bin/victim",
            "odd\\a/../../victim.py",
            "a\\b/..",
            "a/b\\../../..",
            "a/..\\..\\x",
            "//host/x",
            "\"/a,b\"",
        ] {
            let result = parse(format!("{path},,\n").as_bytes(), |_| false);
            assert!(matches!(result, Err(PackageError::RecordPath { line: 1, .. })), "{path}");
        }
        let many = "x,,\n".repeat(100);
        assert_eq!(parse(many.as_bytes(), |_| false).expect("rows").others.len(), MAX_NOTICES);
    }
}
