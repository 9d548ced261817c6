//! Imports, lists, deletes credentials for git servers, encrypted with the server's key; jobs get them by descriptors.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use super::failure::BuildFailure;
use super::ssh::key::PrivateKey;
use super::{Builds, ssh};
use base::config::{EncryptionKey, key_file};
use base::encryption::value;
use base::model::name::Name;
use builder::connection::credential_file;
use builder::message::Credential;
use builder::url::{GitUrl, Scheme};
use content::serve::RepoError;
use store::db::audit;
use store::db::git_builder::{self, GitBuilder};
use store::db::git_credential::{self, CredentialKind, GitCredential};

/// A credential to import. In a change, absent fields keep their values.
#[derive(Default)]
pub struct NewCredential {
    pub username: Option<String>,
    /// The password, plain or encrypted with the server's key.
    pub secret: Option<Zeroizing<String>>,
    /// A private key for SSH, and its passphrase.
    pub key: Option<(Zeroizing<String>, Option<Zeroizing<String>>)>,
    /// Accepted SSH host keys, in the format of `known_hosts`.
    pub known_hosts: Option<String>,
    /// The only host that the credential may be sent to; empty for any host.
    pub host: Option<String>,
}

/// The secrets with which a job logs in to a git server.
#[derive(Default)]
pub(super) struct Secrets {
    /// An immutable in-memory file with user name and password.
    pub(super) file: Option<OwnedFd>,
    /// The same user name and password, for requests that the server itself makes.
    pub(super) login: Option<Credential>,
    /// The private key for an SSH repository.
    pub(super) key: Option<Arc<PrivateKey>>,
    pub(super) known_hosts: String,
    /// Texts that must not appear in a log.
    pub(super) hidden: Vec<String>,
}

/// The error for an SSH repository without a credential.
pub(super) const NO_KEY: &str = "a repository over SSH needs a key: import one with rspm import ssh-key, and name it with \
    --credential";

pub(super) fn encryption_key(builds: &Builds) -> Result<Arc<EncryptionKey>, RepoError> {
    builds.state.config.load().require_encryption_key().map_err(RepoError::Conflict)
}

/// Encrypts a secret. The transaction that writes it calls [`encryption_key::check`](store::db::encryption_key::check).
pub(super) fn encrypt(key: &EncryptionKey, secret: &str) -> Result<String, RepoError> {
    key_file::encrypt(&key.key, secret)
        .map_err(|error| RepoError::Invalid(format!("could not encrypt the secret: {error}")))
}

/// Decrypts a secret from the database; `None` if it is not encrypted with this key.
pub(super) fn decrypt(key: &EncryptionKey, secret: &str) -> Option<Zeroizing<String>> {
    value::decrypt(&key.key, secret)
}

/// Imports a credential, or changes the existing one if `is_edit`. Returns it, and whether it existed before.
///
/// # Errors
/// [`RepoError::Conflict`] if a credential of that name exists and `succeed_on_existing` is false;
/// [`RepoError::Invalid`] for a name, user name, password or host with characters that are not allowed, for a file
/// that is not a private key, and for a wrong passphrase.
pub async fn import(
    builds: &Builds,
    kind: CredentialKind,
    name: &str,
    mut new: NewCredential,
    is_edit: bool,
    succeed_on_existing: bool,
) -> Result<(GitCredential, bool), RepoError> {
    let name: Name =
        name.parse().map_err(|error: base::model::name::BadName| RepoError::Invalid(error.to_string()))?;
    let lookup = name.to_string();
    let existing = builds.state.db.read(move |c| git_credential::by_name(c, kind, &lookup)).await?;
    let existing = match (existing, is_edit) {
        (Some(existing), true) => Some(existing),
        (None, true) => return Err(unknown(kind, name.as_str())),
        (Some(existing), false) if succeed_on_existing => return Ok((existing, true)),
        (Some(_), false) => {
            return Err(RepoError::Conflict(format!(
                "the {} credential '{name}' exists already; choose another name, change it with rspm edit, or use \
                 --succeed-on-existing",
                kind.as_str()
            )));
        }
        (None, false) => None,
    };
    let key = encryption_key(builds)?;
    let mut credential = existing.clone().unwrap_or_else(|| GitCredential {
        id: 0,
        kind,
        name: name.to_string(),
        host: String::new(),
        username: String::new(),
        secret: None,
        fingerprint: String::new(),
        known_hosts: String::new(),
        created_at: (builds.state.clock)(),
    });
    let imported = match new.key.take() {
        // The derivation of a key from a passphrase takes up to several seconds.
        Some((text, passphrase)) => {
            let read = move || ssh::key::read(&text, passphrase.as_ref().map(|text| text.as_str()));
            let result = tokio::task::spawn_blocking(read).await;
            let result = result.map_err(|error| RepoError::Invalid(format!("--path: {error}")))?;
            Some(result.map_err(|error| RepoError::Invalid(format!("--path: {error}")))?)
        }
        None => None,
    };
    change(&mut credential, new, imported, &key)?;
    let row = credential.clone();
    let id = builds
        .state
        .db
        .write(move |c| {
            store::db::encryption_key::check(c, key.key.fingerprint())?;
            let action = if row.id == 0 { "import git credential" } else { "edit git credential" };
            audit::record(c, action, "git credential", &row.name, &row.host)?;
            if row.id == 0 {
                git_credential::insert(c, &row)
            } else {
                git_credential::update(c, &row).map(|()| row.id)
            }
        })
        .await?;
    Ok((GitCredential { id, ..credential }, existing.is_some()))
}

