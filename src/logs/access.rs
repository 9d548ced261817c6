//! What one line of the access log is: Apache's common and combined formats.

use std::net::IpAddr;

/// One answered request. Fields are as the client sent them; the formatter escapes them.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The client.
    pub remote: IpAddr,
    /// The authenticated user, if any.
    pub user: Option<&'a str>,
    /// When the request came, microseconds since the epoch.
    pub time: i64,
    /// `GET`.
    pub method: &'a str,
    /// Path and query as sent.
    pub target: &'a str,
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub version: &'a str,
    /// Status code.
    pub status: u16,
    /// Bytes of the answer's body that were sent.
    pub bytes: u64,
    /// The `Referer` header.
    pub referer: Option<&'a [u8]>,
    /// The `User-Agent` header.
    pub user_agent: Option<&'a [u8]>,
}

/// The access log: formats records and hands them to its file; cloning shares the file.
#[derive(Clone, Debug)]
pub struct Access {}

impl Access {
    /// Formats one line and queues it. Never blocks: a line that does not fit in the queue is counted as dropped.
    pub fn log(&self, record: &Record<'_>) {
        let _ = record;
        todo!()
    }
}
