//! Prepares an uploaded package for storage: validates it, rewrites its `Repository` field, and hashes it. Blocks.

use std::io::{self, Read, Write};
use std::path::Path;

use bytes::Bytes;
use sha2::Digest;

use super::upload_body::{UploadBody, UploadKind};
use super::uploads::{BinaryTarget, PendingWrite, StagedUpload, Upload};
use base::model::digest::{Md5, Sha256};
use base::model::errors::error_chain;
use base::model::time::Timestamp;
use content::serve::RepoError;
use formats::r::archive::{self, ArchiveError, PackageArchive, ReadExtent};
use formats::r::binary::{self, BinaryError, BinaryInfo};
use formats::r::description::{index_stanza, write_built_fields};
use formats::r::layout::PackageFile;
use formats::r::name::SourceFileName;
use formats::r::rds::package_rds;
use formats::r::rewrite::{self, RewriteError, RewriteOptions, RewriteOutput};
use store::storage::{Spool, StorageError};

/// The `Repository` field of the packages of this server. renv, rsconnect and others treat this value as that of a
/// package manager and do not search for a repository of that name.
const REPOSITORY: &str = "RSPM";

/// A validated package in the form in which it is stored.
pub(super) struct PreparedPackage {
    pub(super) upload: Upload,
    pub(super) stanza: Vec<u8>,
    pub(super) description: Vec<u8>,
    pub(super) md5: Md5,
    pub(super) binary_target: Option<BinaryTarget>,
    pub(super) readme: Option<(Sha256, Bytes)>,
}

impl PreparedPackage {
    /// Converts the package to an upload; `pending_writes` are the writes of its objects that are not durable yet.
    pub(super) fn into_staged(
        self,
        pending_writes: Vec<PendingWrite>,
        received_at: Timestamp,
    ) -> StagedUpload {
        let PreparedPackage { upload, stanza, description, md5, binary_target, readme } = self;
        let readme = readme.map(|(sha256, text)| (sha256, text.len() as u64));
        StagedUpload {
            upload,
            stanza,
            description,
            md5,
            binary_target,
            readme,
            project_file: None,
            pending_writes,
            received_at,
        }
    }
}

/// Checks the package, writes its rewritten bytes to `out`, and returns `out` with the package.
pub(super) fn prepare(
    file: &str,
    body: &UploadBody,
    out: Spool,
    options: RewriteOptions,
    kind: UploadKind,
) -> Result<(PreparedPackage, Spool), RepoError> {
    if kind == UploadKind::Binary && is_zip(body)? {
        return prepare_zip(file, body, out, options);
    }
    let refusal = |error: ArchiveError| refuse_archive(file, kind, error);
    // A name of another form is ignored; one of this form must match the content.
    let name = SourceFileName::parse(file).ok();
    let package_archive =
        archive::read_up_to(ReadExtent::Upload, body.open(options.buffer)?, name, options.limits)
            .map_err(refusal)?;
    package_archive.check_description().map_err(refusal)?;
    let info = match kind {
        UploadKind::Source | UploadKind::Project(_) => {
            package_archive.require_source().map_err(refusal)?;
            None
        }
        UploadKind::Binary => {
            let info = binary::read_info(body.open(options.buffer)?, &package_archive, options.limits);
            Some(info.map_err(|error| invalid_package(file, &error))?)
        }
    };
    let package_rds = match &info {
        None => None,
        Some(info) => Some(rewrite_package_rds(file, info)?),
    };
    let (out_path, package_rds) = (out.path().to_owned(), package_rds.as_deref());
    let refusal = |error| rewrite_error(file, kind, &out_path, error);
    let open = || body.open(options.buffer).map_err(io::Error::other);
    let unchanged = rewrite::unchanged(open, &package_archive, REPOSITORY, package_rds, options.limits);
    let (mut source, mut spool) = (body.open(options.buffer)?, HashingSpool::new(out));
    let (output, spool) = match unchanged.map_err(refusal)? {
        Some(output) => {
            io::copy(&mut source, &mut spool).map_err(|error| refusal(RewriteError::Write(error)))?;
            (output, spool)
        }
        None => rewrite::archive(source, &package_archive, REPOSITORY, package_rds, spool, options)
            .map_err(refusal)?,
    };
    Ok(spool.finish(file, body, package_archive, info, output))
}

