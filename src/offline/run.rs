//! One product from what upstream declares to a head that names it: look, plan, fetch, look again, commit.

use std::collections::HashMap;
use std::future::Future;

use futures_util::{StreamExt, stream};
use indicatif::{HumanBytes, HumanCount};

use super::commit::{About, Commit};
use super::copied;
use super::declared::Declared;
use super::error::{Ending, OfflineError};
use super::file::{Failure, Fetched, Landing};
use super::journal::Journal;
use super::mirror::Span;
use super::place::Place;
use super::plan::{self, Known, Plan, Wanted};
use super::progress::{Progress, Voice};
use crate::bundle::{Head, Product, Readme, Record, State, Upstream, Ver, seal};
use crate::model::digest::Sha256;
use crate::model::time::{Day, Timestamp};
use crate::upstream::bundle::{Bundle, BundleError};
use crate::upstream::{Mirror, UpstreamError};

/// So many files in a row that the mirror does not give: it does not answer any more.
const AWAY: usize = 20;
/// How often upstream is looked at for what changed while files were fetched.
const ROUNDS: usize = 3;
/// Failures that are told one by one.
const TOLD: usize = 20;

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) concurrency: usize,
    pub(super) dry: bool,
    pub(super) from: Option<Day>,
    pub(super) accept_loss: bool,
    /// Names of a subset with all they need, when one is asked for.
    pub(super) subset: Option<Vec<String>>,
    pub(super) now: Timestamp,
    pub(super) voice: Voice,
}

/// A product, where it comes from and where it goes.
pub(super) struct Run<'a> {
    pub(super) place: &'a Place,
    pub(super) product: Product,
    pub(super) mirror: &'a Mirror,
    /// The bundle that the mirror is, if it is one.
    pub(super) source: Option<Bundle>,
    pub(super) own: Bundle,
    pub(super) wish: &'a Wish,
}

/// The destination as it is.
struct Before {
    head: Option<Head>,
    state: State,
}

