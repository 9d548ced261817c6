//! `Server.RVersion`, the R that builds packages from git.

use crate::builder::repository::Repository;
use crate::support::rscript;
use crate::support::server::{Builder, Server};

fn server(r: &str) -> Server {
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
    let found = server(&home);
    let created = found.rspm(&line);
    assert_eq!(created.code, 0, "{}", created.err);
    found.wait_for_log(&format!(" at {home}"));
    // A directory without R.
    let refused = server("/usr/share").rspm(&line);
    assert!(refused.code == 1 && refused.err.contains("/usr/share"), "{}", refused.err);
}
