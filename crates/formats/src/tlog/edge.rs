//! The right edge of the tree of a log, to which entries are appended: the incomplete last tile of each level.

use std::collections::BTreeMap;

use super::TlogError;
use super::tile::{Content, Tile, TileNodes, WIDTH, count_of, decode_hashes, width_in};
use super::tree::{self, Hash, Root, leaf_hash};

/// A log without its complete tiles.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    size: u64,
    /// Less than 256 hashes of each level, the lowest first.
    levels: Vec<Vec<Hash>>,
}

/// The place of a tile of hashes in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TilePlace {
    pub level: u8,
    pub index: u64,
}

impl Edge {
    /// Reads the edge of a log of `size` entries. `read` returns the hashes of a tile in the width that it asks for.
    pub fn read<E: From<TlogError>>(
        size: u64,
        mut read: impl FnMut(Tile) -> Result<Vec<u8>, E>,
    ) -> Result<Edge, E> {
        let mut levels = Vec::new();
        for level in (0..8).take_while(|level| size >> (8 * level) > 0) {
            let tile = last_tile(level, size);
            let bytes = if tile.width == 0 { Vec::new() } else { read(tile)? };
            levels.push(decode_hashes(&bytes, tile.width)?);
        }
        Ok(Edge { size, levels })
    }

    /// Appends entries. Returns the tiles that changed, each with all of its hashes.
    pub fn append(&mut self, entries: impl IntoIterator<Item: AsRef<[u8]>>) -> BTreeMap<TilePlace, Vec<u8>> {
        let mut changed = BTreeMap::new();
        let mut changed_levels = 0;
        for entry in entries {
            self.size = self.size.saturating_add(1);
            let mut hash = leaf_hash(entry.as_ref());
            for level in 0..8 {
                if self.levels.len() == usize::from(level) {
                    self.levels.push(Vec::new());
                }
                let Some(hashes) = self.levels.get_mut(usize::from(level)) else { break };
                hashes.push(hash);
                changed_levels = changed_levels.max(level + 1);
                if hashes.len() < usize::from(WIDTH) {
                    break;
                }
                // A complete tile is one hash of the level above.
                let index = (self.size >> (8 * (level + 1))) - 1;
                changed.insert(TilePlace { level, index }, hashes.concat());
                hash = Root::of_hashes(hashes).hash;
                hashes.clear();
            }
        }
        for (level, hashes) in (0..changed_levels).zip(&self.levels).filter(|(_, hashes)| !hashes.is_empty())
        {
            changed.insert(TilePlace { level, index: last_tile(level, self.size).index }, hashes.concat());
        }
        changed
    }

    /// Fails if the edge was read with a wrong size.
    pub fn root(&self) -> Result<Root, TlogError> {
        let read = |tile: Tile| match tile.content {
            Content::Hashes(level) => {
                let hashes = self.levels.get(usize::from(level));
                hashes.map(|hashes| hashes.concat()).ok_or("an incomplete tile is missing")
            }
            Content::Entries => Err("a tile of entries has no hashes"),
        };
        tree::root(self.size, &TileNodes::new(self.size, read)).map_err(|error| TlogError(error.to_string()))
    }
}

/// Returns the last tile of a level, which may have no hashes.
fn last_tile(level: u8, size: u64) -> Tile {
    let content = Content::Hashes(level);
    let index = count_of(content, size) / u64::from(WIDTH);
    Tile { content, index, width: width_in(content, index, size) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_in_any_groups_give_the_same_tiles_and_roots() {
        let leaves: Vec<String> = (0..70_000).map(|number| format!("entry {number}")).collect();
        for group in [1, 7, 255, 256, 257, 65_536, 70_000] {
            let (mut edge, mut tiles) = (Edge { size: 0, levels: Vec::new() }, BTreeMap::new());
            for part in leaves.chunks(group) {
                tiles.extend(edge.append(part));
                if group == 257 {
                    let read = |tile: Tile| match tile.content {
                        Content::Hashes(level) => Ok(tiles[&TilePlace { level, index: tile.index }].clone()),
                        Content::Entries => Err(TlogError("entries".to_owned())),
                    };
                    edge = Edge::read(edge.size, read).expect("tiles");
                }
            }
            assert_eq!(edge.root().expect("complete"), Root::of(&leaves), "{group}");
            assert_eq!(tiles.len(), 274 + 2 + 1, "{group}");
            assert_eq!(tiles[&TilePlace { level: 2, index: 0 }].len(), 32, "{group}");
        }
    }
}
