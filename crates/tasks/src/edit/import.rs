//! Makes the changes of an import, which another server made in the past, each at its time: many transactions in one write.
//! A change that was imported before is recognized by the periods of its file, so that an import can be repeated.

use std::collections::BTreeSet;
use std::iter;

use super::add::{Addition, add_staged, check_name, check_type, file_names};
use super::edited_source::EditedSource;
use super::past_days;
use super::project::{self, selection::Selection};
use super::remove::RemoveTransaction;
use super::uploads::{StagedUpload, Uploads};
use super::{Actor, AddStatus, OnExisting, RemoveScope, SelectedResult, Write, publish};
use api::source::{AddedPackages, ChangedDays, ImportOutcome, ImportedChange, ImportedResult};
use base::model::ids::TxId;
use base::model::import_list::{AddedFile, EARLIEST, Event, Removal};
use base::model::kind::Layout;
use base::model::time::{SECOND, Timestamp};
use content::serve::{RepoError, find, name_audit};
use formats::language;
use formats::r::name::SourceFileName;
use runtime::catalog::Catalog;
use runtime::state::State;
use store::db::file;
use store::db::file_period::{self, FilePeriod};
use store::db::name_audit::mirror_of_file;
use store::db::tx::{Publish, TxKind};
use store::db::{Conn, DbError, WriteError, tree};

/// Maximum number of changes in one write.
const MAX_CHANGES: usize = 500;
/// A change that is served later than its time by at most this is not late, in microseconds: changes at one instant follow each
/// other.
const LATE: i64 = SECOND;
/// The advice for other bytes under a name that the source has.
const REPLACE: &str = "write \"op\":\"replace\" in the list to replace them";

/// Returns what changes would do, as far as it is known without the bytes of the files.
///
/// # Errors
/// As [`apply`].
pub async fn check(
    state: &State,
    source: &str,
    changes: Vec<ImportedChange>,
) -> Result<AddedPackages, RepoError> {
    let now = (state.clock)();
    check_times(&changes, now)?;
    let catalog = state.catalog.get();
    let source = EditedSource::for_uploads(&catalog, find::source(&catalog, source)?)?;
    let read_source = source.clone();
    let read = state.db.read(move |c| {
        let mut times = Times::new(tree::newest_instant(c, read_source.tree)?, now);
        let mut results = Vec::with_capacity(changes.len());
        for change in &changes {
            let result = expected(c, &read_source, change)?;
            times.add(&change.event, &result);
            results.push(ImportedResult { mirror: mirror(c, &read_source, &change.event)?, ..result });
        }
        Ok((results, times))
    });
    let (changes, times) = read.await?;
    let past_days = times.past_days(&catalog, &source)?;
    Ok(AddedPackages { changes, late: times.late, past_days, ..AddedPackages::default() })
}

/// Makes changes in their order, in one write: each change that is not refused, or none. Files that are added at one instant
/// are one transaction.
///
/// # Errors
/// [`RepoError::Invalid`] for a time in the future, before [`EARLIEST`] or before that of an earlier change, and for a source
/// whose packages are not uploaded; [`RepoError::Conflict`] if past days change and `may_change_past_days` is false. Then
/// nothing is changed.
pub async fn apply(
    uploads: &Uploads,
    source: &str,
    changes: Vec<ImportedChange>,
    may_change_past_days: bool,
    actor: &Actor,
) -> Result<AddedPackages, RepoError> {
    let now = (uploads.state.clock)();
    check_times(&changes, now)?;
    let catalog = uploads.state.catalog.get();
    let source = EditedSource::for_uploads(&catalog, find::source(&catalog, source)?)?;
    let files = changes.iter().filter(|change| change.event.added().is_some());
    let ids: Option<Vec<u64>> = files.map(|change| change.upload).collect();
    let ids = ids.ok_or_else(|| RepoError::Invalid("a change that adds a file has no upload".to_owned()))?;
    let staged = uploads.get(&ids, &actor.0, now).await?;
    staged.iter().try_for_each(|staged| check_type(&source, staged))?;
    let added = changes.iter().filter_map(|change| change.event.added());
    added.zip(&staged).try_for_each(|(file, staged)| check_digest(file, staged))?;
    let state = uploads.state.clone();
    let import = Import { source, changes, actor: actor.clone(), now };
    let write = move |c: &mut dyn Conn, staged: &[StagedUpload]| -> Write<AddedPackages> {
        let catalog = state.catalog.of_transaction(c)?;
        let mut times = Times::new(tree::newest_instant(c, import.source.tree)?, now);
        let (transaction, changes, new_names) = import.write(c, staged, &mut times)?;
        let past_days = times.past_days(&catalog, &import.source)?;
        if !past_days.is_empty() && !may_change_past_days {
            return Err(past_days::refusal(&past_days).into());
        }
        times.first.map_or(Ok(()), |first| past_days::check_requests(c, import.source.id, first))?;
        let warnings = name_audit::warnings(c, &state, import.source.id, &new_names)?;
        for StagedUpload { upload, .. } in staged {
            file::set_original(c, upload.sha256, upload.original)?;
        }
        staged.iter().try_for_each(StagedUpload::wait_durable).map_err(RepoError::from)?;
        let (transaction, late) = (transaction.map(|id| id.0), times.late);
        Ok(AddedPackages { transaction, packages: Vec::new(), warnings, changes, late, past_days })
    };
    Ok(add_staged(uploads, staged, actor, now, write).await?.1)
}

