//! Serializes values with a text form, such as days, times and digests, as JSON strings.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serializer};

/// A value that is parsed from borrowed text. This avoids allocations, because a bundle has millions of such values.
struct TextValue<T>(T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for TextValue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TextValue<T>, D::Error> {
        struct StringVisitor<T>(PhantomData<T>);
        impl<T: FromStr<Err: Display>> Visitor<'_> for StringVisitor<T> {
            type Value = TextValue<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<TextValue<T>, E> {
                text.parse().map(TextValue).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(StringVisitor(PhantomData))
    }
}

/// Serializes a value in its `Display` form.
pub(super) mod as_text {
    use super::{Deserialize, Deserializer, Display, FromStr, Serializer, TextValue};

    pub(in crate::bundle) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(in crate::bundle) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        TextValue::deserialize(deserializer).map(|TextValue(value)| value)
    }
}

/// As [`as_text`], for an optional value.
pub(super) mod as_optional_text {
    use super::{Deserialize, Deserializer, Display, FromStr, Serializer, TextValue};

    pub(in crate::bundle) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::bundle) fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        Ok(Option::deserialize(deserializer)?.map(|TextValue(value)| value))
    }
}
