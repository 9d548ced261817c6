//! The servers that use a PostgreSQL database: one row each, renewed by its heartbeat. All times are the database's.

use std::time::Duration;

use super::{Conn, DbError, Value};
use crate::db::engine::columns::{row, select};
use crate::db::engine::conn::{Cells, Columns};
use base::model::ids::Identity;
use base::model::time::Timestamp;

/// Age of the last heartbeat above which a server counts as gone: as not running, or not connected.
pub const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(30);
/// Age of the last heartbeat above which the row of a server is removed.
const ROW_RETENTION: Duration = Duration::from_secs(86_400);

row! {
    /// The values that a server writes with each heartbeat.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Beat {
        /// Random id, new with each process.
        pub id: Identity,
        pub name: String,
        /// IP address and port of its first listener.
        pub address: String,
        pub version: String,
        /// The newest migration that the program supports.
        pub schema: i64,
        /// Its mode, as one word.
        pub mode: String,
        /// The condition that it waits for, or the reason why it cannot serve.
        pub message: String,
        pub config: String,
        /// Storage classes that contain the marker of this server, separated by spaces.
        pub classes: String,
        /// [`ModeRequest::at`] of the last request that the server completed, or failed to complete.
        pub answered_at: Option<Timestamp>,
        /// The time of its clock.
        pub clock: Timestamp => server_time,
    }
}

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ModeRequest {
        /// `online` or `offline`.
        pub mode: String,
        pub actor: String,
        /// Time of the request, which identifies it.
        pub at: Timestamp,
        /// Seconds that running requests and jobs may take.
        pub timeout: i64,
    }
}

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct NodeRow from "node" {
        /// The values of the last heartbeat. Its clock is computed from `beat_at` and `clock_ahead`.
        pub beat: Beat = "id, name, address, version, schema, mode, message, config, classes, answered_at, beat_at, \
            clock_ahead",
        pub started_at: Timestamp,
        pub beat_at: Timestamp,
        /// Lead of its clock over the clock of the database, in microseconds; negative if it is behind.
        pub clock_ahead: i64,
        pub mode_at: Timestamp,
        pub request: Option<ModeRequest> = "requested_mode, requested_by, requested_at, requested_timeout",
    }
}

/// Decodes the time of a heartbeat and the lead of the clock of its server: the time of that clock.
fn server_time(cells: &mut Cells) -> Result<Timestamp, DbError> {
    let (beat_at, clock_ahead): (Timestamp, i64) = Columns::decode(cells)?;
    Ok(Timestamp(beat_at.0.saturating_add(clock_ahead)))
}

impl NodeRow {
    /// Returns whether its last heartbeat is too old. A heartbeat that is equally far in the future was written before
    /// the clock of the database was set back.
    pub fn is_gone(&self, now: Timestamp) -> bool {
        now.abs_diff(self.beat_at) > HEARTBEAT_TIMEOUT
    }
}

/// Writes a heartbeat and returns the last request for a mode, if any.
pub fn beat(c: &mut dyn Conn, beat: &Beat, now: Timestamp) -> Result<Option<ModeRequest>, DbError> {
    const BEAT: &str = "INSERT INTO node (id, name, address, version, schema, started_at, beat_at, clock_ahead, mode, \
        mode_at, message, config, classes, answered_at) VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8, $6, $9, $10, $11, \
        $12) ON CONFLICT (id) DO UPDATE SET address = excluded.address, beat_at = excluded.beat_at, \
        clock_ahead = excluded.clock_ahead, mode = excluded.mode, \
        mode_at = CASE WHEN node.mode = excluded.mode THEN node.mode_at ELSE excluded.mode_at END, \
        message = excluded.message, config = excluded.config, classes = excluded.classes, \
        answered_at = excluded.answered_at RETURNING requested_mode, requested_by, requested_at, requested_timeout";
    let params = [
        beat.id.to_string().into(),
        beat.name.as_str().into(),
        beat.address.as_str().into(),
        beat.version.as_str().into(),
        beat.schema.into(),
        now.into(),
        beat.clock.0.saturating_sub(now.0).into(),
        beat.mode.as_str().into(),
        Value::message(&beat.message),
        beat.config.as_str().into(),
        beat.classes.as_str().into(),
        beat.answered_at.into(),
    ];
    Ok(c.first(BEAT, &params)?.flatten())
}

pub fn exists(c: &mut dyn Conn, id: Identity) -> Result<bool, DbError> {
    c.finds("SELECT id FROM node WHERE id = $1", &[id.to_string().into()])
}

/// Returns all rows in the order of the first heartbeats.
pub fn list(c: &mut dyn Conn) -> Result<Vec<NodeRow>, DbError> {
    c.all(select!(NodeRow, "ORDER BY started_at, id"), &[])
}

/// Returns the names of the servers that use the database now; none with SQLite.
pub fn serving_names(c: &mut dyn Conn) -> Result<Vec<String>, DbError> {
    const SELECT: &str = "SELECT DISTINCT name FROM node WHERE beat_at > $1 AND beat_at < $2 AND mode IN ('starting', \
        'online', 'draining') ORDER BY name";
    let Some(now) = c.host_time()? else { return Ok(Vec::new()) };
    c.all(SELECT, &[(now - HEARTBEAT_TIMEOUT).into(), (now + HEARTBEAT_TIMEOUT).into()])
}

/// Records the mode that an administrator requests for a server. Returns false if the server has no row.
pub fn set_request(c: &mut dyn Conn, id: Identity, request: &ModeRequest) -> Result<bool, DbError> {
    const REQUEST: &str = "UPDATE node SET requested_mode = $1, requested_by = $2, requested_at = $3, \
        requested_timeout = $4 WHERE id = $5";
    let ModeRequest { mode, actor, at, timeout } = request;
    let id = id.to_string().into();
    let params = [mode.as_str().into(), actor.as_str().into(), (*at).into(), (*timeout).into(), id];
    Ok(c.execute(REQUEST, &params)? == 1)
}

pub fn remove(c: &mut dyn Conn, id: Identity) -> Result<(), DbError> {
    c.execute("DELETE FROM node WHERE id = $1", &[id.to_string().into()]).map(drop)
}

/// Removes the rows of servers without a heartbeat for a day, and of servers that are gone since before the start of the
/// server `id`, which has the same host name `name` and has replaced them. Returns the ids of the removed rows.
pub fn remove_gone(
    c: &mut dyn Conn,
    id: Identity,
    name: &str,
    now: Timestamp,
) -> Result<Vec<Identity>, DbError> {
    const REMOVE: &str = "DELETE FROM node WHERE id <> $1 AND (beat_at < $2 OR beat_at > $3 OR (name = $4 \
        AND beat_at < $5 AND beat_at < (SELECT started_at FROM node WHERE id = $1))) RETURNING id";
    let params = [
        id.to_string().into(),
        (now - ROW_RETENTION).into(),
        (now + ROW_RETENTION).into(),
        name.into(),
        (now - HEARTBEAT_TIMEOUT).into(),
    ];
    c.all(REMOVE, &params)
}
