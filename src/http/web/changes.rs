//! The packages that differ between a snapshot and an earlier one, as a page or CSV.

use http::Response;

use super::context::{Context, FirstState, readable_sources};
use super::{answer, packages};
use crate::http::api::csv;
use crate::http::base_url::RequestHead;
use crate::http::error::Failure;
use crate::http::net::body::Body;
use base::model::ids::SourceId;
use base::model::snapshot::Snapshot;
use base::model::time::Day;
use content::serve::difference::{Change, ChangeKind, between};
use content::serve::{self, RepoError};
use formats::r::bioconductor::Part;
use pages::changes::{ChangedPackage, Changes};
use pages::text::segment;
use runtime::catalog::resolve::snapshot_end;

const PER_PAGE: usize = 500;
/// A comparison of all of CRAN takes a tenth of a second.
const MAX_COMPARISONS: usize = 16;

/// Returns the packages that differ from the snapshot in the parameter `since`, by default the last earlier
/// day that differs. The parameter `kind` selects a kind of change, `format` the page or CSV.
pub(super) async fn answer(
    context: Context<'_>,
    part: Option<Part>,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let Context { app, catalog, point, query, .. } = context;
    let name = context.location.repo.as_str();
    let kind = query.get("kind").filter(|text| !text.is_empty()).map(str::parse::<ChangeKind>).transpose();
    let kind = kind.map_err(|error| Failure::bad_request(format!("the parameter kind: {error}")))?;
    let page = query.page()?;
    let (since, mut changes) = match query.snapshot("since")? {
        Some(since) => {
            let from = serve::point::resolve_part(&app.repositories, name, part, since).await?;
            (Some(since), between(&app.repositories, &from, point).await?)
        }
        None => last_difference(&context, part).await?,
    };
    let first_syncs = since.map(|since| first_syncs(&context, since)).unwrap_or_default();
    let of_kind = |kind: ChangeKind| changes.iter().filter(|change| change.kind == kind).count();
    let counts = ChangeKind::ALL.map(|kind| (kind.as_str(), of_kind(kind))).to_vec();
    changes.retain(|change| kind.is_none_or(|kind| change.kind == kind));
    let source = |id: SourceId| head.principal.source_name(catalog, id);
    match query.get("format") {
        None | Some("" | "html") => {}
        Some("csv") => return Ok(csv::of_changes(head, &changes, source)),
        Some(_) => return Err(Failure::bad_request("the parameter format must be csv or html")),
    }
    let pages = changes.len().div_ceil(PER_PAGE);
    let page_changes = changes.into_iter().skip(PER_PAGE * (page - 1)).take(PER_PAGE);
    let rows: Vec<ChangedPackage> = page_changes.map(|change| row(change, source)).collect();
    let is_empty = since.is_none() && serve::listing::package_count(&app.repositories, point).await? == 0;
    let json = since.map(|since| {
        let location = &context.location;
        let (repo, to) = (segment(&location.repo), segment(&location.snapshot));
        let version = part.map(|part| format!("&bioc_version={}", part.version)).unwrap_or_default();
        format!("{}__api__/repos/{repo}/diff?from={since}&to={to}{version}", context.root)
    });
    let changes = Changes {
        since: since.map(|since| since.to_string()),
        kind: kind.map(ChangeKind::as_str),
        counts,
        first_syncs,
        rows,
        page,
        pages,
        index: packages::index_language(catalog, point),
        json,
        printed: context.printed(),
        first_packages: context.first_packages().filter(|_| is_empty),
        location: context.location,
    };
    Ok(answer::page(head, changes.render(context.root), false))
}

/// Returns the last earlier day that has other packages, with the differences. At most [`MAX_COMPARISONS`] days with
/// other states are compared.
async fn last_difference(
    context: &Context<'_>,
    part: Option<Part>,
) -> Result<(Option<Snapshot>, Vec<Change>), Failure> {
    let Context { app, point, snapshot, .. } = *context;
    let name = context.location.repo.as_str();
    let days = serve::info::repository_days(&app.state, name)?;
    let day = match snapshot {
        Snapshot::Date(day) => Some(day),
        Snapshot::Latest => days.first().copied(),
        Snapshot::Transaction(_) | Snapshot::Alias(_) => point.modified.map(|at| at.day()),
    };
    let mut comparisons = 0;
    for since in days.into_iter().filter(|other| Some(*other) < day).map(Snapshot::Date) {
        let from = match serve::point::resolve_part(&app.repositories, name, part, since).await {
            // Earlier days do not have the version of Bioconductor.
            Err(RepoError::Unresolved(_)) => break,
            from => from?,
        };
        let changes = between(&app.repositories, &from, point).await?;
        if !changes.is_empty() {
            return Ok((Some(since), changes));
        }
        comparisons += usize::from(from.trees != point.trees);
        if comparisons == MAX_COMPARISONS {
            break;
        }
    }
    Ok((None, Vec::new()))
}

/// Returns the first syncs after a snapshot of sources that the page's snapshot has and the client may read.
fn first_syncs(context: &Context<'_>, since: Snapshot) -> Vec<(String, Day)> {
    let Context { app, catalog, repo, point, principal, .. } = *context;
    let Ok(end) = snapshot_end(catalog, repo, since, (app.state.clock)()) else { return Vec::new() };
    let mut sources: Vec<SourceId> = point.trees.iter().map(|tree| tree.source).collect();
    sources.dedup();
    let sources = readable_sources(catalog, principal, &sources).into_iter();
    let states = sources.filter_map(|source| FirstState::of(catalog, source)).filter(|state| state.at >= end);
    states.map(|state| (state.text(), state.at.day())).collect()
}

fn row(change: Change, source: impl Fn(SourceId) -> String) -> ChangedPackage {
    let (from, to) = (change.from.as_ref(), change.to.as_ref());
    let source = match (from.map(|listed| listed.source), to.map(|listed| listed.source)) {
        (Some(from), Some(to)) if from != to => format!("{} (was {})", source(to), source(from)),
        (_, Some(id)) | (Some(id), None) => source(id),
        (None, None) => String::new(),
    };
    ChangedPackage {
        kind: change.kind.as_str(),
        is_notable: !matches!(change.kind, ChangeKind::Added | ChangeKind::Updated),
        source,
        published: to.and_then(|listed| listed.published_at).map(|at| at.day()),
        from: change.from.map(|listed| listed.version),
        to: change.to.map(|listed| listed.version),
        name: change.name,
    }
}
