//! Verification of the tokens of an identity provider against a provider with keys of several kinds.

use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use rstudio_pm::auth::provider::{Providers, VerifyError};
use rstudio_pm::auth::{Claims, Invalid};
use rstudio_pm::config;
use rstudio_pm::model::time::{SECOND, Timestamp};
use serde_json::{Value, json};

use crate::support::recording_server::RecordingServer;

const NOW: i64 = 1_790_000_000;

/// A provider whose tokens the test signs.
struct Provider {
    folder: tempfile::TempDir,
    server: RecordingServer,
    rsa: RsaKeyPair,
    curve: EcdsaKeyPair,
    providers: Providers,
}

fn rsa_key() -> RsaKeyPair {
    let output = Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-outform", "DER", "-pkeyopt", "rsa_keygen_bits:2048"])
        .output()
        .expect("openssl runs");
    assert!(output.status.success());
    // OpenSSL 3.0 writes RFC 8017's form in DER, ring reads that of PKCS #8 too.
    RsaKeyPair::from_der(&output.stdout).or_else(|_| RsaKeyPair::from_pkcs8(&output.stdout)).expect("a key")
}

fn curve_key() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).expect("a key")
}

impl Provider {
    fn start() -> Provider {
        rstudio_pm::storage::install_tls_provider();
        let folder = tempfile::tempdir().expect("a directory");
        let server = RecordingServer::folder(folder.path());
        let proxy = config::parse("f", b"", []).expect("valid").config.proxy.clone();
        let providers = Providers::new(&proxy).expect("no proxy");
        let provider = Provider { folder, server, rsa: rsa_key(), curve: curve_key(), providers };
        let issuer = provider.issuer();
        provider.write_document(&json!({"issuer": issuer, "jwks_uri": format!("{issuer}/jwks")}));
        provider.write_keys();
        provider
    }

    fn issuer(&self) -> String {
        format!("http://{}", self.server.host())
    }

    fn write_document(&self, document: &Value) {
        let folder = self.folder.path().join(".well-known");
        std::fs::create_dir_all(&folder).expect("a directory");
        std::fs::write(folder.join("openid-configuration"), document.to_string()).expect("written");
    }

    /// Publishes both keys; another key has the same id as that of RSA, and the modulus begins with a zero byte.
    fn write_keys(&self) {
        let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
        let (x, y) = self.curve.public_key().as_ref()[1..].split_at(32);
        let modulus = [&[0][..], &n].concat();
        let keys = json!({"keys": [
            {"kty": "RSA", "kid": "r", "n": BASE64.encode([1; 256]), "e": "AQAB"},
            {"kty": "RSA", "kid": "r", "use": "sig", "n": BASE64.encode(modulus), "e": BASE64.encode(e)},
            {"kty": "EC", "kid": "c", "crv": "P-256", "alg": "ES256", "x": BASE64.encode(x), "y": BASE64.encode(y)},
            {"kty": "oct", "kid": "o", "k": BASE64.encode("secret")},
            {"kty": "new", "kid": "n"},
            7,
        ]});
        std::fs::write(self.folder.path().join("jwks"), keys.to_string()).expect("written");
    }

    fn claims(&self) -> Value {
        json!({"iss": self.issuer(), "aud": "a", "sub": "ann", "iat": NOW, "exp": NOW + 600})
    }

    fn signed_by_rsa(&self, header: &Value, claims: &str) -> String {
        let message = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims));
        let mut signature = vec![0; self.rsa.public().modulus_len()];
        let random = SystemRandom::new();
        self.rsa.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).expect("signed");
        format!("{message}.{}", BASE64.encode(signature))
    }

    fn signed_by_curve(&self, header: &Value, claims: &Value) -> String {
        let (header, claims) = (BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let message = format!("{header}.{claims}");
        let signature = self.curve.sign(&SystemRandom::new(), message.as_bytes()).expect("signed");
        format!("{message}.{}", BASE64.encode(signature))
    }

    async fn verify_at(&self, token: &str, seconds: i64) -> Result<Claims, VerifyError> {
        let audience = ["a".to_owned(), "b".to_owned()];
        self.providers.verify(&self.issuer(), &audience, token, Timestamp(seconds * SECOND)).await
    }

    /// The refusal of a token.
    async fn refusal(&self, token: &str) -> Option<Invalid> {
        match self.verify_at(token, NOW).await {
            Ok(_) => None,
            Err(VerifyError::Invalid(reason)) => Some(reason),
            Err(VerifyError::Unavailable(error)) => panic!("{error}"),
        }
    }

    fn key_requests(&self) -> usize {
        self.server.heads().iter().filter(|head| head.starts_with("GET /jwks ")).count()
    }
}

