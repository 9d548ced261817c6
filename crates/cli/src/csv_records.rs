//! Records of a CSV file (RFC 4180).
//!
//! The crate csv is not used because it reads any text: a quoted field without an end would take all following records
//! into one value, and text after a quote would become part of the field.

/// Returns the records with the numbers of their first lines, from 1. Empty lines are left out; line breaks may lack
/// the carriage return, and a byte order mark at the beginning is ignored. The error is a sentence with the line at
/// which a quoted field begins or ends wrongly.
pub(super) fn parse(text: &str) -> Result<Vec<(usize, Vec<String>)>, String> {
    let mut records = Vec::new();
    let mut chars = text.trim_start_matches('\u{feff}').chars().peekable();
    let mut line = 1;
    while chars.peek().is_some() {
        let (first_line, mut fields, mut field) = (line, Vec::new(), String::new());
        loop {
            match chars.next() {
                Some('"') if field.is_empty() => {
                    let quote_line = line;
                    loop {
                        match chars.next() {
                            Some('"') if chars.next_if_eq(&'"').is_some() => field.push('"'),
                            Some('"') => break,
                            Some(c) => {
                                line += usize::from(c == '\n');
                                field.push(c);
                            }
                            None => return Err(format!("line {quote_line}: a quoted field has no end")),
                        }
                    }
                    if !matches!(chars.peek(), None | Some(',' | '\r' | '\n')) {
                        return Err(format!("line {line}: text follows a quoted field"));
                    }
                }
                Some('"') => return Err(format!("line {line}: a quote is inside of a field without quotes")),
                Some(',') => fields.push(std::mem::take(&mut field)),
                Some('\r') if matches!(chars.peek(), None | Some('\n')) => {}
                Some('\n') | None => break,
                Some(c) => field.push(c),
            }
        }
        line += 1;
        let is_empty = fields.is_empty() && field.is_empty();
        fields.push(field);
        if !is_empty {
            records.push((first_line, fields));
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_fields_and_line_numbers() {
        let text = "\u{feff}a,b\r\n\r\n\"x, \"\"y\"\"\nz\",\n,\"\"\n1,2";
        let records = parse(text).expect("valid");
        let expected: [(usize, &[&str]); 4] =
            [(1, &["a", "b"]), (3, &["x, \"y\"\nz", ""]), (5, &["", ""]), (6, &["1", "2"])];
        assert_eq!(records.len(), expected.len());
        for ((line, fields), (expected_line, expected_fields)) in records.iter().zip(expected) {
            assert_eq!(
                (*line, fields.iter().map(String::as_str).collect::<Vec<_>>()),
                (expected_line, expected_fields.to_vec())
            );
        }
        assert_eq!(parse(""), Ok(Vec::new()));
    }

    #[test]
    fn wrong_quotes_are_errors_with_their_line() {
        for (text, error) in [
            ("a\n\"b", "line 2: a quoted field has no end"),
            ("\"a\nb\"c", "line 2: text follows a quoted field"),
            ("a\"b\"", "line 1: a quote is inside of a field without quotes"),
        ] {
            assert_eq!(parse(text), Err(error.to_owned()));
        }
    }
}
