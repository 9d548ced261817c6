//! The entries that the log needs: of transactions, of events that other writes recorded, of the rules in force, and of the
//! states of days that ended.

use std::collections::HashSet;

use super::{History, entry, views};
use base::model::digest::Sha256;
use base::model::ids::{RepoId, Seq, TreeId, TxId};
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use bytes::Bytes;
use content::serve::proofs::RULES;
use content::serve::{RepoError, point, proofs};
use formats::tlog::entry::{Entry, MAX_SIZE};
use formats::tlog::line::TreeLine;
use formats::tlog::record_proof::records_of;
use formats::tlog::tree::{Hash, Root, leaf_hash};
use runtime::catalog::{Catalog, Tree};
use store::db::tlog::{Head, NewEntry};
use store::db::tree::Role;
use store::db::tx::{self, TxKind};
use store::db::{DbError, audit, identity, tlog, tlog_event};

/// Maximum number of transactions, and of events, of one addition.
const MAX_TRANSACTIONS: usize = 64;
const MAX_EVENTS: i64 = 1000;
/// Maximum number of lines of an entry with files.
const MAX_FILES: usize = 200;
/// Space for the lines of an entry before those that are split.
const HEAD_SIZE: usize = 2_000;
/// Maximum length of a `list` line in bytes, and number of records of a `leaves` line.
const MAX_LIST: usize = 20_000;
const MAX_LEAVES: usize = 2_000;

/// New entries, and the state of the log after them.
pub(super) struct Entries {
    pub(super) entries: Vec<NewEntry>,
    /// The numbers of the events that the entries contain.
    pub(super) events: Vec<i64>,
    pub(super) tx: TxId,
    pub(super) closed_until: Timestamp,
}

/// Returns the next entries: of transactions that have none, in their order, of events, and then of the days that ended.
pub(super) async fn next(history: &History, head: &Head) -> Result<Entries, RepoError> {
    let catalog = history.state.catalog.get();
    let first = catalog.transactions.partition_point(|(tx, _)| *tx <= head.tx);
    let transactions = catalog.transactions.get(first..).unwrap_or_default();
    let transactions = &transactions[..transactions.len().min(MAX_TRANSACTIONS)];
    let mut next =
        Entries { entries: Vec::new(), events: Vec::new(), tx: head.tx, closed_until: head.closed_until };
    if head.size == 0 {
        next.entries.push(opening(history, &catalog, head).await?);
    }
    // Before the transactions, so that a log with all transactions has the rules too.
    next.entries.extend(rules(history, &catalog, head).await?);
    if let Some((last, _)) = transactions.last() {
        next.entries.extend(publishes(history, &catalog, head, transactions).await?);
        next.tx = *last;
        return Ok(next);
    }
    let events = history.state.db.read(|c| tlog_event::first(c, MAX_EVENTS)).await?;
    next.events = events.iter().map(|event| event.id).collect();
    next.entries.extend(of_events(&events)?);
    if events.iter().any(|event| event.kind == "clock") {
        // Days that a wrong clock ended get their states when they end.
        next.closed_until = head.closed_until.min((history.state.clock)().day().start());
    }
    let end = head.closed_until.day().end();
    if end <= (history.state.clock)() && !catalog.is_closed(end) {
        // The server was off at midnight.
        point::close_past_days(&history.repositories).await;
    }
    if events.is_empty() && catalog.is_closed(end) && end <= (history.state.clock)() {
        next.entries.extend(views::of_day(history, &catalog, head.closed_until.day(), head.tx).await?);
        next.closed_until = end;
    }
    Ok(next)
}

async fn opening(history: &History, catalog: &Catalog, head: &Head) -> Result<NewEntry, RepoError> {
    let database = history.state.db.read(identity::get).await?;
    let mut lines = vec![("database", database.to_string()), ("history", catalog.history_id.clone())];
    let previous = head.id - 1;
    if let Some(previous) = history.state.db.read(move |c| tlog::by_id(c, previous)).await?
        && let Some(signed) = proofs::signed(&previous)?
    {
        let root = signed.checkpoint.root;
        lines.push(("previous", format!("{} {} {}", previous.origin, root.count, hex::encode(root.hash))));
    }
    entry("open", lines, None)
}

