//! Syncs Bioconductor: reads the versions that `config.yaml` declares, then syncs each version. A version is published
//! as a whole or not at all; a failed one does not affect the others.
//!
//! The declarations of `config.yaml` are stored in a row that the catalog reads. Each repository of a version is a
//! separate mirror to `fetch` and a tree to `plan`. The trees share releases: equal bytes are one release.

use std::sync::Arc;
use std::time::Duration;

use super::fetch::{MirrorReply, request};
use super::index_files::Coverage;
use super::plan::Plan;
use super::run::{ListCheck, PackageList, PlannedList, SyncContext, ValidatorUpdates};
use super::task::{SourceLock, SyncTrigger, Task};
use super::{SyncError, skew};
use ::upstream::{Mirror, Upstream};
use base::model::change::Counts;
use base::model::ids::{Seq, SourceId, TreeId, TxId};
use base::model::text::count_of;
use base::model::time::Timestamp;
use formats::r::bioconductor::config::Config;
use formats::r::bioconductor::{BioconductorVersion, Component, Part, VersionName, part_url};
use runtime::jobs::Reporter;
use runtime::jobs::lease::Lease;
use runtime::publish::edit::apply_edit;
use runtime::publish::transaction::{Rows, abandon};
use runtime::state::State;
use store::db::tree::{Axis, Role};
use store::db::upstream::{self, StoredValidators};
use store::db::{Conn, DbError, clock, life, tree};

const CONFIG: &str = "config.yaml";
const SOURCE: SourceId = SourceId::BIOCONDUCTOR;

/// Time after its last update during which a version may still change.
const CHANGE_PERIOD: Duration = Duration::from_secs(30 * 86_400);

/// Returns the key of a part's list of packages in the table of validators.
pub(super) fn key(part: Part) -> String {
    format!("{}:{part}", Task::Bioconductor.success_key())
}

enum VersionOutcome {
    /// The mirror does not have the version.
    Absent,
    Unchanged,
    Published(TxId, Counts),
}

/// Syncs one version, or every version that the mirror has. Returns a message about the result.
pub(super) async fn run(
    state: &Arc<State>,
    trigger: &SyncTrigger,
    version: Option<VersionName>,
    source_lock: &SourceLock,
    report: &Reporter,
) -> Result<String, SyncError> {
    // One configuration for the whole run: a reload takes effect with the next run.
    let (settings, upstream) = (state.config.load_full(), state.upstream.load_full());
    let url = &settings.bioconductor.url;
    let root = upstream.mirror(url)?;
    skew::check_clock(state, &root, CONFIG).await?;
    let (address, started_at) = (root.address(), (state.clock)());
    let config = tokio::select! {
        config = fetch_config(state, &root, report) => config?,
        () = report.wait_halted() => return Err(SyncError::Halted),
    };
    let requested_version = version.map(|name| config.version(name));
    let mut summary = RunSummary::new(address.clone());
    for version in versions_to_sync(&config, requested_version, &address)? {
        if *trigger == SyncTrigger::Schedule && is_final(state, &config, &address, version).await? {
            summary.unchanged_count += 1;
            continue;
        }
        let result = {
            // One version at a time: versions share releases.
            let _guard = source_lock.lock().await;
            let lease = Lease::claim(&state.db, state.node, "sync:bioconductor").await?;
            let context =
                SyncContext { state, config: &settings, upstream: &upstream, trigger, report, lease: &lease };
            let result = VersionSync { context: &context, url, version }.sync().await;
            lease.release().await;
            result
        };
        summary.record(version, result)?;
    }
    let message = summary.message(requested_version)?;
    let row = StoredValidators::success(address, started_at);
    state.db.write(move |c| upstream::put(c, &Task::Bioconductor.success_key(), &row)).await?;
    Ok(message)
}

/// Returns whether a version was read from this mirror long after its last update: it will not change.
async fn is_final(
    state: &State,
    config: &Config,
    address: &str,
    version: BioconductorVersion,
) -> Result<bool, SyncError> {
    let Some(last_update) = config.last_update(version) else { return Ok(false) };
    let software = Part::single(version, Component::Software);
    let row = state.db.read(move |c| upstream::get(c, &key(software))).await?;
    let part_address = part_url(address, software);
    let final_at = last_update.end() + CHANGE_PERIOD;
    Ok(row
        .is_some_and(|row| row.mirror_address() == Some(part_address.as_str()) && row.fetched_at >= final_at))
}

