//! An issuer of tokens for tests: a discovery document and keys on a local port, and tokens that are signed with them.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use super::recording_server::RecordingServer;

/// The issuer; it runs until the test process ends.
pub(crate) struct Issuer {
    folder: tempfile::TempDir,
    server: RecordingServer,
    key: EcdsaKeyPair,
    key_id: String,
}

impl Issuer {
    /// Starts an issuer with one key.
    pub(crate) fn start() -> Issuer {
        let folder = tempfile::tempdir().expect("a directory");
        let server = RecordingServer::folder(folder.path());
        let mut issuer = Issuer { folder, server, key: new_key(), key_id: String::new() };
        let document = json!({"issuer": issuer.url(), "jwks_uri": format!("{}/jwks", issuer.url())});
        std::fs::create_dir(issuer.folder.path().join(".well-known")).expect("a directory");
        issuer.write(".well-known/openid-configuration", &document);
        issuer.replace_key("first");
        issuer
    }

    /// The claim `iss`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.host())
    }

    /// Publishes a new key instead of the current one.
    pub(crate) fn replace_key(&mut self, id: &str) {
        (self.key, self.key_id) = (new_key(), id.to_owned());
        // An uncompressed point: 4, x, y.
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        let [x, y] = [x, y].map(|number| BASE64_URL_SAFE_NO_PAD.encode(number));
        let key =
            json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": id, "x": x, "y": y});
        self.write("jwks", &json!({"keys": [key]}));
    }

    /// A token that is valid for ten minutes; `claims` are added, or replace others.
    pub(crate) fn token(&self, claims: &Value) -> String {
        let now = jiff::Timestamp::now().as_second();
        let mut all = json!({"iss": self.url(), "iat": now, "nbf": now, "exp": now + 600});
        for (name, value) in claims.as_object().expect("an object") {
            all[name] = value.clone();
        }
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": self.key_id});
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&all));
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).expect("signed");
        format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    /// Number of requests for the keys.
    pub(crate) fn key_requests(&self) -> usize {
        self.server.heads().iter().filter(|head| head.starts_with("GET /jwks ")).count()
    }

    /// Serves a JSON document at `/{name}`, which may have a query.
    pub(crate) fn write(&self, name: &str, value: &Value) {
        let path: &Path = self.folder.path();
        std::fs::write(path.join(name), value.to_string()).expect("written");
    }
}

fn new_key() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).expect("a key")
}
