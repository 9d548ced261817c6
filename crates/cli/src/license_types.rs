//! `rspm list license-types`.

use clap::Args;

use super::client::Client;
use super::error::CliError;
use super::output::{Output, format_count, table};
use api::license::LicenseType;

/// Flags of `list license-types`.
#[derive(Debug, Args)]
pub struct ListLicenseTypes {
    /// Only types of R packages that sources list now, with the number of packages
    #[arg(long)]
    pub current: bool,
}

/// `rspm list license-types`.
///
/// # Errors
/// The server refuses.
pub(super) async fn list(client: &Client, output: &Output, args: ListLicenseTypes) -> Result<(), CliError> {
    let query = if args.current { "?current=true" } else { "" };
    let types: Vec<LicenseType> = client.get(&format!("/license-types{query}")).await?;
    output.print(&types, || {
        if types.is_empty() {
            return "No packages.".to_owned();
        }
        let row = |license: &LicenseType| {
            let packages =
                license.packages.map(|count| format_count(i64::try_from(count).unwrap_or(i64::MAX)));
            [Some(license.id.clone()), packages, Some(license.name.clone())].into_iter().flatten().collect()
        };
        let rows: Vec<Vec<String>> = types.iter().map(row).collect();
        match args.current {
            true => table(&["Type", "Packages", "License"], &rows),
            false => table(&["Type", "License"], &rows),
        }
    })
}
