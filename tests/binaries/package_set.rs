//! A large set of packages, those of Debian and our examples, installed by real R without a compiler.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{add, with_agent};
use crate::support::binary;
use crate::support::fixtures::until;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::{data, rscript};

/// Debian's library of R packages.
const LIBRARY: &str = "/usr/lib/R/site-library";

/// Packages built with Debian's R; `tests/setup` installs them.
const BUILT_BY_DEBIAN: &[&str] = &[
    "cachem",
    "cli",
    "crayon",
    "digest",
    "fansi",
    "fastmap",
    "hms",
    "lifecycle",
    "magrittr",
    "pillar",
    "rlang",
    "tibble",
    "utf8",
    "vctrs",
    "yaml",
];

/// Packages of the mirror that the test builds.
const BUILT_HERE: &[&str] =
    &["R6", "ellipsis", "glue", "memoise", "pkgconfig", "prettyunits", "progress", "withr", "xtable"];

/// Packages with a chain of dependencies, most of them compiled, and others.
const WANTED: &str = "tibble progress memoise digest withr yaml xtable crayon ledger";

/// Installs and loads the packages, and prints how each was installed.
const INSTALL: &str = r#"
args <- commandArgs(TRUE)
lib <- Sys.getenv("R_LIBS_USER")
outputs <- tempfile("outputs"); dir.create(outputs)
install.packages(strsplit(args[[2]], " ")[[1]], lib = lib, repos = args[[1]], type = "source", keep_outputs = outputs,
    INSTALL_opts = c("--no-docs", "--no-test-load"))
for (package in rownames(installed.packages(lib))) {
    log <- readLines(file.path(outputs, paste0(package, ".out")))
    how <- sub(".*installing [*](source|binary)[*].*", "\\1", grep("installing [*]", log, value = TRUE)[[1]])
    library(package, character.only = TRUE, lib.loc = lib)
    compiled <- if (dir.exists(file.path(lib, package, "libs"))) "compiled" else "plain"
    cat(package, how, compiled, "\n")
}
"#;

/// The version of an installed package and the fields of its dependencies.
fn installed(package: &str) -> (String, String) {
    let text = std::fs::read_to_string(Path::new(LIBRARY).join(package).join("DESCRIPTION"))
        .unwrap_or_else(|e| panic!("{package} is not in {LIBRARY} ({e}): run tests/setup"));
    let description =
        rstudio_pm::r::description::Description::from_bytes(text.as_bytes()).expect("R installed it");
    let field = |tag: &str| description.non_empty(tag).map(|value| value.replace('\n', " "));
    let dependencies: Vec<String> = ["Depends", "Imports", "LinkingTo"]
        .into_iter()
        .filter_map(|tag| field(tag).map(|value| format!("{tag}: {value}")))
        .collect();
    (field("Version").expect("a version"), dependencies.join("\n"))
}

/// A repository `prod` of the source `team`, with a binary for Debian 12 of each package: of the examples, of those
/// that Debian built with the installed R, and of those of the mirror that R builds for this test.
fn server() -> Server {
    let server = Builder::default().gcfg("[Server]\nServiceLog = {dir}/service.log").start();
    let examples = server.team_with_examples();
    add(&server, &[&examples[0], &examples[1], &examples[2]], "bookworm");
    let (contrib, cran) = (data::path("cran-mirror/src/contrib"), data::cran());
    let mut sources: Vec<PathBuf> =
        BUILT_HERE.iter().map(|package| contrib.join(cran.file(package))).collect();
    let mut binaries = binary::build_binaries(&sources);
    for package in BUILT_BY_DEBIAN {
        let (version, dependencies) = installed(package);
        // The source for clients without a matching binary.
        let source = Tarball::new(package, &version).field(&dependencies);
        let path = server.dir().join(source.file());
        std::fs::write(&path, source.bytes()).expect("written");
        sources.push(path);
        let binary = server.dir().join(format!("{package}_{version}_R_x86_64-pc-linux-gnu.tar.gz"));
        let status = Command::new("tar").arg("-czf").arg(&binary).args(["-C", LIBRARY, package]).status();
        assert!(status.expect("tar runs").success());
        binaries.push(binary);
    }
    let listed =
        |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(",");
    server.rspm_stdout(&format!("add --source=team --path={}", listed(&sources)));
    server.rspm_stdout(&format!(
        "add binary --source=team --path={} --distribution=bookworm",
        listed(&binaries)
    ));
    server
}

