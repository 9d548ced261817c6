//! A search for tokens in the files that a server wrote.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::bytes::Regex;

/// Maximum length of a file that is searched, in bytes: larger ones are databases of whole mirrors.
const MAX_LENGTH: u64 = 32 << 20;

/// Tokens of `rspm create token`, and signed ones.
static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    let signed = r"eyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{20,}";
    Regex::new(&format!(r"(?-u)rspm_[0-9A-Za-z]{{36}}\b|{signed}")).expect("valid")
});

/// Whether a text contains a token.
pub(crate) fn has_token(text: &[u8]) -> bool {
    TOKEN.is_match(text)
}

/// The files with a token that a server wrote into its directory: logs, data and backups. Tests write their own files elsewhere.
pub(crate) fn files_with_tokens(server: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(server).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.contains(".log") || name == "data" || name == "tmp" || name.starts_with("backup") {
            search(&path, &mut found);
        }
    }
    found
}

fn search(path: &Path, found: &mut Vec<PathBuf>) {
    let Ok(metadata) = path.symlink_metadata() else { return };
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            search(&entry.path(), found);
        }
    } else if metadata.is_file()
        && metadata.len() <= MAX_LENGTH
        && std::fs::read(path).is_ok_and(|bytes| has_token(&bytes))
    {
        found.push(path.to_owned());
    }
}
