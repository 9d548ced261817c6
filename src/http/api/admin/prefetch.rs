//! Files of PyPI that are stored before clients request them: start a job, show the result of one.

use super::call::{Answer, Call};
use super::definition;
use super::job::{Started, start_response};
use crate::http::error::Failure;
use api::prefetch::{Prefetch, PrefetchedPackage, StartPrefetch};
use base::model::kind::SourceKind;
use content::serve::find;
use tasks::upkeep::prefetch::{self, PrefetchRequest};

pub(super) async fn start(call: Call<'_>, body: StartPrefetch) -> Started {
    let app = call.app;
    let kind = find::source(&app.state.catalog.get(), &body.source)?.kind;
    if !kind.is_project_index() || !kind.is_listed() {
        let indexes = SourceKind::ALL.into_iter().filter(|kind| kind.is_listed() && kind.is_project_index());
        let indexes: Vec<String> = indexes.map(|kind| format!("'{kind}'")).collect();
        return Err(Failure::bad_request(format!(
            "the source '{}' is of type {kind}; only files of the source {} are stored before clients request them",
            body.source,
            indexes.join(" or ")
        )));
    }
    let request = PrefetchRequest {
        files: body.files.into_iter().map(definition::file).collect(),
        strict: body.strict,
        pythons: body.pythons,
        platforms: body.platforms,
        pages_only: body.pages_only,
        dry_run: body.dry_run,
    };
    start_response(app, &prefetch::start(&app.upkeep, kind, request).await?).await
}

pub(super) async fn result(call: Call<'_>, job: &str) -> Answer<Prefetch> {
    let result = job.parse().ok().and_then(|job| prefetch::result(&call.app.upkeep, job));
    let result = result.ok_or_else(|| {
        Failure::not_found("there is no result of this job; those of the last eight of its kind are kept")
    })?;
    let package = |project: &prefetch::PrefetchedProject| PrefetchedPackage {
        name: project.name.clone(),
        versions: project.versions.clone(),
        files: project.files,
        bytes: project.bytes,
    };
    Ok(Prefetch {
        message: result.summary(),
        pages_only: result.pages_only,
        dry_run: result.dry_run,
        packages: result.projects.iter().map(package).collect(),
        files: result.files,
        bytes: result.bytes,
        stored_before: result.stored_before,
        notices: result.notices.clone(),
        problems: result.problems.clone(),
    })
}
