//! Repositories of Bioconductor over HTTP: their paths, and the versions in the API and on the command line.

use std::path::Path;

use serde_json::json;
use sha2::Digest;

use crate::support::data;
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

fn server() -> Server {
    let mirror = data::path("bioc-mirror");
    let server =
        Builder::default().gcfg(&format!("[Bioconductor]\nURL = file://{}", mirror.display())).start();
    server.call("POST", "/repos", &json!({ "name": "bioc", "type": "bioconductor" }));
    server.sync_of("bioconductor").expect("a valid mirror");
    server
}

fn today() -> String {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}

#[test]
fn every_sub_repository_answers_with_a_snapshot_and_without() {
    let server = server();
    let real = |path: &str| std::fs::read(data::path("bioc-mirror").join(path)).expect("a file");
    for snapshot in ["".to_owned(), "/latest".to_owned(), format!("/{}", today()), "/2".to_owned()] {
        let at = |path: &str| server.get(&format!("/bioc{snapshot}/packages/{path}"));
        for (version, package) in [("3.16", "Biobase_2.58.0"), ("3.20", "Biobase_2.66.0")] {
            let index = at(&format!("{version}/bioc/src/contrib/PACKAGES"));
            assert_eq!(index.status, 200, "{snapshot} {version}: {}", index.text());
            let expected = format!("Version: {}\n", &package[8..]);
            assert!(index.text().contains(&expected), "{snapshot} {version}: {}", index.text());
            let path = format!("{version}/bioc/src/contrib/{package}.tar.gz");
            assert!(at(&path).body == real(&format!("packages/{path}")), "{snapshot} {path}");
        }
        for component in ["data/annotation", "data/experiment", "workflows", "books"] {
            for form in ["PACKAGES", "PACKAGES.gz", "PACKAGES.rds"] {
                assert_eq!(
                    at(&format!("3.20/{component}/src/contrib/{form}")).status,
                    200,
                    "{component}/{form}"
                );
            }
        }
        for (path, status) in [
            ("3.20/bioc/src/contrib/Biobase_2.58.0.tar.gz", 404),
            ("3.16/data/annotation/src/contrib/Biobase_2.58.0.tar.gz", 404),
            ("3.20/extra/src/contrib/PACKAGES", 404),
            ("3.19/bioc/src/contrib/PACKAGES", 404),
            ("3.20/container-binaries/bioconductor_docker/src/contrib/PACKAGES.rds", 404),
            ("3.20/bioc/bin/windows/contrib/4.4/PACKAGES", 200),
            ("3.20/bioc/bin/macosx/big-sur-arm64/contrib/4.4/PACKAGES.rds", 200),
            ("3.16/data/experiment/bin/macosx/contrib/4.2/PACKAGES.gz", 200),
        ] {
            assert_eq!(at(path).status, status, "{snapshot} {path}");
        }
    }
    let text = server.get("/bioc/packages/3.19/bioc/src/contrib/PACKAGES").text();
    assert!(
        text.contains("Bioconductor 3.19/bioc is not on this server") && !text.contains("rspm"),
        "{text}"
    );
    let answer = server.get("/bioc/latest/src/contrib/PACKAGES");
    assert!(answer.status == 404 && answer.text().contains("packages/3.20/bioc/"), "{}", answer.text());
    let answer = server.get("/bioc/2.0/packages/3.20/bioc/src/contrib/PACKAGES");
    assert!(answer.status == 404 && answer.text().contains("is not a snapshot"), "{}", answer.text());
    // A version that was frozen long before the first sync: all later days have the same content.
    let frozen = server.get("/bioc/2024-06-01/packages/3.16/bioc/src/contrib/PACKAGES");
    assert!(frozen.status == 200 && frozen.text().contains("Version: 2.58.0"), "{}", frozen.text());
    let early = server.get("/bioc/2023-01-01/packages/3.16/bioc/src/contrib/PACKAGES");
    assert!(early.status == 404 && early.text().contains("2023-04-26"), "{}", early.text());
}

