//! Details of single packages and sources for the public API and `rspm`. Lists are in [`super::listing`].

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::listing;
use crate::serve::files::archive_details::UnreadArchive;
use crate::serve::files::bundle_files::README_LIMIT;
use crate::serve::files::package_files::StoredArchive;
use crate::serve::files::{archive_details, bundle_files, upstream};
use crate::serve::selection::allowed::{View, blocked};
use crate::serve::selection::{allowed, name_guards, point};
use crate::serve::{RepoError, Repositories, find};
use base::model::change::LifeState;
use base::model::digest::Sha256;
use base::model::ids::{ReleaseId, SourceId, TreeId, TxId};
use base::model::kind::StorageClass;
use base::model::point::Point;
use base::model::project_page::ArchiveKind;
use base::model::snapshot::Snapshot;
use base::model::time::{Day, Timestamp};
use runtime::catalog::resolve::{list_after, periods, selection, today};
use runtime::catalog::{Catalog, RepoStep, Repository, Source};
use runtime::state::State;
use store::db::file::FileState;
use store::db::life::ReleaseFile;
use store::db::tx::Tx;
use store::db::{self, Conn, DbError};
use store::storage::Key;

#[derive(Clone, Debug)]
pub struct PackageDetail {
    /// The selected version: the listed one, unless another was requested.
    pub release: Release,
    pub source: SourceId,
    /// The source of its files; it differs from `source` only for a curated source.
    pub origin: SourceId,
    pub tree: TreeId,
    /// The archive of the selected version, if it is in storage.
    pub archive: Option<StoredArchive>,
    /// The DESCRIPTION if the archive was read, otherwise the index record; in DCF. Empty if neither is known.
    pub description: Vec<u8>,
    pub readme: Option<Vec<u8>>,
    /// The other versions at that point, newest first.
    pub others: Vec<Release>,
}

#[derive(Clone, Debug)]
pub struct Release {
    pub id: ReleaseId,
    pub package: String,
    pub version: String,
    /// Whether the version is in `Archive/`, not in the index.
    pub archived: bool,
    pub published_at: Option<Timestamp>,
    pub size: Option<u64>,
    pub sha256: Option<Sha256>,
    /// The rule that blocks it, with the reason: `rule 7 (no copyleft; license AGPL-3)`.
    pub blocked: Option<String>,
    /// The rule that warns about it, with the reason.
    pub warning: Option<String>,
    /// Its DESCRIPTION; only set for the other versions of a single package.
    pub description: Option<Vec<u8>>,
}

/// A source and a summary of its content.
#[derive(Clone, Debug)]
pub struct SourceInfo {
    pub source: Source,
    pub packages: usize,
    pub last_transaction: Option<Tx>,
    /// The repositories that subscribe to it.
    pub repos: Vec<String>,
    /// Facts about the index, if the source is an index with one page per project.
    pub index: Option<IndexInfo>,
}

/// Facts about an index with one page per project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexInfo {
    /// The number of projects whose page was read.
    pub read_projects: i64,
    /// The time of the first sync, from which on the list of projects has a history.
    pub first_sync: Option<Timestamp>,
    /// The instant up to which the list of projects is known; `None` before the first sync.
    pub head: Option<Timestamp>,
}

/// Returns the details of a package at a point: of its listed version, or of `version`. Fails with
/// [`RepoError::Guarded`] if a name guard hides the package of another source.
pub async fn package(
    repositories: &Arc<Repositories>,
    point: &Point,
    name: &str,
    version: Option<&str>,
) -> Result<PackageDetail, RepoError> {
    point::require_lists(point)?;
    let mut facts = read_detail(&repositories.state, point, name, version).await?;
    if let Some(stored_archive) = facts.as_ref().and_then(|facts| facts.stored_archive)
        && archive_details::read_once(repositories, stored_archive).await
    {
        facts = read_detail(&repositories.state, point, name, version).await?;
    }
    let Some(PackageFacts { mut detail, readme, missing_archive, .. }) = facts else {
        let excerpt: String = name.chars().take(128).collect();
        let text = format!("Package '{excerpt}' not found");
        return Err(name_guards::missing(&repositories.state, point, name, text));
    };
    detail.readme = match (readme, missing_archive) {
        (Some(sha256), _) => stored_readme(repositories, sha256).await?,
        (None, Some(file)) if upstream::has_mirror(&repositories.state, detail.origin) => {
            bundle_files::read(repositories, detail.tree, file).await
        }
        (None, _) => None,
    };
    Ok(detail)
}

