//! Provenance objects (PEP 740, index-hosted attestations): the structure, and the file that the attestations are about.
//! Signatures are not verified: this requires trusted keys that are updated over the network.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::file_name::{FileKind, FileName};
use super::name::normalize;
use super::wheel_name::WheelName;
use crate::model::digest::Sha256;

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.pypi.integrity.v1+json";
/// Maximum size of an object, in bytes. One with a single attestation has about 10 kB.
pub const MAX_PROVENANCE: u64 = 1 << 20;
/// The type of the statement of an attestation.
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// The reason why bytes are not the provenance of a file.
#[derive(Debug, thiserror::Error)]
pub enum BadProvenance {
    /// Too many bytes.
    #[error("the provenance object has {0} bytes, more than the {MAX_PROVENANCE} allowed")]
    TooLarge(usize),
    /// Not JSON of this structure.
    #[error("not a provenance object: {0}")]
    Json(#[from] serde_json::Error),
    /// A version other than 1.
    #[error("the {part} has version {version}; version 1 is supported")]
    Version {
        /// The part of the object.
        part: &'static str,
        /// Its version.
        version: u64,
    },
    /// A list without elements.
    #[error("the provenance object has no {0}")]
    Empty(&'static str),
    /// The statement is not base64.
    #[error("the statement of an attestation is not base64")]
    Base64,
    /// The statement has another type.
    #[error("the statement of an attestation is of type '{0}'; {STATEMENT_TYPE} is supported")]
    StatementType(String),
    /// The statement is about several files, or none.
    #[error("the statement of an attestation is about {0} files, not about one")]
    Subjects(usize),
    /// The statement is about another file.
    #[error("an attestation is about the file '{actual}', not about '{expected}'")]
    OtherFile {
        /// The name in the statement.
        actual: String,
        /// The name of the file.
        expected: String,
    },
    /// The statement is about a file with other bytes.
    #[error("an attestation is about a file with the SHA-256 '{actual}', not {expected}")]
    OtherDigest {
        /// The digest in the statement.
        actual: String,
        /// The digest of the file.
        expected: Sha256,
    },
}

#[derive(Deserialize)]
struct Provenance {
    version: u64,
    attestation_bundles: Vec<Bundle>,
}

#[derive(Deserialize)]
struct Bundle {
    publisher: Publisher,
    attestations: Vec<Attestation>,
}

#[derive(Deserialize)]
struct Publisher {
    #[serde(rename = "kind")]
    _kind: String,
}

#[derive(Deserialize)]
struct Attestation {
    version: u64,
    verification_material: VerificationMaterial,
    envelope: Envelope,
}

#[derive(Deserialize)]
struct VerificationMaterial {
    #[serde(rename = "certificate")]
    _certificate: String,
    transparency_entries: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct Envelope {
    statement: String,
    #[serde(rename = "signature")]
    _signature: String,
}

#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    name: String,
    digest: SubjectDigest,
}

#[derive(Deserialize)]
struct SubjectDigest {
    sha256: String,
}

/// Checks that bytes are a provenance object whose attestations are all about a file with this name and digest.
///
/// # Errors
/// [`BadProvenance`].
pub fn check(bytes: &[u8], file: &FileName, sha256: Sha256) -> Result<(), BadProvenance> {
    if bytes.len() as u64 > MAX_PROVENANCE {
        return Err(BadProvenance::TooLarge(bytes.len()));
    }
    let Provenance { version, attestation_bundles } = serde_json::from_slice(bytes)?;
    check_version("object", version)?;
    if attestation_bundles.is_empty() {
        return Err(BadProvenance::Empty("attestation bundles"));
    }
    for Bundle { publisher: Publisher { _kind: _ }, attestations } in attestation_bundles {
        if attestations.is_empty() {
            return Err(BadProvenance::Empty("attestations"));
        }
        for attestation in attestations {
            check_attestation(&attestation, file, sha256)?;
        }
    }
    Ok(())
}

fn check_attestation(
    attestation: &Attestation,
    file: &FileName,
    sha256: Sha256,
) -> Result<(), BadProvenance> {
    check_version("attestation", attestation.version)?;
    if attestation.verification_material.transparency_entries.is_empty() {
        return Err(BadProvenance::Empty("transparency entries"));
    }
    let statement = BASE64_STANDARD.decode(&attestation.envelope.statement);
    let statement: Statement = serde_json::from_slice(&statement.map_err(|_| BadProvenance::Base64)?)?;
    if statement.kind != STATEMENT_TYPE {
        return Err(BadProvenance::StatementType(excerpt(&statement.kind)));
    }
    let [Subject { name, digest }] = &statement.subject[..] else {
        return Err(BadProvenance::Subjects(statement.subject.len()));
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

/// Returns true if two names denote the same file: project and version may be spelled differently.
fn is_same_file(name: &str, file: &FileName) -> bool {
    if name == file.as_str() {
        return true;
    }
    let Ok(other) = FileName::parse(name) else { return false };
    if other.kind() != file.kind() || other.extension() != file.extension() {
        return false;
    }
    if file.kind() != FileKind::Wheel {
        return normalize(other.stem()) == normalize(file.stem());
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

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
        let object = object(&statement("odd_lib-1.0.tar.gz", &DIGEST.to_string())).to_string();
        assert!(check(object.as_bytes(), &sdist, DIGEST).is_ok());
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

    proptest! {
        #[test]
        fn no_bytes_cause_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..1000) {
            let _ = check(&bytes, &file(), DIGEST);
            let object = object(&statement("odd_lib-1.0-py3-none-any.whl", &DIGEST.to_string()));
            let mut damaged = object.to_string().into_bytes();
            let at = at % damaged.len();
            damaged.truncate(at);
            prop_assert!(check(&damaged, &file(), DIGEST).is_err());
        }
    }
}
