//! Presents a bundle as the mirror it was made from, with index, `Meta/` and package files at the usual
//! paths, so that all readers of mirrors can read it. Everything is verified before it is returned.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::bundle::{Bundle, BundleError, VerifiedHead};
use super::bundle_cache::{BundleCache, Contents};
use super::mirror_view::{Database, MetaFile, MirrorView, ProductBuilder};
use crate::UpstreamError;
use crate::transport::file::{FileRequest, FileResponse, Validators};
use crate::transport::{Transport, decompress};
use base::model::digest::Sha256;
use formats::bundle::record::EXTENSIONS;
use formats::bundle::{Head, Product};
use formats::r::platform::{Arch, BinaryTarget, Platform};
use formats::r::version::RMinor;

/// The package database on mirrors of CRAN.
const DATABASE: &str = "web/packages/packages.rds";
/// The version map of Bioconductor, on its mirrors.
const CONFIG: &str = "config.yaml";

/// Begins the validator of a file that is made from a bundle, before the serial and the chain of the head.
const ETAG_PREFIX: &str = "bundle-";

/// A bundle in the form of a mirror.
pub(super) struct BundleMirror {
    bundle: Bundle,
    /// Prefix of every path: empty, or a folder of the mirror with a trailing slash.
    prefix: String,
    /// The cache of bundles, shared with other mirrors.
    cache: Arc<BundleCache>,
    /// The contents of each product that this mirror read last; the cache has only weak references.
    last_contents: Mutex<HashMap<Product, Arc<Contents>>>,
}

/// Maps a path of a mirror to product, folder and path in a bundle.
fn resolve_path(path: &str) -> Option<(Product, &str, &str)> {
    if let Some(rest) = path.strip_prefix("src/contrib/") {
        return Some((Product::Cran, "", rest));
    }
    if let Some(rest) = path.strip_prefix("bin/") {
        let (folder, file) = rest.rsplit_once('/')?;
        return Some((Product::Binaries(platform_tag(folder)?), "", file));
    }
    let (version, rest) = path.strip_prefix("packages/")?.split_once('/')?;
    let (folder, rest) = rest.split_once("/src/contrib/")?;
    Some((Product::parse(&format!("bioconductor/{version}"))?, folder, rest))
}

/// Returns the platform of a folder below `bin/`: `linux/noble-x86_64/4.5/src/contrib`, `windows/contrib/4.5`,
/// `macosx/big-sur-arm64/contrib/4.5`.
fn platform_tag(folder: &str) -> Option<String> {
    let parts: Vec<&str> = folder.split('/').collect();
    let (target, arch, r) = match parts[..] {
        ["linux", name, r, "src", "contrib"] => {
            let (distribution, arch) = name.rsplit_once('-')?;
            (BinaryTarget::Linux(distribution.to_owned()), Arch::of_spelling(arch)?, r)
        }
        ["windows", "contrib", r] => (BinaryTarget::Windows, Arch::X86_64, r),
        ["macosx", macos_folder, "contrib", r] => {
            (BinaryTarget::MacOs, if macos_folder.ends_with("arm64") { Arch::Arm64 } else { Arch::X86_64 }, r)
        }
        _ => return None,
    };
    Some(Platform { r: RMinor::parse(r)?, target, arch }.to_string())
}

impl BundleMirror {
    /// Creates the mirror for the bundle with the files of this transport; `folder` is one of the mirror, or empty.
    pub(super) fn new(transport: Transport, folder: &str, cache: Arc<BundleCache>) -> BundleMirror {
        let prefix =
            if folder.is_empty() { String::new() } else { format!("{}/", folder.trim_end_matches('/')) };
        BundleMirror { bundle: cache.bundle(transport), prefix, cache, last_contents: Mutex::default() }
    }

    /// Returns the address of the mirror: without user, password and trailing slash.
    pub(super) fn address(&self) -> String {
        format!("{}/{}", self.transport().address(), self.prefix).trim_end_matches('/').to_owned()
    }

    pub(super) fn transport(&self) -> &Transport {
        self.bundle.transport()
    }

    /// Returns the heads of all products, CRAN first.
    pub(super) async fn heads(&self) -> Vec<(Product, Result<Head, BundleError>)> {
        let mut products = Vec::new();
        if self.bundle.has(&Product::Cran).await.unwrap_or(false) {
            products.push(Product::Cran);
        }
        if let Some(root) = self.transport().directory().map(Path::to_owned) {
            let result = tokio::task::spawn_blocking(move || versions(&root)).await;
            products.extend(result.unwrap_or_default());
        }
        let mut heads = Vec::with_capacity(products.len());
        for product in products {
            let head = self.cache.head(&self.bundle, &product).await;
            heads.push((product, head.map(|verified_head| verified_head.head.clone())));
        }
        heads
    }

