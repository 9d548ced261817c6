//! `rspm list blocked`: requests that block rules refused.

use super::client::Client;
use super::error::CliError;
use super::output::{Output, format_count, table};
use api::block_rule::{BlockedCount, BlockedRequests, CountBlocked};
use api::operations::admin as operations;

/// Maximum number of rows in the table.
const MAX_ROWS: usize = 200;

pub async fn list(client: &Client, output: &Output, args: CountBlocked) -> Result<(), CliError> {
    let blocked = client.call::<operations::BlockedRequests>([], &args).await?;
    output.print(&blocked, || describe(&blocked))
}

fn describe(blocked: &BlockedRequests) -> String {
    let BlockedRequests { since, total, requests } = blocked;
    if requests.is_empty() {
        return format!("No request was refused by a block rule since {since}.");
    }
    let row = |count: &BlockedCount| {
        let BlockedCount { rule, package, version, client, count, last } = count;
        let (rule, count) = (rule.to_string(), format_count(*count));
        vec![rule, package.clone(), version.clone(), client.clone(), count, last.clone()]
    };
    let rows: Vec<Vec<String>> = requests.iter().take(MAX_ROWS).map(row).collect();
    let header = ["Rule", "Package", "Version", "Client", "Requests", "Last"];
    let rest = requests.len().saturating_sub(MAX_ROWS);
    let more =
        if rest > 0 { format!("and {rest} more; -o json lists up to 10,000\n") } else { String::new() };
    format!("{}\n{more}Refused since {since}: {}", table(&header, &rows), format_count(*total))
}
