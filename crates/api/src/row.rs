//! Rows of requests that create many objects. A row is decoded after the request that contains
//! it, so that only a wrong row is refused, and not the whole request.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use base::model::members::Members;

/// A row: any JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// An object.
    Object(Members<Value>),
    /// A value that is not an object.
    Other(Value),
}

impl Row {
    /// Returns the row as an object; `None` if it is not an object.
    ///
    /// # Errors
    /// The name of a repeated key.
    pub fn into_object(self) -> Result<Option<Map<String, Value>>, String> {
        let Row::Object(members) = self else { return Ok(None) };
        members.into_map().map(Some)
    }
}

impl From<Value> for Row {
    fn from(value: Value) -> Row {
        match value {
            Value::Object(members) => Row::Object(Members(members.into_iter().collect())),
            other => Row::Other(other),
        }
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Row::Object(Members(members)) => {
                serializer.collect_map(members.iter().map(|(key, value)| (key, value)))
            }
            Row::Other(value) => value.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Row, D::Error> {
        deserializer.deserialize_any(RowVisitor)
    }
}

struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Row, A::Error> {
        Members::deserialize(MapAccessDeserializer::new(members)).map(Row::Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, values: A) -> Result<Row, A::Error> {
        Value::deserialize(SeqAccessDeserializer::new(values)).map(Row::Other)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Row, E> {
        Ok(Row::Other(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Row, E> {
        Ok(Row::Other(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Row, E> {
        Ok(Row::Other(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Row, E> {
        Ok(Row::Other(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Row, E> {
        Ok(Row::Other(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Row, E> {
        Ok(Row::Other(Value::Null))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_any_value_and_keeps_repeated_keys() {
        let text = r#"[{"a":1,"b":[{"c":null}],"a":2},{},null,true,-5,5,1.5,"x",["y",{}]]"#;
        let rows: Vec<Row> = serde_json::from_str(text).expect("JSON");
        assert_eq!(serde_json::to_string(&rows).expect("JSON"), text);
        let objects: Vec<_> = rows.into_iter().map(Row::into_object).collect();
        assert_eq!(objects[0], Err("a".to_owned()));
        assert_eq!(objects[1], Ok(Some(Map::new())));
        assert!(objects[2..].iter().all(|row| *row == Ok(None)), "{objects:?}");
        let object = serde_json::json!({ "z": 1, "a": { "b": 2 } });
        let row = Row::from(object.clone());
        assert_eq!(row.into_object().expect("keys").map(Value::Object), Some(object));
        assert!(serde_json::from_str::<Vec<Row>>("[{\"a\":}]").is_err());
    }
}
