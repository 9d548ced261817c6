//! `rspm yank` and `rspm unyank`.

use clap::Args;

use super::client::Client;
use super::error::CliError;
use super::output::Output;
use super::package_scope::name_and_scope;
use api::operations::admin as operations;
use api::source::{self};

#[derive(Debug, Args)]
pub struct Yank {
    /// The package and its files: name@1.2.3, name@all, name@current or the name of a file: name@name-1.2.3.tar.gz
    #[arg(long, value_name = "NAME@SCOPE")]
    pub name: String,
    /// The local source of Python packages
    #[arg(long)]
    pub source: String,
    /// The reason, which installers show
    #[arg(long, default_value = "", hide_default_value = true)]
    pub reason: String,
}

#[derive(Debug, Args)]
pub struct Unyank {
    /// The package and its files, as for yank
    #[arg(long, value_name = "NAME@SCOPE")]
    pub name: String,
    /// The local source of Python packages
    #[arg(long)]
    pub source: String,
}

/// `rspm yank`.
///
/// # Errors
/// The name has no scope, or the server refuses.
pub async fn yank(client: &Client, output: &Output, args: Yank) -> Result<(), CliError> {
    let (name, scope) = name_and_scope(&args.name, "yank")?;
    set_yank(client, output, &args.source, (name, scope), Some(args.reason)).await
}

/// `rspm unyank`.
///
/// # Errors
/// The name has no scope, or the server refuses.
pub async fn unyank(client: &Client, output: &Output, args: Unyank) -> Result<(), CliError> {
    let (name, scope) = name_and_scope(&args.name, "unyank")?;
    set_yank(client, output, &args.source, (name, scope), None).await
}

async fn set_yank(
    client: &Client,
    output: &Output,
    source: &str,
    (name, scope): (&str, &str),
    reason: Option<String>,
) -> Result<(), CliError> {
    let verb = if reason.is_some() { "Yanked" } else { "Unyanked" };
    let body = source::YankFiles { name: name.to_owned(), scope: scope.to_owned(), reason };
    let result = client.send::<operations::YankFiles>([source], &body).await?;
    output.print(&result, || match result.transaction {
        Some(_) => result.files.iter().map(|file| format!("{verb} {file} in source '{source}'.\n")).collect(),
        None => {
            format!("Nothing changed: the files of {name} {scope} in source '{source}' are as requested.\n")
        }
    })
}
