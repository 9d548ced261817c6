//! `rspm sync`: starts a sync and by default follows it until it ends.

use super::args::Sync;
use super::client::Client;
use super::error::CliError;
use super::job;
use super::output::Output;
use api::operations::admin as operations;

/// `rspm sync`.
///
/// # Errors
/// The server refuses, or the sync fails.
pub async fn run(client: &Client, output: &Output, args: Sync) -> Result<(), CliError> {
    let job = client.send::<operations::StartSync>([], &args.request).await?;
    job::follow_or_print(client, output, job, &args.job_flags, &format!("sync of {}", args.request.kind))
        .await
}
