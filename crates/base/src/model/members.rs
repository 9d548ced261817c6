//! The members of a JSON object as the text has them. The maps of `serde_json` have only the last member of a name.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// The names and values of the members of an object, in the order of the text. A name may occur several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members<T>(pub Vec<(String, T)>);

impl Members<Value> {
    /// Returns the members as a map.
    ///
    /// # Errors
    /// The first name that occurs again.
    pub fn into_map(self) -> Result<Map<String, Value>, String> {
        let mut map = Map::new();
        for (name, value) in self.0 {
            if map.contains_key(&name) {
                return Err(name);
            }
            map.insert(name, value);
        }
        Ok(map)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<T>, D::Error> {
        deserializer.deserialize_map(MembersVisitor(PhantomData))
    }
}

struct MembersVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for MembersVisitor<T> {
    type Value = Members<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<T>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_the_order_of_the_text_and_repeated_names() {
        let members: Members<u8> = serde_json::from_str(r#"{"b":1,"a":2,"b":3}"#).expect("an object");
        let expected = [("b", 1), ("a", 2), ("b", 3)].map(|(name, value)| (name.to_owned(), value));
        assert_eq!(members.0, expected);
        for text in ["[1]", "1", "null", r#"{"a":"text"}"#, r#"{"a":1"#] {
            assert!(serde_json::from_str::<Members<u8>>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_repeated_name_is_an_error_in_a_map() {
        let map = |text| serde_json::from_str::<Members<Value>>(text).expect("an object").into_map();
        assert_eq!(map(r#"{"a":1,"b":2,"b":3,"a":4}"#), Err("b".to_owned()));
        let value = serde_json::json!({ "a": { "b": 1 }, "c": null });
        assert_eq!(map(&value.to_string()).map(Value::Object), Ok(value));
    }
}
