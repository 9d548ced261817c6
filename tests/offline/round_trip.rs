//! From mirrors through a bundle to a server without network: every product of a bundle, used by R.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::clients::bioconductor;
use crate::support::downloader::{copy_over, must_get_cran, run, validate};
use crate::support::mirror_dir::file_url;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::{binary, data, rerun, rscript};

/// A compiled package without dependencies.
const COMPILED_PACKAGE: &str = "glue";
/// A package of R code only.
const PLAIN_PACKAGE: &str = "R6";
/// A package and a version that has a vulnerability.
const VULNERABLE_PACKAGE: (&str, &str) = ("commonmark", "1.7");

fn copy(folder: &str, destination: &Path) {
    let status = Command::new("cp").arg("-r").arg(data::path(folder)).arg(destination).status().expect("cp");
    assert!(status.success());
}

/// Adds a package to the index of a mirror.
fn publish(mirror: &Path, package: &Tarball) {
    let contrib = mirror.join("src/contrib");
    let bytes = package.bytes();
    let record = format!(
        "\nPackage: {}\nVersion: {}\nLicense: MIT\nMD5sum: {}\nNeedsCompilation: no\n",
        package.package,
        package.version,
        hex::encode(<md5::Md5 as md5::Digest>::digest(&bytes))
    );
    fs::write(contrib.join(package.file()), bytes).unwrap();
    let index = fs::read_to_string(contrib.join("PACKAGES")).unwrap();
    fs::write(contrib.join("PACKAGES"), index + &record).unwrap();
    for other in ["PACKAGES.gz", "PACKAGES.rds"] {
        let _ = fs::remove_file(contrib.join(other));
    }
}

/// Builds these packages of the mirror with R into the mirror's folder of binaries for this system.
fn build(mirror: &Path, packages: &[&str]) {
    let contrib = mirror.join("src/contrib");
    let file = |package: &&str| {
        let prefix = format!("{package}_");
        let mut names = fs::read_dir(&contrib).unwrap().map(|entry| entry.unwrap().path());
        names.find(|path| path.file_name().unwrap().to_string_lossy().starts_with(&prefix)).unwrap()
    };
    let sources: Vec<PathBuf> = packages.iter().map(file).collect();
    let folder = mirror.join("bin/linux/bookworm-x86_64/4.2/src/contrib");
    fs::create_dir_all(&folder).unwrap();
    let mut index = String::new();
    for (source, built_file) in sources.iter().zip(binary::build_binaries(&sources)) {
        let name = source.file_name().unwrap();
        let package = name.to_string_lossy().split_once('_').unwrap().0.to_owned();
        let description =
            Command::new("tar").arg("-xzOf").arg(&built_file).arg(format!("{package}/DESCRIPTION")).output();
        let description = String::from_utf8(description.unwrap().stdout).unwrap();
        let fields = description.lines().filter(|line| {
            ["Package:", "Version:", "Depends:", "License:", "Built:"].iter().any(|tag| line.starts_with(tag))
        });
        index += &fields.map(|line| format!("{line}\n")).collect::<String>();
        index += &format!("Filesize: {}\n\n", fs::metadata(&built_file).unwrap().len());
        fs::copy(&built_file, folder.join(name)).unwrap();
    }
    fs::write(folder.join("PACKAGES"), index).unwrap();
}

fn download(cran: &Path, bioc: &Path, destination: &Path) {
    let rules = file_url(&data::path("sysreqs").canonicalize().unwrap());
    let flags =
        ["--requirements-url", &rules, "--include-binaries", "--r-versions=4.2", "--distributions=bookworm"];
    must_get_cran(&file_url(cran), destination, &[&flags[..], &["--architectures=x86_64"]].concat());
    let (bioc, destination) = (file_url(bioc), destination.to_str().unwrap());
    let advisories = file_url(&data::path("advisories/cran").canonicalize().unwrap());
    for arguments in
        [&["bioconductor", "--base-url", &bioc, "--versions=3.16"][..], &["vulns", "--base-url", &advisories]]
    {
        let result = run(&[&["get"], arguments, &["--destination", destination]].concat());
        assert_eq!(result.code, Some(0), "{arguments:?}: {}", result.err);
    }
}

fn index(server: &Server, snapshot: &str) -> Vec<u8> {
    let answer = server.get(&format!("/prod/{snapshot}/src/contrib/PACKAGES"));
    assert_eq!(answer.status, 200);
    answer.body
}

