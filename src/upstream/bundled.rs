//! A bundle that shows itself as the mirror it was made from: an index, `Meta/` and package files at the addresses a mirror
//! has them at, so that whoever reads mirrors reads bundles. Everything is verified before any of it is shown.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::bundle::{Bundle, BundleError, Verified};
use super::mirror::{Fetch, Fetched, Opened, Validators};
use super::shown::{self, Shown};
use super::{Mirror, Upstream, UpstreamError};
use crate::bundle::record::EXTENSIONS;
use crate::bundle::{Head, Product, Record};
use crate::config::{BinaryStyle, BinaryUrl, Cran};
use crate::model::digest::Sha256;
use crate::r::layout::RMinor;
use crate::r::platform::{Arch, Platform, Target};

/// What CRAN's mirrors say of every listed package.
const DATABASE: &str = "web/packages/packages.rds";
/// The version map of Bioconductor, on its mirrors.
const CONFIG: &str = "config.yaml";

/// A bundle as a mirror.
pub(super) struct Bundled {
    bundle: Bundle,
    /// In front of every path: empty, or a folder that the mirror has and the bundle shows, with a slash.
    within: String,
    /// What was read of each product and folder.
    shown: Mutex<HashMap<(Product, String), Once>>,
}

/// Read by the first who asks; the others wait.
type Once = Arc<OnceCell<Arc<Shown>>>;

/// What an address of a mirror means in a bundle.
fn meaning(path: &str) -> Option<(Product, &str, &str)> {
    if let Some(rest) = path.strip_prefix("src/contrib/") {
        return Some((Product::Cran, "", rest));
    }
    if let Some(rest) = path.strip_prefix("bin/") {
        let (folder, file) = rest.rsplit_once('/')?;
        return Some((Product::Binaries(tag(folder)?), "", file));
    }
    let (version, rest) = path.strip_prefix("packages/")?.split_once('/')?;
    let (folder, rest) = rest.split_once("/src/contrib/")?;
    Some((Product::parse(&format!("bioconductor/{version}"))?, folder, rest))
}

/// The platform of a folder below `bin/`: `linux/noble-x86_64/4.5/src/contrib`, `windows/contrib/4.5`,
/// `macosx/big-sur-arm64/contrib/4.5`.
fn tag(folder: &str) -> Option<String> {
    let parts: Vec<&str> = folder.split('/').collect();
    let (target, arch, r) = match parts[..] {
        ["linux", name, r, "src", "contrib"] => {
            let (distribution, arch) = name.rsplit_once('-')?;
            (Target::Linux(distribution.to_owned()), Arch::parse(arch)?, r)
        }
        ["windows", "contrib", r] => (Target::Windows, Arch::X86_64, r),
        ["macosx", build, "contrib", r] => {
            (Target::MacOs, if build.ends_with("arm64") { Arch::Arm64 } else { Arch::X86_64 }, r)
        }
        _ => return None,
    };
    Some(Platform { r: RMinor::parse(r)?, target, arch }.to_string())
}

impl Bundled {
    /// The bundle whose files a mirror has; `within` is the folder of it that is meant, or empty.
    pub(super) fn new(files: Mirror, within: &str) -> Bundled {
        let within =
            if within.is_empty() { String::new() } else { format!("{}/", within.trim_end_matches('/')) };
        Bundled { bundle: Bundle::at(files), within, shown: Mutex::default() }
    }

    /// As [`Mirror::address`].
    pub(super) fn address(&self) -> String {
        format!("{}/{}", self.files().address(), self.within).trim_end_matches('/').to_owned()
    }

    /// The files themselves.
    pub(super) fn files(&self) -> &Mirror {
        self.bundle.mirror()
    }

