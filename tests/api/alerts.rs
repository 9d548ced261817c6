//! `GET /__api__/alerts`: a failed job is listed until it succeeds.

use serde_json::json;

use crate::support::fixtures::create_mirror;
use crate::support::server::Server;

#[test]
fn a_sync_that_failed_is_an_alert_after_a_restart_until_it_succeeds() {
    let mut server = Server::start();
    let alerts = Server::job_alerts;
    assert_eq!(alerts(&server), json!([]));
    assert!(server.sync().is_err(), "there is no mirror");
    let first = alerts(&server);
    assert_eq!((&first[0]["type"], &first[0]["name"]), (&json!("job"), &json!("sync:cran")));
    assert!(first[0]["since"].is_string() && first.as_array().is_some_and(|rows| rows.len() == 1), "{first}");
    assert!(server.sync().is_err());
    assert_eq!(alerts(&server), first, "since the first failure");
    // A restart discards the jobs, which otherwise happens after an hour.
    server.restart();
    assert_eq!(alerts(&server), first);
    create_mirror(&server.dir().join("no-mirror"));
    server.sync().expect("a valid mirror");
    assert_eq!(alerts(&server), json!([]));
    server.restart();
    assert_eq!(alerts(&server), json!([]));
}
