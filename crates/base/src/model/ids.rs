//! Row ids, a newtype for each table, so that ids of different tables cannot be confused; and random identities.

use std::fmt;
use std::str::FromStr;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A source; CRAN is 1, Bioconductor 2, PyPI 3, created by the first migration. Later built-in sources have negative numbers: 0
    /// stands for all sources in scopes.
    SourceId
);
id!(
    /// A tree: a package list with its own history, such as CRAN's `src/contrib`.
    TreeId
);
id!(RepoId);
id!(
    /// A package name in one language.
    PackageId
);
id!(
    /// One version of a package from one source, in one revision.
    ReleaseId
);
id!(
    /// A file of a release, such as a source package or a binary.
    FileId
);
id!(TokenId);
id!(
    /// A transaction. Ids increase in the order of publication. To select a state, compare times, not ids.
    TxId
);
id!(
    /// The number of a step of a tree, without gaps. The first publish has number 1; lower numbers are steps of a
    /// back-fill. In the tree of an index of Python packages, it is a time in microseconds since the epoch.
    Seq
);

impl SourceId {
    /// The built-in CRAN source. The number is fixed, because old clients request `/__api__/sources/1/transactions`.
    pub const CRAN: SourceId = SourceId(1);
    pub const BIOCONDUCTOR: SourceId = SourceId(2);
    pub const PYPI: SourceId = SourceId(3);

    /// Returns whether it is built in. Sources that administrators create have higher numbers.
    pub fn is_mirror(self) -> bool {
        self <= SourceId::PYPI
    }

    /// Returns whether it is a built-in index with one page per project: its projects are known before their files.
    pub fn is_project_index(self) -> bool {
        self.is_mirror() && !matches!(self, SourceId::CRAN | SourceId::BIOCONDUCTOR)
    }
}

impl Seq {
    /// The end of a life that has not ended: 2^62, which is greater than every step.
    pub const OPEN: Seq = Seq(1 << 62);

    /// Returns the number of the next step.
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

/// A random identity of 128 bits, written in lower-case hexadecimal: of a database, its dumps and copies, since its schema
/// was created; of a server process (node), since its start; of other objects, such as a generation of a storage marker.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity(pub [u8; 16]);

/// A text that is not 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not 32 hexadecimal digits")]
pub struct BadIdentity(String);

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({self})")
    }
}

impl FromStr for Identity {
    type Err = BadIdentity;

    fn from_str(text: &str) -> Result<Identity, BadIdentity> {
        let mut bytes = [0; 16];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Ok(Identity(bytes)),
            Err(_) => Err(BadIdentity(text.chars().take(80).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_back_from_its_text_and_anything_else_is_refused() {
        let text = "00ff".repeat(8);
        assert_eq!(text.parse::<Identity>().map(|identity| identity.to_string()), Ok(text));
        for bad in ["", "00", &"g".repeat(32), &"0".repeat(31), &"0".repeat(33)] {
            assert!(bad.parse::<Identity>().is_err(), "{bad}");
        }
    }
}
