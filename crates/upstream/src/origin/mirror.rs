//! A CRAN-like mirror, or a bundle: fetches small files whole and conditionally, packages as resumable streams.

use std::path::Path;
use std::sync::Arc;

use http::HeaderMap;

use super::bundle::{Bundle, BundleError};
use super::bundle_cache::BundleCache;
use super::bundle_mirror::{self, BundleMirror};
use super::mirror_view::MirrorView;
use super::probe::{MirrorLayout, check_directory};
use crate::UpstreamError;
use crate::transport::Transport;
use crate::transport::address::Address;
use crate::transport::client::HttpClient;
use crate::transport::dir::InPlaceFile;
use crate::transport::download::{ByteSink, download};
use crate::transport::file::{FilePart, FileRequest, FileResponse, FileStream, Validators};
use crate::transport::http::ClientIdentity;
use base::model::digest::Sha256;
use formats::bundle::{Head, Product};
use formats::r::platform::Arch;
use formats::r::version::RMinor;

/// A CRAN-like mirror; cloning is cheap.
#[derive(Clone)]
pub struct Mirror {
    transport: Transport,
    layout: Arc<MirrorLayout>,
}

impl Mirror {
    /// Creates the mirror at an address; HTTP is not accessed yet.
    pub(crate) fn at(address: Address, client: &Arc<HttpClient>, cache: &Arc<BundleCache>) -> Mirror {
        let layout = Arc::new(MirrorLayout::of(&address, client, cache));
        Mirror { transport: Transport::of_mirror(address, client), layout }
    }

    /// Returns the same mirror as a part of the one at another address.
    pub(crate) fn part_of(self, whole: Address) -> Mirror {
        Mirror { transport: self.transport.part_of(whole), ..self }
    }

    /// Returns the key of per-host limits: `host:port`, or `file` for a directory.
    pub fn host(&self) -> &str {
        self.transport.host()
    }

    /// Returns the address for messages and keys: without user, password and trailing slash.
    pub fn address(&self) -> String {
        match self.dir_bundle() {
            Some(bundle) => bundle.address(),
            None => self.transport.address(),
        }
    }

    /// Returns the directory of a `file://` mirror; the root if it is a bundle.
    pub fn directory(&self) -> Option<&Path> {
        self.dir_bundle().map_or(&self.transport, BundleMirror::transport).directory()
    }

    /// Returns whether the mirror is a bundle, whose package files are named by digest. For an HTTP address
    /// this is known only after its index was requested.
    pub fn is_bundle(&self) -> bool {
        self.bundle().is_some()
    }

    /// Returns the bundle at the same address; not accessed yet.
    pub fn as_bundle(&self) -> Bundle {
        Bundle::at(self.transport.clone())
    }

    fn bundle(&self) -> Option<&BundleMirror> {
        match &*self.layout {
            MirrorLayout::Mirror => None,
            MirrorLayout::Bundle(bundle) => Some(bundle),
            MirrorLayout::Http(probe) => probe.bundle(),
        }
    }

    fn dir_bundle(&self) -> Option<&BundleMirror> {
        match &*self.layout {
            MirrorLayout::Bundle(bundle) => Some(bundle),
            MirrorLayout::Mirror | MirrorLayout::Http(_) => None,
        }
    }

    /// Returns the contents of a bundle below `src/contrib` of this mirror; `None` if it is not a bundle.
    pub async fn view(&self) -> Result<Option<Arc<MirrorView>>, UpstreamError> {
        match self.bundle() {
            None => Ok(None),
            Some(bundle) => bundle.view().await,
        }
    }

    /// Returns the heads of all products of a bundle in a directory, CRAN first; empty if the mirror is none.
    pub async fn heads(&self) -> Vec<(Product, Result<Head, BundleError>)> {
        match self.dir_bundle() {
            None => Vec::new(),
            Some(bundle) => bundle.heads().await,
        }
    }

    /// Returns the README of a package file of a bundle in a directory, by its digest, if it has one. The first call
    /// for a product reads its records: a second of CPU time for all of CRAN.
    pub async fn readme(&self, product: &Product, file: Sha256) -> Result<Option<String>, BundleError> {
        match self.dir_bundle() {
            None => Ok(None),
            Some(bundle) => bundle.readme(product, file).await,
        }
    }

    /// Returns the path that a bundle has for the package file with this digest and name; `None` if the
    /// mirror is not a bundle. An HTTP address may be one, so it has a path even before it was probed.
    pub fn object_path(&self, product: &Product, sha256: Sha256, name: &str) -> Option<String> {
        match &*self.layout {
            MirrorLayout::Mirror => None,
            MirrorLayout::Bundle(_) | MirrorLayout::Http(_) => {
                Some(product.object_path(sha256, bundle_mirror::extension(name)?))
            }
        }
    }

