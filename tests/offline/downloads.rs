//! First and later downloads of CRAN.

use rstudio_pm::bundle::{Product, Record};
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::upstream::origin::bundle::BundleError;
use sha2::Digest;

use crate::support::downloader::{
    assert_complete, bundle, create_mirror, get_cran, must_get_cran, objects, open_bundle, path_with_spaces,
    read, tree,
};
use crate::support::mirror_dir::MirrorDir;
use crate::support::upstream::Upstream;
use crate::support::{data, mirror_dir};

#[tokio::test]
async fn a_bundle_of_a_real_mirror_has_all_its_packages() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = data::path("cran-mirror");
    let url = mirror_dir::file_url(&mirror.canonicalize().unwrap());
    let output = must_get_cran(&url, dir.path(), &[]);
    assert!(output.contains("Performing full download of schema version v3"), "{output}");
    assert_complete(dir.path());
    let (verified_head, records, state) = read(dir.path(), &Product::Cran).await;
    let cran = data::cran();
    let (listed_count, archived_count) = cran.counts();
    assert_eq!(
        (verified_head.head.packages, state.listed_count(), state.releases().count()),
        (listed_count, listed_count, listed_count + archived_count)
    );
    assert_eq!(std::fs::read(dir.path().join("v3/version.txt")).unwrap(), b"3\n");
    let releases: Vec<_> = records
        .iter()
        .filter_map(|r| if let Record::Release(release) = r { Some(release) } else { None })
        .collect();
    let r6 = releases
        .iter()
        .find(|release| release.name == "R6" && release.version == cran.version("R6"))
        .expect("R6");
    assert_eq!(r6.day.to_string(), "2025-02-15");
    let desc = r6.desc.as_ref().expect("a DESCRIPTION");
    assert_eq!((desc.get("Package"), desc.get("Encoding")), (Some("R6"), Some("UTF-8")));
    assert!(r6.index.as_ref().is_some_and(|index| index.contains("MD5sum: ")));
    // The bytes are the mirror's.
    let path = dir.path().join(Product::Cran.object_path(r6.obj.sha256, &r6.obj.ext));
    let bytes = std::fs::read(mirror.join("src/contrib").join(cran.file("R6"))).unwrap();
    assert_eq!(
        (std::fs::read(&path).unwrap(), Sha256(sha2::Sha256::digest(&bytes).into())),
        (bytes, r6.obj.sha256)
    );
    // Its README is in the bundle.
    let bundle = open_bundle(dir.path());
    let mut readmes = Vec::new();
    for segment in verified_head.since(0) {
        readmes.extend(bundle.readmes(&Product::Cran, segment).await.unwrap());
    }
    let expected = r6.readme.as_ref().expect("a README");
    assert!(readmes.iter().any(|readme| readme.sha256 == expected.sha256 && readme.text.contains("R6")));
    // Releases are in the order of their days.
    assert!(releases.windows(2).all(|pair| pair[0].day <= pair[1].day));
}

#[tokio::test]
async fn a_second_run_fetches_only_new_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror =
        create_mirror(dir.path(), &[("alpha", "1.0", "2020-01-01"), ("beta", "1.0", "2020-02-01")]);
    let destination = path_with_spaces(dir.path());
    let upstream = Upstream::of(&mirror.root);
    must_get_cran(&upstream.url(), &destination, &[]);
    assert_complete(&destination);
    upstream.take_requests();
    let output = must_get_cran(&upstream.url(), &destination, &[]);
    assert!(
        output.contains("Performing incremental download after ") && output.contains("nothing is new"),
        "{output}"
    );
    assert!(upstream.take_requests().iter().all(|request| !request.path.ends_with(".tar.gz")));
    let (first_head, tree_before) = (read(&destination, &Product::Cran).await.0, tree(&destination));
    mirror.simple("alpha", "1.1", "2020-03-01");
    mirror.archive("beta", "2020-03-02");
    mirror.write();
    let upstream = Upstream::of(&mirror.root);
    must_get_cran(&upstream.url(), &destination, &[]);
    let fetched_paths: Vec<String> = upstream
        .take_requests()
        .into_iter()
        .map(|request| request.path)
        .filter(|path| path.ends_with(".tar.gz"))
        .collect();
    assert_eq!(fetched_paths, ["src/contrib/alpha_1.1.tar.gz"]);
    assert_complete(&destination);
    let (second_head, _, state) = read(&destination, &Product::Cran).await;
    assert_eq!(state.listing(), mirror.listing());
    assert_eq!(second_head.since(first_head.head.serial).len(), 1);
    // Existing files are not changed, except heads.
    let tree_after = tree(&destination);
    let is_head = |path: &str| path.ends_with("head.json") || path.contains("/heads/");
    for (path, bytes) in tree_before.iter().filter(|(path, _)| !is_head(path) && !path.contains("/.")) {
        assert_eq!(tree_after.get(path), Some(bytes), "{path}");
    }
}

