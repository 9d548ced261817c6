//! What needs an entry of the log, and is not in the tables of its subject: written by the transaction that makes it.

use super::ids::{self, Sequence};
use super::{Conn, DbError};
use crate::db::engine::columns::{insert, row, select};

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
    if texts.is_empty() || !c.finds("SELECT 1 FROM tlog LIMIT 1", &[])? {
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
