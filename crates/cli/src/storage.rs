//! `rspm storage`: owners of the storage classes, the sweep, and restoring of removed objects.

use clap::{Args, Subcommand};

use super::client::Client;
use super::error::CliError;
use super::job::{self, JobFlags};
use super::output::{Output, format_count, table};
use api::operations::admin as operations;
use api::storage::{Storage, StorageOwner, StorageSelection, StorageState, SweepStorage};
use base::model::text::count_of;

/// `rspm storage …`
#[derive(Debug, Subcommand)]
pub enum StorageCommand {
    /// List the storage classes: owner, trash, damaged objects, sweeps that need a confirmation
    List,
    /// Make this server's database the owner of storage classes
    Adopt(StorageSelection),
    /// Sweep now: move unreferenced objects to the trash and delete old objects from it
    Sweep(Sweep),
    /// Restore objects from the trash
    Restore(RestoreObjects),
}

#[derive(Debug, Args)]
pub struct Sweep {
    #[command(flatten)]
    pub request: SweepStorage,
    #[command(flatten)]
    pub job_flags: JobFlags,
}

#[derive(Debug, Args)]
pub struct RestoreObjects {
    #[command(flatten)]
    pub classes: StorageSelection,
    #[command(flatten)]
    pub job_flags: JobFlags,
}

pub async fn run(client: &Client, output: &Output, command: StorageCommand) -> Result<(), CliError> {
    match command {
        StorageCommand::List => {
            let storage = client.call::<operations::Storage>([], &()).await?;
            output.print(&storage, || describe(&storage))
        }
        StorageCommand::Adopt(args) => {
            let result = client.send::<operations::AdoptStorage>([], &args).await?;
            output.print(&result, || match result.classes.as_slice() {
                [] => "These storage classes already belong to this database.".to_owned(),
                classes => format!("This database is now the owner of: {}", classes.join(", ")),
            })
        }
        StorageCommand::Sweep(args) => {
            let job = client.send::<operations::SweepStorage>([], &args.request).await?;
            job::follow_or_print(client, output, job, &args.job_flags, "sweep of storage").await
        }
        StorageCommand::Restore(args) => {
            let job = client.send::<operations::RestoreStorage>([], &args.classes).await?;
            job::follow_or_print(client, output, job, &args.job_flags, "restore of removed objects").await
        }
    }
}

pub async fn report(client: &Client, output: &Output) -> Result<(), CliError> {
    let storage = client.call::<operations::Storage>([], &()).await?;
    output.print(&storage, || {
        let count = |n: u64| format_count(i64::try_from(n).unwrap_or(i64::MAX));
        let row = |state: &StorageState| {
            let numbers = [state.files, state.bytes, state.trash_objects, state.trash_bytes].map(count);
            [vec![state.class.clone()], numbers.to_vec(), vec![state.location.clone()]].concat()
        };
        let rows: Vec<Vec<String>> = storage.classes.iter().map(row).collect();
        let header = ["Class", "Files", "Bytes", "In trash", "Bytes in trash", "Location"];
        let total: u64 = storage.classes.iter().map(|state| state.bytes).sum();
        let (table, total) = (table(&header, rows), count_of(total, "byte", "bytes"));
        format!("{table}\n{}Total: {total}", problems(&storage))
    })
}

/// Returns a line for each class that cannot be read.
fn problems(storage: &Storage) -> String {
    let line = |state: &StorageState| {
        let StorageState { class, location, problem, .. } = state;
        problem
            .as_ref()
            .map(|reason| format!("Storage class {class} ({location}) cannot be read: {reason}\n"))
    };
    storage.classes.iter().filter_map(line).collect()
}

fn describe(storage: &Storage) -> String {
    let count = |n: u64| format_count(i64::try_from(n).unwrap_or(i64::MAX));
    let row = |state: &StorageState| {
        let owner = match state.owner {
            StorageOwner::Unchecked => "not checked yet",
            StorageOwner::Own => "this database",
            StorageOwner::Foreign => "another database",
            StorageOwner::Contested => "contested",
            StorageOwner::Missing => "missing",
            StorageOwner::Unreadable => "unreadable",
            StorageOwner::Unclaimed => "none",
            StorageOwner::Unknown => "unknown",
        };
        let waiting_objects =
            state.waiting.as_ref().map(|w| format!("{} of {}", count(w.objects), count(w.of)));
        vec![
            state.class.clone(),
            owner.to_owned(),
            count(state.trash_objects),
            state.trash_since.clone().unwrap_or_default(),
            count(state.damaged),
            count(state.lost),
            waiting_objects.unwrap_or_default(),
            state.location.clone(),
        ]
    };
    let header = ["Class", "Owner", "Trash", "Since", "Damaged", "Lost", "Pending sweep", "Location"];
    let rows: Vec<Vec<String>> = storage.classes.iter().map(row).collect();
    format!(
        "Database: {}\n\n{}\n{}Objects in the trash are deleted after {} days.",
        storage.database,
        table(&header, rows),
        problems(storage),
        storage.grace_days
    )
}
