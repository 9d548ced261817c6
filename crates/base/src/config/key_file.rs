//! Reads the encryption key of a server from the environment, a credential of systemd or its file, and writes the file.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use super::problem::{Origin, Problem, ProblemCategory, permission_remedy};
use crate::encryption::key::{Key, KeyError, LENGTH, MAX_TEXT};
use crate::encryption::value::{self, NONCE_LENGTH};

/// Variable with the text of the key.
pub const KEY_VARIABLE: &str = "PACKAGEMANAGER_ENCRYPTION_KEY";
/// Variable with the directory of a service's credentials, set by systemd.
pub const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";
const CREDENTIAL: &str = "rstudio-pm.key";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    Environment,
    Credential(PathBuf),
    /// The file at this path, `Server.EncryptionKeyPath`.
    File(PathBuf),
}

impl KeySource {
    pub fn is_file(&self) -> bool {
        matches!(self, KeySource::File(_))
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySource::Environment => f.write_str(KEY_VARIABLE),
            KeySource::Credential(path) | KeySource::File(path) => path.display().fmt(f),
        }
    }
}

/// A key with its source; displayed as `/var/lib/rstudio-pm/rstudio-pm.key (3f2a91bc…)`.
#[derive(Debug)]
pub struct EncryptionKey {
    pub key: Key,
    pub source: KeySource,
}

impl fmt::Display for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.source, self.key.fingerprint())
    }
}

/// A key that cannot be used. No error text contains a part of the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("the encryption key {key_source} cannot be read: {source}{}", remedy(key_source, source))]
    Unreadable { key_source: KeySource, source: io::Error },
    #[error(
        "{key_source} is not an encryption key: {source}; restore it from a backup or copy it from another server"
    )]
    Invalid { key_source: KeySource, source: KeyError },
}

fn remedy(key_source: &KeySource, error: &io::Error) -> String {
    match key_source {
        KeySource::Credential(path) | KeySource::File(path)
            if error.kind() == ErrorKind::PermissionDenied =>
        {
            format!("; {}", permission_remedy(path))
        }
        KeySource::Environment | KeySource::Credential(_) | KeySource::File(_) => String::new(),
    }
}

impl KeyFileError {
    /// Converts the error to a problem of the configuration; `path_origin` is the origin of
    /// `Server.EncryptionKeyPath`.
    pub(super) fn problem(&self, path_origin: Origin) -> Problem {
        let (KeyFileError::Unreadable { key_source, .. } | KeyFileError::Invalid { key_source, .. }) = self;
        let variable = |name: &str| (Origin::Environment(name.to_owned()), None);
        let (origin, property) = match key_source {
            KeySource::Environment => variable(KEY_VARIABLE),
            KeySource::Credential(_) => variable(CREDENTIALS_VARIABLE),
            KeySource::File(_) => (path_origin, Some("EncryptionKeyPath".to_owned())),
        };
        Problem {
            category: ProblemCategory::Path,
            origin,
            section: property.as_ref().map(|_| "[Server]".to_owned()),
            property,
            value: None,
            message: self.to_string(),
        }
    }
}

/// The parts of an environment that may contain a key or its directory.
pub struct KeyEnvironment {
    key: Option<Zeroizing<String>>,
    credentials: Option<PathBuf>,
}

impl KeyEnvironment {
    /// Extracts the parts from environment variables.
    pub fn from_variables(env: &[(String, String)]) -> KeyEnvironment {
        let variable = |name: &str| {
            let mut values = env.iter().filter(|(variable, value)| variable == name && !value.is_empty());
            values.next().map(|(_, value)| value.clone())
        };
        KeyEnvironment {
            key: variable(KEY_VARIABLE).map(Zeroizing::new),
            credentials: variable(CREDENTIALS_VARIABLE).map(PathBuf::from),
        }
    }

    /// Returns the key in the environment, otherwise in the credential, otherwise in the file at `path`; `None` if none
    /// of the three exists.
    ///
    /// # Errors
    /// The first of the three that exists cannot be used.
    pub fn find(&self, path: &Path) -> Result<Option<EncryptionKey>, KeyFileError> {
        let parse = |text: &[u8], key_source: KeySource| match Key::parse(text) {
            Ok(key) => Ok(Some(EncryptionKey { key, source: key_source })),
            Err(source) => Err(KeyFileError::Invalid { key_source, source }),
        };
        if let Some(text) = &self.key {
            return parse(text.as_bytes(), KeySource::Environment);
        }
        let credential = self.credentials.iter().map(|dir| KeySource::Credential(dir.join(CREDENTIAL)));
        for key_source in credential.chain([KeySource::File(path.to_owned())]) {
            let (KeySource::Credential(path) | KeySource::File(path)) = &key_source else { continue };
            match read_text(path) {
                Ok(text) => return parse(&text, key_source),
                // A directory above the file that is missing, or is a file, is reported by another check.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(source) => return Err(KeyFileError::Unreadable { key_source, source }),
            }
        }
        Ok(None)
    }
}

fn read_text(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // SECURITY: this capacity prevents a reallocation, which would leave a copy of the text in freed memory.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_TEXT + 1));
    File::open(path)?.take(MAX_TEXT as u64).read_to_end(&mut text)?;
    Ok(text)
}

/// Reads the key in a file; `None` if there is no such file.
pub fn read(path: &Path) -> Result<Option<EncryptionKey>, KeyFileError> {
    KeyEnvironment { key: None, credentials: None }.find(path)
}

