//! Real R, remotes and curl with every database, storage and origin of packages.

use std::path::Path;
use std::time::{Duration, Instant};

use rstudio_pm::model::digest::Sha256;
use sha2::Digest;

use super::{add, curl, examples, expected_output, path_list, proxy_with_fewer_formats, r, repository};
use crate::support::nginx::Nginx;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::{data, postgres, rscript, s3};

#[derive(Clone, Copy, PartialEq)]
enum Database {
    Sqlite,
    Postgres,
}

#[derive(Clone, Copy, PartialEq)]
enum Files {
    Disk,
    S3,
}

#[derive(Clone, Copy, PartialEq)]
enum Origin {
    HttpMirror,
    FileMirror,
    Local,
    Blended,
}

macro_rules! origins {
    ($database:ident, $files:ident) => {
        use super::{Database, Files, Origin, check};

        #[test]
        fn a_mirror_over_http() {
            check(Database::$database, Files::$files, Origin::HttpMirror);
        }

        #[test]
        fn a_mirror_in_a_directory() {
            check(Database::$database, Files::$files, Origin::FileMirror);
        }

        #[test]
        fn a_local_source() {
            check(Database::$database, Files::$files, Origin::Local);
        }

        #[test]
        fn a_local_source_and_a_mirror_blended() {
            check(Database::$database, Files::$files, Origin::Blended);
        }
    };
}

mod sqlite_and_disk {
    origins!(Sqlite, Disk);
}
mod sqlite_and_s3 {
    origins!(Sqlite, S3);
}
mod postgres_and_disk {
    origins!(Postgres, Disk);
}
mod postgres_and_s3 {
    origins!(Postgres, S3);
}

/// A listed package of the mirror that curl fetches and R does not install.
const FETCHED: &str = "praise";
/// An archived package of the mirror.
const ARCHIVED: &str = "crayon";

/// The files of [`FETCHED`] and [`ARCHIVED`].
fn fetched_files() -> [String; 2] {
    let cran = data::cran();
    [cran.file(FETCHED).to_owned(), format!("Archive/{ARCHIVED}/{}", cran.archived_files(ARCHIVED)[0])]
}

fn start(database: Database, files: Files, mirror: &str) -> Server {
    let mut builder = Builder::default().gcfg(&format!("[CRAN]\nURL = {mirror}"));
    if database == Database::Postgres {
        let url = postgres::server().schema();
        builder = builder.gcfg(&format!("[Database]\nProvider = postgres\n[Postgres]\nURL = \"{url}\""));
    }
    if files == Files::S3 {
        let location = s3::bucket(s3::server());
        let endpoint = location.endpoint.expect("the address of the emulator");
        builder = builder
            .gcfg(&format!(
                "[Storage]\nDefault = s3\n[S3Storage]\nBucket = {}\nRegion = us-east-1\nEndpoint = {endpoint}\n\
                 PathStyle = true",
                location.bucket
            ))
            .env("AWS_ACCESS_KEY_ID", "key")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_EC2_METADATA_DISABLED", "true");
    }
    builder.start()
}

