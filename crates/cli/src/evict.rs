//! `rspm evict`: starts an eviction, follows it until it ends, and prints the number and size of the files.

use clap::Args;

use super::client::Client;
use super::error::CliError;
use super::job::{self, JobFlags};
use super::output::Output;
use api::error::Code;
use api::eviction;
use api::operations::admin as operations;

#[derive(Debug, Args)]
#[command(
    after_help = "Only files that a mirror has are evicted. They are fetched again on the next request, with the \
                        same bytes.\nExample: rspm evict --type=clear --dry-run"
)]
pub struct EvictArgs {
    #[command(flatten)]
    pub request: eviction::StartEviction,
    #[command(flatten)]
    pub job_flags: JobFlags,
}

pub async fn run(client: &Client, output: &Output, args: EvictArgs) -> Result<(), CliError> {
    let job = client.send::<operations::StartEviction>([], &args.request).await?;
    let Some(job) = job::follow_to_end(client, output, job, &args.job_flags, "eviction").await? else {
        return Ok(());
    };
    let eviction = match client.call::<operations::Eviction>([&job.id.to_string()], &()).await {
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
