//! Lists the Bioconductor versions of `config.yaml`, each with its synced state.

use super::call::{Answer, Call};
use crate::http::r::bioconductor::cran_snapshot;
use api::bioconductor::BioconductorVersion;
use base::model::time::Timestamp;
use content::serve::{self, RepoError};

pub(super) async fn versions(call: Call<'_>) -> Answer<Vec<BioconductorVersion>> {
    let (repositories, catalog) = (&call.app.repositories, call.app.state.catalog.get());
    let Some(config) = &catalog.bioconductor else { return Ok(Vec::<BioconductorVersion>::new()) };
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
