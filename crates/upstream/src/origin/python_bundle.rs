//! Reads the Python packages of a bundle as an index: the list of projects and the page of each are made from the
//! records. The contents of the newest head are in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use url::Url;

use super::bundle::{Bundle, BundleError, VerifiedHead};
use base::model::digest::Sha256;
use base::model::project_page::MetadataFile;
use base::model::project_status::ProjectStatus;
use formats::bundle::layout::PROVENANCE_EXTENSION;
use formats::bundle::python_record::{FileRecord, object_extension};
use formats::bundle::{Product, PythonRecord, PythonState, SegmentRef, segment};
use formats::python::file_name::FileName;
use formats::python::name;
use formats::python::simple::page::{PageFile, ProjectPage, Yank};
use formats::python::simple::{root, write};

/// Time for which pages are made from a bundle over HTTP without another request for its head. Without this, each page
/// of an incremental bundle would cause requests for the heads of its bases.
const RECENT: Duration = Duration::from_secs(30);

/// The folders of an address in which an index may have its pages, in the order in which they are tried: that of PyPI,
/// that of devpi, and none, as in the indexes of single projects such as PyTorch.
pub(super) const FOLDERS: [&str; 3] = ["simple", "+simple", ""];

struct CachedState {
    address: String,
    /// The chain of its head.
    chain: Sha256,
    state: Arc<PythonState>,
    /// Time at which the head was read.
    checked_at: Instant,
}

/// What an address of an index has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IndexLayout {
    Bundle,
    /// Pages in this folder; empty for the address itself.
    Pages(&'static str),
}

/// The known layouts of the indexes over HTTP, by address, and the contents of the bundle that was read last.
#[derive(Default)]
pub(super) struct PythonCache {
    layouts: Mutex<HashMap<String, IndexLayout>>,
    /// Locked while a bundle is read; other readers wait, and then use the result.
    state: tokio::sync::Mutex<Option<CachedState>>,
}

impl PythonCache {
    /// Returns the layout of an address over HTTP, if it is known.
    pub(super) fn layout(&self, address: &str) -> Option<IndexLayout> {
        self.layouts.lock().get(address).copied()
    }

    /// Records the layout of an address; `None` to determine it again.
    pub(super) fn record(&self, address: &str, layout: Option<IndexLayout>) {
        let mut layouts = self.layouts.lock();
        let known = match layout {
            Some(layout) => layouts.insert(address.to_owned(), layout),
            None => layouts.remove(address),
        };
        match layout.filter(|_| known != layout) {
            Some(IndexLayout::Bundle) => {
                tracing::info!(target: "upstream", "{address} is a bundle with Python packages");
            }
            Some(IndexLayout::Pages(folder)) if folder != FOLDERS[0] => {
                tracing::info!(target: "upstream", "{address} has pages below '{folder}/', not below 'simple/'");
            }
            Some(IndexLayout::Pages(_)) | None => {}
        }
    }

    /// Returns the contents of a bundle for a head; read only if the head differs from that of the last call.
    pub(super) async fn state(
        &self,
        bundle: &Bundle,
        head: &VerifiedHead,
    ) -> Result<Arc<PythonState>, BundleError> {
        let (address, chain) = (bundle.address(), head.head.chain);
        let mut cached = self.state.lock().await;
        let checked_at = Instant::now();
        if let Some(cached) = &mut *cached
            && (&cached.address, &cached.chain) == (&address, &chain)
        {
            cached.checked_at = checked_at;
            return Ok(Arc::clone(&cached.state));
        }
        let state = Arc::new(state(bundle, head).await?);
        *cached = Some(CachedState { address, chain, state: Arc::clone(&state), checked_at });
        Ok(state)
    }

    /// Returns the contents of a bundle whose head was read a moment ago.
    pub(super) async fn recent(&self, address: &str) -> Option<Arc<PythonState>> {
        let cached = self.state.lock().await;
        let is_recent =
            |cached: &&CachedState| cached.address == address && cached.checked_at.elapsed() < RECENT;
        cached.as_ref().filter(is_recent).map(|cached| Arc::clone(&cached.state))
    }
}

/// Returns the records of a segment, in order.
pub async fn records(bundle: &Bundle, segment: &SegmentRef) -> Result<Vec<PythonRecord>, BundleError> {
    let (path, serial) = (Product::Pypi.path(&segment.file.path), segment.serial);
    let read = bundle.read_compressed(&path, &segment.file, move |text| {
        let mut records = Vec::new();
        segment::for_each_python_record(text, serial, |record| {
            records.push(record);
            Ok(())
        })?;
        Ok(records)
    });
    read.await
}

/// Returns the state after all segments of a head.
pub async fn state(bundle: &Bundle, head: &VerifiedHead) -> Result<PythonState, BundleError> {
    let mut state = PythonState::default();
    for segment in head.since(0) {
        let (path, serial) = (Product::Pypi.path(&segment.file.path), segment.serial);
        let read = bundle.read_compressed(&path, &segment.file, move |text| {
            segment::for_each_python_record(text, serial, |record| state.apply(&record, serial))?;
            Ok(state)
        });
        state = read.await?;
    }
    Ok(state)
}

