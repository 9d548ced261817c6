//! A first download and those that follow.

use rstudio_pm::bundle::{Product, Record};
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::upstream::bundle::BundleError;
use sha2::Digest;

use crate::support::downloader::{
    bundle, get_cran, got_cran, is_whole, mirror, objects, odd, read, reader, tree,
};
use crate::support::mirror_dir::Shelf;
use crate::support::upstream::Upstream;
use crate::support::{data, mirror_dir};

#[tokio::test]
async fn a_real_mirror_becomes_a_bundle_with_everything_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = data::path("cran-mirror");
    let url = mirror_dir::file_url(&mirror.canonicalize().unwrap());
    let told = got_cran(&url, dir.path(), &[]);
    assert!(told.contains("Performing full download of schema version v3"), "{told}");
    is_whole(dir.path());
    let (verified, records, state) = read(dir.path(), &Product::Cran).await;
    let cran = data::cran();
    let (listed, archived) = cran.counts();
    assert_eq!(
        (verified.head.packages, state.listed(), state.releases().count()),
        (listed, listed, listed + archived)
    );
    assert_eq!(std::fs::read(dir.path().join("v3/version.txt")).unwrap(), b"3\n");
    let vers: Vec<_> =
        records.iter().filter_map(|r| if let Record::Ver(ver) = r { Some(ver) } else { None }).collect();
    let r6 = vers.iter().find(|ver| ver.name == "R6" && ver.version == cran.version("R6")).expect("R6");
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
    // Its README can be had.
    let bundle = reader(dir.path());
    let mut readmes = Vec::new();
    for segment in verified.since(0) {
        readmes.extend(bundle.readmes(&Product::Cran, segment).await.unwrap());
    }
    let named = r6.readme.as_ref().expect("a README");
    assert!(readmes.iter().any(|readme| readme.sha256 == named.sha256 && readme.text.contains("R6")));
    // Releases come in the order of their days.
    assert!(vers.windows(2).all(|pair| pair[0].day <= pair[1].day));
}

#[tokio::test]
async fn a_second_run_fetches_only_what_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = mirror(dir.path(), &[("alpha", "1.0", "2020-01-01"), ("beta", "1.0", "2020-02-01")]);
    let to = odd(dir.path());
    let upstream = Upstream::of(&shelf.root);
    got_cran(&upstream.url(), &to, &[]);
    is_whole(&to);
    upstream.asked();
    let told = got_cran(&upstream.url(), &to, &[]);
    assert!(
        told.contains("Performing incremental download after ") && told.contains("nothing is new"),
        "{told}"
    );
    assert!(upstream.asked().iter().all(|asked| !asked.path.ends_with(".tar.gz")));
    let (first, before) = (read(&to, &Product::Cran).await.0, tree(&to));
    shelf.simple("alpha", "1.1", "2020-03-01");
    shelf.archive("beta", "2020-03-02");
    shelf.write();
    let upstream = Upstream::of(&shelf.root);
    got_cran(&upstream.url(), &to, &[]);
    let fetched: Vec<String> = upstream
        .asked()
        .into_iter()
        .map(|asked| asked.path)
        .filter(|path| path.ends_with(".tar.gz"))
        .collect();
    assert_eq!(fetched, ["src/contrib/alpha_1.1.tar.gz"]);
    is_whole(&to);
    let (second, _, state) = read(&to, &Product::Cran).await;
    assert_eq!(state.listing(), shelf.listing());
    assert_eq!(second.since(first.head.serial).len(), 1);
    // Nothing that was written is written again, but for heads.
    let after = tree(&to);
    let is_head = |path: &str| path.ends_with("head.json") || path.contains("/heads/");
    for (path, bytes) in before.iter().filter(|(path, _)| !is_head(path) && !path.contains("/.")) {
        assert_eq!(after.get(path), Some(bytes), "{path}");
    }
}

#[tokio::test]
async fn days_of_the_past_are_told_by_times_and_notes() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::new(dir.path().join("mirror"));
    shelf.simple("alpha", "1.0", "2020-01-01");
    shelf.simple("alpha", "1.1", "2020-03-01");
    shelf.simple("beta", "1.0", "2020-02-01");
    shelf.archive("beta", "2020-02-20");
    shelf.write();
    let to = bundle(dir.path(), &shelf);
    let (_, records, _) = read(&to, &Product::Cran).await;
    let told: Vec<String> = records
        .iter()
        .map(|record| match record {
            Record::Ver(ver) => format!("{} {} {}", ver.day, ver.name, ver.version),
            Record::Archive(event) => format!("{} -{}", event.day, event.name),
            Record::Snapshot(_) => "end".to_owned(),
            other => format!("{other:?}"),
        })
        .collect();
    let expected =
        ["2020-01-01 alpha 1.0", "2020-02-01 beta 1.0", "2020-02-20 -beta", "2020-03-01 alpha 1.1", "end"];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_version_published_twice_is_kept_twice() {
    use crate::support::tarball::Tarball;
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = mirror(dir.path(), &[("alpha", "1.0", "2020-01-01")]);
    let to = bundle(dir.path(), &shelf);
    shelf.publish(&Tarball::new("alpha", "1.0").with("README.md", "# other\n"), "2020-05-01");
    shelf.write();
    got_cran(&shelf.url(), &to, &[]);
    is_whole(&to);
    let (_, _, state) = read(&to, &Product::Cran).await;
    assert_eq!(
        (state.listing(), state.releases().count(), objects(&to).len()),
        (vec!["alpha 1.0".to_owned()], 2, 2)
    );
    let listed = state.package("", "alpha").and_then(|package| package.listed()).expect("listed");
    assert_eq!(listed.published.map(|at| at.day().to_string()), Some("2020-05-01".to_owned()));
}