fn check(database: Database, files: Files, origin: Origin) {
    let contrib = data::path("cran-mirror").join("src/contrib");
    let web = (origin == Origin::HttpMirror).then(|| Nginx::files(&data::path("cran-mirror")));
    let folder = format!("file://{}", data::path("cran-mirror").display());
    let server = start(database, files, &web.as_ref().map_or(folder, Nginx::url));
    let has_local = matches!(origin, Origin::Local | Origin::Blended);
    let has_mirror = origin != Origin::Local;
    if has_mirror {
        let message = server.rspm_stdout("sync");
        assert!(message.contains(&data::cran().added_message()), "{message}");
        assert_eq!(server.rspm_stdout("sync"), "cran is up to date; nothing changed\n");
    }
    let mut sources = Vec::new();
    if has_local {
        server.rspm_stdout("create source --name=team");
        let packages = examples(&server.dir().join("packages"));
        server.rspm_stdout(&format!("add --source=team --path={}", path_list(&packages)));
        add(&server, "team", &[Tarball::new("oldie", "1.0"), Tarball::new("oldie", "2.0")]);
        sources.push("team");
    }
    if has_mirror {
        sources.push("cran");
    }
    repository(&server, "prod", &sources);

    check_r(&server, origin);
    if has_mirror {
        check_mirror_files(&server, &contrib);
    }
    if has_local {
        check_team_files(&server);
    }
    if let Some(web) = &web {
        for file in fetched_files() {
            assert_eq!(web.requests(&format!("/src/contrib/{file}")), 1, "{file} is fetched once");
        }
    }
    if files == Files::S3 {
        let folders = std::fs::read_dir(server.dir().join("data")).expect("the folder exists");
        let folders: Vec<_> = folders.map(|entry| entry.expect("an entry").file_name()).collect();
        let packages = folders.iter().find(|name| ["packages", "cran"].iter().any(|class| name == class));
        assert!(packages.is_none(), "no package is stored on disk: {folders:?}");
    }
}

fn check_r(server: &Server, origin: Origin) {
    let repository = server.url("/prod/latest");
    let fewer = proxy_with_fewer_formats(&repository);
    let cran = data::cran();
    let [itertools, iterators] =
        ["itertools", "iterators"].map(|name| format!("{name}_{}", cran.version(name)));
    let file = cran.archived_files(ARCHIVED)[0];
    let old =
        file.strip_prefix("crayon_").and_then(|rest| rest.strip_suffix(".tar.gz")).expect("its version");
    // R does not list packages that need a newer R.
    let of_mirror: usize = match origin {
        Origin::Local => 0,
        _ => {
            let code = "cat(nrow(available.packages(paste0('file://', commandArgs(TRUE)))))";
            rscript::run(code, &[data::path("cran-mirror/src/contrib")]).parse().expect("a number")
        }
    };
    let (packages, archived, of_team) = match origin {
        Origin::HttpMirror | Origin::FileMirror => ("itertools", format!("crayon@{old}"), 0),
        Origin::Local => ("ledger", "oldie@1.0".to_owned(), 4),
        Origin::Blended => ("ledger,itertools", format!("oldie@1.0,crayon@{old}"), 4),
    };
    let listed = (of_team + of_mirror).to_string();
    let forms = format!("{0}/gz,{0}/plain", fewer.url());
    let output = r(include_str!("client.R"), &[&repository, packages, &archived, &forms]);
    let mut expected = expected_output(&[
        ("files agree", "TRUE"),
        ("listings agree", "TRUE"),
        ("packages", &listed),
        ("checksums agree", "TRUE"),
    ]);
    expected.extend(match origin {
        Origin::HttpMirror | Origin::FileMirror => expected_output(&[
            ("downloaded", &format!("{itertools}.tar.gz")),
            ("installed", &format!("{iterators} {itertools}")),
            ("from", "CRAN"),
            ("archived crayon", old),
        ]),
        Origin::Local => expected_output(&[
            ("downloaded", "ledger_2.0-1.tar.gz"),
            ("installed", "greeting_1.0.0 ledger_2.0-1 tally_0.2.1"),
            ("from", "RSPM"),
            ("ledger", "Hello, world! Your numbers come in 2 runs."),
            ("archived oldie", "1.0"),
        ]),
        Origin::Blended => expected_output(&[
            ("downloaded", &format!("ledger_2.0-1.tar.gz {itertools}.tar.gz")),
            ("installed", &format!("greeting_1.0.0 {iterators} {itertools} ledger_2.0-1 tally_0.2.1")),
            ("from", "RSPM CRAN"),
            ("ledger", "Hello, world! Your numbers come in 2 runs."),
            ("archived oldie", "1.0"),
            ("archived crayon", old),
        ]),
    });
    assert_eq!(output, expected);
}

