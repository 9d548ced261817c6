//! Addresses of the log (C2SP tlog-tiles): the checkpoint, tiles of hashes, bundles of entries; and those of this server as a
//! witness of other logs (C2SP tlog-witness).

use http::Method;

use super::access::{Access, server};
use crate::http::error::Failure;
use base::access::Action;
use base::model::digest::Sha256;
use formats::tlog::tile::{Content, Tile};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogRoute {
    /// `/__log__/checkpoint`, and `/__log__/2/checkpoint` of a log that follows the first one.
    Checkpoint(i64),
    /// `/__log__/tile/…`, and `/__log__/2/tile/…`.
    Tile(i64, Tile),
    /// `POST /__log__/witness/add-checkpoint`
    AddCheckpoint,
    /// `/__log__/witness/{SHA-256 of the origin}/checkpoint`
    Witnessed(Sha256),
}

impl LogRoute {
    pub(super) fn parse(method: &Method, rest: &[&str]) -> Result<LogRoute, Failure> {
        let of_log = |log: i64, rest: &[&str]| match rest {
            ["checkpoint"] => Some(LogRoute::Checkpoint(log)),
            rest => Tile::parse(&rest.join("/")).map(|tile| LogRoute::Tile(log, tile)),
        };
        let route = match rest {
            ["witness", "add-checkpoint"] => Some(LogRoute::AddCheckpoint),
            ["witness", digest, "checkpoint"] => digest.parse().ok().map(LogRoute::Witnessed),
            [log, rest @ ..] if let Some(log) = later_log(log) => of_log(log, rest),
            rest => of_log(1, rest),
        };
        let route = route.ok_or_else(Failure::no_such_address)?;
        let is_post = route == LogRoute::AddCheckpoint;
        match *method {
            Method::POST if is_post => Ok(route),
            _ if is_post => Err(Failure::method_not_allowed(Method::POST.as_str())),
            Method::GET | Method::HEAD => Ok(route),
            _ => Err(Failure::method_not_allowed("GET, HEAD")),
        }
    }

    /// Returns who may use it. SECURITY: entries contain names of repositories and sources, unless all may know them.
    pub fn access(self, is_public: bool) -> Access<'static> {
        server(match self {
            // The signature of the checkpoint decides.
            LogRoute::AddCheckpoint => Action::Notify,
            LogRoute::Witnessed(_) => Action::ReadPublic,
            LogRoute::Checkpoint(_) | LogRoute::Tile(..) if is_public => Action::ReadPublic,
            LogRoute::Tile(_, Tile { content: Content::Entries, .. }) => Action::Administer,
            LogRoute::Checkpoint(_) | LogRoute::Tile(..) => Action::Inspect,
        })
    }
}

/// Parses the number of a log that follows the first one, which has none in its addresses.
fn later_log(text: &str) -> Option<i64> {
    text.parse().ok().filter(|log: &i64| *log > 1 && log.to_string() == text)
}