    /// Returns the README of a package file, by the digest of the file.
    pub(super) async fn readme(
        &self,
        product: &Product,
        file: Sha256,
    ) -> Result<Option<String>, BundleError> {
        self.cache.readme(&self.bundle, product, file).await
    }

    /// Returns the contents below `src/contrib` that this mirror read last.
    pub(super) async fn view(&self) -> Result<Option<Arc<MirrorView>>, UpstreamError> {
        let contrib = format!("{}src/contrib/", self.prefix);
        let Some((product, folder, _)) = resolve_path(&contrib) else { return Ok(None) };
        let contents = self.last_contents(&product).await?;
        Ok(Some(contents.folders.get(folder).cloned().unwrap_or_default()))
    }

    /// Returns the head of a product. A missing version of Bioconductor is a missing file, as on a mirror.
    async fn head(&self, product: &Product) -> Result<Arc<VerifiedHead>, UpstreamError> {
        let missing_error =
            || UpstreamError::Missing(format!("{}/{}", self.transport().address(), product.head_path()));
        self.cache.head(&self.bundle, product).await.map_err(|error| match (product, error) {
            (Product::Bioconductor(_) | Product::Binaries(_), BundleError::Absent { .. }) => missing_error(),
            (_, error) => upstream_error(error),
        })
    }

    /// Returns the contents of a product that this mirror read last, so that files match the index; reads them if none.
    async fn last_contents(&self, product: &Product) -> Result<Arc<Contents>, UpstreamError> {
        let contents = self.last_contents.lock().get(product).cloned();
        match contents {
            Some(contents) => Ok(contents),
            None => self.contents(product, &*self.head(product).await?).await,
        }
    }

    /// Returns the contents of a product for a head; the first caller reads them.
    async fn contents(
        &self,
        product: &Product,
        verified_head: &VerifiedHead,
    ) -> Result<Arc<Contents>, UpstreamError> {
        let chain = verified_head.head.chain;
        let slot = self.cache.slot(&(self.transport().address(), product.clone()));
        let mut cached = slot.lock().await;
        let contents = match cached.upgrade().filter(|cached| cached.chain == chain) {
            Some(contents) => contents,
            None => {
                let builder = ProductBuilder::new(product.clone());
                let builder = self.fold_records(product, verified_head, builder, ProductBuilder::add).await?;
                let folders = self.run_blocking(product, move || builder.into_folders()).await?;
                Arc::new(Contents { chain, folders })
            }
        };
        *cached = Arc::downgrade(&contents);
        self.last_contents.lock().insert(product.clone(), Arc::clone(&contents));
        Ok(contents)
    }

    /// Returns the DESCRIPTIONs of listed packages of CRAN in the form of its mirrors.
    async fn database(&self) -> Result<Bytes, UpstreamError> {
        let product = Product::Cran;
        let verified_head = self.head(&product).await?;
        let contents = self.contents(&product, &verified_head).await?;
        let view = contents.folders.get("").cloned().unwrap_or_default();
        let database =
            self.fold_records(&product, &verified_head, Database::of(&view), Database::add).await?;
        self.run_blocking(&product, move || database.bytes()).await
    }

