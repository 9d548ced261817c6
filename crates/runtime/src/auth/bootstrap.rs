//! The first token of a server, for the owner of `Bootstrap.PublicKey`: an administrator without access to its machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::issue::{self, CreateTokenError, NewToken};
use super::tokens::Tokens;
use crate::state::State;
use base::access::{Grant, Scope};
use base::encryption::bootstrap::{BootstrapError, PublicKey, Statement};
use base::model::digest::Sha256;
use base::model::ids::Identity;
use base::model::time::Timestamp;
use store::db::author::{self, Author, AuthorKind};
use store::db::{DbError, token};

/// Maximum difference between the time of a request and that of the server.
const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_secs(600);
/// Maximum length of the file with the key, in bytes.
const MAX_FILE: u64 = 64 << 10;
/// Permitted lengths of a nonce, in characters.
const NONCE_LENGTHS: std::ops::RangeInclusive<usize> = 16..=128;
/// The author of the token, as displayed in the audit trail and in lists.
const AUTHOR: &str = "bootstrap key";

/// The reason why no token is created. The texts are for the client.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapRefusal {
    #[error("this server has no bootstrap key ([Bootstrap] PublicKey)")]
    Disabled,
    #[error("the bootstrap key of this server cannot be used; the server log has the reason")]
    Key(#[source] KeyProblem),
    /// The time is too far from that of the server.
    #[error(
        "the time of the request differs by more than 10 minutes from that of the server; compare the clocks"
    )]
    Time,
    #[error("the nonce must consist of 16 to 128 letters, digits, - and _")]
    Nonce,
    #[error("the request is not signed with the private key of this server's bootstrap key")]
    Signature,
    #[error("the request was used before; sign a new one")]
    Used,
    #[error("this server cannot generate random numbers for a token; the server log has the reason")]
    Random(#[source] std::io::Error),
    #[error("the database is unavailable")]
    Database(#[from] DbError),
}

impl From<CreateTokenError> for BootstrapRefusal {
    fn from(error: CreateTokenError) -> BootstrapRefusal {
        match error {
            CreateTokenError::Random(error) => BootstrapRefusal::Random(error),
            CreateTokenError::Database(error) => BootstrapRefusal::Database(error),
        }
    }
}

/// The reason why the key in the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyProblem {
    #[error("cannot read {path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("{0}")]
    Form(#[from] BootstrapError),
    /// The task that reads the key failed, for example because the server is stopping.
    #[error("could not read the key: {0}")]
    Task(#[from] tokio::task::JoinError),
}

#[derive(Clone, Copy, Debug)]
pub struct BootstrapRequest<'a> {
    /// The time of the request, as in the signed text.
    pub time_text: &'a str,
    pub time: Timestamp,
    /// A random text, which can be used once.
    pub nonce: &'a str,
    /// The lifetime of the token as signed: seconds, or `never`.
    pub lifetime: &'a str,
    /// Expiration time of the token; `None` if it never expires.
    pub expires_at: Option<Timestamp>,
    pub signature: &'a [u8],
    /// The address of the client, for the audit trail.
    pub address: &'a str,
}

/// Reads the key in `Bootstrap.PublicKey`: its text, or the file at an absolute path.
///
/// # Errors
/// The file cannot be read, or the text is not an RSA public key.
pub fn public_key(value: &str) -> Result<PublicKey, KeyProblem> {
    if !value.starts_with('/') {
        return Ok(PublicKey::parse(value)?);
    }
    let path = Path::new(value);
    let error = |source| KeyProblem::File { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(error)?;
    std::io::Read::read_to_string(&mut std::io::Read::take(file, MAX_FILE), &mut text).map_err(error)?;
    Ok(PublicKey::parse(&text)?)
}

/// Creates a token with the scope `global:admin`. Returns it, encrypted for the owner of the key, and its identity.
/// `key` is the value of `Bootstrap.PublicKey`. A request can be used only once on all servers of the database.
pub async fn create_first_token(
    state: &State,
    tokens: &Tokens,
    key: Option<String>,
    request: BootstrapRequest<'_>,
) -> Result<(Vec<u8>, Identity), BootstrapRefusal> {
    let key = key.ok_or(BootstrapRefusal::Disabled)?;
    let read = tokio::task::spawn_blocking(move || public_key(&key)).await;
    let key = read.unwrap_or_else(|error| Err(error.into())).map_err(BootstrapRefusal::Key)?;
    let BootstrapRequest { time_text, nonce, lifetime, .. } = request;
    let is_plain = nonce.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !is_plain || !NONCE_LENGTHS.contains(&nonce.len()) {
        return Err(BootstrapRefusal::Nonce);
    }
    let statement = Statement { time: time_text, nonce, lifetime };
    key.verify(statement, request.signature).map_err(|_| BootstrapRefusal::Signature)?;
    let now = (state.clock)();
    if now.abs_diff(request.time) > MAX_CLOCK_DIFFERENCE {
        return Err(BootstrapRefusal::Time);
    }
    let proof = Sha256::of(format!("bootstrap\n{nonce}"));
    // After this time the request is refused because of its age, so the record of its use is no longer needed.
    let record_end = request.time + 2 * MAX_CLOCK_DIFFERENCE;
    let is_new = state.db.write(move |c| token::record_proof(c, &proof, record_end, now)).await?;
    if !is_new {
        return Err(BootstrapRefusal::Used);
    }
    let author = Author {
        kind: AuthorKind::Token,
        name: AUTHOR.to_owned(),
        address: request.address.to_owned(),
        at: now,
    };
    let properties = NewToken {
        user: AUTHOR.to_owned(),
        description: "created with the bootstrap key".to_owned(),
        created_by: AUTHOR.to_owned(),
        grant: Grant::new(vec![Scope::GlobalAdmin]),
        expires_at: request.expires_at,
    };
    let (secret, guid) = author::scope(author, issue::create(state, tokens, properties)).await?;
    let encrypted = key.encrypt(secret.expose()).map_err(|error| BootstrapRefusal::Key(error.into()))?;
    Ok((encrypted, guid))
}
