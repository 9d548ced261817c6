//! The texts of errors: an error with its causes, the errors of a file, and the refused rows of a request.

use std::error::Error;
use std::fmt;
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

/// Maximum number of errors in a message; further ones are counted.
const MAX_ERRORS: usize = 20;

/// Errors in their order. The message has a line for each of the first, and the number of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorList<E> {
    first: Vec<E>,
    further_count: usize,
}

impl<E> Default for ErrorList<E> {
    fn default() -> ErrorList<E> {
        ErrorList { first: Vec::new(), further_count: 0 }
    }
}

impl<E> From<E> for ErrorList<E> {
    fn from(error: E) -> ErrorList<E> {
        ErrorList { first: vec![error], further_count: 0 }
    }
}

impl<E> ErrorList<E> {
    pub fn push(&mut self, error: E) {
        if self.first.len() < MAX_ERRORS {
            self.first.push(error);
        } else {
            self.further_count += 1;
        }
    }

    /// Adds the errors of another list, each converted by `convert`.
    pub fn append<F>(&mut self, other: ErrorList<F>, convert: impl FnMut(F) -> E) {
        other.first.into_iter().map(convert).for_each(|error| self.push(error));
        self.further_count += other.further_count;
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    pub fn into_first(self) -> Option<E> {
        self.first.into_iter().next()
    }

    /// Returns `value` if there is no error.
    pub fn or_value<T>(self, value: T) -> Result<T, ErrorList<E>> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl<E: fmt::Display> fmt::Display for ErrorList<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.first.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        match self.further_count {
            0 => Ok(()),
            count => write!(f, "\nand {count} more"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for ErrorList<E> {}

/// Maximum number of rows in a text; the others are counted.
const MAX_ROWS: usize = 200;

/// Returns a line for each refused row of a request or file that creates many objects: its noun, number and reason.
pub fn refused_rows<'a>(noun: &str, rows: impl IntoIterator<Item = (usize, &'a str)>) -> String {
    let mut lines: Vec<String> =
        rows.into_iter().map(|(number, reason)| format!("{noun} {number}: {reason}")).collect();
    let rest = lines.len().saturating_sub(MAX_ROWS);
    if rest > 0 {
        lines.truncate(MAX_ROWS);
        lines.push(format!("and {rest} more"));
    }
    lines.join("\n")
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

    #[test]
    fn the_first_errors_are_lines_and_the_others_are_counted() {
        let mut errors = ErrorList::default();
        assert_eq!(errors.clone().or_value(7), Ok(7));
        errors.push("a".to_owned());
        errors.push("b".to_owned());
        assert_eq!(errors.to_string(), "a\nb");
        assert_eq!(errors.clone().or_value(7), Err(errors.clone()));
        let mut many: ErrorList<String> = ErrorList::from("first".to_owned());
        for number in 0..MAX_ERRORS {
            many.push(number.to_string());
        }
        assert_eq!(many.to_string().lines().count(), MAX_ERRORS + 1);
        assert!(many.to_string().ends_with("\n18\nand 1 more"), "{many}");
        errors.append(many, |error| format!("f: {error}"));
        let text = errors.to_string();
        assert!(
            text.starts_with("a\nb\nf: first\nf: 0\n") && text.ends_with("\nf: 16\nand 3 more"),
            "{text}"
        );
        assert_eq!(errors.into_first().as_deref(), Some("a"));
    }

    #[test]
    fn an_error_has_a_line_for_each_row_up_to_a_limit() {
        assert_eq!(refused_rows("rule", [(1, "a"), (4, "b")]), "rule 1: a\nrule 4: b");
        let many = refused_rows("rule", (0..=MAX_ROWS).map(|number| (number, "a")));
        assert_eq!(many.lines().count(), MAX_ROWS + 1);
        assert!(many.ends_with("\nand 1 more"), "{many}");
        assert_eq!(refused_rows("rule", []), "");
    }
}
