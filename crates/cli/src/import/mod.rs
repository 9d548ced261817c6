//! `rspm import list`: reports what the list of another server would change, and with `--commit` imports it.

mod fetch;
mod list;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use futures_util::{StreamExt, TryStreamExt, future, stream};
use serde::Serialize;
use url::{Position, Url};

use super::client::Client;
use super::error::CliError;
use super::output::{Output, format_count, note, shortened, warn};
use api::error::Code;
use api::operations::admin as operations;
use api::source::{AddPackages, AddedPackages, ChangedDays, ImportOutcome, ImportedChange, ImportedResult};
use base::model::import_list::Event;
use base::model::text::{count_of, one_line};
use base::model::time::Day;
use base::model::visible::for_terminal;
use fetch::{Origins, check_local, complete};
use list::{Facts, Line, List};

/// Maximum number of changes in one write of the server.
const GROUP: usize = 500;
/// Maximum size of the changes of a request as JSON, in bytes: a server accepts 4 MiB.
const MAX_REQUEST: usize = 3 << 20;
/// Time after which a group gets no further uploads: a server keeps them for an hour.
const GROUP_TIME: Duration = Duration::from_secs(600);
/// Number of times that a group is made smaller because its uploads were lost.
const MAX_LOSSES: usize = 10;
/// Number of files that are fetched and uploaded at the same time.
const PARALLEL: usize = 4;
/// Maximum length of a printed line, in characters.
const MAX_TEXT: usize = 2_000;
/// Maximum number of warnings that are printed.
const MAX_WARNINGS: usize = 20;

/// `rspm import list`
#[derive(Debug, Args)]
pub struct ImportList {
    /// The list: one JSON object in each line, the oldest change first; - for standard input
    #[arg(value_name = "LIST")]
    pub list: PathBuf,
    /// Origin of a list that rspm import from-… kept: its folder, or its address with a user and a password for its files
    #[arg(long, value_name = "ORIGIN")]
    pub origin: Option<String>,
    #[command(flatten)]
    pub flags: ImportFlags,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 done; 1 anything was refused; 2 wrong usage; 3 the server cannot be reached."
)]
pub struct ImportFlags {
    /// The local source
    #[arg(long)]
    pub source: String,
    /// Make the changes; without it, only report what would change
    #[arg(long)]
    pub commit: bool,
    /// keep: each change is made at its time in the list (the default); none: all are made now
    #[arg(long, value_name = "WORD")]
    pub dates: Option<Dates>,
    /// Permit changes of past days of repositories
    #[arg(long)]
    pub change_past_days: bool,
    /// Hosts from which files of the list may be fetched, with or without a port; separated by commas
    #[arg(long = "host", value_name = "HOST", value_delimiter = ',')]
    pub hosts: Vec<String>,
}

/// The times at which the changes of a list are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dates {
    Keep,
    None,
}

/// A change that was not made.
#[derive(Serialize)]
struct RefusedLine {
    line: usize,
    subject: String,
    reason: String,
}

#[derive(Default, Serialize)]
struct Report {
    source: String,
    /// Whether the whole list was imported.
    committed: bool,
    /// Whether the import ended early: `outcomes` are those of the changes until then.
    incomplete: bool,
    list: Facts,
    /// The number of changes with each outcome.
    outcomes: BTreeMap<ImportOutcome, usize>,
    /// The number of files that a mirror of the server has too, for each of these sources.
    mirrored: BTreeMap<String, usize>,
    /// The number of changes that are older than the newest state of the source.
    late: usize,
    past_days: Vec<ChangedDays>,
    refused: Vec<RefusedLine>,
    warnings: Vec<String>,
}

