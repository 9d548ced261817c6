//! Addresses of the log (C2SP tlog-tiles): the checkpoint, tiles of hashes, bundles of entries.

use crate::http::error::Failure;
use base::access::Action;
use formats::tlog::tile::{Content, Tile};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogRoute {
    /// `/__log__/checkpoint`
    Checkpoint,
    /// `/__log__/tile/…`
    Tile(Tile),
}

impl LogRoute {
    pub(super) fn parse(rest: &[&str]) -> Result<LogRoute, Failure> {
        match rest {
            ["checkpoint"] => Ok(LogRoute::Checkpoint),
            rest => Tile::parse(&rest.join("/")).map(LogRoute::Tile).ok_or_else(Failure::no_such_address),
        }
    }

    /// SECURITY: entries contain names of repositories and sources.
    pub(super) fn action(self) -> Action {
        match self {
            LogRoute::Tile(Tile { content: Content::Entries, .. }) => Action::Administer,
            LogRoute::Checkpoint | LogRoute::Tile(_) => Action::Inspect,
        }
    }
}
