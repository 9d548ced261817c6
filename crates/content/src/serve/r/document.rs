//! The documents of an R repository, and their parts of a cache key.

use std::fmt::Write;

use crate::serve::documents::negotiate::BinarySelector;
use base::model::ids::{Seq, SourceId, TreeId};
use formats::r::layout::IndexFormat;
use store::db::life::{FileInfo, ListedRelease};

/// Version of the renderer, part of every key; must be incremented when the same rows give different decoded bytes.
pub(in crate::serve) const RENDERER: u32 = 2;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RDocument {
    /// The index of source packages: `src/contrib/PACKAGES`.
    Packages(IndexFormat),
    /// `src/contrib/Meta/archive.rds`.
    ArchiveRds,
    /// `src/contrib/Meta/current.rds`.
    CurrentRds,
    /// `web/packages/packages.rds`: the details of all packages.
    PackageDatabase {
        /// [`State::detail_updates`](runtime::state::State::detail_updates): details may be read after the publish.
        detail_updates: u64,
    },
    /// The valid empty index of a binary tree without binaries.
    Empty(IndexFormat),
    /// The index of a point with binaries.
    Binaries(BinaryIndex),
    /// The list of the files in a directory.
    Listing(Listing),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listing {
    /// `src/contrib/`
    Sources,
    /// `src/contrib/Archive/`
    Archive,
    /// `src/contrib/Archive/{package}/`
    Package(String),
    /// The directory of an index of binaries.
    Binaries(BinaryIndex),
    /// The directory of an index without binaries.
    Empty,
}

/// An index with binaries, and the state of the binary lists from which it is rendered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BinaryIndex {
    /// The platform, and the instant that selects the binaries.
    pub selector: BinarySelector,
    /// Whether packages without a binary are included, as source packages.
    pub with_source_packages: bool,
    pub format: IndexFormat,
    /// The head of each source's binary list.
    pub heads: Vec<(SourceId, TreeId, Seq)>,
}

#[derive(Debug)]
pub(in crate::serve) enum RRows {
    /// Index records, merged, in index order.
    Listed(Vec<ListedRelease>),
    /// Archived files, merged: by package, oldest first.
    Archived(Vec<FileInfo>),
    Current(Vec<FileInfo>),
}

impl RDocument {
    /// The documents that the nightly work renders for a past day.
    pub const NIGHTLY_DOCUMENTS: [RDocument; 3] =
        [RDocument::Packages(IndexFormat::Rds), RDocument::Packages(IndexFormat::Gz), RDocument::ArchiveRds];

    pub fn format(&self) -> IndexFormat {
        match self {
            RDocument::Packages(format)
            | RDocument::Empty(format)
            | RDocument::Binaries(BinaryIndex { format, .. }) => *format,
            RDocument::Listing(_) => IndexFormat::Text,
            RDocument::ArchiveRds | RDocument::CurrentRds | RDocument::PackageDatabase { .. } => {
                IndexFormat::Rds
            }
        }
    }

    /// Returns the head of each source's binary list from which it is rendered, besides the trees of the point.
    pub(in crate::serve) fn binary_lists(&self) -> &[(SourceId, TreeId, Seq)] {
        match self {
            RDocument::Binaries(index) | RDocument::Listing(Listing::Binaries(index)) => &index.heads,
            RDocument::Listing(_)
            | RDocument::Packages(_)
            | RDocument::ArchiveRds
            | RDocument::CurrentRds
            | RDocument::PackageDatabase { .. }
            | RDocument::Empty(_) => &[],
        }
    }

    /// Returns the compressed document with the same content, which is rendered and stored in place of this one.
    pub(in crate::serve) fn stored_equivalent(&self) -> Option<RDocument> {
        match self {
            RDocument::Packages(IndexFormat::Text) => Some(RDocument::Packages(IndexFormat::Gz)),
            RDocument::Packages(IndexFormat::Gz | IndexFormat::Rds)
            | RDocument::ArchiveRds
            | RDocument::CurrentRds
            | RDocument::PackageDatabase { .. }
            | RDocument::Empty(_)
            | RDocument::Binaries(_)
            | RDocument::Listing(_) => None,
        }
    }

    /// Returns the name in keys. Empty indexes are constants and never cached, so one name suffices for them.
    pub(in crate::serve) fn name(&self) -> &'static str {
        match self {
            RDocument::Packages(format) => format.file_name(),
            RDocument::ArchiveRds => "archive.rds",
            RDocument::CurrentRds => "current.rds",
            RDocument::PackageDatabase { .. } => "packages.rds",
            RDocument::Empty(_) => "empty",
            RDocument::Binaries(_) => "builds",
            RDocument::Listing(Listing::Sources) => "list",
            RDocument::Listing(Listing::Archive) => "list of Archive",
            RDocument::Listing(Listing::Package(_)) => "list of a package",
            RDocument::Listing(Listing::Binaries(_)) => "list of builds",
            RDocument::Listing(Listing::Empty) => "empty list",
        }
    }

    /// Appends the inputs besides the trees of the point to a key. Stored keys contain these texts: never change them.
    pub(in crate::serve) fn write_key(&self, key: &mut String) {
        match self {
            RDocument::PackageDatabase { detail_updates } => {
                write!(key, "/{detail_updates}").expect("writing to a String cannot fail");
            }
            RDocument::Listing(Listing::Package(name)) => {
                write!(key, "/{name}").expect("writing to a String cannot fail");
            }
            RDocument::Binaries(BinaryIndex { selector, with_source_packages, format, heads })
            | RDocument::Listing(Listing::Binaries(BinaryIndex {
                selector,
                with_source_packages,
                format,
                heads,
            })) => {
                let packages = if *with_source_packages { "all" } else { "built" };
                let format = match format {
                    IndexFormat::Text => "Text",
                    IndexFormat::Gz => "Gz",
                    IndexFormat::Rds => "Rds",
                };
                write!(key, "/{}/{packages}/{format}/{}", selector.platform, selector.until.0)
                    .expect("writing to a String cannot fail");
                for (_, tree, seq) in heads {
                    write!(key, "/{tree}@{seq}").expect("writing to a String cannot fail");
                }
            }
            RDocument::Packages(_)
            | RDocument::ArchiveRds
            | RDocument::CurrentRds
            | RDocument::Empty(_)
            | RDocument::Listing(Listing::Sources | Listing::Archive | Listing::Empty) => {}
        }
    }
}
