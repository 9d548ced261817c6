//! Completion time of the newest backup in each backup folder.

use super::{Conn, DbError};
use crate::model::time::Timestamp;

/// Records a completed backup.
pub fn record(c: &mut dyn Conn, folder: &str, at: Timestamp) -> Result<(), DbError> {
    const RECORD: &str = "INSERT INTO backup (place, made_at) VALUES ($1, CAST($2 AS BIGINT)) \
        ON CONFLICT (place) DO UPDATE SET made_at = excluded.made_at";
    c.execute(RECORD, &[folder.into(), at.into()]).map(drop)
}

/// Returns the newest completed backup: its folder and its time.
pub fn newest(c: &mut dyn Conn) -> Result<Option<(String, Timestamp)>, DbError> {
    let rows = c.query("SELECT place, made_at FROM backup ORDER BY made_at DESC, place LIMIT 1", &[])?;
    rows.into_iter().next().map(|mut row| Ok((row.text(0)?, row.time(1)?))).transpose()
}
