//! `rspm bootstrap`: the first token of a server, for the owner of the key in its property `Bootstrap.PublicKey`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use clap::{Args, Subcommand};
use serde::Serialize;
use zeroize::Zeroizing;

use super::error::CliError;
use super::output::{Output, note};
use super::remote;
use super::token::print_notes;
use api::error::Error;
use api::flag_values::lifetime;
use api::token::{BootstrapRequest, BootstrapToken};
use base::encryption::bootstrap::{BootstrapError, PrivateKey, Statement};
use base::model::errors::error_chain;

/// The directory of keys below the home directory.
const DIRECTORY: &str = ".ppm/keys";
const PRIVATE_FILE: &str = "private.key";
const PUBLIC_FILE: &str = "public.key";
/// Maximum length of a key file, in bytes.
const MAX_FILE: u64 = 64 << 10;
/// Maximum length of a response, in bytes.
const MAX_RESPONSE: usize = 64 << 10;

/// `rspm bootstrap …`
#[derive(Debug, Subcommand)]
pub enum BootstrapCommand {
    /// Create a key pair, whose public key the server needs as Bootstrap.PublicKey
    Keys(Keys),
    /// Print a signed request, for curl: POST /__api__/bootstrap
    Signature(Signature),
    /// Create a token with the scope global:admin on the server of --address; the token is shown once
    Token(Token),
}

