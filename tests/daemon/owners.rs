//! A start with another database removes nothing and is reported everywhere; one command makes the database the owner.

use crate::support::fixtures::{make_old, until};
use crate::support::http;
use crate::support::server::Server;
use crate::support::tarball::Tarball;

const PACKAGE: &str = "/team/latest/src/contrib/alpha_1.0.tar.gz";

/// The number of objects of class `packages` that are not in the trash.
fn objects(server: &Server) -> usize {
    let root = server.dir().join("data/packages/packages");
    let folders = std::fs::read_dir(root).into_iter().flatten().flatten();
    folders.map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().count()).sum()
}

fn alerts(server: &Server) -> Vec<String> {
    let answer = server.get("/__api__/alerts").json();
    let list = answer.as_array().cloned().unwrap_or_default();
    let types = list.iter().filter_map(|alert| Some(alert["type"].as_str()?.to_owned()));
    // Alerts of type `storage` are about the file systems of this machine.
    types.filter(|kind| kind != "storage").collect()
}

#[test]
fn a_start_with_an_empty_database_removes_nothing_and_is_reported_everywhere() {
    let mut server = Server::start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0"), Tarball::new("beta", "1.0")]);
    until("the storage is claimed", || server.dir().join("data/packages/owner/packages").exists());
    assert!(alerts(&server).is_empty());
    let package = server.get(PACKAGE).body;
    server.stop();
    make_old(&server.dir().join("data/packages/packages"));
    let (database, moved_database) = (server.dir().join("data/db"), server.dir().join("away"));
    std::fs::rename(&database, &moved_database).expect("moved away");

    // The check reports it before the start.
    let check_output = server.rspm("check-config");
    assert!(
        check_output.code == 1
            && check_output.out.contains("storage class 'packages' belongs to another database"),
        "{check_output:?}"
    );

    server.launch();
    server.wait_for_log("the storage class belongs to another database");
    until("it is an alert", || alerts(&server).contains(&"storage-owner".to_owned()));
    let status = server.rspm("status");
    assert!(
        status.out.contains("Warning: storage of") && status.out.contains("rspm storage adopt"),
        "{status:?}"
    );
    let sweep_output = server.rspm("storage sweep");
    assert!(
        sweep_output.code == 0 && sweep_output.out.contains("0 objects were moved to the trash"),
        "{sweep_output:?}"
    );
    let list_output = server.rspm("storage list");
    assert!(list_output.out.contains("another database"), "{list_output:?}");
    assert_eq!(objects(&server), 2);

    // With the first database, everything is served.
    server.stop();
    std::fs::rename(&database, server.dir().join("empty")).expect("moved away");
    std::fs::rename(&moved_database, &database).expect("moved back");
    server.launch();
    assert!(server.get(PACKAGE).body == package);
    let sweep_output = server.rspm("storage sweep");
    assert!(
        sweep_output.out.contains("0 objects were moved to the trash")
            && !sweep_output.out.contains("Warning"),
        "{sweep_output:?}"
    );
    assert!(alerts(&server).is_empty());

    // The administrator makes the other database the owner: objects without a row in it go to the trash and can be
    // restored.
    server.stop();
    std::fs::rename(&database, &moved_database).expect("moved away");
    std::fs::rename(server.dir().join("empty"), &database).expect("moved");
    server.launch();
    let adopt_output = server.rspm("storage adopt --class=packages,cran");
    assert!(
        adopt_output.out.contains("This database is now the owner of: packages, cran"),
        "{adopt_output:?}"
    );
    let sweep_output = server.rspm("storage sweep");
    assert!(sweep_output.out.contains("2 objects were moved to the trash"), "{sweep_output:?}");
    assert_eq!(objects(&server), 0);
    let packages = server.storage_class("packages");
    assert_eq!((&packages["owner"], &packages["trash_objects"]), (&"own".into(), &2.into()));
    assert_eq!(server.storage_class("binaries")["owner"], "foreign");
    let restore_output = server.rspm("storage restore --class=packages");
    assert!(restore_output.out.contains("2 objects were restored from the trash"), "{restore_output:?}");
    assert_eq!(objects(&server), 2);
    let refusal = server.rspm("storage sweep --confirm=packets");
    assert_eq!(refusal.code, 2, "{refusal:?}");
}