async fn read_detail(
    state: &State,
    point: &Point,
    name: &str,
    version: Option<&str>,
) -> Result<Option<PackageFacts>, RepoError> {
    let (trees, package, version) = (View::of(state, point), name.to_owned(), version.map(ToOwned::to_owned));
    let query = state.db.read(move |c| {
        let mut facts = detail(c, &trees, &package, version.as_deref())?;
        if let Some(PackageFacts { detail, .. }) = &mut facts {
            let ids: Vec<ReleaseId> = detail.others.iter().map(|release| release.id).collect();
            let texts = db::detail::descriptions(c, &ids)?;
            detail.others.iter_mut().zip(texts).for_each(|(other, text)| other.description = text);
        }
        Ok(facts)
    });
    Ok(query.await?)
}

/// Like [`package`], for many packages with optional versions, without READMEs; `None` for unknown ones.
pub async fn packages(
    state: &State,
    point: &Point,
    requested: Vec<(String, Option<String>)>,
) -> Result<Vec<Option<PackageDetail>>, RepoError> {
    point::require_lists(point)?;
    let trees = View::of(state, point);
    let query = state.db.read(move |c| {
        let detail_of = |(name, version): &(String, Option<String>)| {
            Ok(detail(c, &trees, name, version.as_deref())?.map(|facts| facts.detail))
        };
        requested.iter().map(detail_of).collect::<Result<Vec<_>, DbError>>()
    });
    Ok(query.await?)
}

async fn stored_readme(repositories: &Repositories, sha256: Sha256) -> Result<Option<Vec<u8>>, RepoError> {
    let key = Key::Readme(sha256);
    if repositories.state.storage.size(&key).await?.is_none_or(|size| size > README_LIMIT) {
        return Ok(None);
    }
    Ok(repositories.fetches.integrity.read_verified(&key).await?.map(|text| text.to_vec()))
}

pub async fn source(repositories: &Repositories, name: &str) -> Result<SourceInfo, RepoError> {
    let catalog = repositories.state.catalog.get();
    let source = find::source(&catalog, name)?.clone();
    let (point, id) = (point::of_source(&repositories.state, name, None)?, source.id);
    let (packages, index) = if source.kind.is_project_index() {
        let query = move |c: &mut dyn db::Conn| {
            Ok::<_, db::DbError>((db::project::counts(c, id)?, db::tx::first_instant(c, id)?))
        };
        let (counts, first_sync) = repositories.state.db.read(query).await?;
        let head = catalog.source_package_trees(id).find_map(|tree| tree.time_head);
        let index = IndexInfo { read_projects: counts.readings, first_sync, head };
        (usize::try_from(counts.projects).unwrap_or(0), Some(index))
    } else {
        (listing::package_count(repositories, &point).await?, None)
    };
    let last_transaction = repositories.state.db.read(move |c| Ok(db::tx::list(c, id, 1)?.pop())).await?;
    let subscribers = catalog.repos.iter().filter(|repo| repo.subscribes_to(id));
    Ok(SourceInfo {
        packages,
        last_transaction,
        repos: subscribers.map(|repo| repo.name.to_string()).collect(),
        index,
        source,
    })
}

pub async fn source_transactions(
    state: &State,
    source: SourceId,
    limit: usize,
) -> Result<Vec<Tx>, RepoError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    Ok(state.db.read(move |c| db::tx::list(c, source, limit)).await?)
}

