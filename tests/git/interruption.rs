//! A server that ends in the middle of a build.

use std::os::unix::fs::PermissionsExt;

use super::{builds, installed_version, repository, server, wait_for_build};

#[test]
fn a_build_whose_server_is_killed_is_started_again_and_published_once() {
    let mut server = server("PollInterval = 1h");
    let repository = repository("1.0");
    // R runs it before the build.
    let cleanup = repository.write("cleanup", "#!/bin/sh\nsleep 5\n");
    std::fs::set_permissions(cleanup, PermissionsExt::from_mode(0o755)).unwrap();
    let commit = repository.commit();
    let url = repository.url();
    server.rspm_stdout(&format!("create git-builder --source=dev --url={url} --no-wait"));
    wait_for_build(&server, "commit", &commit, "building");
    server.kill();
    server.launch();
    let build = wait_for_build(&server, "commit", &commit, "published");
    assert_eq!((build["attempt"].as_i64(), builds(&server).len()), (Some(2), 1));
    assert_eq!(installed_version(&server), "1.0");
    let transactions = server.get("/__api__/sources/dev/transactions").json();
    assert_eq!(transactions.as_array().map(Vec::len), Some(1), "{transactions}");

    // A server that stops does not wait for the end of a build.
    let rerun = "rerun git-builder --source=dev --name=tested --replace --no-wait";
    server.rspm_stdout(rerun);
    wait_for_build(&server, "commit", &commit, "building");
    server.stop();
    server.launch();
    let build = wait_for_build(&server, "actor", build["actor"].as_str().unwrap(), "published");
    assert_eq!(build["commit"], commit);
    super::wait_for("both builds end", || {
        builds(&server).iter().all(|build| build["state"] == "published").then_some(())
    });
    assert_eq!(builds(&server)[0]["attempt"], 2);
}