#[tokio::test]
async fn days_of_events_are_those_of_file_times_and_packages_in() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = MirrorDir::new(dir.path().join("mirror"));
    mirror.simple("alpha", "1.0", "2020-01-01");
    mirror.simple("alpha", "1.1", "2020-03-01");
    mirror.simple("beta", "1.0", "2020-02-01");
    mirror.archive("beta", "2020-02-20");
    mirror.write();
    let destination = bundle(dir.path(), &mirror);
    let (_, records, _) = read(&destination, &Product::Cran).await;
    let events: Vec<String> = records
        .iter()
        .map(|record| match record {
            Record::Release(release) => format!("{} {} {}", release.day, release.name, release.version),
            Record::Archive(event) => format!("{} -{}", event.day, event.name),
            Record::Snapshot(_) => "end".to_owned(),
            other => format!("{other:?}"),
        })
        .collect();
    let expected =
        ["2020-01-01 alpha 1.0", "2020-02-01 beta 1.0", "2020-02-20 -beta", "2020-03-01 alpha 1.1", "end"];
    assert_eq!(events, expected);
}

#[tokio::test]
async fn a_version_published_twice_is_stored_twice() {
    use crate::support::tarball::Tarball;
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = create_mirror(dir.path(), &[("alpha", "1.0", "2020-01-01")]);
    let destination = bundle(dir.path(), &mirror);
    mirror.publish(&Tarball::new("alpha", "1.0").with("README.md", "# other\n"), "2020-05-01");
    mirror.write();
    must_get_cran(&mirror.url(), &destination, &[]);
    assert_complete(&destination);
    let (_, _, state) = read(&destination, &Product::Cran).await;
    assert_eq!(
        (state.listing(), state.releases().count(), objects(&destination).len()),
        (vec!["alpha 1.0".to_owned()], 2, 2)
    );
    let release = state.package("", "alpha").and_then(|package| package.listed_release()).expect("listed");
    assert_eq!(release.published.map(|time| time.day().to_string()), Some("2020-05-01".to_owned()));
}

#[test]
fn a_dry_run_reports_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror =
        create_mirror(dir.path(), &[("alpha", "1.0", "2020-01-01"), ("alpha", "1.1", "2020-01-02")]);
    let destination = dir.path().join("bundle");
    let output = must_get_cran(&mirror.url(), &destination, &["--dryrun"]);
    assert!(output.contains("2 files, ") && output.contains("would be fetched; 0 already exist"), "{output}");
    assert!(!destination.exists());
    must_get_cran(&mirror.url(), &destination, &[]);
    let tree_before = tree(&destination);
    mirror.simple("beta", "1.0", "2020-01-03");
    mirror.write();
    let output = must_get_cran(&mirror.url(), &destination, &["--dryrun"]);
    assert!(output.contains("1 files, ") && output.contains("2 already exist"), "{output}");
    assert_eq!(tree(&destination), tree_before);
}

#[test]
fn quiet_prints_nothing_without_errors() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = create_mirror(dir.path(), &[("alpha", "1.0", "2020-01-01")]);
    let result = get_cran(&mirror.url(), &dir.path().join("bundle"), &["-q"]);
    assert_eq!((result.code, result.out.as_str(), result.err.as_str()), (Some(0), "", ""));
}

