//! Credentials for git servers: SSH keys, and user names with passwords.

use super::ids::{self, Sequence};
use super::{Conn, DbError, Value};
use crate::db::engine::columns::{column, row, select};
use base::model::time::Timestamp;
use base::words;

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum CredentialKind {
        Ssh = "ssh",
        Https = "https",
    }
    else "type of a credential"
}

column! {
    CredentialKind = "a kind of credential",
}

row! {
    #[derive(Clone, PartialEq, Eq)]
    pub struct GitCredential from "git_credential" {
        /// Its id; 0 before it is inserted.
        pub id: i64,
        pub kind: CredentialKind,
        /// Its name, unique among those of its kind.
        pub name: String,
        /// The only host to which it is sent; if empty, the host of each builder's URL.
        pub host: String,
        /// User name; empty for SSH.
        pub username: String,
        /// The password or private key, encrypted; `None` if the encryption key was lost.
        pub secret: Option<String>,
        /// Fingerprint of an SSH key, with its algorithm.
        pub fingerprint: String,
        /// Accepted SSH host keys, in the format of `known_hosts`.
        pub known_hosts: String,
        pub created_at: Timestamp,
    }
}

/// Returns all credentials, by kind and name.
pub fn list(c: &mut dyn Conn) -> Result<Vec<GitCredential>, DbError> {
    c.all(select!(GitCredential, "ORDER BY kind, name"), &[])
}

pub fn get(c: &mut dyn Conn, id: i64) -> Result<Option<GitCredential>, DbError> {
    c.first(select!(GitCredential, "WHERE id = $1"), &[id.into()])
}

pub fn by_name(c: &mut dyn Conn, kind: CredentialKind, name: &str) -> Result<Option<GitCredential>, DbError> {
    let params = [kind.as_str().into(), name.into()];
    c.first(select!(GitCredential, "WHERE kind = $1 AND name = $2"), &params)
}

/// Inserts a credential; returns its id.
///
/// # Errors
/// [`DbError::Conflict`] if a credential of its kind and name exists.
pub fn insert(c: &mut dyn Conn, credential: &GitCredential) -> Result<i64, DbError> {
    const INSERT: &str = "INSERT INTO git_credential (id, kind, name, host, username, secret, fingerprint, \
        known_hosts, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let id = ids::reserve(c, Sequence::GitCredential, 1)?;
    let params = [
        id.into(),
        credential.kind.as_str().into(),
        credential.name.as_str().into(),
        credential.host.as_str().into(),
        credential.username.as_str().into(),
        Value::opt_text(credential.secret.as_ref()),
        credential.fingerprint.as_str().into(),
        credential.known_hosts.as_str().into(),
        credential.created_at.into(),
    ];
    c.execute(INSERT, &params)?;
    Ok(id)
}

pub fn update(c: &mut dyn Conn, credential: &GitCredential) -> Result<(), DbError> {
    const UPDATE: &str = "UPDATE git_credential SET host = $1, username = $2, secret = $3, fingerprint = $4, \
        known_hosts = $5 WHERE id = $6";
    let params = [
        credential.host.as_str().into(),
        credential.username.as_str().into(),
        Value::opt_text(credential.secret.as_ref()),
        credential.fingerprint.as_str().into(),
        credential.known_hosts.as_str().into(),
        credential.id.into(),
    ];
    c.execute(UPDATE, &params).map(drop)
}

pub fn update_known_hosts(c: &mut dyn Conn, id: i64, known_hosts: &str) -> Result<(), DbError> {
    const UPDATE: &str = "UPDATE git_credential SET known_hosts = $1 WHERE id = $2";
    c.execute(UPDATE, &[known_hosts.into(), id.into()]).map(drop)
}

/// Deletes a credential, and the references of deleted builders to it. No other builder may refer to it.
pub fn delete(c: &mut dyn Conn, id: i64) -> Result<(), DbError> {
    c.execute(
        "UPDATE git_builder SET credential_id = NULL WHERE credential_id = $1 AND deleted_at IS NOT NULL",
        &[id.into()],
    )?;
    c.execute("DELETE FROM git_credential WHERE id = $1", &[id.into()]).map(drop)
}