/// Refuses an upload that is not the file of its change.
fn check_digest(file: &AddedFile, staged: &StagedUpload) -> Result<(), RepoError> {
    let received = staged.upload.original.to_string();
    match file.sha256.as_ref().filter(|sha256| !sha256.eq_ignore_ascii_case(&received)) {
        None => Ok(()),
        Some(sha256) => Err(RepoError::Invalid(format!(
            "the upload of {} has the SHA-256 {received}, and its change {sha256}: nothing was changed",
            file.file
        ))),
    }
}

fn check_times(changes: &[ImportedChange], now: Timestamp) -> Result<(), RepoError> {
    if changes.len() > MAX_CHANGES {
        let count = changes.len();
        return Err(RepoError::Invalid(format!(
            "there are {count} changes; a request has at most {MAX_CHANGES}"
        )));
    }
    // That of the change before; `None` if it has none.
    let mut previous = Some(EARLIEST);
    for (number, change) in (1..).zip(changes) {
        let problem = match (change.event.at(), previous) {
            (Some(at), _) if at > now => {
                format!("its time {at} is in the future: the clock of this server shows {now}")
            }
            (Some(at), _) if at < EARLIEST => {
                let day = EARLIEST.day();
                format!("its time {at} is before {day}: leave out a time that is not known")
            }
            (Some(at), Some(before)) if at < before => {
                format!("its time {at} is before {before}, that of the change before it")
            }
            (Some(at), None) => format!("its time is {at}, and the change before it has none"),
            (at, _) => {
                previous = at;
                continue;
            }
        };
        return Err(RepoError::Invalid(format!("change {number} is refused: {problem}")));
    }
    Ok(())
}

/// The times of the changes that are made.
struct Times {
    now: Timestamp,
    /// The instant of the newest state of the source before them.
    newest: Option<Timestamp>,
    /// The earliest instant in the past at which the source gets another state.
    first: Option<Timestamp>,
    late: usize,
}

impl Times {
    fn new(newest: Option<Timestamp>, now: Timestamp) -> Times {
        Times { now, newest, first: None, late: 0 }
    }

    fn add(&mut self, event: &Event, result: &ImportedResult) {
        use ImportOutcome::{Differs, Existing, Refused};
        let is_made = !matches!(result.outcome, Existing | Differs | Refused);
        let Some(at) = event.at().filter(|_| is_made) else { return };
        let served_at = self.newest.map_or(at, |newest| at.max(newest));
        self.first = Some(self.first.map_or(served_at, |first| first.min(served_at)));
        self.late += usize::from(served_at.0.saturating_sub(at.0) > LATE);
    }

    fn past_days(&self, catalog: &Catalog, source: &EditedSource) -> Result<Vec<ChangedDays>, RepoError> {
        self.first.map_or(Ok(Vec::new()), |first| past_days::changed(catalog, source.id, first, self.now))
    }
}

