//! Provenance objects (PEP 740, index-hosted attestations): the structure, and the file that the attestations are about.
//! The objects of an index are checked; those of a local source are made from the attestations of an upload. Signatures
//! are not verified: this requires trusted keys that are updated over the network.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::file_name::{FileKind, FileName};
use super::name::normalize;
use super::version::Pep440Version;
use super::wheel_name::WheelName;
use base::model::digest::Sha256;
use base::model::trusted_publisher::{CiSystem, CiWorkflow, TrustedPublisher};

/// Maximum size of an object, in bytes. One with a single attestation has about 10 kB.
pub const MAX_PROVENANCE: u64 = 1 << 20;
/// The kind of the publisher of attestations that a client uploaded with a token that an administrator created.
const TOKEN_PUBLISHER: &str = "rstudio-pm-token";
/// Publisher kind of attestations from a job whose issuer has no kind of its own.
const FEDERATION_PUBLISHER: &str = "rstudio-pm-federation";
/// The type of the statement of an attestation.
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

#[derive(Debug, thiserror::Error)]
pub enum BadProvenance {
    #[error("the provenance object has {0} bytes, more than the {MAX_PROVENANCE} allowed")]
    TooLarge(usize),
    #[error("not a provenance object: {0}")]
    Json(String),
    #[error("not a list of attestation objects: {0}")]
    List(String),
    #[error("the list of attestation objects is not UTF-8")]
    Utf8,
    #[error("the {part} has version {version}; version 1 is supported")]
    Version { part: &'static str, version: u64 },
    #[error("the provenance object has no {0}")]
    Empty(&'static str),
    #[error("the {0} of an attestation is not base64")]
    Base64(&'static str),
    #[error("the statement of an attestation is not an in-toto statement: {0}")]
    Statement(String),
    #[error("the statement of an attestation is of type '{0}'; {STATEMENT_TYPE} is supported")]
    StatementType(String),
    #[error("the statement of an attestation is about {0} files, not about one")]
    Subjects(usize),
    #[error("an attestation is about the file '{actual}', not about '{expected}'")]
    OtherFile {
        /// The name in the statement.
        actual: String,
        /// The name of the file.
        expected: String,
    },
    #[error("an attestation is about a file with the SHA-256 '{actual}', not {expected}")]
    OtherDigest {
        /// The digest in the statement.
        actual: String,
        /// The digest of the file.
        expected: Sha256,
    },
}

/// A value that is read from a JSON object. The derived code of `T` alone also accepts a list of its values.
struct JsonObject<T>(T);

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for JsonObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<JsonObject<T>, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = JsonObject<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<JsonObject<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(JsonObject)
    }
}

#[derive(Deserialize)]
struct Provenance {
    version: u64,
    attestation_bundles: Vec<JsonObject<Bundle>>,
}

#[derive(Deserialize)]
struct Bundle {
    publisher: JsonObject<Publisher>,
    attestations: Vec<JsonObject<Attestation>>,
}

#[derive(Deserialize)]
struct Publisher {
    #[serde(rename = "kind")]
    _kind: String,
}

#[derive(Deserialize)]
struct Attestation {
    version: u64,
    verification_material: JsonObject<VerificationMaterial>,
    envelope: JsonObject<Envelope>,
}

#[derive(Deserialize)]
struct VerificationMaterial {
    certificate: String,
    transparency_entries: Vec<JsonObject<IgnoredAny>>,
}

#[derive(Deserialize)]
struct Envelope {
    statement: String,
    signature: String,
}

#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<JsonObject<Subject>>,
}

#[derive(Deserialize)]
struct Subject {
    name: String,
    digest: JsonObject<SubjectDigest>,
}

#[derive(Deserialize)]
struct SubjectDigest {
    sha256: String,
}

/// Checks that bytes are a provenance object whose attestations are all about a file with this name and digest.
pub fn check(bytes: &[u8], file: &FileName, sha256: Sha256) -> Result<(), BadProvenance> {
    if bytes.len() as u64 > MAX_PROVENANCE {
        return Err(BadProvenance::TooLarge(bytes.len()));
    }
    let JsonObject(Provenance { version, attestation_bundles }) =
        serde_json::from_slice(bytes).map_err(|error| BadProvenance::Json(shorten(&error)))?;
    check_version("object", version)?;
    if attestation_bundles.is_empty() {
        return Err(BadProvenance::Empty("attestation bundles"));
    }
    for JsonObject(Bundle { publisher: JsonObject(Publisher { _kind: _ }), attestations }) in
        attestation_bundles
    {
        check_attestations(&attestations, file, sha256)?;
    }
    Ok(())
}

