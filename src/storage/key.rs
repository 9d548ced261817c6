//! Every object the server ever stores is a variant of [`Key`], which knows its class, path and media type.

use crate::config::StorageClass;
use crate::model::digest::Sha256;

/// The name of a stored object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// Package bytes, in the class that first stored them.
    Package(StorageClass, Sha256),
    /// A README extracted from a package (class `packages`).
    Readme(Sha256),
    /// A rendered, encoded index of a closed point (class `persistent`), by the digest of its encoded bytes.
    Index(Sha256),
}
