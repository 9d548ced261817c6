//! Selects the README of a package: `README.md`, `.txt` or none, in any case, at the top level or in a folder there.

/// The largest accepted README in bytes: 1 MiB.
pub const MAX_README: u64 = 1 << 20;

/// The preference of a candidate; the greatest is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// `README`
    NoExtension,
    /// `README.txt`
    Text,
    /// `README.md`
    Markdown,
}

/// Returns the rank of a path in an archive; `None` if it is not a README, or is more than one directory deep.
pub fn rank(path: &str) -> Option<Rank> {
    let name = match path.split_once('/') {
        None => path,
        Some((_, name)) if !name.contains('/') => name,
        Some(_) => return None,
    };
    match name.to_ascii_lowercase().as_str() {
        "readme.md" => Some(Rank::Markdown),
        "readme.txt" => Some(Rank::Text),
        "readme" => Some(Rank::NoExtension),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_preferred_to_text_and_text_to_no_extension() {
        assert!(rank("a1/README.md") > rank("a1/readme.TXT"));
        assert!(rank("a1/readme.TXT") > rank("a1/ReadMe"));
        assert!(rank("README").is_some());
    }

    #[test]
    fn other_names_and_deeper_folders_do_not_count() {
        for path in ["a1/inst/README.md", "a1/README.Rmd", "a1/README.md/x", "a1/xREADME", "", "a1/"] {
            assert_eq!(rank(path), None, "{path}");
        }
    }
}
