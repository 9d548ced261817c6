//! What all products share: rules of system requirements, distributions, advisories; each a folder with a head and
//! immutable files. And the versions of Bioconductor.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::text::shown;
use super::{Broken, Packed, head, seal};
use crate::model::time::Timestamp;

/// A folder of shared data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shared {
    /// `sysreqs`: one document, `rules`, as `r::sysreqs::Base` reads it.
    Requirements,
    /// `distros`: one document, `distros`: what platforms there are.
    Distributions,
    /// `vulns`: a file for each ecosystem, one OSV record on a line.
    Advisories,
}

impl Shared {
    /// All.
    pub const ALL: [Shared; 3] = [Shared::Requirements, Shared::Distributions, Shared::Advisories];

    /// The folder.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Shared::Requirements => "sysreqs",
            Shared::Distributions => "distros",
            Shared::Advisories => "vulns",
        }
    }
}

/// The head of such a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedHead {
    /// As in a product's head.
    pub format: String,
    /// The folder.
    pub product: String,
    /// As in a product's head.
    pub min_reader: u32,
    /// When it was written.
    #[serde(with = "shown")]
    pub created: Timestamp,
    /// By what they hold: `rules`, `distros`, `cran`, `bioconductor`, `pypi`.
    pub files: BTreeMap<String, Packed>,
}

impl SharedHead {
    /// A head of these files.
    #[must_use]
    pub fn new(shared: Shared, created: Timestamp, files: BTreeMap<String, Packed>) -> SharedHead {
        SharedHead {
            format: head::FORMAT.to_owned(),
            product: shared.folder().to_owned(),
            min_reader: 1,
            created,
            files,
        }
    }

    /// Reads the head of a folder.
    ///
    /// # Errors
    /// Damaged, of another folder, or for later programs.
    pub fn read(bytes: &[u8], shared: Shared) -> Result<SharedHead, Broken> {
        let found: SharedHead = seal::open(bytes)?;
        if found.product != shared.folder() {
            return Err(Broken::damaged(format!(
                "it is the head of {}, not of {}",
                found.product,
                shared.folder()
            )));
        }
        if found.format != head::FORMAT || found.min_reader > head::READER {
            return Err(Broken::Newer(format!(
                "it is of format {}, for readers of level {} or later: install a newer program",
                found.format, found.min_reader
            )));
        }
        match found.files.values().find(|file| !super::layout::is_inside(&file.path)) {
            Some(file) => {
                Err(Broken::damaged(format!("'{}' is no path of a bundle", file.path.escape_debug())))
            }
            None => Ok(found),
        }
    }
}

/// `bioc/v4/config.json`: which versions of Bioconductor there are upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BioconductorConfig {
    /// The mirror's `config.yaml`, as it stands.
    pub config_yaml: String,
}