#[test]
fn files_are_fetched_once_stored_and_served_in_ranges() {
    let folder = tempfile::tempdir().expect("a folder");
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .arg(data::path("bioc-mirror"))
        .arg(folder.path().join("mirror"))
        .status();
    assert!(copied.expect("cp runs").success());
    let mirror = folder.path().join("mirror");
    let server =
        Builder::default().gcfg(&format!("[Bioconductor]\nURL = file://{}", mirror.display())).start();
    server.call("POST", "/repos", &json!({ "name": "bioc", "type": "bioconductor" }));
    server.sync_of("bioconductor").expect("a valid mirror");
    let path = "/bioc/packages/3.20/bioc/src/contrib/Biobase_2.66.0.tar.gz";
    let first = server.get(path);
    assert_eq!((first.status, first.header("x-repository-type")), (200, Some("RSPM")));
    std::fs::remove_dir_all(mirror.join("packages/3.20")).expect("removed");
    assert!(server.get(path).body == first.body, "the file is stored");
    // No index of Bioconductor has sizes: ranges are answered once the file is recorded.
    let head = || http::request("HEAD", &server.url(path), &[], b"");
    until("the size is known", || head().header("content-length").is_some());
    let part = http::request("GET", &server.url(path), &[("Range", "bytes=10-19")], b"");
    assert_eq!((part.status, part.body), (206, first.body[10..20].to_vec()));
    let text = server.sync_of("bioconductor").expect_err("3.20 is missing");
    assert!(text.contains("Bioconductor 3.20 is unchanged"), "{text}");
    assert_eq!(server.get("/bioc/packages/3.20/bioc/src/contrib/PACKAGES").status, 200);
    assert_eq!(server.get("/bioc/packages/3.16/bioc/src/contrib/XVector_0.38.0.tar.gz").status, 200);
}

