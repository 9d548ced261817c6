//! Vignettes: built on request, with packages of the same server, which the build installs or the library of builds has.

use std::os::unix::fs::PermissionsExt;

use super::{builder_with, builds, create, repository, server, wait_for_build};
use crate::builder::repository::Repository;
use crate::support::mirror_dir::MirrorDir;
use crate::support::rscript;
use crate::support::server::Server;
use crate::support::tarball::Tarball;
use crate::support::upstream::{Fault, Upstream};

/// A vignette engine that needs neither LaTeX nor pandoc.
pub(super) const ENGINE: &str = r#"
weave <- function(file, ...) {
    output <- sub("[.]Rx$", ".html", basename(file))
    writeLines("<p>woven by the engine</p>", output)
    output
}
tangle <- function(file, ...) {
    output <- sub("[.]Rx$", ".R", basename(file))
    writeLines("", output)
    output
}
.onLoad <- function(libname, pkgname)
    tools::vignetteEngine("html", package = pkgname, pattern = "[.]Rx$", weave = weave, tangle = tangle)
"#;

/// The text in [`ENGINE`] that the engine writes.
const WOVEN: &str = "\"<p>woven by the engine</p>\"";

/// The files of a package with a vignette that this engine weaves; `lines` are further lines of DESCRIPTION.
pub(super) fn with_vignette(repository: &Repository, version: &str, lines: &str) {
    let description = format!(
        "Package: tested\nVersion: {version}\nTitle: T\nDescription: D.\nLicense: MIT\nAuthor: A\nMaintainer: A \
         <a@example.org>\nVignetteBuilder: engine\n{lines}"
    );
    repository.write("DESCRIPTION", &description);
    repository.write("vignettes/a.Rx", "%\\VignetteIndexEntry{A}\n%\\VignetteEngine{engine::html}\n");
}

/// The paths in the listed package of the repository `dev`.
fn paths(server: &Server, version: &str) -> Vec<String> {
    let package = server.get(&format!("/dev/latest/src/contrib/tested_{version}.tar.gz")).body;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(package.as_slice()));
    let entries = archive.entries().unwrap();
    entries.map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
}

