//! Reads the configuration file, and decrypts its encrypted values. In this module, only this file,
//! [`super::credentials`], [`super::client_secret`], [`super::key_file`] and the error texts of [`super::problem`]
//! access the disk.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::decryption::{self, Keys};
use super::key_file::{self, KeyEnvironment};
use super::lexer::MAX_LENGTH;
use super::problem::{ConfigError, Origin};
use super::reader::Reader;
use super::validate::{Environment, MergedSettings, from_settings};
use super::{Loaded, environment, parse, value};

/// Default path of the configuration file.
pub const DEFAULT_FILE: &str = "/etc/rstudio-pm/rstudio-pm.gcfg";

/// Commands after a change of paths: systemd generates the sandbox of the service from the file.
pub const RESTART_COMMAND: &str = "systemctl restart rstudio-pm";

/// Reads the file at `path` and the files that `PACKAGEMANAGER_…_FILE` names, parses it, applies the environment, and
/// decrypts its encrypted values. `env` must have only the pairs of [`std::env::vars_os`] that are valid UTF-8;
/// [`std::env::vars`] panics on others.
pub fn load(path: &Path, env: impl IntoIterator<Item = (String, String)>) -> Result<Loaded, ConfigError> {
    let (text, env) = read_inputs(path, env)?;
    let key_environment = KeyEnvironment::from_variables(&env);
    let MergedSettings { mut settings, mut errors, mut warnings } =
        MergedSettings::read(&path.display().to_string(), &text, env);
    let key_path = Reader::new(&settings).value("Server", "EncryptionKeyPath", value::path);
    let key = match key_environment.find(&key_path) {
        Ok(key) => {
            // An unusable old key is treated as absent.
            let old_key = key_file::read(&key_file::old_path(&key_path)).ok().flatten();
            let keys = Keys { current_key: key.as_ref(), old_key: old_key.as_ref(), path: &key_path };
            let (decryption_errors, old_key_warnings) = decryption::decrypt_values(&mut settings, &keys);
            errors.extend(decryption_errors);
            warnings.extend(old_key_warnings);
            key
        }
        Err(error) => {
            let setting =
                settings.get("Server", None, "EncryptionKeyPath").and_then(|setting| setting.values.last());
            errors.push(error.problem(setting.map_or(Origin::Default, |value| value.origin.clone())));
            decryption::mark_encrypted(&mut settings);
            None
        }
    };
    let environment = Environment { file: std::path::absolute(path).ok(), encryption_key: key.map(Arc::new) };
    from_settings(settings, errors, warnings, environment)
}

/// Reads the configuration like [`load`], but does not decrypt values. For programs that use no encrypted values.
pub fn load_encrypted(
    path: &Path,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, ConfigError> {
    let (text, env) = read_inputs(path, env)?;
    parse(&path.display().to_string(), &text, env)
}

/// Names and values of environment variables.
type Variables = Vec<(String, String)>;

/// Returns the text of the configuration file, and the environment with the secrets of its files.
fn read_inputs(
    path: &Path,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<(Vec<u8>, Variables), ConfigError> {
    let text = read(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    match environment::read_secret_files(env) {
        (env, errors) if errors.is_empty() => Ok((text, env)),
        (_, errors) => Err(ConfigError::Invalid { errors, warnings: Vec::new() }),
    }
}

/// Returns the bytes of a configuration file, at most one more than the lexer accepts: the lexer detects an overlong
/// file, and a device or a huge file does not fill the memory.
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
        // Another error is the key of an installed server, if it cannot be read.
        let expected = format!("{}:2:10: [HTTP] Listen = \"x\": is not an address", path.display());
        assert!(message.lines().any(|line| line.starts_with(&expected)), "{message}");
    }

    #[test]
    fn an_endless_file_is_refused() {
        let message = load(Path::new("/dev/zero"), []).expect_err("too long").to_string();
        assert!(message.contains("are read"), "{message}");
    }
}
