//! Compares the log with the database: its entries with the signed root, and the states in it with what is served now.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::entries::{self, transaction_of};
use super::{History, key, views};
use base::model::digest::Sha256;
use base::model::ids::{Seq, TreeId, TxId};
use base::model::point::{Point, PointTree};
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use content::serve::{RepoError, proofs};
use formats::r::bioconductor::Part;
use formats::tlog::edge::Edge;
use formats::tlog::entry::Entry;
use formats::tlog::line::{FileLine, TreeLine};
use formats::tlog::note::{KeyType, Signer};
use formats::tlog::record_proof::{INDEX, name_of, records_of};
use formats::tlog::tree::{Accumulator, Root, leaf_hash};
use runtime::catalog::resolve::Unresolved;
use runtime::catalog::{Catalog, Repository};
use store::db::file::{self, LoggedFile};
use store::db::tlog::{self, Head};
use store::db::tree::Step;
use store::db::{Conn, DbError};

/// Number of entries that are read at once.
const CHUNK: u64 = 2_000;
/// Maximum number of packages that a problem names.
const MAX_NAMES: usize = 20;

#[derive(Default)]
pub struct Examination {
    /// As sentences.
    pub problems: Vec<String>,
    pub notes: Vec<String>,
}

/// Compares each log with its signed root, and the states and the digests of files in it with those of now. `share`:
/// only those whose entry has a number with this remainder of the divisor.
pub async fn examine(history: &History, share: Option<Share>) -> Result<Examination, RepoError> {
    let mut result = Examination::default();
    let newest = history.state.db.read(tlog::head).await?.map_or(0, |head| head.id);
    for log in 1..=newest {
        if let Some(head) = history.state.db.read(move |c| tlog::by_id(c, log)).await? {
            examine_log(history, head, share, &mut result).await?;
        }
    }
    Ok(result)
}

async fn examine_log(
    history: &History,
    head: Head,
    share: Option<Share>,
    result: &mut Examination,
) -> Result<(), RepoError> {
    let Some(signed) = proofs::signed(&head)? else { return Ok(()) };
    match key::signers(&history.state, &head) {
        Ok(keys) => {
            let is_signer = |key: &Signer| matches!(signed.note.verify(key.key(KeyType::Note)), Ok(Some(_)));
            if !keys.iter().any(is_signer) {
                let problem = format!("the checkpoint of the log {} is not signed by its key", head.origin);
                result.problems.push(problem);
            }
        }
        Err(error) => result.notes.push(format!("the signature of the log was not verified: {error}")),
    }
    let mut edge = Edge::default();
    let mut pass = Pass {
        tree: Accumulator::default(),
        signed_root: None,
        published: HashSet::new(),
        views: Vec::new(),
        steps: Vec::new(),
        logged: HashMap::new(),
        times: BTreeMap::new(),
        files: Vec::new(),
    };
    let size = signed.checkpoint.root.count;
    let mut number = 0;
    while number < head.size {
        let (log, first) = (head.id, number);
        let texts = history.state.db.read(move |c| tlog::entries(c, log, first, CHUNK)).await?;
        if texts.is_empty() {
            break;
        }
        let tiles = edge.append(&texts);
        let differing = move |c: &mut dyn Conn| {
            let mut differing = Vec::new();
            for (place, hashes) in &tiles {
                let stored = tlog::tile(c, log, place.level, place.index)?.unwrap_or_default();
                if !stored.starts_with(hashes) {
                    differing.push(format!("{}/{}", place.level, place.index));
                }
            }
            Ok::<_, DbError>(differing)
        };
        let differing = history.state.db.read(differing).await?;
        let problem =
            |tile: String| format!("tile {tile} of the log {} is not that of its entries", head.origin);
        result.problems.extend(differing.into_iter().map(problem));
        for text in texts {
            pass.add(number, &text, size, share);
            number += 1;
        }
        let files = std::mem::take(&mut pass.files);
        let differing = history.state.db.read(move |c| file::differing(c, &files)).await?;
        result.problems.extend(differing.into_iter().map(|file| {
            let LoggedFile { source, name, md5, .. } = file;
            format!(
                "{name} of {source} with the MD5 {md5} has another SHA-256 than the log {} has of it",
                head.origin
            )
        }));
    }
    if number != head.size || pass.signed_root != Some(signed.checkpoint.root) {
        let found = pass.signed_root.map_or_else(|| format!("{number} entries"), |root| root.to_string());
        let expected = signed.checkpoint.root;
        result.problems.push(format!(
            "the log {} was changed: its signed checkpoint has the root {expected}, its entries have {found}",
            head.origin
        ));
    }
    let catalog = history.state.catalog.get();
    if head.history != catalog.history_id {
        result.notes.push(format!(
            "the log {} is of a database that was restored or copied since: only its entries were compared",
            head.origin
        ));
        return Ok(());
    }
    pass.compare_times(&catalog, &head, result);
    pass.compare_steps(history, &head, result).await?;
    pass.compare(history, &head, result).await
}

