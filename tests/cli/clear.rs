//! `rspm clear`: CRAN lists nothing until the next sync, and earlier snapshots stay.

use crate::support::mirror_dir::MirrorDir;
use crate::support::server::Server;

#[test]
fn cran_is_empty_until_the_next_sync_and_earlier_snapshots_stay() {
    let server = Server::start();
    let mut mirror = MirrorDir::new(server.dir().join("no-mirror"));
    mirror.simple("gamma", "1.0", "2025-01-01");
    mirror.simple("gamma", "1.1", "2025-02-01");
    mirror.simple("delta", "1.0", "2025-01-01");
    mirror.write();
    assert!(server.refused("clear --type=pypi --confirm").contains("only cran can"));
    assert_eq!(server.rspm_stdout("clear --confirm"), "cran was never synced; nothing to clear.\n");
    server.sync().expect("a valid mirror");
    server.repository("r", "cran");
    let refusal = server.refused("clear --type=cran --confirm");
    assert!(refusal.contains("rspm unsubscribe --repo=r --source=cran"), "{refusal}");
    let before = server.json("url create --repo=r --lock --no-alias");
    let transaction = before["snapshot"].as_str().expect("a transaction").to_owned();
    server.rspm_stdout("unsubscribe --repo=r --source=cran");
    let refusal = server.refused("clear --type=CRAN");
    assert!(refusal.contains("repeat the command with --confirm"), "{refusal}");
    let text = server.rspm_stdout("clear --type=CRAN --confirm");
    assert!(
        text.starts_with("cran was cleared (transaction ") && text.contains("2 packages removed"),
        "{text}"
    );
    assert_eq!(server.rspm_stdout("clear --confirm"), "cran lists no package; nothing to clear.\n");
    server.rspm_stdout("subscribe --repo=r --source=cran");

    let get = |snapshot: &str, path: &str| server.get(&format!("/r/{snapshot}/src/contrib/{path}"));
    assert!(!get("latest", "PACKAGES").text().contains("Package:"));
    assert_eq!(get("latest", "gamma_1.1.tar.gz").status, 404);
    assert!(get(&transaction, "PACKAGES").text().contains("Package: gamma"));
    assert_eq!(get(&transaction, "gamma_1.1.tar.gz").status, 200);
    assert_eq!(get(&transaction, "Archive/gamma/gamma_1.0.tar.gz").status, 200);

    let message = server.sync().expect("a valid mirror");
    assert!(message.contains("2 packages added"), "the unchanged mirror is read again: {message}");
    assert!(get("latest", "PACKAGES").text().contains("Version: 1.1"));
    assert_eq!(get("latest", "Archive/gamma/gamma_1.0.tar.gz").status, 200);
}