/// A transaction of a source that a repository contains.
#[derive(Clone, Debug)]
pub struct RepositoryChange {
    pub tx: Tx,
    /// Time at which the repository got the change: that of the transaction, or of the promotion that applied it.
    pub at: Timestamp,
    /// The transaction from which on the repository serves the change.
    pub snapshot: TxId,
}

impl RepositoryChange {
    /// Returns the change of a repository by a transaction of a source; `None` if it got it by subscribing, or never.
    fn new(tx: Tx, repo: &Repository) -> Option<RepositoryChange> {
        let (source, at) = (tx.source, tx.at);
        let has_source = |step: &RepoStep| step.list.iter().any(|entry| Some(entry.source) == source);
        let own = list_after(repo, at)?;
        if own.pinned_at.is_none() && has_source(own) {
            return Some(RepositoryChange { at, snapshot: tx.id, tx });
        }
        // Whether the previous list has the source, in a state before the transaction.
        let mut is_pending = has_source(own);
        for step in repo.steps.iter().filter(|step| at < step.at) {
            let is_included = match step.pinned_at {
                Some(pin) => has_source(step) && at < pin,
                None if has_source(step) && !is_pending => return None,
                None => has_source(step),
            };
            if is_included {
                return Some(RepositoryChange { at: step.at, snapshot: step.tx, tx });
            }
            is_pending = has_source(step);
        }
        None
    }
}

