//! `rspm login` and `rspm logout`: the tokens of this user in `~/.ppm/tokens.toml`.

use std::io::{IsTerminal, stdin};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use zeroize::Zeroizing;

use super::client::Client;
use super::error::CliError;
use super::input::{ask_hidden, piped_secret};
use super::output::Output;
use super::{sso, tokens_file};
use api::operations::admin as operations;

/// Maximum size of standard input with a token, in bytes.
const MAX_INPUT: u64 = 1 << 16;

#[derive(Debug, Args)]
pub struct Login {
    /// The way to sign in; without one, the user is prompted for a token.
    #[command(subcommand)]
    pub method: Option<LoginMethod>,
    /// Read the token from standard input
    #[arg(long)]
    pub token_stdin: bool,
}

/// `rspm login …`
#[derive(Debug, Subcommand)]
pub enum LoginMethod {
    /// Sign in with a browser, which may be on another machine
    Sso,
}

/// The server to which `login`, `logout` and `bootstrap token` refer.
#[derive(Debug)]
pub(super) struct Server {
    /// Its address, as the user wrote it.
    pub(super) address: String,
    /// Whether its certificate is verified.
    pub(super) verifies_tls: bool,
}

/// The result of a login or a logout.
#[derive(Debug, Serialize)]
struct LoginResult {
    address: String,
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
}

/// `rspm login`: checks a token with the server and stores it.
pub(super) async fn login(server: &Server, output: &Output, args: Login) -> Result<(), CliError> {
    let path = file()?;
    let (token, auth_type, user) = match args.method {
        Some(LoginMethod::Sso) if args.token_stdin => {
            return Err(CliError::refused("login sso needs no token: choose one of sso and --token-stdin"));
        }
        Some(LoginMethod::Sso) => (sso::sign_in(&server.address, server.verifies_tls).await?, "sso", None),
        None => {
            let token = read_token(args.token_stdin)?;
            let client = Client::of_address(&server.address, token.clone(), server.verifies_tls)?;
            let verification = client.call::<operations::Verify>([], &()).await?;
            (token, "token", verification.user)
        }
    };
    tokens_file::store(&path, &server.address, &token, auth_type)?;
    let stored = LoginResult { address: server.address.clone(), file: path.display().to_string(), user };
    output.print(&stored, || {
        let user = stored.user.as_deref().filter(|user| !user.is_empty());
        let user = user.map(|user| format!(" as {user}")).unwrap_or_default();
        format!("Signed in to {}{user}. The token is in {}.", stored.address, stored.file)
    })
}

/// `rspm logout`: removes the tokens of a server from the file; they remain valid.
pub(super) fn logout(server: &Server, output: &Output) -> Result<(), CliError> {
    let path = file()?;
    let is_changed = tokens_file::remove_tokens(&path, &server.address)?;
    let stored =
        LoginResult { address: server.address.clone(), file: path.display().to_string(), user: None };
    output.print(&stored, || match is_changed {
        true => format!(
            "Removed the token of {} from {}. The token itself is valid until it expires or is revoked: rspm revoke token",
            stored.address, stored.file
        ),
        false => format!("{} has no token of {}.", stored.file, stored.address),
    })
}

/// Returns the path of the file with the tokens.
fn file() -> Result<PathBuf, CliError> {
    tokens_file::path().ok_or_else(|| {
        CliError::refused(
            "the home directory is not known; set PACKAGEMANAGER_SSO_TOKEN_FILE to a file for tokens",
        )
    })
}

/// Reads a token from the terminal, without showing it, or from standard input.
fn read_token(is_from_stdin: bool) -> Result<Zeroizing<String>, CliError> {
    let text = if is_from_stdin {
        piped_secret("token", MAX_INPUT)?
    } else if stdin().is_terminal() {
        ask_hidden("Token: ", "token")?
    } else {
        return Err(CliError::refused(
            "standard input is not a terminal; --token-stdin reads the token from it",
        ));
    };
    let token = Zeroizing::new(text.trim().to_owned());
    if token.is_empty() { Err(CliError::refused("the token is empty")) } else { Ok(token) }
}
