//! Packages: list in pages, receive uploads, add them to a source, remove.

use http::StatusCode;

use super::call::{Answer, Call, WithStatus, version};
use crate::http::error::Failure;
use crate::http::net::read_body;
use crate::http::net::request_body::Incoming;
use api::package::{ListPackages, ListedPackage, Packages, Upload, UploadFile};
use api::source::{
    AddOutcome, AddPackages, AddedPackage, AddedPackages, RemovePackage, RemovedPackage, YankFiles,
    YankedFiles,
};
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use content::serve;
use content::serve::RepoError;
use content::serve::package_query::PackageQuery;
use formats::r::bioconductor::Part;
use tasks::edit::{self, AddStatus, OnExisting, RemoveScope, UploadKind};

const MAX_PAGE_SIZE: usize = 10_000;

pub(super) async fn list_of_source(call: Call<'_>, name: &str, query: ListPackages) -> Answer<Packages> {
    let version = query.version.as_deref().map(version).transpose()?;
    let point = serve::point::of_source(&call.app.state, name, version)?;
    page(&call, &point, query).await
}

pub(super) async fn list_of_repo(call: Call<'_>, name: &str, query: ListPackages) -> Answer<Packages> {
    let part = query.version.as_deref().map(version).transpose()?.map(Part::whole);
    let point = serve::point::resolve_part(&call.app.repositories, name, part, Snapshot::Latest).await?;
    page(&call, &point, query).await
}

async fn page(call: &Call<'_>, point: &Point, query: ListPackages) -> Result<Packages, Failure> {
    let count = query.count.unwrap_or(100).clamp(1, MAX_PAGE_SIZE);
    let page = query.page.unwrap_or(1).max(1);
    let query = PackageQuery {
        name_part: query.search.unwrap_or_default(),
        exact_first: true,
        limit: count,
        offset: (page - 1).saturating_mul(count),
        ..PackageQuery::default()
    };
    let listing = serve::listing::packages(&call.app.repositories, point, query).await?;
    let catalog = call.app.state.catalog.get();
    let source = |id| catalog.source_by_id(id).map(|s| s.name.to_string()).unwrap_or_default();
    let packages = listing.packages.into_iter().map(|row| ListedPackage {
        name: row.display_name().to_owned(),
        version: row.version,
        source: source(row.source),
        published: row.published_at.map(|at| at.to_string()),
    });
    Ok(Packages {
        total: i64::try_from(listing.total).unwrap_or(i64::MAX),
        page: i64::try_from(page).unwrap_or(i64::MAX),
        packages: packages.collect(),
    })
}

pub(super) async fn add(call: Call<'_>, name: &str, body: AddPackages) -> Answer<AddedPackages> {
    if !body.changes.is_empty() {
        return import(call, name, body).await;
    }
    let Call { app, actor, .. } = call;
    let existing = existing_policy(body.replace, body.succeed_on_existing)?;
    let (tx, added, warnings) = edit::add::add(&app.uploads, name, &body.uploads, existing, &actor).await?;
    let packages = added.into_iter().map(|(upload, status)| AddedPackage {
        file: upload.file,
        name: upload.package,
        version: upload.version,
        sha256: upload.sha256.to_string(),
        size: upload.size,
        outcome: outcome(status),
    });
    let (transaction, packages) = (tx.map(|id| id.0), packages.collect());
    Ok(AddedPackages { transaction, packages, warnings, ..AddedPackages::default() })
}