/// Returns the provenance object with the attestations of an upload, a JSON list whose elements must all be about this
/// file. Its text is unchanged: an attestation may have more keys than the specification has.
pub fn of_attestations(
    list: &[u8],
    file: &FileName,
    sha256: Sha256,
    publisher: Option<&TrustedPublisher>,
) -> Result<Vec<u8>, BadProvenance> {
    let list = std::str::from_utf8(list).map_err(|_| BadProvenance::Utf8)?;
    let attestations: Vec<JsonObject<Attestation>> =
        serde_json::from_str(list).map_err(|error| BadProvenance::List(shorten(&error)))?;
    check_attestations(&attestations, file, sha256)?;
    for JsonObject(Attestation { verification_material, envelope, .. }) in &attestations {
        for (part, text) in
            [("certificate", &verification_material.0.certificate), ("signature", &envelope.0.signature)]
        {
            BASE64_STANDARD.decode(text).map_err(|_| BadProvenance::Base64(part))?;
        }
    }
    let publisher = publisher_object(publisher);
    let object = format!(
        r#"{{"version":1,"attestation_bundles":[{{"publisher":{publisher},"attestations":{list}}}]}}"#
    );
    if object.len() as u64 > MAX_PROVENANCE {
        return Err(BadProvenance::TooLarge(object.len()));
    }
    Ok(object.into_bytes())
}

/// Returns the object of a publisher. The kinds and keys of GitHub and GitLab are PyPI's, so that programs that verify
/// attestations know which identity the certificate must have.
fn publisher_object(publisher: Option<&TrustedPublisher>) -> Value {
    let Some(TrustedPublisher { issuer, subject, workflow }) = publisher else {
        return json!({ "claims": {}, "kind": TOKEN_PUBLISHER });
    };
    let claims = json!({ "iss": issuer, "sub": subject });
    let Some(CiWorkflow { system, repository, file, environment }) = workflow else {
        return json!({ "claims": claims, "kind": FEDERATION_PUBLISHER });
    };
    let (kind, file_key) = match system {
        CiSystem::GitHub => ("GitHub", "workflow"),
        CiSystem::GitLab => ("GitLab", "workflow_filepath"),
    };
    json!({
        "claims": claims, "environment": environment, "kind": kind, "repository": repository, file_key: file,
    })
}

fn check_attestations(
    attestations: &[JsonObject<Attestation>],
    file: &FileName,
    sha256: Sha256,
) -> Result<(), BadProvenance> {
    if attestations.is_empty() {
        return Err(BadProvenance::Empty("attestations"));
    }
    attestations.iter().try_for_each(|attestation| check_attestation(&attestation.0, file, sha256))
}

fn check_attestation(
    attestation: &Attestation,
    file: &FileName,
    sha256: Sha256,
) -> Result<(), BadProvenance> {
    check_version("attestation", attestation.version)?;
    if attestation.verification_material.0.transparency_entries.is_empty() {
        return Err(BadProvenance::Empty("transparency entries"));
    }
    let statement = BASE64_STANDARD.decode(&attestation.envelope.0.statement);
    let statement = statement.map_err(|_| BadProvenance::Base64("statement"))?;
    let JsonObject(Statement { kind, subject }) =
        serde_json::from_slice(&statement).map_err(|error| BadProvenance::Statement(shorten(&error)))?;
    if kind != STATEMENT_TYPE {
        return Err(BadProvenance::StatementType(excerpt(&kind)));
    }
    let [JsonObject(Subject { name, digest: JsonObject(digest) })] = &subject[..] else {
        return Err(BadProvenance::Subjects(subject.len()));
    };
    if !is_same_file(name, file) {
        return Err(BadProvenance::OtherFile { actual: excerpt(name), expected: file.as_str().to_owned() });
    }
    if digest.sha256 != sha256.to_string() {
        return Err(BadProvenance::OtherDigest { actual: excerpt(&digest.sha256), expected: sha256 });
    }
    Ok(())
}

