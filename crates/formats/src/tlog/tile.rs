//! Tiles of height 8 and bundles of entries (C2SP tlog-tiles): paths, bytes, and the nodes of a tree from its tiles.

use std::cell::RefCell;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fmt;

use super::tree::{Hash, Nodes, PathError, Root};
use super::{TlogError, fail};

/// Number of hashes or entries of a full tile.
pub const WIDTH: u16 = 256;
/// Maximum size of an entry in bytes: a bundle has its length in 16 bits.
pub const MAX_ENTRY_SIZE: usize = u16::MAX as usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    Entries,
    /// Hashes of complete subtrees of 256^level leaves; the level is at most 63.
    Hashes(u8),
}

/// A tile, or a bundle of the entries of a tile of level 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    pub content: Content,
    /// Its position among the tiles of its level.
    pub index: u64,
    /// The number of its hashes or entries, from 1 to 256.
    pub width: u16,
}

impl Tile {
    /// Parses a path such as `tile/0/x001/x234/067`, `tile/1/003.p/17` or `tile/entries/000`; `None` for a text that
    /// `Display` does not write.
    pub fn parse(path: &str) -> Option<Tile> {
        let (content, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let content = match content {
            "entries" => Content::Entries,
            level => Content::Hashes(level.parse().ok().filter(|level| *level < 64)?),
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, width.parse().ok().filter(|width| (1..WIDTH).contains(width))?),
            None => (rest, WIDTH),
        };
        let index = number.split('/').try_fold(0_u64, |index, element| {
            let digits: u64 = element.strip_prefix('x').unwrap_or(element).parse().ok()?;
            index.checked_mul(1000)?.checked_add(digits)
        })?;
        let tile = Tile { content, index, width };
        (tile.to_string() == path).then_some(tile)
    }

    /// Returns whether a log of `size` entries has these hashes or entries, perhaps in a wider tile.
    pub fn is_in(&self, size: u64) -> bool {
        (1..=width_in(self.content, self.index, size)).contains(&self.width)
    }

    /// Returns whether a tree of `size` leaves has it. Of a partial tile, a tree has the greatest width only.
    pub fn is_of(&self, size: u64) -> bool {
        self.width > 0 && width_in(self.content, self.index, size) == self.width
    }
}

/// Writes the path below the prefix of a log.
impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.content {
            Content::Entries => f.write_str("tile/entries/")?,
            Content::Hashes(level) => write!(f, "tile/{level}/")?,
        }
        let mut divisor = 1_u64;
        while self.index / divisor >= 1000 {
            divisor *= 1000;
        }
        while divisor > 1 {
            write!(f, "x{:03}/", self.index / divisor % 1000)?;
            divisor /= 1000;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if self.width < WIDTH { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

/// Returns the number of hashes or entries in all tiles of a level.
pub(super) fn count_of(content: Content, size: u64) -> u64 {
    match content {
        Content::Entries => size,
        Content::Hashes(level) => size.checked_shr(u32::from(level) * 8).unwrap_or(0),
    }
}

/// Returns the width of a tile in a tree of `size` leaves; 0 if the tree does not have it.
pub(super) fn width_in(content: Content, index: u64, size: u64) -> u16 {
    let count = count_of(content, size);
    match index.cmp(&(count >> 8)) {
        std::cmp::Ordering::Less => WIDTH,
        std::cmp::Ordering::Equal => (count & 0xff) as u16,
        std::cmp::Ordering::Greater => 0,
    }
}

/// Returns the bundles and tiles that a tree of `new` leaves has and one of `old` leaves does not have: all for 0.
pub fn tiles(old: u64, new: u64) -> impl Iterator<Item = Tile> {
    let levels = (0..8).map(Content::Hashes);
    std::iter::once(Content::Entries).chain(levels).flat_map(move |content| {
        let range = (count_of(content, old) >> 8)..=(count_of(content, new) >> 8);
        let tiles = range.map(move |index| Tile { content, index, width: width_in(content, index, new) });
        tiles.filter(move |tile| tile.width > 0 && !tile.is_of(old))
    })
}

/// Parses the bytes of a tile of `width` hashes.
pub fn decode_hashes(bytes: &[u8], width: u16) -> Result<Vec<Hash>, TlogError> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if hashes.len() != usize::from(width) || !rest.is_empty() {
        return fail(format!("{} bytes instead of {width} hashes of 32 bytes", bytes.len()));
    }
    Ok(hashes.to_vec())
}

/// Returns the bytes of a bundle: each entry after its length in two bytes, the high one first. Fails for an entry of
/// more than [`MAX_ENTRY_SIZE`] bytes.
pub fn encode_entries(entries: impl IntoIterator<Item: AsRef<[u8]>>) -> Result<Vec<u8>, TlogError> {
    let mut bytes = Vec::new();
    for (entry, number) in entries.into_iter().zip(0..) {
        let entry = entry.as_ref();
        let Ok(length) = u16::try_from(entry.len()) else {
            return fail(format!("entry {number}: {} bytes, more than {MAX_ENTRY_SIZE}", entry.len()));
        };
        bytes.extend(length.to_be_bytes());
        bytes.extend(entry);
    }
    Ok(bytes)
}

/// Parses the bytes of a bundle of `width` entries. They are not authentic until their hashes are those of a tile.
pub fn decode_entries(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, TlogError> {
    let (mut rest, mut entries) = (bytes, Vec::new());
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length));
        let Some((entry, after)) = after.split_at_checked(length) else {
            return fail(format!("entry {}: {length} bytes, but {} are left", entries.len(), after.len()));
        };
        entries.push(entry);
        rest = after;
    }
    if !rest.is_empty() || entries.len() != usize::from(width) {
        let (count, left) = (entries.len(), rest.len());
        return fail(format!("{count} entries and {left} more bytes instead of {width} entries"));
    }
    Ok(entries)
}

