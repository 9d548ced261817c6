//! The Merkle tree of RFC 6962, section 2.1 (RFC 9162, section 2.1, is the same tree): roots, paths, their
//! verification.

use std::fmt;

use sha2::{Digest, Sha256};

/// SHA-256 of a leaf or of an inner node.
pub type Hash = [u8; 32];

/// Returns `SHA-256(0x00 ‖ leaf)`.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(leaf).finalize().into()
}

/// Returns `SHA-256(0x01 ‖ left ‖ right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of a tree and the number of its leaves. The root of no leaves is the SHA-256 of the empty text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    pub count: u64,
    pub hash: Hash,
}

impl Root {
    pub fn of(leaves: impl IntoIterator<Item: AsRef<[u8]>>) -> Root {
        let mut tree = Accumulator::default();
        leaves.into_iter().for_each(|leaf| tree.push(leaf.as_ref()));
        tree.root()
    }

    /// Returns the root over hashes of leaves, or of complete subtrees of one height.
    pub fn of_hashes(hashes: &[Hash]) -> Root {
        let mut tree = Accumulator::default();
        hashes.iter().for_each(|hash| tree.push_hash(*hash));
        tree.root()
    }
}

/// Writes the hash in hexadecimal, and the number of leaves.
impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} leaves", hex::encode(self.hash), self.count)
    }
}

/// Computes the root of leaves that are added one after the other, in memory of at most 64 hashes.
#[derive(Clone, Debug, Default)]
pub struct Accumulator {
    count: u64,
    /// The roots of the largest complete subtrees from the left: one for each bit of `count`, the highest first.
    peaks: Vec<Hash>,
}

impl Accumulator {
    pub fn push(&mut self, leaf: &[u8]) {
        self.push_hash(leaf_hash(leaf));
    }

    /// Adds a leaf by its hash, or a complete subtree if all others have the same height.
    pub fn push_hash(&mut self, hash: Hash) {
        let completed = self.peaks.len().saturating_sub(self.count.trailing_ones() as usize);
        let hash = self.peaks.drain(completed..).rfold(hash, |right, left| node_hash(&left, &right));
        self.peaks.push(hash);
        self.count = self.count.saturating_add(1);
    }

    /// Returns the number of leaves.
    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn root(&self) -> Root {
        Root { count: self.count, hash: join(self.peaks.iter().rev().copied()) }
    }
}

/// Returns the root of a tree from the roots of its complete subtrees, the smallest first.
fn join(peaks: impl Iterator<Item = Hash>) -> Hash {
    peaks.reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(|| Sha256::digest([]).into())
}

/// Access to the nodes of a tree.
pub trait Nodes {
    type Error;

    /// Returns the root of the complete subtree of the 2^`level` leaves from leaf `index` · 2^`level` on. `level` is at
    /// most 63, and the tree has all these leaves.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

/// The roots of all complete subtrees, by their level and index: twice the memory of the hashes of the leaves.
#[derive(Clone, Debug)]
pub struct Subtrees(Vec<Vec<Hash>>);

impl Subtrees {
    pub fn new(leaves: Vec<Hash>) -> Subtrees {
        let parents = |hashes: &Vec<Hash>| {
            let pairs = hashes.as_chunks::<2>().0;
            (!pairs.is_empty()).then(|| pairs.iter().map(|[left, right]| node_hash(left, right)).collect())
        };
        Subtrees(std::iter::successors(Some(leaves), parents).collect())
    }

    /// Returns the number of leaves.
    pub fn count(&self) -> u64 {
        self.0.first().map_or(0, |leaves| leaves.len() as u64)
    }
}

impl Nodes for Subtrees {
    type Error = PathError;

