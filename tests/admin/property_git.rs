//! `Server.RVersion`, the R that builds packages from git.

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
