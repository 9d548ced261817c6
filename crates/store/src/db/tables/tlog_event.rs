//! What needs an entry of the log, and is not in the tables of its subject: written by the transaction that makes it.

use super::ids::{self, Sequence};
use super::{Conn, DbError, tlog};
use crate::db::engine::columns::{insert, row, select};
use base::model::ids::SourceId;

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Event from "tlog_event" {
        pub id: i64,
        /// The kind of its entry.
        pub kind: String,
        /// Lines of its entry.
        pub text: String,
    }
}

/// Adds events of a kind. Does nothing without a log.
pub fn add(c: &mut dyn Conn, kind: &str, texts: &[String]) -> Result<(), DbError> {
    if texts.is_empty() || !tlog::exists(c)? {
        return Ok(());
    }
    let first = ids::reserve(c, Sequence::TlogEvent, texts.len())?;
    insert!(c, "tlog_event", (first..).zip(texts), |(id, text)| {
        id: id,
        kind: kind,
        text: text.as_str(),
    })
}

/// Returns the first events, at most `count`, in their order.
pub fn first(c: &mut dyn Conn, count: i64) -> Result<Vec<Event>, DbError> {
    c.all(select!(Event, "ORDER BY id LIMIT $1"), &[count.into()])
}

/// Adds an event of a source, whose name is its first line.
pub fn add_of_source(c: &mut dyn Conn, kind: &str, source: SourceId, text: &str) -> Result<(), DbError> {
    let name: Option<String> = c.first("SELECT name FROM source WHERE id = $1", &[source.into()])?;
    add(c, kind, &[format!("source {}\n{text}", name.unwrap_or_default())])
}