#[derive(Debug, Args)]
pub struct Keys {
    /// Directory of the keys (default: ~/.ppm/keys)
    #[arg(long, value_name = "DIRECTORY")]
    pub destination: Option<PathBuf>,
    /// Replace existing keys
    #[arg(long)]
    pub overwrite: bool,
    /// Also print the keys
    #[arg(long)]
    pub print_keys: bool,
    /// Print no notes
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct RequestFlags {
    /// The private key (default: ~/.ppm/keys/private.key)
    #[arg(long, value_name = "FILE")]
    pub private_key_file: Option<PathBuf>,
    /// Lifetime of the token: a number with s, m, h or d, or never
    #[arg(long, default_value = "never", value_parser = lifetime)]
    // The path makes the whole type that of the flag, whose value `never` is `None`.
    pub expires: std::option::Option<i64>,
}

#[derive(Debug, Args)]
pub struct Signature {
    #[command(flatten)]
    pub request: RequestFlags,
    /// Print no notes
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct Token {
    #[command(flatten)]
    pub request: RequestFlags,
    /// Print the token alone, without notes on standard error
    #[arg(short, long)]
    pub quiet: bool,
}

/// The paths of the new key files, as printed.
#[derive(Serialize)]
struct NewKeys {
    private_key_file: PathBuf,
    public_key_file: PathBuf,
}

/// The new token, as printed.
#[derive(Serialize)]
struct PrintedToken {
    guid: String,
    token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

pub(super) fn keys(output: &Output, args: &Keys) -> Result<(), CliError> {
    let directory = match &args.destination {
        Some(directory) => directory.clone(),
        None => default_directory()?,
    };
    let (private_file, public_file) = (directory.join(PRIVATE_FILE), directory.join(PUBLIC_FILE));
    if !args.overwrite {
        for file in [&private_file, &public_file] {
            if file.symlink_metadata().is_ok() {
                return Err(CliError::refused(format!(
                    "{} exists; --overwrite replaces it, and tokens can no longer be created with the old key",
                    file.display()
                )));
            }
        }
    }
    let (private, public) = PrivateKey::generate().and_then(|key| key.texts()).map_err(key_error)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .map_err(|source| local("create", &directory, source))?;
    write(&private_file, &private, 0o600)?;
    write(&public_file, &public, 0o644)?;
    if !args.quiet {
        let line: String = public.lines().filter(|line| !line.starts_with("-----")).collect();
        note(format!(
            "On the server, set in rstudio-pm.gcfg, then run rspm hup or restart it:\n[Bootstrap]\nPublicKey = {line}"
        ));
    }
    let files = NewKeys { private_key_file: private_file, public_key_file: public_file };
    output.print(&files, || {
        let mut text = format!(
            "Private key: {}\nPublic key: {}\n",
            files.private_key_file.display(),
            files.public_key_file.display()
        );
        if args.print_keys {
            text.push_str(&private);
            text.push_str(&public);
        }
        text
    })
}

pub(super) fn signature(output: &Output, args: &Signature) -> Result<(), CliError> {
    let key = private_key(args.request.private_key_file.as_deref())?;
    let request = request(&key, args.request.expires)?;
    if !args.quiet {
        note("The signature is valid for 10 minutes and can be used once.");
    }
    let json = serde_json::to_string(&request)?;
    output.print(&request, || json)
}

/// `rspm bootstrap token`: prints the token on standard output, and notes on standard error.
pub(super) async fn token(
    address: &str,
    verifies_tls: bool,
    output: &Output,
    args: &Token,
) -> Result<(), CliError> {
    let key = private_key(args.request.private_key_file.as_deref())?;
    let (client, address) = remote::http_client(address, verifies_tls)?;
    let request = request(&key, args.request.expires)?;
    let body = serde_json::to_vec(&request)?;
    let unreachable = |error: reqwest::Error| CliError::Unreachable {
        address: address.clone(),
        reason: std::error::Error::source(&error).map_or_else(|| error.to_string(), error_chain),
    };
    let mut response = client
        .post(format!("{address}/__api__/bootstrap"))
        .header(reqwest::header::CONTENT_TYPE, "application/json")
        .body(body)
        .send()
        .await
        .map_err(unreachable)?;
    let status = response.status();
    let body = remote::body(&mut response, MAX_RESPONSE).await.map_err(unreachable)?;
    let body =
        body.ok_or_else(|| CliError::refused(format!("the response of {address} is larger than 64 kB")))?;
    if !status.is_success() {
        return Err(match serde_json::from_slice::<Error>(&body) {
            Ok(error) => CliError::Refused { code: Some(error.code), reason: error.error },
            Err(_) => CliError::refused(format!("{status}: {address} is not a server with a bootstrap key")),
        });
    }
    let bad_response =
        || CliError::refused(format!("the response of {address} is not valid for this version of rspm"));
    let created: BootstrapToken = serde_json::from_slice(&body).map_err(|_| bad_response())?;
    let encrypted = STANDARD.decode(&created.token).map_err(|_| bad_response())?;
    let token = key.decrypt(&encrypted).map_err(key_error)?;
    if !args.quiet {
        print_notes(created.expires.is_none());
    }
    let created = PrintedToken { guid: created.guid, token: token.to_string(), expires: created.expires };
    output.print(&created, || created.token.clone())
}

/// Returns a signed request with the current time and a random nonce.
fn request(key: &PrivateKey, expires_in: Option<i64>) -> Result<BootstrapRequest, CliError> {
    let random: [u8; 24] = rand::random();
    let (time, nonce) = (jiff::Timestamp::now().to_string(), URL_SAFE_NO_PAD.encode(random));
    let lifetime = expires_in.map_or_else(|| "never".to_owned(), |seconds| seconds.to_string());
    let statement = Statement { time: &time, nonce: &nonce, lifetime: &lifetime };
    let signature = STANDARD.encode(key.sign(statement).map_err(key_error)?);
    Ok(BootstrapRequest { time, nonce, expires_in, signature })
}

fn default_directory() -> Result<PathBuf, CliError> {
    std::env::home_dir()
        .filter(|home| !home.as_os_str().is_empty())
        .map(|home| home.join(DIRECTORY))
        .ok_or_else(|| {
            CliError::refused("the home directory is not known; name the directory or the key file")
        })
}

fn private_key(file: Option<&Path>) -> Result<PrivateKey, CliError> {
    let path = match file {
        Some(file) => file.to_owned(),
        None => default_directory()?.join(PRIVATE_FILE),
    };
    let mut text = Zeroizing::new(String::new());
    let read = File::open(&path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
    read.map_err(|source| local("read the private key", &path, source))?;
    PrivateKey::parse(&text).map_err(|error| CliError::refused(format!("{}: {error}", path.display())))
}

/// Writes a file with these permissions; an existing file is replaced.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), CliError> {
    let write = || {
        // SECURITY: an existing file is removed first, so that the text is not written to a link, or to a file
        // with other permissions.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| local("write", path, source))
}

fn local(operation: &str, path: &Path, source: std::io::Error) -> CliError {
    CliError::Local { operation: format!("{operation} {}", path.display()), source }
}

fn key_error(error: BootstrapError) -> CliError {
    CliError::refused(error.to_string())
}