/// Runs R with its own library; returns the names and values that the code prints with `report`.
fn r(code: &str, args: &[&str]) -> BTreeMap<String, String> {
    let prelude = "options(warn = 1); args <- commandArgs(TRUE); lib <- Sys.getenv('R_LIBS_USER')\n\
        report <- function(what, ...) cat(what, '\\t', paste(..., collapse = ' '), '\\n', sep = '')\n\
        fast <- c('--no-docs', '--no-byte-compile', '--no-test-load')\n\
        install <- function(package) {\n\
            outputs <- tempfile('outputs'); dir.create(outputs)\n\
            install.packages(package, lib = lib, keep_outputs = outputs, INSTALL_opts = fast)\n\
            log <- readLines(file.path(outputs, paste0(package, '.out')))\n\
            loadNamespace(package, lib.loc = lib)\n\
            sub('.*installing [*](source|binary)[*].*', '\\\\1', grep('installing [*]', log, value = TRUE)[[1]])\n\
        }\n";
    let out = rscript::run(&format!("{}{prelude}{code}", rscript::DOCUMENTED_AGENT), args);
    let pairs = out.lines().filter_map(|line| line.split_once('\t'));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn a_copied_bundle_serves_r_without_network() {
    // Only a loopback interface, without routes.
    if rerun::without_network() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (cran, bioc, bundle) = (dir.path().join("cran"), dir.path().join("bioc"), dir.path().join("bundle"));
    copy("cran-mirror", &cran);
    bioconductor::mirror(&bioc, "4.4");
    publish(&cran, &Tarball::new(VULNERABLE_PACKAGE.0, VULNERABLE_PACKAGE.1));
    publish(&cran, &Tarball::new("maps", "1.0").field("SystemRequirements: GEOS"));
    build(&cran, &[COMPILED_PACKAGE, PLAIN_PACKAGE]);
    download(&cran, &bioc, &bundle);

    // The bundle is copied as a tar archive, as to another machine.
    let archive = dir.path().join("data.tar");
    let copied_bundle = dir.path().join("copied");
    fs::create_dir(&copied_bundle).unwrap();
    let tar = |args: [&str; 2], folder: &Path| {
        let mut command = Command::new("tar");
        command.args(args).arg(&archive).arg("-C").arg(folder).args((args[0] == "-c").then_some("."));
        assert!(command.status().expect("tar").success());
    };
    tar(["-c", "-f"], &bundle);
    tar(["-x", "-f"], &copied_bundle);
    for name in ["cran", "bioconductor"] {
        assert_eq!(validate(name, &copied_bundle, &["--packages"]), (0, Vec::new()), "{name}");
    }

    let url = file_url(&copied_bundle);
    let server = Builder::default()
        .gcfg(&format!(
            "[CRAN]\nURL = {url}\n[Bioconductor]\nURL = {url}\n[Server]\nServiceLog = {{dir}}/service.log"
        ))
        .start();
    for name in ["cran", "bioconductor", "sysreqs", "vulns"] {
        server.sync_of(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    server.rspm_stdout("create repo --name=bioc --type=bioconductor");

    let install_code =
        "options(repos = args[[1]]); report('binary', install(args[[2]])); report('plain', install(args[[3]]))
        report('source', install(args[[4]]))";
    let results = r(
        install_code,
        &[&server.url("/prod/__linux__/bookworm/latest"), COMPILED_PACKAGE, PLAIN_PACKAGE, "xtable"],
    );
    assert_eq!(
        (results["binary"].as_str(), results["plain"].as_str(), results["source"].as_str()),
        ("binary", "binary", "source")
    );

    let biocmanager = "options(BioC_mirror = args[[1]], BIOCONDUCTOR_CONFIG_FILE = paste0(args[[1]], '/config.yaml'),
            repos = c(CRAN = args[[2]]), BiocManager.check_repositories = FALSE)
        suppressMessages(BiocManager::install('BiocGenerics', ask = FALSE, update = FALSE, lib = lib, INSTALL_opts = fast))
        loadNamespace('BiocGenerics', lib.loc = lib)
        report('bioconductor', as.character(packageVersion('BiocGenerics', lib.loc = lib)))";
    let results = r(biocmanager, &[&server.url("/bioc/latest"), &server.url("/prod/latest")]);
    assert_eq!(results["bioconductor"], data::bioconductor_version("3.16", "BiocGenerics"));

    let package = server.get(&format!("/__api__/repos/prod/packages/{}", VULNERABLE_PACKAGE.0)).json();
    assert!(package["vulns"][0]["id"].as_str().is_some_and(|id| id.starts_with("RSEC-")), "{package}");
    let requirements =
        server.get("/__api__/repos/prod/sysreqs?pkgname=maps&distribution=ubuntu&release=22.04").json();
    assert_eq!(
        requirements["requirements"][0]["requirements"]["packages"][0], "libgeos-dev",
        "{requirements}"
    );

    // The mirror changes; the new package is fetched, and the bundle is copied while the server runs.
    let transactions = server.get("/__api__/sources/cran/transactions").json();
    let ids = transactions.as_array().expect("a list").iter().filter_map(|row| row["id"].as_i64());
    let number = ids.max().unwrap_or_else(|| panic!("{transactions}")).to_string();
    let index_before = index(&server, &number);
    publish(&cran, &Tarball::new("brandnew", "0.1"));
    download(&cran, &bioc, &bundle);
    copy_over(&bundle, &copied_bundle);
    server.sync_of("cran").expect("the new state");
    assert_eq!(
        r("options(repos = args[[1]]); report('new', install('brandnew'))", &[&server.url("/prod/latest")])["new"],
        "source"
    );
    assert_eq!(index(&server, &number), index_before, "a snapshot never changes");
    assert_ne!(index(&server, "latest"), index_before);
}