/// Makes the changes of an import. Those with a time in the future are made now, as the clock of a client may differ.
async fn import(call: Call<'_>, name: &str, mut body: AddPackages) -> Answer<AddedPackages> {
    let Call { app, actor, principal, .. } = call;
    if !body.uploads.is_empty() || body.replace || body.succeed_on_existing {
        let reason = "changes have uploads of their own: leave out uploads, replace and succeed_on_existing";
        return Err(Failure::bad_request(reason));
    }
    for (number, change) in (1..).zip(&body.changes) {
        change
            .event
            .check()
            .map_err(|problem| Failure::bad_request(format!("change {number}: {problem}")))?;
    }
    if body.changes.iter().any(|change| change.event.at().is_some()) && !principal.is_administrator() {
        let reason = "only administrators may state the time of a change; leave out at (rspm import list --dates=none)";
        return Err(RepoError::AdministratorOnly(reason.to_owned()).into());
    }
    let now = (app.state.clock)();
    body.changes.iter_mut().for_each(|change| change.event.forget_future_time(now));
    Ok(match body.dry_run {
        true => edit::import::check(&app.state, name, body.changes).await?,
        false => {
            let AddPackages { changes, change_past_days, .. } = body;
            edit::import::apply(&app.uploads, name, changes, change_past_days, &actor).await?
        }
    })
}

/// Converts the two flags of an add request to a policy.
pub(super) fn existing_policy(replace: bool, succeed_on_existing: bool) -> Result<OnExisting, Failure> {
    match (replace, succeed_on_existing) {
        (false, false) => Ok(OnExisting::Fail),
        (false, true) => Ok(OnExisting::Succeed),
        (true, false) => Ok(OnExisting::Replace),
        (true, true) => Err(Failure::bad_request("choose one of replace and succeed_on_existing")),
    }
}

/// Converts a status to its wire type.
pub(super) fn outcome(status: AddStatus) -> AddOutcome {
    match status {
        AddStatus::New => AddOutcome::Added,
        AddStatus::Replaced => AddOutcome::Replaced,
        AddStatus::Existing => AddOutcome::Existing,
    }
}

pub(super) async fn remove(call: Call<'_>, name: &str, body: RemovePackage) -> Answer<RemovedPackage> {
    let Call { app, actor, .. } = call;
    let scope = scope(&body.scope);
    let versions =
        edit::package::remove(&app.repositories, &app.state, name, &body.name, scope, &body.comment, &actor)
            .await?;
    Ok(RemovedPackage { name: body.name, versions })
}

fn scope(text: &str) -> RemoveScope {
    match text {
        "all" => RemoveScope::All,
        "current" => RemoveScope::Current,
        version => RemoveScope::Version(version.to_owned()),
    }
}

pub(super) async fn yank(call: Call<'_>, name: &str, body: YankFiles) -> Answer<YankedFiles> {
    let Call { app, actor, .. } = call;
    let (scope, reason) = (scope(&body.scope), body.reason.as_deref());
    let yanked = edit::project::yank::set(&app.state, name, &body.name, scope, reason, &actor).await?;
    Ok(YankedFiles {
        transaction: yanked.transaction.map(|id| id.0),
        name: yanked.project,
        files: yanked.files,
    })
}

/// Maximum size of an archive, in bytes.
const MAX_BYTES: u64 = 10 << 30;

pub(super) async fn receive(call: Call<'_>, query: UploadFile, body: Incoming) -> Answer<WithStatus<Upload>> {
    let file = query.file.as_deref().filter(|file| !file.is_empty()).ok_or_else(|| {
        Failure::bad_request("the parameter file, the name of the uploaded file, is missing")
    })?;
    let body = read_body::stream(body, MAX_BYTES, call.app.limits.body_timeout);
    let kind = query.kind.as_deref().map_or(Some(UploadKind::Source), UploadKind::parse);
    let kind = kind
        .ok_or_else(|| Failure::bad_request(format!("the parameter type must be {}", UploadKind::words())))?;
    let upload = edit::package::receive(&call.app.uploads, file, body, kind, &call.actor).await?;
    let upload = Upload {
        id: upload.id,
        file: upload.file,
        name: upload.package,
        version: upload.version,
        sha256: upload.sha256.to_string(),
        size: upload.size,
        notices: upload.notices,
    };
    Ok(WithStatus(StatusCode::CREATED, upload))
}
