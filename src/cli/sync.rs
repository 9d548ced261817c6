//! `rspm sync`: starts a sync and, unless told otherwise, watches it to its end.

use hyper::Method;

use super::args::Sync;
use super::client::Client;
use super::error::CliError;
use super::job;
use super::output::Output;
use crate::api::job::{Job, StartSync};

/// `rspm sync`.
///
/// # Errors
/// The server refuses, or the sync fails.
pub async fn run(client: &Client, output: &Output, args: Sync) -> Result<(), CliError> {
    let body = StartSync { kind: args.kind.clone(), version: args.version.clone() };
    let job: Job = client.send(Method::POST, "/sync", &body).await?;
    if job.attached && output.human() && !args.quiet {
        eprintln!("A sync of {} is under way already; following it.", args.kind);
    }
    if args.no_wait {
        return output.print(&job, || format!("The sync of {} runs as job {}.", args.kind, job.id));
    }
    job::follow(client, output, job, args.quiet).await
}
