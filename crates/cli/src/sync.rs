//! `rspm sync`: starts a sync and by default follows it until it ends.

use hyper::Method;

use super::args::Sync;
use super::client::Client;
use super::error::CliError;
use super::job;
use super::output::Output;
use api::job::{Job, StartSync};

/// `rspm sync`.
///
/// # Errors
/// The server refuses, or the sync fails.
pub async fn run(client: &Client, output: &Output, args: Sync) -> Result<(), CliError> {
    let body = StartSync {
        kind: args.kind.clone(),
        version: args.version.clone(),
        accept_serial: args.accept_serial,
    };
    let job: Job = client.send(Method::POST, "/sync", &body).await?;
    job::follow_or_print(client, output, job, &args.job_flags, &format!("sync of {}", args.kind)).await
}
