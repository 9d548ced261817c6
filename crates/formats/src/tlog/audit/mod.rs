//! The rules that the entries of one log follow, for an auditor who reads all of them in their order.

use std::collections::btree_map::BTreeMap;
use std::collections::hash_map::{Entry as Place, HashMap};
use std::fmt;

use sha2::{Digest, Sha256};

pub use trail::Trail;

use super::entry::Entry;
use super::line::{FileLine, TreeLine};
use super::policy::TrustedCheckpoint;
use super::tile::{Content, Tile, WIDTH};
use super::tree::{Accumulator, Hash, Root};
use super::{TlogError, decimal, fail, hex_bytes, quoted};
use base::model::snapshot::Snapshot;
use base::model::time::{SECOND, Timestamp};

/// How far the clocks of server and witnesses may differ.
const TOLERANCE: i64 = 3600 * SECOND;
/// Maximum number of findings; others are counted.
const MAX_FINDINGS: usize = 1000;

/// A rule of the auditor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The log has the root of every checkpoint of it that the auditor ever had.
    A1,
    /// Every entry can be read; other kinds and keys than those of this version are remarks.
    A2,
    /// Transactions have numbers without gaps within a history.
    A3,
    /// No step of a tree twice, and none below the first one, except by a back-fill or an import.
    A4,
    /// One state of a document for each day, unless something that is in the log changed the day.
    A5,
    /// No state of a day that is not over.
    A6,
    /// The SHA-256 of a file never changes.
    A7,
    /// The rows of the audit trail rise, and are those of an export of it.
    A8,
    /// The time of an entry is between the cosignatures before and after it.
    A9,
}

/// A violation of a rule, or a remark about an entry that another one explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub entry: u64,
    pub rule: Rule,
    pub is_violation: bool,
    pub text: String,
}

impl Finding {
    /// Returns the bundle that contains the entry, below the address of the log. The entry is its member `entry` mod 256.
    pub fn bundle(&self) -> Tile {
        Tile { content: Content::Entries, index: self.entry / u64::from(WIDTH), width: WIDTH }
    }
}

/// Writes number, rule, text, and where the entry is.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_violation { "" } else { " (remark)" };
        let member = self.entry % u64::from(WIDTH);
        let Finding { entry, rule, text, .. } = self;
        write!(f, "entry {entry}, {rule:?}{kind}: {text} [{}, member {member}]", self.bundle())
    }
}

/// A checkpoint of the log, and the file or address that it is from.
#[derive(Clone, Debug)]
pub struct KnownCheckpoint {
    pub place: String,
    pub trusted: TrustedCheckpoint,
}

impl KnownCheckpoint {
    fn times(&self) -> impl Iterator<Item = i64> {
        let seconds = self.trusted.cosignatures.iter().map(|cosignature| cosignature.time);
        seconds.map(|time| i64::try_from(time).unwrap_or(i64::MAX).saturating_mul(SECOND))
    }

    fn root(&self) -> Root {
        self.trusted.checkpoint.root
    }
}

/// What has allowed changes of past days since the beginning: the newest entry of these kinds.
#[derive(Clone, Debug)]
struct Cause {
    entry: u64,
    kind: String,
}

/// The state of an audit after some entries. It grows by about 40 bytes per view and per file.
pub struct Auditor {
    /// By size.
    known: Vec<KnownCheckpoint>,
    /// The number of those whose size was reached.
    passed: usize,
    /// For each known checkpoint, the latest time at which it or a larger one was cosigned first.
    latest: Vec<Option<i64>>,
    /// The time of the newest cosignature of a checkpoint without the next entry.
    earliest: Option<i64>,
    tree: Accumulator,
    kinds: BTreeMap<String, u64>,
    history: String,
    transaction: Option<u64>,
    part: u64,
    audit_row: u64,
    trail: Trail,
    /// The steps of each tree: the last one of each gapless sequence, by the first one.
    steps: HashMap<String, BTreeMap<i64, i64>>,
    /// The newest view, by repository and document, and by snapshot.
    views: HashMap<String, HashMap<Snapshot, u64>>,
    /// The first half of each SHA-256, by that of source, name and MD5.
    files: HashMap<[u8; 16], [u8; 16]>,
    cause: Option<Cause>,
    findings: Vec<Finding>,
    omitted: u64,
    has_omitted_violation: bool,
}