/// Returns the list of projects as JSON. A project that lost all of its files is still on it: its page is empty.
pub(super) fn root_page(state: &PythonState) -> Vec<u8> {
    let serials = state.projects().iter().map(|(name, project)| (name.as_str(), Some(project.serial)));
    let mut body = Vec::new();
    let last_serial = state.projects().values().map(|project| project.serial).max();
    // Writing to memory succeeds.
    let _ = root::write_json(&mut body, last_serial, serials);
    body
}

/// Returns the page of a project as JSON; `None` if the bundle does not list it. `base` is the address of the bundle
/// and ends in a slash.
pub(super) fn project_page(state: &PythonState, name: &str, base: &Url) -> Option<Vec<u8>> {
    let project = state.project(name)?;
    let mut page = ProjectPage::new(name::parse(name).ok()?);
    page.last_serial = Some(project.serial);
    if let Some(status) = &project.status {
        page.status = ProjectStatus::of_word(&status.status);
        page.status_reason.clone_from(&status.reason);
    }
    let mut versions: Vec<String> = project.files.values().map(|file| file.version.clone()).collect();
    versions.sort_unstable();
    versions.dedup();
    page.versions = Some(versions);
    page.files = project.files.values().filter_map(|file| page_file(file, base)).collect();
    write::json(&page).ok()
}

/// Returns a file of a page, whose address is that of the object and, as its last segment, the name of the file.
fn page_file(file: &FileRecord, base: &Url) -> Option<PageFile> {
    let name = FileName::parse(&file.name).ok()?;
    let object = Product::Pypi.object_path(file.obj.sha256, &object_extension(&file.name).ok()?);
    let mut url = base.join(&object).ok()?;
    url.path_segments_mut().ok()?.push(&file.name);
    let mut page_file = PageFile::new(name, url.into());
    page_file.hashes.insert("sha256".to_owned(), file.obj.sha256.to_string());
    page_file.requires_python.clone_from(&file.rp);
    page_file.core_metadata =
        file.meta.as_ref().map_or(MetadataFile::None, |metadata| MetadataFile::Sha256(metadata.sha256));
    page_file.provenance = file.prov.and_then(|_| {
        let path = Product::Pypi.object_path(file.obj.sha256, PROVENANCE_EXTENSION);
        base.join(&path).ok().map(Into::into)
    });
    page_file.yanked = file.yanked.clone().map(|reason| Yank { reason });
    page_file.size = Some(file.obj.size);
    page_file.upload_time = file.upload;
    Some(page_file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::bundle::layout::python_object_of_page;
    use formats::python::accept::SimpleFormat;
    use formats::python::simple::read;

    #[test]
    fn a_page_of_a_bundle_is_one_of_an_index() {
        let line = format!(
            r#"{{"t":"file","project":"odd-lib","version":"1.0+x","name":"odd_lib-1.0+x-py3-none-any.whl","day":"2026-01-02","upload":"2026-01-01T00:00:00Z","obj":{{"sha256":"{}","size":7,"md5":"{}"}},"rp":">=3.7","meta":{{"sha256":"{}","size":3}},"prov":{{"sha256":"{}","size":3}},"yanked":"broken"}}"#,
            "ab".repeat(32),
            "cd".repeat(16),
            "ef".repeat(32),
            "01".repeat(32)
        );
        let mut state = PythonState::default();
        state.apply(&PythonRecord::read(line.as_bytes()).expect("a record"), 9).expect("consistent");
        for base in ["file:///srv/a%20b/", "https://h:8443/bundle/"] {
            let base: Url = base.parse().expect("a URL");
            let body = project_page(&state, "odd-lib", &base).expect("a page");
            let name = name::parse("odd-lib").expect("a name");
            let page = read::read(SimpleFormat::Json, &body, &base, &name).expect("a page").page;
            let [file] = &page.files[..] else { panic!("{page:?}") };
            assert_eq!((page.last_serial, file.size, file.yanked.is_some()), (Some(9), Some(7), true));
            assert_eq!(file.core_metadata, MetadataFile::Sha256(Sha256([0xef; 32])));
            let url: Url = file.url.parse().expect("a URL");
            let provenance = file.provenance.as_deref().expect("an address");
            assert_eq!(provenance, format!("{base}pypi/v1/1/obj/ab/{}.provenance", "ab".repeat(32)));
            let object = python_object_of_page(url.path()).expect("an object");
            assert!(object.ends_with(&format!("pypi/v1/1/obj/ab/{}.whl", "ab".repeat(32))), "{object}");
        }
        assert!(project_page(&state, "other", &"file:///srv/".parse().expect("a URL")).is_none());
        let text = String::from_utf8(root_page(&state)).expect("UTF-8");
        assert!(text.contains(r#""_last-serial":9,"name":"odd-lib""#), "{text}");
    }
}