#[test]
fn config_yaml_has_the_fields_that_clients_read_and_is_served_for_a_day() {
    let server = server();
    let answer = server.get("/bioc/config.yaml");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    let text = answer.text();
    assert_eq!(server.get("/bioc/latest/config.yaml").text(), text);
    let lines: Vec<&str> = text.lines().collect();
    for line in
        ["release_version: \"3.20\"", "devel_version: \"3.21\"", "r_ver_for_bioc_ver:", "  \"3.16\": \"4.2\""]
    {
        assert!(lines.contains(&line), "{line}: {text}");
    }
    let tag = answer.header("etag").expect("a tag").to_owned();
    let conditional_response =
        http::request("GET", &server.url("/bioc/config.yaml"), &[("If-None-Match", &tag)], b"");
    assert_eq!(conditional_response.status, 304);
    let head = http::request("HEAD", &server.url("/bioc/config.yaml"), &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    let dated = server.get("/bioc/2024-06-01/config.yaml").text();
    assert!(dated.contains("release_version: \"3.19\"\ndevel_version: \"3.20\"\n"), "{dated}");
    assert_eq!(http::request("POST", &server.url("/bioc/config.yaml"), &[], b"").status, 405);
    server.call("POST", "/repos", &json!({ "name": "plain" }));
    for path in ["/plain/config.yaml", "/none/config.yaml", "/bioc/999/config.yaml"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    assert_eq!(server.get("/plain/packages/3.20/bioc/src/contrib/PACKAGES").status, 404);
    let page = server.get("/bioc/latest/").text();
    assert!(page.contains("BioC_mirror = ") && page.contains("/bioc/latest/config.yaml"), "{page}");
}

#[test]
fn before_the_first_sync_clients_get_404_and_administrators_the_command() {
    let server = Builder::default().gcfg("[Bioconductor]\nURL = file://{dir}/none").start();
    server.call("POST", "/repos", &json!({ "name": "bioc", "type": "bioconductor" }));
    for path in ["/bioc/config.yaml", "/bioc/packages/3.20/bioc/src/contrib/PACKAGES"] {
        let answer = server.get(path);
        let text = answer.text();
        assert!(answer.status == 404 && !text.contains("rspm"), "{path}: {text}");
        assert!(
            text.contains("is not on this server") || text.contains("has not been synced yet"),
            "{path}: {text}"
        );
    }
    assert_eq!(server.get("/__api__/status").json()["bioc_versions"], json!([]));
    assert!(server.rspm_stdout("list bioconductor versions").contains("rspm sync --type=bioconductor"));
    let output = server.rspm("sync --type=bioconductor --version=three");
    assert!(output.code == 1 && output.err.contains("such as 3.20"), "{}", output.err);
    let output = server.rspm("sync --version=3.20");
    assert!(output.code == 1 && output.err.contains("--type=bioconductor"), "{}", output.err);
}

#[test]
fn the_api_and_the_command_line_list_versions() {
    let server = server();
    assert_eq!(
        server.get("/__api__/status").json()["bioc_versions"],
        json!([
            { "bioc_version": "3.20", "r_version": "4.4", "cran_snapshot": "latest" },
            { "bioc_version": "3.16", "r_version": "4.2", "cran_snapshot": "2023-04-26" },
        ])
    );
    let repos = server.get("/__api__/repos?type=Bioconductor").json();
    assert_eq!((repos[0]["name"].as_str(), repos[0]["type"].as_str()), (Some("bioc"), Some("Bioconductor")));
    assert_eq!(server.get("/__api__/repos/bioc/sources").json()[0]["name"], "bioconductor");
    let version = |query: &str| {
        let answer = server.get(&format!("/__api__/repos/bioc/packages/Biobase{query}"));
        (answer.status, answer.json()["version"].as_str().map(str::to_owned))
    };
    let is = |text: &str| (200, Some(text.to_owned()));
    assert_eq!(version(""), is("2.66.0"), "the release");
    assert_eq!(version("?bioc_version=3.16"), is("2.58.0"));
    assert_eq!(version("?bioc_version=3.19").0, 404);
    assert_eq!(version("?bioc_version=new").0, 400);
    // Pages name the JSON of their version.
    for path in ["packages/", "packages/Biobase/", "vulnerabilities/"] {
        let page = server.get(&format!("/bioc/2/web/{path}?bioc=3.16")).text();
        let json = page.split("href=\"").skip(1).filter_map(|part| part.split('"').next());
        let json: Vec<&str> = json.filter(|address| address.contains("__api__/repos/")).collect();
        let is_of_version =
            |address: &&str| address.contains("snapshot=2") && address.contains("bioc_version=3.16");
        assert!(!json.is_empty() && json.iter().all(is_of_version), "{path}: {json:?}");
    }
    let one = server.get("/__api__/repos/bioc/packages/Biobase?bioc_version=3.16").json();
    assert_eq!(
        (&one["bioc_version"], &one["bioc_repo"], &one["repo_type"], &one["bioc_views"]),
        (&json!("3.16"), &json!("bioc"), &json!("Bioconductor"), &json!("Infrastructure"))
    );
    let names = |path: &str| {
        let rows = server.get(path).json();
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.iter()
            .map(|row| row["name"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let [old_ones, new_ones] = ["3.16", "3.20"].map(data::bioconductor);
    let only_names = |files: &[String]| {
        files.iter().filter_map(|file| Some(file.split_once('_')?.0)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("/__api__/repos/bioc/packages?bioc_version=3.16"), only_names(&old_ones));
    assert_eq!(names("/__api__/sources/bioconductor/packages"), only_names(&new_ones));
    let rows = server.json("list bioconductor versions");
    let row = |at: usize, key: &str| rows[at][key].clone();
    assert_eq!(
        (row(0, "version"), row(0, "status"), row(0, "packages")),
        (json!("3.21"), json!("devel"), json!(null))
    );
    assert_eq!(
        (row(1, "version"), row(1, "status"), row(1, "packages")),
        (json!("3.20"), json!("release"), json!(new_ones.len()))
    );
    let old =
        rows.as_array().and_then(|rows| rows.iter().find(|row| row["version"] == "3.16")).expect("3.16");
    assert_eq!((&old["status"], &old["packages"]), (&json!("out-of-date"), &json!(old_ones.len())));
    let listed = server.json("list packages --source=bioconductor --version=3.16");
    assert_eq!(listed["total"], old_ones.len());
    let listed = server.json("list packages --repo=bioc --version=3.20");
    assert_eq!(listed["total"], new_ones.len());
    let output = server.rspm_stdout("explain bioc Biobase --bioc-version=3.16");
    assert!(output.contains("bioconductor 3.16/bioc") && output.contains("Biobase 2.58.0"), "{output}");
    assert!(
        output.contains("GET /bioc/latest/packages/3.16/bioc/src/contrib/Biobase_2.58.0.tar.gz"),
        "{output}"
    );
    assert!(server.rspm_stdout("list repos").contains("bioconductor"));
}

#[test]
fn a_file_that_differs_from_the_index_starts_a_sync_of_its_version() {
    let server = Builder::default().gcfg("[Bioconductor]\nURL = file://{dir}/mirror").start();
    let root = server.dir().join("mirror");
    let copied =
        std::process::Command::new("cp").arg("-r").arg(data::path("bioc-mirror")).arg(&root).status();
    assert!(copied.expect("cp runs").success());
    server.call("POST", "/repos", &json!({ "name": "bioc", "type": "bioconductor" }));
    server.sync_of("bioconductor").expect("a valid mirror");
    let contrib = root.join("packages/3.16/bioc/src/contrib");
    let other = "packages/3.20/bioc/src/contrib/BiocGenerics_0.52.0.tar.gz";
    // Small enough to be buffered until it is verified.
    std::fs::copy(root.join(other), contrib.join("BiocGenerics_0.44.0.tar.gz")).expect("copied");
    add_to_index(&contrib);
    let answer = server.get("/bioc/packages/3.16/bioc/src/contrib/BiocGenerics_0.44.0.tar.gz");
    assert_eq!(answer.status, 502, "{}", answer.text());
    until("the version is synced", || {
        let index = server.get("/bioc/packages/3.16/bioc/src/contrib/PACKAGES");
        index.text().contains("Package: later\n")
    });
    let rows = server.get("/__api__/sources/2/transactions").json();
    assert_eq!(rows.as_array().map(Vec::len), Some(3), "3.20 was not synced again: {rows}");
}

#[test]
fn extra_of_an_old_version_is_served_like_its_other_repositories() {
    let server = Builder::default().gcfg("[Bioconductor]\nURL = file://{dir}/mirror").start();
    let root = server.dir().join("mirror");
    let put = |part: &str, package: &Tarball| {
        let contrib = root.join(format!("packages/{part}/src/contrib"));
        std::fs::create_dir_all(&contrib).expect("a folder");
        let record = format!(
            "Package: {}\nVersion: {}\nLicense: MIT\nMD5sum: {}\n",
            package.package,
            package.version,
            hex::encode(md5::Md5::digest(package.bytes()))
        );
        std::fs::write(contrib.join("PACKAGES"), record).expect("written");
        std::fs::write(contrib.join(package.file()), package.bytes()).expect("written");
    };
    let (software, extra) = (Tarball::new("soft", "2.0"), Tarball::new("iSNetwork", "1.11.1"));
    put("3.5/bioc", &software);
    put("3.5/extra", &extra);
    put("3.6/bioc", &software);
    let config = "release_version: \"3.5\"\ndevel_version: \"3.6\"\nr_ver_for_bioc_ver:\n  \"3.5\": \"3.4\"\n  \
        \"3.6\": \"3.4\"\n";
    std::fs::write(root.join("config.yaml"), config).expect("written");
    server.call("POST", "/repos", &json!({ "name": "bioc", "type": "bioconductor" }));
    server.rspm_stdout("create repo --name=old");
    server.rspm_stdout("subscribe --repo=old --source=bioconductor --version=3.5");
    let text = server.rspm_stdout("sync --type=bioconductor --quiet");
    assert!(text.contains("Bioconductor 3.5 was synced"), "{text}");
    for version in ["3.5", "release"] {
        let at = format!("/bioc/packages/{version}/extra/src/contrib");
        let index = server.get(&format!("{at}/PACKAGES"));
        assert!(index.status == 200 && index.text().contains("Package: iSNetwork\n"), "{}", index.text());
        assert!(!index.text().contains("Package: soft\n"), "{}", index.text());
        let file = server.get(&format!("{at}/iSNetwork_1.11.1.tar.gz"));
        assert!(file.status == 200 && file.body == extra.bytes(), "{}", file.status);
    }
    assert_eq!(server.get("/bioc/packages/3.6/extra/src/contrib/PACKAGES").status, 404);
    assert_eq!(server.get("/bioc/packages/3.5/workflows/src/contrib/PACKAGES").status, 404);
    let package = server.get("/__api__/repos/bioc/packages/iSNetwork?bioc_version=3.5").json();
    assert_eq!((&package["bioc_repo"], &package["bioc_version"]), (&json!("extra"), &json!("3.5")));
    let list = server.get("/old/latest/src/contrib/PACKAGES").text();
    assert!(list.contains("Package: iSNetwork\n") && list.contains("Package: soft\n"), "{list}");
}

/// Adds a package to the index.
fn add_to_index(contrib: &Path) {
    for form in ["PACKAGES.gz", "PACKAGES.rds"] {
        std::fs::remove_file(contrib.join(form)).expect("a file");
    }
    let index = std::fs::read_to_string(contrib.join("PACKAGES")).expect("an index");
    std::fs::write(
        contrib.join("PACKAGES"),
        format!("{}\n\nPackage: later\nVersion: 1.0\n", index.trim_end()),
    )
    .expect("written");
}

#[test]
fn the_effects_of_a_guard_are_stated_for_each_version_of_bioconductor() {
    let server = server();
    server.rspm_stdout("create source --name=own");
    server.rspm_stdout("create name-guard --name=Biobase --source=own");
    let planned = server.json("delete name-guard --id=1 --dry-run");
    let mut changes: Vec<_> = planned["changes"]
        .as_array()
        .expect("changes")
        .iter()
        .map(|change| {
            ["repo", "bioc_version", "to_version"].map(|key| change[key].as_str().unwrap_or("none"))
        })
        .collect();
    changes.sort_unstable();
    assert_eq!(changes, [["bioc", "3.16", "2.58.0"], ["bioc", "3.20", "2.66.0"]]);
    let printed = server.rspm_stdout("delete name-guard --id=1");
    for (version, package) in [("3.16", "2.58.0"), ("3.20", "2.66.0")] {
        let row = format!("bioc (Bioconductor {version})  Biobase  none    {package} of bioconductor");
        assert!(printed.contains(&row), "{row}: {printed}");
    }
}

#[test]
fn a_rule_about_bioconductor_is_tested_for_a_version_and_decides_as_the_server_does() {
    let server = server();
    let created =
        server.rspm_stdout("create blocklist-rule --package-name=Biobase --version=<2.60.0 --bioconductor");
    let matches: Vec<&str> = created.lines().filter(|line| line.starts_with("Blocks the listed")).collect();
    let [only] = matches[..] else { panic!("{created}") };
    assert!(
        only.ends_with(" packages in bioc (Bioconductor 3.16): Biobase 2.58.0 (not replaced)"),
        "{created}"
    );
    let both = server.json("create blocklist-rule --package-name=Biobase --version=<3.0.0 --dry-run");
    let versions: Vec<&str> = both["matches"]
        .as_array()
        .expect("matches")
        .iter()
        .filter_map(|it| it["bioc_version"].as_str())
        .collect();
    assert_eq!(versions, ["3.20"], "rule 1 blocks the package of 3.16 already: {both}");
    let test = |flags: &str| {
        server.rspm(&format!("test blocklist-rules --repo=bioc --package-name=Biobase {flags}"))
    };
    for flags in ["", "--bioc-version=3.20", "--bioc-version=3.20 --version=2.66.0"] {
        let release = test(flags);
        let expected =
            "Biobase 2.66.0 is allowed in bioc: no rule matches.\nHighest allowed version: 2.66.0\n";
        assert!(release.code == 0 && release.out.starts_with(expected), "{flags}: {release:?}");
    }
    for flags in ["--bioc-version=3.16", "--bioc-version=3.16 --version=2.58.0"] {
        let old = test(flags);
        let expected = "Biobase 2.58.0 is blocked in bioc by rule 1 (versions <2.60.0).\n";
        assert!(old.code == 1 && old.out.starts_with(expected), "{flags}: {old:?}");
        assert!(old.out.contains("\nHighest allowed version: none\n"), "{flags}: {old:?}");
    }
    for (flags, reason) in [
        ("--bioc-version=3.19", "3.19"),
        ("--bioc-version=new", "'new'"),
        ("--bioc-version=3.16 --version=2.66.0", "there is no version 2.66.0 of 'Biobase' in bioc"),
    ] {
        let refused = test(flags);
        assert!(refused.code == 1 && refused.out.is_empty(), "{flags}: {refused:?}");
        assert!(refused.err.contains(reason), "{flags}: {refused:?}");
    }
    let served = |version: &str, file: &str| {
        let path = format!("/bioc/latest/packages/{version}/bioc/src/contrib/{file}");
        server.get(&path)
    };
    let old = served("3.16", "Biobase_2.58.0.tar.gz");
    assert_eq!((old.status, old.header("x-pm-reason")), (403, Some("rule 1 (versions <2.60.0)")));
    assert_eq!(served("3.20", "Biobase_2.66.0.tar.gz").status, 200);
    for (version, is_listed) in [("3.16", false), ("3.20", true)] {
        let index = served(version, "PACKAGES").text();
        assert_eq!(index.contains("Package: Biobase\n"), is_listed, "{version}: {index}");
    }
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    let refused = server.refused("test blocklist-rules --repo=team --package-name=alpha --bioc-version=3.20");
    assert!(refused.contains("team"), "{refused}");
}
