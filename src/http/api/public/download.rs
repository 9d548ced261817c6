//! `GET /__api__/download?os=`: the command-line program `rspm`.

use std::io;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt, TryStreamExt};
use tokio::fs::File;
use tokio_util::io::ReaderStream;

use super::{Answer, PublicCall, Raw};
use crate::http::error::Failure;
use crate::http::net::body::{Body, BodyError};
use crate::http::response;
use api::public::status::Download;
use base::config::Config;

/// Size of a piece of the body, in bytes.
const PIECE: usize = 256 << 10;

/// An operating system, with the file names of its program on the server (in the administrator's directory) and client.
struct System {
    word: &'static str,
    file: &'static str,
    saved_as: &'static str,
}

/// The default of the parameter `os`.
const DEFAULT: &str = "linux";
const SYSTEMS: [System; 3] = [
    System { word: "linux", file: "rspm-linux", saved_as: "rspm" },
    System { word: "darwin", file: "rspm-darwin", saved_as: "rspm" },
    System { word: "windows", file: "rspm-windows.exe", saved_as: "rspm.exe" },
];

/// Returns the program for the operating system of the parameter `os`, by default for Linux. Fails with 400 for another
/// system, 404 if the server has no program for it.
pub(super) async fn program(call: PublicCall<'_>, query: Download) -> Answer<Raw> {
    let word = query.os.as_deref().unwrap_or(DEFAULT);
    let system = SYSTEMS.iter().find(|system| system.word == word);
    let system =
        system.ok_or_else(|| Failure::bad_request("the parameter os must be linux, darwin or windows"))?;
    let paths = candidates(&call.app.state.config.load(), system);
    for path in paths {
        match open(&path).await {
            Ok(Some((file, size))) => {
                let pieces = ReaderStream::with_capacity(file, PIECE).map_err(BodyError::from);
                let body = Body::stream(pieces.boxed(), Some(size));
                return Ok(Raw(response::attachment(system.saved_as, size, body)));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!("could not read {}: {error}", path.display());
                return Err(Failure::unavailable("the program cannot be read", 60));
            }
        }
    }
    Err(Failure::not_found(format!(
        "this server has no rspm for {}; an administrator can add it as {} to the directory programs of Server.DataDir",
        system.word, system.file
    )))
}

/// Returns the files to try: an administrator's program, then for Linux the one beside the server's own program.
fn candidates(config: &Config, system: &System) -> Vec<PathBuf> {
    let mut paths = vec![config.server.data_dir.join("programs").join(system.file)];
    if system.word == "linux" {
        // Only the directory is used, because it is correct even while the program itself is being replaced.
        let own = std::env::current_exe().ok();
        paths.extend(own.as_deref().and_then(Path::parent).map(|directory| directory.join("rspm")));
    }
    paths
}

/// Opens a regular file, and returns its size in bytes; `None` if there is none.
async fn open(path: &Path) -> io::Result<Option<(File, u64)>> {
    let file = match File::open(path).await {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let metadata = file.metadata().await?;
    Ok(metadata.is_file().then_some((file, metadata.len())))
}