/// Reads `config.yaml` and stores it if it changed.
async fn fetch_config(state: &Arc<State>, mirror: &Mirror, report: &Reporter) -> Result<Config, SyncError> {
    report.progress("reading config.yaml", 0, None);
    let refusal = |reason: &dyn std::fmt::Display| {
        SyncError::Refused(format!(
            "{}/{CONFIG} {reason}; Bioconductor.URL must be the root of a Bioconductor mirror, which has \
             {CONFIG} and packages/",
            mirror.address()
        ))
    };
    let bytes = match request(mirror, CONFIG, None, &state.clock).await? {
        MirrorReply::Missing => return Err(refusal(&"is not there")),
        MirrorReply::Unchanged(_) => return Err(refusal(&"was answered with an unexpected 'not modified'")),
        MirrorReply::Body(bytes, _) => bytes,
    };
    let config = Config::parse(&bytes).map_err(|error| refusal(&error))?;
    if state.catalog.get().bioconductor.as_deref() != Some(&config) {
        let text = config.render();
        let set_config = move |c: &mut dyn Conn| {
            upstream::set_bioconductor_config(c, &text)?;
            clock::bump_catalog(c, clock::Change::Bioconductor)
        };
        apply_edit(state, set_config).await?;
    }
    Ok(config)
}

/// Returns the versions to sync, newest first.
fn versions_to_sync(
    config: &Config,
    version: Option<BioconductorVersion>,
    address: &str,
) -> Result<Vec<BioconductorVersion>, SyncError> {
    let versions: Vec<BioconductorVersion> = config.newest_first().map(|row| row.version).collect();
    match version {
        None => Ok(versions),
        Some(version) if versions.contains(&version) => Ok(vec![version]),
        Some(version) => {
            let names: Vec<String> = versions.iter().map(ToString::to_string).collect();
            Err(SyncError::Refused(format!(
                "there is no Bioconductor {version}: {address}/{CONFIG} names {}",
                names.join(", ")
            )))
        }
    }
}

/// The lists of packages of a version, each with the result of reading its index files.
struct VersionLists(Vec<(PackageList, ListCheck)>);

struct VersionSync<'a> {
    context: &'a SyncContext<'a>,
    url: &'a str,
    version: BioconductorVersion,
}