/// The entries whose number has this remainder.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    pub remainder: u64,
    pub divisor: u64,
}

struct Pass {
    tree: Accumulator,
    /// The root of the entries that the checkpoint signs.
    signed_root: Option<Root>,
    /// The first 8 bytes of the digests of all records that were published.
    published: HashSet<[u8; 8]>,
    views: Vec<Entry>,
    steps: Vec<LoggedStep>,
    /// All steps that have an entry, with their transactions.
    logged: HashMap<(TreeId, Seq), TxId>,
    /// The times of the transactions that have an entry.
    times: BTreeMap<TxId, Timestamp>,
    /// Those that were not compared yet.
    files: Vec<LoggedFile>,
}

/// A step of a list of packages in an entry of a transaction. It does not depend on rules, and on the names of repositories.
struct LoggedStep {
    tx: TxId,
    time: String,
    source: String,
    tree: TreeId,
    seq: Seq,
    root: Root,
}

impl Pass {
    fn add(&mut self, number: u64, text: &str, size: u64, share: Option<Share>) {
        self.tree.push(text.as_bytes());
        if number + 1 == size {
            self.signed_root = Some(self.tree.root());
        }
        // What cannot be read was changed, and the root differs.
        let Ok(entry) = Entry::parse(text.as_bytes()) else { return };
        if matches!(entry.kind(), "rewind" | "restore") {
            // The numbers of lost transactions are used again.
            let last = entry.value("to").and_then(|text| text.parse().ok()).map_or(TxId(0), TxId);
            self.steps.retain(|step| step.tx <= last);
            self.logged.retain(|_, tx| *tx <= last);
            self.times.retain(|tx, _| *tx <= last);
            self.views.retain(|view| transaction_of(view).is_some_and(|tx| tx <= last));
        }
        let is_in_share = share.is_none_or(|share| number % share.divisor.max(1) == share.remainder);
        if entry.kind() == "records" {
            let digits = entry.values("leaves").flat_map(|line| line.split(' '));
            self.published.extend(digits.filter_map(|digits| {
                let mut hash = [0; 8];
                hex::decode_to_slice(digits, &mut hash).is_ok().then_some(hash)
            }));
        }
        match entry.kind() {
            "publish" => {
                let steps: Vec<LoggedStep> = logged_steps(&entry).collect();
                self.logged.extend(steps.iter().map(|step| ((step.tree, step.seq), step.tx)));
                self.times.extend(transaction_of(&entry).zip(time_of(&entry, "time")));
                self.steps.extend(is_in_share.then_some(steps).into_iter().flatten());
            }
            "clock" => {
                let repaired = transaction_of(&entry).filter(|tx| self.times.contains_key(tx));
                self.times.extend(repaired.zip(time_of(&entry, "new")));
            }
            "files" if is_in_share => self.files.extend(entry.values("file").filter_map(logged_file)),
            "view" if is_in_share => self.views.push(entry),
            _ => {}
        }
    }

