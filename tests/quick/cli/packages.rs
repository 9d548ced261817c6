//! Adding and removing packages, checked by the next request.

use super::{add, files, path_flag, team};
use crate::support::server::Server;
use crate::support::tarball::Tarball;

/// Names and versions of the packages in `prod`.
fn list(server: &Server) -> Vec<String> {
    let page = server.json("list packages --repo=prod");
    let rows = page["packages"].as_array().expect("rows").iter();
    rows.map(|row| format!("{} {}", row["name"].as_str().unwrap(), row["version"].as_str().unwrap()))
        .collect()
}

#[test]
fn several_files_with_one_bad_among_them_add_nothing() {
    let server = team();
    let mut paths = files(&server, &[Tarball::new("alpha", "1.0"), Tarball::new("beta", "1.0")]);
    let bad_file = server.dir().join("gamma_1.0.tar.gz");
    std::fs::write(&bad_file, b"<html>not here</html>").expect("written");
    paths.insert(1, bad_file.clone());
    let message = server.refused(&format!("add --source=team {}", path_flag(&paths)));
    let expected =
        format!("{}: 'gamma_1.0.tar.gz' is refused: this is not a package archive", bad_file.display());
    assert!(message.starts_with(&expected), "{message}");
    assert!(list(&server).is_empty());
    assert!(server.json("info --source=team")["last_transaction"].is_null(), "no transaction either");
    paths.remove(1);
    server.rspm_stdout(&format!("add --source=team {}", path_flag(&paths)));
    assert_eq!(list(&server), ["alpha 1.0", "beta 1.0"]);
}

#[test]
fn several_files_with_one_that_exists_add_nothing() {
    let server = team();
    add(&server, "team", &[Tarball::new("beta", "1.0")]);
    let both = files(&server, &[Tarball::new("alpha", "1.0"), Tarball::new("beta", "1.0")]);
    let message = server.refused(&format!("add --source=team {}", path_flag(&both)));
    assert!(message.starts_with("beta 1.0 is in the source 'team' already"), "{message}");
    assert_eq!(list(&server), ["beta 1.0"]);
    server.rspm_stdout(&format!("add --source=team {} --succeed-on-existing", path_flag(&both)));
    assert_eq!(list(&server), ["alpha 1.0", "beta 1.0"]);
}

#[test]
fn a_missing_file_and_a_folder_are_named() {
    let server = team();
    let missing = server.dir().join("alpha_1.0.tar.gz");
    let message = server.refused(&format!("add --source=team --path={}", missing.display()));
    assert_eq!(
        message,
        format!("could not read {}: No such file or directory (os error 2)", missing.display())
    );
    let message = server.refused(&format!("add --source=team --path={}", server.dir().display()));
    assert_eq!(message, format!("could not read {}: is a directory", server.dir().display()));
}

#[test]
fn new_bytes_are_in_the_next_answer_and_the_old_bytes_in_the_older_snapshot() {
    let server = team();
    add(&server, "team", &[Tarball::new("alpha", "1.0")]);
    let old_transaction =
        server.json("info --source=team")["last_transaction"]["id"].as_i64().expect("a number");
    let file = |snapshot: &str| server.get(&format!("/prod/{snapshot}/src/contrib/alpha_1.0.tar.gz")).body;
    let old_bytes = file("latest");
    let new_files = files(&server, &[Tarball::new("alpha", "1.0").with("R/g.R", "g <- 1\n")]);
    server.rspm_stdout(&format!("add --source=team {} --replace", path_flag(&new_files)));
    assert!(file("latest") != old_bytes, "the new bytes");
    assert!(file(&old_transaction.to_string()) == old_bytes, "history keeps the old bytes");
}

#[test]
fn each_scope_of_a_removal_removes_the_named_versions() {
    let server = team();
    let versions = ["1.0", "1.1", "1.2", "1.3"].map(|version| Tarball::new("alpha", version));
    add(&server, "team", &versions);
    let remove =
        |scope: &str| server.rspm_stdout(&format!("remove package --name=alpha@{scope} --source=team"));
    assert_eq!(remove("current"), "Removed alpha 1.3 from source 'team'.\n");
    assert_eq!(list(&server), ["alpha 1.2"]);
    assert_eq!(remove("1.1"), "Removed alpha 1.1 from source 'team'.\n");
    assert_eq!(list(&server), ["alpha 1.2"]);
    assert_eq!(remove("all"), "Removed alpha 1.2, 1.0 from source 'team'.\n");
    assert!(list(&server).is_empty());
    for version in ["1.0", "1.1", "1.2", "1.3"] {
        let path = format!("/prod/latest/src/contrib/Archive/alpha/alpha_{version}.tar.gz");
        assert_eq!(server.get(&path).status, 404, "{version}");
    }
}
