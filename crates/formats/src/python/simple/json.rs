//! Project pages in JSON. Values of an unexpected type count as missing, because mirrors write `null` and empty texts.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::page::{MAX_FILES, RawFile, RawPage};
use crate::python::json_text::JsonText;
use base::model::project_page::MetadataFile;

pub(super) fn parse(body: &[u8]) -> Result<RawPage<'_>, serde_json::Error> {
    // Checked at once, not text by text; a text that is not UTF-8 is an error only where it is read.
    let page: JsonPage<'_> = match std::str::from_utf8(body) {
        Ok(body) => serde_json::from_str(body)?,
        Err(_) => serde_json::from_slice(body)?,
    };
    let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
    let meta = |key: &str| page.meta.get(key);
    let (status, status_reason) = match page.project_status {
        Value::Map(_) => (page.project_status.get("status"), page.project_status.get("reason")),
        other => (owned(other.text()), None),
    };
    Ok(RawPage {
        api_version: meta("api-version"),
        last_serial: meta("_last-serial"),
        name: owned(page.name.text()),
        status,
        status_reason,
        versions: page
            .versions
            .map(|all| all.0.into_iter().filter_map(|version| owned(version.text())).collect()),
        base: None,
        is_project_page: true,
        files: page.files.0.into_iter().map(JsonFile::into_raw).collect(),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", bound(deserialize = "'de: 'a"))]
struct JsonPage<'a> {
    #[serde(default)]
    meta: Value<'a>,
    #[serde(default)]
    name: Value<'a>,
    #[serde(default)]
    project_status: Value<'a>,
    #[serde(default)]
    versions: Option<Limited<Value<'a>>>,
    files: Limited<JsonFile<'a>>,
}

/// A list of at most [`MAX_FILES`] elements: an element of two bytes takes hundreds of memory.
struct Limited<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Limited<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Limited<T>, D::Error> {
        deserializer.deserialize_seq(LimitedVisitor(PhantomData))
    }
}

struct LimitedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for LimitedVisitor<T> {
    type Value = Limited<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Limited<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            if list.len() == MAX_FILES {
                return Err(A::Error::custom(format_args!("a list has more than {MAX_FILES} elements")));
            }
            list.push(element);
        }
        Ok(Limited(list))
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", bound(deserialize = "'de: 'a"))]
struct JsonFile<'a> {
    filename: Value<'a>,
    url: Value<'a>,
    hashes: Value<'a>,
    requires_python: Value<'a>,
    core_metadata: Value<'a>,
    dist_info_metadata: Value<'a>,
    data_dist_info_metadata: Value<'a>,
    gpg_sig: Value<'a>,
    yanked: Value<'a>,
    size: Value<'a>,
    upload_time: Value<'a>,
    provenance: Value<'a>,
}

impl<'a> JsonFile<'a> {
    fn into_raw(self) -> RawFile<'a> {
        let metadata = [&self.core_metadata, &self.dist_info_metadata, &self.data_dist_info_metadata];
        let metadata = metadata.into_iter().find(|value| !matches!(value, Value::Missing));
        let core_metadata = match metadata {
            Some(Value::Map(hashes)) => {
                let sha256 = hashes.iter().find(|(name, _)| name.eq_ignore_ascii_case("sha256"));
                sha256
                    .and_then(|(_, hex)| hex.parse().ok())
                    .map_or(MetadataFile::Unverified, MetadataFile::Sha256)
            }
            Some(Value::Bool(true)) => MetadataFile::Unverified,
            _ => MetadataFile::None,
        };
        RawFile {
            name: Some(self.filename.text().unwrap_or_default()),
            url: self.url.text().unwrap_or_default(),
            hashes: match self.hashes {
                Value::Map(hashes) => hashes,
                _ => Vec::new(),
            },
            requires_python: self.requires_python.text(),
            core_metadata,
            gpg_sig: match self.gpg_sig {
                Value::Bool(has_signature) => Some(has_signature),
                _ => None,
            },
            yanked: match self.yanked {
                Value::Bool(true) => Some(Cow::Borrowed("")),
                Value::Text(reason) if !reason.is_empty() => Some(reason),
                _ => None,
            },
            size: match self.size {
                Value::Number(size) => Some(size),
                _ => None,
            },
            upload_time: self.upload_time.text(),
            provenance: self.provenance.text(),
        }
    }
}

/// Maximum number of stored entries of a map; pages have up to eight digests of a file.
const MAX_ENTRIES: usize = 32;

/// A value of any type. In a map, only the first [`MAX_ENTRIES`] that are texts or numbers are stored.
#[derive(Debug, Default)]
pub(super) enum Value<'a> {
    /// `null`, or a value of an unexpected type.
    #[default]
    Missing,
    Bool(bool),
    Number(u64),
    Text(Cow<'a, str>),
    Map(Vec<(Cow<'a, str>, Cow<'a, str>)>),
}

impl<'a> Value<'a> {
    /// Returns the text, or the number as text.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Value::Text(text) => Some(text),
            Value::Number(number) => Some(Cow::Owned(number.to_string())),
            Value::Missing | Value::Bool(_) | Value::Map(_) => None,
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<String> {
        let Value::Map(entries) = self else { return None };
        entries.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone().into_owned())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value<'a>, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Missing)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(value))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Value<'de>, E> {
        Ok(Value::Missing)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::Missing)
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value<'de>, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Missing)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<JsonText<'_>, Value<'_>>()? {
            if entries.len() < MAX_ENTRIES {
                entries.extend(value.text().map(|text| (key.0, text)));
            }
        }
        Ok(Value::Map(entries))
    }
}