    /// Opens a file of a directory to be read in place.
    ///
    /// # Errors
    /// As [`Mirror::open`]; a mirror over HTTP has no files to open.
    pub async fn open_in_place(&self, path: &str) -> Result<InPlaceFile, UpstreamError> {
        self.dir_bundle().map_or(&self.transport, BundleMirror::transport).open_in_place(path).await
    }

    /// Checks whether a directory is a mirror; the error names the paths that were tried. A mirror over HTTP
    /// always passes: only a request for its first file shows whether it is usable.
    pub async fn check(&self) -> Result<(), UpstreamError> {
        match &*self.layout {
            MirrorLayout::Mirror => check_directory(&self.transport).await,
            // Each product of a bundle has a head, which is checked when it is read.
            MirrorLayout::Bundle(_) | MirrorLayout::Http(_) => Ok(()),
        }
    }

    /// Returns the same mirror for requests with the `User-Agent` and the query of R with this minor version on Linux,
    /// by which a server chooses the binaries below `__linux__`.
    ///
    /// # Errors
    /// A directory cannot choose by client.
    pub fn as_r_on_linux(&self, r: RMinor, arch: Arch) -> Result<Mirror, UpstreamError> {
        let (triplet, name) = match arch {
            Arch::X86_64 => ("x86_64-pc-linux-gnu", "x86_64"),
            Arch::Arm64 => ("aarch64-unknown-linux-gnu", "aarch64"),
        };
        let identity = ClientIdentity {
            agent: format!("R/{r}.0 R ({r}.0 {triplet} {name} linux-gnu)"),
            query: format!("r_version={r}&arch={arch}"),
        };
        match self.transport.with_identity(identity) {
            Some(transport) => Ok(Mirror { transport, layout: Arc::new(MirrorLayout::Mirror) }),
            None => {
                let reason = "is a directory, and cannot choose between binaries and sources".to_owned();
                Err(UpstreamError::Refused { url: self.address(), reason })
            }
        }
    }

    /// Sends a HEAD request and returns the headers; none for a directory. No retry.
    pub async fn request_headers(&self, path: &str) -> Result<HeaderMap, UpstreamError> {
        self.transport.request_headers(path).await
    }

    /// Reads a small file whole, with retries and back-off.
    pub async fn fetch(&self, request: FileRequest<'_>) -> Result<FileResponse, UpstreamError> {
        match &*self.layout {
            MirrorLayout::Mirror => self.transport.fetch(request).await,
            MirrorLayout::Bundle(bundle) => bundle.fetch(&request).await,
            MirrorLayout::Http(probe) => probe.fetch(&self.transport, request).await,
        }
    }

    /// Returns the address of a package file, which has a different path in a bundle.
    async fn locate(&self, path: &str) -> Result<(&Transport, String), UpstreamError> {
        match self.bundle() {
            None => Ok((&self.transport, path.to_owned())),
            Some(bundle) => Ok((bundle.transport(), bundle.locate(path).await?)),
        }
    }

    /// Reads at most `length` bytes of a package file from `offset` (`Range` over HTTP). If a server sends
    /// the whole file instead, reading ends after that part. No retry.
    pub async fn read_part(&self, path: &str, offset: u64, length: u64) -> Result<FilePart, UpstreamError> {
        let (transport, path) = self.locate(path).await?;
        transport.read_part(&path, offset, length).await
    }

    /// Opens a package file. `resume` is the length and the validators of a part that was read before: the stream
    /// begins after this part if the file is unchanged (`Range` with `If-Range` over HTTP), otherwise at 0.
    /// No retry: the caller decides about further attempts.
    pub async fn open(
        &self,
        path: &str,
        resume: Option<(u64, Validators)>,
    ) -> Result<FileStream, UpstreamError> {
        let (transport, path) = self.locate(path).await?;
        transport.open(&path, resume).await
    }

    /// Downloads a file, and returns its size. One that differs from `expected_size`, if known, is refused.
    ///
    /// # Errors
    /// The mirror does not have the file, the file has a different size, or all retries failed: see
    /// [`crate::transport::client::Limits`].
    pub async fn download(
        &self,
        path: &str,
        expected_size: Option<u64>,
        sink: &mut impl ByteSink,
    ) -> Result<u64, UpstreamError> {
        let (transport, path) = self.locate(path).await?;
        download(transport, &path, expected_size, sink).await
    }
}