#[test]
fn unmounted_storage_is_reported_everywhere_and_stores_nothing() {
    let mut server = Server::start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0"), Tarball::new("beta", "1.0")]);
    until("the storage is claimed", || server.dir().join("data/packages/owner/packages").exists());
    let package = server.get(PACKAGE).body;
    server.stop();
    let (storage_dir, moved_storage) = (server.dir().join("data/packages"), server.dir().join("away"));
    std::fs::rename(&storage_dir, &moved_storage).expect("moved away");
    std::fs::create_dir(&storage_dir).expect("a mount point");
    let check_output = server.rspm("check-config");
    assert!(
        check_output.code == 1
            && check_output.out.contains("storage class 'packages' has neither its owner marker"),
        "{check_output:?}"
    );

    server.launch();
    let file = server.dir().join("gamma_1.0.tar.gz");
    std::fs::write(&file, Tarball::new("gamma", "1.0").bytes()).expect("written");
    let add = format!("add --source=team --path={}", file.display());
    // Refused even right after the start.
    let refusal = server.rspm(&add);
    assert!(refusal.code != 0 && refusal.err.contains("rspm storage adopt --class=packages"), "{refusal:?}");
    server.wait_for_log("it may not be mounted");
    until("it is an alert", || alerts(&server).contains(&"storage-owner".to_owned()));
    let status = server.rspm("status");
    assert!(status.out.contains("Warning: storage of packages"), "{status:?}");
    assert!(server.rspm("storage list").out.contains("missing"));
    let scrub = server.rspm("scrub --class=packages");
    assert_eq!(scrub.code, 1, "{scrub:?}");
    assert!(
        scrub.out.contains("Nothing was compared") && !scrub.out.contains("nothing is wrong"),
        "{scrub:?}"
    );
    assert_eq!((objects(&server), server.get(PACKAGE).status), (0, 503));
    assert!(!storage_dir.join("owner/packages").exists());

    // The storage is mounted while the server runs.
    std::fs::rename(&storage_dir, server.dir().join("mount-point")).expect("moved");
    std::fs::rename(&moved_storage, &storage_dir).expect("mounted");
    assert!(!server.rspm("storage list").out.contains("missing"));
    assert!(server.get(PACKAGE).body == package);
    let add_output = server.rspm(&add);
    assert_eq!(add_output.code, 0, "{add_output:?}");
    assert!(alerts(&server).is_empty());
}

#[test]
fn a_marker_that_cannot_be_read_is_named_with_its_path() {
    let mut server = Server::start();
    let marker = server.dir().join("data/packages/owner/packages");
    until("the storage is claimed", || marker.exists());
    server.stop();
    std::fs::remove_file(&marker).expect("removed");
    std::fs::create_dir(&marker).expect("a directory in its place");
    let check_output = server.rspm("check-config");
    assert!(
        check_output.code == 1 && check_output.out.contains("owner/packages': Is a directory"),
        "{check_output:?}"
    );
    server.launch();
    let adopt_output = server.rspm("storage adopt --class=packages");
    assert!(adopt_output.code != 0 && adopt_output.err.contains("owner/packages"), "{adopt_output:?}");
}

#[test]
fn a_location_that_is_a_file_is_named_and_the_other_classes_are_listed() {
    let server = Server::start();
    let folder = server.dir().join("data/cran");
    until("the storage is claimed", || folder.join("owner/cran").exists());
    let away = server.dir().join("away");
    std::fs::rename(&folder, &away).expect("moved away");
    std::fs::write(&folder, "a file").expect("written");
    let problem = format!("Storage class cran ({0}) cannot be read: cannot read '{0}", folder.display());
    for command in ["storage list", "list storage"] {
        let listed = server.rspm(command);
        assert!(listed.code == 0 && listed.out.contains(&problem), "{command}: {listed:?}");
        assert_eq!(listed.out.matches("cannot be read").count(), 1, "{command}: {listed:?}");
    }
    assert_eq!(server.storage_class("cran")["owner"], "unknown");
    assert_eq!(server.storage_class("packages")["owner"], "own");
    std::fs::remove_file(&folder).expect("removed");
    std::fs::rename(&away, &folder).expect("moved back");
    let state = server.storage_class("cran");
    assert!(state["owner"] == "own" && state.get("problem").is_none(), "{state}");
}

#[test]
fn a_damaged_local_package_is_a_503_and_an_alert_until_it_is_added_again() {
    let mut server = Server::start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    let package = server.get(PACKAGE);
    let digest = package.header("etag").expect("an ETag").trim_matches('"').to_owned();
    let object = server.dir().join(format!("data/packages/packages/{}/{digest}", &digest[..2]));
    let mut bytes = std::fs::read(&object).expect("stored");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&object, bytes).expect("written");
    server.restart();
    until("the storage markers are compared", || server.storage_class("packages")["owner"] == "own");
    assert_eq!(server.get(PACKAGE).status, 503);
    assert_eq!(head(&server), 503);
    assert!(alerts(&server).contains(&"storage-damage".to_owned()));
    server.restart();
    until("the alert remains after a restart", || alerts(&server).contains(&"storage-damage".to_owned()));
    assert_eq!(server.get(PACKAGE).status, 503);
    let file = server.dir().join("alpha_1.0.tar.gz");
    std::fs::write(&file, Tarball::new("alpha", "1.0").bytes()).expect("written");
    let add_output = server.rspm(&format!("add --source=team --replace --path={}", file.display()));
    assert_eq!(add_output.code, 0, "{add_output:?}");
    until("it is stored again", || head(&server) == 200);
    assert!(server.get(PACKAGE).body == package.body);
    assert_eq!(alerts(&server), [""; 0]);
}

