//! The operations on sources and their packages.

use utoipa::openapi::path::HttpMethod;

use super::Row;

/// The operations.
pub(super) const TABLE: &[Row] = &[
    (
        HttpMethod::Get,
        "/sources",
        "List sources; filtered by the parameters repo and type",
        None,
        Some("[Source]"),
    ),
    (HttpMethod::Post, "/sources", "Create a source", Some("CreateSource"), Some("Source")),
    (HttpMethod::Get, "/sources/{name}", "Show a source", None, Some("Source")),
    (
        HttpMethod::Patch,
        "/sources/{name}",
        "Rename a source, or set the snapshot of CRAN from which it selects",
        Some("EditSource"),
        Some("Source"),
    ),
    (HttpMethod::Delete, "/sources/{name}", "Delete a source that no repository subscribes to", None, None),
    (
        HttpMethod::Get,
        "/sources/{name}/packages",
        "List the packages of a source; parameters search, count, page, and version (of Bioconductor)",
        None,
        Some("Packages"),
    ),
    (
        HttpMethod::Post,
        "/sources/{name}/packages",
        "Add uploads to a local source, in one transaction",
        Some("AddPackages"),
        Some("AddedPackages"),
    ),
    (
        HttpMethod::Post,
        "/sources/{name}/packages/remove",
        "Remove a package or some of its versions; older snapshots still serve them",
        Some("RemovePackage"),
        Some("RemovedPackage"),
    ),
    (
        HttpMethod::Post,
        "/sources/{name}/packages/yank",
        "Mark files of a Python package as yanked, or remove the mark",
        Some("YankFiles"),
        Some("YankedFiles"),
    ),
    (
        HttpMethod::Post,
        "/sources/{name}/binaries",
        "Add uploads as binaries of releases of a local source, in one transaction",
        Some("AddBinaries"),
        Some("AddedBinaries"),
    ),
    (
        HttpMethod::Get,
        "/sources/{name}/binaries",
        "List the binaries of a package, which the parameter package names",
        None,
        Some("[Binary]"),
    ),
    (
        HttpMethod::Post,
        "/sources/{name}/binaries/remove",
        "Remove the binaries of one version for one platform; older snapshots still serve them",
        Some("RemoveBinary"),
        Some("RemovedBinary"),
    ),
    (
        HttpMethod::Post,
        "/sources/{name}/definition",
        "Plan an update of the definition of a curated source, or publish it",
        Some("UpdateDefinition"),
        Some("DefinitionPlan"),
    ),
];
