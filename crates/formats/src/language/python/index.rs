//! The simple repository API of other servers (PEP 503, 691).

use std::io::Read;

use url::Url;

use super::Python;
use crate::language::{IndexAddresses, ProjectIndex};
use crate::python::accept::{ACCEPT, SimpleFormat};
use crate::python::facts::FileFacts;
use crate::python::file_name::ListedVersions;
use crate::python::simple::page::{PageFile, ProjectPage};
use crate::python::simple::read::{self, ReadPage};
use crate::python::simple::root::{self, RootEntry, RootSummary};
use base::model::digest::Sha256;
use base::model::project_name::ProjectName;
use base::model::project_page::{ListSummary, ListedName, UpstreamFile, UpstreamPage};

impl ProjectIndex for Python {
    fn addresses(&self) -> &'static IndexAddresses {
        &IndexAddresses {
            accept: ACCEPT,
            // That of PyPI, that of devpi, and none, as in the indexes of single projects such as PyTorch.
            folders: &["simple", "+simple", ""],
            files: &[
                ("index.v1_json", "application/vnd.pypi.simple.v1+json"),
                ("index.v1_html", "application/vnd.pypi.simple.v1+html"),
                ("index.html", "text/html"),
            ],
            file_hosts: &["files.pythonhosted.org"],
        }
    }

    fn is_own_media_type(&self, media_type: &str) -> bool {
        SimpleFormat::of_media_type(media_type) == Some(SimpleFormat::Json)
    }

    fn is_list(&self, media_type: Option<&str>, body: &[u8], url: &Url) -> bool {
        media_type
            .and_then(SimpleFormat::of_media_type)
            .is_some_and(|format| root::is_list(format, body, url))
    }

    fn read_list(
        &self,
        media_type: Option<&str>,
        body: &mut dyn Read,
        on_project: &mut dyn FnMut(ListedName<'_>),
    ) -> Result<ListSummary, String> {
        let format = media_type.and_then(SimpleFormat::of_media_type).ok_or_else(|| {
            format!("the media type '{}' is not that of a simple index; check PyPI.URL", excerpt(media_type))
        })?;
        let add = |entry: RootEntry| {
            let (name, display) = (entry.name.as_str(), entry.display.as_str());
            on_project(ListedName { name, display, serial: entry.last_serial });
        };
        let root = root::read(format, body, add).map_err(|error| error.to_string())?;
        let RootSummary { last_serial, invalid_count, first_invalid, .. } = root;
        Ok(ListSummary { serial: last_serial, invalid_count, first_invalid })
    }

    fn check_media_type(&self, media_type: Option<&str>) -> Result<(), String> {
        page_format(media_type).map(drop)
    }

    fn read_page(
        &self,
        media_type: Option<&str>,
        body: &[u8],
        url: &Url,
        projects: &[ProjectName],
    ) -> Result<Vec<UpstreamPage>, String> {
        let format = page_format(media_type)?;
        let page = |project| {
            let ReadPage { page, skipped_files } =
                read::read(format, body, url, project).map_err(|error| error.to_string())?;
            let ProjectPage { name, last_serial: serial, status, status_reason, versions, files } = page;
            let versions = versions.as_deref().map(ListedVersions::new);
            let files = files.into_iter().map(|file| upstream_file(&name, versions.as_ref(), file)).collect();
            Ok(UpstreamPage { project: name, serial, status, status_reason, files, skipped_files })
        };
        projects.iter().map(page).collect()
    }

    fn with_metadata(&self, facts: &[u8], metadata: Option<Sha256>) -> Vec<u8> {
        let facts = FileFacts::read(facts);
        match metadata {
            Some(sha256) => facts.with_metadata_of_wheel(sha256).write(),
            None => facts.without_metadata().write(),
        }
    }

    fn unrecorded_metadata(&self, facts: &[u8]) -> Option<Sha256> {
        FileFacts::read(facts).unrecorded_metadata()
    }

    fn with_recorded_metadata(&self, facts: &[u8]) -> Vec<u8> {
        FileFacts::read(facts).with_recorded_metadata().write()
    }

    fn other_digest(&self, facts: &[u8]) -> Option<String> {
        FileFacts::read(facts).other_digest
    }

    fn reads_metadata_of_files(&self) -> bool {
        true
    }
}

fn excerpt(media_type: Option<&str>) -> String {
    media_type.unwrap_or_default().escape_debug().take(80).collect()
}

fn page_format(media_type: Option<&str>) -> Result<SimpleFormat, String> {
    media_type.and_then(SimpleFormat::of_media_type).ok_or_else(|| {
        format!("has the media type '{}', which is not that of a simple index", excerpt(media_type))
    })
}

fn upstream_file(
    project: &ProjectName,
    versions: Option<&ListedVersions<'_>>,
    file: PageFile,
) -> UpstreamFile {
    let listed = file.name.version(project, versions);
    let version = listed.or_else(|| file.name.version(project, None));
    let facts = FileFacts::of_page(&file).write();
    UpstreamFile {
        version,
        name: file.name.into_text(),
        url: file.url,
        hashes: file.hashes,
        size: file.size,
        uploaded_at: file.upload_time,
        yanked: file.yanked.map(|yank| yank.reason),
        metadata: file.core_metadata,
        provenance: file.provenance,
        facts,
    }
}
