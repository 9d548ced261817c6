//! `[IdentityFederation "…"]` and `[Bootstrap]`: a reload of the properties, as shown by the next exchange or request.

use std::process::Command;

use serde_json::json;

use crate::support::http::{self, Answer};
use crate::support::issuer::Issuer;
use crate::support::server::{Builder, Server};

fn exchange(server: &Server, token: &str) -> Answer {
    let body = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={token}&\
         subject_token_type=urn:ietf:params:oauth:token-type:jwt"
    );
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    http::request("POST", &server.url("/__api__/token"), &form, body.as_bytes())
}

// All properties of a section are replaced together.
#[test]
pub(super) fn the_properties_of_a_section_apply_to_the_next_exchange() {
    let (first, second) = (Issuer::start(), Issuer::start());
    let server = Builder::default()
        .env("PACKAGEMANAGER_ENCRYPTION_KEY", &"5a".repeat(512))
        .gcfg(&format!(
            "[IdentityFederation \"ci\"]\nIssuer = {}\nAudience = one\nSubject = job 1\nScope = repos:read:*",
            first.url()
        ))
        .start();
    let token = |issuer: &Issuer, audience: &str, subject: &str, event: &str| {
        let claims = json!({"aud": audience, "sub": subject, "azp": "runner", "event": event, "name": "ann"});
        issuer.token(&claims)
    };
    let answer = exchange(&server, &token(&first, "one", "job 1", "push"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["expires_in"], 3_600);
    server.hup(&format!(
        "[IdentityFederation \"ci\"]\nIssuer = {}\nAudience = two\nSubject = job .*\nAuthorizedParty = runner\n\
         Claim = \"event = push\"\nScope = global:admin\nUniqueIdClaim = name\nUsernameClaim = name\nTokenLifetime = 2m\n\
         Logging = true",
        second.url()
    ));
    assert_eq!(exchange(&server, &token(&first, "one", "job 1", "push")).status, 400, "the issuer");
    assert_eq!(exchange(&server, &token(&second, "one", "job 1", "push")).status, 400, "the audience");
    assert_eq!(exchange(&server, &token(&second, "two", "job 1", "pull")).status, 400, "another claim");
    let answer = exchange(&server, &token(&second, "two", "job 2", "push"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    assert_eq!(json["expires_in"], 120);
    let authorization = format!("Bearer {}", json["access_token"].as_str().expect("a token"));
    let fields = [("Authorization", authorization.as_str())];
    let verified = http::request("GET", &server.url("/__api__/admin/v1/verify"), &fields, b"");
    assert!(verified.status == 200 && verified.text().contains("ann"), "{}", verified.text());
    server.wait_for_log("[IdentityFederation] ci: issued token");
    assert_eq!(server.series("ppm_tokens_issued_total{kind=\"federation\"}"), Some(2.0));
    assert_eq!(server.series("ppm_tokens_refused_total{kind=\"proof\"}"), Some(3.0));
}

#[test]
pub(super) fn the_public_key_applies_to_the_next_bootstrap_request() {
    let server = Server::start();
    let status = || {
        let now = jiff::Timestamp::now().to_string();
        let request = json!({"time": now, "nonce": "0123456789abcdef", "signature": "AAAA"}).to_string();
        let json = [("Content-Type", "application/json")];
        http::request("POST", &server.url("/__api__/bootstrap"), &json, request.as_bytes()).status
    };
    assert_eq!(status(), 404);
    let openssl = |words: &str| {
        let output = Command::new("openssl").current_dir(server.dir()).args(words.split(' ')).output();
        assert!(output.expect("openssl runs").status.success(), "{words}");
    };
    openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out private.pem");
    openssl("pkey -in private.pem -pubout -out public.pem");
    server.hup("[Bootstrap]\nPublicKey = {dir}/public.pem");
    assert_eq!(status(), 403, "not signed with the private key");
}
