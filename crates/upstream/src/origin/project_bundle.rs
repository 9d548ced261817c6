//! Reads the projects of a bundle as an index: the list of projects and the page of each are made from the records. The
//! contents of the newest head are in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use url::Url;

use super::bundle::{Bundle, BundleError, VerifiedHead};
use base::model::digest::Sha256;
use base::model::kind::Language;
use base::model::project_name::ProjectName;
use base::model::project_page::{ListedName, MetadataFile, ProjectStatus, UpstreamFile, UpstreamPage};
use formats::bundle::layout::PROVENANCE_EXTENSION;
use formats::bundle::project_record::FileRecord;
use formats::bundle::{BundledProjects, Product, ProjectRecord, SegmentRef, segment};
use formats::language::{self, Projects};

/// Time for which pages are made from a bundle over HTTP without another request for its head. Without this, each page
/// of an incremental bundle would cause requests for the heads of its bases.
const RECENT: Duration = Duration::from_secs(30);

struct CachedState {
    address: String,
    /// The chain of its head.
    chain: Sha256,
    state: Arc<BundledProjects>,
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

/// The known layouts of the indexes of a language over HTTP, by address, and the contents of the bundle that was read last.
pub(super) struct ProjectCache {
    language: Language,
    layouts: Mutex<HashMap<String, IndexLayout>>,
    /// Locked while a bundle is read; other readers wait, and then use the result.
    state: tokio::sync::Mutex<Option<CachedState>>,
}

impl ProjectCache {
    pub(super) fn new(language: Language) -> ProjectCache {
        ProjectCache { language, layouts: Mutex::default(), state: tokio::sync::Mutex::default() }
    }

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
        let label = self.language.label();
        let directory =
            language::of(self.language).projects().map_or("", |projects| projects.addresses().folder());
        match layout.filter(|_| known != layout) {
            Some(IndexLayout::Bundle) => {
                tracing::info!(target: "upstream", "{address} is a bundle with {label} packages");
            }
            Some(IndexLayout::Pages(folder)) if folder != directory => {
                tracing::info!(target: "upstream", "{address} has pages below '{folder}/', not below '{directory}/'");
            }
            Some(IndexLayout::Pages(_)) | None => {}
        }
    }

    /// Returns the contents of a bundle for a head; read only if the head differs from that of the last call.
    pub(super) async fn state(
        &self,
        bundle: &Bundle,
        head: &VerifiedHead,
    ) -> Result<Arc<BundledProjects>, BundleError> {
        let (address, chain) = (bundle.address(), head.head.chain);
        let mut cached = self.state.lock().await;
        let checked_at = Instant::now();
        if let Some(cached) = &mut *cached
            && (&cached.address, &cached.chain) == (&address, &chain)
        {
            cached.checked_at = checked_at;
            return Ok(Arc::clone(&cached.state));
        }
        let state = Arc::new(state(bundle, self.language, head).await?);
        *cached = Some(CachedState { address, chain, state: Arc::clone(&state), checked_at });
        Ok(state)
    }

    /// Returns the contents of a bundle whose head was read a moment ago.
    pub(super) async fn recent(&self, address: &str) -> Option<Arc<BundledProjects>> {
        let cached = self.state.lock().await;
        let is_recent =
            |cached: &&CachedState| cached.address == address && cached.checked_at.elapsed() < RECENT;
        cached.as_ref().filter(is_recent).map(|cached| Arc::clone(&cached.state))
    }
}

/// Returns the records of a segment, in order.
pub async fn records(
    bundle: &Bundle,
    language: Language,
    segment: &SegmentRef,
) -> Result<Vec<ProjectRecord>, BundleError> {
    let (product, serial) = (Product::Projects(language), segment.serial);
    let path = product.path(&segment.file.path);
    let read = bundle.read_compressed(&path, &segment.file, move |text| {
        let mut records = Vec::new();
        segment::for_each_project_record(text, &product, serial, |record| {
            records.push(record);
            Ok(())
        })?;
        Ok(records)
    });
    read.await
}

/// Returns the state after all segments of a head.
pub async fn state(
    bundle: &Bundle,
    language: Language,
    head: &VerifiedHead,
) -> Result<BundledProjects, BundleError> {
    let mut state = BundledProjects::new(language);
    for segment in head.since(0) {
        let (product, serial) = (Product::Projects(language), segment.serial);
        let path = product.path(&segment.file.path);
        let read = bundle.read_compressed(&path, &segment.file, move |text| {
            segment::for_each_project_record(text, &product, serial, |record| state.apply(&record, serial))?;
            Ok(state)
        });
        state = read.await?;
    }
    Ok(state)
}

