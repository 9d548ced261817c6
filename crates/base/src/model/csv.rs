//! Cells of CSV (RFC 4180), for spreadsheets.

/// Returns a text as a cell, in quotes if necessary.
pub fn cell(text: &str) -> String {
    let text = harmless(text);
    if text.contains(['"', ',', '\r', '\n']) { in_quotes(&text) } else { text }
}

pub fn quoted_cell(text: &str) -> String {
    in_quotes(&harmless(text))
}

fn in_quotes(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// Prepends an apostrophe to a text that a spreadsheet would interpret as a formula. SECURITY: cells contain texts
/// of users and of authors of packages, and spreadsheets execute formulas.
fn harmless(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_never_formulas() {
        for (text, expected) in [
            ("", ""),
            ("a", "a"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("@x,y", "\"'@x,y\""),
            ("-1.0", "'-1.0"),
            ("\t=1", "'\t=1"),
            ("\r=1", "\"'\r=1\""),
            ("1=1", "1=1"),
        ] {
            assert_eq!(cell(text), expected);
            let in_quotes =
                if expected.starts_with('"') { expected.to_owned() } else { format!("\"{expected}\"") };
            assert_eq!(quoted_cell(text), in_quotes);
        }
    }
}