impl Report {
    fn count(&mut self, outcome: ImportOutcome) {
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    fn refuse(&mut self, line: &Line, reason: String) {
        self.count(ImportOutcome::Refused);
        self.refused.push(RefusedLine { line: line.number, subject: line.event.subject(), reason });
    }

    /// Adds the answer of the server about these changes, and returns those that are not made yet.
    fn add<'a>(&mut self, lines: &[&'a Line], result: AddedPackages) -> Vec<&'a Line> {
        self.late += result.late;
        for days in result.past_days {
            match self.past_days.iter_mut().find(|known| known.repo == days.repo) {
                // Days are texts of one length.
                Some(known) => {
                    known.first = days.first.min(std::mem::take(&mut known.first));
                    known.last = days.last.max(std::mem::take(&mut known.last));
                }
                None => self.past_days.push(days),
            }
        }
        self.warnings.extend(result.warnings);
        let mut open = Vec::new();
        for (line, result) in lines.iter().zip(result.changes) {
            if let Some(mirror) = result.mirror {
                *self.mirrored.entry(mirror).or_default() += 1;
            }
            match result.outcome {
                ImportOutcome::Refused => self.refuse(line, result.reason.unwrap_or_default()),
                outcome => {
                    self.count(outcome);
                    open.extend((outcome != ImportOutcome::Existing).then_some(*line));
                }
            }
        }
        open
    }

    fn text(&self) -> String {
        let Facts { files, removals, yanks, bytes, evidence, undated, first, last, lost } = &self.list;
        let sizes = match *bytes {
            0 if *files > 0 => "sizes not stated".to_owned(),
            bytes => count_of(bytes, "byte", "bytes"),
        };
        let mut lines = vec![format!(
            "The list has {} ({sizes}), {}, {}",
            count_of(*files, "file", "files"),
            count_of(*removals, "removal", "removals"),
            count_of(*yanks, "yank", "yanks")
        )];
        let mut times: Vec<String> =
            evidence.iter().map(|(evidence, count)| format!("{evidence} {}", number(*count))).collect();
        times.push(format!("without a time {}", number(*undated)));
        lines.push(format!("Evidence of the times: {}", times.join(", ")));
        if let (Some(first), Some(last)) = (first, last) {
            lines.push(format!("The first change is of {first}, the last of {last}"));
        }
        let outcome = |(outcome, count): (&ImportOutcome, &usize)| format!("{outcome} {}", number(*count));
        let outcomes: Vec<String> = self.outcomes.iter().map(outcome).collect();
        let outcomes = if outcomes.is_empty() { "none".to_owned() } else { outcomes.join(", ") };
        let verb =
            if self.committed || self.incomplete { "Changes" } else { "Changes that an import would make" };
        lines.push(format!("{verb} in source '{}': {outcomes}", self.source));
        if self.outcomes.contains_key(&ImportOutcome::Differs) {
            let text = "  differs: the source has other bytes of the version; whether they are those that the server makes of \
                        the file is known when it is uploaded";
            lines.push(text.to_owned());
        }
        lines.extend(self.mirrored.iter().map(|(mirror, count)| {
            format!(
                "{} of {} of the source '{mirror}': a curated source of it needs no copies of them",
                number(*count),
                count_of(*files, "file is that", "files are those")
            )
        }));
        if self.late > 0 {
            let singular = "change is older than the newest state of the source, and is served after it";
            let plural = "changes are older than the newest state of the source, and are served after it";
            lines.push(count_of(self.late, singular, plural));
        }
        lines.extend(self.past_days.iter().map(|ChangedDays { repo, first, last }| {
            format!("Past snapshots of the repository '{repo}' change: {first} to {last}")
        }));
        lines.extend(self.refused.iter().map(|RefusedLine { line, subject, reason }| {
            format!("Refused, line {line}: {subject}: {reason}")
        }));
        lines.extend(lost.iter().map(|lost| format!("Lost: {}: {}", lost.what, lost.why)));
        if self.incomplete {
            lines.push("The import ended before its last change".to_owned());
        } else if self.outcomes.is_empty() {
            lines.push("There is nothing to import".to_owned());
        } else if !self.committed {
            lines.push("Nothing was changed; import it with --commit".to_owned());
        }
        lines.iter().map(|line| for_terminal(&one_line(line, MAX_TEXT))).collect::<Vec<_>>().join("\n")
    }
}

fn number(number: impl TryInto<i64>) -> String {
    format_count(number.try_into().unwrap_or(i64::MAX))
}

