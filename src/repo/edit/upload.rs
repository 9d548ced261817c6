//! Taking in a package archive: recognised by content, validated, rewritten, stored.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use sha2::Digest;

use super::uploads::{BuiltFor, Held, Upload};
use crate::config::{Server, StorageClass};
use crate::model::digest::{Md5, Sha256};
use crate::r::archive::{self, ArchiveError, Limits};
use crate::r::binary;
use crate::r::description::{built_fields, index_stanza};
use crate::r::name::FileName;
use crate::r::rds::stamp;
use crate::r::rewrite::{self, RewriteError};
use crate::repo::{Repo, RepoError};
use crate::storage::{Key, Spool, StorageError};

/// What packages handed out by this server say of where they come from. renv, rsconnect and others take packages
/// with this word for those of a package manager and look for no repository of that name.
const REPOSITORY: &str = "RSPM";
/// Bytes gathered before a write leaves the async threads; what is smaller is never written as it was given.
const PIECE: usize = 512 << 10;

impl Repo {
    /// Takes in a package archive from a stream of bytes: recognised by content, validated, rewritten, stored. It is
    /// part of no source before [`Repo::add`].
    ///
    /// # Errors
    /// [`RepoError::Invalid`] for what is no source package, and why.
    pub async fn upload(
        &self,
        file: &str,
        body: BoxStream<'static, Result<Bytes, io::Error>>,
    ) -> Result<Upload, RepoError> {
        self.take_in(file, body, What::Source).await
    }

    /// As [`Repo::upload`], a binary package, for [`Repo::add_binaries`].
    ///
    /// # Errors
    /// [`RepoError::Invalid`] for what is no binary package, and why.
    pub async fn upload_binary(
        &self,
        file: &str,
        body: BoxStream<'static, Result<Bytes, io::Error>>,
    ) -> Result<Upload, RepoError> {
        self.take_in(file, body, What::Binary).await
    }

    async fn take_in(
        &self,
        file: &str,
        body: BoxStream<'static, Result<Bytes, io::Error>>,
        what: What,
    ) -> Result<Upload, RepoError> {
        let file = file.rsplit(['/', '\\']).next().unwrap_or(file).to_owned();
        let given = self.receive(&file, body, what.class()).await?;
        let out = self.state.storage.spool(what.class()).await?;
        let options = options(&self.state.config.load().server);
        let since = (self.state.clock)();
        let name = file.clone();
        let made = tokio::task::spawn_blocking(move || make(&name, given, out, options, what)).await;
        let made = match made {
            Ok(made) => made?,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return Err(StorageError::Other("the server is shutting down".to_owned()).into()),
        };
        let (sha256, readme) = (made.upload.sha256, made.readme);
        let digests = [Some(sha256), readme.as_ref().map(|readme| readme.0)].into_iter().flatten().collect();
        let _kept = self.uploads.arriving(digests);
        self.state.storage.commit(made.out, &Key::Package(what.class(), sha256)).await?;
        let readme = match readme {
            Some((sha256, text)) => {
                let size = text.len() as u64;
                self.state.storage.put(&Key::Readme(sha256), text).await?;
                Some((sha256, size))
            }
            None => None,
        };
        let (stanza, description, md5, built) = (made.stanza, made.description, made.md5, made.built);
        Ok(self.uploads.keep(Held { upload: made.upload, stanza, description, md5, built, readme, since }))
    }

    /// Takes a body as it comes: a small one into memory, a larger one into a spool.
    async fn receive(
        &self,
        file: &str,
        mut body: BoxStream<'static, Result<Bytes, io::Error>>,
        class: StorageClass,
    ) -> Result<Given, RepoError> {
        let mut spooled: Option<Spooled> = None;
        let mut waiting = BytesMut::new();
        loop {
            let piece = body.next().await;
            let last = piece.is_none();
            if let Some(piece) = piece {
                let cut = |error| RepoError::Invalid(format!("the upload of '{file}' broke off: {error}"));
                waiting.extend_from_slice(&piece.map_err(cut)?);
            }
            if waiting.len() >= PIECE || (last && spooled.is_some() && !waiting.is_empty()) {
                let spool = match spooled {
                    Some(spool) => spool,
                    None => {
                        Spooled { spool: self.state.storage.spool(class).await?, digest: sha2::Sha256::new() }
                    }
                };
                spooled = Some(spool.append(waiting.split().freeze()).await?);
            }
            match spooled {
                Some(spooled) if last => return Ok(Given::Spooled(spooled)),
                None if last => return Ok(Given::Small(waiting.freeze())),
                Some(_) | None => {}
            }
        }
    }
}

/// Which kind of package is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Source,
    Binary,
}

impl What {
    fn class(self) -> StorageClass {
        match self {
            What::Source => StorageClass::Packages,
            What::Binary => StorageClass::Binaries,
        }
    }
}

/// The bytes as given.
enum Given {
    /// Less than [`PIECE`].
    Small(Bytes),
    Spooled(Spooled),
}

