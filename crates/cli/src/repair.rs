//! `rspm repair`: repairs of the server's data.

use super::client::Client;
use super::error::CliError;
use super::output::{Output, table};
use api::operations::admin as operations;
use api::repair;

pub async fn clock(client: &Client, output: &Output, args: &repair::RepairClock) -> Result<(), CliError> {
    let result = client.send::<operations::RepairClock>([], args).await?;
    output.print(&result, || {
        let row = |transaction: &repair::CorrectedTransaction| {
            vec![transaction.id.to_string(), transaction.from.clone(), transaction.to.clone()]
        };
        let rows: Vec<_> = result.transactions.iter().map(row).collect();
        match rows.is_empty() {
            true => result.message.clone(),
            false => format!("{}\n{}", result.message, table(&["Transaction", "Time", "New time"], rows)),
        }
    })
}
