//! The simple repository API of other servers (PEP 503, 691).

use url::Url;

use super::Python;
use crate::language::ProjectIndex;
use crate::python::accept::SimpleFormat;
use crate::python::facts::FileFacts;
use crate::python::simple::page::{PageFile, ProjectPage};
use crate::python::simple::read::{self, ReadPage};
use base::model::project_name::ProjectName;
use base::model::project_page::{UpstreamFile, UpstreamPage};

impl ProjectIndex for Python {
    fn read_page(
        &self,
        media_type: Option<&str>,
        body: &[u8],
        url: &Url,
        project: &ProjectName,
    ) -> Result<UpstreamPage, String> {
        let format = media_type.and_then(SimpleFormat::of_media_type).ok_or_else(|| {
            let media_type: String = media_type.unwrap_or_default().escape_debug().take(80).collect();
            format!("has the media type '{media_type}', which is not that of a simple index")
        })?;
        let ReadPage { page, skipped_files } =
            read::read(format, body, url, project).map_err(|error| error.to_string())?;
        Ok(UpstreamPage {
            project: page.name.clone(),
            serial: page.last_serial,
            status: page.status,
            status_reason: page.status_reason.clone(),
            files: page.files.iter().map(|file| upstream_file(&page, file)).collect(),
            skipped_files,
        })
    }
}

fn upstream_file(page: &ProjectPage, file: &PageFile) -> UpstreamFile {
    let listed = file.name.version(&page.name, page.versions.as_deref());
    UpstreamFile {
        name: file.name.as_str().to_owned(),
        version: listed.or_else(|| file.name.version(&page.name, None)),
        url: file.url.clone(),
        hashes: file.hashes.clone(),
        size: file.size,
        uploaded_at: file.upload_time,
        yanked: file.yanked.as_ref().map(|yank| yank.reason.clone()),
        metadata: file.core_metadata,
        provenance: file.provenance.clone(),
        facts: FileFacts::of_page(file).write(),
    }
}