impl Run<'_> {
    /// Does all of it. `declare` reads upstream; it is given the day up to which history is known, and today.
    pub(super) async fn run<F, Fut>(&self, declare: F) -> Result<Ending, OfflineError>
    where
        F: Fn(Span) -> Fut,
        Fut: Future<Output = Result<Declared, OfflineError>>,
    {
        let (wish, voice) = (self.wish, self.wish.voice);
        let _lock = if wish.dry { None } else { Some(self.place.lock(&self.product.root(), false)?) };
        let before = self.before().await?;
        let span = (before.head.as_ref().map(|head| head.snapshot), wish.now.day());
        voice.say(&self.announcement(&before));
        let mut journal = None;
        let (mut failures, mut seen, mut round) = (Vec::new(), None, 0);
        loop {
            round += 1;
            let declared = declare(span).await?;
            if round == 1 {
                declared.warnings.iter().for_each(|warning| voice.warn(warning));
                self.check(&declared, &before)?;
                if !wish.dry {
                    journal = Some(Journal::open(self.place, &self.product)?);
                }
            }
            let pending = journal.as_ref().map_or_else(|| Ok(State::default()), pending)?;
            let plan = self.plan(&declared, &before.state, &pending)?;
            let Some(open) = &mut journal else {
                tell_plan(voice, &plan);
                return Ok(Ending::Complete);
            };
            if plan.wanted.is_empty() {
                failures.clear();
            }
            // Fetching took time; what changed upstream meanwhile is fetched too, so that all is of one moment.
            if plan.wanted.is_empty() || round == ROUNDS || seen.as_ref() == Some(&declared.fingerprint) {
                self.commit(before, &declared, &plan, open)?;
                if let Some(journal) = journal {
                    journal.remove()?;
                }
                return Ok(self.told(&failures));
            }
            seen = Some(declared.fingerprint);
            failures = self.fetch(&plan, open).await?;
        }
    }

    async fn before(&self) -> Result<Before, OfflineError> {
        let verified = match self.own.head_or_difference(&self.product).await {
            Ok(verified) => verified,
            Err(BundleError::Absent { .. }) => return Ok(Before { head: None, state: State::default() }),
            Err(error) => return Err(error.into()),
        };
        let mut state = State::default();
        for segment in verified.since(0) {
            for record in self.own.segment(&self.product, segment).await? {
                let path = self.product.path(&segment.file.path);
                state.apply(&record).map_err(|reason| {
                    OfflineError::Refused(format!("{}: {reason}", self.place.path(&path).display()))
                })?;
            }
        }
        Ok(Before { head: Some(verified.head), state })
    }

    fn announcement(&self, before: &Before) -> String {
        let kind = match (&before.head, self.wish.from) {
            (None, None) => "full download".to_owned(),
            (None, Some(from)) => format!("incremental download from {from} on"),
            (Some(head), _) => format!("incremental download after {}", head.snapshot),
        };
        match &self.product {
            Product::Cran => format!("Performing {kind} of schema version v3"),
            Product::Bioconductor(version) => {
                format!("Performing {kind} of schema version v4, Bioconductor {version}")
            }
            Product::Binaries(tag) => format!("Performing {kind} of builds for {tag}"),
        }
    }

    fn check(&self, declared: &Declared, before: &Before) -> Result<(), OfflineError> {
        if !self.wish.accept_loss && self.wish.subset.is_none() {
            let guarded = plan::guard(declared, &before.state);
            guarded
                .map_err(|reason| OfflineError::Refused(format!("{}: {reason}", self.mirror.address())))?;
        }
        // With what is known from before, what is new can be told by that.
        if self.wish.from.is_some() && !declared.dated && before.head.is_none() {
            return Err(OfflineError::Usage(format!(
                "--starting-snapshot: {} does not tell when files of {} were published (there is no Meta/current.rds); run \
                 without it, into a directory that has the metadata of the last time, or give another mirror with --base-url",
                self.mirror.address(),
                self.product
            )));
        }
        Ok(())
    }

    fn plan(&self, declared: &Declared, state: &State, pending: &State) -> Result<Plan, OfflineError> {
        let objects = self.place.objects(&self.product.objects())?;
        let known = Known { state, pending, objects: &objects, from: self.wish.from };
        let plan = plan::plan(declared, &known, self.wish.now.day());
        let (size, free) = (plan.size(), self.place.free());
        match free.filter(|free| !self.wish.dry && *free < size) {
            None => Ok(plan),
            Some(free) => Err(OfflineError::Refused(format!(
                "{} has {} of free space, and {} are to be fetched: make room there or choose another --destination; \
                 what is there already is kept",
                self.place.root().display(),
                HumanBytes(free),
                HumanBytes(size)
            ))),
        }
    }

    /// Fetches everything that is wanted; returns what could not be had.
    async fn fetch(&self, plan: &Plan, journal: &mut Journal) -> Result<Vec<UpstreamError>, OfflineError> {
        let progress = Progress::new(self.wish.voice, plan.wanted.len() as u64, plan.size());
        let readmes = match &self.source {
            Some(source) if !plan.wanted.is_empty() => copied::readmes(source, &self.product).await?,
            _ => HashMap::new(),
        };
        let landing = Landing { place: self.place, product: &self.product };
        let landing = &landing;
        let fetches = plan
            .wanted
            .iter()
            .map(|wanted| async move { (wanted, landing.fetch(self.mirror, wanted).await) });
        let mut fetches = stream::iter(fetches).buffer_unordered(self.wish.concurrency);
        let (mut failures, mut away) = (Vec::new(), 0_usize);
        while let Some((wanted, fetched)) = fetches.next().await {
            match fetched {
                Ok(fetched) => {
                    away = 0;
                    progress.file(fetched.object.size);
                    self.note(wanted, fetched, &readmes, journal)?;
                }
                Err(Failure::Place(error, path)) => return Err(OfflineError::place("write", &path, error)),
                Err(Failure::Mirror(error)) => {
                    away = if matches!(error, UpstreamError::Unavailable { .. }) { away + 1 } else { 0 };
                    if away == AWAY {
                        progress.end();
                        return Err(OfflineError::Refused(format!(
                            "the mirror does not answer any more ({error}); what was fetched is kept: run the command again \
                             to go on"
                        )));
                    }
                    failures.push(error);
                }
            }
        }
        progress.end();
        Ok(failures)
    }

    fn note(
        &self,
        wanted: &Wanted,
        fetched: Fetched,
        readmes: &HashMap<Sha256, String>,
        journal: &mut Journal,
    ) -> Result<(), OfflineError> {
        if wanted.again.is_some() {
            return Ok(());
        }
        let (row, Fetched { object, contents }) = (&wanted.row, fetched);
        if let Some(trouble) = &contents.trouble {
            let name = row.paths.first().map_or("", String::as_str);
            self.wish
                .voice
                .warn(&format!("{name} is kept as it is, though it cannot be read as a package: {trouble}"));
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
            None => format!("{}: nothing is new", self.product),
            Some(written) => {
                let packages = HumanCount(written.packages as u64);
                format!("{}: snapshot {}, {packages} packages", self.product, written.snapshot)
            }
        };
        self.wish.voice.say(&told);
        Ok(())
    }

    /// Tells what could not be had.
    fn told(&self, failures: &[UpstreamError]) -> Ending {
        let voice = self.wish.voice;
        if failures.is_empty() {
            return Ending::Complete;
        }
        failures.iter().take(TOLD).for_each(|failure| voice.warn(&failure.to_string()));
        if failures.len() > TOLD {
            voice.warn(&format!("and {} more files", failures.len() - TOLD));
        }
        voice.warn(&format!(
            "{} files could not be fetched from {}; what was listed before them stays listed. Run the command again later, \
             or with another mirror (--base-url)",
            failures.len(),
            self.mirror.address()
        ));
        Ending::Incomplete
    }
}

fn tell_plan(voice: Voice, plan: &Plan) {
    voice.say(&format!(
        "{} files, {}, would be fetched; {} are there",
        HumanCount(plan.wanted.len() as u64),
        HumanBytes(plan.size()),
        HumanCount(plan.kept as u64)
    ));
}

/// What the journal has, as a state to compare with.
fn pending(journal: &Journal) -> Result<State, OfflineError> {
    let mut state = State::default();
    for (ver, _) in &journal.vers {
        let applied = state.apply(&Record::Ver(Box::new(ver.clone())));
        applied.map_err(OfflineError::Refused)?;
    }
    Ok(state)
}