/// Returns the list of projects in the language's main format. A project without files stays on it: its page is empty.
pub(super) fn root_page(state: &BundledProjects) -> Vec<u8> {
    let last_serial = state.projects().values().map(|project| project.serial).max();
    let mut names = state.projects().iter().map(|(name, project)| ListedName {
        name,
        display: name,
        serial: Some(project.serial),
    });
    let projects = language::of(state.language()).projects();
    // Writing to memory succeeds.
    let list = projects.map(|projects| projects.write_list(projects.main_format(), last_serial, &mut names));
    list.and_then(Result::ok).unwrap_or_default()
}

/// Returns the page of a project in the main format of the language; `None` if the bundle does not list it. `base` is the
/// address of the bundle and ends in a slash.
pub(super) fn project_page(state: &BundledProjects, name: &str, base: &Url) -> Option<Vec<u8>> {
    let project = state.project(name)?;
    let status = project.status.as_ref();
    let projects = language::of(state.language()).projects()?;
    let product = Product::Projects(state.language());
    let files = project.files.values();
    let page = UpstreamPage {
        project: ProjectName::folded(name),
        serial: Some(project.serial),
        status: status.map_or(ProjectStatus::Active, |status| ProjectStatus::of_word(&status.status)),
        status_reason: status.and_then(|status| status.reason.clone()),
        files: files.filter_map(|file| page_file(projects, &product, file, base)).collect(),
        skipped_files: Vec::new(),
    };
    projects.write_upstream_page(&page).ok()
}

/// Returns a file of a page, whose address is that of the object and, as its last segment, the name of the file.
fn page_file(
    projects: &dyn Projects,
    product: &Product,
    file: &FileRecord,
    base: &Url,
) -> Option<UpstreamFile> {
    let sha256 = file.obj.sha256;
    let object = product.object_path(sha256, &projects.object_extension(&file.name).ok()?);
    let mut url = base.join(&object).ok()?;
    url.path_segments_mut().ok()?.push(&file.name);
    Some(UpstreamFile {
        name: file.name.clone(),
        version: Some(file.version.clone()),
        url: url.into(),
        hashes: BTreeMap::from([("sha256".to_owned(), sha256.to_string())]),
        size: Some(file.obj.size),
        uploaded_at: file.upload,
        yanked: file.yanked.clone(),
        metadata: file.meta.map_or(MetadataFile::None, |metadata| MetadataFile::Sha256(metadata.sha256)),
        provenance: file.prov.and_then(|_| {
            let path = product.object_path(sha256, PROVENANCE_EXTENSION);
            base.join(&path).ok().map(Into::into)
        }),
        facts: projects.facts_of_record(file.rp.as_deref()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::bundle::layout::object_of_page;

    #[test]
    fn a_page_of_a_bundle_is_one_of_an_index() {
        let line = format!(
            r#"{{"t":"file","project":"odd-lib","version":"1.0+x","name":"odd_lib-1.0+x-py3-none-any.whl","day":"2026-01-02","upload":"2026-01-01T00:00:00Z","obj":{{"sha256":"{}","size":7,"md5":"{}"}},"rp":">=3.7","meta":{{"sha256":"{}","size":3}},"prov":{{"sha256":"{}","size":3}},"yanked":"broken"}}"#,
            "ab".repeat(32),
            "cd".repeat(16),
            "ef".repeat(32),
            "01".repeat(32)
        );
        let mut state = BundledProjects::new(Language::Python);
        state.apply(&ProjectRecord::read(line.as_bytes()).expect("a record"), 9).expect("consistent");
        let rules = language::of(Language::Python).projects().expect("projects");
        for base in ["file:///srv/a%20b/", "https://h:8443/bundle/"] {
            let base: Url = base.parse().expect("a URL");
            let body = project_page(&state, "odd-lib", &base).expect("a page");
            let (name, media_type) = (ProjectName::folded("odd-lib"), rules.main_format().media_type);
            let page = rules.read_page(Some(media_type), &body, &base, &[name]).expect("a page").remove(0);
            let [file] = &page.files[..] else { panic!("{page:?}") };
            assert_eq!((page.serial, file.size, file.yanked.is_some()), (Some(9), Some(7), true));
            assert_eq!(file.metadata, MetadataFile::Sha256(Sha256([0xef; 32])));
            let url: Url = file.url.parse().expect("a URL");
            let provenance = file.provenance.as_deref().expect("an address");
            assert_eq!(provenance, format!("{base}pypi/v1/1/obj/ab/{}.provenance", "ab".repeat(32)));
            let object = object_of_page(url.path()).expect("an object");
            assert!(object.ends_with(&format!("pypi/v1/1/obj/ab/{}.whl", "ab".repeat(32))), "{object}");
        }
        assert!(project_page(&state, "other", &"file:///srv/".parse().expect("a URL")).is_none());
        let text = String::from_utf8(root_page(&state)).expect("UTF-8");
        assert!(text.contains(r#""_last-serial":9,"name":"odd-lib""#), "{text}");
    }
}
