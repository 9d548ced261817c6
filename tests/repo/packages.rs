//! Adding packages to local sources and removing them.

use futures_util::StreamExt;
use rstudio_pm::edit::{self, AddStatus, OnExisting, RemoveScope};
use rstudio_pm::r::layout::IndexFormat;
use rstudio_pm::serve::r::document::RDocument;
use rstudio_pm::serve::{self, RepoError};

use sha2::Digest;

use super::{archive_names, index, listing, point};
use crate::support::backend::{Backend, actor};
use crate::support::tarball::Tarball;

async fn team() -> Backend {
    let backend = Backend::new().await;
    backend.create_local_source("team").await;
    backend.create_repository("all", &["team"]).await;
    backend
}

#[tokio::test]
async fn an_added_package_is_in_the_next_index() {
    let backend = team().await;
    backend.add("team", "alpha", "1.0").await;
    assert_eq!(listing(&backend, "all", "latest").await, "alpha 1.0");
    backend.add("team", "Beta", "0.1-2").await;
    backend.add("team", "gamma", "2.0").await;
    let text = index(&backend, "all", "latest", RDocument::Packages(IndexFormat::Text)).await.bytes;
    let text = String::from_utf8(text.to_vec()).expect("text");
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("Package: ")).collect();
    assert_eq!(names, ["alpha", "Beta", "gamma"]);
    assert!(text.contains("SHA256: ") && text.contains("Filesize: ") && text.contains("MD5sum: "), "{text}");
}

#[tokio::test]
async fn a_higher_version_moves_the_lower_one_to_the_archive() {
    let backend = team().await;
    backend.add("team", "alpha", "1.9").await;
    backend.add("team", "alpha", "1.10").await;
    assert_eq!(listing(&backend, "all", "latest").await, "alpha 1.10");
    assert_eq!(archive_names(&backend, "all", "latest").await, ["alpha/alpha_1.9.tar.gz"]);
}

#[tokio::test]
async fn an_older_version_is_added_to_the_archive() {
    let backend = team().await;
    backend.add("team", "alpha", "2.0").await;
    backend.add("team", "alpha", "1.0").await;
    assert_eq!(listing(&backend, "all", "latest").await, "alpha 2.0");
    assert_eq!(archive_names(&backend, "all", "latest").await, ["alpha/alpha_1.0.tar.gz"]);
}

#[tokio::test]
async fn several_versions_in_one_call_are_one_transaction() {
    let backend = team().await;
    let versions = ["1.0", "3.0", "2.0"].map(|version| Tarball::new("alpha", version));
    let old_count = backend.state.catalog.get().transactions.len();
    let statuses = backend.try_add("team", &versions, OnExisting::Fail).await.expect("added");
    assert_eq!(statuses, [AddStatus::New; 3]);
    assert_eq!(backend.state.catalog.get().transactions.len(), old_count + 1);
    assert_eq!(listing(&backend, "all", "latest").await, "alpha 3.0");
    assert_eq!(
        archive_names(&backend, "all", "latest").await,
        ["alpha/alpha_1.0.tar.gz", "alpha/alpha_2.0.tar.gz"]
    );
}

#[tokio::test]
async fn an_existing_version_is_refused_kept_or_replaced_as_requested() {
    let backend = team().await;
    backend.add("team", "alpha", "1.0").await;
    let tarballs = [Tarball::new("alpha", "1.0").with("NEWS", "other bytes"), Tarball::new("beta", "1.0")];
    let refusal =
        backend.try_add("team", &tarballs, OnExisting::Fail).await.expect_err("refused").to_string();
    assert!(refusal.contains("alpha 1.0 is in the source 'team' already"), "{refusal}");
    assert_eq!(listing(&backend, "all", "latest").await, "alpha 1.0", "nothing of a refused call is added");

    let old_content = index(&backend, "all", "latest", RDocument::Packages(IndexFormat::Text)).await.content;
    let statuses = backend.try_add("team", &tarballs[..1], OnExisting::Succeed).await.expect("unchanged");
    assert_eq!(statuses, [AddStatus::Existing]);
    assert_eq!(
        index(&backend, "all", "latest", RDocument::Packages(IndexFormat::Text)).await.content,
        old_content
    );

    let statuses = backend.try_add("team", &tarballs, OnExisting::Replace).await.expect("replaced");
    assert_eq!(statuses, [AddStatus::Replaced, AddStatus::New]);
    assert_ne!(
        index(&backend, "all", "latest", RDocument::Packages(IndexFormat::Text)).await.content,
        old_content
    );
    assert_eq!(listing(&backend, "all", "latest").await, "alpha 1.0, beta 1.0");
    assert!(archive_names(&backend, "all", "latest").await.is_empty());
    let statuses = backend.try_add("team", &tarballs, OnExisting::Replace).await.expect("the same bytes");
    assert_eq!(statuses, [AddStatus::Existing; 2]);
}