/// Returns the periods of the files that a change concerns.
fn periods(
    c: &mut dyn Conn,
    source: &EditedSource,
    change: &ImportedChange,
) -> Result<Vec<FilePeriod>, DbError> {
    let (name, version) = match (change.event.file(), &change.event) {
        (Some(file), _) => return file_period::of_file(c, source.tree, file),
        (None, Event::Remove(Removal { name: Some(name), version, .. })) => (name, version.as_ref()),
        (None, _) => return Ok(Vec::new()),
    };
    let rules = language::of(source.kind.language());
    let name = rules.project_name(name).map_or_else(|_| name.clone(), |name| name.to_string());
    let mut periods = file_period::of_package(c, source.tree, &name)?;
    periods.retain(|period| !change.kept.contains(&period.file));
    periods.retain(|period| {
        version.is_none_or(|version| match source.kind.layout() {
            Layout::Lists => *version == period.version,
            Layout::Projects => rules.version(version) == rules.version(&period.version),
        })
    });
    Ok(periods)
}

/// Returns a period of a file and those before it without a break in which it has the same bytes, the newest first: a yank and the
/// archive begin another period.
fn with_earlier<'a>(
    periods: &'a [FilePeriod],
    period: &'a FilePeriod,
) -> impl Iterator<Item = &'a FilePeriod> {
    let earlier = |first: &&FilePeriod| {
        let sha256 = first.sha256;
        periods.iter().find(|earlier| follows(earlier, first) && earlier.sha256 == sha256)
    };
    iter::successors(Some(period), earlier)
}

/// Returns when a file began to have the bytes of one of its periods.
fn began_at(periods: &[FilePeriod], period: &FilePeriod) -> Option<Timestamp> {
    with_earlier(periods, period).last()?.began_at
}

/// Returns when a file ceased to have what `has` says of one of its periods; `None` if it has it now.
fn ended_at(
    periods: &[FilePeriod],
    period: &FilePeriod,
    has: impl Fn(&FilePeriod) -> bool,
) -> Option<Timestamp> {
    let mut last = period;
    while let Some(later) = periods.iter().find(|later| follows(last, later) && has(later)) {
        last = later;
    }
    last.ended_at
}

/// Returns whether a period of a file begins where another one ends.
fn follows(earlier: &FilePeriod, later: &FilePeriod) -> bool {
    earlier.file == later.file && earlier.to == later.from && earlier.from < later.from
}

/// Returns the periods of files that the source has now and had at a time, with the same bytes: a change with that time does
/// not concern what was added or replaced later.
fn concerned(periods: &[FilePeriod], at: Option<Timestamp>) -> Vec<&FilePeriod> {
    let is_concerned =
        |period: &&FilePeriod| period.ended_at.is_none() && (at.is_none() || began_at(periods, period) <= at);
    periods.iter().filter(is_concerned).collect()
}

/// Returns whether a file has these bytes in a period, or was made of them.
fn has_bytes(period: &FilePeriod, sha256: &str) -> bool {
    period.sha256.to_string() == sha256 || period.facts == sha256.as_bytes()
}

/// Returns whether a change was made at its time or later; one without a time, whether nothing is left to be done. `sha256` is
/// the digest of the file of an addition, as uploaded or as stored.
fn is_made(periods: &[FilePeriod], event: &Event, sha256: Option<&str>) -> bool {
    let at = event.at();
    // The archive ends a period, and so does a yank: neither removes the bytes that an addition brought.
    let had = |is_same: &dyn Fn(&FilePeriod) -> bool| {
        let is_lasting = |period: &&FilePeriod| match (at, ended_at(periods, period, is_same)) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(at), Some(end)) => period.began_at == Some(at) || end > at,
        };
        periods.iter().filter(|period| is_same(period)).any(|period| is_lasting(&period))
    };
    // Files that were added later are not those of the change.
    let is_over = |is_ended: &dyn Fn(Timestamp) -> bool| {
        let is_later = |period: &FilePeriod| period.ended_at.is_none_or(is_ended);
        concerned(periods, at).is_empty() && periods.iter().any(is_later)
    };
    match (event, at) {
        (Event::Add(_) | Event::Replace(_), _) => {
            had(&|period| sha256.is_some_and(|sha256| has_bytes(period, sha256)))
        }
        (Event::Yank(yank), at) => {
            let is_yanked = |period: &FilePeriod| period.yanked.is_some();
            let has_reason = |period: &FilePeriod| period.yanked.as_deref() == Some(yank.reason.trim());
            // A yank that began or was removed since the time.
            let is_later = |period: &FilePeriod| {
                is_yanked(period) && (period.began_at >= at || ended_at(periods, period, is_yanked) > at)
            };
            match concerned(periods, at).split_first() {
                // A file that was removed since its yank, and added again, is yanked again.
                Some((file, [])) if at.is_some() => {
                    has_reason(file) || with_earlier(periods, file).any(is_later)
                }
                Some(_) => had(&has_reason),
                None => had(&is_yanked) || is_over(&|_| false),
            }
        }
        (Event::Remove(_), None) => !had(&|_| true),
        (Event::Remove(_), Some(at)) => is_over(&|end| end >= at),
        (Event::Lost(_), _) => false,
    }
}

