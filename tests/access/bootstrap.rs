//! The first token of a server, for the owner of its bootstrap key: `rspm bootstrap`, and OpenSSL as the client.

use std::path::Path;
use std::process::{Command, Output};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{bearer, get, send};
use crate::support::http::Answer;
use crate::support::rspm::RspmOutput;
use crate::support::server::{Builder, Server};

const ADMIN: &str = "/__api__/admin/v1/tokens";

/// Runs `rspm bootstrap` with the address of a server instead of its configuration.
fn bootstrap(server: &Server, words: &[&str]) -> RspmOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rspm"));
    command.arg("bootstrap").args(words).env("PACKAGEMANAGER_ADDRESS", server.url("").trim_end_matches('/'));
    command.env("HOME", server.dir()).env("NO_PROXY", "*").env_remove("PACKAGEMANAGER_TOKEN");
    command.output().expect("rspm runs").into()
}

fn openssl(dir: &Path, words: &str) -> Output {
    let output =
        Command::new("openssl").current_dir(dir).args(words.split(' ')).output().expect("openssl runs");
    assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn the_owner_of_the_key_creates_a_token_with_rspm() {
    let server = Builder::default().gcfg("[Bootstrap]\nPublicKey = {dir}/.ppm/keys/public.key").start();
    let keys_output = bootstrap(&server, &["keys"]);
    assert_eq!(keys_output.code, 0, "{}", keys_output.err);
    assert!(keys_output.err.contains("[Bootstrap]\nPublicKey = MII"), "{}", keys_output.err);
    let private_key = server.dir().join(".ppm/keys/private.key");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&private_key.metadata().expect("the key").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let repeated_command = bootstrap(&server, &["keys"]);
    assert!(
        repeated_command.code == 1 && repeated_command.err.contains("--overwrite"),
        "{}",
        repeated_command.err
    );

    let output = bootstrap(&server, &["token", "--quiet"]);
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    let token = output.out.trim().to_owned();
    assert!(token.starts_with("rspm_"), "the token alone");
    assert_eq!(get(&server, ADMIN, Some(&bearer(&token))).status, 200);
    let short_lived_output = bootstrap(&server, &["token", "--expires=1h"]);
    assert!(
        short_lived_output.code == 0 && short_lived_output.err.contains("record this token"),
        "{}",
        short_lived_output.err
    );
    let tokens = server.json("list tokens");
    let tokens = tokens.as_array().expect("a list");
    assert_eq!(tokens.len(), 2);
    assert!(tokens.iter().all(|row| row["user"] == "bootstrap key"), "{tokens:?}");
    assert_eq!(tokens.iter().filter(|row| row["expires"].is_string()).count(), 1);
    assert!(server.json("audit list").to_string().contains("bootstrap key"));

    // Another key is refused.
    let other_directory = server.dir().join("other");
    let other_directory = other_directory.to_str().expect("text");
    assert_eq!(bootstrap(&server, &["keys", "--destination", other_directory, "--quiet"]).code, 0);
    let file = format!("{other_directory}/private.key");
    let refusal = bootstrap(&server, &["token", "--private-key-file", &file]);
    assert!(refusal.code == 1 && refusal.err.contains("not signed with the private key"), "{}", refusal.err);
}

#[test]
fn openssl_can_be_the_client() {
    let server = Builder::default().gcfg("[Bootstrap]\nPublicKey = {dir}/public.pem").start();
    let dir = server.dir();
    let post =
        |body: &Value| -> Answer { send(&server, "POST", "/__api__/bootstrap", None, &body.to_string()) };
    let sign = |time: &str, nonce: &str, lifetime: Option<i64>| {
        let line = lifetime.map_or_else(|| "never".to_owned(), |seconds| seconds.to_string());
        let text = format!("rstudio-pm bootstrap 1\n{time}\n{nonce}\n{line}\n");
        std::fs::write(dir.join("statement"), text).expect("written");
        openssl(
            dir,
            "dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -sign private.pem -out signature \
             statement",
        );
        let signature = BASE64_STANDARD.encode(std::fs::read(dir.join("signature")).expect("signed"));
        json!({"time": time, "nonce": nonce, "expires_in": lifetime, "signature": signature})
    };
    openssl(dir, "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out private.pem");
    let now = jiff::Timestamp::now();
    let seconds = |count: i64| (now + jiff::SignedDuration::from_secs(count)).to_string();
    let request = sign(&now.to_string(), "0123456789abcdef", Some(600));
    assert_eq!(post(&request).status, 503, "the server cannot read its key yet");
    openssl(dir, "pkey -in private.pem -pubout -out public.pem");

    let answer = post(&request);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let token_answer = answer.json();
    assert!(!answer.text().contains("rspm_") && token_answer["expires"].is_string(), "{}", answer.text());
    let encrypted_token =
        BASE64_STANDARD.decode(token_answer["token"].as_str().expect("a token")).expect("base64");
    std::fs::write(dir.join("encrypted"), encrypted_token).expect("written");
    let token = openssl(
        dir,
        "pkeyutl -decrypt -inkey private.pem -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 \
         -pkeyopt rsa_mgf1_md:sha256 -in encrypted",
    );
    let token = String::from_utf8(token.stdout).expect("text");
    assert_eq!(get(&server, ADMIN, Some(&bearer(&token))).status, 200);

    let mut changed_request = sign(&now.to_string(), "0123456789abcdeg", Some(600));
    changed_request["expires_in"] = json!(6_000);
    for (request, status, words) in [
        (request, 403, "used before"),
        (changed_request, 403, "not signed"),
        (sign(&seconds(-86_400), "0123456789abcdeh", None), 400, "compare the clocks"),
        (sign(&seconds(86_400), "0123456789abcdei", None), 400, "compare the clocks"),
        (sign(&now.to_string(), "short", None), 400, "nonce"),
        (sign("yesterday", "0123456789abcdej", None), 400, "RFC 3339"),
        (sign(&now.to_string(), "0123456789abcdek", Some(-1)), 400, "must expire"),
        (json!({"time": now.to_string()}), 400, "not valid JSON"),
    ] {
        let answer = post(&request);
        assert_eq!(answer.status, status, "{words}: {}", answer.text());
        assert!(answer.text().contains(words), "{words}: {}", answer.text());
    }
    assert_eq!(server.json("list tokens").as_array().map(Vec::len), Some(1));
}

#[test]
fn the_lifetime_of_the_first_token_is_limited_like_that_of_others() {
    let gcfg = "[Bootstrap]\nPublicKey = {dir}/.ppm/keys/public.key\n[Authentication]\nMaxTokenLifetime = 1h";
    let server = Builder::default().gcfg(gcfg).start();
    assert_eq!(bootstrap(&server, &["keys", "--quiet"]).code, 0);
    for words in [&["token"][..], &["token", "--expires=2h"]] {
        let refusal = bootstrap(&server, words);
        assert!(refusal.code == 1 && refusal.err.contains("MaxTokenLifetime"), "{words:?}: {}", refusal.err);
    }
    assert_eq!(bootstrap(&server, &["token", "--expires=1h", "--quiet"]).code, 0);
}

#[test]
fn a_server_without_a_key_has_no_bootstrap() {
    let server = Server::start();
    let request = json!({"time": "2026-01-01T00:00:00Z", "nonce": "0123456789abcdef", "signature": ""});
    let answer = send(&server, "POST", "/__api__/bootstrap", None, &request.to_string());
    assert_eq!(answer.status, 404, "{}", answer.text());
}
