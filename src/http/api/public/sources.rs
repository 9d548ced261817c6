//! Sources and their transactions.

use super::lookup::{repository, source};
use super::{Answer, PublicCall};
use api::public::repo::{ListTransactions, PublicSource, Transaction};
use base::model::ids::SourceId;
use content::serve;
use runtime::catalog;
use store::db::tx::{Tx, TxKind};

/// Maximum number of transactions in a response; old clients request ten thousand.
const MAX_TRANSACTIONS: usize = 100_000;

pub(super) async fn list(call: PublicCall<'_>) -> Answer<Vec<PublicSource>> {
    let (principal, catalog) = (call.head.principal, &call.catalog);
    let readable = catalog.sources.iter().filter(|source| principal.may_read_source(catalog, source));
    Ok(readable.map(wire).collect())
}

pub(super) async fn of_repo(call: PublicCall<'_>, repo: &str) -> Answer<Vec<PublicSource>> {
    let subscribed = repository(&call.catalog, repo)?.sources();
    Ok(subscribed.iter().filter_map(|id| call.catalog.source_by_id(*id)).map(wire).collect())
}

pub(super) async fn show(call: PublicCall<'_>, name: &str) -> Answer<PublicSource> {
    source(&call.catalog, name).map(wire)
}

pub(super) async fn transactions(
    call: PublicCall<'_>,
    name: &str,
    query: ListTransactions,
) -> Answer<Vec<Transaction>> {
    let source = source(&call.catalog, name)?.id;
    let limit = query.limit.unwrap_or(1000).min(MAX_TRANSACTIONS);
    let page = query.page.unwrap_or(1).min(MAX_TRANSACTIONS / limit.max(1)).max(1);
    let rows = serve::info::source_transactions(&call.app.state, source, limit * page).await?;
    Ok(rows.iter().skip(limit * (page - 1)).map(|tx| wire_transaction(source, tx)).collect())
}

fn wire(source: &catalog::Source) -> PublicSource {
    PublicSource {
        id: source.id.0,
        name: source.name.to_string(),
        created: source.created_at.to_string(),
        kind: source.kind.label().to_owned(),
    }
}

/// Converts a transaction. Old clients read `id` and `published_to` of each row, so neither is ever missing.
fn wire_transaction(source: SourceId, tx: &Tx) -> Transaction {
    let action = match tx.kind {
        TxKind::Sync => "Sync",
        TxKind::Add => "Add",
        TxKind::Remove => "Remove",
        TxKind::Yank => "Yank",
        TxKind::Subscribe => "Subscribe",
        TxKind::Promote => "Promote",
        TxKind::Backfill => "Backfill",
    };
    Transaction {
        id: tx.id.0,
        created: tx.started_at.to_string(),
        completed: tx.at.day().to_string(),
        kind: "source".to_owned(),
        tag: tx.comment.clone(),
        source_id: source.0,
        guid: format!("{source}-{}", tx.id),
        packages_added: tx.counts.added,
        packages_updated: tx.counts.updated,
        packages_archived: tx.counts.archived,
        packages_removed: tx.counts.removed,
        action: action.to_owned(),
        published_from: tx.published_from.unwrap_or(tx.at).to_string(),
        published_to: tx.at.to_string(),
        result: String::new(),
    }
}
