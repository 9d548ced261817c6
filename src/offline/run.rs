//! Downloads one product: read upstream, plan, fetch, read upstream again, commit.

use std::collections::HashMap;
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
    pub(super) voice: Voice,
}

/// The download of one product.
pub(super) struct Run<'a> {
    pub(super) place: &'a Place,
    pub(super) product: Product,
    pub(super) mirror: &'a Mirror,
    /// Set if the mirror is a bundle.
    pub(super) source: Option<Bundle>,
    pub(super) own: Bundle,
    pub(super) wish: &'a Wish,
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
        let (wish, voice) = (self.wish, self.wish.voice);
        // A new product is locked only after upstream has been read, so that a missing product leaves no folder.
        let is_new = !self.place.path(&self.product.root()).exists();
        let mut lock = if wish.dry || is_new { None } else { Some(self.lock()?) };
        let verified = match self.own.head_or_difference(&self.product).await {
            Ok(verified) => Some(verified),
            Err(BundleError::Absent { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        voice.say(&self.announcement(verified.as_ref()));
        let mut owed = Owed::read(self.place, &self.product);
        if let Some(verified) = verified.as_ref().filter(|_| !wish.dry && owed.is_settled())
            && self.nothing_is_new(verified).await?
        {
            voice.say(&nothing_new(&self.product));
            return Ok(Ending::Complete);
        }
        let span = (verified.as_ref().map(|verified| verified.head.snapshot), wish.now.day());
        let there = async { if is_new { Ok(HashMap::new()) } else { self.objects().await } };
        let (before, mut declared, mut objects) =
            tokio::try_join!(self.before(verified), declare(span), there)?;
        declared.warnings.iter().for_each(|warning| voice.warn(warning));
        self.check(&declared, &before)?;
        if wish.dry {
            tell_plan(voice, &self.plan(&declared, &before.state, &State::default(), &objects)?);
            return Ok(Ending::Complete);
        }
        if lock.is_none() {
            lock = Some(self.lock()?);
            let head = self.place.path(&self.product.head());
            if head.exists() {
                return Err(OfflineError::Refused(format!(
                    "another rspm-offline-downloader wrote {} in the meantime; run the command again",
                    head.display()
                )));
            }
            objects = self.objects().await?;
        }
        let _lock = lock;
        let mut journal = Journal::open(self.place, &self.product)?;
        let leftovers = journal.began.map(|began| Leftovers::since(began, &before.state));
        let mut plan = self.plan(&declared, &before.state, &pending(&journal)?, &objects)?;
        plan.wanted.extend(doubted(&declared, &owed, &plan));
        let (mut failures, mut round) = (Vec::new(), 1);
        while !plan.wanted.is_empty() {
            // Every file of the committed inventory was requested: the next run revalidates that inventory.
            failures = self.fetch(&plan, &mut journal, &mut owed).await?;
            if round == ROUNDS {
                break;
            }
            // Changes of upstream during the fetch are fetched too, so that the bundle is from one moment.
            let later = declare(span).await?;
            if later.fingerprint == declared.fingerprint {
                break;
            }
            (declared, round) = (later, round + 1);
            plan = self.plan(&declared, &before.state, &pending(&journal)?, &self.objects().await?)?;
            failures.clear();
        }
        self.commit(before, &declared, &plan, &mut journal)?;
        if let Some(leftovers) = leftovers {
            let head = self.own.head_or_difference(&self.product).await?;
            leftovers.remove(self.place, &self.product, &head, &journal)?;
        }
        owed.missing = failures.iter().map(|(path, error)| (path.clone(), error.to_string())).collect();
        owed.leave(self.place, &self.product)?;
        journal.remove()?;
        if failures.is_empty() {
            self.remember(declared.told)?;
        }
        Ok(self.told(&failures))
    }

    /// Locks the product and removes temporary files of killed writers.
    fn lock(&self) -> Result<Lock, OfflineError> {
        let lock = self.place.lock(&self.product.root(), false)?;
        for folder in [layout::SEGMENTS, layout::READMES, layout::HEADS] {
            self.place.remove_unfinished(&self.product.path(folder))?;
        }
        self.place.remove_unfinished(&self.product.objects())?;
        Ok(lock)
    }

    async fn before(&self, verified: Option<Verified>) -> Result<Before, OfflineError> {
        let Some(verified) = verified else { return Ok(Before { head: None, state: State::default() }) };
        let state = sum(&self.own, &self.product, &verified, drop).await?;
        Ok(Before { head: Some(verified.head), state })
    }

    /// Returns the existing package files with their sizes.
    async fn objects(&self) -> Result<HashMap<String, u64>, OfflineError> {
        let (place, objects) = (self.place.clone(), self.product.objects());
        let work = tokio::task::spawn_blocking(move || place.objects(&objects)).await;
        work.unwrap_or_else(|e| Err(OfflineError::Refused(e.to_string())))
    }

    fn announcement(&self, before: Option<&Verified>) -> String {
        let kind = match (before, self.wish.from) {
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
        if !self.wish.accept_loss && self.wish.subset.is_none() {
            let guarded = plan::guard(declared, &before.state);
            guarded
                .map_err(|reason| OfflineError::Refused(format!("{}: {reason}", self.mirror.address())))?;
        }
        // With an existing head, new files are detected by comparison with it.
        if self.wish.from.is_some() && !declared.dated && before.head.is_none() {
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
        let known = Known { state, pending, objects, from: self.wish.from };
        let plan = plan::plan(declared, &known, self.wish.now.day());
        let (size, free) = (plan.size(), self.place.free());
        match free.filter(|free| !self.wish.dry && *free < size) {
            None => Ok(plan),
            Some(free) => Err(OfflineError::Refused(format!(
                "{} has {} of free space, but {} must be fetched: free space there or choose another --destination; \
                 existing files are kept",
                self.place.root().display(),
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
        owed: &mut Owed,
    ) -> Result<Vec<(String, UpstreamError)>, OfflineError> {
        let progress = Progress::new(self.wish.voice, plan.wanted.len() as u64, plan.size());
        let readmes = match &self.source {
            Some(source) if !plan.wanted.is_empty() => copied::readmes(source, &self.product).await?,
            _ => HashMap::new(),
        };
        let landing = &Landing::new(self.place, &self.product);
        let mut fetches = self.fetches(landing, plan);
        let (mut failures, mut away) = (Vec::new(), 0_usize);
        let (mut fresh, mut writing) = (0, None);
        while let Some((wanted, fetched)) = fetches.next().await {
            match fetched {
                Ok(fetched) => {
                    away = 0;
                    progress.file(fetched.object.size);
                    fresh += fetched.object.size;
                    if fresh >= WRITTEN && writing.as_ref().is_none_or(JoinHandle::is_finished) {
                        fresh = 0;
                        let place = self.place.clone();
                        let next = tokio::task::spawn_blocking(move || place.sync());
                        written(writing.replace(next)).await?;
                    }
                    self.note(wanted, fetched, &readmes, journal, owed)?;
                }
                Err(Failure::Place(error, path)) => return Err(OfflineError::place("write", &path, error)),
                Err(Failure::Mirror(error)) => {
                    away = if matches!(error, UpstreamError::Unavailable { .. }) { away + 1 } else { 0 };
                    if away == AWAY {
                        progress.end();
                        return Err(OfflineError::Refused(format!(
                            "the mirror no longer responds ({error}); fetched files are kept: run the command again \
                             to resume"
                        )));
                    }
                    match wanted.row.path() {
                        // The existing file is kept.
                        path if owed.doubts(path) => self.wish.voice.warn(&error.to_string()),
                        path => failures.push((path.to_owned(), error)),
                    }
                }
            }
        }
        written(writing).await?;
        progress.end();
        Ok(failures)
    }

    /// Returns a stream of the fetched files of a plan, with limited concurrency.
    fn fetches<'a>(
        &'a self,
        landing: &'a Landing<'a>,
        plan: &'a Plan,
    ) -> impl Stream<Item = (&'a Wanted, Result<Fetched, Failure>)> + Send + Unpin {
        let fetch = move |wanted| async move { (wanted, landing.fetch(self.mirror, wanted).await) };
        stream::iter(&plan.wanted).map(fetch).buffer_unordered(self.wish.concurrency)
    }

    fn note(
        &self,
        wanted: &Wanted,
        fetched: Fetched,
        readmes: &HashMap<Sha256, String>,
        journal: &mut Journal,
        owed: &mut Owed,
    ) -> Result<(), OfflineError> {
        if wanted.again.is_some() {
            return Ok(());
        }
        let (row, Fetched { object, contents, .. }) = (&wanted.row, fetched);
        if let Some(trouble) = &contents.trouble {
            let name = row.path();
            let then = if row.is_vouched_for() || owed.doubts(name) {
                ""
            } else {
                "; the next run fetches it again"
            };
            self.wish.voice.warn(&format!(
                "{name} is kept as it is, although it cannot be read as a package: {trouble}{then}"
            ));
        }
        if !row.is_vouched_for() && !owed.came(row.path(), object.sha256, contents.trouble.is_none()) {
            return Ok(());
        }
        let ver = match &row.told {
            Some(told) => Ver { index: row.index.clone(), ..(**told).clone() },
            None => Ver {
                folder: row.folder.clone(),
                name: row.name.clone(),
                version: row.version.clone(),
                day: row.published.unwrap_or(self.wish.now).day(),
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
            subset: self.wish.subset.clone(),
            from: self.wish.from,
            upstream: Upstream { address: self.mirror.address(), serial: declared.serial },
            now: self.wish.now,
        };
        let commit =
            Commit { place: self.place, product: &self.product, before: before.head.as_ref(), about };
        let told = match commit.write(before.state, declared, plan, journal)? {
            None => nothing_new(&self.product),
            Some(written) => {
                let packages = HumanCount(written.packages as u64);
                format!("{}: snapshot {}, {packages} packages", self.product, written.snapshot)
            }
        };
        self.wish.voice.say(&told);
        Ok(())
    }

    /// Reports the failures.
    fn told(&self, failures: &[(String, UpstreamError)]) -> Ending {
        let voice = self.wish.voice;
        if failures.is_empty() {
            return Ending::Complete;
        }
        failures.iter().take(TOLD).for_each(|(_, failure)| voice.warn(&failure.to_string()));
        if failures.len() > TOLD {
            voice.warn(&format!("and {} more files", failures.len() - TOLD));
        }
        voice.warn(&format!(
            "{} files could not be fetched from {}; the versions listed before stay listed. Run the command again later, \
             or with another mirror (--base-url)",
            failures.len(),
            self.mirror.address()
        ));
        Ending::Incomplete
    }
}

/// Returns unreadable files of an earlier run to fetch once more, unless they are in the plan.
fn doubted(declared: &Declared, owed: &Owed, plan: &Plan) -> Vec<Wanted> {
    if !owed.has_doubts() {
        return Vec::new();
    }
    let rows = declared.rows.iter().filter(|row| owed.doubts(row.path()) && !row.is_vouched_for());
    let again = rows.filter(|row| plan.wanted.iter().all(|wanted| wanted.row.path() != row.path()));
    again.map(|row| Wanted { row: row.clone(), again: None }).collect()
}

/// Awaits the background sync; its error is reported only once, so it must not be dropped.
async fn written(writing: Option<JoinHandle<Result<(), OfflineError>>>) -> Result<(), OfflineError> {
    match writing {
        None => Ok(()),
        Some(writing) => writing.await.unwrap_or_else(|e| Err(OfflineError::Refused(e.to_string()))),
    }
}

fn nothing_new(product: &Product) -> String {
    format!("{product}: nothing is new")
}

fn tell_plan(voice: Voice, plan: &Plan) {
    voice.say(&format!(
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