impl Given {
    /// The bytes from their beginning, read `buffer` at a time.
    fn open(&self, buffer: usize) -> Result<Box<dyn Read + '_>, RepoError> {
        match self {
            Given::Small(bytes) => Ok(Box::new(bytes.as_ref())),
            Given::Spooled(Spooled { spool, .. }) => {
                let opened = File::open(spool.path());
                let file = opened.map_err(|error| StorageError::io("read", spool.path(), error))?;
                Ok(Box::new(BufReader::with_capacity(buffer.clamp(4 << 10, 16 << 20), file)))
            }
        }
    }

    fn sha256(&self) -> Sha256 {
        Sha256(match self {
            Given::Small(bytes) => sha2::Sha256::digest(bytes).into(),
            Given::Spooled(Spooled { digest, .. }) => digest.clone().finalize().into(),
        })
    }
}

struct Spooled {
    spool: Spool,
    digest: sha2::Sha256,
}

impl Spooled {
    /// Writes and hashes off the async threads.
    async fn append(mut self, piece: Bytes) -> Result<Spooled, RepoError> {
        let written = tokio::task::spawn_blocking(move || {
            self.digest.update(&piece);
            self.spool
                .write_all(&piece)
                .map_err(|error| StorageError::io("write", self.spool.path(), error))?;
            Ok(self)
        });
        match written.await {
            Ok(spooled) => spooled,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(StorageError::Other("the server is shutting down".to_owned()).into()),
        }
    }
}

fn options(server: &Server) -> rewrite::Options {
    rewrite::Options {
        level: server.package_rewrite_compression_level,
        buffer: server.package_rewrite_buffer_size,
        limits: Limits::default(),
    }
}

/// A package as it will be stored.
struct Made {
    upload: Upload,
    out: Spool,
    stanza: Vec<u8>,
    description: Vec<u8>,
    md5: Md5,
    built: Option<BuiltFor>,
    readme: Option<(Sha256, Bytes)>,
}

/// Checks what was given and writes what will be stored. Blocking.
fn make(
    file: &str,
    given: Given,
    out: Spool,
    options: rewrite::Options,
    what: What,
) -> Result<Made, RepoError> {
    let refused = |error: ArchiveError| refuse(file, &error);
    // A name of another form says nothing; one of this form must not lie.
    let name = FileName::parse(file).ok();
    let checked = archive::read(given.open(options.buffer)?, name, options.limits).map_err(refused)?;
    let build = match what {
        What::Source => {
            checked.require_source().map_err(refused)?;
            None
        }
        What::Binary => {
            let inspected = binary::inspect(given.open(options.buffer)?, &checked, options.limits);
            Some(inspected.map_err(|error| refuse(file, &error))?)
        }
    };
    let package_rds = match &build {
        None => None,
        Some(build) => Some(stamp::repository(&build.package_rds, REPOSITORY).map_err(|e| refuse(file, &e))?),
    };
    let written_to = out.path().to_owned();
    let stored = Stored { spool: out, sha256: sha2::Sha256::new(), md5: md5::Md5::new() };
    let source = given.open(options.buffer)?;
    let (rewritten, stored) =
        rewrite::archive(source, &checked, REPOSITORY, package_rds.as_deref(), stored, options).map_err(
            |error| match error {
                RewriteError::Write(error) => {
                    RepoError::Storage(StorageError::io("write", &written_to, error))
                }
                other => refuse(file, &other),
            },
        )?;
    let (sha256, md5) = (Sha256(stored.sha256.finalize().into()), Md5(stored.md5.finalize().into()));
    let size = stored.spool.written();
    let mut stanza = index_stanza(&checked.description, md5, sha256, size, checked.needs_compilation);
    if let (Some(build), Some(built)) = (&build, &checked.built) {
        built_fields(&mut stanza, built, build.r);
    }
    let built = build.map(|build| BuiltFor { r: build.r, system: build.system, arch: build.arch });
    Ok(Made {
        built,
        upload: Upload {
            id: 0,
            file: file.to_owned(),
            package: checked.package().to_owned(),
            version: checked.version().to_owned(),
            original: given.sha256(),
            sha256,
            size,
        },
        out: stored.spool,
        stanza,
        description: rewritten.description,
        md5,
        // That of a build is its source's.
        readme: checked
            .readme
            .filter(|_| what == What::Source)
            .map(|(_, text)| (Sha256(sha2::Sha256::digest(&text).into()), text.into())),
    })
}

/// Why a file is no package, with the causes below.
fn refuse(file: &str, error: &dyn std::error::Error) -> RepoError {
    let mut said = format!("'{}' is refused: {error}", file.chars().take(200).collect::<String>());
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.ends_with(&text) {
            said.push_str(": ");
            said.push_str(&text);
        }
        cause = error.source();
    }
    RepoError::Invalid(said)
}

/// Writes to a spool, hashing on the way.
struct Stored {
    spool: Spool,
    sha256: sha2::Sha256,
    md5: md5::Md5,
}

impl Write for Stored {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.spool.write_all(bytes)?;
        self.sha256.update(bytes);
        self.md5.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
