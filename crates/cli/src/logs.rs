//! `rspm logs`: the logs of builds, and the server's log files.

use std::fs::File;
use std::io::Write;

use super::client::Client;
use super::error::CliError;
use super::git::print_log;
use super::git_args::{Logs, LogsCommand};
use super::output::{Output, print_part};
use api::operations::admin as operations;

/// `rspm logs …`.
///
/// # Errors
/// The server refuses, or a file cannot be opened.
pub async fn run(client: &Client, output: &Output, args: Logs) -> Result<(), CliError> {
    if let Some(LogsCommand::Reopen) = args.command {
        let result = client.call::<operations::ReopenLogs>([], &()).await?;
        return output.print(&result, || match result.files.as_slice() {
            [] => "The server has no log files.".to_owned(),
            files => format!("Reopened:\n  {}", files.join("\n  ")),
        });
    }
    let build = match (args.build_id, args.transaction_id) {
        (Some(id), _) => client.call::<operations::GitBuild>([&id.to_string()], &()).await?,
        (None, id) => {
            let id = id.unwrap_or_default().to_string();
            client.call::<operations::TransactionGitBuild>([&id], &()).await?
        }
    };
    match args.file_out {
        Some(file) => {
            let create = File::create(&file);
            let mut out = create.map_err(|source| CliError::Local {
                operation: format!("create {}", file.display()),
                source,
            })?;
            print_log(client, build.id, args.follow, |text| out.write_all(text.as_bytes())).await
        }
        None => print_log(client, build.id, args.follow, print_part).await,
    }
}