    fn node(&self, level: u8, index: u64) -> Result<Hash, PathError> {
        let hashes = self.0.get(usize::from(level));
        let found = hashes.zip(usize::try_from(index).ok()).and_then(|(hashes, index)| hashes.get(index));
        found.copied().ok_or(PathError::Node { level, index, size: self.count() })
    }
}

/// Returns the root of the first `size` leaves.
pub fn root<N: Nodes + ?Sized>(size: u64, nodes: &N) -> Result<Root, N::Error> {
    Ok(Root { count: size, hash: right_edge(size, 64, nodes)? })
}

/// Returns the root of the last leaves of a tree of `size` leaves: those to the right of the last complete subtree of
/// 2^`level` leaves.
fn right_edge<N: Nodes + ?Sized>(size: u64, level: u8, nodes: &N) -> Result<Hash, N::Error> {
    let peaks = (0..level).filter(|level| (size >> level) & 1 == 1);
    let peaks: Result<Vec<Hash>, _> = peaks.map(|level| nodes.node(level, (size >> level) - 1)).collect();
    Ok(join(peaks?.into_iter()))
}

/// Returns level and index of the sibling of each node on the way to the root, from the node of level `from` above
/// `leaf`. A node without a sibling is the same node one level higher, and is left out.
fn siblings(from: u8, leaf: u64, size: u64) -> impl Iterator<Item = (u8, u64)> {
    let last = size.saturating_sub(1);
    let levels = (from..64).take_while(move |level| last >> level > 0);
    levels
        .map(move |level| (level, (leaf >> level) ^ 1))
        .filter(move |(level, index)| *index <= last >> level)
}

fn path<N: Nodes + ?Sized>(from: u8, leaf: u64, size: u64, nodes: &N) -> Result<Vec<Hash>, N::Error> {
    let hash = |(level, index)| match index < size >> level {
        true => nodes.node(level, index),
        false => right_edge(size, level, nodes),
    };
    siblings(from, leaf, size).map(hash).collect()
}

/// A path, if the tree has it, or the error of its nodes.
type Path<N> = Result<Option<Vec<Hash>>, <N as Nodes>::Error>;

/// Returns the hashes that lead from leaf `index` to the root of a tree of `size` leaves, the sibling of the leaf first
/// (RFC 6962, 2.1.1); `None` if `index` is not below `size`.
pub fn inclusion_path<N: Nodes + ?Sized>(index: u64, size: u64, nodes: &N) -> Path<N> {
    if index >= size { Ok(None) } else { path(0, index, size, nodes).map(Some) }
}

/// Returns the hashes that prove that the tree of `new` leaves begins with the leaves of the tree of `old` leaves
/// (RFC 6962, 2.1.2); empty if `old` is 0 or `new`, `None` if it is greater.
pub fn consistency_path<N: Nodes + ?Sized>(old: u64, new: u64, nodes: &N) -> Path<N> {
    if old == 0 || old >= new {
        return Ok((old <= new).then(Vec::new));
    }
    let (level, leaf) = last_peak(old);
    let first = (!old.is_power_of_two()).then(|| nodes.node(level, leaf >> level)).transpose()?;
    Ok(Some(first.into_iter().chain(path(level, leaf, new, nodes)?).collect()))
}

/// Returns the level of the last complete subtree of a tree that is not empty, and its last leaf.
fn last_peak(size: u64) -> (u8, u64) {
    (size.trailing_zeros() as u8, size.saturating_sub(1))
}

/// The reason why a path does not prove what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("leaf {index} is not in a tree of {size} leaves")]
    Index { index: u64, size: u64 },
    #[error("node {index} of level {level} is not in a tree of {size} leaves")]
    Node { level: u8, index: u64, size: u64 },
    #[error("a tree of {new} leaves cannot begin with one of {old} leaves")]
    Order { old: u64, new: u64 },
    #[error("the path has {given} hashes instead of {needed}")]
    Length { given: usize, needed: usize },
    #[error("the path leads to root {found}, not to {expected}")]
    Root { found: Root, expected: Root },
}

/// Verifies that a tree has a leaf at `index` (RFC 9162, 2.1.3.2).
pub fn verify_inclusion(leaf: &Hash, index: u64, path: &[Hash], root: &Root) -> Result<(), PathError> {
    if index >= root.count {
        return Err(PathError::Index { index, size: root.count });
    }
    check_length(path.len(), siblings(0, index, root.count).count())?;
    let steps = siblings(0, index, root.count).zip(path);
    let found = steps.fold(*leaf, |node, ((level, sibling), hash)| match sibling < index >> level {
        true => node_hash(hash, &node),
        false => node_hash(&node, hash),
    });
    check_root(found, root)
}

