//! What R installs of a guarded name that the mirror has in a higher version.

use super::{Mirror, add, expected_output, r, repository};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

fn package(name: &str, version: &str, origin: &str) -> Tarball {
    let tarball = Tarball::new(name, version).with("R/f.R", &format!("f <- function() '{origin}'\n"));
    Tarball {
        files: tarball.files.into_iter().filter(|(_, bytes)| bytes != b"f <- function() 1\n").collect(),
        ..tarball
    }
}

/// A server with the repository `prod` of the mirror and of the local source `internal`.
fn start(mirror: &Mirror) -> Server {
    for name in ["acme.db", "acme.web", "acme2"] {
        mirror.list(&package(name, "99.0", "mirror"), "");
    }
    mirror.list(&package("user", "1.0", "mirror").field("Imports: acme.web"), "");
    let server = Builder::default().gcfg(&mirror.gcfg()).start();
    server.sync().expect("a mirror");
    server.rspm_stdout("create source --name=internal");
    repository(&server, "prod", &["cran", "internal"]);
    server.rspm_stdout("create name-guard --name=acme.* --source=internal");
    server
}

const INSTALL: &str = "messages <- character()
    note <- function(condition) {
        messages <<- c(messages, conditionMessage(condition))
        if (inherits(condition, 'warning')) invokeRestart('muffleWarning')
    }
    install <- function(package) {
        messages <<- character()
        try(withCallingHandlers(
            install.packages(package, repos = args[[1]], quiet = TRUE, INSTALL_opts = fast),
            warning = note, error = note), silent = TRUE)
        version <- tryCatch(as.character(packageVersion(package)), error = function(e) 'none')
        if (version == 'none') c(version, messages) else c(version, get('f', asNamespace(package))())
    }
    for (package in args[-1]) say(package, install(package))";

#[test]
fn r_installs_the_own_package_and_not_the_higher_version_of_the_mirror() {
    let mirror = Mirror::new();
    let server = start(&mirror);
    let own = [package("acme.db", "1.0", "own"), package("acme.web", "0.1", "own")];
    for package in &own {
        std::fs::write(server.dir().join(package.file()), package.bytes()).expect("written");
        let path = server.dir().join(package.file());
        assert_eq!(server.rspm(&format!("add --source=internal --path={}", path.display())).code, 0);
    }
    let output = r(INSTALL, &[&server.url("/prod/latest"), "acme.db", "acme2", "user", "acme.web"]);
    let expected =
        [("acme.db", "1.0 own"), ("acme2", "99.0 mirror"), ("user", "1.0 mirror"), ("acme.web", "0.1 own")];
    assert_eq!(output, expected_output(&expected));
}

#[test]
fn r_installs_nothing_if_the_own_source_lacks_the_package() {
    let mirror = Mirror::new();
    let server = start(&mirror);
    add(&server, "internal", &[package("unrelated", "1.0", "own")]);
    let output = r(INSTALL, &[&server.url("/prod/latest"), "acme.db", "user", "acme2"]);
    assert!(
        output["acme.db"].starts_with("none") && output["acme.db"].contains("is not available"),
        "{output:?}"
    );
    assert!(output["user"].starts_with("none") && output["user"].contains("acme.web"), "{output:?}");
    assert_eq!(output["acme2"], "99.0 mirror", "another name");
    let code = format!(
        "{INSTALL}
        messages <- character()
        file <- paste0(args[[1]], '/src/contrib/acme.db_99.0.tar.gz')
        try(withCallingHandlers(download.file(file, tempfile(), quiet = TRUE), warning = note, error = note), silent = TRUE)
        say('file', messages)"
    );
    let output = r(&code, &[&server.url("/prod/latest")]);
    assert!(output["file"].contains("403 Forbidden"), "{output:?}");
}
