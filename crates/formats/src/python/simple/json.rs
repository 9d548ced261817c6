//! Project pages in JSON. Values of an unexpected type count as missing, because mirrors write `null` and empty texts.

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

use super::page::{MAX_FILES, RawFile, RawPage};
use base::model::project_page::MetadataFile;

pub(super) fn parse(body: &[u8]) -> Result<RawPage, serde_json::Error> {
    let page: JsonPage = serde_json::from_slice(body)?;
    let meta = |key: &str| page.meta.get(key);
    let (status, status_reason) = match page.project_status {
        Value::Map(_) => (page.project_status.get("status"), page.project_status.get("reason")),
        other => (other.text(), None),
    };
    Ok(RawPage {
        api_version: meta("api-version"),
        last_serial: meta("_last-serial"),
        name: page.name.text(),
        status,
        status_reason,
        versions: page.versions.map(|all| all.0.into_iter().filter_map(Value::text).collect()),
        base: None,
        is_project_page: true,
        files: page.files.0.into_iter().map(JsonFile::into_raw).collect(),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct JsonPage {
    #[serde(default)]
    meta: Value,
    #[serde(default)]
    name: Value,
    #[serde(default)]
    project_status: Value,
    #[serde(default)]
    versions: Option<Limited<Value>>,
    files: Limited<JsonFile>,
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

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct JsonFile {
    #[serde(default)]
    filename: Value,
    #[serde(default)]
    url: Value,
    #[serde(default)]
    hashes: Value,
    #[serde(default)]
    requires_python: Value,
    #[serde(default)]
    core_metadata: Value,
    #[serde(default)]
    dist_info_metadata: Value,
    #[serde(default)]
    data_dist_info_metadata: Value,
    #[serde(default)]
    gpg_sig: Value,
    #[serde(default)]
    yanked: Value,
    #[serde(default)]
    size: Value,
    #[serde(default)]
    upload_time: Value,
    #[serde(default)]
    provenance: Value,
}

impl JsonFile {
    fn into_raw(self) -> RawFile {
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
                Value::Bool(true) => Some(String::new()),
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
pub(super) enum Value {
    /// `null`, or a value of an unexpected type.
    #[default]
    Missing,
    Bool(bool),
    Number(u64),
    Text(String),
    Map(Vec<(String, String)>),
}

impl Value {
    /// Returns the text, or the number as text.
    pub(super) fn text(self) -> Option<String> {
        match self {
            Value::Text(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            Value::Missing | Value::Bool(_) | Value::Map(_) => None,
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<String> {
        let Value::Map(entries) = self else { return None };
        entries.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Missing)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Missing)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Missing)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Missing)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            if entries.len() < MAX_ENTRIES {
                entries.extend(value.text().map(|text| (key, text)));
            }
        }
        Ok(Value::Map(entries))
    }
}