/// Verifies that the tree of `new` begins with the leaves of the tree of `old` (RFC 9162, 2.1.4.2). The path must be
/// empty if `old` has no leaves or as many as `new`.
pub fn verify_consistency(old: &Root, new: &Root, path: &[Hash]) -> Result<(), PathError> {
    if old.count > new.count {
        return Err(PathError::Order { old: old.count, new: new.count });
    }
    if old.count == 0 || old.count == new.count {
        check_length(path.len(), 0)?;
        let expected = if old.count == 0 { Accumulator::default().root() } else { *new };
        return check_root(old.hash, &expected);
    }
    let (level, leaf) = last_peak(old.count);
    let steps = siblings(level, leaf, new.count);
    // A complete tree is itself the node where the path begins.
    let (first, hashes) = match path.split_first() {
        _ if old.count.is_power_of_two() => (&old.hash, path),
        Some(first) => first,
        None => return check_length(0, siblings(level, leaf, new.count).count() + 1),
    };
    check_length(hashes.len(), siblings(level, leaf, new.count).count())?;
    let (mut of_old, mut of_new) = (*first, *first);
    for ((level, sibling), hash) in steps.zip(hashes) {
        if sibling < leaf >> level {
            (of_old, of_new) = (node_hash(hash, &of_old), node_hash(hash, &of_new));
        } else {
            of_new = node_hash(&of_new, hash);
        }
    }
    check_root(of_old, old)?;
    check_root(of_new, new)
}

fn check_length(given: usize, needed: usize) -> Result<(), PathError> {
    if given == needed { Ok(()) } else { Err(PathError::Length { given, needed }) }
}

