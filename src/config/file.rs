//! Reads the configuration file; with [`super::credentials`] the only file of this room that accesses the disk.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::credentials;
use super::lexer::MAX_LENGTH;
use super::problem::ConfigError;
use super::{Loaded, parse};

/// Path of the configuration file unless another one is given.
pub const DEFAULT_FILE: &str = "/etc/rstudio-pm/rstudio-pm.gcfg";

/// Commands that make a new path of the configuration writable for the service: systemd generates its sandbox from the
/// file.
pub const RESTART_COMMAND: &str = "systemctl daemon-reload && systemctl restart rstudio-pm";

/// Reads the file at `path` and the files that `PACKAGEMANAGER_…_FILE` names, and parses it with the environment on
/// top: pairs of [`std::env::vars_os`] that are text ([`std::env::vars`] panics on others).
///
/// # Errors
/// A file cannot be read, or the errors of [`parse`].
pub fn load(path: &Path, env: impl IntoIterator<Item = (String, String)>) -> Result<Loaded, ConfigError> {
    let text = read(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let (env, errors) = credentials::read(env);
    if errors.is_empty() {
        parse(&path.display().to_string(), &text, env)
    } else {
        Err(ConfigError::Invalid { errors, warnings: Vec::new() })
    }
}

/// Returns the bytes of a configuration file, at most one more than the lexer accepts, so that it detects an overlong
/// file: a device or a huge file does not fill the memory.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_LENGTH as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_reported_with_its_path_and_a_remedy() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("none.gcfg");
        let message = load(&path, []).expect_err("there is no file").to_string();
        assert!(message.contains(&path.display().to_string()), "{message}");
        assert!(message.contains("--config"), "{message}");
    }

    #[test]
    fn an_unreadable_file_is_an_error_with_its_path() {
        let dir = tempfile::tempdir().expect("a directory");
        let message = load(dir.path(), []).expect_err("a directory is no file").to_string();
        assert!(message.contains(&dir.path().display().to_string()), "{message}");
    }

    #[test]
    fn messages_name_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.gcfg");
        std::fs::write(&path, "[HTTP]\nListen = x\n").expect("written");
        let message = load(&path, []).expect_err("x is no address").to_string();
        assert!(
            message
                .starts_with(&format!("{}:2:10: [HTTP] Listen = \"x\": is not an address", path.display())),
            "{message}"
        );
    }

    #[test]
    fn an_endless_file_is_refused() {
        let message = load(Path::new("/dev/zero"), []).expect_err("too long").to_string();
        assert!(message.contains("bytes are read") || message.contains("are read"), "{message}");
    }
}
