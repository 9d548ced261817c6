//! Converts an advisory from YAML to JSON. Every scalar becomes a string, so that a version `1.10` is not changed; only
//! an empty plain scalar, `~` and `null` in three spellings become `null`.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Maximum nesting depth of lists and maps.
const MAX_DEPTH: usize = 32;
/// Maximum number of values, lists and maps in an advisory.
const MAX_NODES: usize = 200_000;

/// A list or map under construction.
enum Collection {
    List(Vec<Value>),
    /// A map, and the key of the next value, if it has been read.
    Map(Map<String, Value>, Option<String>),
}

/// Reads a text with one document. Fails if the text is not YAML, or has features that advisories do not use: aliases,
/// keys that are not text, duplicate keys, several documents, or too many values.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let mut open_collections: Vec<Collection> = Vec::new();
    let mut root = None;
    let mut nodes = 0_usize;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| error.to_string())?;
        let fail = |problem: &str| Err(format!("{problem} at line {}", span.start.line()));
        let value = match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => continue,
            Event::DocumentStart(_) if root.is_some() => return fail("second document"),
            Event::DocumentStart(_) => continue,
            Event::Alias(_) => return fail("aliases are not supported"),
            Event::SequenceStart(..) => {
                open_collections.push(Collection::List(Vec::new()));
                None
            }
            Event::MappingStart(..) => {
                open_collections.push(Collection::Map(Map::new(), None));
                None
            }
            Event::Scalar(text, style, ..) => Some(scalar(&text, style)),
            Event::SequenceEnd | Event::MappingEnd => match open_collections.pop() {
                Some(Collection::List(list)) => Some(Value::Array(list)),
                Some(Collection::Map(map, _)) => Some(Value::Object(map)),
                None => return fail("unexpected end of a list or map"),
            },
        };
        nodes += 1;
        if open_collections.len() > MAX_DEPTH || nodes > MAX_NODES {
            return fail("too many values");
        }
        let Some(value) = value else { continue };
        match open_collections.last_mut() {
            None => root = Some(value),
            Some(Collection::List(list)) => list.push(value),
            Some(Collection::Map(map, key)) => match (key.take(), value) {
                (Some(key), value) => {
                    if map.contains_key(&key) {
                        return fail("duplicate key");
                    }
                    map.insert(key, value);
                }
                (None, Value::String(text)) => *key = Some(text),
                (None, _) => return fail("a key is not text"),
            },
        }
    }
    root.ok_or_else(|| "the document is empty".to_owned())
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    let is_null = style == ScalarStyle::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL");
    if is_null { Value::Null } else { Value::String(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_value_is_read_as_its_text() {
        let text = "id: X-1\nversions:\n- 1.10\n- 1.0\n- '2.10'\n- 0x1F\n- 1_000\n- yes\n- 2020-01-02\n- 1e3\nnone:\nalso: null\nmap: {a: ~, b: \"null\"}\n";
        let expected = json!({
            "id": "X-1", "versions": ["1.10", "1.0", "2.10", "0x1F", "1_000", "yes", "2020-01-02", "1e3"],
            "none": null, "also": null, "map": { "a": null, "b": "null" }
        });
        assert_eq!(read(text), Ok(expected));
    }

    #[test]
    fn texts_of_several_lines_are_read() {
        let text = "a: first\n  second\n\n  third\nb: |\n one\n  two\nc: >-\n one\n two\nd: |+\n x\n\n";
        let expected =
            json!({ "a": "first second\nthird", "b": "one\n two\n", "c": "one two", "d": "x\n\n" });
        assert_eq!(read(text), Ok(expected));
    }

    #[test]
    fn syntax_that_advisories_never_use_is_refused() {
        let nested_lists = format!("a: {}{}", "[".repeat(60), "]".repeat(60));
        let long_list = format!("a: [{}]", "x,".repeat(MAX_NODES));
        for bad in [
            "",
            "a: 1\na: 2\n",
            "a: &x 1\nb: *x\n",
            "[a]: 1\n",
            "? {a: 1}\n: 2\n",
            "a: 1\n---\nb: 2\n",
            "a: [1, 2",
            "a: \"x",
            "a: 1\n b: 2\n",
            "\t- x: [",
            "null: 1\n",
            &nested_lists,
            &long_list,
        ] {
            let excerpt: String = bad.chars().take(40).collect();
            assert!(read(bad).is_err(), "{excerpt:?} {:?}", read(bad));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "[-:,\\[\\]{}#&*!|>'\"%@`? \n\ta-c0-2.]{0,60}") {
            let _ = read(&text);
        }
    }
}