    /// Returns the records of a state that were never published.
    fn new_records<'a>(&self, state: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let is_new = |record: &&[u8]| {
            leaf_hash(record).first_chunk().is_some_and(|hash| !self.published.contains(hash))
        };
        records_of(state).filter(is_new)
    }

    /// Returns the packages of a state with records that were never published.
    fn changed_names(&self, state: &[u8]) -> String {
        let names: Vec<String> = self.new_records(state).take(MAX_NAMES).map(name_of).collect();
        match names.as_slice() {
            [] => "packages were added, removed or exchanged".to_owned(),
            names => format!("records that were never published: {}", names.join(", ")),
        }
    }

    /// Compares the times of transactions and of their lists, and looks for lists that have no entry.
    fn compare_times(&self, catalog: &Catalog, head: &Head, result: &mut Examination) {
        let mut differing = BTreeSet::new();
        for (tx, at) in catalog.transactions.iter().take_while(|(tx, _)| *tx <= head.tx) {
            if self.times.get(tx) != Some(at) {
                differing.insert(*tx);
            }
        }
        let mut unknown = BTreeSet::new();
        for tree in catalog.trees.iter() {
            let is_logged = |step: &&Step| step.tx <= head.tx && entries::is_list(tree, step.seq);
            for step in tree.steps.iter().filter(is_logged) {
                if self.logged.get(&(tree.id, step.seq)) != Some(&step.tx) {
                    unknown.insert(step.tx);
                } else if catalog.instant(step.tx) != Some(step.at) {
                    differing.insert(step.tx);
                }
            }
        }
        for (transactions, what) in
            [(differing, "has another time of"), (unknown, "lacks lists of packages of")]
        {
            let names: Vec<String> = transactions.iter().take(MAX_NAMES).map(|tx| tx.0.to_string()).collect();
            let more = if names.len() < transactions.len() { ", …" } else { "" };
            if !names.is_empty() {
                let names = names.join(", ");
                result.problems.push(format!("the log {} {what} transactions {names}{more}", head.origin));
            }
        }
    }

    /// Compares the lists of packages that transactions published, without rules. Those into whose past a later transaction
    /// was published have more records, each of which must have been published; those of deleted sources are left out.
    async fn compare_steps(
        &self,
        history: &History,
        head: &Head,
        result: &mut Examination,
    ) -> Result<(), RepoError> {
        let catalog = history.state.catalog.get();
        // By source and changed packages: the first transaction, and the number of all.
        let (mut left_out, mut later) = (0_usize, 0_usize);
        let mut changed: BTreeMap<(&str, String), (&LoggedStep, usize)> = BTreeMap::new();
        for logged in &self.steps {
            let Some(tree) = catalog.trees.find(logged.tree) else { continue };
            let Ok(at) = tree.steps.binary_search_by_key(&logged.seq, |step| step.seq) else {
                left_out += 1;
                continue;
            };
            let (before, step) = (&tree.steps[..at], &tree.steps[at]);
            if step.tx != logged.tx {
                let LoggedStep { source, tx, time, .. } = logged;
                result.problems.push(format!(
                    "a list of {source} that transaction {} published ({time}) belongs to another transaction now, other \
                     than in the log {}",
                    tx.0, head.origin
                ));
            }
            let state = entries::state_of(history, &catalog, tree, logged.seq).await?;
            let is_later = before.iter().any(|step| step.tx > logged.tx);
            later += usize::from(is_later);
            let is_changed = match is_later {
                true => self.new_records(&state).next().is_some(),
                false => Root::of(records_of(&state)) != logged.root,
            };
            if is_changed {
                let key = (logged.source.as_str(), self.changed_names(&state));
                changed.entry(key).or_insert((logged, 0)).1 += 1;
            }
        }
        for ((source, names), (LoggedStep { tx, time, .. }, count)) in changed {
            result.problems.push(format!(
                "the packages of {source} since transaction {} ({time}), in {count} states that the log {} has, are not those \
                 that were published; {names}",
                tx.0, head.origin
            ));
        }
        if left_out > 0 {
            result.notes.push(format!(
                "{left_out} lists of packages in the log were not compared: they were deleted"
            ));
        }
        if later > 0 {
            result.notes.push(format!(
                "of {later} lists of packages in the log, the records were compared, not their number: later transactions \
                 were published into their past"
            ));
        }
        Ok(())
    }

    /// Compares states under the same rules; of a state that differs, names the packages with records that were never
    /// published.
    async fn compare(
        &self,
        history: &History,
        head: &Head,
        result: &mut Examination,
    ) -> Result<(), RepoError> {
        let catalog = history.state.catalog.get();
        let (mut other_rules, mut later_steps, mut open_days) = (0_usize, 0_usize, 0_usize);
        for view in &self.views {
            let value = |key| view.value(key).unwrap_or_default();
            let (name, snapshot, document) = (value("repository"), value("snapshot"), value("document"));
            // A repository may have been renamed, and its name given to another one.
            let is_of_view = |repo: &&Repository| match view.value("id") {
                Some(id) => repo.id.0.to_string() == id,
                None => repo.name.as_str() == name,
            };
            let Some(repo) = catalog.repos.iter().find(is_of_view) else { continue };
            if history.rules.of_repository(&catalog, history.has_automatic_guards(), repo) != value("rules")
                || history.rules.need_advisories(&catalog, repo.id)
            {
                other_rules += 1;
                continue;
            }
            let Ok(selected) = snapshot.parse::<Snapshot>() else { continue };
            // After a repair of the clock.
            if matches!(selected, Snapshot::Date(day) if !catalog.is_closed(day.end())) {
                open_days += 1;
                continue;
            }
            let part = document.strip_prefix("packages/").and_then(|rest| rest.strip_suffix(INDEX));
            let part = part.and_then(|part| Part::parse(part.trim_end_matches('/')));
            let point = match views::point_of(history, repo.name.as_str(), part, selected).await {
                Ok(Some(point)) => point,
                // The clock was set back, and is not repaired yet.
                Err(RepoError::Unresolved(Unresolved::Future { .. })) => {
                    open_days += 1;
                    continue;
                }
                Ok(None) | Err(RepoError::Unresolved(_)) => {
                    result.problems.push(format!(
                        "{name} has no state of {snapshot} any more, which the log {} has",
                        head.origin
                    ));
                    continue;
                }
                Err(error) => return Err(error),
            };
            if has_later_steps(&catalog, &point, value("transaction").parse().map_or(TxId(0), TxId)) {
                later_steps += 1;
                continue;
            }
            let served = proofs::served(&history.repositories, &point).await?;
            let state = proofs::records(&history.repositories, point).await?;
            let is_equal = |state: &[u8]| {
                let root = Root::of(records_of(state));
                (hex::encode(root.hash).as_str(), root.count.to_string().as_str())
                    == (value("root"), value("records"))
            };
            let differing = [Some(state), served].into_iter().flatten().find(|state| !is_equal(&state[..]));
            let Some(state) = differing else { continue };
            let names = self.changed_names(&state);
            result.problems.push(format!(
                "{document} of {name} on {snapshot} is not what was served: the log {} has another root; {names}",
                head.origin
            ));
        }
        if other_rules > 0 {
            result.notes.push(format!(
                "{other_rules} states of the log were not compared: the block rules of their repositories have changed, or \
                 depend on advisories"
            ));
        }
        if open_days > 0 {
            result.notes.push(format!(
                "{open_days} states of the log were not compared: their days are not over, since the clock was set back"
            ));
        }
        if later_steps > 0 {
            result.notes.push(format!(
                "{later_steps} states of the log were not compared: later transactions were published into their past"
            ));
        }
        Ok(())
    }
}

