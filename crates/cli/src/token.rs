//! `rspm create|list|revoke token` and `rspm verify`.

use std::io::{IsTerminal, Write, stderr, stdin};

use clap::{Args, Subcommand};

use super::client::Client;
use super::error::CliError;
use super::input::piped_secret;
use super::output::{Output, format_time, note};
use api::flag_values::SuggestedValues;
use api::operations::admin as operations;
use api::token::{self, ListTokens, Scope, Token};

/// `rspm revoke …`
#[derive(Debug, Subcommand)]
pub enum Revoke {
    /// Revoke an access token, on all servers of the database
    Token(token::RevokeToken),
}

#[derive(Debug, Args)]
pub struct CreateToken {
    /// Scopes of the token, comma separated or repeated
    #[arg(long, required = true, value_delimiter = ',', value_name = "SCOPE", value_parser = SuggestedValues(&["repos:read", "repos:promote", "sources:write", "blocklist:read", "blocklist:admin", "metadata:admin", "global:admin"]))]
    pub scope: Vec<String>,
    /// Sources of the scope sources:write, comma separated; '*' for all
    #[arg(long, value_delimiter = ',', value_name = "SOURCES")]
    pub sources: Vec<String>,
    /// Repositories of the scopes repos:read and repos:promote, comma separated; '*' for all
    #[arg(long, value_delimiter = ',', value_name = "REPOS")]
    pub repos: Vec<String>,
    #[command(flatten)]
    pub request: token::CreateToken,
    /// Print the token alone, without notes on standard error
    #[arg(short, long)]
    pub quiet: bool,
}

/// Maximum size of standard input with a token, in bytes.
const MAX_INPUT: u64 = 1 << 16;

/// The note of Posit Package Manager after the creation of a token.
const NOTE: &str = "Generated an access token. Be sure to record this token immediately since you will not be able to \
                    retrieve it later.";

/// `rspm create token`: prints the token on standard output, and notes on standard error.
pub async fn create(client: &Client, output: &Output, args: CreateToken) -> Result<(), CliError> {
    let scopes = scopes(&args)?;
    let body = token::CreateToken { scopes, ..args.request };
    let is_permanent_admin =
        body.expires_in.is_none() && body.scopes.iter().any(|scope| scope.scope == "global:admin");
    let new_token = client.send::<operations::CreateToken>([], &body).await?;
    if !args.quiet {
        print_notes(is_permanent_admin);
    }
    output.print(&new_token, || new_token.token.clone())
}

/// Prints the notes after the creation of a token, which is valid even if they cannot be written.
pub(super) fn print_notes(is_permanent_admin: bool) {
    note(NOTE);
    if is_permanent_admin {
        note("The token permits every change and never expires; --expires limits its lifetime.");
    }
}

/// Returns the scopes of the flags, with the objects of each.
fn scopes(args: &CreateToken) -> Result<Vec<Scope>, CliError> {
    let objects: [(&[&str], &str, &Vec<String>); 2] = [
        (&["repos:read", "repos:promote"], "--repos", &args.repos),
        (&["sources:write"], "--sources", &args.sources),
    ];
    for (scopes, flag, names) in objects {
        if !names.is_empty() && !args.scope.iter().any(|word| scopes.contains(&word.as_str())) {
            let (noun, scopes) = (if scopes.len() == 1 { "scope" } else { "scopes" }, scopes.join(" and "));
            return Err(CliError::refused(format!(
                "{flag} belongs to the {noun} {scopes}: use it with --scope"
            )));
        }
    }
    let names =
        |scope: &str| objects.iter().find(|(words, ..)| words.contains(&scope)).map(|(.., names)| *names);
    let with_objects =
        |scope: &String| Scope { scope: scope.clone(), objects: names(scope).cloned().unwrap_or_default() };
    Ok(args.scope.iter().map(with_objects).collect())
}

pub async fn list(client: &Client, output: &Output, args: ListTokens) -> Result<(), CliError> {
    let tokens = client.call::<operations::Tokens>([], &args).await?;
    output.print(&tokens, || {
        if tokens.is_empty() {
            return "There is no such token.\n".to_owned();
        }
        tokens.iter().map(describe).collect()
    })
}

