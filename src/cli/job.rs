//! Jobs of the server: watched to their end, with progress where somebody looks on.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::client::Client;
use super::error::CliError;
use super::output::Output;
use crate::api::job::{Job, JobStatus};

/// Watches a job to its end and prints how it ended.
///
/// # Errors
/// The job fails, or the server stops answering.
pub(super) async fn follow(
    client: &Client,
    output: &Output,
    mut job: Job,
    quiet: bool,
) -> Result<(), CliError> {
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
        bar.set_style(style("{spinner} {msg}  [{bar:30}] {pos}/{len}  {eta} left"));
        bar.set_length(total);
        bar.set_position(job.done);
    } else {
        bar.set_style(style("{spinner} {msg}"));
    }
    bar.set_message(job.message.clone());
    bar.tick();
}
