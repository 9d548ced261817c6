//! Real BiocManager against a server with two versions of Bioconductor.

use std::path::Path;

use super::{add, add_with_warnings, curl, expected_output, r, r_with};
use crate::support::data::{self, bioconductor_version as of};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

const CODE: &str = include_str!("bioconductor.R");

/// A copy of the real mirror. Each version has a `BiocVersion` for any version of R. `r` is the R version of 3.20, so
/// that both versions can be for the R of this machine.
pub(crate) fn mirror(root: &Path, r: &str) {
    let status = std::process::Command::new("cp").arg("-r").arg(data::path("bioc-mirror")).arg(root).status();
    assert!(status.expect("cp runs").success());
    for version in ["3.16", "3.20"] {
        let contrib = root.join(format!("packages/{version}/bioc/src/contrib"));
        let own = Tarball::new("BiocVersion", &format!("{version}.0"));
        std::fs::write(contrib.join(own.file()), own.bytes()).expect("written");
        let index = std::fs::read_to_string(contrib.join("PACKAGES")).expect("an index");
        let records = index.split("\n\n").filter(|record| !record.contains("Package: BiocVersion"));
        let mut records: Vec<String> = records.map(|record| record.trim_matches('\n').to_owned()).collect();
        records.push(format!("Package: BiocVersion\nVersion: {version}.0\nLicense: MIT\n"));
        std::fs::write(contrib.join("PACKAGES"), records.join("\n\n")).expect("written");
        for other in ["PACKAGES.gz", "PACKAGES.rds"] {
            std::fs::remove_file(contrib.join(other)).expect("the file exists");
        }
    }
    let config = std::fs::read_to_string(root.join("config.yaml")).expect("a config.yaml");
    let config = config.replace("\"3.20\": \"4.4\"", &format!("\"3.20\": \"{r}\""));
    std::fs::write(root.join("config.yaml"), config).expect("written");
}

/// A server with both versions in the repository `bioc`, and an empty repository in place of CRAN.
fn server(r: &str) -> Server {
    let server = Builder::default().gcfg("[Bioconductor]\nURL = file://{dir}/mirror").start();
    mirror(&server.dir().join("mirror"), r);
    server.rspm_stdout("create repo --name=bioc --type=bioconductor");
    server.rspm_stdout("sync --type=Bioconductor");
    server.rspm_stdout("create source --name=team");
    server.rspm_stdout("create repo --name=cran");
    server.rspm_stdout("subscribe --repo=cran --source=team");
    server
}

#[test]
fn biocmanager_installs_from_two_versions_of_one_server() {
    let server = server("4.2");
    let cran = server.url("/cran/latest");
    for (version, path) in [("3.16", "/bioc/latest"), ("3.20", "/bioc")] {
        let output = r(CODE, &[&server.url(path), &cran, version, "Biobase"]);
        let below = |part: &str| format!("/packages/{version}/{part}");
        let repositories =
            ["bioc", "data/annotation", "data/experiment", "workflows", "books"].map(below).join(" ");
        let (biobase, generics) = (of(version, "Biobase"), of(version, "BiocGenerics"));
        let installed = format!("Biobase_{biobase} BiocGenerics_{generics} BiocVersion_{version}.0");
        assert_eq!(
            output,
            expected_output(&[
                ("available", "Biobase BiocGenerics BiocVersion IRanges"),
                ("installed", &installed),
                ("repositories", &repositories),
                ("version", version),
                ("works", "2 3"),
            ])
        );
    }
}

#[test]
fn a_mirror_whose_address_ends_in_a_slash_has_the_same_packages() {
    let server = server("4.2");
    let code =
        "options(BioC_mirror = args[[1]], BIOCONDUCTOR_CONFIG_FILE = paste0(args[[2]], '/config.yaml'),
            repos = c(CRAN = args[[3]]), BiocManager.check_repositories = FALSE)
        suppressMessages(say('available', sort(BiocManager::available('^(Biobase|BiocGenerics)$'))))";
    let (clean, cran) = (server.url("/bioc/latest"), server.url("/cran/latest"));
    for mirror in [clean.clone(), format!("{clean}/")] {
        let output = r(code, &[&mirror, &clean, &cran]);
        assert_eq!(output, expected_output(&[("available", "Biobase BiocGenerics")]), "{mirror}");
    }
}

#[test]
fn biocmanager_reports_the_r_version_that_a_version_needs() {
    let server = server("4.4");
    let code = "options(BioC_mirror = args[[1]], BIOCONDUCTOR_CONFIG_FILE = paste0(args[[1]], '/config.yaml'),
            repos = c(CRAN = args[[1]]), BiocManager.check_repositories = FALSE)
        suppressMessages(say('own', as.character(BiocManager::version())))
        say('other', gsub('[[:space:]]+', ' ', tryCatch(BiocManager::repositories(version = '3.20'), error = conditionMessage)))";
    let output = r(code, &[&server.url("/bioc/latest")]);
    assert_eq!(output["own"], "3.16", "3.16 is for R 4.2");
    assert!(output["other"].contains("'3.20' requires R version '4.4'"), "{output:?}");
}