fn time_of(entry: &Entry, key: &str) -> Option<Timestamp> {
    entry.value(key).and_then(|text| text.parse().ok())
}

/// Returns the lists of packages of an entry of a transaction.
fn logged_steps(entry: &Entry) -> impl Iterator<Item = LoggedStep> {
    let tx = transaction_of(entry).unwrap_or(TxId(0));
    entry.values("tree").filter_map(move |line| {
        let line = TreeLine::parse(line).ok()?;
        Some(LoggedStep {
            tx,
            time: entry.value("time").unwrap_or_default().to_owned(),
            source: line.source.to_owned(),
            tree: TreeId(line.tree?),
            seq: Seq(line.seq),
            root: line.root,
        })
    })
}

/// Returns the file of a line; `None` without an MD5.
fn logged_file(line: &str) -> Option<LoggedFile> {
    let FileLine { source, name, md5, sha256 } = FileLine::parse(line).ok()?;
    let (md5, sha256) = (md5.parse().ok()?, Sha256(sha256));
    Some(LoggedFile { source: source.to_owned(), name: name.to_owned(), md5, sha256 })
}

/// Returns whether a tree of the point has a step that was published after the entry of the state: by a back-fill, an import,
/// or the first sync of a version of Bioconductor that had ended.
fn has_later_steps(catalog: &Catalog, point: &Point, tx: TxId) -> bool {
    let is_later = |tree: &PointTree| {
        let steps = catalog.tree(tree.tree).map_or(&[][..], |tree| &tree.steps);
        let step = steps.binary_search_by_key(&tree.seq, |step| step.seq).ok().and_then(|at| steps.get(at));
        step.is_some_and(|step| step.tx > tx)
    };
    point.trees.iter().any(is_later)
}
