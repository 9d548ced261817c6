//! An import at one server: past days have the same answers on the other one.

use std::time::{Duration, Instant};

use super::Shared;
use crate::support::fixtures::until;
use crate::support::tarball::Tarball;

#[test]
fn an_import_at_one_server_is_visible_on_past_days_of_the_other_within_a_second() {
    let shared = Shared::new();
    let servers = ["pm1", "pm2"].map(|name| shared.start(name));
    servers[0].local_repository("r", &[]);
    let day = "/r/2020-01-02/src/contrib/PACKAGES";
    until("both have the repository", || servers[1].get("/r/latest/src/contrib/PACKAGES").status == 200);
    assert_eq!(servers[1].get(day).status, 404, "no state as old as that");
    let package = Tarball::new("alpha", "1.0");
    std::fs::write(servers[0].dir().join(package.file()), package.bytes()).expect("written");
    let line = r#"{"op":"add","at":"2020-01-02T10:00:00Z","exact":"commit","file":"alpha_1.0.tar.gz"}"#;
    let list = servers[0].dir().join("list.ndjson");
    std::fs::write(&list, line).expect("written");
    let output = servers[0].rspm(&format!("import list {} --source=r --commit", list.display()));
    assert_eq!(output.code, 0, "{}{}", output.out, output.err);
    let imported = Instant::now();
    until("the other server serves the day", || servers[1].get(day).status == 200);
    assert!(imported.elapsed() < Duration::from_secs(1), "{:?}", imported.elapsed());
    let answers = servers.each_ref().map(|server| server.get(day));
    assert!(answers[0].text().contains("Package: alpha\n"), "{}", answers[0].text());
    assert_eq!(answers[0].header("etag"), answers[1].header("etag"));
    assert_eq!(answers[0].body, answers[1].body);
}
