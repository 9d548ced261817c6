//! The row of an upload in the database: what every server needs to add the upload to a source.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::staged::{BinaryTarget, StagedProjectFile, StagedUpload, Upload};
use base::model::change::AttachedFiles;
use base::model::digest::{Md5, Sha256};
use base::model::kind::Language;
use base::model::time::Timestamp;
use formats::r::binary::TargetSystem;
use formats::r::platform::Arch;
use formats::r::version::RMinor;
use store::db::upload::UploadRow;

/// The facts of a row, as JSON. Bytes are in base64, because DESCRIPTION may have any encoding.
#[derive(Serialize, Deserialize)]
struct Facts {
    file: String,
    package: String,
    version: String,
    original: String,
    notices: Vec<String>,
    stanza: String,
    description: String,
    md5: String,
    /// The size of the README, whose digest is in the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    readme: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<TargetFacts>,
    #[serde(rename = "python", default, skip_serializing_if = "Option::is_none")]
    project_file: Option<ProjectFileFacts>,
}

#[derive(Serialize, Deserialize)]
struct TargetFacts {
    r: String,
    system: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arch: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct ProjectFileFacts {
    /// What the language stores; `None` if it is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    facts: Option<Box<RawValue>>,
    /// The size of the metadata, whose digest is in the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata: Option<u64>,
}

pub(super) fn encode(staged: &StagedUpload, owner: &str) -> UploadRow {
    let StagedUpload { upload, stanza, description, md5, binary_target, readme, project_file, .. } = staged;
    let metadata = project_file.as_ref().and_then(|file| file.metadata);
    let facts = Facts {
        file: upload.file.clone(),
        package: upload.package.clone(),
        version: upload.version.clone(),
        original: upload.original.to_string(),
        notices: upload.notices.clone(),
        stanza: STANDARD.encode(stanza),
        description: STANDARD.encode(description),
        md5: md5.to_string(),
        readme: readme.map(|(_, size)| size),
        target: binary_target.map(|target| TargetFacts {
            r: target.r.to_string(),
            system: system_name(target.system).to_owned(),
            arch: target.arch.map(|arch| arch.as_str().to_owned()),
        }),
        project_file: project_file.as_ref().map(|file| ProjectFileFacts {
            facts: serde_json::from_slice(&file.facts).ok(),
            metadata: metadata.map(|(_, size)| size),
        }),
    };
    UploadRow {
        id: i64::try_from(upload.id).unwrap_or(i64::MAX),
        owner: owner.to_owned(),
        kind: staged.kind().as_str().to_owned(),
        sha256: upload.sha256,
        other_sha256: readme.or(metadata).map(|(sha256, _)| sha256),
        size: i64::try_from(upload.size).unwrap_or(i64::MAX),
        // A struct of texts and numbers is always valid JSON.
        facts: serde_json::to_vec(&facts).unwrap_or_default(),
    }
}

/// Returns the upload of a row; `None` if another version of the server wrote facts that this one cannot read.
pub(super) fn decode(row: &UploadRow, now: Timestamp) -> Option<StagedUpload> {
    let facts: Facts = serde_json::from_slice(&row.facts).ok()?;
    let other = |size: Option<u64>| row.other_sha256.zip(size);
    let binary_target = match facts.target {
        None => None,
        Some(target) => Some(BinaryTarget {
            r: RMinor::parse(&target.r)?,
            system: system(&target.system)?,
            arch: match target.arch {
                None => None,
                Some(arch) => Some(Arch::of_spelling(&arch)?),
            },
        }),
    };
    let project_file = match facts.project_file {
        None => None,
        Some(file) => Some(StagedProjectFile {
            language: Language::parse(&row.kind)?,
            facts: file.facts.map_or_else(Vec::new, |facts| facts.get().as_bytes().to_vec()),
            metadata: other(file.metadata),
            attached: AttachedFiles::default(),
        }),
    };
    Some(StagedUpload {
        upload: Upload {
            id: u64::try_from(row.id).ok()?,
            file: facts.file,
            package: facts.package,
            version: facts.version,
            original: facts.original.parse::<Sha256>().ok()?,
            sha256: row.sha256,
            size: u64::try_from(row.size).ok()?,
            notices: facts.notices,
        },
        stanza: STANDARD.decode(facts.stanza).ok()?,
        description: STANDARD.decode(facts.description).ok()?,
        md5: facts.md5.parse::<Md5>().ok()?,
        binary_target,
        readme: other(facts.readme),
        project_file,
        pending_writes: Vec::new(),
        received_at: now,
    })
}

/// The name of a system in stored facts.
fn system_name(system: TargetSystem) -> &'static str {
    match system {
        TargetSystem::Linux => "linux",
        TargetSystem::MacOs => "macos",
        TargetSystem::Windows => "windows",
        TargetSystem::Unix => "unix",
    }
}

