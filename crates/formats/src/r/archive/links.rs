//! Paths and links of an archive: checks that they stay inside its top-level folder, in any order of unpacking.

use super::ArchiveError;
use std::collections::HashSet;

/// Checks a member's name, and returns it without `./` and without doubled and trailing slashes; empty for the root
/// itself. Backslashes also count as separators, as they do for R on Windows.
///
/// # Errors
/// The name is empty, is not UTF-8, is absolute, or contains NUL or `..`.
pub fn validate_path(name: &[u8]) -> Result<String, ArchiveError> {
    let excerpt = || String::from_utf8_lossy(name).escape_debug().take(200).collect::<String>();
    let Ok(text) = std::str::from_utf8(name) else { return Err(ArchiveError::NotUtf8(excerpt())) };
    if text.is_empty() || text.contains('\0') {
        return Err(ArchiveError::BadName(excerpt()));
    }
    if is_absolute(text) {
        return Err(ArchiveError::AbsolutePath(excerpt()));
    }
    if text.split(['/', '\\']).any(|part| part == "..") {
        return Err(ArchiveError::ParentPath(excerpt()));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    Ok(parts.join("/"))
}

fn is_absolute(text: &str) -> bool {
    let bytes = text.as_bytes();
    text.starts_with(['/', '\\']) || (bytes.len() >= 2 && bytes[1] == b':' && bytes[0].is_ascii_alphabetic())
}

/// Checks a symbolic link: `..` is allowed only at the beginning, and must not lead above the package's folder.
/// Together with [`LinkCheck::check`] (no member is below a link), this also covers chains of links.
pub fn check_symlink(path: &str, target: &[u8]) -> Result<(), ArchiveError> {
    let error = || link_outside_error(path, target);
    let text = std::str::from_utf8(target).map_err(|_| error())?;
    if text.is_empty() || text.contains('\0') || is_absolute(text) {
        return Err(error());
    }
    // The link `a1/x/link` is in a1/x: one `..` is inside the package, two are not.
    let mut depth = path.split('/').count().saturating_sub(2);
    let mut has_descended = false;
    for part in text.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." if has_descended || depth == 0 => return Err(error()),
            ".." => depth -= 1,
            _ => has_descended = true,
        }
    }
    Ok(())
}

/// Checks a hard link: its target is a path in the archive, below the same top-level folder.
pub fn check_hard_link(path: &str, target: &[u8]) -> Result<(), ArchiveError> {
    let target_path = validate_path(target).map_err(|_| link_outside_error(path, target))?;
    let top_folder = |p: &str| p.split('/').next().map(str::to_owned);
    if target_path.contains('/') && top_folder(&target_path) == top_folder(path) {
        Ok(())
    } else {
        Err(link_outside_error(path, target))
    }
}

fn link_outside_error(path: &str, target: &[u8]) -> ArchiveError {
    let target = String::from_utf8_lossy(target).escape_debug().take(200).collect();
    ArchiveError::LinkOutside { path: path.chars().take(200).collect(), target }
}

/// The folders and links of an archive, to detect members that would be written through a link.
#[derive(Default)]
pub struct LinkCheck {
    folders: HashSet<String>,
    links: HashSet<String>,
    /// The total length of all stored names, in bytes.
    name_bytes: usize,
}

/// Maximum total length of the stored names, in bytes; real packages need about ten kilobytes.
const MAX_NAME_BYTES: usize = 16 << 20;

impl LinkCheck {
    /// Adds a member; returns false when the names exceed the limit.
    pub fn add(&mut self, path: &str, is_link: bool) -> bool {
        if is_link && self.links.insert(path.to_owned()) {
            self.name_bytes += path.len();
        }
        let mut child = path;
        while let Some((parent, _)) = child.rsplit_once('/') {
            if self.folders.contains(parent) {
                break;
            }
            self.name_bytes += parent.len();
            self.folders.insert(parent.to_owned());
            child = parent;
        }
        self.name_bytes <= MAX_NAME_BYTES
    }

    /// Checks, after the last member, that no folder with members is also a link, in any order.
    pub fn check(&self) -> Result<(), ArchiveError> {
        match self.links.iter().find(|link| self.folders.contains(*link)) {
            Some(link) => Err(ArchiveError::ThroughLink(link.clone())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalized() {
        for (name, path) in
            [("./a1/x", "a1/x"), ("a1//x/", "a1/x"), ("./", ""), ("a1/./x", "a1/x"), ("a1/..x", "a1/..x")]
        {
            assert_eq!(validate_path(name.as_bytes()).expect(name), path);
        }
    }

    #[test]
    fn paths_outside_the_archives_folder_are_refused() {
        for name in ["/etc/passwd", "\\x", "C:\\x", "c:x"] {
            assert!(matches!(validate_path(name.as_bytes()), Err(ArchiveError::AbsolutePath(_))), "{name}");
        }
        for name in ["../x", "a1/../../x", "a1/..", "a1\\..\\..\\x"] {
            assert!(matches!(validate_path(name.as_bytes()), Err(ArchiveError::ParentPath(_))), "{name}");
        }
        assert!(matches!(validate_path(b"a1/\xff"), Err(ArchiveError::NotUtf8(_))));
        assert!(matches!(validate_path(b""), Err(ArchiveError::BadName(_))));
        assert!(matches!(validate_path(b"a1/x\0y"), Err(ArchiveError::BadName(_))));
    }

    #[test]
    fn symbolic_links_stay_in_the_folder() {
        for target in ["x", "../y", "../../R/x", "./x/y"] {
            assert!(check_symlink("a1/inst/doc/link", target.as_bytes()).is_ok(), "{target}");
        }
        for target in ["../../../x", "/etc", "x/../../y", "x/..", "", "..\\..\\..\\x", "C:/x"] {
            assert!(check_symlink("a1/inst/doc/link", target.as_bytes()).is_err(), "{target}");
        }
        assert!(check_symlink("a1/link", b"..").is_err());
    }

    #[test]
    fn hard_links_stay_in_the_folder() {
        assert!(check_hard_link("a1/x", b"a1/y").is_ok());
        for target in ["b2/y", "../a1/y", "/a1/y", "a1", ""] {
            assert!(check_hard_link("a1/x", target.as_bytes()).is_err(), "{target}");
        }
    }

    #[test]
    fn a_member_below_a_link_is_found_in_either_order() {
        for order in [[("a1/l", true), ("a1/l/x/y", false)], [("a1/l/x/y", false), ("a1/l", true)]] {
            let mut check = LinkCheck::default();
            assert!(order.iter().all(|(path, link)| check.add(path, *link)));
            assert!(matches!(check.check(), Err(ArchiveError::ThroughLink(p)) if p == "a1/l"));
        }
    }
}
