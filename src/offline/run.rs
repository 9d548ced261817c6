//! Downloads one product: read upstream, plan, fetch, read upstream again, commit.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;

use futures_util::{Stream, StreamExt, stream};
use indicatif::{HumanBytes, HumanCount};
use tokio::task::JoinHandle;

use super::commit::{About, Commit};
use super::copied;
use super::declared::Declared;
use super::error::{Ending, OfflineError};
use super::file::{Failure, Fetched, Landing};
use super::journal::Journal;
use super::leftovers::Leftovers;
use super::mirror::Span;
use super::owed::Owed;
use super::place::{Lock, Place};
use super::plan::{self, Known, Plan, Wanted};
use super::progress::{Progress, Voice};
use super::sum::sum;
use crate::bundle::{Head, Product, Readme, Record, State, Upstream, Ver, layout, seal};
use crate::model::digest::Sha256;
use crate::model::time::{Day, Timestamp};
use crate::upstream::bundle::{Bundle, BundleError, Verified};
use crate::upstream::{Mirror, UpstreamError};

/// Number of consecutive files without a response after which the mirror counts as unavailable.
const AWAY: usize = 20;
/// Maximum number of rounds of fetching: after each but the last, upstream is read again. Changes during the last round
/// are left to the next run.
const ROUNDS: usize = 3;
/// Bytes between background syncs to disk, so that the sync before the commit is short.
const WRITTEN: u64 = 128 << 20;
/// Maximum number of failures that are reported one by one.
const TOLD: usize = 20;

/// Options of a download.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) concurrency: usize,
    pub(super) dry: bool,
    pub(super) from: Option<Day>,
    pub(super) accept_loss: bool,
    /// Names of the packages of a subset with their dependencies; `None` for all packages.
    pub(super) subset: Option<Vec<String>>,
    pub(super) now: Timestamp,
    pub(super) output: Voice,
}

/// The download of one product.
pub(super) struct Run<'a> {
    pub(super) destination: &'a Place,
    pub(super) product: Product,
    pub(super) mirror: &'a Mirror,
    /// Set if the mirror is a bundle.
    pub(super) source: Option<Bundle>,
    pub(super) own: Bundle,
    pub(super) request: &'a Wish,
}

/// The bundle at the destination before the run.
struct Before {
    head: Option<Head>,
    state: State,
}

