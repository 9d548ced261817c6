//! `Server.RVersion` and `Server.PythonVersion`, the R and the Python that build packages from git.

use crate::builder::repository::Repository;
use crate::support::rscript;
use crate::support::server::{Builder, Server};

fn server_with_r(r: &str) -> Server {
    let gcfg = format!("[Server]\nRVersion = {r}\n[Git]\nSandbox = bubblewrap\nLocalPaths = /tmp\n");
    let server = Builder::default().gcfg(&gcfg).start();
    server.rspm_stdout("create source --name=dev --type=git");
    server
}

#[test]
pub(super) fn r_version_is_the_installation_that_builds() {
    let repository = Repository::new();
    repository.package("", "1.0");
    repository.commit();
    let line = format!("create git-builder --source=dev --url={}", repository.url());
    let home = rscript::run("cat(R.home())", &[""; 0]);
    let server = server_with_r(&home);
    let output = server.rspm(&line);
    assert_eq!(output.code, 0, "{}", output.err);
    server.wait_for_log(&format!(" at {home}"));
    // A directory without R.
    let refusal = server_with_r("/usr/share").rspm(&line);
    assert!(refusal.code == 1 && refusal.err.contains("/usr/share"), "{}", refusal.err);
}

#[test]
pub(super) fn python_version_is_the_installation_that_builds() {
    let repository = Repository::new();
    let backend = "requires = [\"setuptools\", \"wheel\"]\nbuild-backend = \"setuptools.build_meta\"";
    let text = format!("[build-system]\n{backend}\n[project]\nname = \"tested\"\nversion = \"1.0\"\n");
    repository.write("pyproject.toml", &text);
    repository.commit();
    let server = |python: &str| {
        let gcfg =
            format!("[Server]\nPythonVersion = {python}\n[Git]\nSandbox = bubblewrap\nLocalPaths = /tmp\n");
        let server = Builder::default().gcfg(&gcfg).start();
        server.rspm_stdout("create source --name=py --type=git-python");
        server
    };
    let line = format!("create git-builder --source=py --name=tested --url={}", repository.url());
    let found = server("/usr");
    let created = found.rspm(&line);
    assert_eq!(created.code, 0, "{}\n{}", created.out, created.err);
    found.wait_for_log("Detected Python version 3");
    // A directory without Python.
    let refused = server("/usr/share").rspm(&line);
    assert!(refused.code == 1 && refused.err.contains("/usr/share"), "{}", refused.err);
}