    /// As [`Mirror::heads`].
    pub(super) async fn heads(&self) -> Vec<(Product, Result<Head, BundleError>)> {
        let mut products = Vec::new();
        if self.bundle.has(&Product::Cran).await.unwrap_or(false) {
            products.push(Product::Cran);
        }
        if let Some(root) = self.files().directory() {
            products.extend(versions(root));
        }
        let mut heads = Vec::with_capacity(products.len());
        for product in products {
            let head = self.bundle.head(&product).await;
            heads.push((product, head.map(|verified| verified.head)));
        }
        heads
    }

    /// What is below `src/contrib`.
    pub(super) async fn here(&self) -> Result<Option<Arc<Shown>>, UpstreamError> {
        let contrib = format!("{}src/contrib/", self.within);
        match meaning(&contrib) {
            Some((product, folder, _)) => self.shown(&product, folder).await.map(Some),
            None => Ok(None),
        }
    }

    /// A folder of a product, read once.
    async fn shown(&self, product: &Product, folder: &str) -> Result<Arc<Shown>, UpstreamError> {
        let cell = Arc::clone(self.shown.lock().entry((product.clone(), folder.to_owned())).or_default());
        cell.get_or_try_init(|| self.read(product, folder)).await.cloned()
    }

    /// The head of a product. That a version of Bioconductor is not there is no failure: a mirror may lack it too.
    async fn head(&self, product: &Product) -> Result<Verified, UpstreamError> {
        let lacking = || UpstreamError::Missing(format!("{}/{}", self.files().address(), product.head()));
        self.bundle.head(product).await.map_err(|error| match (product, error) {
            (Product::Bioconductor(_) | Product::Binaries(_), BundleError::Absent { .. }) => lacking(),
            (_, error) => told(error),
        })
    }

    async fn read(&self, product: &Product, folder: &str) -> Result<Arc<Shown>, UpstreamError> {
        let (folder, of) = (folder.to_owned(), product.clone());
        let shown = move |chain, records: &[Record]| Shown::new(&of, &folder, validator(chain), records);
        self.made(product, shown).await.map(Arc::new)
    }

    /// The DESCRIPTIONs of what CRAN lists, as its mirrors have them.
    async fn database(&self) -> Result<Bytes, UpstreamError> {
        self.made(&Product::Cran, |_, records| shown::database(records)).await
    }

    /// Something made of all records of a product, off the async threads: it takes seconds of a processor for all of CRAN.
    async fn made<T: Send + 'static>(
        &self,
        product: &Product,
        make: impl FnOnce(Sha256, &[Record]) -> Result<T, String> + Send + 'static,
    ) -> Result<T, UpstreamError> {
        let verified = self.head(product).await?;
        let mut records = Vec::new();
        for segment in verified.since(0) {
            records.append(&mut self.bundle.segment(product, segment).await.map_err(told)?);
        }
        let chain = verified.head.chain;
        let done = tokio::task::spawn_blocking(move || make(chain, &records)).await;
        let made = done.unwrap_or_else(|_| Err("its reading was given up".to_owned()));
        let url = || format!("{}/{}", self.files().address(), product.head());
        made.map_err(|reason| UpstreamError::Refused { url: url(), reason })
    }

    /// As [`Mirror::fetch`].
    pub(super) async fn fetch(&self, fetch: &Fetch<'_>) -> Result<Fetched, UpstreamError> {
        let missing = || UpstreamError::Missing(format!("{}/{}", self.address(), fetch.path));
        let whole = format!("{}{}", self.within, fetch.path);
        if whole == CONFIG {
            let config = self.bundle.bioconductor().await.map_err(told)?.ok_or_else(missing)?;
            let (bytes, validators) = (config.config_yaml.into(), Validators::default());
            return Ok(Fetched::Body { bytes, validators });
        }
        if whole == DATABASE {
            let (bytes, validators) = (self.database().await?, Validators::default());
            return Ok(Fetched::Body { bytes, validators });
        }
        // What the bundle has under its own names is given as it is.
        let Some((product, folder, path)) = meaning(&whole) else {
            return self.files().fetch(Fetch { path: &whole, ..fetch.clone() }).await;
        };
        if Shown::default().small(path).is_none() {
            return Err(missing());
        }
        if let Some(known) = fetch.known.as_ref().and_then(|known| known.etag.as_ref()) {
            let verified = self.head(&product).await?;
            if *known == validator(verified.head.chain) {
                return Ok(Fetched::Unchanged);
            }
        }
        let shown = self.shown(&product, folder).await?;
        if shown.files.is_empty() {
            return Err(missing());
        }
        let bytes = shown.small(path).cloned().ok_or_else(missing)?;
        if bytes.len() as u64 > fetch.limit {
            let reason = format!("has {} bytes, more than the {} it may have", bytes.len(), fetch.limit);
            return Err(UpstreamError::Refused { url: fetch.path.to_owned(), reason });
        }
        let validators = Validators { etag: Some(shown.validator.clone()), modified: None };
        Ok(Fetched::Body { bytes, validators })
    }

    /// As [`Mirror::open`]; a path of the bundle itself is taken as it is.
    pub(super) async fn open(
        &self,
        path: &str,
        resume: Option<(u64, Validators)>,
    ) -> Result<Opened, UpstreamError> {
        let whole = format!("{}{path}", self.within);
        let Some((product, folder, rest)) = meaning(&whole) else {
            return self.files().open(&whole, resume).await;
        };
        let shown = self.shown(&product, folder).await?;
        match shown.file(rest) {
            Some(object) => self.files().open(&object.path, resume).await,
            None => Err(UpstreamError::Missing(format!("{}/{path}", self.address()))),
        }
    }
}