/// Returns the entries of transactions: of each one or several with the roots of the lists of packages that it published and
/// its lists of subscriptions, then the new records of these lists, and the state of a repository that it promoted.
async fn publishes(
    history: &History,
    catalog: &Catalog,
    head: &Head,
    transactions: &[(TxId, Timestamp)],
) -> Result<Vec<NewEntry>, RepoError> {
    let (old, ids) = (head.tx, transactions.iter().map(|(tx, _)| *tx).collect::<Vec<_>>());
    let last = ids.last().copied().unwrap_or(old);
    let rows = history.state.db.read(move |c| {
        let kinds: Result<Vec<_>, DbError> =
            ids.iter().map(|id| Ok(tx::get(c, *id)?.map(|tx| tx.kind))).collect();
        Ok((tlog::steps(c, old, last)?, kinds?, audit::newest(c)?))
    });
    let (steps, kinds, (audit_row, audit_digest)) = rows.await?;
    let lists = catalog.repos.iter().flat_map(|repo| repo.steps.iter().map(move |step| (repo, step)));
    let lists: Vec<_> = lists.filter(|(_, step)| step.tx > old && step.tx <= last).collect();
    let now = (history.state.clock)();
    let mut entries = Vec::new();
    for ((tx, at), kind) in transactions.iter().zip(kinds) {
        let (mut lines, mut records) = (Vec::new(), Vec::new());
        let is_late = now.0.saturating_sub(at.0) > views::LATE;
        for step in steps.iter().filter(|step| step.tx == *tx) {
            let Some(tree) = catalog.trees.find(step.tree) else { continue };
            if !is_list(tree, step.seq) {
                continue;
            }
            let hashes = hashes_of(history, catalog, tree, step.seq).await?;
            let source = source_text(catalog, tree.source);
            let (label, seq, root) = (label(tree), step.seq.0, Root::of_hashes(&hashes));
            let line = TreeLine { source: &source, label, seq, root, tree: Some(tree.id.0) };
            lines.push(("tree", line.to_string()));
            let (previous, last) = (Seq(step.seq.0 - 1), history.last_list.lock().take());
            let before = match last {
                _ if tree.steps.iter().all(|other| other.seq >= step.seq) => Vec::new(),
                Some(last) if (last.tree, last.seq) == (tree.id, previous) => last.hashes,
                _ => hashes_of(history, catalog, tree, previous).await?,
            };
            records.extend(new_records(*tx, &format!("{source} {label} {seq}"), &before, &hashes)?);
            *history.last_list.lock() = Some(LoggedList { tree: tree.id, seq: step.seq, hashes });
        }
        for (repo, step) in lists.iter().filter(|(_, step)| step.tx == *tx) {
            let sources = step.list.iter().map(|subscription| {
                let version = subscription.version.map(|version| format!("@{version}")).unwrap_or_default();
                format!("{}{version}", source_text(catalog, subscription.source))
            });
            lines.extend(list_lines(repo.name.as_str(), sources).map(|line| ("list", line)));
        }
        for (part, lines) in parts_of(lines).into_iter().enumerate() {
            let mut head = vec![("history", catalog.history_id.clone()), ("transaction", tx.0.to_string())];
            let kind = kind.map_or("unknown", TxKind::as_str).to_owned();
            head.extend([("time", at.to_string()), ("kind", kind)]);
            head.extend(lines);
            let mut salt = None;
            if part == 0 {
                let random: [u8; 32] =
                    ring::rand::generate(&ring::rand::SystemRandom::new()).map_err(no_salt)?.expose();
                let salted = Sha256::of([&random, audit_digest.as_bytes()].concat());
                head.push(("audit", format!("{audit_row} {salted}")));
                salt = Some(random.to_vec());
            }
            head.extend(is_late.then(|| ("late", "yes".to_owned())));
            entries.push(entry("publish", head, salt)?);
        }
        entries.extend(records);
        if kind == Some(TxKind::Promote) {
            for (repo, _) in lists.iter().filter(|(_, step)| step.tx == *tx) {
                let snapshot = Snapshot::Transaction(*tx);
                for view in views::of_snapshot(history, catalog, repo, snapshot, *tx).await? {
                    if !is_in_earlier_log(history, head, &view).await? {
                        // Under the rules of now.
                        entries.push(if is_late { views::late(view) } else { view });
                    }
                }
            }
        }
    }
    Ok(entries)
}

/// Returns whether a step of a tree is a list that has an entry: not one of an index of projects.
pub(super) fn is_list(tree: &Tree, seq: Seq) -> bool {
    let listing = Catalog::point_tree(tree.source, tree, seq).listing();
    tree.role == Role::Source && !listing.source.is_project_index()
}

/// Returns whether an earlier log has the entry of a state. The log that follows it does not repeat this entry, which may have
/// older cosignatures.
async fn is_in_earlier_log(history: &History, head: &Head, view: &NewEntry) -> Result<bool, RepoError> {
    let subject = view.subject.clone();
    let found = history.state.db.read(move |c| tlog::find(c, &subject)).await?;
    let root = |text: &str| Some(Entry::parse(text.as_bytes()).ok()?.value("root")?.to_owned());
    Ok(found.is_some_and(|(log, _, text)| log < head.id && root(&text) == root(&view.text)))
}

fn no_salt(error: ring::error::Unspecified) -> RepoError {
    RepoError::Invalid(format!("could not make the salt of an entry: {error}"))
}