/// Returns whether the bytes begin as a zip file does.
pub(super) fn is_zip(body: &UploadBody) -> Result<bool, RepoError> {
    let mut magic = Vec::new();
    let result = body.open(0)?.take(2).read_to_end(&mut magic);
    // A read error is reported when the whole file is read.
    Ok(result.is_ok() && magic == b"PK")
}

/// Prepares a zip file, which is a binary for Windows.
fn prepare_zip(
    file: &str,
    body: &UploadBody,
    out: Spool,
    options: RewriteOptions,
) -> Result<(PreparedPackage, Spool), RepoError> {
    let mut source = body.open_seekable()?;
    let name = PackageFile::parse(file);
    let package =
        binary::read_zip(&mut source, name, options.limits).map_err(|error| invalid_package(file, &error))?;
    package.archive.check_description().map_err(|error| refuse_archive(file, UploadKind::Binary, error))?;
    let package_rds = rewrite_package_rds(file, &package.info)?;
    let (out_path, mut spool) = (out.path().to_owned(), HashingSpool::new(out));
    let output = package.copy(&mut source, REPOSITORY, &package_rds, &mut spool, options);
    let output = output.map_err(|error| rewrite_error(file, UploadKind::Binary, &out_path, error))?;
    Ok(spool.finish(file, body, package.archive, Some(package.info), output))
}

/// Returns the `package.rds` of a binary with the rewritten `Repository` field.
fn rewrite_package_rds(file: &str, info: &BinaryInfo) -> Result<Vec<u8>, RepoError> {
    package_rds::set_repository(&info.package_rds, REPOSITORY).map_err(|error| invalid_package(file, &error))
}

fn rewrite_error(file: &str, kind: UploadKind, out_path: &Path, error: RewriteError) -> RepoError {
    match error {
        RewriteError::Write(error) => RepoError::Storage(StorageError::io("write", out_path, error)),
        RewriteError::Archive(error) => refuse_archive(file, kind, error),
        other => invalid_package(file, &other),
    }
}

fn refuse_archive(file: &str, kind: UploadKind, error: ArchiveError) -> RepoError {
    match kind {
        UploadKind::Source | UploadKind::Project(_) => invalid_package(file, &error),
        UploadKind::Binary => invalid_package(file, &BinaryError::from(error)),
    }
}

/// The error for a file that is not a valid package, with its chain of causes.
pub(super) fn invalid_package(file: &str, error: &dyn std::error::Error) -> RepoError {
    refused(file, &error_chain(error))
}

pub(super) fn refused(file: &str, reason: &str) -> RepoError {
    let name: String = file.chars().take(200).collect();
    RepoError::Invalid(format!("'{name}' is refused: {reason}"))
}

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
        package_archive: PackageArchive,
        info: Option<BinaryInfo>,
        output: RewriteOutput,
    ) -> (PreparedPackage, Spool) {
        let (sha256, md5) = (Sha256(self.sha256.finalize().into()), Md5(self.md5.finalize().into()));
        let size = self.spool.size();
        let mut stanza =
            index_stanza(&package_archive.description, md5, sha256, size, package_archive.needs_compilation);
        if let (Some(info), Some(built)) = (&info, &package_archive.built) {
            write_built_fields(&mut stanza, built, info.r);
        }
        let binary_target = info.map(|info| BinaryTarget { r: info.r, system: info.system, arch: info.arch });
        let package = PreparedPackage {
            upload: Upload {
                id: 0,
                file: file.to_owned(),
                package: package_archive.package().to_owned(),
                version: package_archive.version().to_owned(),
                original: body.sha256(),
                sha256,
                size,
                notices: Vec::new(),
            },
            stanza,
            description: output.description,
            md5,
            // A binary has the README of its source package.
            readme: package_archive
                .readme
                .filter(|_| binary_target.is_none())
                .map(|(_, text)| (Sha256::of(&text), text.into())),
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
