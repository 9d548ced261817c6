//! The error text about refused rows of a request or a file that creates many objects.

/// Maximum number of rows in a text; the others are counted.
const MAX_ROWS: usize = 200;

/// Returns a line for each refused row, with its noun, its number and the reason.
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

    #[test]
    fn an_error_has_a_line_for_each_row_up_to_a_limit() {
        assert_eq!(refused_rows("rule", [(1, "a"), (4, "b")]), "rule 1: a\nrule 4: b");
        let many = refused_rows("rule", (0..=MAX_ROWS).map(|number| (number, "a")));
        assert_eq!(many.lines().count(), MAX_ROWS + 1);
        assert!(many.ends_with("\nand 1 more"), "{many}");
        assert_eq!(refused_rows("rule", []), "");
    }
}
