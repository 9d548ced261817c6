//! The parts of an admin request, and functions to read its body.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub(super) use crate::http::api::operation::{Answer, Raw, WithStatus};
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::login::permission::Principal;
use crate::http::net::read_body;
use crate::http::net::request_body::Incoming;
use crate::http::route::access::Access;
use crate::http::switch::Switch;
use api::operations::Operation;
use api::row::Row;
use base::model::name::{BadName, Name};
use formats::r::bioconductor::{BadBioconductorVersion, BioconductorVersion};
use runtime::control::Control;
use tasks::edit::{Actor, OnExisting};

/// Maximum length of a reason, in characters: it may repeat a value of the request.
const MAX_REASON: usize = 500;

/// A request for data, as passed to its handler.
pub(super) struct Call<'a> {
    pub(super) app: &'a App,
    pub(super) actor: Actor,
    pub(super) principal: &'a Principal,
    /// Whether the response cannot be read on the network: it is encrypted, or does not leave this machine.
    pub(super) is_confidential: bool,
    /// The base URL of this server for clients; `None` on the admin socket without `Server.Address`.
    pub(super) base: Option<String>,
}

/// A request that controls the server process, as passed to its handler. It keeps no reference to the app, because going
/// offline waits until every request has released it.
pub(super) struct ControlCall<'a> {
    pub(super) switch: &'a Switch,
    pub(super) principal: &'a Principal,
    /// The name of the client.
    pub(super) actor: &'a str,
}

impl Call<'_> {
    /// Reads the JSON body of an operation. Fails if the token of the client is no longer valid, or no longer permits
    /// the request, when the body is complete.
    pub(super) async fn json<O: Operation<Body: DeserializeOwned>>(
        &self,
        access: Access<'_>,
        body: Incoming,
    ) -> Result<O::Body, Failure> {
        let value = json::<O>(body, self.app.limits.body_timeout).await?;
        self.principal.require_valid(self.app)?;
        // SECURITY: a client may take a long time to send the body, and another source may have got the name in the
        // address since the head was checked.
        self.principal.require(&self.app.state.catalog.get(), access)?;
        Ok(value)
    }
}

impl ControlCall<'_> {
    /// Reads the JSON body of an operation. Fails if the token of the client is no longer valid when the body is complete.
    pub(super) async fn json<O: Operation<Body: DeserializeOwned>>(
        &self,
        _: Access<'_>,
        body: Incoming,
    ) -> Result<O::Body, Failure> {
        let value = json::<O>(body, self.switch.context().limits.body_timeout).await?;
        if let Some(app) = self.switch.app() {
            self.principal.require_valid(&app)?;
        }
        Ok(value)
    }

    pub(super) fn control(&self) -> &Control {
        &self.switch.context().control
    }
}

async fn json<O: Operation<Body: DeserializeOwned>>(
    body: Incoming,
    timeout: Duration,
) -> Result<O::Body, Failure> {
    let bytes = read_body::read(body, O::BODY_LIMIT, timeout).await?;
    serde_json::from_slice(&bytes)
        .map_err(|e| Failure::bad_request(format!("the body is not valid JSON for this request: {e}")))
}

pub(super) fn on_existing(succeed: bool) -> OnExisting {
    if succeed { OnExisting::Succeed } else { OnExisting::Fail }
}

pub(super) fn version(text: &str) -> Result<BioconductorVersion, Failure> {
    text.parse().map_err(|e: BadBioconductorVersion| Failure::bad_request(e.to_string()))
}

/// Parses the name of a new source or repository.
pub(super) fn name(text: &str) -> Result<Name, Failure> {
    text.parse().map_err(|e: BadName| Failure::bad_request(e.to_string()))
}

/// Reads a row of a request that creates many objects. The error names a key with a wrong value, repeated or unknown.
pub(super) fn read_row<T: DeserializeOwned>(row: Row) -> Result<T, String> {
    let reason = |text: String| text.chars().take(MAX_REASON).collect::<String>();
    let fields = match row.into_object() {
        Ok(Some(fields)) => Value::Object(fields),
        Ok(None) => return Err("it is not a JSON object".to_owned()),
        Err(key) => return Err(reason(format!("the key '{key}' is repeated"))),
    };
    T::deserialize(&fields).map_err(|error| {
        let mut fields = fields.as_object().into_iter().flatten();
        let wrong_field = fields.find_map(|(key, value)| wrong_field::<T>(key, value));
        reason(wrong_field.unwrap_or_else(|| error.to_string()))
    })
}

/// Returns the reason why a row cannot have this key with this value; `None` if it can.
fn wrong_field<T: DeserializeOwned>(key: &str, value: &Value) -> Option<String> {
    let only = Value::Object(Map::from_iter([(key.to_owned(), value.clone())]));
    let error = T::deserialize(&only).err()?.to_string();
    match error.starts_with("missing field") {
        true => None,
        false if error.starts_with("unknown field") => Some(error),
        false => Some(format!("'{key}': {error}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use api::block_rule::BlockRule;
    use api::metadata::MetadataRecord;

    #[test]
    fn a_wrong_row_is_refused_with_its_key() {
        for (row, reason) in [
            (json!({ "min_severity": "7" }), "'min_severity': invalid type: string \"7\", expected f64"),
            (json!({ "vulns": true, "moon": 1 }), "unknown field `moon`, expected one of `id`"),
            (
                json!({ "license_types": 5 }),
                "'license_types': expected an array of SPDX identifiers, or a text",
            ),
            (
                json!({ "license_types": ["MIT", 5] }),
                "'license_types': expected an array of SPDX identifiers",
            ),
            (json!([1]), "it is not a JSON object"),
            (json!(null), "it is not a JSON object"),
        ] {
            let error = read_row::<BlockRule>(row.clone().into()).expect_err("it is wrong");
            assert!(error.starts_with(reason), "{row}: {error}");
        }
        for (row, reason) in [
            (json!({ "package_name": "a", "key": 5, "value": "x" }), "'key': invalid type: integer `5`"),
            (json!({ "package_name": "a", "key": "k" }), "missing field `value`"),
            (
                json!({ "package_name": "a", "key": "k", "value": "x", "versoin": "1" }),
                "unknown field `versoin`",
            ),
        ] {
            let error = read_row::<MetadataRecord>(row.clone().into()).expect_err("it is wrong");
            assert!(error.starts_with(reason), "{row}: {error}");
        }
        let long = json!({ "priority": "x".repeat(1 << 20) });
        assert_eq!(read_row::<BlockRule>(long.into()).expect_err("it is wrong").chars().count(), MAX_REASON);
    }

    #[test]
    fn a_row_with_a_repeated_key_is_refused() {
        let row: Row =
            serde_json::from_str(r#"{"vulns":true,"package_name":"a","vulns":true}"#).expect("JSON");
        assert_eq!(read_row::<BlockRule>(row), Err("the key 'vulns' is repeated".to_owned()));
    }
}
