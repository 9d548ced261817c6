//! Packages on the admin API: listings and uploads.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::query::query;

query! {
    /// The query of `GET /sources/{name}/packages` and `GET /repos/{name}/packages`.
    #[derive(Args)]
    #[group(skip)]
    ListPackages {
        /// The version of Bioconductor (default: the current release)
        #[arg(long)]
        version: Option<String>,
        /// Only names that contain this text
        #[arg(long)]
        search: Option<String>,
        /// Number of packages per page
        #[arg(long, default_value = "100", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10_000))]
        count: Option<usize>,
        /// Page number, from 1
        #[arg(long, default_value = "1", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
        page: Option<usize>,
    }
}

/// One listed package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Package)]
pub struct ListedPackage {
    pub name: String,
    /// The listed version.
    pub version: String,
    pub source: String,
    /// Publication time, RFC 3339, where known.
    pub published: Option<String>,
}

/// A page of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Packages {
    /// Total number of matching packages.
    pub total: i64,
    /// Page number, from 1.
    pub page: i64,
    /// Packages of this page, by name.
    pub packages: Vec<ListedPackage>,
}

query! {
    /// The query of `POST /uploads`.
    UploadFile {
        /// The name of the file
        file: Option<String>,
        /// source (default), binary or python
        kind as "type": Option<String>,
    }
}

/// Response to `POST /uploads?file={name}` with the archive as body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Upload {
    /// Id of the upload, which expires after an hour.
    pub id: u64,
    /// The file name of the request.
    pub file: String,
    /// Package, from its DESCRIPTION or METADATA.
    pub name: String,
    /// Version, from its DESCRIPTION or METADATA.
    pub version: String,
    /// SHA-256 of the file to be served.
    pub sha256: String,
    /// Size of the file to be served, in bytes.
    pub size: u64,
    /// Tolerated defects of the archive, as sentences.
    #[serde(default)]
    pub notices: Vec<String>,
}