fn system(name: &str) -> Option<TargetSystem> {
    let all = [TargetSystem::Linux, TargetSystem::MacOs, TargetSystem::Windows, TargetSystem::Unix];
    all.into_iter().find(|system| system_name(*system) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> StagedUpload {
        StagedUpload {
            upload: Upload {
                id: 7,
                file: "alpha_1.0.tar.gz".to_owned(),
                package: "alpha".to_owned(),
                version: "1.0".to_owned(),
                original: Sha256([1; 32]),
                sha256: Sha256([2; 32]),
                size: 1 << 40,
                notices: vec!["a notice".to_owned()],
            },
            stanza: b"Package: alpha\n".to_vec(),
            // Latin-1.
            description: b"Author: Andr\xe9\n".to_vec(),
            md5: Md5([3; 16]),
            binary_target: None,
            readme: Some((Sha256([4; 32]), 12)),
            project_file: None,
            pending_writes: Vec::new(),
            received_at: Timestamp(5),
        }
    }

    #[track_caller]
    fn assert_same(one: &StagedUpload, other: &StagedUpload) {
        assert_eq!(format!("{one:?}"), format!("{other:?}"));
    }

    #[test]
    fn an_upload_is_read_back_from_its_row() {
        let target = BinaryTarget {
            r: RMinor { major: 4, minor: 5 },
            system: TargetSystem::Windows,
            arch: Some(Arch::X86_64),
        };
        let binary = StagedUpload { readme: None, binary_target: Some(target), ..source() };
        let any = BinaryTarget { system: TargetSystem::Unix, arch: None, ..target };
        let portable = StagedUpload { readme: None, binary_target: Some(any), ..source() };
        let file = StagedProjectFile {
            language: Language::Python,
            facts: br#"{"rp":">=3.9"}"#.to_vec(),
            metadata: Some((Sha256([6; 32]), 99)),
            attached: AttachedFiles::default(),
        };
        let wheel = StagedUpload { readme: None, project_file: Some(file.clone()), ..source() };
        let bare = StagedProjectFile { facts: Vec::new(), ..file.clone() };
        let bare = StagedUpload { readme: None, project_file: Some(bare), ..source() };
        let stored = encode(&wheel, "ann").facts;
        let end = br#","python":{"facts":{"rp":">=3.9"},"metadata":99}}"#;
        assert!(stored.ends_with(end), "{}", String::from_utf8_lossy(&stored));
        let sdist = StagedUpload {
            project_file: Some(StagedProjectFile { metadata: None, ..file }),
            readme: None,
            ..source()
        };
        for (staged, kind) in [
            (source(), "source"),
            (binary, "binary"),
            (portable, "binary"),
            (wheel, "python"),
            (sdist, "python"),
            (bare, "python"),
        ] {
            let row = encode(&staged, "ann");
            assert_eq!((row.kind.as_str(), row.owner.as_str(), row.id), (kind, "ann", 7));
            assert_same(&decode(&row, Timestamp(5)).expect("facts of this version"), &staged);
        }
    }

    #[test]
    fn facts_of_another_version_are_not_an_upload() {
        let row = encode(&source(), "ann");
        for facts in [&b""[..], b"{}", b"[1]", b"\xff"] {
            assert!(decode(&UploadRow { facts: facts.to_vec(), ..row.clone() }, Timestamp(0)).is_none());
        }
    }
}
