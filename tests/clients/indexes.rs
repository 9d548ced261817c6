//! Unusual indexes, as R reads them.

use super::{Mirror, add, curl, expected_output, r, repository};
use crate::support::data;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

fn synced_server(mirror: &Mirror) -> Server {
    let server = Builder::default().gcfg(&mirror.gcfg()).start();
    server.rspm_stdout("sync");
    repository(&server, "cran", &["cran"]);
    server
}

#[test]
fn platforms_without_packages_have_empty_indexes_and_r_does_not_warn() {
    let server = Server::start();
    server.rspm_stdout("create source --name=team");
    repository(&server, "prod", &["team"]);
    add(&server, "team", &[Tarball::new("alpha", "1.0")]);
    let code = "for (type in c('win.binary', 'mac.binary', 'mac.binary.big-sur-arm64', 'mac.binary.el-capitan'))
            say(type, nrow(available.packages(repos = args[[1]], type = type)))
        contrib <- contrib.url(args[[1]], 'win.binary')
        say('rds', dim(readRDS(gzcon(url(paste0(contrib, '/PACKAGES.rds'), 'rb')))))
        say('other version', nrow(available.packages(paste0(args[[1]], '/bin/windows/contrib/9.9'), filters = list())))";
    let output = r(code, &[&server.url("/prod/latest")]);
    assert_eq!(output["other version"], "0");
    assert!(output["rds"].starts_with("0 "), "{output:?}");
    for kind in ["win.binary", "mac.binary", "mac.binary.big-sur-arm64", "mac.binary.el-capitan"] {
        assert_eq!(output[kind], "0", "{kind}");
    }
    for tree in ["bin/windows/contrib/4.5", "bin/macosx/big-sur-arm64/contrib/4.4", "bin/macosx/contrib/4.0"]
    {
        let text = curl(&[], &server.url(&format!("/prod/latest/{tree}/PACKAGES")));
        assert_eq!((text.status, text.body.len()), (200, 0), "{tree}");
        assert_eq!(curl(&[], &server.url(&format!("/prod/latest/{tree}/PACKAGES.gz"))).status, 200);
    }
}

#[test]
fn r_reads_the_archive_table_with_the_dates_and_order_of_the_mirror() {
    let mirror = data::path("cran-mirror");
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = file://{}", mirror.display())).start();
    server.rspm_stdout("sync");
    repository(&server, "cran", &["cran"]);
    // remotes reads the rows from the last to the first and takes the first version that satisfies the condition.
    let code = "read <- function(where) readRDS(gzcon(where))
        server_table <- read(url(paste0(args[[1]], '/src/contrib/Meta/archive.rds'), 'rb'))
        mirror_table <- read(file(file.path(args[[2]], 'src/contrib/Meta/archive.rds'), 'rb'))
        say('packages', identical(sort(names(server_table)), sort(names(mirror_table))))
        say('files', all(mapply(function(n) identical(rownames(server_table[[n]]), rownames(mirror_table[[n]])), names(server_table))))
        seconds <- function(rows) trunc(as.numeric(rows$mtime))
        say('dates', all(mapply(function(n) identical(seconds(server_table[[n]]), seconds(mirror_table[[n]])), names(server_table))))
        say('classes', class(server_table$cli), class(server_table$cli$mtime))
        say('cli', rownames(server_table$cli))
        say('sorted', !is.unsorted(server_table$cli$mtime))
        file <- remotes::download_version('cli', paste('<', args[[3]]), repos = args[[1]], quiet = TRUE)
        untar(file, 'cli/DESCRIPTION', exdir = tempdir())
        say('older', read.dcf(file.path(tempdir(), 'cli/DESCRIPTION'), 'Version'))
        current <- read(url(paste0(args[[1]], '/src/contrib/Meta/current.rds'), 'rb'))
        say('current', nrow(current), class(current))";
    let cran = data::cran();
    let output = r(code, &[&server.url("/cran/latest"), &mirror.display().to_string(), cran.version("cli")]);
    let archived: Vec<String> = cran.archived_files("cli").iter().map(|file| format!("cli/{file}")).collect();
    let newest =
        cran.archived_files("cli").pop().and_then(|file| file.strip_prefix("cli_")?.strip_suffix(".tar.gz"));
    let current = format!("{} data.frame", cran.listed.len());
    let expected = [
        ("packages", "TRUE"),
        ("files", "TRUE"),
        ("dates", "TRUE"),
        ("classes", "data.frame POSIXct data.frame POSIXt"),
        ("cli", &archived.join(" ")),
        ("sorted", "TRUE"),
        ("older", newest.expect("a version")),
        ("current", &current),
    ];
    assert_eq!(output, expected_output(&expected));
}