fn is_listed(periods: &[FilePeriod]) -> bool {
    periods.iter().any(|period| period.ended_at.is_none())
}

/// Returns the reason why a replacement is refused: the file got its present bytes later.
fn later_bytes(periods: &[FilePeriod], event: &Event) -> Option<String> {
    let Event::Replace(file) = event else { return None };
    let at = file.at?;
    let listed = periods.iter().find(|period| period.ended_at.is_none())?;
    let began_at = began_at(periods, listed).filter(|began_at| *began_at > at)?;
    Some(format!("{} has other bytes since {began_at}, after the time of the replacement", listed.file))
}

/// Returns the source with a mirror that has the file of an R package, too.
fn mirror(c: &mut dyn Conn, source: &EditedSource, event: &Event) -> Result<Option<String>, DbError> {
    let file = event.added().filter(|_| source.kind.layout() == Layout::Lists);
    match file.map(|file| (file, SourceFileName::parse(&file.file))) {
        Some((file, Ok(name))) => mirror_of_file(c, name.package, name.version, file),
        Some((_, Err(_))) | None => Ok(None),
    }
}

fn result(outcome: ImportOutcome) -> ImportedResult {
    ImportedResult { outcome, reason: None, mirror: None }
}

fn refused(reason: impl Into<String>) -> ImportedResult {
    ImportedResult { reason: Some(reason.into()), ..result(ImportOutcome::Refused) }
}

/// Returns what a change would do.
fn expected(
    c: &mut dyn Conn,
    source: &EditedSource,
    change: &ImportedChange,
) -> Result<ImportedResult, DbError> {
    let event = &change.event;
    if let Some(Err(error)) = event.file().map(|file| check_name(source, file)) {
        return Ok(refused(error.to_string()));
    }
    let periods = periods(c, source, change)?;
    let sha256 = event.added().and_then(|file| file.sha256.as_deref()).map(str::to_ascii_lowercase);
    // Files of R packages get other bytes here.
    let compared = sha256.as_ref().filter(|_| source.kind.layout() == Layout::Projects);
    // Without a digest, a file with exactly this time is that of an earlier import.
    let known_at = event.added().filter(|_| sha256.is_none()).and_then(|file| file.at);
    let is_known = known_at.is_some() && periods.iter().any(|period| period.began_at == known_at);
    if is_known || is_made(&periods, event, sha256.as_deref()) {
        return Ok(result(ImportOutcome::Existing));
    }
    let is_listed = is_listed(&periods);
    Ok(match event {
        Event::Add(_) if is_listed && compared.is_some() => {
            refused(format!("the source '{}' has other bytes under this name; {REPLACE}", source.name))
        }
        Event::Add(_) if is_listed => result(ImportOutcome::Differs),
        Event::Replace(_) if is_listed => match later_bytes(&periods, event) {
            None => result(ImportOutcome::Replaced),
            // Those that the server makes of the file may be the bytes that the source had at the time.
            Some(_) if compared.is_none() => result(ImportOutcome::Differs),
            Some(reason) => refused(reason),
        },
        Event::Add(_) | Event::Replace(_) => result(ImportOutcome::Added),
        Event::Remove(_) => result(ImportOutcome::Removed),
        Event::Yank(_) => result(ImportOutcome::Yanked),
        Event::Lost(_) => refused("it is not a change"),
    })
}

struct Import {
    source: EditedSource,
    changes: Vec<ImportedChange>,
    actor: Actor,
    now: Timestamp,
}