fn change(
    credential: &mut GitCredential,
    new: NewCredential,
    imported: Option<ssh::key::ImportedKey>,
    key: &EncryptionKey,
) -> Result<(), RepoError> {
    let invalid = |text: &str| RepoError::Invalid(text.to_owned());
    let is_ssh = credential.kind == CredentialKind::Ssh;
    if is_ssh && (new.username.is_some() || new.secret.is_some()) {
        return Err(invalid("an SSH key has neither a user name nor a password; the URL names the user"));
    }
    if !is_ssh && (imported.is_some() || new.known_hosts.is_some()) {
        return Err(invalid("an HTTPS credential has neither a key nor host keys"));
    }
    if let Some(imported) = imported {
        credential.fingerprint = imported.key.fingerprint();
        credential.secret = Some(encrypt(key, &imported.text)?);
    }
    if let Some(text) = new.known_hosts {
        credential.known_hosts = ssh::host_keys::check(&text).map_err(RepoError::Invalid)?;
    }
    if let Some(username) = new.username {
        if username.is_empty() || username.chars().any(char::is_control) {
            return Err(invalid("--username: the user name is empty or has control characters"));
        }
        credential.username = username;
    }
    if let Some(host) = new.host {
        let is_host = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        if !host.chars().all(is_host) {
            return Err(invalid("--host: write the name of a host, without a scheme and a path"));
        }
        credential.host = host.to_ascii_lowercase();
    }
    if let Some(secret) = new.secret {
        // The output of `rspm encrypt` is accepted.
        let plain = decrypt(key, &secret).unwrap_or(secret);
        if plain.is_empty() || plain.chars().any(char::is_control) {
            return Err(invalid("the password is empty or has control characters"));
        }
        credential.secret = Some(encrypt(key, &plain)?);
    }
    Ok(())
}

/// Returns all credentials with the names of the builders that use them.
pub async fn list(builds: &Builds) -> Result<Vec<(GitCredential, Vec<String>)>, RepoError> {
    let credentials = builds.state.db.read(|c| {
        let credentials = git_credential::list(c)?;
        credentials
            .into_iter()
            .map(|credential| Ok((credential.clone(), git_builder::using_credential(c, credential.id)?)))
            .collect()
    });
    Ok(credentials.await?)
}

/// Deletes a credential.
///
/// # Errors
/// [`RepoError::Conflict`] while a builder uses it.
pub async fn delete(builds: &Builds, kind: CredentialKind, name: &str) -> Result<(), RepoError> {
    let lookup = name.to_owned();
    let deletion = builds.state.db.write_unless_refused(move |c| {
        let credential = git_credential::by_name(c, kind, &lookup)?.ok_or_else(|| unknown(kind, &lookup))?;
        let users = git_builder::using_credential(c, credential.id)?;
        if !users.is_empty() {
            return Err(RepoError::Conflict(format!(
                "the credential '{lookup}' is used by the builders '{}'; first: rspm edit git-builder \
                 --remove-credential",
                users.join("', '")
            ))
            .into());
        }
        audit::record(c, "delete git credential", "git credential", &lookup, "")?;
        Ok(git_credential::delete(c, credential.id)?)
    });
    Ok(deletion.await?)
}

fn unknown(kind: CredentialKind, name: &str) -> RepoError {
    let name: String = name.chars().take(128).collect();
    RepoError::NotFound(format!(
        "there is no {} credential '{name}'; rspm list git-credentials shows all",
        kind.as_str()
    ))
}