#[test]
fn an_older_r_installs_the_second_record_with_a_path() {
    let mirror = Mirror::new();
    mirror.list(&Tarball::new("recom", "2.0").field("Depends: R (>= 99.0)"), "");
    mirror.list(&Tarball::new("recom", "1.0").field("Depends: R (>= 3.0)"), "Path: 4.2.0/Recommended\n");
    mirror.list(&Tarball::new("zoo", "1.0"), "");
    let server = synced_server(&mirror);
    let code = "all <- available.packages(repos = args[[1]], filters = list())
        say('records', all[, 'Package'], all[, 'Version'])
        compatible <- available.packages(repos = args[[1]])
        say('compatible', compatible[, 'Package'], compatible[, 'Version'])
        say('location', sub(args[[1]], '', compatible['recom', 'Repository'], fixed = TRUE))
        install.packages('recom', repos = args[[1]], quiet = TRUE, INSTALL_opts = fast)
        say('installed', as.character(packageVersion('recom')))";
    let output = r(code, &[&server.url("/cran/latest")]);
    assert_eq!(output["compatible"], "recom 1.0 zoo 1.0", "{output:?}");
    assert_eq!(output["location"], "/src/contrib/4.2.0/Recommended");
    assert_eq!(output["installed"], "1.0");
    assert_eq!(output["records"].matches("recom").count(), 2, "{output:?}");
    let newer = curl(&[], &server.url("/cran/latest/src/contrib/recom_2.0.tar.gz"));
    assert_eq!((newer.status, newer.header("x-package-type")), (200, "source"));
}

#[test]
fn names_that_differ_in_case_are_two_packages() {
    let twins =
        [Tarball::new("twin", "1.0"), Tarball::new("Twin", "1.0").with("R/g.R", "g <- function() 2\n")];
    let mirror = Mirror::of(&twins);
    let server = synced_server(&mirror);
    for twin in &twins {
        let response = curl(&[], &server.url(&format!("/cran/latest/src/contrib/{}", twin.file())));
        assert_eq!((response.status, response.body == twin.bytes()), (200, true), "{}", twin.file());
    }
    let code = "say('listed', sort(available.packages(repos = args[[1]])[, 'Package']))
        download <- download.packages('Twin', tempdir(), repos = args[[1]], quiet = TRUE)
        say('download', basename(download[, 2]), length(untar(download[, 2], list = TRUE)))";
    let output = r(code, &[&server.url("/cran/latest")]);
    assert_eq!(output["download"], "Twin_1.0.tar.gz 4");
    assert_eq!(output["listed"].split(' ').count(), 2, "{output:?}");
}

#[test]
fn the_package_database_has_the_form_that_r_expects() {
    let server = Server::start();
    let contrib = server.dir().join("no-mirror/src/contrib");
    std::fs::create_dir_all(&contrib).expect("a directory");
    std::fs::write(
        contrib.join("PACKAGES"),
        "Package: gamma\nVersion: 0.1\nLicense: MIT\nMD5sum: 00000000000000000000000000000aaa\n",
    )
    .expect("written");
    server.rspm_stdout("sync");
    server.rspm_stdout("create source --name=team");
    repository(&server, "prod", &["team", "cran"]);
    let alpha = Tarball::new("alpha", "1.0")
        .field("Note: Caf\u{e9}\n  and more")
        .field("SystemRequirements: zlib")
        .field("Encoding: UTF-8");
    add(&server, "team", &[alpha, Tarball::new("beta", "0.9")]);
    // gamma has only an index record.
    let code = "Sys.setenv(R_CRAN_WEB = args[[1]])
        db <- tools::CRAN_package_db()
        say('class', class(db))
        say('packages', db$Package)
        say('versions', db$Version)
        alpha <- db[db$Package == 'alpha', ]
        say('note', utf8ToInt(substring(alpha$Note, 4, 4)), grepl('and more$', alpha$Note))
        say('needs', alpha$SystemRequirements)
        say('published', grepl('^[0-9]{4}-[0-9]{2}-[0-9]{2}$', alpha$Published))
        say('unknown', is.na(db$Note[db$Package == 'gamma']), db$License[db$Package == 'gamma'])
        say('dependencies', names(tools::package_dependencies('beta', db = db)))";
    let output = r(code, &[&server.url("/prod/latest")]);
    let expected = [
        ("class", "data.frame"),
        ("packages", "alpha beta gamma"),
        ("versions", "1.0 0.9 0.1"),
        ("note", "233 TRUE"),
        ("needs", "zlib"),
        ("published", "TRUE"),
        ("unknown", "TRUE MIT"),
        ("dependencies", "beta"),
    ];
    assert_eq!(output, expected_output(&expected));
    let path = server.url("/prod/latest/web/packages/packages.rds");
    let answer = curl(&[], &path);
    assert_eq!(answer.header("cache-control"), "no-cache");
    let header = format!("If-None-Match: {}", answer.header("etag"));
    assert_eq!(curl(&["--header", &header], &path).status, 304);
    add(&server, "team", &[Tarball::new("delta", "1.0")]);
    let later_answer = curl(&["--header", &header], &path);
    assert!(later_answer.status == 200 && later_answer.header("etag") != answer.header("etag"));
}