/// The reason why a node cannot be computed from tiles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError<E> {
    /// The closure failed.
    #[error("{0}")]
    Read(E),
    #[error("{0}: {1}")]
    Bytes(Tile, TlogError),
    #[error(transparent)]
    Node(PathError),
}

/// The nodes of a tree of `size` leaves, from a closure that returns the bytes of tiles. It is called once for each
/// tile; a path or root needs at most two tiles per level, 16 in all. A closure that reads stored tiles can return the
/// missing tile as its error; the caller fetches it and tries again. Tiles are not authentic until a root from them is
/// that of a checkpoint.
pub struct TileNodes<F> {
    size: u64,
    read: F,
    tiles: RefCell<BTreeMap<Tile, Vec<Hash>>>,
}

impl<F> TileNodes<F> {
    pub fn new(size: u64, read: F) -> TileNodes<F> {
        TileNodes { size, read, tiles: RefCell::default() }
    }
}

impl<E, F: Fn(Tile) -> Result<Vec<u8>, E>> Nodes for TileNodes<F> {
    type Error = TileError<E>;

    fn node(&self, level: u8, index: u64) -> Result<Hash, TileError<E>> {
        // The node is the root of 2^height hashes of one tile.
        let height = level % 8;
        let (content, index_of_tile) = (Content::Hashes(level / 8), index >> (8 - height));
        let tile = Tile { content, index: index_of_tile, width: width_in(content, index_of_tile, self.size) };
        let start = ((index & (0xff >> height)) << height) as usize;
        let range = start..start + (1 << height);
        if range.end > usize::from(tile.width) {
            return Err(TileError::Node(PathError::Node { level, index, size: self.size }));
        }
        let mut tiles = self.tiles.borrow_mut();
        let hashes = match tiles.entry(tile) {
            Entry::Occupied(hashes) => hashes.into_mut(),
            Entry::Vacant(absent) => {
                let bytes = (self.read)(tile).map_err(TileError::Read)?;
                let hashes =
                    decode_hashes(&bytes, tile.width).map_err(|error| TileError::Bytes(tile, error))?;
                absent.insert(hashes)
            }
        };
        // The range is in the tile, whose length was verified.
        Ok(Root::of_hashes(hashes.get(range).unwrap_or_default()).hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::tree::{PathError, Subtrees, consistency_path, inclusion_path, leaf_hash, root};
    use proptest::prelude::*;
    use std::cell::Cell;

    fn hashes(count: u64) -> Vec<Hash> {
        (0..count).map(|number| leaf_hash(&number.to_be_bytes())).collect()
    }

    /// All tiles of a tree of this size.
    fn files(size: u64, nodes: &Subtrees) -> BTreeMap<Tile, Vec<u8>> {
        let tiles = tiles(0, size).filter(|tile| tile.content != Content::Entries);
        let hash = |level: u8, index: u64| nodes.node(8 * level, index).unwrap();
        let bytes = |tile: Tile| match tile.content {
            Content::Hashes(level) => {
                (0..tile.width).map(|n| hash(level, tile.index * 256 + u64::from(n))).collect()
            }
            Content::Entries => Vec::new(),
        };
        tiles.map(|tile| (tile, bytes(tile).concat())).collect()
    }

    #[test]
    fn paths_are_read_as_they_are_written() {
        let (hashes, full) = (Content::Hashes, WIDTH);
        for (path, content, index, width) in [
            ("tile/0/000", hashes(0), 0, full),
            ("tile/0/000.p/1", hashes(0), 0, 1),
            ("tile/63/999.p/255", hashes(63), 999, 255),
            ("tile/1/x001/000", hashes(1), 1000, full),
            ("tile/0/x001/x234/067", hashes(0), 1_234_067, full),
            ("tile/entries/x001/x000/000.p/9", Content::Entries, 1_000_000, 9),
            ("tile/0/x018/x446/x744/x073/x709/x551/615", hashes(0), u64::MAX, full),
        ] {
            let tile = Tile { content, index, width };
            assert_eq!((Tile::parse(path), tile.to_string().as_str()), (Some(tile), path));
        }
        for path in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "/tile/0/000",
            "tile/0/0",
            "tile/0/00",
            "tile/0/0000",
            "tile/0/1000",
            "tile/0/x000/001",
            "tile/0/001/000",
            "tile/0/x001",
            "tile/0/x001/x000",
            "tile/0/+01",
            "tile/0/-01",
            "tile/00/000",
            "tile/64/000",
            "tile/256/000",
            "tile/+1/000",
            "tile/-1/000",
            "tile/x/000",
            "tile/Entries/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000.p",
            "tile/0/000.p/+1",
            "tile/0/000/",
            "tile/0/000 ",
            "tile/0/0 0",
            "tile/0/０００",
            "tile/8/0/000",
            "tile/0/..",
            "tile/0/000.p/1.p/1",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(Tile::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_tree_has_the_tiles_of_the_specification() {
        let of_level = |size, content| {
            let tiles = tiles(0, size).filter(|tile| tile.content == content);
            tiles.map(|tile| tile.width).collect::<Vec<_>>()
        };
        let mut level_0 = vec![WIDTH; 273];
        level_0.push(112);
        assert_eq!(of_level(70_000, Content::Hashes(0)), level_0);
        assert_eq!(of_level(70_000, Content::Entries), level_0);
        assert_eq!(of_level(70_000, Content::Hashes(1)), [WIDTH, 17]);
        assert_eq!(of_level(70_000, Content::Hashes(2)), [1]);
        assert_eq!(of_level(256, Content::Hashes(0)), [WIDTH]);
        assert_eq!(of_level(256, Content::Hashes(1)), [1]);
        assert_eq!(tiles(0, 0).count(), 0);
        assert_eq!(tiles(5, 5).count(), 0);
        let new: Vec<String> = tiles(511, 513).map(|tile| tile.to_string()).collect();
        let expected =
            ["tile/entries/001", "tile/entries/002.p/1", "tile/0/001", "tile/0/002.p/1", "tile/1/000.p/2"];
        assert_eq!(new, expected);
        assert!(tiles(0, u64::MAX).next().is_some());
        for tile in tiles(0, 66_000) {
            assert!(tile.is_of(66_000));
            assert_eq!(tile.is_of(65_536), tiles(0, 65_536).any(|other| other == tile), "{tile}");
        }
        for bad in
            ["tile/0/000.p/17", "tile/8/000", "tile/63/000", "tile/0/x018/x446/x744/x073/x709/x551/615"]
        {
            assert!(!Tile::parse(bad).unwrap().is_of(70_000), "{bad}");
        }
    }

    #[test]
    fn tiles_give_the_nodes_of_the_tree() {
        let all = Subtrees::new(hashes(66_000));
        for size in [1, 2, 255, 256, 257, 511, 1000, 65_535, 65_536, 65_537, 66_000] {
            let files = files(size, &all);
            let reads = Cell::new(0);
            let nodes = || {
                reads.set(0);
                TileNodes::new(size, |tile| {
                    reads.set(reads.get() + 1);
                    files.get(&tile).cloned().ok_or(tile)
                })
            };
            assert_eq!(root(size, &nodes()).unwrap(), root(size, &all).unwrap());
            for index in [0, size / 3, size - 1] {
                assert_eq!(
                    inclusion_path(index, size, &nodes()).unwrap(),
                    inclusion_path(index, size, &all).unwrap()
                );
                assert!(reads.get() <= 6, "{} tiles for {index} of {size}", reads.get());
                let path = consistency_path(index, size, &nodes()).unwrap();
                assert_eq!(path, consistency_path(index, size, &all).unwrap());
                assert!(reads.get() <= 6, "{} tiles for {index} of {size}", reads.get());
            }
            for (level, index) in [(0, size), (8, u64::MAX), (63, 0), (64, 0), (255, 1)] {
                let error = Err(TileError::Node(PathError::Node { level, index, size }));
                assert_eq!(nodes().node(level, index), error);
            }
        }
    }

    #[test]
    fn changed_tiles_are_refused_or_have_another_root() {
        let all = Subtrees::new(hashes(66_000));
        let files = files(66_000, &all);
        let expected = root(66_000, &all).unwrap();
        let read = |changed: Tile, change: &dyn Fn(&mut Vec<u8>)| {
            root(
                66_000,
                &TileNodes::new(66_000, |tile| {
                    let mut bytes = files.get(&tile).cloned().ok_or(tile)?;
                    if tile == changed {
                        change(&mut bytes);
                    }
                    Ok::<_, Tile>(bytes)
                }),
            )
        };
        let partial = Tile::parse("tile/0/x000/257.p/208").or(Tile::parse("tile/0/257.p/208")).unwrap();
        assert_eq!(read(partial, &|_| ()), Ok(expected));
        for tile in [partial, Tile::parse("tile/2/000.p/1").unwrap(), Tile::parse("tile/1/001.p/1").unwrap()]
        {
            assert_ne!(read(tile, &|bytes| bytes[31] ^= 1).unwrap(), expected);
            assert!(matches!(
                read(tile, &|bytes| bytes.truncate(bytes.len() - 1)),
                Err(TileError::Bytes(..))
            ));
            assert!(matches!(read(tile, &|bytes| bytes.extend([0; 32])), Err(TileError::Bytes(..))));
        }
        for size in [0, 8_191, 8_193, 8_224] {
            assert!(decode_hashes(&vec![0; size], WIDTH).is_err());
        }
        let missing = root(66_000, &TileNodes::new(66_000, Err::<Vec<u8>, Tile>));
        assert!(matches!(missing, Err(TileError::Read(tile)) if tile.is_of(66_000)));
    }

    #[test]
    fn bundles_are_read_as_they_are_written() {
        let entries = [b"a".to_vec(), Vec::new(), vec![7; MAX_ENTRY_SIZE]];
        let bytes = encode_entries(&entries).unwrap();
        assert_eq!(bytes[..5], [0, 1, b'a', 0, 0]);
        assert_eq!(decode_entries(&bytes, 3).unwrap(), entries);
        assert!(
            encode_entries([vec![0; MAX_ENTRY_SIZE + 1]])
                .unwrap_err()
                .to_string()
                .contains("entry 0: 65536 bytes")
        );
        for width in [0, 2, 4] {
            assert!(decode_entries(&bytes, width).is_err());
        }
        for end in [1, 4, bytes.len() - 1] {
            assert!(decode_entries(&bytes[..end], 3).is_err());
        }
        let error = decode_entries(&[0, 9, 1], 1).unwrap_err();
        assert_eq!(error.to_string(), "entry 0: 9 bytes, but 1 are left");
    }

    proptest! {
        #[test]
        fn every_path_that_is_read_is_written(
            path in "tile/([0-9]{1,2}|entries)/(x[0-9]{3}/){0,3}[0-9]{3}(\\.p/[0-9]{1,3})?",
            text: String, bytes: Vec<u8>, width: u16, index: u64, level: u8) {
            for path in [path, text] {
                prop_assert!(Tile::parse(&path).is_none_or(|tile| tile.to_string() == path));
            }
            let tile = Tile { content: Content::Hashes(level), index, width: width % 257 };
            let is_valid = level < 64 && tile.width > 0;
            prop_assert_eq!(Tile::parse(&tile.to_string()), is_valid.then_some(tile));
            let _ = (tile.is_of(index), decode_entries(&bytes, width), decode_hashes(&bytes, width));
        }
    }
}