#[test]
fn the_packages_that_a_build_needs_are_installed_from_the_repository_of_its_source() {
    let server = server("PollInterval = 1h");
    server.rspm_stdout("create source --name=team");
    server.rspm_stdout("subscribe --repo=dev --source=team");
    let code = ENGINE.replace(WOVEN, "paste0(\"<p>\", helper::word(), \"</p>\")");
    let engine = Tarball::new("engine", "1.0").field("Imports: helper (>= 1.1)").with("R/engine.R", &code);
    let helper = |version: &str, word: &str| {
        let code = format!("word <- function() \"{word}\"\n");
        Tarball::new("helper", version).with("NAMESPACE", "export(word)\n").with("R/word.R", &code)
    };
    server.add("team", &helper("1.1", "allowed"));
    server.add("team", &helper("1.2", "blocked"));
    server.add("team", &engine);
    // It cannot be installed, and no vignette names it.
    server.add("team", &Tarball::new("unloadable", "1.0").with("R/stop.R", "stop(\"not loadable\")\n"));
    server.rspm_stdout("create blocklist-rule --repo=dev --package-name=helper --version=1.2");

    let repository = repository("1.0");
    with_vignette(&repository, "1.0", "Suggests: engine (>= 1.0), unloadable, absent\n");
    repository.commit();
    let created =
        server.rspm(&format!("create git-builder --source=dev --url={} --vignettes", repository.url()));
    assert_eq!(created.code, 0, "{}\n{}", created.out, created.err);
    for part in ["== R CMD INSTALL helper 1.1\n", "== R CMD INSTALL engine 1.0\n", "== R CMD build\n"] {
        assert!(created.out.contains(part), "{part}: {}", created.out);
    }
    assert!(!created.out.contains("unloadable") && !created.out.contains("helper 1.2"), "{}", created.out);
    assert!(paths(&server, "1.0").contains(&"tested/inst/doc/a.html".to_owned()));
    let package = server.get("/dev/latest/src/contrib/tested_1.0.tar.gz").body;
    let page = crate::builder::job::member(&package, "tested/inst/doc/a.html");
    assert_eq!(page, "<p>allowed</p>\n", "the vignette was built with the version that the rules allow");

    // A help page that is evaluated during the build: R installs the package, which needs what it imports.
    server.rspm_stdout("edit git-builder --source=dev --name=tested --no-vignettes");
    repository.git(&["rm", "--quiet", "-r", "vignettes"]);
    let description = "Package: tested\nVersion: 1.1\nTitle: T\nDescription: D.\nLicense: MIT\nAuthor: A\nMaintainer: \
                       A <a@example.org>\nImports: helper\n";
    repository.write("DESCRIPTION", description);
    repository.write("NAMESPACE", "export(f)\nimportFrom(helper, word)\n");
    repository.run_in_build("echo evaluated");
    let commit = repository.commit();
    // The edited builder is due, so either the schedule or this command finds the commit.
    server.rspm_stdout("run git-builder --source=dev --name=tested --no-wait");
    let build = wait_for_build(&server, "commit", &commit, "published");
    let log = server.rspm_stdout(&format!("logs --build-id={}", build["id"]));
    assert!(log.contains("== R CMD INSTALL helper 1.1\n"), "{log}");
    assert!(!log.contains("R CMD INSTALL engine"), "{log}");

    // What is missing, and what cannot be installed, is named with the failure.
    repository.write(
        "DESCRIPTION",
        &description.replace("1.1", "1.2").replace("helper", "helper, absent, unloadable"),
    );
    repository.commit();
    let failed = server.rspm("run git-builder --source=dev --name=tested");
    assert_eq!(failed.code, 1, "{}", failed.out);
    let reason = builds(&server)[0]["reason"].as_str().unwrap().to_owned();
    for part in
        ["R CMD build failed", "could not be installed: unloadable", "the repository 'dev' lists no absent"]
    {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    // Readers of the package see what R wrote, not the messages of the server.
    let public = server.get("/__api__/repos/dev/packages/tested/binaries/logs").json();
    let (reason, log) = (public["reason"].as_str().unwrap(), public["log"].as_str().unwrap());
    assert!(reason.contains("R CMD build failed") && !reason.contains("'dev'"), "{reason}");
    assert!(log.contains("absent") && !log.contains("'dev'") && !log.contains("git"), "{log}");
}

#[test]
fn a_package_that_its_mirror_does_not_deliver_fails_the_build_only_if_r_needs_it() {
    let server = builder_with("PollInterval = 1h\nBuildRetries = 2").prepare();
    let mut mirror = MirrorDir::new(server.dir().join("mirror"));
    for package in ["gone", "late"] {
        mirror.simple(package, "1.0", "2025-01-01");
    }
    mirror.publish(&Tarball::new("engine", "1.0").with("R/engine.R", ENGINE), "2025-01-01");
    mirror.write();
    let upstream = Upstream::of(&mirror.root);
    let file = std::fs::read_to_string(server.config_file()).unwrap();
    let url = format!("file://{}/no-mirror", server.dir().display());
    std::fs::write(server.config_file(), file.replace(&url, &upstream.url())).unwrap();
    let mut server = server;
    server.launch();
    create(&server);
    server.sync().expect("a valid mirror");
    server.rspm_stdout("subscribe --repo=dev --source=cran");
    upstream.remove("src/contrib/gone_1.0.tar.gz");

    let repository = repository("1.0");
    with_vignette(&repository, "1.0", "Suggests: engine, gone\n");
    repository.write("vignettes/notes.txt", "This vignette uses gone.\n");
    repository.commit();
    let line = format!("create git-builder --source=dev --url={} --vignettes", repository.url());
    let created = server.rspm(&line);
    assert_eq!(created.code, 0, "{}\n{}", created.out, created.err);
    for part in ["gone_1.0.tar.gz is not on the mirror\n", "== R CMD INSTALL engine 1.0\n"] {
        assert!(created.out.contains(part), "{part}: {}", created.out);
    }

    // A mirror that does not answer may answer later: another attempt follows.
    upstream.always("src/contrib/late_1.0.tar.gz", Fault::Status(503, "Retry-After: 3600"));
    with_vignette(&repository, "1.1", "Imports: late\nSuggests: engine\n");
    let commit = repository.commit();
    let failed = server.rspm("run git-builder --source=dev --name=tested");
    assert!(failed.code == 1 && failed.out.contains("== Another attempt follows.\n"), "{}", failed.out);
    let build = wait_for_build(&server, "commit", &commit, "failed");
    assert_eq!(build["attempt"], 2);
    let reason = build["reason"].as_str().unwrap();
    assert!(reason.contains("late 1.0: the upstream repository is unavailable"), "{reason}");
}

#[test]
pub(crate) fn packages_that_the_library_has_are_not_installed_and_a_repository_must_be_known() {
    let library = tempfile::Builder::new().prefix("library").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(library.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let gcfg = format!("PollInterval = 1h\nRLibrary = {}\nRRepository = team", library.path().display());
    let server = builder_with(&gcfg).start();
    create(&server);
    let repository = repository("1.0");
    // The packages of the distribution are available, too: tests/setup installs this one.
    with_vignette(&repository, "1.0", "Imports: digest\nSuggests: engine, other\n");
    repository.write("vignettes/notes.txt", "This vignette uses other.\n");
    repository.commit();
    let line = format!("create git-builder --source=dev --url={} --vignettes", repository.url());
    let failed = server.rspm(&line);
    assert!(
        failed.code == 1 && failed.err.contains("Git.RRepository: there is no repository"),
        "{}",
        failed.err
    );

    server.rspm_stdout("create source --name=packages");
    server.rspm_stdout("create repo --name=team");
    server.rspm_stdout("subscribe --repo=team --source=packages");
    server.add("packages", &Tarball::new("engine", "1.0").with("R/engine.R", ENGINE));
    server.add("packages", &Tarball::new("other", "1.0"));
    let code = r#"
        arguments <- commandArgs(TRUE)
        install.packages("engine", lib = arguments[[2]], repos = arguments[[1]], quiet = TRUE)
        stopifnot(dir.exists(file.path(arguments[[2]], "engine")))
    "#;
    rscript::run(code, &[server.url("/team/latest"), library.path().display().to_string()]);
    // The newer version is not required.
    server.add("packages", &Tarball::new("engine", "1.1").with("R/engine.R", "stop(\"not loadable\")\n"));
    let again = server.rspm("rerun git-builder --source=dev --name=tested");
    assert_eq!(again.code, 0, "{}\n{}", again.out, again.err);
    assert!(again.out.contains("== R CMD INSTALL other 1.0\n"), "{}", again.out);
    assert!(!again.out.contains("R CMD INSTALL engine"), "{}", again.out);
    assert!(paths(&server, "1.0").contains(&"tested/inst/doc/a.html".to_owned()));

    // A requirement that the library does not meet: the newer version is tried. The vignette does without it.
    with_vignette(&repository, "1.1", "Suggests: engine (>= 1.1), other\n");
    repository.commit();
    let run = server.rspm("run git-builder --source=dev --name=tested");
    assert_eq!(run.code, 0, "{}\n{}", run.out, run.err);
    let message =
        "R CMD INSTALL engine failed with exit code 1: see the log; the build continues without engine\n";
    assert!(run.out.contains(message), "{}", run.out);
    assert!(paths(&server, "1.1").contains(&"tested/inst/doc/a.html".to_owned()));
}

#[test]
pub(crate) fn a_vignette_that_needs_a_package_of_the_same_server_is_built_on_request() {
    let library = tempfile::Builder::new().prefix("library").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(library.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let server = builder_with(&format!(
        "PollInterval = 1h\nRLibrary = {}\nInstallDependencies = no",
        library.path().display()
    ))
    .start();
    create(&server);
    server.rspm_stdout("create source --name=team");
    server.rspm_stdout("create repo --name=team");
    server.rspm_stdout("subscribe --repo=team --source=team");
    server.add("team", &Tarball::new("engine", "1.0").with("R/engine.R", ENGINE));
    let code = r#"
        arguments <- commandArgs(TRUE)
        install.packages("engine", lib = arguments[[2]], repos = arguments[[1]], quiet = TRUE)
        stopifnot(dir.exists(file.path(arguments[[2]], "engine")))
    "#;
    rscript::run(code, &[server.url("/team/latest"), library.path().display().to_string()]);

    let repository = repository("1.0");
    with_vignette(&repository, "1.0", "Suggests: engine\n");
    repository.commit();
    let line = format!("create git-builder --source=dev --url={} --vignettes", repository.url());
    let created = server.rspm(&line);
    assert_eq!(created.code, 0, "{}\n{}", created.out, created.err);
    assert!(created.out.contains("    Vignettes: yes\n"), "{}", created.out);
    let listed = || paths(&server, "1.0");
    assert!(listed().contains(&"tested/inst/doc/a.html".to_owned()), "{:?}", listed());

    server.rspm_stdout("edit git-builder --source=dev --name=tested --no-vignettes");
    server.rspm_stdout("rerun git-builder --source=dev --name=tested --replace");
    assert!(!listed().contains(&"tested/inst/doc/a.html".to_owned()), "{:?}", listed());

    server.rspm_stdout("create source --name=py --type=git-python");
    let refused = server
        .rspm(&format!("create git-builder --source=py --name=x --url={} --vignettes", repository.url()));
    assert!(refused.code == 1 && refused.err.contains("only R packages have vignettes"), "{}", refused.err);
}

#[test]
pub(crate) fn without_install_dependencies_no_package_is_installed_for_a_build() {
    let server = server("PollInterval = 1h\nInstallDependencies = no");
    server.rspm_stdout("create source --name=team");
    server.rspm_stdout("subscribe --repo=dev --source=team");
    server.add("team", &Tarball::new("engine", "1.0").with("R/engine.R", ENGINE));
    let repository = repository("1.0");
    with_vignette(&repository, "1.0", "Suggests: engine\n");
    repository.commit();
    let created =
        server.rspm(&format!("create git-builder --source=dev --url={} --vignettes", repository.url()));
    assert_eq!(created.code, 1, "{}", created.out);
    assert!(created.out.contains("== R CMD build\n"), "{}", created.out);
    assert!(!created.out.contains("R CMD INSTALL"), "{}", created.out);
}
