//! `rspm sync`, `rspm clear`, `rspm evict`, `rspm backfill`; follows a job of the server until it ends, with progress on a
//! terminal.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::de::DeserializeOwned;

use super::client::Client;
use super::error::CliError;
use super::output::{Output, note};
use api::error::Code;
use api::job::{ClearSource, Job, JobStatus, StartBackfill, StartSync};
use api::operations::{Operation, admin as operations};
use api::storage::StartEviction;
use base::model::time::Day;
use base::model::visible::for_terminal;

#[derive(Debug, Args)]
pub struct Sync {
    #[command(flatten)]
    pub request: StartSync,
    #[command(flatten)]
    pub job_flags: JobFlags,
}

/// Flags of commands that start a job.
#[derive(Debug, Args)]
pub struct JobFlags {
    /// Wait until the job ends (the default); interrupting the command does not stop the job
    #[arg(long, overrides_with = "no_wait")]
    pub wait: bool,
    /// Return at once
    #[arg(long)]
    pub no_wait: bool,
    /// Show no progress
    #[arg(long)]
    pub quiet: bool,
}

/// Follows a started job until it ends and prints its result; with `--no-wait` only prints the job's id. `job_name` is
/// a noun without an article: `sync of cran`.
pub(super) async fn follow_or_print(
    client: &Client,
    output: &Output,
    job: Job,
    flags: &JobFlags,
    job_name: &str,
) -> Result<(), CliError> {
    match follow_to_end(client, output, job, flags, job_name).await? {
        Some(job) => output.print(&job, || job.message.clone()),
        None => Ok(()),
    }
}

/// Follows a job like [`follow_or_print`], but returns the ended job instead of printing its result; `None` with
/// `--no-wait`.
pub(super) async fn follow_to_end(
    client: &Client,
    output: &Output,
    job: Job,
    flags: &JobFlags,
    job_name: &str,
) -> Result<Option<Job>, CliError> {
    if job.attached && output.is_human() && !flags.quiet {
        note(format!("A {job_name} is already running; following it."));
    }
    if flags.no_wait {
        output.print(&job, || format!("The {job_name} runs as job {}.", job.id))?;
        return Ok(None);
    }
    follow(client, output, job, flags.quiet).await.map(Some)
}

/// Returns the result of an ended job. Fails if the server does not respond; it has no result, because it was
/// restarted: `lost`.
pub(super) async fn result<O>(client: &Client, job: &Job, lost: &str) -> Result<O::Response, CliError>
where
    O: for<'a> Operation<Path<'a> = [&'a str; 1], Query = (), Body = (), Response: DeserializeOwned>,
{
    match client.call::<O>([&job.id.to_string()], &()).await {
        Err(error) if error.has_code(Code::NotFound) => Err(CliError::refused(lost)),
        result => result,
    }
}

async fn follow(client: &Client, output: &Output, mut job: Job, quiet: bool) -> Result<Job, CliError> {
    let attached = job.attached;
    let bar = if output.is_human() && !quiet && std::io::stderr().is_terminal() {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::hidden()
    };
    // The pause is short at first, for jobs that end immediately, and grows for long ones.
    let mut pause = Duration::from_millis(5);
    while job.status == JobStatus::Running {
        update_bar(&bar, &job);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
        job = match client.call::<operations::Job>([&job.id.to_string()], &()).await {
            Err(error) if error.has_code(Code::NotFound) => {
                return Err(CliError::refused(format!(
                    "the server was upgraded or restarted while job {} ran and has no result of it; see the server log. \
                     Run the command again to follow the current job",
                    job.id
                )));
            }
            result => result?,
        };
    }
    job.attached = attached;
    bar.finish_and_clear();
    match job.status {
        JobStatus::Failed => Err(CliError::refused(job.message)),
        JobStatus::Done | JobStatus::Running => Ok(job),
    }
}

fn update_bar(bar: &ProgressBar, job: &Job) {
    // The templates are constants that indicatif accepts; its default style is the fallback.
    let style =
        |template| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    if let Some(total) = job.total {
        bar.set_style(style("{spinner} {msg}  [{bar:30}] {pos}/{len}  {eta} left"));
        bar.set_length(total);
        bar.set_position(job.done);
    } else {
        bar.set_style(style("{spinner} {msg}"));
    }
    bar.set_message(for_terminal(&job.message));
    bar.tick();
}

pub(super) async fn sync(client: &Client, output: &Output, args: Sync) -> Result<(), CliError> {
    let job = client.send::<operations::StartSync>([], &args.request).await?;
    follow_or_print(client, output, job, &args.job_flags, &format!("sync of {}", args.request.kind)).await
}

#[derive(Debug, Args)]
#[command(
    after_help = "No repository may subscribe to the source. Earlier snapshots still serve its packages; the next \
                        sync fills it again."
)]
pub struct ClearArgs {
    #[command(flatten)]
    pub request: ClearSource,
    #[command(flatten)]
    pub job_flags: JobFlags,
}

pub(super) async fn clear(client: &Client, output: &Output, args: ClearArgs) -> Result<(), CliError> {
    let job = client.send::<operations::ClearSource>([], &args.request).await?;
    follow_or_print(client, output, job, &args.job_flags, "clearing of cran").await
}

#[derive(Debug, Args)]
#[command(
    after_help = "Only files that a mirror has are evicted. They are fetched again on the next request, with the \
                        same bytes.\nExample: rspm evict --type=clear --dry-run"
)]
pub struct EvictArgs {
    #[command(flatten)]
    pub request: StartEviction,
    #[command(flatten)]
    pub job_flags: JobFlags,
}

pub(super) async fn evict(client: &Client, output: &Output, args: EvictArgs) -> Result<(), CliError> {
    let job = client.send::<operations::StartEviction>([], &args.request).await?;
    let Some(job) = follow_to_end(client, output, job, &args.job_flags, "eviction").await? else {
        return Ok(());
    };
    let lost = "the server was upgraded or restarted before it sent the result of the eviction, which is in its log; run the \
                command again";
    let eviction = result::<operations::Eviction>(client, &job, lost).await?;
    output.print(&eviction, || eviction.message.clone())
}

#[derive(Debug, Args)]
#[command(after_help = "Example: rspm backfill --source=cran --since=2020-01-01 --dry-run")]
pub struct Backfill {
    /// The source
    #[arg(long, default_value = "cran", value_name = "NAME")]
    pub source: String,
    /// The oldest day of the history, YYYY-MM-DD; required without --stop
    #[arg(long, value_name = "DATE", required_unless_present = "stop", conflicts_with = "stop")]
    pub since: Option<Day>,
    /// Maximum number of requests per second to the mirror, over four connections
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    pub rate: u32,
    /// Print what would be done and do nothing
    #[arg(long, conflicts_with = "stop")]
    pub dry_run: bool,
    /// Stop the running back-fill; its progress is stored, and the command without --stop resumes it
    #[arg(long)]
    pub stop: bool,
    #[command(flatten)]
    pub job_flags: JobFlags,
}

pub(super) async fn backfill(client: &Client, output: &Output, args: Backfill) -> Result<(), CliError> {
    let Some(since) = args.since else {
        let result = client.call::<operations::StopBackfill>([&args.source.to_string()], &()).await?;
        return output.print(&result, || result.message.clone());
    };
    let start = StartBackfill {
        source: args.source.clone(),
        since: since.to_string(),
        rate: Some(args.rate),
        dry_run: args.dry_run,
    };
    let job = client.send::<operations::StartBackfill>([], &start).await?;
    follow_or_print(client, output, job, &args.job_flags, &format!("back-fill of {}", args.source)).await
}
