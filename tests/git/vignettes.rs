//! Vignettes: built on request, with packages that the library of builds has from the same server.

use std::os::unix::fs::PermissionsExt;

use super::{configured, create, repository};
use crate::support::rscript;
use crate::support::tarball::Tarball;

/// A vignette engine that needs neither LaTeX nor pandoc.
const ENGINE: &str = r#"
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

#[test]
pub(crate) fn a_vignette_that_needs_a_package_of_the_same_server_is_built_on_request() {
    let library = tempfile::Builder::new().prefix("library").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(library.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let server = configured(&format!("PollInterval = 1h\nRLibrary = {}", library.path().display())).start();
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
    let description = "Package: tested\nVersion: 1.0\nTitle: T\nDescription: D.\nLicense: MIT\nAuthor: A\nMaintainer: A \
                       <a@example.org>\nSuggests: engine\nVignetteBuilder: engine\n";
    repository.write("DESCRIPTION", description);
    repository.write("vignettes/a.Rx", "%\\VignetteIndexEntry{A}\n%\\VignetteEngine{engine::html}\n");
    repository.commit();
    let line = format!("create git-builder --source=dev --url={} --vignettes", repository.url());
    let created = server.rspm(&line);
    assert_eq!(created.code, 0, "{}\n{}", created.out, created.err);
    assert!(created.out.contains("    Vignettes: yes\n"), "{}", created.out);
    let listed = || {
        let package = server.get("/dev/latest/src/contrib/tested_1.0.tar.gz").body;
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(package.as_slice()));
        let entries = archive.entries().unwrap();
        entries.map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect::<Vec<_>>()
    };
    assert!(listed().contains(&"tested/inst/doc/a.html".to_owned()), "{:?}", listed());

    server.rspm_stdout("edit git-builder --source=dev --name=tested --no-vignettes");
    server.rspm_stdout("rerun git-builder --source=dev --name=tested --replace");
    assert!(!listed().contains(&"tested/inst/doc/a.html".to_owned()), "{:?}", listed());

    server.rspm_stdout("create source --name=py --type=git-python");
    let refused = server
        .rspm(&format!("create git-builder --source=py --name=x --url={} --vignettes", repository.url()));
    assert!(refused.code == 1 && refused.err.contains("only R packages have vignettes"), "{}", refused.err);
}
