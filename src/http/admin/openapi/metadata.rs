//! The operations on licenses, metadata and fixed URLs.

use utoipa::openapi::path::HttpMethod;

use super::Row;

/// The operations.
pub(super) const TABLE: &[Row] = &[
    (
        HttpMethod::Get,
        "/license-types",
        "List types of licenses; with the parameter current, those of R packages that sources list now, with the number of packages",
        None,
        Some("[LicenseType]"),
    ),
    (
        HttpMethod::Get,
        "/metadata",
        "List metadata of packages; the parameters package, key, source and repo select",
        None,
        Some("[Metadata]"),
    ),
    (HttpMethod::Post, "/metadata", "Set metadata of packages", Some("SetMetadata"), Some("MetadataResult")),
    (
        HttpMethod::Post,
        "/metadata/delete",
        "Delete metadata of packages",
        Some("DeleteMetadata"),
        Some("[Metadata]"),
    ),
];