fn check_version(part: &'static str, version: u64) -> Result<(), BadProvenance> {
    if version == 1 { Ok(()) } else { Err(BadProvenance::Version { part, version }) }
}

/// Returns whether two names denote the same file: project and version may be spelled differently.
fn is_same_file(name: &str, file: &FileName) -> bool {
    if name == file.as_str() {
        return true;
    }
    let Ok(other) = FileName::parse(name) else { return false };
    if other.kind() != file.kind() || other.extension() != file.extension() {
        return false;
    }
    if file.kind() != FileKind::Wheel {
        let project_and_version = |file: &FileName| {
            let (project, version) = file.stem().rsplit_once('-')?;
            Some((normalize(project), Pep440Version::lenient(version)))
        };
        let (a, b) = (project_and_version(&other), project_and_version(file));
        return normalize(other.stem()) == normalize(file.stem()) || (a.is_some() && a == b);
    }
    match (WheelName::parse(name), WheelName::parse(file.as_str())) {
        (Ok(a), Ok(b)) => {
            normalize(a.distribution) == normalize(b.distribution)
                && a.version() == b.version()
                && (a.build, a.tags) == (b.build, b.tags)
        }
        _ => false,
    }
}

fn excerpt(text: &str) -> String {
    text.escape_debug().take(120).collect()
}

