//! Lines of entries that are read again: by auditors, and by the server that wrote them.

use std::fmt;

use super::tree::{Hash, Root};
use super::{TlogError, decimal, fail, hex_bytes, quoted};

/// A list of packages that a transaction published: `SOURCE LABEL SEQ RECORDS ROOT TREE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeLine<'a> {
    pub source: &'a str,
    /// `-` for a tree without a label.
    pub label: &'a str,
    /// The number of the list within its tree.
    pub seq: i64,
    pub root: Root,
    /// The number of the tree, which stays when its source is renamed. Entries of other programs may lack it.
    pub tree: Option<i64>,
}

impl<'a> TreeLine<'a> {
    pub fn parse(line: &'a str) -> Result<TreeLine<'a>, TlogError> {
        let words: Vec<&str> = line.split(' ').collect();
        let wrong =
            || TlogError(format!("tree: {} is not 'SOURCE LABEL SEQ RECORDS ROOT TREE'", quoted(line)));
        let [source, label, seq, count, hash, ref tree @ ..] = words[..] else { return Err(wrong()) };
        let in_tree = |error: TlogError| error.at("tree");
        let tree = match tree {
            [] => None,
            [tree] => Some(i64::try_from(decimal(tree).map_err(in_tree)?).map_err(|_| wrong())?),
            _ => return Err(wrong()),
        };
        let root = Root { count: decimal(count).map_err(in_tree)?, hash: hex_bytes(hash).map_err(in_tree)? };
        Ok(TreeLine { source, label, seq: seq.parse().map_err(|_| wrong())?, root, tree })
    }
}

impl fmt::Display for TreeLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TreeLine { source, label, seq, root, tree } = self;
        write!(f, "{source} {label} {seq} {} {}", root.count, hex::encode(root.hash))?;
        tree.iter().try_for_each(|tree| write!(f, " {tree}"))
    }
}

/// A file whose digest the server computed: `SOURCE NAME SIZE MD5 SHA256`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLine<'a> {
    pub source: &'a str,
    pub name: &'a str,
    /// In hexadecimal digits; `-` if it is unknown.
    pub md5: &'a str,
    pub sha256: Hash,
}

impl<'a> FileLine<'a> {
    pub fn parse(line: &'a str) -> Result<FileLine<'a>, TlogError> {
        let words: Vec<&str> = line.split(' ').collect();
        let [source, name, _, md5, sha256] = words[..] else {
            return fail(format!("file: {} is not 'SOURCE NAME SIZE MD5 SHA256'", quoted(line)));
        };
        Ok(FileLine { source, name, md5, sha256: hex_bytes(sha256).map_err(|e| e.at("file"))? })
    }
}
