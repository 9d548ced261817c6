//! `rspm sync`: starts a sync and, unless told otherwise, watches it to its end.

use std::io::IsTerminal;
use std::time::Duration;

use hyper::Method;
use indicatif::{ProgressBar, ProgressStyle};

use super::args::Sync;
use super::client::Client;
use super::error::CliError;
use super::output::Output;
use crate::api::job::{Job, JobStatus, StartSync};

/// `rspm sync`.
///
/// # Errors
/// The server refuses, or the sync fails.
pub async fn run(client: &Client, output: &Output, args: Sync) -> Result<(), CliError> {
    let mut job: Job = client.send(Method::POST, "/sync", &StartSync { kind: args.kind.clone() }).await?;
    let attached = job.attached;
    if attached && output.human() && !args.quiet {
        eprintln!("A sync of {} is under way already; following it.", args.kind);
    }
    if args.no_wait {
        return output.print(&job, || format!("The sync of {} runs as job {}.", args.kind, job.id));
    }
    let bar = if output.human() && !args.quiet && std::io::stderr().is_terminal() {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::hidden()
    };
    // A sync with nothing new is over at once; a long one is not asked after ten times a second.
    let mut pause = Duration::from_millis(5);
    while job.status == JobStatus::Running {
        show(&bar, &job);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
        job = client.get(&format!("/jobs/{}", job.id)).await?;
    }
    job.attached = attached;
    bar.finish_and_clear();
    match job.status {
        JobStatus::Failed => Err(CliError::Refused(job.message)),
        JobStatus::Done | JobStatus::Running => output.print(&job, || job.message.clone()),
    }
}

fn show(bar: &ProgressBar, job: &Job) {
    // The templates are constants that indicatif accepts; should it ever refuse one, its own style will do.
    let style =
        |template| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    if let Some(total) = job.total {
        bar.set_style(style("{spinner} {msg}  [{bar:30}] {pos}/{len}"));
        bar.set_length(total);
        bar.set_position(job.done);
    } else {
        bar.set_style(style("{spinner} {msg}"));
    }
    bar.set_message(job.message.clone());
    bar.tick();
}
