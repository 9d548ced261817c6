//! The entries that the log needs: one for each transaction, and one for each state of a repository at the end of a day.

use super::History;
use base::model::digest::Sha256;
use base::model::ids::{RepoId, SourceId, TxId};
use base::model::kind::Layout;
use base::model::point::Point;
use base::model::snapshot::Snapshot;
use base::model::time::{Day, Timestamp};
use content::serve::{RepoError, point, proofs};
use formats::policy::Rule;
use formats::tlog::entry::Entry;
use formats::tlog::record_proof::INDEX;
use runtime::catalog::Catalog;
use runtime::catalog::resolve::Unresolved;
use store::db::tlog::{Head, NewEntry};
use store::db::tree::Role;
use store::db::tx::{self, TxKind};
use store::db::{DbError, identity, tlog};

/// Maximum number of transactions of one addition.
const MAX_TRANSACTIONS: usize = 64;

/// New entries, and the state of the log after them.
pub(super) struct Entries {
    pub(super) entries: Vec<NewEntry>,
    /// The numbers of the events that the entries contain.
    pub(super) events: Vec<i64>,
    pub(super) tx: TxId,
    pub(super) closed_until: Timestamp,
}

/// Returns the next entries: of transactions that have none, in their order, and then of the days that ended.
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
    if let Some((last, _)) = transactions.last() {
        next.entries.extend(publishes(history, &catalog, head, transactions).await?);
        next.tx = *last;
        return Ok(next);
    }
    let end = head.closed_until.day().end();
    if catalog.is_closed(end) && end <= (history.state.clock)() {
        next.entries.extend(views(history, &catalog, head.closed_until.day(), head.tx).await?);
        next.closed_until = end;
    }
    Ok(next)
}

pub(super) fn entry(subject: String, kind: &str, lines: Vec<(&str, String)>) -> Result<NewEntry, RepoError> {
    let entry = Entry::new(kind, lines);
    let entry = entry.map_err(|error| RepoError::Invalid(format!("entry of the log: {error}")))?;
    Ok(NewEntry { subject, text: entry.to_string(), salt: None })
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
    entry(String::new(), "open", lines)
}

/// Returns an entry for each transaction, with the roots of the lists of R packages that it published, and its lists of
/// subscriptions.
async fn publishes(
    history: &History,
    catalog: &Catalog,
    head: &Head,
    transactions: &[(TxId, Timestamp)],
) -> Result<Vec<NewEntry>, RepoError> {
    let (old, ids) = (head.tx, transactions.iter().map(|(tx, _)| *tx).collect::<Vec<_>>());
    let last = ids.last().copied().unwrap_or(old);
    let (steps, kinds) = history
        .state
        .db
        .read(move |c| {
            let kinds: Result<Vec<_>, DbError> =
                ids.iter().map(|id| Ok(tx::get(c, *id)?.map(|tx| tx.kind))).collect();
            Ok((tlog::steps(c, old, last)?, kinds?))
        })
        .await?;
    let mut entries = Vec::new();
    for ((tx, at), kind) in transactions.iter().zip(kinds) {
        let mut lines = vec![
            ("history", catalog.history_id.clone()),
            ("transaction", tx.0.to_string()),
            ("time", at.to_string()),
            ("kind", kind.map_or("unknown", TxKind::as_str).to_owned()),
        ];
        for step in steps.iter().filter(|step| step.tx == *tx) {
            let Some(tree) = catalog.trees.find(step.tree) else { continue };
            let language = catalog.source_language(tree.source);
            if language.layout() != Layout::Lists || tree.role != Role::Source {
                continue;
            }
            let trees = vec![Catalog::point_tree(tree.source, tree, step.seq)];
            let root =
                proofs::root(&history.repositories, Point::of_trees(RepoId(0), language, trees)).await?;
            let (label, seq, hash) = (&tree.label, step.seq.0, hex::encode(root.hash));
            lines.push((
                "tree",
                format!("{} {label} {seq} {} {hash}", source_text(catalog, tree.source), root.count),
            ));
        }
        let steps = catalog.repos.iter().flat_map(|repo| repo.steps.iter().map(move |step| (repo, step)));
        for (repo, step) in steps.filter(|(_, step)| step.tx == *tx) {
            let sources = step.list.iter().map(|subscription| {
                let version = subscription.version.map(|version| format!("@{version}")).unwrap_or_default();
                format!("{}{version}", source_text(catalog, subscription.source))
            });
            lines.push(("list", format!("{} {}", repo.name, sources.collect::<Vec<_>>().join(","))));
        }
        entries.push(entry(String::new(), "publish", lines)?);
    }
    Ok(entries)
}

/// Returns the name of a source; the number of a deleted one.
fn source_text(catalog: &Catalog, source: SourceId) -> String {
    catalog.source_by_id(source).map_or_else(|| source.0.to_string(), |source| source.name.to_string())
}

/// Returns an entry for the state of each repository of R packages on a day that is over.
async fn views(history: &History, catalog: &Catalog, day: Day, tx: TxId) -> Result<Vec<NewEntry>, RepoError> {
    let mut entries = Vec::new();
    let of_day = catalog.transactions.iter().rev().find(|(id, at)| *id <= tx && *at < day.end());
    let newest = of_day.map_or(0, |(id, _)| id.0).to_string();
    for repo in catalog.repos.iter().filter(|repo| repo.kind.is_one_list()) {
        let name = repo.name.to_string();
        let point = match point::resolve(&history.repositories, &name, Snapshot::Date(day)).await {
            Ok(point) => point,
            // It is new, or was deleted meanwhile.
            Err(
                RepoError::NotFound(_)
                | RepoError::Unresolved(Unresolved::Empty | Unresolved::BeforeHistory { .. }),
            ) => continue,
            Err(error) => return Err(error),
        };
        let root = proofs::root(&history.repositories, point).await?;
        entries.push(entry(
            proofs::subject(&name, day),
            "view",
            vec![
                ("repository", name),
                ("snapshot", day.to_string()),
                ("document", INDEX.to_owned()),
                ("records", root.count.to_string()),
                ("root", hex::encode(root.hash)),
                ("rules", rules_digest(catalog, repo.id)),
                ("transaction", newest.clone()),
            ],
        )?);
    }
    Ok(entries)
}

/// Returns the SHA-256 of a line for each block rule of a repository, in order of execution: id, priority, effect, source,
/// criteria.
fn rules_digest(catalog: &Catalog, repo: RepoId) -> String {
    let mut rules: Vec<&Rule> = catalog.rules.iter().map(|stored| &*stored.rule).collect();
    rules.retain(|rule| rule.criteria.repo.is_none_or(|of| of == repo));
    rules.sort_by_key(|rule| rule.order());
    let lines = rules.iter().map(|rule| {
        let source = rule.criteria.source.map_or_else(|| "-".to_owned(), |source| source.0.to_string());
        let criteria = serde_json::to_string(&rule.criteria).unwrap_or_default();
        format!("{} {} {} {source} {criteria}\n", rule.id, rule.priority, rule.effect.as_str())
    });
    Sha256::of(lines.collect::<String>().as_bytes()).to_string()
}