/// Imports a list; `origin` is the folder of its relative paths, by default that of the list, or the address of its files.
pub(super) async fn run(
    client: &Client,
    output: &Output,
    list: &Path,
    origin: Option<&str>,
    args: &ImportFlags,
) -> Result<(), CliError> {
    let (mut hosts, address) = (args.hosts.clone(), origin.and_then(|origin| Url::parse(origin).ok()));
    let with_host = address.as_ref().filter(|address| address.has_host());
    hosts.extend(with_host.map(|address| address[Position::BeforeHost..Position::AfterPort].to_owned()));
    let folder = address.as_ref().and_then(|address| address.to_file_path().ok());
    let folder = folder.or(origin.map(PathBuf::from)).filter(|folder| folder.is_dir());
    let kind = client.upload_kind(&args.source).await?;
    let is_of_packages = kind == "source";
    let mut list = List::read(list, &hosts, args.dates != Some(Dates::None), is_of_packages)?;
    let folder = folder.unwrap_or(list.folder);
    if is_of_packages {
        // The server recognizes a file with a time by that only if it does not know the digest.
        list.lines.iter_mut().for_each(|line| complete(&folder, &mut line.event));
    }
    let twins = if is_of_packages { list::case_twins(&list.lines) } else { Vec::new() };
    let mut report =
        Report { source: args.source.clone(), list: list.facts, warnings: twins, ..Report::default() };
    let (mut open, mut changed) = (Vec::new(), HashMap::new());
    let all: Vec<&Line> = list.lines.iter().collect();
    let mut rest = &*all;
    while !rest.is_empty() {
        let lines;
        (lines, rest) = rest.split_at(group_len(rest, GROUP));
        let changes = lines.iter().map(|line| change(line, None)).collect();
        let body = AddPackages { changes, dry_run: true, ..AddPackages::default() };
        let mut result = client.send::<operations::AddPackages>([&args.source], &body).await?;
        expect_in_order(lines, &mut result.changes, &mut changed);
        expect_files(&folder, lines, &mut result.changes);
        open.extend(report.add(lines, result));
    }
    let is_open = |day: Day| open.iter().any(|line| line.event.at().is_some_and(|at| at.day() == day));
    if let Some((day, count)) = list.bulk_day.filter(|(day, _)| args.dates.is_none() && is_open(*day)) {
        let reason = format!(
            "{count} files of the list, more than half, have the time {day}, which a copy of them may have set: choose \
             --dates=keep if the other server had them since that day, otherwise --dates=none"
        );
        if args.commit {
            return Err(CliError::refused(reason));
        }
        warn(reason);
    }
    let result = match (args.commit, report.past_days.is_empty() || args.change_past_days) {
        (false, _) => Ok(()),
        (true, false) => Err(CliError::refused(
            "past snapshots of repositories would change, and clients may depend on them: permit it with --change-past-days, or \
             import everything now with --dates=none; nothing was imported",
        )),
        (true, true) => {
            (report.late, report.past_days) = (0, Vec::new());
            report.outcomes.retain(|it, _| matches!(it, ImportOutcome::Existing | ImportOutcome::Refused));
            let origins = Origins::new(folder, hosts, address)?;
            let import = Import { client, origins, kind, args };
            let result = import.all(&open, &mut report).await;
            (report.committed, report.incomplete) = (result.is_ok(), result.is_err());
            result
        }
    };
    report.refused.sort_by_key(|refused| refused.line);
    for warning in report.warnings.iter().take(MAX_WARNINGS) {
        warn(shortened(warning, 400));
    }
    output.print(&report, || report.text())?;
    result?;
    match report.refused.len() {
        0 => Ok(()),
        count => Err(CliError::refused(count_of(
            count,
            "change of the list is refused",
            "changes of the list are refused",
        ))),
    }
}

/// Corrects what the server expects of changes, because it does not know of earlier ones in the list that are not made yet.
/// `changed` has the packages with such a change, and whether all of them are additions with a time. What a later change of the
/// package does is known when it is made, except of other additions with a time, which the server compares.
fn expect_in_order(lines: &[&Line], results: &mut [ImportedResult], changed: &mut HashMap<String, bool>) {
    for (line, result) in lines.iter().zip(results) {
        let package = list::package(&line.event);
        let (made, is_compared) = match &line.event {
            Event::Add(file) => (ImportOutcome::Added, file.at.is_some()),
            Event::Replace(_) => (ImportOutcome::Replaced, false),
            Event::Remove(_) => (ImportOutcome::Removed, false),
            Event::Yank(_) => (ImportOutcome::Yanked, false),
            Event::Lost(_) => continue,
        };
        if changed.get(&package).is_some_and(|are_compared| !(*are_compared && is_compared)) {
            (result.outcome, result.reason) = (made, None);
        }
        if !matches!(result.outcome, ImportOutcome::Existing | ImportOutcome::Refused) {
            *changed.entry(package).or_insert(true) &= is_compared;
        }
    }
}

