//! Reading a log of the format C2SP tlog-tiles: from a server, a directory, or any address.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use crate::client::Client;
use crate::error::CliError;
use crate::remote::{body, http_client};
use base::model::errors::error_chain;
use formats::tlog::tile::{Content, Tile, WIDTH, decode_entries, encode_entries};

/// Maximum size of a file of a log in bytes: a bundle of the longest entries.
const MAX_FILE: usize = WIDTH as usize * (2 + u16::MAX as usize);

/// Maximum time for a file, of which an address may send a byte at a time.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A log, and where it is.
pub(crate) enum Log<'a> {
    /// A server, and the path of the log.
    Server(&'a Client, String),
    Folder(PathBuf),
    /// The address is without a slash at its end.
    Address(reqwest::Client, String),
}

impl Log<'_> {
    /// Returns a log in a directory, or at an address, which gets no token.
    pub(crate) fn of(from: &str, verifies_tls: bool) -> Result<Log<'static>, CliError> {
        if !from.contains("://") {
            return Ok(Log::Folder(PathBuf::from(from)));
        }
        let (client, address) = http_client(from, verifies_tls)?;
        Ok(Log::Address(client, address))
    }

    /// Returns a log of a server, by its number.
    pub(crate) fn of_server(client: &Client, number: u32) -> Log<'_> {
        Log::Server(client, if number == 1 { "/__log__".to_owned() } else { format!("/__log__/{number}") })
    }

    /// Returns where a file of the log is.
    pub(super) fn place(&self, path: &str) -> String {
        match self {
            Log::Server(client, prefix) => format!("{prefix}/{path} of {}", client.server()),
            Log::Folder(folder) => folder.join(path).display().to_string(),
            Log::Address(_, address) => format!("{address}/{path}"),
        }
    }

    /// Returns the bytes of a file; the inner error is the reason why there is none.
    async fn find(&self, path: &str) -> Result<Result<Vec<u8>, String>, CliError> {
        match self {
            Log::Server(client, prefix) => {
                let found = client.read(&format!("{prefix}/{path}")).await?;
                Ok(found.map(|bytes| bytes.to_vec()))
            }
            Log::Folder(folder) => match std::fs::read(folder.join(path)) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    Ok(Err("there is no such file".to_owned()))
                }
                result => result.map(Ok).map_err(|source| CliError::Local {
                    operation: format!("read {}", self.place(path)),
                    source,
                }),
            },
            Log::Address(client, address) => {
                let failure = |error: reqwest::Error| CliError::Unreachable {
                    address: address.clone(),
                    reason: error_chain(&error),
                };
                let request = client.get(self.place(path)).timeout(TIMEOUT);
                let mut response = request.send().await.map_err(failure)?;
                let status = response.status();
                if status == hyper::StatusCode::NOT_FOUND {
                    return Ok(Err(status.to_string()));
                }
                let bytes = body(&mut response, MAX_FILE).await.map_err(failure)?;
                match bytes.filter(|_| status.is_success()) {
                    Some(bytes) => Ok(Ok(bytes)),
                    None => Err(CliError::refused(format!("{}: {status}, or too long", self.place(path)))),
                }
            }
        }
    }

    /// Returns the bytes of a file.
    pub(super) async fn read(&self, path: &str) -> Result<Vec<u8>, CliError> {
        let missing = |reason| CliError::refused(format!("{}: {reason}", self.place(path)));
        self.find(path).await?.map_err(missing)
    }

    /// Returns the bytes of a tile. The place may have the full one instead, once the log has grown.
    pub(super) async fn tile(&self, tile: Tile) -> Result<Vec<u8>, CliError> {
        let path = tile.to_string();
        if tile.width == WIDTH {
            return self.read(&path).await;
        }
        if let Ok(bytes) = self.find(&path).await? {
            return Ok(bytes);
        }
        let full = Tile { width: WIDTH, ..tile }.to_string();
        let Ok(mut bytes) = self.find(&full).await? else { return self.read(&path).await };
        let width = usize::from(tile.width);
        match tile.content {
            Content::Hashes(_) => bytes.truncate(32 * width),
            Content::Entries => {
                let entries = decode_entries(&bytes, WIDTH).and_then(|all| encode_entries(&all[..width]));
                bytes =
                    entries.map_err(|error| CliError::refused(format!("{}: {error}", self.place(&full))))?;
            }
        }
        Ok(bytes)
    }
}
