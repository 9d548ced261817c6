//! Bioconductor repositories: `config.yaml`, addresses of parts, and the versions for the API.

use std::borrow::Cow;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};

use crate::http::app::App;
use crate::http::error::{Failure, truncate};
use crate::http::net::body::Body;
use crate::http::repo::document;
use crate::http::response::{self, Representation, RepresentationKind, Vary};
use api::public::status::BiocVersion;
use base::model::digest::Sha256;
use base::model::snapshot::Snapshot;
use base::model::time::Timestamp;
use content::serve;
use formats::r::bioconductor::config::Config;
use formats::r::bioconductor::{BioconductorVersion, Part, PartName, VersionName};
use runtime::catalog::Catalog;

/// Answers `config.yaml`, as of the snapshot. Fails with 404 for other repositories, or while no versions are known.
pub(in crate::http) async fn versions(
    app: &App,
    repo: &str,
    snapshot: Snapshot,
    parts: &Parts,
) -> Result<Response<Body>, Failure> {
    let catalog = app.state.catalog.get();
    let repository = serve::find::repo(&catalog, repo)?;
    if !repository.kind.has_parts() {
        return Err(Failure::not_found(format!(
            "the repository '{}' is of type {}; those of type Bioconductor have a config.yaml",
            // SECURITY: the text that the client sent: a number must not disclose the name of a hidden repository.
            truncate(repo),
            repository.kind.label()
        )));
    }
    let text = config_at(&catalog, snapshot)?.render();
    let representation = representation(&text);
    if let Some(response) = response::check_preconditions(&representation, None, parts) {
        return Ok(response);
    }
    let size = text.len() as u64;
    let body = if parts.method == Method::HEAD { Body::empty() } else { Body::full(Bytes::from(text)) };
    Ok(response::whole(&representation, Some(size), body))
}

/// Returns the part that an address names; `release` and `devel` as of the snapshot. Fails as [`versions`].
pub(in crate::http) fn resolve_part(
    app: &App,
    repo: &str,
    part: PartName,
    snapshot: Snapshot,
) -> Result<Part, Failure> {
    let PartName { version, component } = part;
    let version = match version {
        VersionName::Exact(version) => version,
        VersionName::Release | VersionName::Devel => {
            let catalog = app.state.catalog.get();
            serve::find::repo(&catalog, repo)?;
            config_at(&catalog, snapshot)?.version(version)
        }
    };
    Ok(Part::single(version, component))
}

fn config_at(catalog: &Catalog, snapshot: Snapshot) -> Result<Cow<'_, Config>, Failure> {
    let Some(config) = &catalog.bioconductor else {
        let hint = "an administrator can fetch it with: rspm sync --type=bioconductor";
        return Err(Failure::not_found("Bioconductor has not been synced yet").with_hint(Some(hint)));
    };
    match snapshot {
        Snapshot::Latest => Ok(Cow::Borrowed(&**config)),
        Snapshot::Date(day) => Ok(Cow::Owned(config.as_of(day))),
        Snapshot::Alias(alias) => Ok(match catalog.fixed_url_end(alias) {
            Some(end) => Cow::Owned(config.as_of(Timestamp(end.0.saturating_sub(1)).day())),
            None => Cow::Borrowed(&**config),
        }),
        Snapshot::Transaction(id) => match catalog.instant(id) {
            Some(at) => Ok(Cow::Owned(config.as_of(at.day()))),
            None => Err(Failure::not_found(format!("there is no transaction {id}"))),
        },
    }
}

fn representation(text: &str) -> Representation {
    let digest = Sha256::of(text.as_bytes());
    Representation {
        etag: Some(document::content_etag(digest, false)),
        previous_etag: None,
        modified: None,
        vary: Vary::Nothing,
        kind: RepresentationKind::Document {
            media_type: http::header::HeaderValue::from_static("text/plain; charset=utf-8"),
            // Bioconductor may change the release day of a future version.
            open: true,
            accept_ranges: false,
            encoded: false,
            last_serial: None,
        },
    }
}

/// Refuses an address without `packages/{version}/{component}/` in a Bioconductor repository: a 404 with a valid one.
pub(in crate::http) fn require_part(app: &App, repo: &str) -> Result<(), Failure> {
    let catalog = app.state.catalog.get();
    if catalog.repo_by_name_or_id(repo).is_none_or(|repository| !repository.kind.has_parts()) {
        return Ok(());
    }
    let version =
        catalog.default_bioconductor_version().map_or_else(|| "{version}".to_owned(), |v| v.to_string());
    Err(Failure::not_found(format!(
        "the repository '{}' is of type Bioconductor: its packages are below packages/{version}/{{component}}/, such \
         as packages/{version}/bioc/; for BiocManager, set options(BioC_mirror = ...)",
        truncate(repo)
    )))
}

/// Returns the Bioconductor versions that this server has, newest first, each with its CRAN snapshot.
pub(in crate::http) fn rows(catalog: &Catalog) -> Vec<BiocVersion> {
    let Some(config) = &catalog.bioconductor else { return Vec::new() };
    let rows = catalog.bioconductor_versions().into_iter().filter_map(|version| config.get(version));
    rows.map(|row| BiocVersion {
        bioc_version: row.version.to_string(),
        r_version: row.r.to_string(),
        cran_snapshot: cran_snapshot(config, row.version),
    })
    .collect()
}

/// Returns a Bioconductor version's CRAN snapshot: the day of the next release, else of its last update, else `latest`.
pub(in crate::http) fn cran_snapshot(config: &Config, version: BioconductorVersion) -> String {
    let day = config.successor_release_day(version).or_else(|| config.last_update(version));
    day.map_or_else(|| "latest".to_owned(), |day| day.to_string())
}