/// Installs packages; returns for each how it was installed: `(binary or source, compiled or plain)`.
fn install(
    server: &Server,
    repository: &str,
    agent: &str,
    wanted: &str,
) -> BTreeMap<String, (String, String)> {
    let args = [server.url(repository), wanted.to_owned()];
    // Without Debian's own library, so that R fetches every package from the server.
    let output = rscript::run_with(&with_agent(agent, INSTALL), &args, |command| {
        command.env("R_LIBS_SITE", "/nonexistent");
    });
    let row = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            [package, how @ ("binary" | "source"), compiled @ ("compiled" | "plain"), ""] => {
                Some(((*package).to_owned(), ((*how).to_owned(), (*compiled).to_owned())))
            }
            _ => None,
        }
    };
    output.lines().filter_map(row).collect()
}

fn log(server: &Server) -> String {
    std::fs::read_to_string(server.dir().join("service.log")).expect("the service log")
}

/// Waits for a line of the service log that contains `part`, and returns the first one.
fn line(server: &Server, part: &str) -> String {
    until("there is a line", || log(server).lines().any(|line| line.contains(part)));
    log(server).lines().find(|line| line.contains(part)).map(str::to_owned).expect("found before")
}

#[test]
fn twenty_packages_are_installed_and_loaded_without_a_compiler() {
    let server = server();
    let packages = install(&server, "/prod/__linux__/bookworm/latest", "documented", WANTED);
    let sources: Vec<_> = packages.iter().filter(|(_, (how, _))| how != "binary").collect();
    assert!(sources.is_empty(), "{sources:?}");
    let compiled = packages.values().filter(|(_, compiled)| compiled == "compiled").count();
    assert!(
        packages.len() >= 20 && compiled >= 8,
        "{} packages, {compiled} of them compiled: {packages:?}",
        packages.len()
    );
    for chain in ["tibble", "pillar", "vctrs", "lifecycle", "rlang"] {
        assert!(packages.contains_key(chain), "{chain}: {packages:?}");
    }
    until("there is a line for each package", || log(&server).lines().count() == packages.len());
    let is_binary =
        |line: &str| line.contains(r#""type":"binary_current""#) && line.contains(r#""match_type":"#);
    assert!(log(&server).lines().all(is_binary), "{}", log(&server));
}

#[test]
fn the_explicit_address_serves_binaries_without_r_in_the_user_agent() {
    let server = server();
    let explicit = format!("/prod/latest/bin/linux/bookworm-x86_64/{}", binary::r_version());
    let packages = install(&server, &explicit, "default", "memoise digest");
    assert!(packages.len() >= 5 && packages.values().all(|(how, _)| how == "binary"), "{packages:?}");
}

#[test]
fn without_r_in_the_user_agent_sources_are_served_and_the_reason_is_logged() {
    let server = server();
    let code = "args <- commandArgs(TRUE)\n\
        got <- download.packages('rlang', tempdir(), repos = args[[1]], type = 'source', quiet = TRUE)\n\
        cat('source', !any(grepl('Meta/package.rds', untar(got[1, 2], list = TRUE))), '\\n')";
    let output = rscript::run(code, &[server.url("/prod/__linux__/bookworm/latest")]);
    assert!(output.contains("source TRUE"), "{output}");
    let line = line(&server, r#""name":"rlang""#);
    for part in [r#""failed_ua":"ua_error_unsupported_os""#, r#""user_agent":"libcurl/"#, r#""message":"ok""#]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn remotes_installs_a_binary_of_an_archived_version() {
    let server = server();
    server.add("team", &Tarball::new("tally", "0.9.0"));
    let code = "args <- commandArgs(TRUE)\n\
        lib <- Sys.getenv('R_LIBS_USER')\n\
        remotes::install_version('tally', '0.2.1', repos = args[[1]], lib = lib, upgrade = 'never', quiet = FALSE,\n\
            INSTALL_opts = c('--no-docs', '--no-test-load'))\n\
        cat('installed', as.character(packageVersion('tally', lib)), '\\n')";
    let output =
        rscript::run(&with_agent("documented", code), &[server.url("/prod/__linux__/bookworm/latest")]);
    assert!(output.contains("installed 0.2.1"), "{output}");
    let line = line(&server, r#""version":"0.2.1""#);
    assert!(line.contains(r#""type":"binary_archived""#) && line.contains(r#""class":"archived""#), "{line}");
}
