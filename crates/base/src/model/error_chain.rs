//! The text of an error with its causes.

use std::error::Error;
use std::fmt::Write as _;

/// Formats an error and its causes on one line, separated by `: `. Omits a cause whose text is already in the line,
/// because many errors include the message of their source.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        next = cause.source();
        // The wrapper of hyper-util's client names only the step that failed.
        let is_wrapper = cause_text.starts_with("client error (") && next.is_some();
        if !is_wrapper && !text.contains(&cause_text) {
            let separator = if text.is_empty() { "" } else { ": " };
            let _ = write!(text, "{separator}{cause_text}");
        }
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

    #[derive(Debug, thiserror::Error)]
    #[error("no answer")]
    struct Request(#[source] Wrapper);

    #[derive(Debug, thiserror::Error)]
    #[error("client error (SendRequest)")]
    struct Wrapper(#[source] Inner);

    #[test]
    fn each_text_appears_once() {
        assert_eq!(
            error_chain(&Outer(Middle(Inner))),
            "cannot read the index: connection lost: reset by peer"
        );
        assert_eq!(error_chain(&Inner), "reset by peer");
        assert_eq!(error_chain(&Request(Wrapper(Inner))), "no answer: reset by peer");
        assert_eq!(error_chain(&Wrapper(Inner)), "reset by peer");
    }
}