#[tokio::test]
async fn rules_and_distributions_are_in_the_bundle() {
    use crate::support::rules;
    use rstudio_pm::bundle::shared::SharedFolder;
    let dir = tempfile::tempdir().unwrap();
    let mirror = create_mirror(dir.path(), &[("alpha", "1.0", "2020-01-01")]);
    rules::folder(&dir.path().join("rules"), &["libcurl"]);
    let destination = dir.path().join("bundle");
    let rules_url = mirror_dir::file_url(&dir.path().join("rules"));
    must_get_cran(&mirror.url(), &destination, &["--requirements-url", &rules_url]);
    assert_complete(&destination);
    let bundle = open_bundle(&destination);
    let head = bundle.shared_head(SharedFolder::Requirements).await.unwrap().expect("rules");
    let text = bundle.shared_file(SharedFolder::Requirements, &head.files["rules"]).await.unwrap();
    let base = rstudio_pm::r::sysreqs::RuleBase::from_document(&text).unwrap();
    assert!(base.rules.contains_key("libcurl"));
    let head = bundle.shared_head(SharedFolder::Distributions).await.unwrap().expect("distributions");
    let text = bundle.shared_file(SharedFolder::Distributions, &head.files["distros"]).await.unwrap();
    assert!(String::from_utf8(text).unwrap().contains("\"noble\""));
    // A repeated run changes nothing; rules that cannot be fetched are reported and do not change the bundle.
    let tree_before = tree(&destination);
    must_get_cran(&mirror.url(), &destination, &["--requirements-url", &rules_url]);
    assert_eq!(tree(&destination), tree_before);
    let result = get_cran(&mirror.url(), &destination, &["--requirements-url", "file:///nowhere/rules"]);
    assert_eq!(result.code, Some(1));
    assert!(result.err.contains("--requirements-url"), "{}", result.err);
    assert_eq!(tree(&destination), tree_before);
}

#[tokio::test]
async fn the_error_of_a_missing_bundle_names_the_missing_file() {
    let dir = tempfile::tempdir().unwrap();
    let error = open_bundle(dir.path()).head(&Product::Cran).await.expect_err("nothing");
    assert!(matches!(&error, BundleError::Absent { file, .. } if file == "v3/1/head.json"), "{error}");
    assert!(!open_bundle(dir.path()).has(&Product::Cran).await.unwrap());
}

#[test]
fn old_schemas_are_reported_and_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = create_mirror(dir.path(), &[("alpha", "1.0", "2020-01-01")]);
    let destination = dir.path().join("bundle");
    for old in ["v2/old", "bioc/v3/old", "v9/new"] {
        std::fs::create_dir_all(destination.join(old).parent().unwrap()).unwrap();
        std::fs::write(destination.join(old), "x").unwrap();
    }
    let output = must_get_cran(&mirror.url(), &destination, &[]);
    assert!(output.contains("/v2 is of an older schema and can be removed"), "{output}");
    assert!(
        output.contains("/bioc/v3 is of an older schema and can be removed") && !output.contains("/v9 is"),
        "{output}"
    );
    assert!(destination.join("v2/old").exists() && destination.join("bioc/v3/old").exists());
    assert_complete(&destination);
}

#[test]
fn requests_name_the_program_its_version_and_the_contact() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Upstream::of(&create_mirror(dir.path(), &[("alpha", "1.0", "2020-01-01")]).root);
    let program = concat!("rspm-offline-downloader/", env!("CARGO_PKG_VERSION"));
    for (number, (flags, agent)) in [
        (&[][..], program.to_owned()),
        (&["--contact", "packages@example.org"][..], format!("{program} (packages@example.org)")),
    ]
    .into_iter()
    .enumerate()
    {
        must_get_cran(&upstream.url(), &dir.path().join(number.to_string()), flags);
        let requests = upstream.take_requests();
        let agents: Vec<&str> =
            requests.iter().map(|request| request.headers["user-agent"].as_str()).collect();
        assert!(!agents.is_empty() && agents.iter().all(|other| *other == agent), "{agent}: {agents:?}");
    }
    let refused = get_cran(&upstream.url(), &dir.path().join("refused"), &["--contact", "our team"]);
    assert!(refused.code == Some(2) && refused.err.contains("email address or a URL"), "{}", refused.err);
}
