//! The errors of a file, reported together.

use std::fmt;

/// Maximum number of errors in a message; further ones are counted.
const MAX_ERRORS: usize = 20;

/// Errors in the order of their occurrence. The message has one line for each of the first errors, and the number of
/// the others.
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

    /// Returns whether there is no error.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    pub fn into_first(self) -> Option<E> {
        self.first.into_iter().next()
    }

    /// Returns `value` if there is no error.
    ///
    /// # Errors
    /// The list, if it has errors.
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
