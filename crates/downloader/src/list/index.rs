//! An index of Python packages with the simple API: times as the pages state them, otherwise those of the files.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use url::Url;

use super::events::{Events, MAX_FILES, is_package, modified};
use crate::args::ListOrigin;
use crate::error::OfflineError;
use crate::projects::source::Source;
use crate::workers::run_all;
use base::model::import_list::{AddedFile, Event, Loss, Yank};
use base::model::project_name::ProjectName;
use base::model::project_page::{UpstreamFile, UpstreamPage};
use formats::language::{Projects, with_directory};
use upstream::{Upstream, UpstreamError};

/// The directory of the lists and pages of the language.
const DIRECTORY: &str = "simple";
/// Number of concurrent requests.
pub(super) const CONCURRENCY: usize = 8;

pub(super) async fn read(
    upstream: Upstream,
    args: &ListOrigin,
    events: &mut Events,
) -> Result<(), OfflineError> {
    let (language, projects) = with_directory(DIRECTORY)
        .ok_or_else(|| OfflineError::Usage("there are no such indexes".to_owned()))?;
    let origin = &args.origin;
    let source = Source::new(language, projects, upstream, origin, args.file_hosts.clone())?;
    let names: BTreeSet<ProjectName> = match &args.projects {
        None => source.names().await.map_err(no_index)?.into_iter().collect(),
        Some(file) => named_projects(file, projects)?,
    };
    if names.len() > MAX_FILES {
        return Err(OfflineError::Refused(format!("{origin} has more than {MAX_FILES} projects")));
    }
    let root = Url::parse(projects.addresses().base(origin)).ok().filter(|url| url.scheme() == "file");
    let (source, root) = (Arc::new(source), root.and_then(|url| url.to_file_path().ok()));
    let work = |name: ProjectName| {
        let (source, root) = (Arc::clone(&source), root.clone());
        async move { project(&source, root.as_deref(), &name).await }
    };
    for result in run_all(names.into_iter().collect(), CONCURRENCY, work).await {
        result?.into_iter().try_for_each(|event| events.push(event))?;
    }
    Ok(())
}

fn no_index(error: UpstreamError) -> OfflineError {
    match error {
        UpstreamError::Missing(address) => OfflineError::Refused(format!(
            "{address} is missing: for a server with snapshots add /latest, for a folder of files use list from-folder"
        )),
        other => other.into(),
    }
}

/// Reads the file of `--projects`; `#` begins a comment.
fn named_projects(file: &Path, projects: &dyn Projects) -> Result<BTreeSet<ProjectName>, OfflineError> {
    let usage = |reason: String| OfflineError::Usage(format!("--projects {}: {reason}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|e| usage(e.to_string()))?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let names = lines.enumerate().filter(|(_, line)| !line.is_empty());
    let name = |(index, line): (usize, &str)| {
        projects.project_name(line).map_err(|error| usage(format!("line {}: {error}", index + 1)))
    };
    names.map(name).collect()
}

async fn project(
    source: &Source,
    root: Option<&Path>,
    name: &ProjectName,
) -> Result<Vec<Event>, OfflineError> {
    let lost = |what: String, why: &str| Event::Lost(Loss { what, why: why.to_owned() });
    let Some(page) = source.page(name).await? else {
        return Ok(vec![lost(format!("project {name}"), "the index has no page of it")]);
    };
    let mut events: Vec<Event> =
        page.skipped_files.iter().map(|file| lost(file.name.clone(), &file.reason)).collect();
    if page.offered_files().len() < page.files.len() {
        events.push(lost(format!("project {name}"), "is quarantined"));
    }
    for file in page.offered_files() {
        match is_package(&file.name) {
            Ok(_) => events.extend(file_events(source, root, &page, file).await?),
            Err(why) => events.push(lost(file.name.clone(), why)),
        }
    }
    Ok(events)
}

async fn file_events(
    source: &Source,
    root: Option<&Path>,
    page: &UpstreamPage,
    file: &UpstreamFile,
) -> Result<Vec<Event>, OfflineError> {
    let lost = |why: String| {
        let what = format!("{} of {}", file.name, page.project);
        Ok(vec![Event::Lost(Loss { what, why })])
    };
    let (mirror, path) = match source.file(file) {
        Ok(location) => location,
        Err(UpstreamError::Refused { reason, .. }) => return lost(reason),
        Err(error) => return Err(error.into()),
    };
    let (mut at, mut exact) = (file.uploaded_at, "upload-time");
    if at.is_none() && mirror.directory().is_none() {
        (at, exact) = match modified(&mirror, &path).await {
            Err(UpstreamError::Missing(_)) => return lost("the index has a link, but no file".to_owned()),
            result => (result?.0, "Last-Modified"),
        };
    }
    // A file of an index in a folder has a path below that folder.
    let file_path =
        root.and_then(|root| Some(mirror.directory()?.join(&path).strip_prefix(root).ok()?.to_owned()));
    let from = file_path.map_or_else(|| file.url.clone(), |path| path.to_string_lossy().into_owned());
    let mut events = vec![Event::Add(AddedFile {
        from: Some(from),
        sha256: file.hashes.get("sha256").cloned(),
        md5: file.hashes.get("md5").cloned(),
        size: file.size,
        ..AddedFile::new(&file.name, at, exact)
    })];
    if let Some(reason) = &file.yanked {
        events.push(Event::Yank(Yank { file: file.name.clone(), reason: reason.clone(), ..Yank::default() }));
    }
    Ok(events)
}