impl VersionSync<'_> {
    async fn sync(&self) -> Result<VersionOutcome, SyncError> {
        let started_at = (self.context.state.clock)();
        self.recover().await?;
        match self.read_lists(started_at).await? {
            Some(lists) => self.publish(lists, started_at).await,
            None => Ok(VersionOutcome::Absent),
        }
    }

    /// Reads the lists of packages of the version; `None` if the mirror does not have it.
    async fn read_lists(&self, started_at: Timestamp) -> Result<Option<VersionLists>, SyncError> {
        let mut lists = Vec::new();
        for component in Component::ALL.into_iter().filter(|component| component.is_in(self.version)) {
            let part = Part::single(self.version, component);
            self.context.report.progress(format!("reading Bioconductor {part}"), 0, None);
            let list = self.list(part).await?;
            let check = self.context.revalidate(&list, started_at).await?;
            if component == Component::Software && matches!(check, ListCheck::Absent) {
                // A version that was on the mirror before is incomplete or was removed.
                return match self.head(list.tree).await? {
                    Some(_) => Err(vanished_index(&list)),
                    None => Ok(None),
                };
            }
            lists.push((list, check));
        }
        Ok(Some(VersionLists(lists)))
    }

    /// Publishes the changes of the version as one transaction, or leaves the version unchanged.
    async fn publish(&self, lists: VersionLists, started_at: Timestamp) -> Result<VersionOutcome, SyncError> {
        // Everything was read, and nothing is written yet.
        let mut transaction = self.context.transaction(SOURCE, started_at);
        transaction.publish.comment = format!("Bioconductor {}", self.version);
        let mut updates = ValidatorUpdates::new();
        let result = async {
            for (list, check) in lists.0 {
                match check {
                    ListCheck::Absent => {
                        if let Some(step) = self.plan_absent(&list, started_at).await? {
                            updates.extend(step.validators);
                            transaction.write(list.tree, step.plan).await?;
                        }
                    }
                    ListCheck::Unchanged(validators) => updates.extend(validators),
                    ListCheck::Changed(files) => {
                        let step = self.context.plan(&list, *files, started_at).await?;
                        let must_publish = step.must_publish();
                        updates.extend(step.validators);
                        if must_publish {
                            transaction.write(list.tree, step.plan).await?;
                        }
                    }
                }
            }
            Ok(())
        };
        let result: Result<(), SyncError> = result.await;
        if let Err(error) = result {
            transaction.inner.roll_back().await;
            return Err(error);
        }
        if transaction.inner.is_empty() {
            self.context.store_validators(updates).await?;
            return Ok(VersionOutcome::Unchanged);
        }
        let (tx, counts) = transaction.publish(updates, (self.context.state.clock)()).await?;
        Ok(VersionOutcome::Published(tx, counts))
    }

    /// Removes the pending rows of a sync that was killed.
    async fn recover(&self) -> Result<(), SyncError> {
        let db = &self.context.state.db;
        let trees = db.read(pending_trees).await?;
        Ok(abandon(db, self.context.lease, Rows::Releases(SOURCE), &trees).await?)
    }

    /// Returns the list of packages of a part; the first sync creates its tree.
    async fn list(&self, part: Part) -> Result<PackageList, SyncError> {
        let SyncContext { state, lease, .. } = self.context;
        let label = part.to_string();
        let trees = state.db.read(|c| tree::of_source(c, SOURCE)).await?;
        let tree = match trees.iter().find(|tree| tree.role == Role::Source && tree.label == label) {
            Some(tree) => tree.id,
            None => {
                let create =
                    move |c: &mut dyn Conn| tree::create(c, SOURCE, &label, Role::Source, Axis::Step);
                lease.write(&state.db, create).await?
            }
        };
        Ok(PackageList {
            source: SOURCE,
            tree,
            key: key(part),
            name: format!("bioconductor {part}"),
            command: command(part.version),
            mirror: mirror(self.context.upstream, self.url, part)?,
            delay: std::time::Duration::ZERO,
            coverage: Coverage::Part,
            policy: None,
        })
    }

    /// Returns an empty step for a component that the mirror does not have, so that all lists of a version begin with
    /// the same step. Returns `None` if the list was published before, and an error if it has packages.
    async fn plan_absent(
        &self,
        list: &PackageList,
        started_at: Timestamp,
    ) -> Result<Option<PlannedList>, SyncError> {
        let Some(head) = self.head(list.tree).await? else {
            let updates = vec![list.success_row(started_at)];
            return Ok(Some(PlannedList { plan: Plan::default(), validators: updates, is_new: true }));
        };
        let tree = list.tree;
        let has_packages =
            self.context.state.db.read(move |c| Ok(!life::names(c, tree, head)?.is_empty())).await?;
        if has_packages { Err(vanished_index(list)) } else { Ok(None) }
    }

    /// Returns the newest published step of a tree.
    async fn head(&self, id: TreeId) -> Result<Option<Seq>, SyncError> {
        Ok(self.context.state.db.read(move |c| tree::get(c, id)).await?.and_then(|tree| tree.head))
    }
}

/// Returns the trees of Bioconductor with pending rows.
pub(super) fn pending_trees(c: &mut dyn Conn) -> Result<Vec<TreeId>, DbError> {
    let trees = tree::of_source(c, SOURCE)?;
    Ok(trees.into_iter().filter(|tree| tree.pending.is_some()).map(|tree| tree.id).collect())
}

fn vanished_index(list: &PackageList) -> SyncError {
    let address = list.mirror.address();
    SyncError::Refused(if list.mirror.is_bundle() {
        format!(
            "{address} is not in the bundle any more, although it was: copy the whole bundle again, and list missing \
             files with rspm-offline-downloader validate bioconductor"
        )
    } else {
        format!(
            "{address} has no index any more, although it had one: looked for src/contrib/PACKAGES.gz, PACKAGES.rds \
             and PACKAGES"
        )
    })
}

/// Returns the mirror whose `src/contrib` contains a part of Bioconductor.
fn mirror(upstream: &Upstream, url: &str, part: Part) -> Result<Mirror, SyncError> {
    Ok(upstream.mirror_part(url, &part_url(url, part))?)
}