/// The result of an audit.
#[derive(Clone, Debug)]
pub struct Report {
    /// The number of entries of each kind.
    pub kinds: BTreeMap<String, u64>,
    /// At most 1,000, in the order of entries.
    pub findings: Vec<Finding>,
    /// The number of further findings.
    pub omitted: u64,
    pub is_violated: bool,
}

impl Auditor {
    /// Begins the audit of a log with checkpoints of it: the one whose entries follow, and all earlier ones.
    pub fn new(mut known: Vec<KnownCheckpoint>) -> Auditor {
        known.sort_by_key(|known| known.root().count);
        let mut latest: Vec<Option<i64>> = known.iter().map(|known| known.times().max()).collect();
        let mut after = None;
        for time in latest.iter_mut().rev() {
            after = time.iter().copied().chain(after).min();
            *time = after;
        }
        let mut auditor = Auditor {
            known,
            passed: 0,
            latest,
            earliest: None,
            tree: Accumulator::default(),
            kinds: BTreeMap::new(),
            history: String::new(),
            transaction: None,
            part: 0,
            audit_row: 0,
            trail: Trail::default(),
            steps: HashMap::new(),
            views: HashMap::new(),
            files: HashMap::new(),
            cause: None,
            findings: Vec::new(),
            omitted: 0,
            has_omitted_violation: false,
        };
        auditor.pass_checkpoints();
        auditor
    }

    /// Compares the entries with an exported audit trail.
    #[must_use]
    pub fn with_trail(self, trail: Trail) -> Auditor {
        Auditor { trail, ..self }
    }

    /// Adds the next entry.
    pub fn push(&mut self, bytes: &[u8]) {
        let checked = Entry::parse(bytes).and_then(|entry| {
            *self.kinds.entry(entry.kind().to_owned()).or_default() += 1;
            match entry.unknown() {
                Some(text) => self.find(Rule::A2, false, format!("{text}; a newer rspm may know it")),
                None => entry.check_keys()?,
            }
            self.check(&entry)
        });
        if let Err(error) = checked {
            self.violation(Rule::A2, error.to_string());
        }
        self.tree.push(bytes);
        self.pass_checkpoints();
    }

    /// Returns the root over the entries.
    pub fn root(&self) -> Root {
        self.tree.root()
    }

    /// Ends the audit.
    pub fn finish(mut self) -> Report {
        let count = self.count();
        for known in self.known.split_off(self.passed) {
            let size = known.root().count;
            let text =
                format!("{} is a checkpoint of {size} entries, but the log has {count} only", known.place);
            self.violation(Rule::A1, text);
        }
        let is_violated = self.has_omitted_violation || self.findings.iter().any(|found| found.is_violation);
        let Auditor { kinds, findings, omitted, .. } = self;
        Report { kinds, findings, omitted, is_violated }
    }

    /// Returns the number of the next entry.
    fn count(&self) -> u64 {
        self.tree.count()
    }

    fn violation(&mut self, rule: Rule, text: String) {
        self.find(rule, true, text);
    }

