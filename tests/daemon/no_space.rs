//! A start while the disk of a storage class is full: stored packages are served, new ones are refused until there is
//! space.

use crate::support::fixtures::until;
use crate::support::rerun;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

const PACKAGE: &str = "/team/latest/src/contrib/alpha_1.0.tar.gz";

#[test]
fn a_server_on_a_full_disk_starts_and_serves_stored_packages() {
    let Some(disk) = rerun::small_disk() else { return };
    let location = disk.join("packages");
    let gcfg = format!("[FileStorage \"packages\"]\nLocation = {}", location.display());
    let mut server = Builder::default().gcfg(&gcfg).start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    until("the storage is claimed", || location.join("owner/packages").exists());
    let package = server.get(PACKAGE).body;
    assert!(alerts(&server).iter().all(|text| !text.contains("no space left")));
    server.stop();

    std::fs::write(disk.join("filler"), vec![0; 2 << 20]).expect_err("the disk is full");
    let (code, text) = server.check_config();
    let message = format!("nothing can be stored in '{}'", location.display());
    let line = text.lines().find(|line| line.contains(&message));
    let is_a_remark =
        line.is_some_and(|line| line.starts_with("[INFO] File paths and storage") && line.contains("df -h"));
    assert!(is_a_remark, "{code} {text}");

    server.launch();
    server.wait_for_log(&message);
    assert!(server.get(PACKAGE).body == package);
    let messages = alerts(&server);
    assert!(
        messages.iter().any(|text| text.contains("packages") && text.contains("no space left")),
        "{messages:?}"
    );
    assert!(server.rspm("status").out.contains("has no space left"));
    let file = server.dir().join("beta_1.0.tar.gz");
    std::fs::write(&file, Tarball::new("beta", "1.0").bytes()).expect("written");
    let add = format!("add --source=team --path={}", file.display());
    let refusal = server.rspm(&add);
    assert!(refusal.code != 0 && refusal.err.contains("space"), "{refusal:?}");

    std::fs::remove_file(disk.join("filler")).expect("removed");
    let added = server.rspm(&add);
    assert_eq!(added.code, 0, "{added:?}");
    server.stop();
    server.launch();
    assert_eq!(server.get("/team/latest/src/contrib/beta_1.0.tar.gz").status, 200);
    assert!(alerts(&server).iter().all(|text| !text.contains("no space left")));
}

#[test]
fn a_start_without_space_for_the_database_names_the_cause() {
    let Some(disk) = rerun::with_mount("-t tmpfs -o size=16m") else { return };
    let gcfg = format!("[SQLite]\nDir = {}", disk.join("db").display());
    let mut server = Builder::default().gcfg(&gcfg).start();
    server.stop();
    std::fs::write(disk.join("filler"), vec![0; 17 << 20]).expect_err("the disk is full");
    let output = server.start_refused();
    assert!(
        output.contains("no space left for the database") && output.contains("rstudio-pm.db"),
        "{output}"
    );
    std::fs::remove_file(disk.join("filler")).expect("removed");
    server.launch();
    assert_eq!(server.get("/__ping__").status, 200);
}

fn alerts(server: &Server) -> Vec<String> {
    let all = server.get("/__api__/alerts").json();
    let list = all.as_array().cloned().unwrap_or_default();
    list.iter().filter_map(|alert| Some(alert["message"].as_str()?.to_owned())).collect()
}
