//! The pages of the versions, the history, the binaries and the downloads of a package.

use super::context::{Context, FirstState, published};
use super::project;
use crate::http::api::platforms::wire_binary;
use crate::http::error::Failure;
use base::model::ids::SourceId;
use base::model::kind::Layout;
use base::model::project_path::link;
use base::model::time::{Day, Timestamp};
use content::serve;
use content::serve::history::{ListingPeriod, Subscriptions};
use content::serve::info::Release;
use content::serve::project::detail::ProjectRelease;
use formats::language;
use pages::binaries::{BinaryLine, MAX_ROWS};
use pages::downloads::Downloads;
use pages::history::{self, History};
use pages::text::segment;
use pages::versions::{File, Version, page};
use store::db::project_file::ListedFile;

/// Returns the page of the versions of an R package: the listed one, then those in the archive, newest first.
pub(super) async fn of_package(context: Context<'_>, package: &str) -> Result<String, Failure> {
    let detail = project::detail(&context, package).await?;
    let found = serve::vulnerabilities::current(&context.app.state).await;
    let snapshot = context.root.folder(&context.location.repo, &context.location.snapshot);
    let version = |release: &Release| {
        let (name, version) = (segment(&release.package), segment(&release.version));
        let folder = if release.archived { format!("Archive/{name}/") } else { String::new() };
        let address = format!("{snapshot}src/contrib/{folder}{name}_{version}.tar.gz");
        Version {
            version: release.version.clone(),
            state: match (&release.blocked, release.archived) {
                (Some(_), _) => "blocked",
                (None, true) => "archived",
                (None, false) => "listed",
            },
            published: release.published_at.map(|at| at.day()),
            vulnerabilities: found.of(detail.source, &release.package, &release.version).len(),
            files: vec![File {
                name: format!("{}_{}.tar.gz", release.package, release.version),
                // The address in a Bioconductor repository depends on the component. A blocked file is not served.
                address: Some(address)
                    .filter(|_| context.repo.kind.is_one_list() && release.blocked.is_none()),
                size: release.size,
                sha256: release.sha256.map(|digest| digest.to_string()),
                remark: release.blocked.as_ref().or(release.warning.as_ref()).cloned().unwrap_or_default(),
            }],
        }
    };
    // The detail begins with the requested version, the page with the listed one.
    let releases = std::iter::once(&detail.release).chain(&detail.others);
    let (archived, listed): (Vec<&Release>, Vec<&Release>) = releases.partition(|release| release.archived);
    let versions: Vec<Version> = listed.into_iter().chain(archived).map(version).collect();
    let newest = newest_day(&context);
    Ok(page(context.root.clone(), &context.location, &detail.release.package, &versions, newest))
}

/// Returns the day of the newest state that the snapshot has, if it is known.
fn newest_day(context: &Context<'_>) -> Option<Day> {
    published(context.catalog, context.point, context.snapshot).map(Timestamp::day)
}

pub(super) async fn history(context: Context<'_>, package: &str) -> Result<String, Failure> {
    let repositories = &context.app.repositories;
    let listings =
        Subscriptions::new(repositories, &context.listing_scope())?.listings(repositories, package).await?;
    if listings.listed.is_empty() && listings.hidden.is_empty() {
        // Fails with a 404 that suggests similar names.
        project::detail(&context, package).await?;
    }
    let source = |id: SourceId| context.principal.source_name(context.catalog, id);
    // The page of a day does not have a version that was listed only within the day.
    let transaction = |row: &ListingPeriod| {
        let is_within_day = row.until.map(Timestamp::day) == Some(row.from.day());
        let transaction = is_within_day.then(|| context.catalog.transaction_at(row.from)).flatten();
        transaction.map(|transaction| transaction.0)
    };
    let first_state = |row: &ListingPeriod| {
        let source = context.catalog.source_by_id(row.source)?;
        FirstState::of(context.catalog, source).filter(|state| state.at == row.from).map(|state| state.kind)
    };
    let rows = listings.listed.into_iter().map(|row| history::ListedVersion {
        transaction: transaction(&row),
        first_state: first_state(&row),
        version: row.version,
        source: source(row.source),
        from: row.from.day(),
        until: row.until.map(|at| at.day()),
        is_only_dated: row.is_only_dated,
    });
    let hidden = listings.hidden.into_iter().map(|hidden| (hidden.version, hidden.reason));
    let history = History {
        package: package.to_owned(),
        listed: rows.collect(),
        hidden: hidden.collect(),
        newest: newest_day(&context),
        only_latest: listings.only_latest.map(|current| (current.version, source(current.source))),
    };
    Ok(history.render(context.root.clone(), &context.location))
}

