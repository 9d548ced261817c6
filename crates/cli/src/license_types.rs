//! `rspm list license-types`.

use super::client::Client;
use super::error::CliError;
use super::output::{Output, format_count, table};
use api::license::{LicenseType, ListLicenseTypes};
use api::operations::admin as operations;

pub(super) async fn list(client: &Client, output: &Output, args: ListLicenseTypes) -> Result<(), CliError> {
    let types = client.call::<operations::LicenseTypes>([], &args).await?;
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
