//! A package file at an address, and its headers: a binary or a source package.

use http::header::HeaderValue;

use crate::http::response::{
    self, PackageHeaders, Representation, RepresentationKind, Vary, header_value, reason_value,
};
use base::model::project_path::FilePart;
use base::model::time::Timestamp;
use content::serve::located::LocatedFile;
use formats::r::platform::Platform;
use runtime::catalog::Catalog;
use store::logs::ServiceError;

/// The file to serve at the address of a package file.
pub struct ResolvedFile {
    pub(super) file: FileWithHeaders,
    /// The platform of a binary; `None` for a source package.
    pub(super) platform: Option<Platform>,
    /// The source package, served if the binary cannot be opened.
    pub(super) fallback: Option<FileWithHeaders>,
    /// The reason why `file` is the source package although a binary was looked up.
    pub(super) missing_binary: Option<MissingBinary>,
    /// Whether resolving again would give the same result.
    pub(super) is_cacheable: bool,
    /// Whether a request is a download of the package, which is counted.
    pub(super) is_download: bool,
}

pub(super) struct FileWithHeaders {
    pub(super) located: LocatedFile,
    /// `Last-Modified` in seconds since the epoch.
    pub(super) modified: Option<i64>,
    pub(super) representation: Representation,
}

/// The reason why there is no binary.
pub(super) struct MissingBinary {
    pub(super) kind: ServiceError,
    pub(super) error: String,
}

impl ResolvedFile {
    /// Creates the file of a project, or one that belongs to it, at an address with its digest.
    pub(in crate::http) fn of_project(located: LocatedFile, part: FilePart) -> ResolvedFile {
        let disposition = match part {
            FilePart::Metadata => "inline".to_owned(),
            FilePart::Distribution | FilePart::Signature | FilePart::Provenance => attachment(&located.name),
        };
        let (etag, previous_etag) = etags(&located);
        let modified = located.modified.map(Timestamp::seconds);
        let is_cacheable = located.stored;
        let warning = located.warning.as_deref().map(reason_value).map(Box::new);
        let representation = Representation {
            etag,
            previous_etag,
            modified: response::last_modified(modified),
            vary: Vary::Nothing,
            kind: RepresentationKind::Package(PackageHeaders {
                media_type: HeaderValue::from_static(part.media_type()),
                package_type: None,
                disposition: header_value(disposition),
                binary_tag: None,
                permanent_address: None,
                // Later uploads may replace a signature and attestations.
                immutable: matches!(part, FilePart::Distribution | FilePart::Metadata),
                warning,
            }),
        };
        ResolvedFile {
            file: FileWithHeaders { located, modified, representation },
            platform: None,
            fallback: None,
            missing_binary: None,
            is_cacheable,
            is_download: part == FilePart::Distribution,
        }
    }

    pub(super) fn with_vary(mut self, vary: Vary) -> ResolvedFile {
        for file in std::iter::once(&mut self.file).chain(&mut self.fallback) {
            file.representation.vary = vary;
        }
        self
    }

    /// Adds the permanent address of the binary (`Content-Location`); `root` is the relative path to the snapshot.
    pub(super) fn with_permanent_address(mut self, root: &str) -> ResolvedFile {
        let FileWithHeaders { located, representation, .. } = &mut self.file;
        if let (RepresentationKind::Package(headers), Some(platform), Some(sha256)) =
            (&mut representation.kind, &self.platform, located.sha256)
        {
            headers.permanent_address =
                Some(header_value(format!("{root}builds/{platform}/{sha256}/{}", located.name)));
        }
        self
    }

    /// Marks the response as immutable: the requested address contains the digest of the binary.
    pub(super) fn at_permanent_address(mut self) -> ResolvedFile {
        if let RepresentationKind::Package(headers) = &mut self.file.representation.kind {
            headers.immutable = true;
        }
        self
    }

    /// Marks the file as not cacheable: the configuration may change the meaning of its address.
    pub(super) fn not_cacheable(self) -> ResolvedFile {
        ResolvedFile { is_cacheable: false, ..self }
    }

    /// Returns whether resolving again would give the same result.
    pub(in crate::http) fn is_cacheable(&self) -> bool {
        self.is_cacheable
    }
}

/// Returns the `Content-Disposition` of a download. Quotation marks are replaced, because they would end the name.
fn attachment(name: &str) -> String {
    format!("attachment; filename=\"{}\"", name.replace(['"', '\\'], "_"))
}

impl FileWithHeaders {
    pub(super) fn new(
        catalog: &Catalog,
        located: LocatedFile,
        platform: Option<&Platform>,
    ) -> FileWithHeaders {
        let (etag, previous_etag) = etags(&located);
        let disposition: HeaderValue = header_value(attachment(&located.name));
        let warning = located.warning.as_deref().map(reason_value).map(Box::new);
        // A new revision has different bytes and the same publication time, so its number is added as seconds.
        let modified = located.modified.map(|at| catalog.modified(at).saturating_add(located.revision()));
        let representation = Representation {
            etag,
            previous_etag,
            modified: response::last_modified(modified),
            vary: Vary::Nothing,
            kind: RepresentationKind::Package(PackageHeaders {
                media_type: HeaderValue::from_static("binary/octet-stream"),
                package_type: Some(HeaderValue::from_static(match platform {
                    Some(_) => "binary",
                    None => "source",
                })),
                disposition,
                binary_tag: platform.map(|platform| header_value(platform.to_string())),
                permanent_address: None,
                immutable: false,
                warning,
            }),
        };
        FileWithHeaders { located, modified, representation }
    }
}

/// Returns the `ETag` of a package file, and the previous one. It is the SHA-256 of a stored file, the same
/// on every server. Before the first fetch, it is the MD5 in the mirror's index, if any; the fetch verifies
/// that both belong to the same bytes.
fn etags(file: &LocatedFile) -> (Option<HeaderValue>, Option<HeaderValue>) {
    let stored = file.sha256.map(|digest| header_value(format!("\"{digest}\"")));
    let declared = file.md5.map(|digest| header_value(format!("\"{digest}\"")));
    if stored.is_some() { (stored, declared) } else { (declared, None) }
}