#[tokio::test]
async fn the_same_version_twice_in_one_call_is_added_in_order() {
    let backend = team().await;
    let same_version_twice = [Tarball::new("alpha", "1.0"), Tarball::new("alpha", "1.0").with("NEWS", "x")];
    assert!(matches!(
        backend.try_add("team", &same_version_twice, OnExisting::Fail).await,
        Err(RepoError::Conflict(_))
    ));
    let statuses = backend
        .try_add("team", &same_version_twice, OnExisting::Replace)
        .await
        .expect("the last one replaces the others");
    assert_eq!(statuses, [AddStatus::New, AddStatus::Replaced]);
    let last = backend.upload(&same_version_twice[1]).await.expect("an upload").sha256.to_string();
    let text = index(&backend, "all", "latest", RDocument::Packages(IndexFormat::Text)).await.bytes;
    assert!(String::from_utf8_lossy(&text).contains(&last));
}

#[tokio::test]
async fn a_removal_follows_its_scope_and_lists_the_next_lower_version() {
    let backend = team().await;
    for version in ["1.0", "1.1", "2.0"] {
        backend.add("team", "alpha", version).await;
    }
    let remove =
        |scope: RemoveScope| edit::remove::remove(&backend.state, "team", "alpha", scope, "why", &ACTOR);
    static ACTOR: std::sync::LazyLock<rstudio_pm::edit::Actor> = std::sync::LazyLock::new(actor);
    assert_eq!(remove(RemoveScope::Current).await.expect("removed"), ["2.0"]);
    assert_eq!(listing(&backend, "all", "latest").await, "alpha 1.1");
    assert_eq!(archive_names(&backend, "all", "latest").await, ["alpha/alpha_1.0.tar.gz"]);
    let error = remove(RemoveScope::Version("9.9".to_owned())).await.expect_err("missing").to_string();
    assert_eq!(error, "the source 'team' has no alpha 9.9; it has 1.1, 1.0");
    assert_eq!(remove(RemoveScope::Version("1.0".to_owned())).await.expect("removed"), ["1.0"]);
    assert_eq!(listing(&backend, "all", "latest").await, "alpha 1.1");
    backend.add("team", "alpha", "1.0").await;
    assert_eq!(remove(RemoveScope::All).await.expect("removed"), ["1.1", "1.0"]);
    assert_eq!(listing(&backend, "all", "latest").await, "");
    let error = remove(RemoveScope::All).await.expect_err("gone").to_string();
    assert_eq!(error, "the source 'team' has no package 'alpha'; rspm list packages --source=team shows all");
}

#[tokio::test]
async fn a_removed_package_that_is_added_again_is_the_same_release() {
    let backend = team().await;
    backend.add("team", "alpha", "1.0").await;
    let old_point = point(&backend, "all", "latest").await;
    let release = serve::info::package(&backend.repositories, &old_point, "alpha", None)
        .await
        .expect("alpha")
        .release
        .id;
    edit::remove::remove(&backend.state, "team", "alpha", RemoveScope::All, "", &actor())
        .await
        .expect("removed");
    backend.add("team", "alpha", "1.0").await;
    let new_point = point(&backend, "all", "latest").await;
    assert_eq!(
        serve::info::package(&backend.repositories, &new_point, "alpha", None)
            .await
            .expect("alpha")
            .release
            .id,
        release
    );
    edit::remove::remove(&backend.state, "team", "alpha", RemoveScope::All, "", &actor())
        .await
        .expect("removed");
    let other = [Tarball::new("alpha", "1.0").with("NEWS", "x")];
    backend.try_add("team", &other, OnExisting::Fail).await.expect("added");
    let other = point(&backend, "all", "latest").await;
    assert_ne!(
        serve::info::package(&backend.repositories, &other, "alpha", None).await.expect("alpha").release.id,
        release
    );
}

