//! Definitions of curated sources: plan, publish, show.

use super::call::{Answer, Call};
use crate::http::app::App;
use crate::http::error::Failure;
use api::definition::{
    BlockedFiles, Definition, DefinitionDependency, DefinitionFile, DefinitionPlan, PlannedPackage,
    PlannedRelease, UpdateDefinition,
};
use base::model::kind::{Layout, SourceKind, Supply};
use base::model::project_name::ProjectName;
use base::model::snapshot::{BadSnapshot, Snapshot};
use base::model::time::Timestamp;
use content::serve::find;
use formats::r::closure::Kinds;
use formats::r::curated::parse_include;
use store::db::curation;
use tasks::edit::curated::snapshot::{self, SnapshotChange};
use tasks::edit::curated::{RUpdate, RUpdateRequest};
use tasks::edit::curation::{Input, require_snapshot};
use tasks::edit::python::{self, PythonUpdate, PythonUpdateRequest};
use tasks::edit::{Actor, curated};

/// Returns a file of a request as it is stored.
pub(super) fn file(file: DefinitionFile) -> curation::DefinitionFile {
    curation::DefinitionFile { name: file.name, content: file.text.into_bytes() }
}

pub(super) async fn update(call: Call<'_>, name: &str, body: UpdateDefinition) -> Answer<DefinitionPlan> {
    let Call { app, actor, .. } = call;
    let snapshot = body.snapshot.as_deref().map(str::parse::<Snapshot>).transpose();
    let snapshot = snapshot.map_err(|error: BadSnapshot| Failure::bad_request(error.to_string()))?;
    let files: Vec<curation::DefinitionFile> = body.files.into_iter().map(file).collect();
    let input = match (files.is_empty(), body.add) {
        (true, false) => Input::Keep,
        (true, true) => return Err(Failure::bad_request("there is no file with the packages to add")),
        (false, true) => Input::Add(files),
        (false, false) => Input::Replace(files),
    };
    let kind = find::source(&app.state.catalog.get(), name)?.kind;
    match kind.layout() {
        Layout::Lists => {
            if body.dependencies.is_some() {
                return Err(Failure::bad_request(
                    "--dependencies is for Python packages; --include names the kinds of dependencies of R packages",
                ));
            }
            let include = include(body.include.as_deref())?;
            if body.strict {
                return Err(Failure::bad_request(
                    "--strict is for Python packages: lock files of R have no digests",
                ));
            }
            let request = RUpdateRequest {
                source: name.to_owned(),
                input,
                snapshot,
                include,
                suggests: body.include_suggests,
                allow_missing: body.allow_missing,
                commit: body.commit,
                comment: body.comment,
            };
            update_r(app, kind, request, &actor).await
        }
        Layout::Projects => {
            if body.include.is_some() || body.include_suggests {
                let label = kind.language().label();
                return Err(Failure::bad_request(format!(
                    "only dependencies of R packages have kinds; --dependencies includes those of {label} packages"
                )));
            }
            let request = PythonUpdateRequest {
                source: name.to_owned(),
                input,
                snapshot,
                strict: body.strict,
                dependencies: body.dependencies,
                allow_missing: body.allow_missing,
                commit: body.commit,
                comment: body.comment,
            };
            let update = python::update(&app.repositories, &app.state, request, &actor).await?;
            Ok(wire(update, kind, body.commit))
        }
    }
}

/// Parses the kinds of dependencies to include; `None` if the request names none.
pub(super) fn include(text: Option<&str>) -> Result<Option<Kinds>, Failure> {
    text.map(parse_include).transpose().map_err(|error| Failure::bad_request(error.to_string()))
}