fn command(version: BioconductorVersion) -> String {
    format!("rspm sync --type=bioconductor --version={version}")
}

/// Collects the results of a run for its message.
struct RunSummary {
    address: String,
    /// A message for each version that was published.
    published: Vec<String>,
    unchanged_count: usize,
    absent_versions: Vec<BioconductorVersion>,
    /// A message for each version that could not be synced.
    failures: Vec<String>,
}

impl RunSummary {
    fn new(address: String) -> RunSummary {
        RunSummary {
            address,
            published: Vec::new(),
            unchanged_count: 0,
            absent_versions: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Records the result for a version; an error that concerns all versions ends the run.
    fn record(
        &mut self,
        version: BioconductorVersion,
        result: Result<VersionOutcome, SyncError>,
    ) -> Result<(), SyncError> {
        match result {
            Ok(VersionOutcome::Absent) => self.absent_versions.push(version),
            Ok(VersionOutcome::Unchanged) => self.unchanged_count += 1,
            Ok(VersionOutcome::Published(tx, counts)) => self.published.push(format!(
                "Bioconductor {version} was synced (transaction {tx}): {} added, {} updated, {} removed",
                count_of(counts.added, "package", "packages"),
                counts.updated,
                counts.removed
            )),
            Err(error @ (SyncError::Upstream(_) | SyncError::Refused(_))) => {
                tracing::error!(target: "sync", source = "bioconductor", %version, %error, "could not sync the version; it is unchanged");
                self.failures.push(format!(
                    "Bioconductor {version} is unchanged: {error}; once {} is repaired, run: {}",
                    self.address,
                    command(version)
                ));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Returns a line for each changed version, and one for the others.
    fn message(mut self, requested_version: Option<BioconductorVersion>) -> Result<String, SyncError> {
        let address = &self.address;
        if let (Some(version), false) = (requested_version, self.absent_versions.is_empty()) {
            self.failures.push(format!(
                "Bioconductor {version} is in the config.yaml of {address}, which has no \
                 packages/{version}/bioc/src/contrib/PACKAGES; use another mirror or another version"
            ));
        }
        let has_no_result = self.published.is_empty() && self.unchanged_count == 0;
        if requested_version.is_none() && has_no_result && self.failures.is_empty() {
            self.failures.push(format!(
                "{address} has none of the versions that its config.yaml names: looked for \
                 packages/{{version}}/bioc/src/contrib/PACKAGES"
            ));
        }
        if !self.failures.is_empty() {
            self.failures.append(&mut self.published);
            return Err(SyncError::Refused(self.failures.join("\n")));
        }
        let mut lines = self.published;
        match (lines.is_empty(), self.unchanged_count, requested_version) {
            (true, _, Some(version)) => {
                lines.push(format!("Bioconductor {version} is up to date; nothing changed"));
            }
            (true, count, None) => {
                let (singular, plural) =
                    ("version of Bioconductor is up to date", "versions of Bioconductor are up to date");
                lines.push(format!("{}; nothing changed", count_of(count, singular, plural)));
            }
            (false, 0, _) => {}
            (false, count, _) => {
                lines.push(count_of(count, "version is up to date", "versions are up to date"))
            }
        }
        if !self.absent_versions.is_empty() {
            let absent: Vec<String> = self.absent_versions.iter().map(ToString::to_string).collect();
            lines.push(format!("not on this mirror: {}", absent.join(", ")));
        }
        Ok(lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(unchanged: usize, synced: &[&str]) -> String {
        let mut summary = RunSummary::new("https://bioconductor.example.org".to_owned());
        summary.unchanged_count = unchanged;
        summary.published = synced.iter().map(ToString::to_string).collect();
        summary.message(None).expect("no failure")
    }

    #[test]
    fn the_message_agrees_with_the_number_of_versions() {
        assert_eq!(summary(1, &[]), "1 version of Bioconductor is up to date; nothing changed");
        assert_eq!(summary(2, &[]), "2 versions of Bioconductor are up to date; nothing changed");
        assert_eq!(summary(1, &["3.20 was synced"]), "3.20 was synced\n1 version is up to date");
        assert_eq!(summary(3, &["3.20 was synced"]), "3.20 was synced\n3 versions are up to date");
    }
}