/// Returns the page of the versions of a project with all their files, the highest version first.
pub(super) async fn of_project(context: Context<'_>, project: &str) -> Result<String, Failure> {
    let detail = project::project_detail(&context, project, None).await?;
    let found = serve::vulnerabilities::current(&context.app.state).await;
    let snapshot = context.root.folder(&context.location.repo, &context.location.snapshot);
    let file = |listed: &ListedFile| {
        let requires = language::describe(detail.release.language, &listed.facts).requires;
        let address = link(listed.sha256, &listed.name);
        let yanked = listed.yanked.as_deref().map(|reason| match reason {
            "" => "yanked".to_owned(),
            reason => format!("yanked: {reason}"),
        });
        let requires = requires.map(|versions| format!("{} {versions}", detail.release.language.label()));
        File {
            name: listed.name.clone(),
            address: Some(address.replacen("../../", &snapshot, 1)),
            size: u64::try_from(listed.size).ok(),
            sha256: Some(listed.sha256.to_string()),
            remark: [requires, yanked].into_iter().flatten().collect::<Vec<_>>().join("; "),
        }
    };
    let version = |release: &ProjectRelease| Version {
        version: release.version.clone(),
        state: if release.yanked().is_some() { "yanked" } else { "listed" },
        published: release.uploaded_at().map(|at| at.day()),
        vulnerabilities: found.of(detail.source, detail.project.as_str(), &release.version).len(),
        files: release.files.iter().map(file).collect(),
    };
    let versions: Vec<Version> = detail.releases.iter().map(version).collect();
    let newest = newest_day(&context);
    Ok(page(context.root.clone(), &context.location, detail.project.as_str(), &versions, newest))
}

/// Returns the page of the binaries of an R package in the lists of its source, the newest version first.
pub(super) async fn binaries(context: Context<'_>, package: &str) -> Result<String, Failure> {
    let package = project::detail(&context, package).await?.release.package;
    let all = serve::binary_rows::at_point(&context.app.state, context.point, &package).await?;
    let total = all.len();
    let rows = all.into_iter().take(MAX_ROWS).map(|row| {
        let (listed, size) = (row.listed_at.day(), row.size);
        let binary = wire_binary(row);
        BinaryLine {
            version: binary.version,
            platform: binary.platform,
            architecture: binary.arch,
            listed,
            size: size.and_then(|size| u64::try_from(size).ok()),
            sha256: binary.sha256,
        }
    });
    let rows: Vec<BinaryLine> = rows.collect();
    let json = context.api(&format!("packages/{}/builds", segment(&package)));
    Ok(pages::binaries::page(context.root.clone(), &context.location, &package, &rows, total, json))
}

/// 13 weeks.
const DAYS: i64 = 91;

/// Returns the page of the downloads of a package. Fails with 404 also where downloads are not counted.
pub(super) async fn downloads(context: Context<'_>, package: &str) -> Result<String, Failure> {
    let app = context.app;
    let (source, package): (SourceId, String) = match context.repo.kind.layout() {
        Layout::Projects => {
            let detail = project::project_detail(&context, package, None).await?;
            (detail.source, detail.project.to_string())
        }
        Layout::Lists => {
            let detail = project::detail(&context, package).await?;
            (detail.source, detail.release.package)
        }
    };
    // SECURITY: downloads are counted over all repositories of a source, of which the client may not read some.
    if context.principal.source_name(context.catalog, source).is_empty() {
        return Err(Failure::not_found("the downloads of this source are not shown"));
    }
    let days = app.usage.days(source, &package, DAYS).await?;
    let total = app.usage.totals(&[(source, &package)]).await.into_iter().next().unwrap_or(0);
    Ok(Downloads { location: context.location, package, days, total }.render(context.root))
}
