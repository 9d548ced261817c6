//! `rspm config debug logger`: regions of the server log change while the server runs.

use crate::support::fixtures::until;
use crate::support::server::{Builder, Server};

/// True if the log has a debug line of a request for this path.
fn has_request(server: &Server, path: &str) -> bool {
    server.log_lines().iter().any(|line| line.contains("DEBUG") && line.contains(path))
}

#[test]
fn a_region_is_written_while_it_is_active() {
    let server = Server::start();
    assert_eq!(server.rspm_stdout("config debug logger show"), "No region is active.\n");
    server.get("/__api__/status?before");
    let text = server.rspm_stdout("config debug logger activate router git");
    assert!(text.contains("router") && text.contains("active") && !text.contains("storage"), "{text}");
    until("the request is logged", || {
        server.get("/__api__/status?during");
        has_request(&server, "status?during")
    });
    assert!(!has_request(&server, "status?before"));
    let active = server.json("config debug logger show");
    let names: Vec<&str> =
        active.as_array().expect("a list").iter().filter_map(|region| region["name"].as_str()).collect();
    assert_eq!(names, ["git", "router"]);
    assert_eq!(server.json("config debug logger show --show-disabled").as_array().map(Vec::len), Some(12));
    assert_eq!(
        server.json("config debug logger show storage --show-disabled").as_array().map(Vec::len),
        Some(1)
    );
    server.rspm_stdout("config debug logger deactivate router");
    server.get("/__api__/status?after");
    server.rspm_stdout("config debug logger activate router");
    until("a later request is logged", || {
        server.get("/__api__/status?again");
        has_request(&server, "status?again")
    });
    assert!(!has_request(&server, "status?after"));
    let trail = server.rspm_stdout("audit list");
    assert!(trail.contains("set debug regions") && trail.contains("activate router, git"), "{trail}");
}

#[test]
fn an_unknown_region_is_refused_with_the_nearest_one() {
    let server = Server::start();
    for line in ["activate rooter", "deactivate rooter", "show rooter"] {
        let error = server.refused(&format!("config debug logger {line}"));
        assert!(error.contains("no region 'rooter'") && error.contains("did you mean router?"), "{error}");
    }
    let server = Builder::default().gcfg("[Debug]\nLog = router\nLog = sync").start();
    let active = server.json("config debug logger show");
    assert_eq!(active.as_array().map(Vec::len), Some(2), "{active}");
}
