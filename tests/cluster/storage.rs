//! Servers on one database whose storage is not the same.

use std::path::Path;
use std::time::Duration;

use super::{Shared, modes};
use crate::support::fixtures::until;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

fn with_data_dir(shared: &Shared, dir: &Path) -> Builder {
    shared.builder("pm2").gcfg(&format!("[Server]\nDataDir = {}\n", dir.display()))
}

/// The markers of servers in a class.
fn markers(data: &Path, class: &str) -> usize {
    std::fs::read_dir(data.join(class).join("nodes").join(class)).map_or(0, |entries| entries.count())
}

#[test]
fn a_server_with_another_data_directory_does_not_go_online() {
    let shared = Shared::new();
    let mut pm1 = shared.start("pm1");
    until("it is online", || modes(&pm1) == "pm1 online");
    let other_dir = tempfile::tempdir().expect("a directory");
    let mut pm2 = with_data_dir(&shared, other_dir.path()).prepare();
    let error = pm2.start_refused();
    assert!(error.contains("DataDir is not that of pm1, which uses the same database"), "{error}");
    assert!(error.contains(&other_dir.path().display().to_string()), "{error}");
    // It leaves neither a marker nor a row, and the first server restarts as before.
    assert_eq!(markers(other_dir.path(), "packages"), 0);
    pm1.restart();
    assert_eq!(modes(&pm1), "pm1 online");
    assert_eq!(markers(&shared.data(), "packages"), 1);

    // A single class that differs is named.
    let text = format!("[FileStorage \"cran\"]\nLocation = {}\n", other_dir.path().join("cran").display());
    let error = shared.builder("pm2").gcfg(&text).prepare().start_refused();
    assert!(
        error.contains("the storage is not that of pm1") && error.contains("in the storage of cran ("),
        "{error}"
    );

    // Offline, a server uses no storage.
    pm1.rspm_stdout("offline");
    assert_eq!(markers(&shared.data(), "packages"), 0);
    pm2.launch();
    assert_eq!(modes(&pm2), "pm1 offline, pm2 online");
    let error = pm1.refused("online");
    assert!(error.contains("DataDir is not that of pm2") && error.contains("stays offline"), "{error}");
    pm2.stop();
    assert_eq!(pm1.rspm_stdout("online"), "The server is online.\n");
}

#[test]
fn node_markers_are_not_swept_and_are_removed_with_the_servers() {
    let shared = Shared::new();
    let (pm1, mut pm2) = (shared.start("pm1"), shared.start("pm2"));
    until("both are online", || modes(&pm1) == "pm1 online, pm2 online");
    assert_eq!(markers(&shared.data(), "cran"), 2);
    crate::support::fixtures::make_old(&shared.data());
    let message = pm1.rspm_stdout("storage sweep");
    assert!(!message.contains("1 object"), "{message}");
    assert_eq!(markers(&shared.data(), "cran"), 2);
    pm2.kill();
    pm2.launch();
    until("the marker of the killed process is removed", || markers(&shared.data(), "cran") == 2);
    pm2.stop();
    assert_eq!(markers(&shared.data(), "cran"), 1);
}

#[test]
fn a_server_that_was_treated_as_gone_writes_its_markers_again() {
    let shared = Shared::new();
    let (pm1, pm2) = (shared.start("pm1"), shared.start("pm2"));
    until("both are online", || modes(&pm1) == "pm1 online, pm2 online");
    let row = super::nodes(&pm1).into_iter().find(|row| row["name"] == "pm1").expect("listed");
    let id = row["id"].as_str().expect("an id");
    // As the other server does, after this one was suspended.
    let (_, schema) = shared.url.rsplit_once('=').expect("the schema");
    crate::support::postgres::server().sql(&format!("DELETE FROM {schema}.node WHERE id = '{id}'"));
    for class in ["packages", "cran", "binaries", "bioconductor", "pypi", "persistent", "metrics"] {
        for path in walk(&shared.data().join(class).join("nodes")) {
            if path.file_name().is_some_and(|name| name.to_string_lossy().contains(id)) {
                std::fs::remove_file(path).expect("removed");
            }
        }
    }
    until("the row and the markers are written again", || {
        modes(&pm2) == "pm1 online, pm2 online" && markers(&shared.data(), "packages") == 2
    });
    assert!(pm1.log_lines().iter().any(|line| line.contains("treated this one as gone")));
    let pm3 = shared.start("pm3");
    until("a third server starts", || modes(&pm3) == "pm1 online, pm2 online, pm3 online");
}

/// The number of lost objects of the class `packages`.
fn lost_count(server: &Server) -> u64 {
    server.storage_class("packages")["lost"].as_u64().expect("a number")
}

#[test]
fn a_package_that_becomes_visible_during_the_request_is_served_and_a_missing_one_is_reported_once() {
    let shared = Shared::new();
    let (pm1, pm2) = (shared.start("pm1"), shared.start("pm2"));
    let packages = [Tarball::new("late", "1.0"), Tarball::new("gone", "1.0")];
    pm1.local_repository("r", &packages);
    let address = |package: &Tarball| format!("/r/latest/src/contrib/{}", package.file());
    until("the second server lists the packages", || {
        pm2.get("/r/latest/src/contrib/PACKAGES").text().contains("Package: gone\n")
    });
    let files = packages.each_ref().map(|package| pm1.get(&address(package)).body);
    let [first_file, second_file] = [0, 1].map(|number| {
        let (package, file) = (&packages[number], &files[number]);
        let paths = walk(&shared.data().join("packages"));
        let path = paths.into_iter().find(|path| std::fs::read(path).is_ok_and(|bytes| bytes == *file));
        let path = path.expect("stored");
        // As a client of a network file system sees a directory that it has cached.
        let moved_path = shared.data().join(format!("hidden-{}", package.file()));
        std::fs::rename(&path, &moved_path).expect("renamed");
        (moved_path, path)
    });
    let answer = std::thread::scope(|threads| {
        let request = threads.spawn(|| pm2.get(&address(&packages[0])));
        std::thread::sleep(Duration::from_millis(700));
        std::fs::rename(&first_file.0, &first_file.1).expect("renamed");
        request.join().expect("an answer")
    });
    assert_eq!((answer.status, &answer.body), (200, &files[0]));
    assert_eq!(lost_count(&pm2), 0);
    for _ in 0..2 {
        let status = pm2.get(&address(&packages[1])).status;
        assert!(status >= 500 || status == 404, "{status}");
        assert_eq!(lost_count(&pm2), 1);
    }
    let errors = pm2.log_lines();
    assert_eq!(errors.iter().filter(|line| line.contains("no mirror has it")).count(), 1);
    std::fs::rename(&second_file.0, &second_file.1).expect("renamed");
    assert_eq!(pm2.get(&address(&packages[1])).body, files[1]);
    assert_eq!(lost_count(&pm2), 0);
}

/// All files below a directory.
fn walk(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("readable").path());
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