/// The versions of Bioconductor that have a folder, in the order of their names.
fn versions(root: &Path) -> Vec<Product> {
    let entries = std::fs::read_dir(root.join("bioc/v4")).into_iter().flatten().flatten();
    let names = entries
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<Product> =
        names.filter_map(|name| Product::parse(&format!("bioconductor/{name}"))).collect();
    found.sort();
    found
}

/// The ending of a package file's name.
pub(super) fn extension(name: &str) -> Option<&'static str> {
    EXTENSIONS.into_iter().find(|ending| name.strip_suffix(ending).is_some_and(|rest| rest.ends_with('.')))
}

fn validator(chain: Sha256) -> String {
    format!("bundle-{chain}")
}

/// What a sync says of a bundle that cannot be read: one that is being copied may be whole in a minute.
fn told(error: BundleError) -> UpstreamError {
    let url = |address: &str, file: &str| format!("{address}/{file}");
    match &error {
        BundleError::Upstream(error) => error.clone(),
        BundleError::Missing { address, file } | BundleError::NoBase { address, file, .. } => {
            UpstreamError::Unavailable {
                url: url(address, file),
                reason: error.to_string(),
                retry_after: None,
            }
        }
        BundleError::Absent { address, file, .. } | BundleError::Broken { address, file, .. } => {
            UpstreamError::Refused { url: url(address, file), reason: error.to_string() }
        }
    }
}

impl Upstream {
    /// The servers that builds are fetched from: those of `CRAN.BinaryURL`, or else the bundle that packages come from.
    #[must_use]
    pub fn binaries<'a>(&self, cran: &'a Cran) -> Cow<'a, [BinaryUrl]> {
        let from_bundle =
            cran.binaries.is_empty() && self.mirror(&cran.url).is_ok_and(|mirror| mirror.is_bundle());
        if !from_bundle {
            return Cow::Borrowed(&cran.binaries);
        }
        let linux = BinaryStyle::Linux { distribution: None, arch: None, r: None };
        let base = cran.url.trim_end_matches('/').to_owned();
        let of = |style| BinaryUrl { base: base.clone(), style };
        Cow::Owned(vec![of(BinaryStyle::Mirror), of(linux)])
    }
}