impl Import {
    /// Makes the changes. Returns the last transaction, the results, and the names of new files.
    fn write(
        &self,
        c: &mut dyn Conn,
        mut staged: &[StagedUpload],
        times: &mut Times,
    ) -> Write<(Option<TxId>, Vec<ImportedResult>, BTreeSet<String>)> {
        let (mut tx, mut results, mut new_names) = (None, Vec::new(), BTreeSet::new());
        for group in self.changes.chunk_by(|one, other| one.event.is_together(&other.event)) {
            let [change @ ImportedChange { event, .. }, ..] = group else { continue };
            let (step_tx, step_results) = match event.added() {
                Some(_) => {
                    let (files, rest) = staged.split_at(group.len().min(staged.len()));
                    staged = rest;
                    let step = self.add(c, event, files)?;
                    let is_new = |result: &ImportedResult| result.outcome == ImportOutcome::Added;
                    let new = files.iter().zip(&step.1).filter(|(_, result)| is_new(result));
                    new_names.extend(new.map(|(staged, _)| staged.upload.package.clone()));
                    step
                }
                None => self.select(c, change)?,
            };
            step_results.iter().for_each(|result| times.add(event, result));
            tx = step_tx.or(tx);
            results.extend(step_results);
        }
        Ok((tx, results, new_names))
    }

    /// Returns the publish of a change, about which the audit trail has `subject`.
    fn publish(&self, kind: TxKind, event: &Event, comment: &str, subject: String) -> Publish {
        let kind = if event.at().is_some() { TxKind::Backfill } else { kind };
        let publish = Publish { at: event.at(), ..publish(kind, self.now, &self.actor) };
        let date = Some(publish.date());
        Publish { published_from: date, published_to: date, comment: comment.to_owned(), subject, ..publish }
    }