/// Checks GET, HEAD, Range and If-None-Match of a file with the given bytes.
fn check_file(url: &str, bytes: &[u8]) {
    let response = curl(&[], url);
    assert_eq!((response.status, response.protocol.as_str()), (200, "1.1"), "{url}");
    assert!(response.body == bytes, "{url}: different bytes");
    assert_eq!(response.header("content-length"), bytes.len().to_string(), "{url}");
    assert_eq!(response.header("accept-ranges"), "bytes");
    let head = curl(&["--head"], url);
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, response.header("content-length")),
        "{url}"
    );
    assert_eq!(head.header("etag"), response.header("etag"), "{url}");
    let part = curl(&["--range", "10-109"], url);
    assert_eq!((part.status, part.body.as_slice()), (206, &bytes[10..110]), "{url}");
    assert_eq!(part.header("content-range"), format!("bytes 10-109/{}", bytes.len()), "{url}");
    assert_not_modified(url, response.header("etag"));
}

fn assert_not_modified(url: &str, tag: &str) {
    let response = curl(&["--header", &format!("If-None-Match: {tag}")], url);
    assert_eq!((response.status, response.body.len()), (304, 0), "{url}");
}

/// Waits until the ETag of a mirror's file is its SHA-256. Until the file is stored, shortly after the first response,
/// it has the ETag of the index.
fn wait_until_stored(url: &str) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while curl(&["--head"], url).header("etag").trim_matches('"').len() != 64 {
        assert!(Instant::now() < deadline, "{url} is not stored");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn check_mirror_files(server: &Server, contrib: &Path) {
    let base = server.url("/prod/latest/src/contrib");
    for file in fetched_files() {
        let bytes = std::fs::read(contrib.join(&file)).expect("the mirror's file");
        let url = format!("{base}/{file}");
        let first = curl(&[], &url);
        assert!(first.status == 200 && first.body == bytes, "{url}: {}", first.status);
        wait_until_stored(&url);
        assert_not_modified(&url, first.header("etag"));
        check_file(&url, &bytes);
        let answer = curl(&[], &url);
        assert_eq!(answer.header("content-type"), "binary/octet-stream");
        assert_eq!(answer.header("x-package-type"), "source");
        let name = file.rsplit('/').next().expect("a name");
        assert_eq!(answer.header("content-disposition"), format!("attachment; filename=\"{name}\""));
    }
    let old = data::cran().archived_files(ARCHIVED)[0].to_owned();
    assert_eq!(
        curl(&[], &format!("{base}/{old}")).status,
        200,
        "old versions are also served without Archive/"
    );
    assert_eq!(curl(&[], &format!("{base}/Archive/praise/praise_9.9.tar.gz")).status, 404);
}

/// Checks that the stored files match the index.
fn check_team_files(server: &Server) {
    let base = server.url("/prod/latest/src/contrib");
    let index = curl(&[], &format!("{base}/PACKAGES"));
    check_file(&format!("{base}/PACKAGES"), &index.body);
    let text = index.text();
    let record = text.split("\n\n").find(|record| record.starts_with("Package: tally\n"));
    let record = record.expect("tally is listed");
    let field = |name: &str| {
        let line = record.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name}: {record}")).to_owned()
    };
    let file = curl(&[], &format!("{base}/tally_0.2.1.tar.gz"));
    assert_eq!(field("SHA256"), Sha256(sha2::Sha256::digest(&file.body).into()).to_string());
    assert_eq!(field("Filesize"), file.body.len().to_string());
    check_file(&format!("{base}/tally_0.2.1.tar.gz"), &file.body);
    let gz = curl(&[], &format!("{base}/PACKAGES.gz"));
    let tag = format!("If-None-Match: {}", gz.header("etag"));
    assert_eq!(curl(&["--header", &tag], &format!("{base}/PACKAGES.gz")).status, 304);
    assert!(!gz.headers.iter().any(|(name, _)| name == "content-encoding"), "R does not decode it");
}
