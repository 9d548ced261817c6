//! Real R installs binaries: through each kind of address, with its default header and with the documented one.

use super::{add, with_agent};
use crate::support::server::Server;
use crate::support::{binary, rscript};

/// Installs `ledger` and its dependencies, loads it, and prints how each package was installed.
const INSTALL: &str = r#"
args <- commandArgs(TRUE)
lib <- Sys.getenv("R_LIBS_USER")
outputs <- tempfile("outputs"); dir.create(outputs)
install.packages("ledger", lib = lib, repos = args[[1]], type = "source", quiet = FALSE, keep_outputs = outputs,
    INSTALL_opts = c("--no-docs", "--no-byte-compile", "--no-test-load"))
for (package in c("greeting", "tally", "ledger")) {
    log <- readLines(file.path(outputs, paste0(package, ".out")))
    how <- sub(".*installing [*](source|binary)[*].*", "\\1", grep("installing [*]", log, value = TRUE)[[1]])
    cat(package, how, packageDescription(package, lib)$Repository,
        read.dcf(file.path(lib, package, "DESCRIPTION"), "Repository"), "\n")
}
library(ledger, lib.loc = lib)
cat(ledger::summarise("world", c(1, 1, 2)), "\n")
"#;

pub(super) fn install(server: &Server, repository: &str, agent: &str) -> Vec<String> {
    let output = rscript::run(&with_agent(agent, INSTALL), &[server.url(repository).as_str()]);
    let how = |package: &str| {
        let line = output.lines().find(|line| line.starts_with(package));
        line.unwrap_or_else(|| panic!("{package}: {output}")).trim().to_owned()
    };
    ["greeting", "tally", "ledger"].map(how).to_vec()
}

#[test]
fn r_installs_binaries_or_sources_by_address_and_header() {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    add(&server, &[&greeting, &tally], "bookworm");
    let built = ["greeting binary RSPM RSPM", "tally binary RSPM RSPM", "ledger source RSPM RSPM"];
    let sources = ["greeting source RSPM RSPM", "tally source RSPM RSPM", "ledger source RSPM RSPM"];
    let negotiated = "/prod/__linux__/bookworm/latest";
    assert_eq!(install(&server, negotiated, "documented"), built);
    assert_eq!(install(&server, negotiated, "default"), sources, "R sends the header of libcurl");
    let explicit = format!("/prod/latest/bin/linux/bookworm-x86_64/{}", binary::r_version());
    assert_eq!(install(&server, &explicit, "default"), built);
}

#[test]
fn the_layout_of_r_for_linux_binaries_lists_and_serves_binaries() {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    add(&server, &[&greeting, &tally], "bookworm");
    let directory = format!("/prod/latest/bin/linux/bookworm-x86_64/contrib/{}", binary::r_version());
    let index = server.get(&format!("{directory}/PACKAGES")).text();
    assert!(!index.contains("Package: ledger"), "only binaries: {index}");
    let files: Vec<&str> = index.lines().filter_map(|line| line.strip_prefix("File: ")).collect();
    assert_eq!(files.len(), 2, "R expects other names: {index}");
    let listing = server.get(&format!("{directory}/"));
    assert_eq!(listing.header("content-type"), Some("text/html; charset=utf-8"));
    for file in files {
        let answer = server.get(&format!("{directory}/{file}"));
        assert_eq!(answer.status, 200, "{file}");
        assert!(listing.text().contains(&format!("<td><a href=\"{file}\">{file}</a></td>")), "{file}");
    }
    assert_eq!(server.get(&directory).status, 301);
    assert_eq!(server.get(&format!("{directory}/ledger_1.0.tar.gz")).status, 404);
    assert_eq!(server.get("/prod/latest/bin/linux/none-x86_64/contrib/4.6/PACKAGES").status, 404);
}

#[test]
fn directories_of_sources_are_listed() {
    let server = Server::start();
    server.rspm_stdout("create source --name=team");
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=team");
    for (package, version) in [("brio", "1.0"), ("brio", "1.1"), ("cli", "3.0")] {
        let tarball = crate::support::tarball::Tarball::new(package, version);
        let path = server.dir().join(tarball.file());
        std::fs::write(&path, tarball.bytes()).unwrap();
        server.rspm_stdout(&format!("add --source=team --path={}", path.display()));
    }
    let rows = |path: &str| {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}");
        let text = answer.text();
        let links = text.split("<td><a href=\"").skip(1);
        links.map(|link| link.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let contrib = "/prod/latest/src/contrib/";
    assert_eq!(
        rows(contrib),
        ["../", "Archive/", "PACKAGES.rds", "PACKAGES.gz", "PACKAGES", "brio_1.1.tar.gz", "cli_3.0.tar.gz"]
    );
    assert_eq!(rows(&format!("{contrib}Archive/")), ["../", "brio/"]);
    assert_eq!(rows(&format!("{contrib}Archive/brio/")), ["../", "brio_1.0.tar.gz"]);
    let redirect = server.get(&format!("{contrib}Archive/brio"));
    assert_eq!((redirect.status, redirect.header("location")), (301, Some("brio/")));
    let tag = server.get(contrib).header("etag").expect("an ETag").to_owned();
    let url = server.url(contrib);
    let answer = crate::support::http::request("GET", &url, &[("if-none-match", &tag)], b"");
    assert_eq!(answer.status, 304);
    // A blocked version is not listed.
    server.rspm_stdout("create blocklist-rule --package-name=brio --version=1.0");
    assert_eq!(rows(&format!("{contrib}Archive/brio/")), ["../"]);
}
