//! `rspm prefetch`: stores files of PyPI before clients request them, follows the job until it ends, and prints what was
//! stored.

use std::path::PathBuf;

use clap::Args;

use super::client::Client;
use super::curated::read_definition;
use super::error::CliError;
use super::job::{self, JobFlags};
use super::output::{Output, format_count, note, table};
use api::operations::admin as operations;
use api::prefetch::{Prefetch, PrefetchedPackage, StartPrefetch};

#[derive(Debug, Args)]
#[command(
    after_help = "For each line, the newest version that it allows is stored, or the pinned one. The packages that these \
                  versions require are not added: a lock file has them.\n\
                  Example: rspm prefetch --source=pypi --file-in=uv.lock --pythons=3.12 --platforms=manylinux_2_28_x86_64"
)]
pub struct PrefetchArgs {
    #[command(flatten)]
    pub request: StartPrefetch,
    /// A requirements file, pylock.toml, uv.lock, poetry.lock, pdm.lock or Pipfile.lock
    #[arg(long, value_name = "FILE")]
    pub file_in: PathBuf,
    #[command(flatten)]
    pub job_flags: JobFlags,
}

pub async fn run(client: &Client, output: &Output, args: PrefetchArgs) -> Result<(), CliError> {
    let body = StartPrefetch { files: read_definition(&args.file_in)?, ..args.request };
    let job = client.send::<operations::StartPrefetch>([], &body).await?;
    let Some(job) = job::follow_to_end(client, output, job, &args.job_flags, "prefetch").await? else {
        return Ok(());
    };
    let lost = "the server was upgraded or restarted before it sent the result; run the command again: what is stored is not \
                fetched again";
    let prefetch = job::result::<operations::Prefetch>(client, &job, lost).await?;
    for notice in &prefetch.notices {
        note(notice);
    }
    output.print(&prefetch, || describe(&prefetch))?;
    if prefetch.problems.is_empty() {
        return Ok(());
    }
    Err(CliError::refused(prefetch.problems.join("\n")))
}

fn describe(prefetch: &Prefetch) -> String {
    let row = |package: &PrefetchedPackage| {
        let (files, bytes) = (count(package.files), count(package.bytes));
        vec![package.name.clone(), package.versions.join(", "), files, bytes]
    };
    let rows: Vec<Vec<String>> = prefetch.packages.iter().map(row).collect();
    if rows.is_empty() {
        return prefetch.message.clone();
    }
    format!("{}\n{}", table(&["Name", "Versions", "Files", "Bytes"], rows), prefetch.message)
}

fn count(number: u64) -> String {
    format_count(i64::try_from(number).unwrap_or(i64::MAX))
}