/// Returns the beginning of an error, which may contain a text of any length.
fn shorten(error: &serde_json::Error) -> String {
    error.to_string().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: Sha256 = Sha256([0xab; 32]);

    fn file() -> FileName {
        FileName::parse("odd_lib-1.0-py3-none-any.whl").expect("a name")
    }

    fn object(statement: &Value) -> Value {
        json!({
            "version": 1,
            "attestation_bundles": [{
                "publisher": { "kind": "GitHub", "claims": null, "repository": "odd/lib", "workflow": "release.yml" },
                "attestations": [{
                    "version": 1,
                    "verification_material": { "certificate": "MII=", "transparency_entries": [{ "logIndex": "1" }] },
                    "envelope": {
                        "statement": BASE64_STANDARD.encode(statement.to_string()), "signature": "MEU=",
                    },
                }],
            }],
        })
    }

    fn statement(name: &str, digest: &str) -> Value {
        json!({
            "_type": STATEMENT_TYPE,
            "subject": [{ "name": name, "digest": { "sha256": digest } }],
            "predicateType": "https://docs.pypi.org/attestations/publish/v1",
            "predicate": null,
        })
    }

    /// The list of attestations with this statement, as a client uploads it.
    fn attestations(statement: &Value) -> Value {
        object(statement)["attestation_bundles"][0]["attestations"].take()
    }

    fn checked(object: &Value) -> Result<(), BadProvenance> {
        check(object.to_string().as_bytes(), &file(), DIGEST)
    }

    #[test]
    fn attestations_about_the_file_are_accepted() {
        for name in ["odd_lib-1.0-py3-none-any.whl", "Odd.Lib-1.0.0-py3-none-any.whl"] {
            let result = checked(&object(&statement(name, &DIGEST.to_string())));
            assert!(result.is_ok(), "{name}: {result:?}");
        }
        let sdist = FileName::parse("Odd.Lib-1.0.tar.gz").expect("a name");
        for name in ["Odd.Lib-1.0.tar.gz", "odd_lib-1.0.tar.gz", "odd-lib-1.0.0.tar.gz"] {
            let object = object(&statement(name, &DIGEST.to_string())).to_string();
            assert!(check(object.as_bytes(), &sdist, DIGEST).is_ok(), "{name}");
        }
        for name in ["odd_lib-1.1.tar.gz", "odd-1.0.tar.gz", "odd_lib-1.0.zip", "odd_lib.tar.gz"] {
            let object = object(&statement(name, &DIGEST.to_string())).to_string();
            assert!(check(object.as_bytes(), &sdist, DIGEST).is_err(), "{name}");
        }
    }

    #[test]
    fn other_objects_are_refused() {
        let (name, digest) = ("odd_lib-1.0-py3-none-any.whl", DIGEST.to_string());
        let good = object(&statement(name, &digest));
        let changed = |path: &str, value: Value| {
            let mut object = good.clone();
            *object.pointer_mut(path).expect(path) = value;
            object
        };
        let bundle = "/attestation_bundles/0";
        let attestation = "/attestation_bundles/0/attestations/0";
        let mut subjects = statement(name, &digest);
        let subject = subjects["subject"][0].clone();
        subjects["subject"].as_array_mut().expect("subjects").push(subject);
        let mut kind = statement(name, &digest);
        kind["_type"] = json!("https://in-toto.io/Statement/v0.1");
        for (object, part) in [
            (changed("/version", json!(2)), "the object has version 2"),
            (changed("/version", json!("1")), "not a provenance object"),
            (changed("/attestation_bundles", json!([])), "no attestation bundles"),
            (changed("/attestation_bundles", json!({})), "not a provenance object"),
            (changed(&format!("{bundle}/attestations"), json!([])), "no attestations"),
            (changed(&format!("{bundle}/publisher"), json!({})), "kind"),
            (changed(&format!("{attestation}/version"), json!(7)), "the attestation has version 7"),
            (
                changed(&format!("{attestation}/verification_material/transparency_entries"), json!([])),
                "no transparency entries",
            ),
            (changed(&format!("{attestation}/envelope/statement"), json!("???")), "not base64"),
            (changed(&format!("{attestation}/envelope/statement"), json!("e30=")), "_type"),
            (object(&subjects), "about 2 files"),
            (object(&kind), "Statement/v0.1"),
            (object(&statement("odd_lib-1.1-py3-none-any.whl", &digest)), "about the file 'odd_lib-1.1"),
            (object(&statement("odd_lib-1.0-py2-none-any.whl", &digest)), "about the file"),
            (object(&statement("odd_lib-1.0.tar.gz", &digest)), "about the file"),
            (object(&statement("../x", &digest)), "about the file"),
            (object(&statement(name, &"cd".repeat(32))), "with the SHA-256 'cdcd"),
        ] {
            let error = checked(&object).expect_err(part).to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
        let large = vec![b' '; usize::try_from(MAX_PROVENANCE).expect("small") + 1];
        assert!(matches!(check(&large, &file(), DIGEST), Err(BadProvenance::TooLarge(_))));
    }

    #[test]
    fn the_attestations_of_an_upload_become_an_object_that_is_valid() {
        let (name, digest) = ("Odd.Lib-1.0.0-py3-none-any.whl", DIGEST.to_string());
        let mut list = attestations(&statement(name, &digest));
        list[0]["vendor"] = json!({ "b": 1.50, "a": "\u{e9}" });
        let second = list[0].clone();
        list.as_array_mut().expect("a list").push(second);
        for text in [list.to_string(), format!("\n{list:#}\t")] {
            let object = of_attestations(text.as_bytes(), &file(), DIGEST, None).expect("valid");
            assert!(check(&object, &file(), DIGEST).is_ok());
            let object = String::from_utf8(object).expect("UTF-8");
            assert!(object.contains(&text), "unchanged: {object}");
            let object: Value = serde_json::from_str(&object).expect("JSON");
            let bundles = &object["attestation_bundles"];
            assert_eq!(bundles.as_array().map(Vec::len), Some(1));
            assert_eq!(bundles[0]["publisher"], json!({ "kind": "rstudio-pm-token", "claims": {} }));
            assert_eq!(bundles[0]["attestations"], list);
        }
    }

    #[test]
    fn the_object_states_the_job_that_uploaded() {
        let list = attestations(&statement("odd_lib-1.0-py3-none-any.whl", &DIGEST.to_string())).to_string();
        let publisher = |system: Option<CiSystem>| {
            let workflow = system.map(|system| CiWorkflow {
                system,
                repository: "org/\"name\"".to_owned(),
                file: "release.yml".to_owned(),
                environment: None,
            });
            let publisher =
                TrustedPublisher { issuer: "https://i".to_owned(), subject: "s".to_owned(), workflow };
            let object = of_attestations(list.as_bytes(), &file(), DIGEST, Some(&publisher)).expect("valid");
            assert!(check(&object, &file(), DIGEST).is_ok());
            serde_json::from_slice::<Value>(&object).expect("JSON")["attestation_bundles"][0]["publisher"]
                .take()
        };
        let claims = json!({ "iss": "https://i", "sub": "s" });
        assert_eq!(publisher(None), json!({ "kind": "rstudio-pm-federation", "claims": claims }));
        assert_eq!(
            publisher(Some(CiSystem::GitHub)),
            json!({
                "kind": "GitHub", "claims": claims, "repository": "org/\"name\"", "workflow": "release.yml",
                "environment": null,
            })
        );
        assert_eq!(
            publisher(Some(CiSystem::GitLab)),
            json!({
                "kind": "GitLab", "claims": claims, "repository": "org/\"name\"", "workflow_filepath": "release.yml",
                "environment": null,
            })
        );
    }

    #[test]
    fn other_attestations_of_an_upload_are_refused() {
        let (name, digest) = ("odd_lib-1.0-py3-none-any.whl", DIGEST.to_string());
        let good = attestations(&statement(name, &digest));
        let changed = |path: &str, value: Value| {
            let mut list = good.clone();
            *list.pointer_mut(path).expect(path) = value;
            list.to_string()
        };
        let mut two = good.clone();
        two.as_array_mut().expect("a list").extend(
            attestations(&statement("odd_lib-1.1-py3-none-any.whl", &digest))
                .as_array()
                .cloned()
                .expect("one"),
        );
        let empty = attestations(&json!({ "_type": STATEMENT_TYPE, "subject": [] }));
        let padding = " ".repeat(usize::try_from(MAX_PROVENANCE).expect("small") - good.to_string().len());
        for (text, part) in [
            (String::new(), "not a list of attestation objects: EOF"),
            ("null".to_owned(), "not a list of attestation objects"),
            ("{}".to_owned(), "not a list of attestation objects"),
            ("[]".to_owned(), "no attestations"),
            ("[1]".to_owned(), "not a list of attestation objects"),
            (format!("[\"{}\"]", "x".repeat(10_000)), "invalid type: string"),
            (
                json!([[1, ["MII=", [{}]], [good[0]["envelope"]["statement"], "MEU="]]]).to_string(),
                "invalid type: sequence, expected an object",
            ),
            (
                changed("/0/verification_material", json!(["MII=", [{}]])),
                "invalid type: sequence, expected an object",
            ),
            (good[0].to_string(), "not a list of attestation objects"),
            (object(&statement(name, &digest)).to_string(), "not a list of attestation objects"),
            (format!("{good}]}}],\"x\":[{{\"y\":[{good}"), "trailing characters"),
            (format!("{good}{good}"), "trailing characters"),
            (changed("/0/version", json!(2)), "the attestation has version 2"),
            (changed("/0/version", json!(null)), "not a list of attestation objects"),
            (changed("/0/envelope/statement", json!("???")), "the statement of an attestation is not base64"),
            (changed("/0/envelope/statement", json!("e30=")), "not an in-toto statement: missing field"),
            (changed("/0/envelope/signature", json!("?")), "the signature of an attestation is not base64"),
            (
                changed("/0/verification_material/certificate", json!("-----BEGIN CERTIFICATE-----")),
                "the certificate of an attestation is not base64",
            ),
            (changed("/0/verification_material/transparency_entries", json!([])), "no transparency entries"),
            (two.to_string(), "about the file 'odd_lib-1.1"),
            (empty.to_string(), "about 0 files"),
            (attestations(&statement(name, &"cd".repeat(32))).to_string(), "with the SHA-256 'cdcd"),
            (attestations(&statement(name, &digest.to_uppercase())).to_string(), "with the SHA-256 'ABAB"),
            (format!("{padding}{good}"), "more than the 1048576 allowed"),
        ] {
            let error = of_attestations(text.as_bytes(), &file(), DIGEST, None).expect_err(part).to_string();
            assert!(error.contains(part) && error.len() < 500, "{part}: {error}");
        }
        let mut bytes = good.to_string().into_bytes();
        let at = bytes.windows(3).position(|bytes| bytes == b"log").expect("a key that is not read");
        bytes[at] = 0xff;
        assert!(matches!(of_attestations(&bytes, &file(), DIGEST, None), Err(BadProvenance::Utf8)));
    }

    proptest! {
        #[test]
        fn no_bytes_cause_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..1000) {
            let _ = check(&bytes, &file(), DIGEST);
            let _ = of_attestations(&bytes, &file(), DIGEST, None);
            let object = object(&statement("odd_lib-1.0-py3-none-any.whl", &DIGEST.to_string()));
            let mut damaged = object.to_string().into_bytes();
            let at = at % damaged.len();
            damaged.truncate(at);
            prop_assert!(check(&damaged, &file(), DIGEST).is_err());
        }
    }
}
