//! Names in messages.

use std::fmt::Display;

/// Returns the first `max` names, with the number of the others: `a, b and 3 more`.
pub fn first_names<T: Display>(names: &[T], max: usize) -> String {
    let excerpt = names.iter().take(max).map(T::to_string).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(max) {
        0 => excerpt,
        rest => format!("{excerpt} and {rest} more"),
    }
}
