//! Determines whether an address is a CRAN-like mirror or a bundle. For a directory this is done when the [`MirrorLayout`] is
//! created. An HTTP address is a bundle if a file that all mirrors have is missing and a file that identifies bundles
//! exists.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bundle::Bundle;
use super::bundle_cache::BundleCache;
use super::bundle_mirror::BundleMirror;
use crate::UpstreamError;
use crate::transport::Transport;
use crate::transport::address::Address;
use crate::transport::client::HttpClient;
use crate::transport::file::{FileRequest, FileResponse};
use formats::bundle::Product;

/// Files that identify a directory as a bundle.
const MARKERS: [&str; 2] = ["v3/version.txt", "bioc/v4/version.txt"];
/// Maximum depth of a mirror's folders below a bundle: `packages/3.20/data/annotation`.
const MAX_FOLDER_DEPTH: usize = 5;

/// Files that all mirrors of CRAN and of Bioconductor have. `PACKAGES` is requested after its compressed forms, so that
/// a 404 means that there is no index.
const PROBED_FILES: [&str; 2] = ["src/contrib/PACKAGES", "config.yaml"];

/// The layout of the files at an address.
pub(super) enum MirrorLayout {
    Mirror,
    Bundle(BundleMirror),
    /// An address over HTTP: a mirror until a probe finds a bundle.
    Http(Probe),
}

impl MirrorLayout {
    /// Returns the layout at an address; HTTP is not accessed yet.
    pub(super) fn of(address: &Address, client: &Arc<HttpClient>, cache: &Arc<BundleCache>) -> MirrorLayout {
        let bundle = |root: Address, folder: &str| {
            BundleMirror::new(Transport::of_mirror(root, client), folder, Arc::clone(cache))
        };
        if let Some((root, folder)) = cache.trust.required_bundle(address) {
            let bundle = bundle(root, &folder);
            return match address {
                Address::Dir(_) => MirrorLayout::Bundle(bundle),
                Address::Http(_) => {
                    MirrorLayout::Http(Probe { bundle, is_known: true, cache: Arc::clone(cache) })
                }
            };
        }
        match address {
            Address::Dir(path) => match enclosing_bundle(path) {
                Some((root, folder)) => MirrorLayout::Bundle(bundle(Address::Dir(root), &folder)),
                None => MirrorLayout::Mirror,
            },
            Address::Http(url) => {
                let (path, folder) = split_path(url.path().trim_end_matches('/'));
                let mut root = url.clone();
                root.set_path(path);
                let (bundle, cache) = (bundle(Address::Http(root), folder), Arc::clone(cache));
                MirrorLayout::Http(Probe { bundle, is_known: false, cache })
            }
        }
    }
}

/// A possible bundle at an HTTP address.
pub(super) struct Probe {
    bundle: BundleMirror,
    /// Whether the address must be a bundle, so that it is not probed.
    is_known: bool,
    cache: Arc<BundleCache>,
}

impl Probe {
    /// Returns the bundle if a probe found one, or if the address must be one.
    pub(super) fn bundle(&self) -> Option<&BundleMirror> {
        (self.is_known || self.cache.is_bundle(&self.bundle.transport().address())).then_some(&self.bundle)
    }

    /// Fetches a file of the mirror or bundle, and probes for a bundle if a file that all mirrors have is missing.
    pub(super) async fn fetch(
        &self,
        transport: &Transport,
        request: FileRequest<'_>,
    ) -> Result<FileResponse, UpstreamError> {
        let is_probed = PROBED_FILES.contains(&request.path);
        if self.bundle().is_some() {
            let result = self.bundle.fetch(&request).await;
            if result.is_err() && is_probed {
                // The address may be a mirror now: the next request probes again.
                self.cache.record_probe(&self.bundle.transport().address(), false);
            }
            return result;
        }
        match transport.fetch(request.clone()).await {
            Err(UpstreamError::Missing(_)) if is_probed && self.probe().await => {
                self.bundle.fetch(&request).await
            }
            result => result,
        }
    }

    async fn probe(&self) -> bool {
        let transport = self.bundle.transport();
        let bundle = Bundle::at(transport.clone());
        for product in [Product::Cran, Product::Bioconductor(String::new())] {
            if bundle.has(&product).await.unwrap_or(false) {
                self.cache.record_probe(&transport.address(), true);
                return true;
            }
        }
        false
    }
}

/// Returns the bundle that contains a path, and the path inside it: a virtual folder of a mirror.
fn enclosing_bundle(path: &Path) -> Option<(PathBuf, String)> {
    // Each part of a bundle has a marker file.
    let is_bundle = |root: &Path| MARKERS.iter().any(|marker| root.join(marker).is_file());
    if is_bundle(path) {
        return Some((path.to_owned(), String::new()));
    }
    let mut ancestors = path.ancestors().skip(1).take(MAX_FOLDER_DEPTH);
    let root =
        ancestors.find(|root| path.strip_prefix(root).is_ok_and(|rest| rest.starts_with("packages")))?;
    let folder = path.strip_prefix(root).ok()?.to_str()?.to_owned();
    is_bundle(root).then(|| (root.to_owned(), folder))
}

