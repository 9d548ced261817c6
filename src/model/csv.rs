//! Fields of CSV files (RFC 4180).

/// Returns a text as a field of a CSV file, quoted if it has to be. SECURITY: spreadsheets execute a field that begins as
/// a formula, so such a text gets an apostrophe.
#[must_use]
pub fn field(text: &str) -> String {
    let text =
        if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_and_never_formulas() {
        for (text, expected) in [
            ("a", "a"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\nb", "\"a\nb\""),
            ("=1+1", "'=1+1"),
            ("@x,y", "\"'@x,y\""),
            ("-1.0", "'-1.0"),
        ] {
            assert_eq!(field(text), expected);
        }
    }
}