/// Returns the transactions of a source that changed a repository, newest first: with a pin, those before it,
/// and none from before the subscription, unless snapshots of their time have the source.
pub async fn newest_transactions(
    state: &State,
    repo: &Repository,
    source: SourceId,
    limit: usize,
) -> Result<Vec<RepositoryChange>, RepoError> {
    let catalog = state.catalog.get();
    let Ok(selection) = selection(&catalog, repo, Snapshot::Latest, (state.clock)()) else {
        return Ok(Vec::new());
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let transactions = state.db.read(move |c| db::tx::list_before(c, source, selection.end, limit)).await?;
    Ok(transactions.into_iter().filter_map(|tx| RepositoryChange::new(tx, repo)).collect())
}

/// Returns the numbers of packages that transactions of sources changed on each day from a day on.
pub async fn changes_by_day(
    state: &State,
    sources: Vec<SourceId>,
    from: Day,
) -> Result<BTreeMap<Day, i64>, RepoError> {
    let query = state.db.read(move |c| {
        let mut days: BTreeMap<Day, i64> = BTreeMap::new();
        for source in &sources {
            for (number, packages) in db::tx::changes_by_day(c, *source, from.start())? {
                *days.entry(Day::from_number(number)).or_default() += packages;
            }
        }
        Ok(days)
    });
    Ok(query.await?)
}

/// Returns the days on which a repository changed, newest first; other days resolve to the last change before.
pub fn repository_days(state: &State, repo: &str) -> Result<Vec<Day>, RepoError> {
    let catalog = state.catalog.get();
    Ok(snapshot_days(&catalog, find::repo(&catalog, repo)?, (state.clock)()))
}

/// Returns the days on which the content of `repo` changed, newest first.
fn snapshot_days(catalog: &Catalog, repo: &Repository, now: Timestamp) -> Vec<Day> {
    let mut days: Vec<Day> = Vec::new();
    for period in periods(catalog, repo, None, Snapshot::Latest, now) {
        let end = period.states_at.map_or(period.until, |states_at| states_at.min(period.until));
        let trees = period.trees.iter().filter_map(|(_, tree)| catalog.tree(*tree));
        let steps = trees.flat_map(|tree| &tree.steps).map(|step| step.at);
        days.extend(steps.filter(|at| (period.from..end).contains(at)).map(Timestamp::day));
        // The period before the first subscription begins with no change.
        if period.from > Timestamp(i64::MIN) {
            days.push(period.from.day());
        }
    }
    let today = today(catalog, now);
    days.retain(|day| *day <= today);
    days.sort_unstable_by(|a, b| b.cmp(a));
    days.dedup();
    days
}

struct PackageFacts {
    detail: PackageDetail,
    /// The digest of its README.
    readme: Option<Sha256>,
    /// The stored archive, if it may contain more details.
    stored_archive: Option<UnreadArchive>,
    /// The digest of an archive that is not in storage.
    missing_archive: Option<Sha256>,
}

fn detail(
    c: &mut dyn Conn,
    trees: &[View],
    name: &str,
    version: Option<&str>,
) -> Result<Option<PackageFacts>, DbError> {
    let Some(tree) = allowed::owner(c, trees, name)? else { return Ok(None) };
    let mut files = tree.package_detail(c, name)?;
    let decided = tree.decided(c, name)?;
    let mut releases = HashSet::new();
    files.retain(|file| releases.insert(file.release));
    let index = match version {
        Some(version) => files.iter().position(|file| file.version == version),
        None => (!files.is_empty()).then_some(0),
    };
    let Some(file) = index.map(|index| files.remove(index)) else { return Ok(None) };
    let detail_row = db::detail::get(c, file.release)?;
    let readme = detail_row.as_ref().and_then(|detail_row| detail_row.readme);
    let mut description = detail_row.map(|detail_row| detail_row.description).unwrap_or_default();
    if description.is_empty() && file.state == LifeState::Listed {
        let mut records = tree.listed_of(c, &[file.package])?;
        if records.iter().all(|record| record.release != file.release) {
            // Rules block the listed version, and no other version replaces it.
            records = View::without_rules(tree.tree()).listed_of(c, &[file.package])?;
        }
        let record = records.into_iter().find(|record| record.release == file.release);
        description = record.map(|record| record.stanza).unwrap_or_default();
    }
    let blocked = |release: Release| {
        let blocked = blocked::of_release(&decided, release.id).map(|blocked| blocked.reason);
        let warning = blocked::warning_of(&decided, release.id);
        Release { blocked, warning, ..release }
    };
    let others = files.into_iter().map(|file| blocked(release(name, file))).collect();
    let stored_archive = unread_archive(&file).filter(|_| readme.is_none());
    let archive = stored_archive_of(&file);
    let missing_archive = file.sha256.filter(|_| file.file_state != FileState::Stored);
    let release = blocked(release(name, file));
    let detail = PackageDetail {
        release,
        source: tree.source,
        origin: tree.origin(),
        tree: tree.listing().tree,
        archive,
        description,
        readme: None,
        others,
    };
    Ok(Some(PackageFacts { detail, readme, stored_archive, missing_archive }))
}

/// Returns the archive of a file, if it is in storage.
fn stored_archive_of(file: &ReleaseFile) -> Option<StoredArchive> {
    let class = file.class.as_deref().and_then(StorageClass::parse)?;
    let sha256 = file.sha256.filter(|_| file.file_state == FileState::Stored)?;
    let size = file.size.and_then(|size| u64::try_from(size).ok())?;
    Some(StoredArchive { key: Key::Package(class, sha256), size, kind: ArchiveKind::Tar })
}

/// Returns the archive of a mirrored file, if it is in storage.
fn unread_archive(file: &ReleaseFile) -> Option<UnreadArchive> {
    let class = file.class.as_deref().and_then(StorageClass::parse)?;
    match class {
        // Uploaded packages were read when they were added.
        StorageClass::Packages => None,
        class => Some(UnreadArchive {
            release: file.release,
            key: Key::Package(class, file.sha256.filter(|_| file.file_state == FileState::Stored)?),
            size: file.size.and_then(|size| u64::try_from(size).ok())?,
        }),
    }
}

fn release(name: &str, file: ReleaseFile) -> Release {
    Release {
        id: file.release,
        package: name.to_owned(),
        version: file.version,
        archived: file.state == LifeState::Archived,
        published_at: file.published_at,
        size: file.size.and_then(|size| u64::try_from(size).ok()),
        sha256: file.sha256,
        blocked: None,
        warning: None,
        description: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::change::Counts;
    use base::model::ids::{RepoId, Seq};
    use base::model::kind::{ChangePolicy, RepoKind};
    use base::model::time::DAY;
    use runtime::catalog::Subscription;
    use store::db::tx::TxKind;

    /// Lists of subscriptions: the time, the sources, and the pin.
    type Steps<'a> = &'a [(i64, &'a [i64], Option<i64>)];

    /// Returns the time and the snapshot of the change by a transaction of source 1 at a time.
    fn change(steps: Steps<'_>, at: i64) -> Option<(i64, i64)> {
        let step = |(at, sources, pin): &(i64, &[i64], Option<i64>)| RepoStep {
            seq: Seq(*at),
            at: Timestamp(*at),
            tx: TxId(*at),
            list: sources.iter().map(|id| Subscription::to(SourceId(*id))).collect(),
            pinned_at: pin.map(Timestamp),
            has_withheld: false,
        };
        let repo = Repository {
            id: RepoId(1),
            name: "prod".parse().expect("a name"),
            kind: RepoKind::R,
            description: String::new(),
            hidden: false,
            authenticated: false,
            created_at: Timestamp(0),
            changes: ChangePolicy::Any,
            steps: steps.iter().map(step).collect(),
        };
        let tx = Tx {
            id: TxId(at),
            at: Timestamp(at),
            source: Some(SourceId(1)),
            repo: None,
            kind: TxKind::Add,
            started_at: Timestamp(at),
            published_from: None,
            published_to: None,
            counts: Counts::default(),
            actor: String::new(),
            comment: String::new(),
        };
        RepositoryChange::new(tx, &repo).map(|change| (change.at.0, change.snapshot.0))
    }

    #[test]
    fn a_transaction_changes_the_repository_when_its_list_has_the_source() {
        // The first list serves earlier snapshots.
        let first: Steps<'_> = &[(DAY + 10, &[1], None)];
        assert_eq!([change(first, 5), change(first, DAY + 20)], [Some((5, 5)), Some((DAY + 20, DAY + 20))]);
        // Source 1 is subscribed later, on the first day or on another one, unsubscribed and subscribed again.
        let later: Steps<'_> = &[
            (DAY + 10, &[2], None),
            (DAY + 20, &[2, 1], None),
            (DAY + 30, &[2], None),
            (DAY + 40, &[1], None),
        ];
        assert_eq!(change(later, DAY + 15), None);
        assert_eq!(change(later, DAY + 25), Some((DAY + 25, DAY + 25)));
        assert_eq!(change(later, DAY + 35), None);
        assert_eq!(change(later, DAY + 45), Some((DAY + 45, DAY + 45)));
        let on_another_day: Steps<'_> = &[(DAY + 10, &[2], None), (3 * DAY, &[2, 1], None)];
        assert_eq!([change(on_another_day, 5), change(on_another_day, 2 * DAY)], [None, None]);
        assert_eq!(change(&[], 5), None);
    }

    #[test]
    fn a_promotion_has_the_changes_before_its_pin() {
        let steps: Steps<'_> = &[
            (10 * DAY, &[], None),
            (20 * DAY, &[1], Some(18 * DAY)),
            (30 * DAY, &[1], Some(18 * DAY)),
            (40 * DAY, &[1], Some(35 * DAY)),
            (50 * DAY, &[1], None),
        ];
        let expected = [
            (5, 20),
            (17, 20),
            // After the pin: with the next promotion that includes it.
            (19, 40),
            (32, 40),
            // After the last pin: with the first list without a pin.
            (37, 50),
            (45, 50),
            (55, 55),
        ];
        for (at, step) in expected {
            assert_eq!(change(steps, at * DAY), Some((step * DAY, step * DAY)), "{at}");
        }
        assert_eq!(change(&steps[..4], 45 * DAY), None);
    }
}