#[test]
fn biocmanager_installs_packages_of_additional_sources() {
    let server = server("4.4");
    let packages = [Tarball::new("labtools", "1.0"), Tarball::new("IRanges", "0.1")];
    let warnings = add_with_warnings(&server, "team", &packages);
    let warning = "Warning: the sources team and bioconductor both have a package 'IRanges': ";
    assert!(warnings.starts_with(warning), "{warnings}");
    server.rspm_stdout("create source --name=other");
    add(&server, "other", &[Tarball::new("labmore", "1.0")]);
    let subscribed = server.rspm("subscribe --repo=bioc --source=team --version=3.16");
    assert_eq!(
        (subscribed.code, subscribed.out.as_str()),
        (0, "Repository: bioc\nSources:\n--team@3.16 (Local)\n--bioconductor (Bioconductor)\n")
    );
    let warning = "Warning: the sources team and bioconductor both have the package 'IRanges'; team, which precedes \
                   bioconductor in the repository 'bioc', provides it. ";
    assert!(subscribed.err.starts_with(warning), "{}", subscribed.err);
    server.rspm_stdout("subscribe --repo=bioc --source=other");
    let cran = server.url("/cran/latest");
    let output = r(CODE, &[&server.url("/bioc/latest"), &cran, "3.16", "labtools,labmore"]);
    assert_eq!(output["available"], "Biobase BiocGenerics BiocVersion IRanges labmore labtools");
    assert_eq!(output["installed"], "BiocVersion_3.16.0 labmore_1.0 labtools_1.0");
    let index = |version: &str| {
        curl(&[], &server.url(&format!("/bioc/packages/{version}/bioc/src/contrib/PACKAGES"))).text()
    };
    let (old, new) = (index("3.16"), index("3.20"));
    let record = |version: &str| format!("Package: IRanges\nVersion: {version}\n");
    let (own, of_new) = (of("3.16", "IRanges"), of("3.20", "IRanges"));
    assert!(old.contains(&record("0.1")) && !old.contains(&record(&own)), "{old}");
    assert!(new.contains(&record(&of_new)) && new.contains("labmore") && !new.contains("labtools"), "{new}");
    // The team's package is served, also under Bioconductor's address.
    let file =
        |name: &str| curl(&[], &server.url(&format!("/bioc/packages/3.16/bioc/src/contrib/{name}"))).status;
    let own = format!("IRanges_{own}.tar.gz");
    assert_eq!((file("IRanges_0.1.tar.gz"), file(&own)), (200, 404));
    server.rspm_stdout("unsubscribe --repo=bioc --source=team --version=3.16");
    assert_eq!((file("IRanges_0.1.tar.gz"), file(&own)), (404, 200));
}

#[test]
fn install_packages_installs_a_bioconductor_version_from_a_repository_of_r_packages() {
    let server = server("4.4");
    add(&server, "team", &[Tarball::new("labtools", "1.0").field("Imports: BiocGenerics")]);
    server.rspm_stdout("create repo --name=all");
    server.rspm_stdout("subscribe --repo=all --source=team");
    let result = server.rspm("subscribe --repo=all --source=bioconductor");
    assert!(result.code == 1 && result.err.contains("--version=3.20"), "{}", result.err);
    server.rspm_stdout("subscribe --repo=all --source=bioconductor --version=3.16");
    let result = server.rspm("subscribe --repo=all --source=bioconductor --version=3.20");
    assert!(result.code == 1 && result.err.contains("rspm unsubscribe --repo=all"), "{}", result.err);
    let code = "install.packages('labtools', repos = args[[1]], quiet = TRUE, INSTALL_opts = fast)
        have <- installed.packages(.libPaths()[[1]])
        say('installed', sort(paste0(have[, 'Package'], '_', have[, 'Version'])))";
    let output = r(code, &[&server.url("/all/latest")]);
    let installed = format!("BiocGenerics_{} labtools_1.0", of("3.16", "BiocGenerics"));
    assert_eq!(output, expected_output(&[("installed", &installed)]));
}

/// pak, pkgcache and remotes read `config.yaml` with one parser, which needs a line after the map.
#[test]
fn remotes_reads_config_yaml_and_installs() {
    let server = server("4.4");
    let url = server.url("/bioc");
    let code = "b <- remotes:::bioconductor
        b$set_yaml_config(readLines(paste0(args[[1]], '/config.yaml')))
        say('release', as.character(b$get_release_version()), as.character(b$get_devel_version()))
        map <- b$get_version_map()
        say('map', nrow(map), as.character(map$r_version[map$bioc_version == '3.16']))
        say('own', as.character(remotes::bioc_version()))
        repos <- remotes::bioc_install_repos()
        say('repos', sub(args[[1]], '', repos[c('BioCsoft', 'BioCann', 'BioCexp')], fixed = TRUE))
        install.packages('BiocGenerics', repos = repos, quiet = TRUE, INSTALL_opts = fast)
        say('installed', as.character(packageVersion('BiocGenerics')))";
    for (requested, version) in [("", "3.16"), ("3.20", "3.20")] {
        let output = r_with(code, &[&url], |command| {
            command.env("R_BIOC_MIRROR", &url).env("R_BIOC_VERSION", requested);
        });
        let repos =
            ["bioc", "data/annotation", "data/experiment"].map(|part| format!("/packages/{version}/{part}"));
        assert_eq!(
            output,
            expected_output(&[
                ("installed", &of(version, "BiocGenerics")),
                ("map", "8 4.2"),
                ("own", version),
                ("release", "3.20 3.21"),
                ("repos", &repos.join(" ")),
            ])
        );
    }
}
