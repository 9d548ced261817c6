//! Prepares an uploaded package for storage: validates, stamps and hashes it. Blocking.

use std::io::{self, Read, Write};
use std::path::Path;

use bytes::Bytes;
use sha2::Digest;

use super::durability::PendingWrite;
use super::upload_body::{UploadBody, UploadKind};
use super::uploads::{BinaryTarget, StagedUpload, Upload};
use crate::model::digest::{Md5, Sha256};
use crate::model::time::Timestamp;
use crate::r::archive::{self, ArchiveError, PackageArchive};
use crate::r::binary::{self, BinaryError, BinaryInfo};
use crate::r::description::{index_stanza, write_built_fields};
use crate::r::layout::PackageFile;
use crate::r::name::SourceFileName;
use crate::r::rds::package_rds;
use crate::r::rewrite::{self, Options, RewriteError, RewriteOutput};
use crate::serve::RepoError;
use crate::storage::{Spool, StorageError};

/// The `Repository` field of packages served here. renv, rsconnect and others treat this value as that of a package
/// manager and do not search for a repository of that name.
const REPOSITORY: &str = "RSPM";

/// A package as it will be stored.
pub(super) struct PreparedPackage {
    pub(super) upload: Upload,
    pub(super) stanza: Vec<u8>,
    pub(super) description: Vec<u8>,
    pub(super) md5: Md5,
    pub(super) binary_target: Option<BinaryTarget>,
    pub(super) readme: Option<(Sha256, Bytes)>,
}

impl PreparedPackage {
    /// Converts it to an upload; `pending_writes` are the writes of its objects that are not durable yet.
    pub(super) fn into_staged(
        self,
        pending_writes: Vec<PendingWrite>,
        received_at: Timestamp,
    ) -> StagedUpload {
        let PreparedPackage { upload, stanza, description, md5, binary_target, readme } = self;
        let readme = readme.map(|(sha256, text)| (sha256, text.len() as u64));
        StagedUpload { upload, stanza, description, md5, binary_target, readme, pending_writes, received_at }
    }
}

/// Checks the package and writes the bytes to be stored to `out`, which is returned.
pub(super) fn prepare(
    file: &str,
    body: &UploadBody,
    out: Spool,
    options: Options,
    what: UploadKind,
) -> Result<(PreparedPackage, Spool), RepoError> {
    if what == UploadKind::Binary && is_zip(body)? {
        return prepare_zip(file, body, out, options);
    }
    let refused = |error: ArchiveError| refuse_archive(file, what, error);
    // A name of another form is ignored; one of this form must match the content.
    let name = SourceFileName::parse(file).ok();
    let parsed = archive::read(body.open(options.buffer)?, name, options.limits).map_err(refused)?;
    let info = match what {
        UploadKind::Source => {
            parsed.require_source().map_err(refused)?;
            None
        }
        UploadKind::Binary => {
            let inspected = binary::read_info(body.open(options.buffer)?, &parsed, options.limits);
            Some(inspected.map_err(|error| invalid_package(file, &error))?)
        }
    };
    let package_rds = match &info {
        None => None,
        Some(info) => Some(stamp_package_rds(file, info)?),
    };
    let written_to = out.path().to_owned();
    let (source, stored) = (body.open(options.buffer)?, HashingSpool::new(out));
    let (rewritten, stored) =
        rewrite::archive(source, &parsed, REPOSITORY, package_rds.as_deref(), stored, options)
            .map_err(|error| rewrite_error(file, what, &written_to, error))?;
    Ok(stored.finish(file, body, parsed, info, rewritten))
}

fn is_zip(body: &UploadBody) -> Result<bool, RepoError> {
    let mut magic = Vec::new();
    let read = body.open(0)?.take(2).read_to_end(&mut magic);
    // A read error is reported when the whole file is read.
    Ok(read.is_ok() && magic == b"PK")
}

/// Like [`prepare`], for a zip file: a binary for Windows.
fn prepare_zip(
    file: &str,
    body: &UploadBody,
    out: Spool,
    options: Options,
) -> Result<(PreparedPackage, Spool), RepoError> {
    let mut source = body.seek()?;
    let name = PackageFile::parse(file);
    let package =
        binary::read_zip(&mut source, name, options.limits).map_err(|error| invalid_package(file, &error))?;
    let package_rds = stamp_package_rds(file, &package.info)?;
    let (written_to, mut stored) = (out.path().to_owned(), HashingSpool::new(out));
    let rewritten = package.copy(&mut source, REPOSITORY, &package_rds, &mut stored, options);
    let rewritten = rewritten.map_err(|error| rewrite_error(file, UploadKind::Binary, &written_to, error))?;
    Ok(stored.finish(file, body, package.archive, Some(package.info), rewritten))
}

fn stamp_package_rds(file: &str, info: &BinaryInfo) -> Result<Vec<u8>, RepoError> {
    package_rds::set_repository(&info.package_rds, REPOSITORY).map_err(|error| invalid_package(file, &error))
}

fn rewrite_error(file: &str, what: UploadKind, written_to: &Path, error: RewriteError) -> RepoError {
    match error {
        RewriteError::Write(error) => RepoError::Storage(StorageError::io("write", written_to, error)),
        RewriteError::Archive(error) => refuse_archive(file, what, error),
        other => invalid_package(file, &other),
    }
}

fn refuse_archive(file: &str, what: UploadKind, error: ArchiveError) -> RepoError {
    match what {
        UploadKind::Source => invalid_package(file, &error),
        UploadKind::Binary => invalid_package(file, &BinaryError::from(error)),
    }
}

/// The error for a file that is not a valid package, with its chain of causes.
fn invalid_package(file: &str, error: &dyn std::error::Error) -> RepoError {
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
struct HashingSpool {
    spool: Spool,
    sha256: sha2::Sha256,
    md5: md5::Md5,
}

impl HashingSpool {
    fn new(spool: Spool) -> HashingSpool {
        HashingSpool { spool, sha256: sha2::Sha256::new(), md5: md5::Md5::new() }
    }

    /// Builds the result once the whole package is written.
    fn finish(
        self,
        file: &str,
        body: &UploadBody,
        parsed: PackageArchive,
        info: Option<BinaryInfo>,
        rewritten: RewriteOutput,
    ) -> (PreparedPackage, Spool) {
        let (sha256, md5) = (Sha256(self.sha256.finalize().into()), Md5(self.md5.finalize().into()));
        let size = self.spool.written();
        let mut stanza = index_stanza(&parsed.description, md5, sha256, size, parsed.needs_compilation);
        if let (Some(info), Some(built)) = (&info, &parsed.built) {
            write_built_fields(&mut stanza, built, info.r);
        }
        let binary_target = info.map(|info| BinaryTarget { r: info.r, system: info.system, arch: info.arch });
        let package = PreparedPackage {
            upload: Upload {
                id: 0,
                file: file.to_owned(),
                package: parsed.package().to_owned(),
                version: parsed.version().to_owned(),
                original: body.sha256(),
                sha256,
                size,
            },
            stanza,
            description: rewritten.description,
            md5,
            // A binary has the README of its source package.
            readme: parsed
                .readme
                .filter(|_| binary_target.is_none())
                .map(|(_, text)| (Sha256(sha2::Sha256::digest(&text).into()), text.into())),
            binary_target,
        };
        (package, self.spool)
    }
}

impl Write for HashingSpool {
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
