//! `rspm clear`: removes all packages of CRAN from its newest state.

use clap::Args;

use super::client::Client;
use super::error::CliError;
use super::job::{JobFlags, follow_or_print};
use super::output::Output;
use api::job;
use api::operations::admin as operations;

#[derive(Debug, Args)]
#[command(
    after_help = "No repository may subscribe to the source. Earlier snapshots still serve its packages; the next \
                        sync fills it again."
)]
pub struct ClearArgs {
    #[command(flatten)]
    pub request: job::ClearSource,
    #[command(flatten)]
    pub job_flags: JobFlags,
}

pub async fn run(client: &Client, output: &Output, args: ClearArgs) -> Result<(), CliError> {
    let job = client.send::<operations::ClearSource>([], &args.request).await?;
    follow_or_print(client, output, job, &args.job_flags, "clearing of cran").await
}