    /// Adds the files of a transaction that the source did not have at that time. If one of them is refused, each gets a
    /// transaction of its own.
    fn add(
        &self,
        c: &mut dyn Conn,
        event: &Event,
        staged: &[StagedUpload],
    ) -> Write<(Option<TxId>, Vec<ImportedResult>)> {
        let mut results = Vec::with_capacity(staged.len());
        let mut new = Vec::with_capacity(staged.len());
        for upload in staged {
            let StagedUpload { upload: super::Upload { package, version, file, sha256, .. }, .. } = upload;
            let name = match self.source.kind.layout() {
                Layout::Lists => &format!("{package}_{version}.tar.gz"),
                Layout::Projects => file,
            };
            let periods = file_period::of_file(c, self.source.tree, name)?;
            let known = if is_made(&periods, event, Some(&sha256.to_string())) {
                Some(result(ImportOutcome::Existing))
            } else if matches!(event, Event::Add(_)) && is_listed(&periods) {
                let what = match self.source.kind.layout() {
                    Layout::Lists => format!("{package} {version}"),
                    Layout::Projects => file.clone(),
                };
                Some(refused(format!(
                    "{what} is in the source '{}' already, with other bytes; {REPLACE}",
                    self.source.name
                )))
            } else {
                later_bytes(&periods, event).map(refused)
            };
            new.extend(known.is_none().then(|| upload.clone()));
            results.push(known);
        }
        if new.is_empty() {
            return Ok((None, results.into_iter().flatten().collect()));
        }
        let note = event.added().and_then(|file| file.note.as_deref()).unwrap_or_default();
        let is_replacement = matches!(event, Event::Replace(_));
        let existing = if is_replacement { OnExisting::Replace } else { OnExisting::Fail };
        let publish = self.publish(TxKind::Add, event, note, file_names(&new));
        let addition = Addition { source: self.source.clone(), existing, replaces_versions: false, publish };
        match (addition.step(c, &new), staged) {
            (Ok((tx, statuses)), _) => {
                let mut made = statuses.into_iter().map(|status| match status {
                    AddStatus::New => ImportOutcome::Added,
                    AddStatus::Replaced => ImportOutcome::Replaced,
                    AddStatus::Existing => ImportOutcome::Existing,
                });
                let results =
                    results.into_iter().filter_map(|known| known.or_else(|| made.next().map(result)));
                Ok((tx, results.collect()))
            }
            (Err(error), [_]) => Ok((None, vec![self.refusal(c, error)?])),
            (Err(WriteError::Refused(_)), _) => {
                tree::end_claim(c, self.source.tree)?;
                let (mut tx, mut results) = (None, Vec::with_capacity(staged.len()));
                for upload in staged {
                    let (one_tx, one_result) = self.add(c, event, std::slice::from_ref(upload))?;
                    tx = one_tx.or(tx);
                    results.extend(one_result);
                }
                Ok((tx, results))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Removes or yanks what a change selects.
    fn select(
        &self,
        c: &mut dyn Conn,
        change: &ImportedChange,
    ) -> Write<(Option<TxId>, Vec<ImportedResult>)> {
        let (event, periods) = (&change.event, periods(c, &self.source, change)?);
        if is_made(&periods, event, None) {
            return Ok((None, vec![result(ImportOutcome::Existing)]));
        }
        let is_yank = matches!(event, Event::Yank(_));
        let made = if is_yank { ImportOutcome::Yanked } else { ImportOutcome::Removed };
        Ok(match self.select_in(c, change, &periods) {
            Ok(tx) => (tx, vec![result(if tx.is_some() { made } else { ImportOutcome::Existing })]),
            Err(error) => (None, vec![self.refusal(c, error)?]),
        })
    }

    fn select_in(
        &self,
        c: &mut dyn Conn,
        change: &ImportedChange,
        periods: &[FilePeriod],
    ) -> Write<Option<TxId>> {
        let event = &change.event;
        let concerned = concerned(periods, event.at());
        let of_file = |period: &FilePeriod| {
            let text = match self.source.kind.layout() {
                Layout::Lists => period.version.clone(),
                Layout::Projects => period.file.clone(),
            };
            (period.package.clone(), RemoveScope::Version(text))
        };
        let selected = match (event.file(), event) {
            (Some(file), _) => {
                let period = concerned.first().copied().or(periods.first());
                let reason = || format!("the source '{}' has no file {file}", self.source.name);
                vec![period.map(of_file).ok_or_else(|| RepoError::NotFound(reason()))?]
            }
            (None, Event::Remove(Removal { name: Some(name), version, .. })) => {
                let open = periods.iter().filter(|period| period.ended_at.is_none()).count();
                if open > concerned.len() || !change.kept.is_empty() {
                    concerned.into_iter().map(of_file).collect()
                } else {
                    vec![(name.clone(), version.clone().map_or(RemoveScope::All, RemoveScope::Version))]
                }
            }
            (None, _) => return Err(RepoError::Invalid("it names no file and no package".to_owned()).into()),
        };
        let mut tx = None;
        for (package, scope) in selected {
            tx = self.select_scope(c, event, package, scope)?.0.or(tx);
        }
        Ok(tx)
    }

    fn select_scope(
        &self,
        c: &mut dyn Conn,
        event: &Event,
        package: String,
        scope: RemoveScope,
    ) -> Write<SelectedResult> {
        let (kind, source) = (self.source.kind, self.source.clone());
        let (tx_kind, reason) = match event {
            Event::Yank(yank) => (TxKind::Yank, Some(project::yank::check_reason(&yank.reason)?)),
            _ => (TxKind::Remove, None),
        };
        let comment = reason.as_deref().unwrap_or_default();
        let publish = self.publish(tx_kind, event, comment, scope.of(&package));
        match (kind.layout(), reason) {
            (Layout::Lists, None) => RemoveTransaction { source, package, scope, publish }.write(c),
            (Layout::Lists, Some(_)) => {
                Err(RepoError::Invalid(format!("packages of {} are not yanked", kind.language().label()))
                    .into())
            }
            (Layout::Projects, reason) => {
                let project = project::remove::parse_project(kind, &package)?;
                let selection = Selection::new(scope, kind.language())?;
                match reason {
                    None => project::remove::write(c, &source, &publish, &project, &selection),
                    reason => {
                        project::yank::write(c, &source, &publish, &project, &selection, reason.as_ref())
                    }
                }
            }
        }
    }

    /// Returns the result of a change that was refused before it wrote anything; other errors end the import.
    fn refusal(&self, c: &mut dyn Conn, error: WriteError<RepoError>) -> Write<ImportedResult> {
        match error {
            WriteError::Refused(
                error @ (RepoError::Conflict(_)
                | RepoError::FileExists(_)
                | RepoError::NotFound(_)
                | RepoError::Invalid(_)),
            ) => {
                tree::end_claim(c, self.source.tree)?;
                Ok(refused(match error {
                    RepoError::FileExists(existing) => format!(
                        "the source '{}' has or had '{}' (SHA-256 {}), which stands for the same distribution, and which lock \
                         files may contain; {REPLACE}",
                        existing.source_name, existing.file, existing.sha256
                    ),
                    error => error.to_string(),
                }))
            }
            error => Err(error),
        }
    }
}