#[tokio::test]
async fn package_details_contain_description_readme_and_other_versions() {
    let backend = team().await;
    backend.add("team", "alpha", "1.0").await;
    let tarball = Tarball::new("alpha", "2.0").with("README.md", "# alpha\n").field("Imports: stats");
    backend.try_add("team", &[tarball], OnExisting::Fail).await.expect("added");
    let latest = point(&backend, "all", "latest").await;
    let detail = serve::info::package(&backend.repositories, &latest, "alpha", None).await.expect("alpha");
    assert_eq!(detail.release.version, "2.0");
    assert_eq!(detail.readme.as_deref(), Some(&b"# alpha\n"[..]));
    let description = String::from_utf8_lossy(&detail.description).into_owned();
    assert!(
        description.contains("Imports: stats") && description.contains("Repository: RSPM"),
        "{description}"
    );
    assert_eq!(
        detail.others.iter().map(|r| (r.version.as_str(), r.archived)).collect::<Vec<_>>(),
        [("1.0", true)]
    );
    let old_detail =
        serve::info::package(&backend.repositories, &latest, "alpha", Some("1.0")).await.expect("alpha 1.0");
    assert!(old_detail.release.archived && !old_detail.description.is_empty());
    let error =
        serve::info::package(&backend.repositories, &latest, "omega", None).await.expect_err("missing");
    assert_eq!(error.to_string(), "Package 'omega' not found");
}

