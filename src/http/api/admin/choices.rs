//! The values from which administrators choose: distributions, versions of Bioconductor with their synced states, types of
//! licenses.

use super::call::{Answer, Call};
use crate::http::api::platforms;
use crate::http::repo::r::bioconductor::cran_snapshot;
use api::choices::{BioconductorVersion, Distribution, LicenseType, ListLicenseTypes};
use base::model::license::{UNKNOWN, all};
use base::model::time::Timestamp;
use content::serve::{self, RepoError};

pub(super) async fn distributions(call: Call<'_>) -> Answer<Vec<Distribution>> {
    Ok(platforms::list(&call.app.state.config.load().platforms))
}

pub(super) async fn bioconductor_versions(call: Call<'_>) -> Answer<Vec<BioconductorVersion>> {
    let (repositories, catalog) = (&call.app.repositories, call.app.state.catalog.get());
    let Some(config) = &catalog.bioconductor else { return Ok(Vec::new()) };
    let mut versions = Vec::new();
    for row in config.newest_first() {
        let state = match serve::point::of_source(&call.app.state, "bioconductor", Some(row.version)) {
            Ok(point) => Some((serve::listing::package_count(repositories, &point).await?, point.modified)),
            Err(RepoError::Unresolved(_)) => None,
            Err(error) => return Err(error.into()),
        };
        versions.push(BioconductorVersion {
            version: row.version.to_string(),
            r_version: row.r.to_string(),
            status: config.status(row.version).to_owned(),
            cran_snapshot: cran_snapshot(config, row.version),
            packages: state.map(|(packages, _)| i64::try_from(packages).unwrap_or(i64::MAX)),
            changed: state.and_then(|(_, at)| at).map(|at: Timestamp| at.to_string()),
        });
    }
    Ok(versions)
}

/// The name that is displayed for [`UNKNOWN`].
const UNKNOWN_NAME: &str = "A license without an identifier of SPDX";

pub(super) async fn license_types(call: Call<'_>, query: ListLicenseTypes) -> Answer<Vec<LicenseType>> {
    let names = || all().into_iter().chain([(UNKNOWN, UNKNOWN_NAME)]);
    if !query.current {
        let row = |(id, name): (&str, &str)| LicenseType { id: id.into(), name: name.into(), packages: None };
        return Ok(names().map(row).collect());
    }
    let current = serve::block_rules::license_types(&call.app.repositories).await?;
    let name = |id: &str| names().find(|(known, _)| *known == id).map_or("", |(_, name)| name).to_owned();
    let row = |(id, packages): (String, u64)| LicenseType { name: name(&id), id, packages: Some(packages) };
    Ok(current.into_iter().map(row).collect())
}
