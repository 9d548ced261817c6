//! `rspm logs`: the server's log files.

use hyper::Method;

use super::args::Logs;
use super::client::Client;
use super::error::CliError;
use super::output::Output;
use crate::api::log::ReopenResult;

/// `rspm logs …`.
///
/// # Errors
/// The server refuses, or a file cannot be opened.
pub async fn run(client: &Client, output: &Output, command: Logs) -> Result<(), CliError> {
    match command {
        Logs::Reopen => {
            let reopened: ReopenResult = client.send(Method::POST, "/log/reopen", &()).await?;
            output.print(&reopened, || match reopened.files.as_slice() {
                [] => "The server has no log files.".to_owned(),
                files => format!("Reopened:\n  {}", files.join("\n  ")),
            })
        }
    }
}