fn check_root(hash: Hash, expected: &Root) -> Result<(), PathError> {
    let found = Root { count: expected.count, hash };
    if found == *expected { Ok(()) } else { Err(PathError::Root { found, expected: *expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use proptest::prelude::*;

    fn leaf(number: usize) -> Vec<u8> {
        format!("leaf {number}").into_bytes()
    }

    fn hashes(count: usize) -> Vec<Hash> {
        (0..count).map(|number| leaf_hash(&leaf(number))).collect()
    }

    fn chunks(bytes: &[u8]) -> Vec<Hash> {
        bytes.as_chunks().0.to_vec()
    }

    #[test]
    fn roots_are_those_of_another_implementation() {
        let nodes = Subtrees::new(hashes(1000));
        let (mut oracle, mut tree) = (MemoryBackedTree::<Sha256, _>::new(), Accumulator::default());
        for size in 0..=1000 {
            let expected = Root { count: size as u64, hash: (*oracle.root().as_bytes()).into() };
            assert_eq!(tree.root(), expected);
            assert_eq!(root(size as u64, &nodes), Ok(expected));
            if size < 1000 {
                oracle.push(leaf(size));
                tree.push(&leaf(size));
            }
        }
        assert_eq!(Root::of((0..1000).map(leaf)), tree.root());
    }

    #[test]
    fn paths_are_those_of_another_implementation() {
        let hashes = hashes(1000);
        let nodes = Subtrees::new(hashes.clone());
        let mut oracle = MemoryBackedTree::<Sha256, _>::new();
        for size in 1..=1000_usize {
            oracle.push(leaf(size - 1));
            if size > 40 && !matches!(size, 63..=65 | 255..=257 | 511..=513 | 767 | 768 | 999 | 1000) {
                continue;
            }
            let count = size as u64;
            let new = root(count, &nodes).unwrap();
            let step = 1 + size / 40;
            for index in (0..size).step_by(step).chain([size - 1]) {
                let path = inclusion_path(index as u64, count, &nodes).unwrap().unwrap();
                assert_eq!(path, chunks(oracle.prove_inclusion(index).as_bytes()), "{index} of {size}");
                assert_eq!(verify_inclusion(&hashes[index], index as u64, &path, &new), Ok(()));
            }
            for old in (1..=size).step_by(step) {
                let path = consistency_path(old as u64, count, &nodes).unwrap().unwrap();
                assert_eq!(path, chunks(oracle.prove_consistency(size - old).as_bytes()), "{old} to {size}");
                let old = root(old as u64, &nodes).unwrap();
                assert_eq!(verify_consistency(&old, &new, &path), Ok(()));
            }
        }
    }

    #[test]
    fn changed_inclusion_paths_are_refused() {
        let hashes = hashes(70);
        let nodes = Subtrees::new(hashes.clone());
        for size in 1..=70_u64 {
            let root = root(size, &nodes).unwrap();
            for index in 0..size {
                let leaf = hashes[index as usize];
                let path = inclusion_path(index, size, &nodes).unwrap().unwrap();
                let refused = |index, path: &[Hash], root: &Root| {
                    assert!(verify_inclusion(&leaf, index, path, root).is_err(), "{index} of {size}");
                };
                for changed in 0..path.len() {
                    let mut other = path.clone();
                    other[changed][31] ^= 1;
                    refused(index, &other, &root);
                    other = path.clone();
                    other.remove(changed);
                    refused(index, &other, &root);
                    other = path.clone();
                    other.swap(changed, 0);
                    if changed > 0 {
                        refused(index, &other, &root);
                    }
                }
                refused(index, &[&path[..], &[leaf]].concat(), &root);
                refused(size + index, &path, &root);
                for other in (0..size).filter(|other| *other != index) {
                    refused(other, &path, &root);
                }
                assert_eq!(inclusion_path(size + index, size, &nodes), Ok(None));
            }
        }
    }

    #[test]
    fn changed_consistency_paths_are_refused() {
        let nodes = Subtrees::new(hashes(40));
        let root_of = |size| root(size, &nodes).unwrap();
        for new in 0..=40_u64 {
            for old in 0..=new {
                let path = consistency_path(old, new, &nodes).unwrap().unwrap();
                let (old, new) = (root_of(old), root_of(new));
                assert_eq!(verify_consistency(&old, &new, &path), Ok(()));
                assert!(verify_consistency(&old, &new, &[&path[..], &[[0; 32]]].concat()).is_err());
                for changed in 0..path.len() {
                    let mut other = path.clone();
                    other[changed][0] ^= 0x80;
                    assert!(verify_consistency(&old, &new, &other).is_err());
                    other = path.clone();
                    other.remove(changed);
                    assert!(verify_consistency(&old, &new, &other).is_err());
                }
                let fork = |root: Root| Root { hash: [7; 32], ..root };
                assert!(verify_consistency(&fork(old), &new, &path).is_err());
                // Every tree begins with the empty one.
                assert_eq!(verify_consistency(&old, &fork(new), &path).is_err(), old.count > 0);
                if old.count < new.count {
                    assert!(verify_consistency(&new, &old, &path).is_err());
                    assert_eq!(consistency_path(new.count, old.count, &nodes), Ok(None));
                }
            }
        }
    }

    /// A tree of any size whose leaves are equal.
    struct EqualLeaves;

    impl Nodes for EqualLeaves {
        type Error = ();

        fn node(&self, level: u8, index: u64) -> Result<Hash, ()> {
            assert!(level < 64 && index <= u64::MAX >> level);
            Ok((0..level).fold(leaf_hash(b"x"), |node, _| node_hash(&node, &node)))
        }
    }

    #[test]
    fn the_largest_trees_have_paths() {
        let sizes = [u64::MAX, u64::MAX - 1, (1 << 63) + 1, 1 << 63, (1 << 63) - 1, 1 << 32, 3];
        for size in sizes {
            let new = root(size, &EqualLeaves).unwrap();
            for index in [0, 1, size / 2, size - 2, size - 1] {
                let path = inclusion_path(index, size, &EqualLeaves).unwrap().unwrap();
                assert_eq!(verify_inclusion(&leaf_hash(b"x"), index, &path, &new), Ok(()));
            }
            for old in [0, 1, 2, size / 3, size / 2, size - 1, size] {
                let path = consistency_path(old, size, &EqualLeaves).unwrap().unwrap();
                let old = root(old, &EqualLeaves).unwrap();
                assert_eq!(verify_consistency(&old, &new, &path), Ok(()), "{old} {new}");
            }
        }
        assert!(Subtrees::new(hashes(3)).node(63, u64::MAX).is_err());
        assert!(Subtrees::new(hashes(3)).node(255, 1).is_err());
    }

    proptest! {
        #[test]
        fn no_path_panics(
            index: u64, old: u64, new: u64, level in 0_u8..65,
            path in prop::collection::vec(prop::array::uniform32(0_u8..), 0..70),
        ) {
            let (old, new) = (old.checked_shr(level.into()).unwrap_or(0), new.checked_shr(level.into()).unwrap_or(0));
            let root = |count| Root { count, hash: [0; 32] };
            prop_assert!(verify_inclusion(&[0; 32], index, &path, &root(new)).is_err());
            prop_assert!(verify_consistency(&root(old), &root(new), &path).is_err() || old == new);
        }
    }
}
