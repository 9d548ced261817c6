//! `rspm config debug logger`: debug events of single regions of the server.

use clap::{Args, Subcommand};

use super::client::Client;
use super::error::CliError;
use super::output::{Output, table};
use api::control::{DebugRegion, SetDebugRegions};
use api::flag_values::SuggestedValues;
use api::operations::admin as operations;
use base::config::DebugRegion as Region;

/// `rspm config debug …`
#[derive(Debug, Subcommand)]
pub enum DebugCommand {
    /// Select the regions of the server log
    #[command(subcommand)]
    Logger(LoggerCommand),
}

/// `rspm config debug logger …`
#[derive(Debug, Subcommand)]
pub enum LoggerCommand {
    /// Write the debug events of regions, until the next start or reload
    Activate(Regions),
    /// Stop writing the debug events of regions
    Deactivate(Regions),
    /// List the active regions
    Show(Show),
}

/// Flags of `config debug logger activate` and `config debug logger deactivate`.
#[derive(Debug, Args)]
pub struct Regions {
    /// The regions
    #[arg(required = true, value_delimiter = ',', value_name = "REGION", value_parser = SuggestedValues(&Region::WORDS))]
    pub regions: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Show {
    /// Only these regions
    #[arg(value_delimiter = ',', value_name = "REGION", value_parser = SuggestedValues(&Region::WORDS))]
    pub regions: Vec<String>,
    /// Also list regions that are not active
    #[arg(long)]
    pub show_disabled: bool,
}

pub async fn run(client: &Client, output: &Output, command: DebugCommand) -> Result<(), CliError> {
    let DebugCommand::Logger(command) = command;
    let (regions, selection): (Vec<DebugRegion>, Show) = match command {
        LoggerCommand::Activate(args) => set(client, args.regions, true).await?,
        LoggerCommand::Deactivate(args) => set(client, args.regions, false).await?,
        LoggerCommand::Show(args) => (client.call::<operations::DebugRegions>([], &()).await?, args),
    };
    for name in &selection.regions {
        name.parse::<Region>()
            .map_err(|error| CliError::refused(format!("there is no region '{name}': a region {error}")))?;
    }
    let is_shown = |region: &&DebugRegion| {
        let is_named = selection.regions.iter().any(|name| name.eq_ignore_ascii_case(&region.name));
        (selection.regions.is_empty() || is_named) && (region.active || selection.show_disabled)
    };
    let regions: Vec<&DebugRegion> = regions.iter().filter(is_shown).collect();
    output.print(&regions, || describe(&regions))
}

/// Activates or deactivates regions; returns all regions, and the selection to print.
async fn set(
    client: &Client,
    regions: Vec<String>,
    active: bool,
) -> Result<(Vec<DebugRegion>, Show), CliError> {
    let body = SetDebugRegions { regions: regions.clone(), active };
    let all = client.send::<operations::SetDebugRegions>([], &body).await?;
    Ok((all, Show { regions, show_disabled: true }))
}

fn describe(regions: &[&DebugRegion]) -> String {
    if regions.is_empty() {
        return "No region is active.".to_owned();
    }
    let row = |region: &&DebugRegion| {
        let state = if region.active { "active" } else { "disabled" };
        vec![region.name.clone(), state.to_owned(), region.description.clone()]
    };
    table(&["Region", "State", "Events"], regions.iter().map(row))
}