/// Splits an address path into a possible bundle root and a mirror folder: `packages/3.20/data/annotation`.
fn split_path(path: &str) -> (&str, &str) {
    match path.rfind("/packages/") {
        Some(at) if is_mirror_folder(&path[at + 1..]) => (&path[..at], &path[at + 1..]),
        Some(_) | None => (path, ""),
    }
}

fn is_mirror_folder(path: &str) -> bool {
    let mut parts = path.trim_end_matches('/').split('/').skip(1);
    parts.next().is_some_and(formats::bundle::layout::is_bioconductor_version) && parts.next().is_some()
}

/// The forms of the index; a mirror has at least one of them.
const INDEXES: [&str; 3] = ["src/contrib/PACKAGES.gz", "src/contrib/PACKAGES.rds", "src/contrib/PACKAGES"];

/// Returns an error that names the paths that were tried if a directory is not a mirror. An address over HTTP
/// always passes: only a request for its first file shows whether it is usable.
pub(super) async fn check_directory(transport: &Transport) -> Result<(), UpstreamError> {
    transport.check().await?;
    let Some(root) = transport.directory() else { return Ok(()) };
    let mut last_error = None;
    for index in INDEXES {
        match transport.open_in_place(index).await {
            Ok(_) => return Ok(()),
            Err(UpstreamError::Missing(_)) => {}
            Err(error) => last_error = Some(error),
        }
    }
    let refusal = |reason: String| UpstreamError::Refused { url: root.display().to_string(), reason };
    if let Some(schema) = other_schema(root.to_owned()).await {
        return Err(refusal(format!(
            "contains data of schema {schema} of another downloader, but no v3 (CRAN) or bioc/v4 (Bioconductor) in this \
             project's format: run its rspm-offline-downloader of this version, and copy the output beside the old data; \
             what the vendor's downloader wrote cannot be served"
        )));
    }
    if let Some(UpstreamError::Unavailable { reason, .. }) = &mut last_error
        && reason.ends_with(INDEXES[2])
    {
        // An empty directory; the error names the last file.
        reason.push_str(&format!(", {}, {} and v3/version.txt", INDEXES[0], INDEXES[1]));
    }
    Err(last_error.unwrap_or_else(|| {
        refusal(
            "is neither a CRAN-like mirror (looked for src/contrib/PACKAGES.gz, src/contrib/PACKAGES.rds and \
             src/contrib/PACKAGES) nor a bundle (looked for v3/version.txt)"
                .to_owned(),
        )
    }))
}

/// Returns the folder of bundle data that another version wrote.
async fn other_schema(root: PathBuf) -> Option<String> {
    let schema =
        tokio::task::spawn_blocking(move || schema_below(&root, "").or_else(|| schema_below(&root, "bioc")));
    schema.await.ok().flatten()
}

fn schema_below(root: &Path, folder: &str) -> Option<String> {
    let names = std::fs::read_dir(root.join(folder)).ok()?.flatten().map(|entry| entry.file_name());
    let is_schema = |name: &String| {
        name.strip_prefix('v')
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    let newest = names.filter_map(|name| name.into_string().ok()).filter(is_schema).max()?;
    Some(if folder.is_empty() { newest } else { format!("{folder}/{newest}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Upstream;

    #[test]
    fn the_directories_of_versions_are_below_the_root() {
        for (path, root, folder) in [
            ("/b/packages/3.20/bioc", "/b", "packages/3.20/bioc"),
            ("/b/packages/3.20/data/annotation", "/b", "packages/3.20/data/annotation"),
            ("/packages/3.20/bioc", "", "packages/3.20/bioc"),
            ("/packages/b", "/packages/b", ""),
            ("/packages/3.20", "/packages/3.20", ""),
            ("/b", "/b", ""),
        ] {
            assert_eq!(split_path(path), (root, folder));
        }
    }

    #[tokio::test]
    async fn an_invalid_mirror_is_reported() {
        let upstream = Upstream::new(&base::config::Proxy::default()).expect("no proxy");
        let dir = tempfile::tempdir().expect("a folder");
        let url = format!("file://{}", dir.path().display());
        let transport = upstream.transport(&url).expect("an address");
        let mount = crate::transport::address::Address::parse(&url).expect("an address");
        let transport = transport.part_of(mount);
        let error = check_directory(&transport).await.expect_err("no mirror").to_string();
        assert!(error.contains("is an empty directory; it may not be mounted"), "{error}");
        for file in INDEXES.into_iter().chain(["v3/version.txt"]) {
            assert!(error.contains(file), "{error}");
        }
        std::fs::write(dir.path().join("readme.txt"), "").expect("a file");
        let error = check_directory(&transport).await.expect_err("no mirror").to_string();
        assert!(error.contains("src/contrib/PACKAGES.gz") && error.contains("v3/version.txt"), "{error}");
        std::fs::create_dir(dir.path().join("v2")).expect("a folder");
        let error = check_directory(&transport).await.expect_err("old").to_string();
        assert!(
            error.contains("schema v2") && error.contains("v3") && error.contains("rspm-offline-downloader"),
            "{error}"
        );
        std::fs::create_dir_all(dir.path().join("src/contrib")).expect("folders");
        std::fs::write(dir.path().join("src/contrib/PACKAGES"), "").expect("an index");
        assert!(check_directory(&transport).await.is_ok());
    }
}
