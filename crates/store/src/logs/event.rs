//! Formats `tracing` events as lines of the server log, text or JSON, without the user and password of URLs.

use std::fmt::{Debug, Write};

use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use tracing::Level;
use tracing::field::{Field, Visit};

use super::timestamp::{self, TimestampFormat};
use base::config::LogFormat;
use base::model::errors::error_chain;

#[derive(Default)]
pub(super) struct EventParts {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl EventParts {
    /// An event with a message and no fields.
    pub(super) fn message(text: &str) -> EventParts {
        EventParts { message: redact_urls(text.to_owned()), fields: Vec::new() }
    }

    fn push(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for EventParts {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.push(field, Value::String(redact_urls(format!("{value:?}"))));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, Value::String(redact_urls(value.to_owned())));
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.push(field, Value::String(redact_urls(error_chain(value))));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }
}

/// Replaces user and password in every URL of a text.
// SECURITY: a second protection, for callers that keep user and password; other secrets have a type printing `***`.
pub(super) fn redact_urls(text: String) -> String {
    const MARK: &str = "://";
    if !text.contains(MARK) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(index) = rest.find(MARK) {
        let (scheme, tail) = rest.split_at(index + MARK.len());
        out.push_str(scheme);
        let ends_authority =
            |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>');
        let authority = &tail[..tail.find(ends_authority).unwrap_or(tail.len())];
        rest = match authority.rfind('@') {
            Some(end) => {
                out.push_str("***");
                &tail[end..]
            }
            None => tail,
        };
    }
    out.push_str(rest);
    out
}

/// Appends the line of an event, with a line feed. `micros` is its time in microseconds since the epoch, which is
/// written in `zone` in text and in UTC in JSON.
pub(super) fn render(
    line: &mut Vec<u8>,
    format: LogFormat,
    level: Level,
    parts: &EventParts,
    micros: i64,
    zone: &TimeZone,
) {
    match format {
        LogFormat::Text => {
            timestamp::push(line, micros, TimestampFormat::Text, zone);
            line.push(b' ');
            text(line, level, parts);
        }
        LogFormat::Json => json(line, level, parts, Some(micros)),
    }
    line.push(b'\n');
}

/// Like [`render`] for the journal: with the priority prefix of sd-daemon(3), without the time, which the journal adds.
pub(super) fn render_for_journal(line: &mut Vec<u8>, format: LogFormat, level: Level, parts: &EventParts) {
    line.extend_from_slice(match level {
        Level::ERROR => b"<3>",
        Level::WARN => b"<4>",
        Level::INFO => b"<6>",
        Level::DEBUG | Level::TRACE => b"<7>",
    });
    match format {
        LogFormat::Text => text(line, level, parts),
        LogFormat::Json => json(line, level, parts, None),
    }
    line.push(b'\n');
}

/// Formats `INFO synced source=cran packages=12`.
fn text(line: &mut Vec<u8>, level: Level, parts: &EventParts) {
    let mut out = format!("{} ", level.as_str());
    push_one_line(&mut out, &parts.message);
    for (name, value) in &parts.fields {
        let _ = write!(out, " {name}=");
        match value {
            Value::String(text)
                if text.is_empty() || text.contains([' ', '"', '=']) || text.contains(char::is_control) =>
            {
                let _ = write!(out, "{text:?}");
            }
            Value::String(text) => out.push_str(text),
            other => {
                let _ = write!(out, "{other}");
            }
        }
    }
    line.extend_from_slice(out.as_bytes());
}

/// Appends a message on one line, with control characters escaped.
fn push_one_line(out: &mut String, message: &str) {
    for c in message.chars() {
        if c.is_control() {
            out.extend(c.escape_debug());
        } else {
            out.push(c);
        }
    }
}

/// Formats JSON with the keys that log processors expect: `level`, `msg`, `time` (UTC, milliseconds), then the fields.
fn json(line: &mut Vec<u8>, level: Level, parts: &EventParts, micros: Option<i64>) {
    let level = match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warning",
        Level::ERROR => "error",
    };
    let mut object = Map::new();
    object.insert("level".to_owned(), level.into());
    object.insert("msg".to_owned(), parts.message.as_str().into());
    if let Some(micros) = micros {
        let mut time = Vec::new();
        timestamp::push(&mut time, micros, TimestampFormat::Iso, &TimeZone::UTC);
        let millis = micros.rem_euclid(1_000_000) / 1000;
        object.insert("time".to_owned(), format!("{}.{millis:03}Z", String::from_utf8_lossy(&time)).into());
    }
    for (name, value) in &parts.fields {
        let name = match *name {
            reserved @ ("level" | "msg" | "time") => format!("fields.{reserved}"),
            name => name.to_owned(),
        };
        object.insert(name, value.clone());
    }
    // A map of strings and numbers can always be serialized.
    let _ = serde_json::to_writer(line, &Value::Object(object));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: LogFormat, level: Level, message: &str, fields: &[(&'static str, Value)]) -> String {
        let parts = EventParts { message: message.to_owned(), fields: fields.to_vec() };
        let mut line = Vec::new();
        render(&mut line, format, level, &parts, 1_511_876_519_042_000, &TimeZone::UTC);
        String::from_utf8(line).expect("UTF-8")
    }

    #[test]
    fn text_is_time_level_message_and_fields() {
        let fields =
            [("source", "cran".into()), ("packages", 12.into()), ("note", "a b".into()), ("ok", true.into())];
        assert_eq!(
            line(LogFormat::Text, Level::INFO, "synced", &fields),
            "2017/11/28 13:41:59 INFO synced source=cran packages=12 note=\"a b\" ok=true\n"
        );
    }

    #[test]
    fn the_journal_gets_priorities_and_no_time() {
        let parts = EventParts { message: "over".to_owned(), fields: vec![("n", 1.into())] };
        let line = |format, level| {
            let mut line = Vec::new();
            render_for_journal(&mut line, format, level, &parts);
            String::from_utf8(line).expect("text")
        };
        assert_eq!(line(LogFormat::Text, Level::ERROR), "<3>ERROR over n=1\n");
        assert_eq!(line(LogFormat::Text, Level::WARN), "<4>WARN over n=1\n");
        assert_eq!(line(LogFormat::Json, Level::INFO), "<6>{\"level\":\"info\",\"msg\":\"over\",\"n\":1}\n");
        assert_eq!(line(LogFormat::Text, Level::TRACE), "<7>TRACE over n=1\n");
    }

    #[test]
    fn json_has_level_msg_and_time() {
        let text =
            line(LogFormat::Json, Level::WARN, "slow", &[("seconds", 3.into()), ("level", "x".into())]);
        let value: Value = serde_json::from_str(&text).expect("JSON");
        let expected = serde_json::json!({
            "level": "warning", "msg": "slow", "time": "2017-11-28T13:41:59.042Z", "seconds": 3, "fields.level": "x"
        });
        assert_eq!(value, expected);
        assert!(text.ends_with("}\n"));
    }

    #[test]
    fn an_event_with_any_content_is_one_line() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = line(format, Level::ERROR, "a\nb\x1b[31m", &[("f", "c\nd".into())]);
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert!(!text.contains('\x1b'), "{text:?}");
        }
    }

    #[test]
    fn user_and_password_are_removed_from_urls() {
        for (text, expected) in [
            ("get https://u:p@h/x failed", "get https://***@h/x failed"),
            ("\"http://u@h\" and postgres://a:b@c@d/e", "\"http://***@h\" and postgres://***@d/e"),
            ("https://h/a@b", "https://h/a@b"),
            ("://", "://"),
            ("a@b.example", "a@b.example"),
        ] {
            assert_eq!(redact_urls(text.to_owned()), expected);
        }
    }
}