#[tokio::test]
async fn tokens_of_every_key_are_verified_and_others_are_refused() {
    let provider = Provider::start();
    let claims = provider.claims();
    let text = claims.to_string();
    let rs256 = json!({"alg": "RS256", "kid": "r", "typ": "JWT"});
    let valid = provider.signed_by_rsa(&rs256, &text);
    for token in [
        valid.clone(),
        provider.signed_by_rsa(&json!({"alg": "RS256"}), &text),
        provider.signed_by_curve(&json!({"alg": "ES256", "kid": "c", "typ": "application/jwt"}), &claims),
        // Keys in the header are ignored.
        provider.signed_by_rsa(
            &json!({"alg": "RS256", "kid": "r", "jku": "http://evil.example/", "x5u": "http://evil.example/"}),
            &text,
        ),
    ] {
        assert_eq!(provider.refusal(&token).await, None);
    }
    let secret = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
    let mac = |header: &Value, secret: &hmac::Key| {
        let message = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(&text));
        let signature = BASE64.encode(hmac::sign(secret, message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    };
    let RsaPublicKeyComponents { n, .. } = RsaPublicKeyComponents::<Vec<u8>>::from(provider.rsa.public());
    let public_key = hmac::Key::new(hmac::HMAC_SHA256, &n);
    let none = json!({"alg": "none"});
    let unsigned = format!("{}.{}.", BASE64.encode(none.to_string()), BASE64.encode(&text));
    let twice = text.replacen("\"sub\"", "\"sub\":\"eve\",\"sub\"", 1);
    let forms = [
        unsigned,
        mac(&json!({"alg": "HS256"}), &public_key),
        mac(&json!({"alg": "HS256", "kid": "o"}), &secret),
        provider.signed_by_rsa(&json!({"alg": "RS256", "kid": "r", "crit": ["exp"]}), &text),
        provider.signed_by_rsa(&json!({"alg": "RS256", "kid": "r", "typ": "at+jwt"}), &text),
        provider.signed_by_rsa(&json!({"alg": "RS256", "kid": "r", "typ": "logout+jwt"}), &text),
        provider.signed_by_rsa(&json!({"alg": "RS256", "kid": 7}), &text),
        provider.signed_by_rsa(&json!({"alg": "rs256"}), &text),
        provider.signed_by_rsa(&rs256, &twice),
        provider.signed_by_rsa(&rs256, "[]"),
        provider.signed_by_rsa(&rs256, "\u{fffd}"),
        format!("{valid}."),
        format!("{valid}.x"),
        valid.split_once('.').expect("parts").1.to_owned(),
        String::new(),
        "..".to_owned(),
        format!(
            "{}=.{}",
            &valid[..valid.find('.').expect("a dot")],
            &valid[valid.find('.').expect("a dot") + 1..]
        ),
    ];
    for token in &forms {
        let refusal = provider.refusal(token).await;
        assert!(matches!(refusal, Some(Invalid::Form(_))), "{refusal:?}: {token}");
    }
    assert_eq!(provider.refusal(&"a".repeat(1 << 20)).await, Some(Invalid::TooLong));
    let (message, signature) = valid.rsplit_once('.').expect("parts");
    let mut other = BASE64.decode(signature).expect("base64");
    other[7] ^= 1;
    for token in [
        format!("{message}.{}", BASE64.encode(other)),
        format!("{message}.{signature}="),
        format!("{message}."),
        provider.signed_by_rsa(&json!({"alg": "RS256", "kid": "c"}), &text),
        provider.signed_by_rsa(&json!({"alg": "RS256", "kid": "../../etc/passwd"}), &text),
        provider.signed_by_rsa(&json!({"alg": "RS256", "kid": "r' OR '1'='1"}), &text),
        provider.signed_by_rsa(&json!({"alg": "PS256", "kid": "r"}), &text),
        provider.signed_by_rsa(&json!({"alg": "RS512", "kid": "r"}), &text),
        provider.signed_by_curve(&json!({"alg": "ES384", "kid": "c"}), &claims),
        provider.signed_by_curve(&json!({"alg": "EdDSA", "kid": "c"}), &claims),
    ] {
        assert_eq!(provider.refusal(&token).await, Some(Invalid::Signature), "{token}");
    }
    assert_eq!(provider.key_requests(), 1, "unknown ids cause a request once a minute only");
}

#[tokio::test]
async fn claims_of_other_issuers_audiences_and_times_are_refused() {
    let provider = Provider::start();
    for (name, value, expected) in [
        ("iss", json!(format!("{}/", provider.issuer())), Some(Invalid::Issuer)),
        ("iss", Value::Null, Some(Invalid::Issuer)),
        ("aud", json!(["c", "b"]), None),
        ("aud", json!("c"), Some(Invalid::Audience)),
        ("exp", json!(NOW - 59), None),
        ("exp", json!(1_790_000_000.5), None),
        ("exp", json!(NOW - 60), Some(Invalid::Expired)),
        ("exp", json!(-1), Some(Invalid::Type("exp"))),
        ("exp", json!("2100-01-01"), Some(Invalid::Type("exp"))),
        ("exp", json!(9_223_372_036_854_775_808_u64), Some(Invalid::Type("exp"))),
        ("nbf", json!(NOW + 59), None),
        ("nbf", json!(NOW + 61), Some(Invalid::Future("nbf"))),
        ("iat", json!(NOW + 61), Some(Invalid::Future("iat"))),
        // A clock that is off by a day, here or there.
        ("exp", json!(NOW - 86_400), Some(Invalid::Expired)),
        ("nbf", json!(NOW + 86_400), Some(Invalid::Future("nbf"))),
        ("iat", json!(NOW + 86_400), Some(Invalid::Future("iat"))),
    ] {
        let mut claims = provider.claims();
        claims[name] = value.clone();
        let token = provider.signed_by_curve(&json!({"alg": "ES256", "kid": "c"}), &claims);
        assert_eq!(provider.refusal(&token).await, expected, "{name} {value}");
    }
    let mut claims = provider.claims();
    claims.as_object_mut().expect("an object").remove("exp");
    let token = provider.signed_by_curve(&json!({"alg": "ES256", "kid": "c"}), &claims);
    assert_eq!(provider.refusal(&token).await, Some(Invalid::Missing("exp")));
}

#[tokio::test]
async fn new_keys_are_loaded_after_a_minute_and_old_ones_serve_while_the_provider_is_away() {
    let mut provider = Provider::start();
    let header = json!({"alg": "ES256"});
    let old = provider.signed_by_curve(&header, &provider.claims());
    assert!(provider.verify_at(&old, NOW).await.is_ok());
    provider.curve = curve_key();
    provider.write_keys();
    let new = provider.signed_by_curve(&header, &provider.claims());
    assert!(provider.verify_at(&new, NOW + 59).await.is_err(), "not yet");
    assert!(provider.verify_at(&new, NOW + 60).await.is_ok());
    assert_eq!(provider.key_requests(), 2);
    assert!(provider.verify_at(&old, NOW + 61).await.is_err(), "the old key was withdrawn");
    // The document is damaged after an hour.
    let mut claims = provider.claims();
    claims["exp"] = json!(NOW + 100_000);
    let late = provider.signed_by_curve(&header, &claims);
    provider.write_document(&json!({"issuer": "http://other", "jwks_uri": "http://127.0.0.1/"}));
    assert!(provider.verify_at(&late, NOW + 8_000).await.is_ok(), "keys are used for a day");
    let error = provider.verify_at(&late, NOW + 90_000).await.expect_err("too old");
    assert!(
        matches!(&error, VerifyError::Unavailable(_)) && error.to_string().contains("http://other"),
        "{error}"
    );
}

#[tokio::test]
async fn requests_that_waited_for_a_failure_do_not_repeat_it() {
    let provider = Provider::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let issuer = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, connections) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A slow issuer: the second request arrives more than five seconds after the first one by the given clock.
            std::thread::sleep(Duration::from_secs(2));
            drop(stream);
            if sender.send(()).is_err() {
                return;
            }
        }
    });
    let document = |seconds: i64| provider.providers.document(&issuer, Timestamp((NOW + seconds) * SECOND));
    let (first, second) = tokio::join!(document(0), document(6));
    assert!(first.is_err() && second.is_err());
    assert!(connections.recv_timeout(Duration::from_secs(60)).is_ok());
    assert!(connections.try_recv().is_err(), "one request for both");
    assert!(document(20).await.is_err());
    assert!(connections.recv_timeout(Duration::from_secs(60)).is_ok(), "tried again later");
}

#[tokio::test]
async fn large_answers_and_keys_without_tls_are_refused() {
    let provider = Provider::start();
    std::fs::write(provider.folder.path().join("jwks"), vec![b' '; 300 << 10]).expect("written");
    let token = provider.signed_by_rsa(&json!({"alg": "RS256", "kid": "r"}), &provider.claims().to_string());
    let error = provider.verify_at(&token, NOW).await.expect_err("too large");
    assert!(error.to_string().contains("larger than 256 kB"), "{error}");
    let address = "http://192.0.2.1/jwks";
    provider.write_document(&json!({"issuer": provider.issuer(), "jwks_uri": address}));
    let error = provider.verify_at(&token, NOW + 10).await.expect_err("not https");
    assert!(error.to_string().contains("jwks_uri must begin with https://"), "{error}");
}
