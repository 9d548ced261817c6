//! `rspm evict`: starts an eviction, follows it until it ends, and prints the number and size of the files.

use clap::{Args, ValueEnum};

use super::client::Client;
use super::error::CliError;
use super::job::{self, JobFlags};
use super::output::Output;
use api::error::Code;
use api::eviction::{Eviction, EvictionKind, StartEviction};
use api::operations::admin as operations;

/// Flags of `evict`.
#[derive(Debug, Args)]
#[command(
    after_help = "Only files that a mirror has are evicted. They are fetched again on the next request, with the \
                        same bytes.\nExample: rspm evict --type=clear --dry-run"
)]
pub struct EvictArgs {
    /// The files to remove
    #[arg(long = "type", value_enum, default_value = "normal", ignore_case = true, value_name = "TYPE")]
    pub kind: Kind,
    /// Only count the files
    #[arg(long)]
    pub dry_run: bool,
    /// Wait and progress flags.
    #[command(flatten)]
    pub job_flags: JobFlags,
}

/// Values of `--type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Files of mirrors that were not requested for 30 days
    Normal,
    /// Objects in the storage classes of mirrors that the database does not refer to
    Sweep,
    /// Objects in the storage class packages that the database does not refer to
    Packages,
    /// All files of mirrors
    Clear,
}

/// `rspm evict`.
///
/// # Errors
/// The server refuses, or the job fails.
pub async fn run(client: &Client, output: &Output, args: EvictArgs) -> Result<(), CliError> {
    let kind = match args.kind {
        Kind::Normal => EvictionKind::Normal,
        Kind::Sweep => EvictionKind::Sweep,
        Kind::Packages => EvictionKind::Packages,
        Kind::Clear => EvictionKind::Clear,
    };
    let body = StartEviction { kind, dry_run: args.dry_run };
    let job = client.send::<operations::StartEviction>([], &body).await?;
    let Some(job) = job::follow_to_end(client, output, job, &args.job_flags, "eviction").await? else {
        return Ok(());
    };
    let eviction: Eviction = match client.call::<operations::Eviction>([&job.id.to_string()], &()).await {
        Err(error) if error.has_code(Code::NotFound) => {
            return Err(CliError::refused(
                "the server was upgraded or restarted before it sent the result of the eviction, which is in its log; \
                 run the command again",
            ));
        }
        eviction => eviction?,
    };
    output.print(&eviction, || eviction.message.clone())
}