    /// Passes the records of a product to `add`, segment by segment; returns the accumulator.
    async fn fold_records<T: Send + 'static>(
        &self,
        product: &Product,
        verified_head: &VerifiedHead,
        mut accumulator: T,
        add: fn(&mut T, formats::bundle::Record) -> Result<(), String>,
    ) -> Result<T, UpstreamError> {
        for segment in verified_head.since(0) {
            accumulator =
                self.bundle.fold_records(product, segment, accumulator, add).await.map_err(upstream_error)?;
        }
        Ok(accumulator)
    }

    /// Runs `work` on a blocking thread: for all of CRAN it takes seconds of CPU time.
    async fn run_blocking<T: Send + 'static>(
        &self,
        product: &Product,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, UpstreamError> {
        let url = || format!("{}/{}", self.transport().address(), product.head_path());
        decompress::run_blocking(work).await.map_err(|reason| UpstreamError::Refused { url: url(), reason })
    }

    /// Returns a metadata file of the mirror whole, unless it is unchanged.
    pub(super) async fn fetch(&self, request: &FileRequest<'_>) -> Result<FileResponse, UpstreamError> {
        let missing_error = || UpstreamError::Missing(format!("{}/{}", self.address(), request.path));
        let check_size = |bytes: Bytes| match bytes.len() as u64 > request.limit {
            false => Ok(bytes),
            true => Err(UpstreamError::Refused {
                url: format!("{}/{}", self.address(), request.path),
                reason: format!("has {} bytes, more than the limit of {}", bytes.len(), request.limit),
            }),
        };
        let full_path = format!("{}{}", self.prefix, request.path);
        if full_path == CONFIG {
            let config =
                self.bundle.bioconductor().await.map_err(upstream_error)?.ok_or_else(missing_error)?;
            let (bytes, validators) = (check_size(config.config_yaml.into())?, Validators::default());
            return Ok(FileResponse::Body { bytes, validators });
        }
        if full_path == DATABASE {
            let (bytes, validators) = (check_size(self.database().await?)?, Validators::default());
            return Ok(FileResponse::Body { bytes, validators });
        }
        // Paths of the bundle itself are passed through, unless their bytes need a signature.
        let Some((product, folder, path)) = resolve_path(&full_path) else {
            if self.bundle.is_signed() {
                return Err(missing_error());
            }
            return self.transport().fetch(FileRequest { path: &full_path, ..request.clone() }).await;
        };
        let meta_file = MetaFile::parse(path).ok_or_else(missing_error)?;
        let verified_head = self.head(&product).await?;
        let head = &verified_head.head;
        let etag = format!("{ETAG_PREFIX}{}-{}", head.serial, head.chain);
        let known_etag = request.validators.as_ref().and_then(|known| known.etag.as_ref());
        if known_etag == Some(&etag) {
            return Ok(FileResponse::Unchanged);
        }
        let known_serial =
            known_etag.and_then(|etag| etag.strip_prefix(ETAG_PREFIX)?.split('-').next()?.parse().ok());
        self.bundle.refuse_older(&product, head, known_serial).map_err(upstream_error)?;
        let contents = self.contents(&product, &verified_head).await?;
        let view = Arc::clone(contents.folders.get(folder).ok_or_else(missing_error)?);
        let bytes = self.run_blocking(&product, move || view.meta_file(meta_file)).await?;
        let validators = Validators { etag: Some(etag), modified: None };
        Ok(FileResponse::Body { bytes: check_size(bytes)?, validators })
    }

    /// Returns the path in the bundle of a file of the mirror; a path of the bundle itself is passed through.
    pub(super) async fn locate(&self, path: &str) -> Result<String, UpstreamError> {
        let full_path = format!("{}{path}", self.prefix);
        let Some((product, folder, rest)) = resolve_path(&full_path) else { return Ok(full_path) };
        let contents = self.last_contents(&product).await?;
        let object = contents.folders.get(folder).and_then(|view| view.file(rest));
        let object = object.map(|object| product.object_path(object.sha256, object.ext));
        object.ok_or_else(|| UpstreamError::Missing(format!("{}/{path}", self.address())))
    }
}

/// Returns the Bioconductor versions that have a folder, sorted by name.
fn versions(root: &Path) -> Vec<Product> {
    let entries = std::fs::read_dir(root.join("bioc/v4")).into_iter().flatten().flatten();
    let names = entries
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut products: Vec<Product> =
        names.filter_map(|name| Product::parse(&format!("bioconductor/{name}"))).collect();
    products.sort();
    products
}

/// Returns the extension of a package file's name.
pub(super) fn extension(name: &str) -> Option<&'static str> {
    EXTENSIONS
        .into_iter()
        .find(|extension| name.strip_suffix(extension).is_some_and(|rest| rest.ends_with('.')))
}

/// Converts an error of a bundle. An incomplete one is [`UpstreamError::Unavailable`]: it may be complete next time.
pub(super) fn upstream_error(error: BundleError) -> UpstreamError {
    let (address, file) = match &error {
        BundleError::Upstream(error) => return error.clone(),
        BundleError::Missing { address, file }
        | BundleError::Unsigned { address, file, .. }
        | BundleError::NoBase { address, file, .. }
        | BundleError::Absent { address, file, .. }
        | BundleError::Damaged { address, file, .. } => (address, file),
    };
    let (url, text) = (format!("{address}/{file}"), error.to_string());
    // The location is shown once.
    let reason =
        text.strip_prefix(&url).map_or(&*text, |rest| rest.trim_start_matches([':', ' '])).to_owned();
    match error.is_partial() {
        true => UpstreamError::Unavailable { url, reason, retry_after: None, is_of_mirror: true },
        false => UpstreamError::Refused { url, reason },
    }
}
