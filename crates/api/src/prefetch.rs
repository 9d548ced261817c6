//! Files of PyPI that are stored before clients request them.

use clap::Args;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::definition::DefinitionFile;

use crate::flag_values::SuggestedValues;

#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[group(skip)]
pub struct StartPrefetch {
    /// The source: `pypi`.
    #[arg(long, value_parser = SuggestedValues(&["pypi"]), help = "The source")]
    pub source: String,
    /// A requirements file or a lock file: the main file first, then the files that it includes.
    #[arg(skip)]
    pub files: Vec<DefinitionFile>,
    /// For lock files, chooses only the files whose digests they list; otherwise all files of the listed versions.
    #[serde(default)]
    #[arg(long, help = "Only the files whose digests a lock file lists, not all files of its versions")]
    pub strict: bool,
    /// Minor versions of Python of the wheels, such as `3.12`; empty for all.
    #[serde(default)]
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        help = "Minor versions of Python of the wheels: 3.11,3.12 (default: all)"
    )]
    pub pythons: Vec<String>,
    /// Platform tags of the wheels, such as `manylinux_2_28_x86_64`; empty for all.
    #[serde(default)]
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        help = "Platform tags of the wheels: manylinux_2_28_x86_64,win_amd64,macosx_11_0_arm64 (default: all)"
    )]
    pub platforms: Vec<String>,
    /// Only read the pages of the packages.
    #[serde(default)]
    #[arg(long)]
    pub pages_only: bool,
    /// Only count the files; pages are read.
    #[serde(default)]
    #[arg(long, conflicts_with = "pages_only", help = "Only read the pages and count the files")]
    pub dry_run: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Prefetch {
    /// The result, as a sentence.
    pub message: String,
    /// Whether only the pages of the packages were read.
    pub pages_only: bool,
    /// Whether the files were only counted.
    pub dry_run: bool,
    /// The packages whose page is known, by name.
    pub packages: Vec<PrefetchedPackage>,
    /// Number of files that were stored; in a dry run, that would be stored.
    pub files: u64,
    /// Size of these files, in bytes, as far as the index states it.
    pub bytes: u64,
    /// Number of chosen files that were in storage before, or are served from a bundle in a directory.
    pub stored_before: u64,
    /// Sentences about omitted and ignored lines.
    pub notices: Vec<String>,
    /// Sentences about packages and files that could not be read or stored.
    pub problems: Vec<String>,
}

/// A package whose page is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrefetchedPackage {
    /// Its normalized name.
    pub name: String,
    /// The versions of its chosen files, the highest first.
    pub versions: Vec<String>,
    /// Number of chosen files.
    pub files: u64,
    /// Size of these files, in bytes, as far as the index states it.
    pub bytes: u64,
}