#[tokio::test]
async fn only_local_sources_accept_packages_and_unknown_uploads_are_refused_by_number() {
    let backend = team().await;
    let upload = backend.upload(&Tarball::new("alpha", "1.0")).await.expect("an upload");
    let error = edit::add::add(&backend.uploads, "cran", &[upload.id], OnExisting::Fail, &actor())
        .await
        .expect_err("refused");
    assert_eq!(
        error.to_string(),
        "only local sources can be changed by hand; 'cran' is built in and filled by rspm sync --type=cran"
    );
    let error = edit::add::add(&backend.uploads, "team", &[upload.id, 77], OnExisting::Fail, &actor())
        .await
        .expect_err("refused");
    assert_eq!(
        error.to_string(),
        "there is no upload 77; uploads expire after one hour: upload the file again"
    );
    backend.advance_to_noon("2024-03-02");
    let error = edit::add::add(&backend.uploads, "team", &[upload.id], OnExisting::Fail, &actor())
        .await
        .expect_err("too late");
    assert!(matches!(error, RepoError::NoUpload(_)), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_source_package_is_refused_with_the_reason() {
    let backend = team().await;
    for (tarball, reason) in [
        (Tarball::new("alpha", "1.0").field("Built: R 4.2.2; ; 2024-01-01 00:00:00 UTC; unix"), "binary"),
        (Tarball::new("alpha", "1.0").with("../../evil", "x"), "evil"),
        (Tarball { version: "one".to_owned(), ..Tarball::new("alpha", "1.0") }, "one"),
    ] {
        let refusal = backend.upload(&tarball).await.expect_err(reason);
        assert!(matches!(refusal, RepoError::Invalid(_)), "{refusal}");
        assert!(
            refusal.to_string().contains("is refused") && refusal.to_string().contains(reason),
            "{refusal}"
        );
    }
}

#[tokio::test]
async fn an_upload_in_pieces_of_any_size_is_stored_as_sent() {
    let backend = team().await;
    let mut objects = Vec::new();
    for (noise, piece) in [(10, 100), (10, 1 << 20), (1 << 20, 1000), (1 << 20, 700_000), (1 << 20, 2 << 20)]
    {
        let mut state = 1_u64;
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        let mut tarball = Tarball::new("large", "1.0");
        tarball.files.push(("inst/noise".to_owned(), (0..noise).map(next).collect()));
        let bytes = tarball.bytes();
        assert!(bytes.len() > noise, "it cannot be compressed");
        let pieces: Vec<_> = bytes.chunks(piece).map(|piece| Ok(piece.to_vec().into())).collect();
        let body = futures_util::stream::iter(pieces).boxed();
        let upload =
            edit::upload::receive(&backend.uploads, "large_1.0.tar.gz", body, edit::UploadKind::Source)
                .await
                .expect("a package");
        let digest: [u8; 32] = sha2::Sha256::digest(&bytes).into();
        assert_eq!((upload.original.0, upload.package.as_str()), (digest, "large"));
        objects.push((noise, upload.sha256));
    }
    objects.dedup();
    assert_eq!(objects.len(), 2, "the same bytes give the same object: {objects:?}");
}

#[tokio::test]
async fn a_description_that_r_refuses_is_refused_with_its_sentence() {
    let backend = team().await;
    for (field, sentence) in [
        ("Depends: R (>=3.5.0)", "Malformed Depends or Suggests or Imports or Enhances field"),
        ("Depends: R (>= 3.5", "Malformed Depends"),
        ("Imports: utils, stats (>=4)", "Offending entries: 'stats (>=4)'"),
        ("Priority: recommended", "Invalid Priority field"),
        ("# a comment", "not in valid DCF format"),
        ("\nPackage: second", "contains a blank line"),
        ("Note: zero\u{200b}width", "Unknown encoding"),
        ("Encoding: latin-1", "Unknown encoding 'latin-1'; save the file as UTF-8"),
        ("Depends: ,", "Malformed Depends or Suggests or Imports or Enhances field"),
        ("Imports: utils,\u{a0}stats", "Fields with non-ASCII values: Imports"),
    ] {
        let error =
            backend.upload(&Tarball::new("alpha", "1.0").field(field)).await.map(|upload| upload.file);
        let error = error.expect_err(field).to_string();
        assert!(error.contains(sentence) && error.contains("alpha_1.0.tar.gz"), "{field}: {error}");
    }
    for (package, version, sentence) in [
        ("stats", "9.9", "This is the name of a base package."),
        ("alpha", "0.1.0.20240115123456", "above 2147483647"),
    ] {
        let error = backend.upload(&Tarball::new(package, version)).await.map(|upload| upload.file);
        assert!(error.expect_err(package).to_string().contains(sentence), "{package}");
    }
    let accepted =
        ["Depends: R(>= 3.5.0)", "Depends: R (== 3.5)", "Depends: utils,", "Encoding: UTF-8\nNote: \u{200b}"];
    for (number, field) in accepted.into_iter().enumerate() {
        let tarball = Tarball::new(["NA", "NULL", "if", "MASS"][number], "1.2147483647").field(field);
        backend
            .try_add("team", &[tarball], OnExisting::Fail)
            .await
            .unwrap_or_else(|e| panic!("{field}: {e}"));
    }
}

#[tokio::test]
async fn stored_records_that_r_cannot_read_are_served_without_their_defect_and_reported_by_a_scrub() {
    use rstudio_pm::upkeep::scrub::{ScrubLevel, ScrubOptions};
    let backend = team().await;
    for package in ["alpha", "beta", "gamma"] {
        backend.add("team", package, "1.0").await;
    }
    let stanzas: [(&'static str, &[u8]); 2] = [
        ("alpha", b"Package: alpha\nVersion: 1.0\nDepends:\n .\n R (>=3.5.0), utils\nLicense: MIT\n"),
        ("beta", b"Package: beta\nVersion: 1.0.20240115123456\nLicense: MIT\n"),
    ];
    for (package, stanza) in stanzas {
        let write = backend.state.db.write(move |c| {
            c.execute(
                "UPDATE record SET stanza = $1 WHERE release_id IN \
                 (SELECT r.id FROM release r JOIN package p ON p.id = r.package_id WHERE p.name = $2)",
                &[stanza.into(), package.into()],
            )
        });
        assert_eq!(write.await.expect("written"), 1);
    }
    let text = index(&backend, "all", "latest", RDocument::Packages(IndexFormat::Text)).await.bytes;
    let text = String::from_utf8(text.to_vec()).expect("text");
    assert!(text.contains("Package: alpha\nVersion: 1.0\nDepends: R (>= 3.5.0), utils\n"), "{text}");
    assert!(text.contains("Package: gamma") && !text.contains("Package: beta"), "{text}");

    let result =
        super::scrub::run(&backend, ScrubOptions { level: ScrubLevel::Database, ..ScrubOptions::full() });
    let notes = result.await.notes.join("\n");
    for part in [
        "'alpha' 1.0 in the source 'team' requires 'R (>=3.5.0)'",
        "'beta' 1.0.20240115123456 in the source 'team' is not in the indexes",
        "rspm remove package --source=team --name=beta",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    assert!(!notes.contains("gamma"), "{notes}");
}
