//! The text of an error with its causes.

use std::error::Error;
use std::fmt::Write as _;

/// Formats an error and its causes on one line, separated by `: `. Omits a cause whose text is already in the line,
/// because many errors include the message of their source.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the index")]
    struct Outer(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error("connection lost: reset by peer")]
    struct Middle(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("reset by peer")]
    struct Inner;

    #[test]
    fn each_text_appears_once() {
        assert_eq!(
            error_chain(&Outer(Middle(Inner))),
            "cannot read the index: connection lost: reset by peer"
        );
        assert_eq!(error_chain(&Inner), "reset by peer");
    }
}
