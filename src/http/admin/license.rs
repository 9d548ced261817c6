//! Types of licenses.

use super::call::{Answer, Call};
use api::license::{LicenseType, ListLicenseTypes};
use base::model::license::{UNKNOWN, all};
use content::serve;

/// The name that is displayed for [`UNKNOWN`].
const UNKNOWN_NAME: &str = "A license without an identifier of SPDX";

pub(super) async fn types(call: Call<'_>, query: ListLicenseTypes) -> Answer<Vec<LicenseType>> {
    let names = || all().into_iter().chain([(UNKNOWN, UNKNOWN_NAME)]);
    if !query.current {
        let row = |(id, name): (&str, &str)| LicenseType { id: id.into(), name: name.into(), packages: None };
        return Ok(names().map(row).collect::<Vec<_>>());
    }
    let current = serve::license_types::current(&call.app.repositories).await?;
    let name = |id: &str| names().find(|(known, _)| *known == id).map_or("", |(_, name)| name).to_owned();
    let rows = current.into_iter();
    Ok(rows
        .map(|(id, packages)| LicenseType { name: name(&id), id, packages: Some(packages) })
        .collect::<Vec<_>>())
}
