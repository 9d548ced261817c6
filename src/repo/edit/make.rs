//! Prepares an uploaded package for storage: validates, stamps and hashes it. Blocking.

use std::io::{self, Read, Write};
use std::path::Path;

use bytes::Bytes;
use sha2::Digest;

use super::landing::Landing;
use super::upload::{Given, What};
use super::uploads::{BuiltFor, Held, Upload};
use crate::model::digest::{Md5, Sha256};
use crate::model::time::Timestamp;
use crate::r::archive::{self, ArchiveError, SourceArchive};
use crate::r::binary::{self, BinaryError, Build};
use crate::r::description::{built_fields, index_stanza};
use crate::r::layout::PackageFile;
use crate::r::name::FileName;
use crate::r::rds::stamp;
use crate::r::rewrite::{self, Options, RewriteError, Rewritten};
use crate::repo::RepoError;
use crate::storage::{Spool, StorageError};

/// The `Repository` field of packages served here. renv, rsconnect and others treat this value as that of a package
/// manager and do not search for a repository of that name.
const REPOSITORY: &str = "RSPM";

/// A package as it will be stored.
pub(super) struct Made {
    pub(super) upload: Upload,
    pub(super) stanza: Vec<u8>,
    pub(super) description: Vec<u8>,
    pub(super) md5: Md5,
    pub(super) built: Option<BuiltFor>,
    pub(super) readme: Option<(Sha256, Bytes)>,
}

impl Made {
    /// Converts it to an upload; `landings` are its objects that are not durable yet.
    pub(super) fn held(self, landings: Vec<Landing>, since: Timestamp) -> Held {
        let Made { upload, stanza, description, md5, built, readme } = self;
        let readme = readme.map(|(sha256, text)| (sha256, text.len() as u64));
        Held { upload, stanza, description, md5, built, readme, landings, since }
    }
}

/// Checks the package and writes the bytes to be stored to `out`, which is returned.
pub(super) fn make(
    file: &str,
    given: &Given,
    out: Spool,
    options: Options,
    what: What,
) -> Result<(Made, Spool), RepoError> {
    if what == What::Binary && is_zip(given)? {
        return make_zip(file, given, out, options);
    }
    let refused = |error: ArchiveError| refuse_archive(file, what, error);
    // A name of another form is ignored; one of this form must match the content.
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
        Some(build) => Some(stamped(file, build)?),
    };
    let written_to = out.path().to_owned();
    let (source, stored) = (given.open(options.buffer)?, Stored::new(out));
    let (rewritten, stored) =
        rewrite::archive(source, &checked, REPOSITORY, package_rds.as_deref(), stored, options)
            .map_err(|error| unwritten(file, what, &written_to, error))?;
    Ok(stored.made(file, given, checked, build, rewritten))
}

fn is_zip(given: &Given) -> Result<bool, RepoError> {
    let mut magic = Vec::new();
    let read = given.open(0)?.take(2).read_to_end(&mut magic);
    // A read error is reported when the whole file is read.
    Ok(read.is_ok() && magic == b"PK")
}

/// Like [`make`], for a zip file: a binary for Windows.
fn make_zip(file: &str, given: &Given, out: Spool, options: Options) -> Result<(Made, Spool), RepoError> {
    let mut source = given.seek()?;
    let name = PackageFile::parse(file);
    let package =
        binary::read_zip(&mut source, name, options.limits).map_err(|error| refuse(file, &error))?;
    let package_rds = stamped(file, &package.build)?;
    let (written_to, mut stored) = (out.path().to_owned(), Stored::new(out));
    let rewritten = package.copy(&mut source, REPOSITORY, &package_rds, &mut stored, options);
    let rewritten = rewritten.map_err(|error| unwritten(file, What::Binary, &written_to, error))?;
    Ok(stored.made(file, given, package.checked, Some(package.build), rewritten))
}

fn stamped(file: &str, build: &Build) -> Result<Vec<u8>, RepoError> {
    stamp::repository(&build.package_rds, REPOSITORY).map_err(|error| refuse(file, &error))
}

fn unwritten(file: &str, what: What, written_to: &Path, error: RewriteError) -> RepoError {
    match error {
        RewriteError::Write(error) => RepoError::Storage(StorageError::io("write", written_to, error)),
        RewriteError::Archive(error) => refuse_archive(file, what, error),
        other => refuse(file, &other),
    }
}

fn refuse_archive(file: &str, what: What, error: ArchiveError) -> RepoError {
    match what {
        What::Source => refuse(file, &error),
        What::Binary => refuse(file, &BinaryError::from(error)),
    }
}

/// The error for a file that is not a valid package, with its chain of causes.
fn refuse(file: &str, error: &dyn std::error::Error) -> RepoError {
    let mut message = format!("'{}' is refused: {error}", file.chars().take(200).collect::<String>());
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.ends_with(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = error.source();
    }
    RepoError::Invalid(message)
}

/// A writer to a spool that hashes the bytes.
struct Stored {
    spool: Spool,
    sha256: sha2::Sha256,
    md5: md5::Md5,
}

impl Stored {
    fn new(spool: Spool) -> Stored {
        Stored { spool, sha256: sha2::Sha256::new(), md5: md5::Md5::new() }
    }

    /// Builds the result once the whole package is written.
    fn made(
        self,
        file: &str,
        given: &Given,
        checked: SourceArchive,
        build: Option<Build>,
        rewritten: Rewritten,
    ) -> (Made, Spool) {
        let (sha256, md5) = (Sha256(self.sha256.finalize().into()), Md5(self.md5.finalize().into()));
        let size = self.spool.written();
        let mut stanza = index_stanza(&checked.description, md5, sha256, size, checked.needs_compilation);
        if let (Some(build), Some(built)) = (&build, &checked.built) {
            built_fields(&mut stanza, built, build.r);
        }
        let built = build.map(|build| BuiltFor { r: build.r, system: build.system, arch: build.arch });
        let made = Made {
            upload: Upload {
                id: 0,
                file: file.to_owned(),
                package: checked.package().to_owned(),
                version: checked.version().to_owned(),
                original: given.sha256(),
                sha256,
                size,
            },
            stanza,
            description: rewritten.description,
            md5,
            // A binary has the README of its source package.
            readme: checked
                .readme
                .filter(|_| built.is_none())
                .map(|(_, text)| (Sha256(sha2::Sha256::digest(&text).into()), text.into())),
            built,
        };
        (made, self.spool)
    }
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