/// Returns the steps, in order, after the loss of the key at this path. The configuration comes before the
/// database, because its password may be among the encrypted values.
pub fn steps_if_lost(path: &Path) -> String {
    format!(
        "if the key is lost: 1. create a new one: rspm encrypt generate --file-out={0}; 2. replace each encrypted value of the \
         configuration by the output of: rspm encrypt; 3. make it the key of the database: rspm encrypt rotate \
         --key-lost --new-key={0}",
        path.display()
    )
}

/// Returns the path of the previous key, with which values of the configuration may be encrypted.
pub fn old_path(path: &Path) -> PathBuf {
    with_suffix(path, ".old")
}

/// Returns the path of the next key while a rotation replaces the key.
pub fn new_path(path: &Path) -> PathBuf {
    with_suffix(path, ".new")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

pub fn random() -> io::Result<Key> {
    let mut bytes = Zeroizing::new([0; LENGTH]);
    SysRng.try_fill_bytes(&mut *bytes).map_err(io::Error::other)?;
    Ok(Key::new(&bytes))
}

/// Encrypts a value for the configuration.
pub fn encrypt(key: &Key, text: &str) -> io::Result<String> {
    let mut nonce = [0; NONCE_LENGTH];
    SysRng.try_fill_bytes(&mut nonce).map_err(io::Error::other)?;
    Ok(value::encrypt(key, nonce, text))
}

/// Creates the file of a key atomically, with mode 0600, and syncs it to disk.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`], or the error of the file system.
pub fn create(path: &Path, key: &Key) -> io::Result<()> {
    temporary_file(path, key)?.persist_noclobber(path).map_err(|error| error.error)?;
    sync_directory(path)
}

/// Creates or replaces the file of a key.
pub fn replace(path: &Path, key: &Key) -> io::Result<()> {
    temporary_file(path, key)?.persist(path).map_err(|error| error.error)?;
    sync_directory(path)
}

/// Renames the file of a key, replacing another one.
pub fn rename(source: &Path, target: &Path) -> io::Result<()> {
    fs::rename(source, target)?;
    sync_directory(target)
}

fn temporary_file(path: &Path, key: &Key) -> io::Result<tempfile::NamedTempFile> {
    // The file is created with O_EXCL and mode 0600.
    let mut file = tempfile::Builder::new().prefix(".rstudio-pm.key-").tempfile_in(directory(path))?;
    file.write_all(key.text().as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn env(variables: &[(&str, &str)]) -> KeyEnvironment {
        let owned: Vec<_> = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        KeyEnvironment::from_variables(&owned)
    }

    fn key(byte: u8) -> Key {
        Key::new(&[byte; LENGTH])
    }

    #[test]
    fn the_environment_precedes_the_credential_which_precedes_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("k");
        create(&path, &key(1)).expect("written");
        create(&dir.path().join(CREDENTIAL), &key(2)).expect("written");
        let (credentials, text) = (dir.path().display().to_string(), key(3).text().to_string());
        let find = |env: KeyEnvironment| env.find(&path).expect("usable").map(|key| key.to_string());
        let expected =
            |source: &Path, byte| Some(format!("{} ({})", source.display(), key(byte).fingerprint()));
        let credential = (CREDENTIALS_VARIABLE, credentials.as_str());
        assert_eq!(find(env(&[])), expected(&path, 1));
        assert_eq!(find(env(&[credential, (KEY_VARIABLE, "")])), expected(&dir.path().join(CREDENTIAL), 2));
        assert_eq!(find(env(&[credential, (KEY_VARIABLE, &text)])), expected(Path::new(KEY_VARIABLE), 3));
        assert_eq!(find(env(&[(CREDENTIALS_VARIABLE, "/nonexistent")])), expected(&path, 1));
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(find(env(&[])), None);
    }

    #[test]
    fn a_key_that_cannot_be_used_is_an_error_that_does_not_repeat_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("k");
        std::fs::write(&path, "hunter2").expect("written");
        let error = read(&path).expect_err("no key").to_string();
        assert!(error.starts_with(&format!("{} is not an encryption key: ", path.display())), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        let error = env(&[(KEY_VARIABLE, "hunter2")]).find(&path).expect_err("no key");
        let problem = error.problem(Origin::Default).to_string();
        assert!(
            problem.starts_with(
                "environment PACKAGEMANAGER_ENCRYPTION_KEY: PACKAGEMANAGER_ENCRYPTION_KEY is not"
            ),
            "{problem}"
        );
        assert!(!problem.contains("hunter2"), "{problem}");
        let error = read(dir.path()).expect_err("a directory").to_string();
        assert!(
            error.starts_with(&format!("the encryption key {} cannot be read", dir.path().display())),
            "{error}"
        );
    }

    #[test]
    fn a_key_file_has_mode_0600_and_create_never_overwrites_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("k");
        let first = random().expect("random numbers");
        create(&path, &first).expect("written");
        assert_eq!(path.metadata().expect("exists").permissions().mode() & 0o7777, 0o600);
        assert_eq!(create(&path, &key(1)).expect_err("exists").kind(), ErrorKind::AlreadyExists);
        let stored = read(&path).expect("a key").expect("exists");
        assert_eq!(stored.key.fingerprint(), first.fingerprint());
        replace(&path, &key(1)).expect("written");
        rename(&path, &old_path(&path)).expect("renamed");
        let stored = read(&old_path(&path)).expect("a key").expect("exists");
        assert_eq!(stored.key.fingerprint(), key(1).fingerprint());
        assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 1);
    }
}
