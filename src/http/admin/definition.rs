//! Definitions of curated sources: plan, publish, show.

use super::call::{AdminResult, Call, ok};
use crate::api::definition::{Definition, DefinitionFile, DefinitionPlan, PlannedPackage, UpdateDefinition};
use crate::db::curation;
use crate::edit::python::curated::{self, Input, Update, UpdateRequest};
use crate::http::app::App;
use crate::http::error::Failure;
use crate::model::snapshot::{BadSnapshot, Snapshot};
use crate::model::time::Timestamp;
use crate::python::curated::plan::PlanRow;

/// Maximum size of the body, in bytes: the lock files of large projects are 5 MB.
const MAX_DEFINITION: usize = 24 << 20;

/// `POST /sources/{name}/definition`.
pub(super) async fn update(call: Call<'_>, name: &str) -> AdminResult {
    let app = call.app;
    let (body, actor): (UpdateDefinition, _) = call.json_up_to(MAX_DEFINITION).await?;
    let snapshot = body.snapshot.as_deref().map(str::parse::<Snapshot>).transpose();
    let snapshot = snapshot.map_err(|error: BadSnapshot| Failure::bad_request(error.to_string()))?;
    let file =
        |file: DefinitionFile| curation::DefinitionFile { name: file.name, content: file.text.into_bytes() };
    let files: Vec<curation::DefinitionFile> = body.files.into_iter().map(file).collect();
    let input = match (files.is_empty(), body.add) {
        (true, false) => Input::Keep,
        (true, true) => return Err(Failure::bad_request("there is no file with the packages to add")),
        (false, true) => Input::Add(files),
        (false, false) => Input::Replace(files),
    };
    let request = UpdateRequest {
        source: name.to_owned(),
        input,
        snapshot,
        strict: body.strict,
        commit: body.commit,
        comment: body.comment,
    };
    let update = curated::update(&app.repositories, &app.state, request, &actor).await?;
    ok(&wire(update, body.commit))
}

fn wire(update: Update, commit: bool) -> DefinitionPlan {
    let package = |row: PlanRow| PlannedPackage {
        name: row.name.to_string(),
        constraint: row.constraint,
        files: row.files.map(|files| i64::try_from(files).unwrap_or(i64::MAX)),
        newest: row.newest,
        state: row.state.as_str().to_owned(),
    };
    DefinitionPlan {
        committed: commit && update.plan.problems.is_empty(),
        packages: update.plan.rows.into_iter().map(package).collect(),
        problems: update.plan.problems,
        notices: update.notices,
        snapshot: update.snapshot,
        state_at: update.base_at.to_string(),
        sha256: update.sha256.to_string(),
        transaction: update.transaction.map(|tx| tx.0),
    }
}

/// Returns the definition of a source, if it has one.
pub(super) async fn of_source(
    app: &App,
    name: &str,
    with_files: bool,
) -> Result<Option<Definition>, Failure> {
    let Some(curation) = curated::definition(&app.state, name).await? else { return Ok(None) };
    let file = |file: curation::DefinitionFile| DefinitionFile {
        name: file.name,
        text: String::from_utf8_lossy(&file.content).into_owned(),
    };
    Ok(Some(Definition {
        snapshot: curation.snapshot,
        state_at: Timestamp(curation.base_seq.0).to_string(),
        sha256: curation.sha256.to_string(),
        files: curation.files.into_iter().filter(|_| with_files).map(file).collect(),
    }))
}