fn head(server: &Server) -> u16 {
    http::request("HEAD", &server.url(PACKAGE), &[], b"").status
}

#[test]
fn a_lost_local_package_is_a_503_and_an_alert_once_it_is_requested() {
    for method in ["HEAD", "GET"] {
        let mut server = Server::start();
        server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
        let digest = server.get(PACKAGE).header("etag").expect("an ETag").trim_matches('"').to_owned();
        server.restart();
        until("the storage markers are compared", || server.storage_class("packages")["owner"] == "own");
        let object = server.dir().join(format!("data/packages/packages/{}/{digest}", &digest[..2]));
        std::fs::remove_file(object).expect("stored");
        assert_eq!(http::request(method, &server.url(PACKAGE), &[], b"").status, 503);
        assert!(alerts(&server).contains(&"storage-lost".to_owned()), "{method}");
        assert!(server.rspm_stdout("status").contains("not in storage: 1;"), "{method}");
        let file = server.dir().join("alpha_1.0.tar.gz");
        std::fs::write(&file, Tarball::new("alpha", "1.0").bytes()).expect("written");
        server.rspm_stdout(&format!("add --source=team --replace --path={}", file.display()));
        until("it is stored again", || head(&server) == 200);
        assert!(!alerts(&server).contains(&"storage-lost".to_owned()));
    }
}

#[test]
fn storage_unmounted_under_the_running_server_stores_nothing_until_it_is_mounted_again() {
    let server = Server::start();
    let packages = [Tarball::new("alpha", "1.0"), Tarball::new("beta", "1.0")];
    server.local_repository("team", &packages);
    until("the storage markers are compared", || server.storage_class("packages")["owner"] == "own");
    let (storage_dir, moved_storage) = (server.dir().join("data/packages"), server.dir().join("away"));
    let add = |number: usize| {
        let file = server.dir().join(format!("gamma_1.{number}.tar.gz"));
        std::fs::write(&file, Tarball::new("gamma", &format!("1.{number}")).bytes()).expect("written");
        server.rspm(&format!("add --source=team --path={}", file.display()))
    };
    for round in 0..2 {
        std::fs::rename(&storage_dir, &moved_storage).expect("unmounted");
        std::fs::create_dir(&storage_dir).expect("a mount point");
        for number in 0..3 {
            let refusal = add(10 * round + number);
            assert!(refusal.code != 0 && refusal.err.contains("it may not be mounted"), "{refusal:?}");
        }
        server.wait_for_log("it may not be mounted");
        assert_eq!(alerts(&server), ["storage-owner"]);
        assert!(server.rspm("status").out.contains("Warning: storage of packages"));
        let entries: Vec<_> = std::fs::read_dir(&storage_dir).expect("a mount point").collect();
        assert!(entries.is_empty(), "{entries:?}");

        std::fs::rename(&storage_dir, server.dir().join(format!("mount-point-{round}"))).expect("moved");
        std::fs::rename(&moved_storage, &storage_dir).expect("mounted");
        // The first access detects the mount.
        for number in 0..3 {
            let add_output = add(10 * round + number);
            assert_eq!(add_output.code, 0, "{add_output:?}");
            let package = format!("/team/latest/src/contrib/gamma_1.{}.tar.gz", 10 * round + number);
            assert_eq!(server.get(&package).status, 200);
        }
        assert!(alerts(&server).is_empty());
    }
}

#[test]
fn a_request_for_a_package_of_unmounted_storage_reports_the_storage_and_no_lost_package() {
    let server = Server::start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0"), Tarball::new("beta", "1.0")]);
    until("the storage markers are compared", || server.storage_class("packages")["owner"] == "own");
    let (storage_dir, moved_storage) = (server.dir().join("data/packages"), server.dir().join("away"));
    std::fs::rename(&storage_dir, &moved_storage).expect("unmounted");
    std::fs::create_dir(&storage_dir).expect("a mount point");
    assert_eq!(server.get(PACKAGE).status, 503);
    assert_eq!(alerts(&server), ["storage-owner"]);
    std::fs::remove_dir(&storage_dir).expect("removed");
    std::fs::rename(&moved_storage, &storage_dir).expect("mounted");
    assert_eq!(server.get(PACKAGE).status, 200);
}