/// Returns the id of a credential by name: of an SSH key or an HTTPS credential, according to the scheme of the URL.
pub(super) async fn find(builds: &Builds, url: &GitUrl, name: &str) -> Result<i64, RepoError> {
    let kind = match url.scheme {
        Scheme::Ssh => CredentialKind::Ssh,
        Scheme::Https | Scheme::Http => CredentialKind::Https,
        Scheme::File => {
            return Err(RepoError::Invalid(
                "--credential: a local repository needs no credential".to_owned(),
            ));
        }
    };
    let lookup = name.to_owned();
    let credential = builds.state.db.read(move |c| git_credential::by_name(c, kind, &lookup)).await?;
    let credential = credential.ok_or_else(|| unknown(kind, name))?;
    check_host(&credential, url)?;
    Ok(credential.id)
}

/// Checks that the credential may be sent to the host of the URL.
pub(super) fn check_host(credential: &GitCredential, url: &GitUrl) -> Result<(), RepoError> {
    let is_kind = match credential.kind {
        CredentialKind::Ssh => url.scheme == Scheme::Ssh,
        CredentialKind::Https => matches!(url.scheme, Scheme::Https | Scheme::Http),
    };
    if !is_kind {
        return Err(RepoError::Invalid(format!(
            "the credential '{}' is for {}, which this URL does not use",
            credential.name,
            credential.kind.as_str()
        )));
    }
    if credential.host.is_empty() || credential.host == url.host || credential.host == url.authority() {
        return Ok(());
    }
    Err(RepoError::Invalid(format!(
        "the credential '{}' is for the host {}; the URL names {}",
        credential.name,
        credential.host,
        url.authority()
    )))
}

/// Reads and decrypts the credential of a builder for one job. Without a credential, the secrets are empty.
pub(super) async fn secrets(
    builds: &Builds,
    builder: &GitBuilder,
    url: &GitUrl,
) -> Result<Secrets, BuildFailure> {
    let Some(id) = builder.credential else {
        return match url.scheme {
            Scheme::Ssh => Err(BuildFailure::Final(NO_KEY.to_owned())),
            Scheme::Https | Scheme::Http | Scheme::File => Ok(Secrets::default()),
        };
    };
    let credential =
        builds.state.db.read(move |c| git_credential::get(c, id)).await.map_err(RepoError::from)?;
    let credential = credential
        .ok_or_else(|| BuildFailure::Final("the credential of the builder was deleted".to_owned()))?;
    check_host(&credential, url)?;
    let key = encryption_key(builds)?;
    let lost_key_error = || {
        BuildFailure::Final(format!(
            "the credential '{}' cannot be decrypted, because the encryption key was lost; import it again: rspm edit {}",
            credential.name,
            match credential.kind {
                CredentialKind::Ssh => "ssh-key",
                CredentialKind::Https => "https-credential",
            }
        ))
    };
    let secret =
        credential.secret.as_deref().and_then(|secret| decrypt(&key, secret)).ok_or_else(lost_key_error)?;
    if credential.kind == CredentialKind::Ssh {
        let imported = ssh::key::read(&secret, None)
            .map_err(|error| BuildFailure::Final(format!("the SSH key '{}': {error}", credential.name)))?;
        let (key, known_hosts) = (Some(Arc::new(imported.key)), credential.known_hosts);
        return Ok(Secrets { key, known_hosts, ..Secrets::default() });
    }
    let login = Credential {
        protocol: if url.scheme == Scheme::Http { "http" } else { "https" }.to_owned(),
        host: url.authority(),
        username: credential.username.clone(),
        password: secret.to_string(),
    };
    let file = credential_file(&login)?;
    let hidden = vec![
        secret.to_string(),
        STANDARD.encode(format!("{}:{}", credential.username, *secret)),
        utf8_percent_encode(&secret, NON_ALPHANUMERIC).to_string(),
        utf8_percent_encode(&secret, RESERVED).to_string(),
    ];
    Ok(Secrets { file: Some(file), login: Some(login), hidden, ..Secrets::default() })
}

/// The characters that are percent-encoded: all except the unreserved ones (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Adds host keys to a credential. If `replaced` names a host, its earlier keys are removed.
pub(super) async fn accept_host_keys(
    builds: &Builds,
    id: i64,
    lines: String,
    replaced: Option<String>,
) -> Result<(), RepoError> {
    let write = builds.state.db.write(move |c| {
        let Some(mut credential) = git_credential::get(c, id)? else { return Ok(()) };
        if let Some(host) = &replaced {
            credential.known_hosts = ssh::host_keys::remove_host(&credential.known_hosts, host);
        }
        credential.known_hosts += &lines;
        git_credential::update_known_hosts(c, id, &credential.known_hosts)
    });
    Ok(write.await?)
}