    fn find(&mut self, rule: Rule, is_violation: bool, text: String) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding { entry: self.count(), rule, is_violation, text });
        } else {
            self.omitted += 1;
            self.has_omitted_violation |= is_violation;
        }
    }

    /// Compares the log with the checkpoints of its present size.
    fn pass_checkpoints(&mut self) {
        while let Some(known) = self.known.get(self.passed).filter(|known| known.root().count == self.count())
        {
            let found = self.root();
            let problem = (known.root() != found)
                .then(|| format!("{} has the root {}, the log {found}", known.place, known.root()));
            self.earliest = self.earliest.max(known.times().min());
            self.passed += 1;
            if let Some(problem) = problem {
                self.violation(Rule::A1, problem);
            }
        }
    }

    /// Checks the rules for an entry. An error is a value that cannot be read.
    fn check(&mut self, entry: &Entry) -> Result<(), TlogError> {
        if (entry.kind() == "open") != (self.count() == 0) {
            self.violation(Rule::A2, "an entry of kind 'open' is the first one, and no other".to_owned());
        }
        match entry.kind() {
            "open" => self.history = value(entry, "history")?.to_owned(),
            "publish" => self.publish(entry)?,
            "view" => self.view(entry)?,
            "files" => entry.values("file").try_for_each(|line| self.file(line))?,
            "rules" => self.allow_changes(entry),
            "clock" => {
                self.allow_changes(entry);
                let count = self.count();
                for found in &mut self.findings {
                    if matches!(found.rule, Rule::A6 | Rule::A9) && found.is_violation {
                        found.is_violation = false;
                        found.text += &format!("; explained by the repair of the clock, entry {count}");
                    }
                }
            }
            "rewind" | "restore" => {
                self.allow_changes(entry);
                self.history = value(entry, "history")?.to_owned();
                self.transaction = Some(number(entry, "to")?);
                self.audit_row = 0;
                // Their numbers are used again.
                self.steps.clear();
            }
            _ => {}
        }
        Ok(())
    }

    /// Allows second states of days after this entry.
    fn allow_changes(&mut self, entry: &Entry) {
        self.cause = Some(Cause { entry: self.count(), kind: entry.kind().to_owned() });
    }

    fn publish(&mut self, entry: &Entry) -> Result<(), TlogError> {
        let is_of_past = matches!(entry.value("kind"), Some("backfill" | "import"));
        if let Some(history) = entry.value("history").filter(|history| *history != self.history) {
            let text = format!("history {}, but the log is at {}", quoted(history), quoted(&self.history));
            self.violation(Rule::A3, format!("{text}, and no entry of kind 'restore' is between them"));
            history.clone_into(&mut self.history);
        }
        let transaction = number(entry, "transaction")?;
        let part = if entry.value("part").is_some() { number(entry, "part")? } else { 0 };
        if let Some(last) = self.transaction {
            let is_next = match part {
                0 => last.checked_add(1) == Some(transaction),
                part => last == transaction && part > self.part,
            };
            if !is_next {
                let text =
                    format!("transaction {transaction}, part {part}, after {last}, part {}", self.part);
                self.violation(Rule::A3, text);
            }
        }
        (self.transaction, self.part) = (Some(transaction), part);
        for line in entry.values("tree") {
            self.step(line, is_of_past)?;
        }
        if let Some(line) = entry.value("audit") {
            let (row, digest) = line.split_once(' ').unwrap_or((line, ""));
            let row = decimal(row).map_err(|e| e.at("audit"))?;
            let digest = hex_bytes::<32>(digest).map_err(|e| e.at("audit"))?;
            if let Some(problem) = self.trail.problem(self.count(), row, &digest) {
                self.violation(Rule::A8, problem);
            }
            if row < self.audit_row {
                let text = format!("row {row} of the audit trail after row {}", self.audit_row);
                self.violation(Rule::A8, text);
            }
            self.audit_row = row;
        }
        if is_of_past {
            self.allow_changes(entry);
        }
        self.time(entry, time_of(entry)?, is_of_past || entry.value("late").is_some());
        Ok(())
    }

    /// Checks a list of packages. The name of a source may change, and the number of the tree does not.
    fn step(&mut self, line: &str, is_of_past: bool) -> Result<(), TlogError> {
        let TreeLine { source, label, seq, tree: number, .. } = TreeLine::parse(line)?;
        let tree = number.map_or_else(|| format!("{source} {label}"), |number| number.to_string());
        let steps = self.steps.entry(tree).or_default();
        let first = steps.first_key_value().map(|(first, _)| *first);
        let before = steps.range(..=seq).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| last >= seq) {
            if seq == 1 && number.is_none() {
                *steps = BTreeMap::from([(1, 1)]);
                let text = format!("the tree {source} {label} begins again: its source was created again");
                self.find(Rule::A4, false, text);
            } else {
                self.violation(Rule::A4, format!("step {seq} of the tree {source} {label} a second time"));
            }
            return Ok(());
        }
        // Sequences that this step joins become one.
        let start = match before {
            Some((first, last)) if last.checked_add(1) == Some(seq) => first,
            _ => seq,
        };
        let end = seq.checked_add(1).and_then(|next| steps.remove(&next)).unwrap_or(seq);
        steps.insert(start, end);
        if first.is_some_and(|first| seq < first) && !is_of_past {
            let text = format!("step {seq} of the tree {source} {label} is below its first one");
            self.violation(Rule::A4, format!("{text}, without a back-fill or an import"));
        }
        Ok(())
    }

    fn view(&mut self, entry: &Entry) -> Result<(), TlogError> {
        let (repository, document) = (value(entry, "repository")?, value(entry, "document")?);
        let snapshot = value(entry, "snapshot")?;
        number(entry, "records")?;
        hex_bytes::<32>(value(entry, "root")?).map_err(|e| e.at("root"))?;
        let parsed = snapshot.parse::<Snapshot>().ok().filter(|parsed| parsed.to_string() == snapshot);
        let Some(parsed @ (Snapshot::Date(_) | Snapshot::Transaction(_))) = parsed else {
            return fail(format!("snapshot: {} is not a day or a transaction", quoted(snapshot)));
        };
        let count = self.count();
        // A deleted or renamed repository and the next one of its name are not one.
        let id = entry.value("id").unwrap_or_default();
        let views = self.views.entry(format!("{repository} {id} {document}")).or_default();
        if let Some(previous) = views.insert(parsed, count) {
            let text = format!(
                "a second state of {snapshot} of {} in {}, after entry {previous}",
                quoted(document),
                quoted(repository)
            );
            match self.cause.clone().filter(|cause| cause.entry > previous) {
                Some(cause) => {
                    let text = format!("{text}; explained by entry {} of kind {}", cause.entry, cause.kind);
                    self.find(Rule::A5, false, text);
                }
                None => {
                    let causes = "change of rules, back-fill, restore or repair of the clock";
                    self.violation(Rule::A5, format!("{text}, and no {causes} between them"));
                }
            }
            return Ok(());
        }
        let Snapshot::Date(day) = parsed else { return Ok(()) };
        match self.upper() {
            Some(upper) if day.end().0.saturating_sub(TOLERANCE) > upper => {
                let text = format!("the day {snapshot} was not over when a witness cosigned its state");
                self.violation(Rule::A6, format!("{text}, at {}", Timestamp(upper)));
            }
            _ => self.time(entry, day.end(), entry.value("late").is_some()),
        }
        Ok(())
    }

    /// Returns the time of the first cosignature of a checkpoint with this entry.
    fn upper(&self) -> Option<i64> {
        self.latest.get(self.passed).copied().flatten()
    }

    /// Checks the time of an entry against the cosignatures before and after it. `is_late`: its kind states that it is of
    /// the past.
    fn time(&mut self, entry: &Entry, time: Timestamp, is_late: bool) {
        if let Some(upper) = self.upper().filter(|upper| time.0.saturating_sub(TOLERANCE) > *upper) {
            let text = format!("early: it is of {time}, but was cosigned at {}", Timestamp(upper));
            self.violation(Rule::A9, text);
        }
        let lower = self.earliest.filter(|lower| time.0.saturating_add(TOLERANCE) < *lower && !is_late);
        if let Some(lower) = lower {
            let text =
                format!("late: it is of {time}, but the log without it was cosigned at {}", Timestamp(lower));
            let cause = self.cause.clone().filter(|cause| entry.kind() == "view" && cause.kind != "rules");
            match cause {
                Some(Cause { entry, kind }) => {
                    let text = format!("{text}; perhaps because of entry {entry} of kind {kind}");
                    self.find(Rule::A9, false, text);
                }
                None => self.violation(Rule::A9, text),
            }
        }
    }

    fn file(&mut self, line: &str) -> Result<(), TlogError> {
        let FileLine { source, name, md5, sha256 } = FileLine::parse(line)?;
        let sha256 = half(sha256);
        let key = half(Sha256::digest(format!("{source} {name} {md5}")).into());
        match self.files.entry(key) {
            Place::Vacant(vacant) => drop(vacant.insert(sha256)),
            Place::Occupied(known) if *known.get() == sha256 => {}
            Place::Occupied(_) => {
                let text = format!("{name} of {source} with MD5 {md5} has another SHA-256 than before");
                // Without an MD5, it may be another file of this name.
                self.find(Rule::A7, md5 != "-", text);
            }
        }
        Ok(())
    }
}

fn half(hash: Hash) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}

fn value<'a>(entry: &'a Entry, key: &str) -> Result<&'a str, TlogError> {
    entry.value(key).ok_or_else(|| TlogError(format!("no line with key '{key}'")))
}

fn number(entry: &Entry, key: &str) -> Result<u64, TlogError> {
    decimal(value(entry, key)?).map_err(|e| e.at(key))
}

fn time_of(entry: &Entry) -> Result<Timestamp, TlogError> {
    value(entry, "time")?.parse().map_err(|error| TlogError(format!("time: {error}")))
}

#[cfg(test)]
mod tests;
mod trail;