async fn update_r(
    app: &App,
    kind: SourceKind,
    request: RUpdateRequest,
    actor: &Actor,
) -> Result<DefinitionPlan, Failure> {
    let commit = request.commit;
    let update = if kind.supply() == Supply::Snapshot {
        let RUpdateRequest { source: name, snapshot, comment, .. } = &request;
        if request.input != Input::Keep
            || request.include.is_some()
            || request.suggests
            || request.allow_missing
        {
            return Err(Failure::bad_request(format!(
                "the source '{name}' is a snapshot of CRAN: it has a state but no definition; name the state with --snapshot"
            )));
        }
        require_snapshot(commit, *snapshot)?;
        let snapshot = snapshot.unwrap_or(Snapshot::Latest);
        let change = SnapshotChange { source: name, snapshot, include: None };
        snapshot::set(&app.repositories, &app.state, change, commit, comment, actor).await?
    } else {
        curated::update(&app.repositories, &app.state, request, actor).await?
    };
    Ok(r_wire(update, kind, commit))
}

fn r_wire(update: RUpdate, kind: SourceKind, commit: bool) -> DefinitionPlan {
    let package = |row: curated::UpdateRow| {
        let facts = row.release;
        PlannedPackage {
            name: row.plan.name,
            constraint: String::new(),
            files: None,
            newest: None,
            blocked_files: None,
            state: row.plan.change.as_str().to_owned(),
            chain: Vec::new(),
            release: Some(PlannedRelease {
                version: row.plan.version,
                previous: row.plan.previous,
                chain: row.plan.chain,
                license: facts.as_ref().and_then(|facts| facts.license.clone()),
                needs_compilation: facts.as_ref().and_then(|facts| facts.needs_compilation),
                size: facts.as_ref().and_then(|facts| facts.size),
                published: facts.as_ref().and_then(|facts| facts.published_at).map(|at| at.to_string()),
                advisories: i64::try_from(row.advisories).unwrap_or(i64::MAX),
                blocked: row.blocked.map(|obstacle| obstacle.reason),
            }),
        }
    };
    DefinitionPlan {
        kind: kind.to_string(),
        committed: commit && update.problems.is_empty(),
        packages: update.rows.into_iter().map(package).collect(),
        problems: update.problems,
        notices: update.notices,
        snapshot: update.snapshot,
        state_at: update.base_at.to_string(),
        sha256: update.sha256.to_string(),
        transaction: update.transaction.map(|tx| tx.0),
    }
}

fn wire(update: PythonUpdate, kind: SourceKind, commit: bool) -> DefinitionPlan {
    let blocked = |name: &ProjectName| {
        let files = update.blocked.get(name)?;
        let count = files.count.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        Some(BlockedFiles { count, reason: files.reason.clone() })
    };
    let chain = |name: &ProjectName| {
        let chain = update.chains.get(name).map(Vec::as_slice).unwrap_or_default();
        chain.iter().map(ToString::to_string).collect()
    };
    let packages = update.plan.rows.into_iter().map(|row| PlannedPackage {
        blocked_files: blocked(&row.name),
        chain: chain(&row.name),
        name: row.name.to_string(),
        constraint: row.constraint,
        files: row.files.map(|files| i64::try_from(files).unwrap_or(i64::MAX)),
        newest: row.newest,
        state: row.state.as_str().to_owned(),
        release: None,
    });
    DefinitionPlan {
        kind: kind.to_string(),
        committed: commit && update.plan.problems.is_empty(),
        packages: packages.collect(),
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
    let (curation, state_at) = match python::definition(&app.state, name).await? {
        Some(curation) => {
            let at = Timestamp(curation.base_seq.0).to_string();
            (curation, at)
        }
        None => match curated::definition(&app.state, name).await? {
            Some((curation, at)) => (curation, at.map(|at| at.to_string()).unwrap_or_default()),
            None => return Ok(None),
        },
    };
    let file = |file: curation::DefinitionFile| DefinitionFile {
        name: file.name,
        text: String::from_utf8_lossy(&file.content).into_owned(),
    };
    let dependency = |dependency: curation::Dependency| DefinitionDependency {
        name: dependency.name,
        chain: dependency.chain,
    };
    let dependencies = curation.dependencies.into_iter().filter(|_| with_files);
    Ok(Some(Definition {
        snapshot: curation.snapshot,
        state_at,
        include: curation.include,
        dependencies: dependencies.map(dependency).collect(),
        sha256: curation.sha256.to_string(),
        files: curation.files.into_iter().filter(|_| with_files).map(file).collect(),
    }))
}
