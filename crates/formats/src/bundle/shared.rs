//! Data shared by all products. Rules for system requirements, distributions and advisories are folders with a head and
//! immutable files; the versions of Bioconductor are one file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::text::as_text;
use super::{CompressedFile, FormatError, head, self_digest};
use base::model::time::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SharedFolder {
    /// `sysreqs`: one document, `rules`, in the format of `r::sysreqs::RuleBase`.
    Requirements,
    /// `distros`: one document, `distros`, with the available platforms.
    Distributions,
    /// `vulns`: one file per ecosystem, with one OSV record per line.
    Advisories,
}

impl SharedFolder {
    pub const ALL: [SharedFolder; 3] =
        [SharedFolder::Requirements, SharedFolder::Distributions, SharedFolder::Advisories];

    pub fn folder(self) -> &'static str {
        match self {
            SharedFolder::Requirements => "sysreqs",
            SharedFolder::Distributions => "distros",
            SharedFolder::Advisories => "vulns",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedHead {
    /// As in a product's head.
    pub format: String,
    /// The name of the folder.
    pub product: String,
    /// As in a product's head.
    pub min_reader: u32,
    #[serde(with = "as_text")]
    pub created: Timestamp,
    /// The files, by content: `rules`, `distros`, `cran`, `bioconductor` or `pypi`.
    pub files: BTreeMap<String, CompressedFile>,
}

impl SharedHead {
    pub fn new(
        folder: SharedFolder,
        created: Timestamp,
        files: BTreeMap<String, CompressedFile>,
    ) -> SharedHead {
        SharedHead {
            format: head::FORMAT.to_owned(),
            product: folder.folder().to_owned(),
            min_reader: 1,
            created,
            files,
        }
    }

    pub fn read(bytes: &[u8], folder: SharedFolder) -> Result<SharedHead, FormatError> {
        let shared_head: SharedHead = self_digest::parse(bytes)?;
        if shared_head.product != folder.folder() {
            return Err(FormatError::damaged(format!(
                "it is the head of {}, not of {}",
                shared_head.product,
                folder.folder()
            )));
        }
        if shared_head.format != head::FORMAT || shared_head.min_reader > head::READER_LEVEL {
            return Err(FormatError::Newer(format!(
                "it is of format {}, for readers of level {} or later: install a newer program",
                shared_head.format, shared_head.min_reader
            )));
        }
        match shared_head.files.values().find(|file| !super::layout::is_safe_path(&file.path)) {
            Some(file) => {
                Err(FormatError::damaged(format!("'{}' is not a path of a bundle", file.path.escape_debug())))
            }
            None => Ok(shared_head),
        }
    }
}

/// The content of `bioc/v4/config.json`: the versions of Bioconductor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BioconductorConfig {
    /// The unchanged `config.yaml` of the mirror.
    pub config_yaml: String,
}