impl Run<'_> {
    /// Runs the download. `declare` reads upstream; its argument is the day up to which history is known, and today.
    pub(super) async fn run<F, Fut>(&self, declare: F) -> Result<Ending, OfflineError>
    where
        F: Fn(Span) -> Fut,
        Fut: Future<Output = Result<Declared, OfflineError>>,
    {
        let (request, output) = (self.request, self.request.output);
        // A new product is locked only after upstream has been read, so that a missing product leaves no folder.
        let is_new = !self.destination.path(&self.product.root()).exists();
        let mut lock = if request.dry || is_new { None } else { Some(self.lock()?) };
        let verified = match self.own.head_or_difference(&self.product).await {
            Ok(verified) => Some(verified),
            Err(BundleError::Absent { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        output.say(&self.announcement(verified.as_ref()));
        let mut incomplete = Owed::read(self.destination, &self.product);
        if let Some(verified) = verified.as_ref().filter(|_| !request.dry && incomplete.is_settled())
            && self.nothing_is_new(verified).await?
        {
            output.say(&nothing_new(&self.product));
            return Ok(Ending::Complete);
        }
        let span = (verified.as_ref().map(|verified| verified.head.snapshot), request.now.day());
        let existing = async { if is_new { Ok(HashMap::new()) } else { self.objects().await } };
        let (before, mut declared, mut objects) =
            tokio::try_join!(self.before(verified), declare(span), existing)?;
        declared.warnings.iter().for_each(|warning| output.warn(warning));
        self.check(&declared, &before)?;
        if request.dry {
            tell_plan(output, &self.plan(&declared, &before.state, &State::default(), &objects)?);
            return Ok(Ending::Complete);
        }
        if lock.is_none() {
            lock = Some(self.lock()?);
            let head = self.destination.path(&self.product.head());
            if head.exists() {
                return Err(OfflineError::Refused(format!(
                    "another rspm-offline-downloader wrote {} in the meantime; run the command again",
                    head.display()
                )));
            }
            objects = self.objects().await?;
        }
        let _lock = lock;
        let mut journal = Journal::open(self.destination, &self.product)?;
        let leftovers = journal.began.map(|began| Leftovers::since(began, &before.state));
        let mut plan = self.plan(&declared, &before.state, &pending(&journal)?, &objects)?;
        plan.wanted.extend(doubted(&declared, &incomplete, &plan));
        let (mut failures, mut round) = (Vec::new(), 1);
        while !plan.wanted.is_empty() {
            // Every file of the committed inventory was requested: the next run revalidates that inventory.
            failures = self.fetch(&plan, &mut journal, &mut incomplete).await?;
            if round == ROUNDS {
                break;
            }
            // Changes of upstream during the fetch are fetched too, so that the bundle is from one moment.
            let current = declare(span).await?;
            if current.fingerprint == declared.fingerprint {
                break;
            }
            (declared, round) = (current, round + 1);
            plan = self.plan(&declared, &before.state, &pending(&journal)?, &self.objects().await?)?;
            failures.clear();
        }
        let missing = failures.iter().map(|(path, error)| (path.clone(), error.to_string()));
        let missing: BTreeMap<String, String> = missing.collect();
        // Before the head: a run killed after it must not leave a head without the note of its missing files. Those of the
        // earlier head are missing until the new one is there.
        incomplete.missing.extend(missing.clone());
        incomplete.leave(self.destination, &self.product)?;
        self.commit(before, &declared, &plan, &mut journal)?;
        if let Some(leftovers) = leftovers {
            let head = self.own.head_or_difference(&self.product).await?;
            leftovers.remove(self.destination, &self.product, &head, &journal)?;
        }
        incomplete.missing = missing;
        incomplete.leave(self.destination, &self.product)?;
        journal.remove()?;
        if failures.is_empty() {
            self.remember(declared.told)?;
        }
        Ok(self.told(&failures))
    }

    /// Locks the product and removes temporary files of killed writers.
    fn lock(&self) -> Result<Lock, OfflineError> {
        let lock = self.destination.lock(&self.product.root(), false)?;
        for folder in [layout::SEGMENTS, layout::READMES, layout::HEADS] {
            self.destination.remove_unfinished(&self.product.path(folder))?;
        }
        self.destination.remove_unfinished(&self.product.objects())?;
        Ok(lock)
    }

    async fn before(&self, verified: Option<Verified>) -> Result<Before, OfflineError> {
        let Some(verified) = verified else { return Ok(Before { head: None, state: State::default() }) };
        let state = sum(&self.own, &self.product, &verified, drop).await?;
        Ok(Before { head: Some(verified.head), state })
    }

    /// Returns the existing package files with their sizes.
    async fn objects(&self) -> Result<HashMap<String, u64>, OfflineError> {
        let (destination, objects) = (self.destination.clone(), self.product.objects());
        let work = tokio::task::spawn_blocking(move || destination.objects(&objects)).await;
        work.unwrap_or_else(|e| Err(OfflineError::Refused(e.to_string())))
    }

    fn announcement(&self, before: Option<&Verified>) -> String {
        let kind = match (before, self.request.from) {
            (None, None) => "full download".to_owned(),
            (None, Some(from)) => format!("incremental download from {from}"),
            (Some(before), _) => format!("incremental download after {}", before.head.snapshot),
        };
        match &self.product {
            Product::Cran => format!("Performing {kind} of schema version v3"),
            Product::Bioconductor(version) => {
                format!("Performing {kind} of schema version v4, Bioconductor {version}")
            }
            Product::Binaries(tag) => format!("Performing {kind} of binaries for {tag}"),
        }
    }

    fn check(&self, declared: &Declared, before: &Before) -> Result<(), OfflineError> {
        if !self.request.accept_loss && self.request.subset.is_none() {
            let guarded = plan::guard(declared, &before.state);
            guarded
                .map_err(|reason| OfflineError::Refused(format!("{}: {reason}", self.mirror.address())))?;
        }
        // With an existing head, new files are detected by comparison with it.
        if self.request.from.is_some() && !declared.dated && before.head.is_none() {
            return Err(OfflineError::Usage(format!(
                "--starting-snapshot: {} has no publication times for files of {} (there is no Meta/current.rds); omit the \
                 flag, use a directory with the metadata of the last run, or give another mirror with --base-url",
                self.mirror.address(),
                self.product
            )));
        }
        Ok(())
    }

    fn plan(
        &self,
        declared: &Declared,
        state: &State,
        pending: &State,
        objects: &HashMap<String, u64>,
    ) -> Result<Plan, OfflineError> {
        let known = Known { state, pending, objects, from: self.request.from };
        let plan = plan::plan(declared, &known, self.request.now.day());
        let (size, free) = (plan.size(), self.destination.free());
        match free.filter(|free| !self.request.dry && *free < size) {
            None => Ok(plan),
            Some(free) => Err(OfflineError::Refused(format!(
                "{} has {} of free space, but {} must be fetched: free space there or choose another --destination; \
                 existing files are kept",
                self.destination.root().display(),
                HumanBytes(free),
                HumanBytes(size)
            ))),
        }
    }

    /// Fetches all planned files; returns the failures.
    async fn fetch(
        &self,
        plan: &Plan,
        journal: &mut Journal,
        incomplete: &mut Owed,
    ) -> Result<Vec<(String, UpstreamError)>, OfflineError> {
        let progress = Progress::new(self.request.output, plan.wanted.len() as u64, plan.size());
        let readmes = match &self.source {
            Some(source) if !plan.wanted.is_empty() => copied::readmes(source, &self.product).await?,
            _ => HashMap::new(),
        };
        let target = &Landing::new(self.destination, &self.product);
        let mut fetches = self.fetches(target, plan);
        let (mut failures, mut unavailable) = (Vec::new(), 0_usize);
        let (mut unsynced, mut syncing) = (0, None);
        while let Some((wanted, fetched)) = fetches.next().await {
            match fetched {
                Ok(fetched) => {
                    unavailable = 0;
                    progress.file(fetched.object.size);
                    unsynced += fetched.object.size;
                    if unsynced >= WRITTEN && syncing.as_ref().is_none_or(JoinHandle::is_finished) {
                        unsynced = 0;
                        let destination = self.destination.clone();
                        let next = tokio::task::spawn_blocking(move || destination.sync());
                        written(syncing.replace(next)).await?;
                    }
                    self.note(wanted, fetched, &readmes, journal, incomplete)?;
                }
                Err(Failure::Place(error, path)) => return Err(OfflineError::place("write", &path, error)),
                Err(Failure::Mirror(error)) => {
                    unavailable =
                        if matches!(error, UpstreamError::Unavailable { .. }) { unavailable + 1 } else { 0 };
                    if unavailable == AWAY {
                        progress.end();
                        return Err(OfflineError::Refused(format!(
                            "the mirror no longer responds ({error}); fetched files are kept: run the command again \
                             to resume"
                        )));
                    }
                    match wanted.row.path() {
                        // The existing file is kept.
                        path if incomplete.doubts(path) => self.request.output.warn(&error.to_string()),
                        path => failures.push((path.to_owned(), error)),
                    }
                }
            }
        }
        written(syncing).await?;
        progress.end();
        Ok(failures)
    }

    /// Returns a stream of the fetched files of a plan, with limited concurrency.
    fn fetches<'a>(
        &'a self,
        target: &'a Landing<'a>,
        plan: &'a Plan,
    ) -> impl Stream<Item = (&'a Wanted, Result<Fetched, Failure>)> + Send + Unpin {
        let fetch = move |wanted| async move { (wanted, target.fetch(self.mirror, wanted).await) };
        stream::iter(&plan.wanted).map(fetch).buffer_unordered(self.request.concurrency)
    }

    fn note(
        &self,
        wanted: &Wanted,
        fetched: Fetched,
        readmes: &HashMap<Sha256, String>,
        journal: &mut Journal,
        incomplete: &mut Owed,
    ) -> Result<(), OfflineError> {
        if wanted.again.is_some() {
            return Ok(());
        }
        let (row, Fetched { object, contents, .. }) = (&wanted.row, fetched);
        if let Some(trouble) = &contents.trouble {
            let name = row.path();
            let then = if row.is_vouched_for() || incomplete.doubts(name) {
                ""
            } else {
                "; the next run fetches it again"
            };
            self.request.output.warn(&format!(
                "{name} is kept as it is, although it cannot be read as a package: {trouble}{then}"
            ));
        }
        if !row.is_vouched_for() && !incomplete.came(row.path(), object.sha256, contents.trouble.is_none()) {
            return Ok(());
        }
        if contents.trouble.is_some() {
            // Before the journal names the file: a killed run must not leave it without the entry to fetch it again.
            incomplete.leave(self.destination, &self.product)?;
        }
        let ver = match &row.told {
            Some(ver) => Ver { index: row.index.clone(), ..(**ver).clone() },
            None => Ver {
                folder: row.folder.clone(),
                name: row.name.clone(),
                version: row.version.clone(),
                day: row.published.unwrap_or(self.request.now).day(),
                published: row.published,
                archived: !row.listed && row.published.is_none(),
                obj: object,
                index: row.index.clone(),
                desc: contents.fields,
                compiled: contents.compiled,
                readme: contents
                    .readme
                    .as_ref()
                    .map(|(name, text)| Readme { name: name.clone(), sha256: seal::digest(text.as_bytes()) }),
            },
        };
        let copied = ver.readme.as_ref().and_then(|readme| readmes.get(&readme.sha256)).map(String::as_str);
        let readme = contents.readme.as_ref().map(|(_, text)| text.as_str()).or(copied);
        journal.note(Ver { readme: ver.readme.filter(|_| readme.is_some()), ..ver }, readme)
    }

    fn commit(
        &self,
        before: Before,
        declared: &Declared,
        plan: &Plan,
        journal: &mut Journal,
    ) -> Result<(), OfflineError> {
        let about = About {
            subset: self.request.subset.clone(),
            from: self.request.from,
            upstream: Upstream { address: self.mirror.address(), serial: declared.serial },
            now: self.request.now,
        };
        let commit = Commit {
            destination: self.destination,
            product: &self.product,
            before: before.head.as_ref(),
            about,
        };
        let message = match commit.write(before.state, declared, plan, journal)? {
            None => nothing_new(&self.product),
            Some(written) => {
                let packages = HumanCount(written.packages as u64);
                format!("{}: snapshot {}, {packages} packages", self.product, written.snapshot)
            }
        };
        self.request.output.say(&message);
        Ok(())
    }

    /// Reports the failures.
    fn told(&self, failures: &[(String, UpstreamError)]) -> Ending {
        let output = self.request.output;
        if failures.is_empty() {
            return Ending::Complete;
        }
        failures.iter().take(TOLD).for_each(|(_, failure)| output.warn(&failure.to_string()));
        if failures.len() > TOLD {
            output.warn(&format!("and {} more files", failures.len() - TOLD));
        }
        output.warn(&format!(
            "{} files could not be fetched from {}; the versions listed before stay listed. Run the command again later, \
             or with another mirror (--base-url)",
            failures.len(),
            self.mirror.address()
        ));
        Ending::Incomplete
    }
}

/// Returns unreadable files of an earlier run to fetch once more, unless they are in the plan.
fn doubted(declared: &Declared, incomplete: &Owed, plan: &Plan) -> Vec<Wanted> {
    if !incomplete.has_doubts() {
        return Vec::new();
    }
    let rows = declared.rows.iter().filter(|row| incomplete.doubts(row.path()) && !row.is_vouched_for());
    let again = rows.filter(|row| plan.wanted.iter().all(|wanted| wanted.row.path() != row.path()));
    again.map(|row| Wanted { row: row.clone(), again: None }).collect()
}

/// Awaits the background sync; its error is reported only once, so it must not be dropped.
async fn written(syncing: Option<JoinHandle<Result<(), OfflineError>>>) -> Result<(), OfflineError> {
    match syncing {
        None => Ok(()),
        Some(syncing) => syncing.await.unwrap_or_else(|e| Err(OfflineError::Refused(e.to_string()))),
    }
}

fn nothing_new(product: &Product) -> String {
    format!("{product}: nothing is new")
}

fn tell_plan(output: Voice, plan: &Plan) {
    output.say(&format!(
        "{} files, {}, would be fetched; {} already exist",
        HumanCount(plan.wanted.len() as u64),
        HumanBytes(plan.size()),
        HumanCount(plan.kept as u64)
    ));
}

/// Returns the entries of the journal as a state to compare with.
fn pending(journal: &Journal) -> Result<State, OfflineError> {
    let mut state = State::default();
    for (ver, _) in &journal.vers {
        let applied = state.apply(&Record::Ver(Box::new(ver.clone())));
        applied.map_err(OfflineError::Refused)?;
    }
    Ok(state)
}