/// Returns the records of a list of packages at a step, without rules.
pub(super) async fn state_of(
    history: &History,
    catalog: &Catalog,
    tree: &Tree,
    seq: Seq,
) -> Result<Bytes, RepoError> {
    let language = catalog.source_language(tree.source);
    let trees = vec![Catalog::point_tree(tree.source, tree, seq)];
    proofs::records(&history.repositories, Point::of_trees(RepoId(0), language, trees)).await
}

/// The hashes of the records of a list of packages.
pub(super) struct LoggedList {
    tree: TreeId,
    seq: Seq,
    hashes: Vec<Hash>,
}

async fn hashes_of(
    history: &History,
    catalog: &Catalog,
    tree: &Tree,
    seq: Seq,
) -> Result<Vec<Hash>, RepoError> {
    let state = state_of(history, catalog, tree, seq).await?;
    Ok(records_of(&state).map(leaf_hash).collect())
}

/// Returns entries with the first 8 bytes of the hashes that a state has and the one before it has not, in hexadecimal digits:
/// they identify the records of a changed state that were never published. They are no proof.
fn new_records(tx: TxId, tree: &str, before: &[Hash], state: &[Hash]) -> Result<Vec<NewEntry>, RepoError> {
    let known: HashSet<&Hash> = before.iter().collect();
    let new = state.iter().filter(|hash| !known.contains(hash));
    let new: Vec<String> = new.map(|hash| hex::encode(&hash[..8])).collect();
    let lines = new.chunks(MAX_LEAVES).map(|hashes| {
        let mut lines = vec![("transaction", tx.0.to_string()), ("tree", tree.to_owned())];
        lines.push(("leaves", hashes.join(" ")));
        entry("records", lines, None)
    });
    lines.collect()
}

/// Returns the label of a tree, without spaces.
fn label(tree: &Tree) -> &str {
    if tree.label.is_empty() { "-" } else { &tree.label }
}

/// Returns the lines of a list of subscriptions. One that ends with a comma is continued by the next one.
fn list_lines(repo: &str, sources: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut texts = vec![String::new()];
    for source in sources {
        let text = texts.last_mut().expect("never empty");
        if text.len() + source.len() > MAX_LIST {
            text.push(',');
            texts.push(source);
        } else {
            text.extend([if text.is_empty() { "" } else { "," }, &source]);
        }
    }
    texts.into_iter().map(move |text| format!("{repo} {}", if text.is_empty() { "-" } else { &text }))
}

/// Divides lines into those of one entry each; at least one.
fn parts_of(lines: Vec<(&'static str, String)>) -> Vec<Vec<(&'static str, String)>> {
    let (mut parts, mut size) = (vec![Vec::new()], HEAD_SIZE);
    for line in lines {
        let length = line.0.len() + line.1.len() + 2;
        if size + length > MAX_SIZE {
            parts.push(Vec::new());
            size = HEAD_SIZE;
        }
        size += length;
        parts.last_mut().expect("never empty").push(line);
    }
    parts
}

/// Returns the transaction that an entry states; `None` for entries of other kinds.
pub(super) fn transaction_of(entry: &Entry) -> Option<TxId> {
    entry.value("transaction").and_then(|text| text.parse().ok()).map(TxId)
}

/// Returns the name of a source; the number of a deleted one.
fn source_text(catalog: &Catalog, source: base::model::ids::SourceId) -> String {
    catalog.source_by_id(source).map_or_else(|| source.0.to_string(), |source| source.name.to_string())
}

/// Returns the entries of events. Files that follow each other have one entry. An event that cannot be an entry has none.
fn of_events(events: &[tlog_event::Event]) -> Result<Vec<NewEntry>, RepoError> {
    let mut entries = Vec::new();
    let mut rest = events;
    while let Some(first) = rest.first() {
        let same = rest.iter().take(MAX_FILES).take_while(|event| event.kind == first.kind).count();
        let (group, after) = rest.split_at(if first.kind == "files" { same } else { 1 });
        rest = after;
        let lines = group.iter().flat_map(|event| event.text.lines());
        let lines = lines.filter_map(|line| line.split_once(' ')).map(|(key, value)| (key, value.to_owned()));
        match entry(&first.kind, lines.collect(), None) {
            Ok(entry) => entries.push(entry),
            Err(error) => tracing::warn!(%error, "could not log an event of kind {}", first.kind),
        }
    }
    Ok(entries)
}

/// Returns an entry if the newest one has another digest of the rules in force.
pub(super) async fn rules(
    history: &History,
    catalog: &Catalog,
    head: &Head,
) -> Result<Option<NewEntry>, RepoError> {
    let newest = history.state.db.read(|c| tlog::find(c, RULES)).await?;
    let digest = history.rules.of_all(catalog, history.has_automatic_guards());
    let entry = entry(RULES, vec![(RULES, digest)], None)?;
    Ok(newest.is_none_or(|(log, _, text)| log != head.id || text != entry.text).then_some(entry))
}
