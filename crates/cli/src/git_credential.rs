//! `rspm import|edit https-credential`, `rspm import|edit ssh-key`, `rspm list git-credentials`, `rspm delete
//! git-credential`.

use std::io::{IsTerminal, Read, stdin};
use std::path::Path;

use super::client::Client;
use super::error::CliError;
use super::git_args::{
    DeleteGitCredential, EditHttpsCredential, EditSshKey, ImportHttpsCredential, ImportSshKey,
};
use super::input;
use super::output::{Output, ask_hidden, format_time, table};
use api::git::{GitCredential, ImportGitCredential};
use api::operations::admin as operations;

/// Maximum length of a password on standard input, in bytes.
const MAX_INPUT: u64 = 64 << 10;

/// `rspm import https-credential`.
///
/// # Errors
/// The password cannot be read, or the server refuses.
pub async fn import(client: &Client, output: &Output, args: ImportHttpsCredential) -> Result<(), CliError> {
    let body = ImportGitCredential {
        kind: "https".to_owned(),
        name: args.name,
        username: Some(args.username),
        password: Some(password(args.password)?),
        host: args.host,
        succeed_on_existing: args.succeed_on_existing,
        ..ImportGitCredential::default()
    };
    let credential = client.send::<operations::ImportGitCredential>([], &body).await?;
    output.print(&credential, || format!("Imported HTTPS credential '{}'.", credential.name))
}

/// `rspm edit https-credential`.
///
/// # Errors
/// As [`import`].
pub async fn edit(client: &Client, output: &Output, args: EditHttpsCredential) -> Result<(), CliError> {
    let new_password = match args.password {
        None => None,
        Some(text) if text.is_empty() => Some(password(None)?),
        Some(text) => Some(text),
    };
    let body = ImportGitCredential {
        username: args.username,
        password: new_password,
        host: args.host,
        ..ImportGitCredential::default()
    };
    let credential = client.send::<operations::EditGitCredential>(["https", &args.name], &body).await?;
    output.print(&credential, || format!("Changed HTTPS credential '{}'.", credential.name))
}

/// `rspm import ssh-key`.
///
/// # Errors
/// A file cannot be read, or the server refuses.
pub async fn import_ssh_key(client: &Client, output: &Output, args: ImportSshKey) -> Result<(), CliError> {
    let body = ImportGitCredential {
        kind: "ssh".to_owned(),
        name: args.name,
        private_key: Some(file(&args.path)?),
        passphrase: passphrase(args.passphrase_path.as_deref())?,
        known_hosts: args.known_hosts.as_deref().map(file).transpose()?,
        host: args.host,
        succeed_on_existing: args.succeed_on_existing,
        ..ImportGitCredential::default()
    };
    let credential = client.send::<operations::ImportGitCredential>([], &body).await?;
    output
        .print(&credential, || format!("Imported SSH key '{}', {}.", credential.name, credential.fingerprint))
}

/// `rspm edit ssh-key`.
///
/// # Errors
/// As [`import_ssh_key`].
pub async fn edit_ssh_key(client: &Client, output: &Output, args: EditSshKey) -> Result<(), CliError> {
    let body = ImportGitCredential {
        private_key: args.path.as_deref().map(file).transpose()?,
        passphrase: passphrase(args.passphrase_path.as_deref())?,
        known_hosts: args.known_hosts.as_deref().map(file).transpose()?,
        host: args.host,
        ..ImportGitCredential::default()
    };
    let credential = client.send::<operations::EditGitCredential>(["ssh", &args.name], &body).await?;
    output
        .print(&credential, || format!("Changed SSH key '{}', {}.", credential.name, credential.fingerprint))
}

/// Reads a small text file.
fn file(path: &Path) -> Result<String, CliError> {
    input::read(Some(path), MAX_INPUT)
}

/// Returns the passphrase in a file, without the newline at its end; `None` without a file.
fn passphrase(path: Option<&Path>) -> Result<Option<String>, CliError> {
    let Some(path) = path else { return Ok(None) };
    let text = file(path)?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Returns the password from the flag; if the flag is not set, reads it from the terminal or from standard input.
fn password(flag: Option<String>) -> Result<String, CliError> {
    let local_error = |source| CliError::Local { operation: "read the password".to_owned(), source };
    let text = match flag {
        Some(text) => text,
        None if stdin().is_terminal() => ask_hidden("Password or token: ").map_err(local_error)?.to_string(),
        None => {
            let mut text = String::new();
            stdin().take(MAX_INPUT).read_to_string(&mut text).map_err(local_error)?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
    };
    if text.is_empty() { Err(CliError::refused("the password is empty")) } else { Ok(text) }
}

pub async fn list(client: &Client, output: &Output) -> Result<(), CliError> {
    let credentials = client.call::<operations::GitCredentials>([], &()).await?;
    output.print(&credentials, || {
        if credentials.is_empty() {
            return "There is no credential. Import one: rspm import ssh-key or rspm import https-credential"
                .to_owned();
        }
        let row = |c: &GitCredential| {
            let builders = c.builders.join(", ");
            vec![
                c.name.clone(),
                c.kind.clone(),
                if c.fingerprint.is_empty() { c.username.clone() } else { c.fingerprint.clone() },
                c.host.clone(),
                format_time(&c.created),
                builders,
            ]
        };
        table(
            &["Name", "Type", "User name or fingerprint", "Host", "Imported", "Used by"],
            credentials.iter().map(row),
        )
    })
}

pub async fn delete(client: &Client, output: &Output, args: DeleteGitCredential) -> Result<(), CliError> {
    let _ = client.call::<operations::DeleteGitCredential>([&args.kind, &args.name], &()).await?;
    output.print(&serde_json::json!({ "deleted": args.name }), || {
        format!("Deleted credential '{}'.", args.name)
    })
}