#[test]
fn a_dry_run_tells_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = mirror(dir.path(), &[("alpha", "1.0", "2020-01-01"), ("alpha", "1.1", "2020-01-02")]);
    let to = dir.path().join("bundle");
    let told = got_cran(&shelf.url(), &to, &["--dryrun"]);
    assert!(told.contains("2 files, ") && told.contains("would be fetched; 0 already exist"), "{told}");
    assert!(!to.exists());
    got_cran(&shelf.url(), &to, &[]);
    let before = tree(&to);
    shelf.simple("beta", "1.0", "2020-01-03");
    shelf.write();
    let told = got_cran(&shelf.url(), &to, &["--dryrun"]);
    assert!(told.contains("1 files, ") && told.contains("2 already exist"), "{told}");
    assert_eq!(tree(&to), before);
}

#[test]
fn quiet_says_nothing_when_all_is_well() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = mirror(dir.path(), &[("alpha", "1.0", "2020-01-01")]);
    let ended = get_cran(&shelf.url(), &dir.path().join("bundle"), &["-q"]);
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(0), "", ""));
}

#[tokio::test]
async fn rules_and_distributions_lie_beside_the_packages() {
    use crate::support::rules;
    use rstudio_pm::bundle::shared::SharedFolder;
    let dir = tempfile::tempdir().unwrap();
    let shelf = mirror(dir.path(), &[("alpha", "1.0", "2020-01-01")]);
    rules::folder(&dir.path().join("rules"), &["libcurl"]);
    let to = dir.path().join("bundle");
    let rules_url = mirror_dir::file_url(&dir.path().join("rules"));
    got_cran(&shelf.url(), &to, &["--requirements-url", &rules_url]);
    is_whole(&to);
    let bundle = reader(&to);
    let head = bundle.shared(SharedFolder::Requirements).await.unwrap().expect("rules");
    let text = bundle.shared_file(SharedFolder::Requirements, &head.files["rules"]).await.unwrap();
    let base = rstudio_pm::r::sysreqs::RuleBase::from_document(&text).unwrap();
    assert!(base.rules.contains_key("libcurl"));
    let head = bundle.shared(SharedFolder::Distributions).await.unwrap().expect("distributions");
    let text = bundle.shared_file(SharedFolder::Distributions, &head.files["distros"]).await.unwrap();
    assert!(String::from_utf8(text).unwrap().contains("\"noble\""));
    // The same again changes nothing, and rules that cannot be had are told and keep what is there.
    let before = tree(&to);
    got_cran(&shelf.url(), &to, &["--requirements-url", &rules_url]);
    assert_eq!(tree(&to), before);
    let ended = get_cran(&shelf.url(), &to, &["--requirements-url", "file:///nowhere/rules"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("--requirements-url"), "{}", ended.err);
    assert_eq!(tree(&to), before);
}

#[tokio::test]
async fn a_bundle_that_is_not_there_says_what_was_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let error = reader(dir.path()).head(&Product::Cran).await.expect_err("nothing");
    assert!(matches!(&error, BundleError::Absent { file, .. } if file == "v3/1/head.json"), "{error}");
    assert!(!reader(dir.path()).has(&Product::Cran).await.unwrap());
}

#[test]
fn old_schemas_are_left_alone_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = mirror(dir.path(), &[("alpha", "1.0", "2020-01-01")]);
    let to = dir.path().join("bundle");
    for old in ["v2/old", "bioc/v3/old", "v9/new"] {
        std::fs::create_dir_all(to.join(old).parent().unwrap()).unwrap();
        std::fs::write(to.join(old), "x").unwrap();
    }
    let told = got_cran(&shelf.url(), &to, &[]);
    assert!(told.contains("/v2 is of an older schema and can be removed"), "{told}");
    assert!(
        told.contains("/bioc/v3 is of an older schema and can be removed") && !told.contains("/v9 is"),
        "{told}"
    );
    assert!(to.join("v2/old").exists() && to.join("bioc/v3/old").exists());
    is_whole(&to);
}
