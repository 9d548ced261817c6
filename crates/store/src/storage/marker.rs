//! The markers of a storage class: one names the database that owns its objects, and each server that uses the class has one,
//! by which the other servers detect whether they use the same storage.

use std::fmt;

use super::{Backend, Storage, StorageError, blocking};
use base::model::ids::Identity;
use base::model::kind::StorageClass;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    None,
    /// The marker names the database that owns the objects.
    Readable(MarkerContent),
    /// The marker names no database.
    Unreadable,
}

/// The content of a marker: lines of text, the identity first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkerContent {
    /// The database. A copy of it has the same identity.
    pub identity: Identity,
    /// The token of the last adoption. Earlier copies of the database do not have it.
    pub adoption: Option<Identity>,
    /// The generation, renewed at each start and at each sweep.
    pub generation: Option<Identity>,
    /// Set once a server found a generation that its database had not written: two databases use the class.
    pub contested: bool,
}

impl Marker {
    pub(super) fn parse(bytes: &[u8]) -> Marker {
        let mut lines = std::str::from_utf8(bytes).unwrap_or_default().lines();
        let Some(Ok(identity)) = lines.next().map(str::parse::<Identity>) else { return Marker::Unreadable };
        let mut content = MarkerContent { identity, adoption: None, generation: None, contested: false };
        for line in lines {
            let (word, value) = line.split_once(' ').unwrap_or((line, ""));
            match (word, value.parse::<Identity>()) {
                ("adoption", Ok(token)) => content.adoption = Some(token),
                ("generation", Ok(token)) => content.generation = Some(token),
                ("contested", _) => content.contested = true,
                _ => return Marker::Unreadable,
            }
        }
        Marker::Readable(content)
    }
}

impl fmt::Display for MarkerContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.identity)?;
        for (word, token) in [("adoption", self.adoption), ("generation", self.generation)] {
            if let Some(token) = token {
                writeln!(f, "{word} {token}")?;
            }
        }
        if self.contested { writeln!(f, "contested") } else { Ok(()) }
    }
}

/// The marker of a server. These markers are in a separate directory, which no listing of objects contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeMarker {
    pub class: StorageClass,
    pub node: Identity,
}

impl NodeMarker {
    pub(super) const DIRECTORY: &'static str = "nodes";

    /// Returns the path below the class's location: `nodes/cran/3f2a…`. Classes may share a location.
    pub fn path(self) -> String {
        format!("{}/{}/{}", NodeMarker::DIRECTORY, self.class.as_str(), self.node)
    }
}

impl Storage {
    /// Writes the marker of a server.
    pub async fn write_node_marker(&self, marker: NodeMarker) -> Result<(), StorageError> {
        match self.backend(marker.class) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.write_empty(&marker.path())).await,
            Backend::S3(s3) => s3.write_empty(&marker.path()).await,
        }
    }

    /// Returns whether the marker of a server is visible. Queries the backend.
    pub async fn has_node_marker(&self, marker: NodeMarker) -> Result<bool, StorageError> {
        match self.backend(marker.class) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.has(&marker.path())).await,
            Backend::S3(s3) => s3.has(&marker.path()).await,
        }
    }

    /// Removes the marker of a server; a missing one is not an error.
    pub async fn remove_node_marker(&self, marker: NodeMarker) -> Result<(), StorageError> {
        match self.backend(marker.class) {
            Backend::Disk(disk) => blocking(disk, move |disk| disk.delete_path(&marker.path())).await,
            Backend::S3(s3) => s3.delete_path(&marker.path()).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_back_from_its_text_and_anything_else_is_unreadable() {
        let identity = Identity([0xab; 16]);
        let minimal = MarkerContent { identity, adoption: None, generation: None, contested: false };
        let full = MarkerContent {
            adoption: Some(Identity([1; 16])),
            generation: Some(Identity([2; 16])),
            contested: true,
            ..minimal
        };
        for content in [minimal, full] {
            assert_eq!(Marker::parse(content.to_string().as_bytes()), Marker::Readable(content));
        }
        assert_eq!(
            Marker::parse("ab".repeat(16).as_bytes()),
            Marker::Readable(minimal),
            "without a line end"
        );
        let (short, long) = (format!("{identity}\ngeneration 12\n"), "ab".repeat(17));
        for bad in ["", "ab", "not a marker", &long, &short, &format!("{identity}\nother\n")] {
            assert_eq!(Marker::parse(bad.as_bytes()), Marker::Unreadable, "{bad}");
        }
        assert_eq!(Marker::parse(&[0xff; 32]), Marker::Unreadable);
    }
}
