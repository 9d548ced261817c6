//! `rspm repair`: repairs of the server's data.

use clap::Args;

use super::client::Client;
use super::error::CliError;
use super::output::{Output, table};
use api::operations::admin as operations;
use api::repair;
use base::model::time::Day;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: rspm repair clock --today=$(date -u +%F) --dry-run, if the output of `date` is correct"
)]
pub struct RepairClock {
    /// Today's date in UTC; the command is refused if the server's clock has another date
    #[arg(long, value_name = "DATE")]
    pub today: Day,
    /// Print what would change and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

pub async fn clock(client: &Client, output: &Output, args: &RepairClock) -> Result<(), CliError> {
    let body = repair::RepairClock { today: args.today.to_string(), dry_run: args.dry_run };
    let result = client.send::<operations::RepairClock>([], &body).await?;
    output.print(&result, || {
        let row = |transaction: &repair::CorrectedTransaction| {
            vec![transaction.id.to_string(), transaction.from.clone(), transaction.to.clone()]
        };
        let rows: Vec<_> = result.transactions.iter().map(row).collect();
        match rows.is_empty() {
            true => result.message.clone(),
            false => format!("{}\n{}", result.message, table(&["Transaction", "Time", "New time"], &rows)),
        }
    })
}
