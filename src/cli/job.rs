//! Jobs of the server: watched to their end, with progress where somebody looks on.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::client::Client;
use super::error::CliError;
use super::output::Output;
use crate::api::error::Code;
use crate::api::job::{Job, JobStatus};

/// Flags of commands that start a job.
#[derive(Debug, Args)]
pub struct Watched {
    /// Wait until it has ended (the default); it goes on when the command is interrupted
    #[arg(long, overrides_with = "no_wait")]
    pub wait: bool,
    /// Return at once
    #[arg(long)]
    pub no_wait: bool,
    /// No progress
    #[arg(long)]
    pub quiet: bool,
}

/// Tells of a job that was started; unless told otherwise, watches it to its end and prints how it ended. `what` is what
/// it does: `sync of cran`.
///
/// # Errors
/// The job fails, or the server stops answering.
pub(super) async fn attend(
    client: &Client,
    output: &Output,
    job: Job,
    watched: &Watched,
    what: &str,
) -> Result<(), CliError> {
    if job.attached && output.human() && !watched.quiet {
        let _ = writeln!(std::io::stderr(), "A {what} is under way already; following it.");
    }
    if watched.no_wait {
        return output.print(&job, || format!("The {what} runs as job {}.", job.id));
    }
    follow(client, output, job, watched.quiet).await
}

async fn follow(client: &Client, output: &Output, mut job: Job, quiet: bool) -> Result<(), CliError> {
    let attached = job.attached;
    let bar = if output.human() && !quiet && std::io::stderr().is_terminal() {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::hidden()
    };
    // A job with nothing to do is over at once; a long one is not asked after ten times a second.
    let mut pause = Duration::from_millis(5);
    while job.status == JobStatus::Running {
        show(&bar, &job);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
        job = match client.get(&format!("/jobs/{}", job.id)).await {
            Err(error) if error.is(Code::NotFound) => {
                return Err(CliError::refused(format!(
                    "the server was upgraded or restarted while job {} ran, and does not know how it ended; its log does. \
                     Run the command again to follow what it does now",
                    job.id
                )));
            }
            answered => answered?,
        };
    }
    job.attached = attached;
    bar.finish_and_clear();
    match job.status {
        JobStatus::Failed => Err(CliError::refused(job.message)),
        JobStatus::Done | JobStatus::Running => output.print(&job, || job.message.clone()),
    }
}

fn show(bar: &ProgressBar, job: &Job) {
    // The templates are constants that indicatif accepts; should it ever refuse one, its own style will do.
    let style =
        |template| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    if let Some(total) = job.total {
        bar.set_style(style("{spinner} {msg}  [{bar:30}] {pos}/{len}  {eta} left"));
        bar.set_length(total);
        bar.set_position(job.done);
    } else {
        bar.set_style(style("{spinner} {msg}"));
    }
    bar.set_message(job.message.clone());
    bar.tick();
}
