//! `rspm import|edit https-credential`, `rspm import|edit ssh-key`, `rspm list git-credentials`, `rspm delete
//! git-credential`.

use std::io::{IsTerminal, stdin};
use std::path::Path;

use super::client::Client;
use super::error::CliError;
use super::git_args::{DeleteGitCredential, EditHttpsCredential, EditSshKey, ImportSshKey};
use super::input::{self, ask_hidden, piped_secret};
use super::output::{Output, format_time, table};
use api::git::{GitCredential, ImportGitCredential};
use api::operations::admin as operations;

/// Maximum length of a password on standard input, in bytes.
const MAX_INPUT: u64 = 64 << 10;

pub async fn import(client: &Client, output: &Output, args: ImportGitCredential) -> Result<(), CliError> {
    let password = Some(password(args.password)?);
    let body = ImportGitCredential { kind: "https".to_owned(), password, ..args };
    let credential = client.send::<operations::ImportGitCredential>([], &body).await?;
    output.print(&credential, || format!("Imported HTTPS credential '{}'.", credential.name))
}

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
    let text = match flag {
        Some(text) => text,
        None if stdin().is_terminal() => ask_hidden("Password or token: ", "password")?.to_string(),
        None => piped_secret("password", MAX_INPUT)?.trim_end_matches(['\r', '\n']).to_owned(),
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
