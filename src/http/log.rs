//! The log of what the server published and served, as C2SP tlog-tiles: checkpoint, tiles of hashes, bundles of entries.

use http::Response;
use http::header::HeaderValue;
use http::request::Parts;

use super::app::App;
use super::error::Failure;
use super::net::body::Body;
use super::repo::document;
use super::route::log::LogRoute;
use content::serve::{RepoError, proofs};
use formats::tlog::tile::{Content, Tile, encode_entries};
use store::db::{Conn, DbError, tlog};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Answers a GET or HEAD. Fails with 404 without a log, and for a tile that the newest checkpoint does not contain.
pub(super) async fn answer(app: &App, route: LogRoute, parts: &Parts) -> Result<Response<Body>, Failure> {
    let head = app.state.db.read(tlog::head).await.map_err(RepoError::from)?;
    let signed = head.as_ref().map(proofs::signed).transpose().map_err(RepoError::from)?.flatten();
    let (Some(head), Some(signed)) = (head, signed) else {
        return Err(Failure::not_found(
            "this server has no log; an administrator begins it with rspm history init",
        ));
    };
    match route {
        LogRoute::Checkpoint => Ok(document::answer_bytes(head.checkpoint, TEXT, true, parts)),
        LogRoute::Tile(tile) => {
            let size = signed.checkpoint.root.count;
            if !tile.is_in(size) {
                return Err(Failure::not_found(format!("the log has {size} entries, and no {tile}")));
            }
            let bytes = app.state.db.read(move |c| bytes(c, head.id, tile)).await.map_err(RepoError::from)?;
            Ok(document::answer_bytes(bytes, BYTES, false, parts))
        }
    }
}

fn bytes(c: &mut dyn Conn, log: i64, tile: Tile) -> Result<Vec<u8>, DbError> {
    match tile.content {
        Content::Hashes(_) => proofs::tile_bytes(c, log, tile),
        Content::Entries => {
            let first = tile.index.saturating_mul(256);
            let entries = tlog::entries(c, log, first, u64::from(tile.width))?;
            encode_entries(&entries).map_err(DbError::refuse)
        }
    }
}