/// Formats a token in lines, so that its GUID can be copied and the ends of a leaked token can be found.
fn describe(token: &Token) -> String {
    let state = match (&token.revoked, &token.expires) {
        (Some(at), _) => format!("revoked {}", format_time(at)),
        (None, Some(at)) if token.expired => format!("expired {}", format_time(at)),
        (None, Some(at)) => format!("valid until {}", format_time(at)),
        (None, None) => "valid".to_owned(),
    };
    let mut lines = vec![format!("- {}", token.guid), format!("    Token: {}", token.excerpt)];
    if !token.user.is_empty() {
        lines.push(format!("    User: {}", token.user));
    }
    lines.push(format!("    Scopes: {}", describe_scopes(&token.scopes)));
    lines.push(format!("    State: {state}"));
    lines.push(format!("    Created: {} by {}", format_time(&token.created), token.created_by));
    lines.push(format!("    Last use: {}", token.last_used.as_deref().unwrap_or("never")));
    lines.push(format!("    Description: {}", token.description));
    lines.join("\n") + "\n"
}

fn describe_scopes(scopes: &[Scope]) -> String {
    let describe = |scope: &Scope| match scope.objects.as_slice() {
        [] => scope.scope.clone(),
        objects => format!("{}:{}", scope.scope, objects.join(",")),
    };
    scopes.iter().map(describe).collect::<Vec<_>>().join(" ")
}

pub async fn revoke(client: &Client, output: &Output, args: token::RevokeToken) -> Result<(), CliError> {
    let body = token::RevokeToken { token: args.token.map(read_token).transpose()?, ..args };
    let answer = client.send::<operations::RevokeToken>([], &body).await?;
    if body.user.is_some() {
        let revoked: token::RevokedUser =
            serde_json::from_value(answer).map_err(|error| client.unexpected(&error))?;
        if let Some(warning) = warning(&revoked) {
            eprintln!("Warning: {warning}");
        }
        return output.print(&revoked, || {
            let token::RevokedUser { revoked_user, tokens, sessions, .. } = &revoked;
            format!(
                "Revoked {tokens} tokens of {revoked_user} and ended {sessions} sessions, and revoked all tokens of sign-ins and \
                 exchanges, whose number is not known. Every server refuses them within a second (two behind a connection \
                 pooler)."
            )
        });
    }
    output.print(&answer, || {
        let guid = answer["revoked"].as_str().unwrap_or_default();
        format!(
            "Revoked token {guid}. Every server refuses it within a second (two behind a connection pooler)."
        )
    })
}

/// Returns a warning about a name that is probably misspelled.
fn warning(revoked: &token::RevokedUser) -> Option<String> {
    let token::RevokedUser { revoked_user, tokens, sessions, similar_users } = revoked;
    let similar = similar_users.join(", ");
    match (tokens + sessions, similar_users.is_empty()) {
        (0, true) => Some(format!(
            "no token and no session of '{revoked_user}' was found; rspm list tokens shows the names of users"
        )),
        (0, false) => Some(format!(
            "no token and no session of '{revoked_user}' was found, but there are some of: {similar}; revoke these too"
        )),
        (_, true) => None,
        (_, false) => Some(format!("the tokens and sessions of these users are still valid: {similar}")),
    }
}

/// Returns the token in the argument. For `-`, reads it from standard input, because other users can see
/// arguments.
fn read_token(text: String) -> Result<String, CliError> {
    if text != "-" {
        return Ok(text);
    }
    if stdin().is_terminal() {
        // A failed prompt does not prevent the input.
        let _ = write!(stderr(), "Token: ");
    }
    Ok(piped_secret("token", MAX_INPUT)?.trim().to_owned())
}

/// `rspm verify`: checks that the server responds, and prints the scopes of the token.
pub async fn verify(client: &Client, output: &Output) -> Result<(), CliError> {
    let verification = client.call::<operations::Verify>([], &()).await?;
    output.print(&verification, || {
        let mut text = format!("Server: {} (version {})\n", client.server(), verification.version);
        match &verification.user {
            None => text.push_str("Access: everything, as an administrator of this machine\n"),
            Some(user) => {
                let user = if user.is_empty() { "-" } else { user };
                let expires = verification.expires.as_deref().map_or_else(|| "never".to_owned(), format_time);
                let scopes = describe_scopes(&verification.scopes);
                text.push_str(&format!("User: {user}\nScopes: {scopes}\nExpires: {expires}\n"));
            }
        }
        text
    })
}