/// Corrects what the server expects of changes whose files are missing, or have other sizes.
fn expect_files(folder: &Path, lines: &[&Line], results: &mut [ImportedResult]) {
    for (line, result) in lines.iter().zip(results) {
        let file = line
            .event
            .added()
            .filter(|_| !matches!(result.outcome, ImportOutcome::Existing | ImportOutcome::Refused));
        if let Some(Err(reason)) = file.map(|file| check_local(folder, file)) {
            (result.outcome, result.reason) = (ImportOutcome::Refused, Some(reason));
        }
    }
}

/// Returns a change for the server, without the place of its file.
fn change(line: &Line, upload: Option<u64>) -> ImportedChange {
    let mut event = line.event.clone();
    if let Event::Add(file) | Event::Replace(file) = &mut event {
        file.from = None;
    }
    ImportedChange { event, upload, kept: line.kept.clone() }
}

/// Returns the number of the first changes that one request may have: at most `count`, and at least one.
fn group_len(lines: &[&Line], count: usize) -> usize {
    let mut size = 0;
    let fits = |line: &&&Line| {
        size += serde_json::to_vec(&change(line, None)).map_or(0, |json| json.len());
        size <= MAX_REQUEST
    };
    lines.iter().take(count).take_while(fits).count().max(1)
}

struct Import<'a> {
    client: &'a Client,
    origins: Origins,
    kind: &'static str,
    args: &'a ImportFlags,
}

impl Import<'_> {
    /// Makes changes in groups, each in one write of the server. Until a group is written, its uploads change nothing.
    async fn all(&self, lines: &[&Line], report: &mut Report) -> Result<(), CliError> {
        let (mut rest, mut count, mut losses) = (lines, GROUP, 0);
        while !rest.is_empty() {
            let group = &rest[..group_len(rest, count)];
            let result = self.group(group, report).await;
            if losses < MAX_LOSSES && result.as_ref().is_err_and(|error| error.has_code(Code::NoUpload)) {
                // The server was restarted after the uploads, and has lost them, or the first ones expired before the last one.
                (count, losses) = (group.len().div_ceil(2), losses + 1);
                continue;
            }
            let done = result.map_err(|error| match error {
                CliError::Refused { code, reason } => CliError::Refused {
                    code,
                    reason: format!("{reason}\nRun the command again to continue the import"),
                },
                other => other,
            })?;
            (rest, losses) = (&rest[done..], 0);
            note(format!("{} of {}", lines.len() - rest.len(), count_of(lines.len(), "change", "changes")));
        }
        Ok(())
    }

    /// Makes the first changes of a group, as many as can be uploaded in [`GROUP_TIME`]. Returns their number, at least one.
    async fn group(&self, group: &[&Line], report: &mut Report) -> Result<usize, CliError> {
        let start = Instant::now();
        let in_time = stream::iter(group).take_while(|_| future::ready(start.elapsed() < GROUP_TIME));
        let uploads = in_time.map(|line| self.upload(line)).buffered(PARALLEL);
        let uploads: Vec<Result<Option<u64>, String>> = uploads.try_collect().await?;
        let done = uploads.len();
        let (mut lines, mut changes, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for (line, upload) in group.iter().zip(uploads) {
            match upload {
                Ok(upload) => {
                    lines.push(*line);
                    changes.push(change(line, upload));
                }
                Err(reason) => refused.push((line, reason)),
            }
        }
        if !changes.is_empty() {
            let change_past_days = self.args.change_past_days;
            let body = AddPackages { changes, change_past_days, ..AddPackages::default() };
            let result = self.client.send::<operations::AddPackages>([&self.args.source], &body).await?;
            report.add(&lines, result);
        }
        refused.into_iter().for_each(|(line, reason)| report.refuse(line, reason));
        Ok(done)
    }

    /// Uploads the file of a change, if it has one. The inner error is the reason why the change is not made.
    async fn upload(&self, line: &Line) -> Result<Result<Option<u64>, String>, CliError> {
        let Some(file) = line.event.added() else { return Ok(Ok(None)) };
        let fetched = match self.origins.fetch(file).await {
            Ok(fetched) => fetched,
            Err(reason) => return Ok(Err(reason)),
        };
        match self.client.upload_as((*fetched).as_ref(), &file.file, self.kind).await {
            Ok(upload) => {
                for notice in &upload.notices {
                    note(format!("{}: {notice}", file.file));
                }
                Ok(Ok(Some(upload.id)))
            }
            Err(error) if error.has_code(Code::Invalid) => Ok(Err(error.to_string())),
            Err(error) => Err(error),
        }
    }
}
