//! The page of health: what needs a hand with its command, requests, tokens that end soon; and the same as JSON.

use serde_json::{Value, json};

use super::{administration, document};
use crate::support::fixtures::{create_mirror, until};
use crate::support::server::{Builder, Server};

const PAGE: &str = "/__ui__/admin/health/";

/// A server without alerts about the disks of this machine, whose mirror is the folder `mirror`, which is missing.
fn server() -> Server {
    let gcfg = "[StorageAlerts]\nUIMessageType = none\n[CRAN]\nURL = file://{dir}/mirror";
    Builder::default().gcfg(gcfg).start()
}

fn page(server: &Server, token: &str) -> String {
    let answer = administration::get(server, token, PAGE);
    assert_eq!(answer.status, 200, "{}", answer.text());
    document::page(&answer, PAGE);
    answer.text()
}

fn health(server: &Server) -> Value {
    let answer = server.admin("GET", "/health", &Value::Null);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn a_failed_sync_is_a_sentence_with_its_command_until_it_succeeds() {
    let server = server();
    let token = administration::token(&server);
    assert!(page(&server, &token).contains("Nothing needs a hand."));
    assert_eq!(health(&server)["problems"], json!([]));
    server.sync().expect_err("there is no mirror");
    let text = page(&server, &token);
    let part = "<p dir=\"auto\">sync:cran failed; the last good state is served: ";
    let (_, sentence) = text.split_once(part).unwrap_or_else(|| panic!("{text}"));
    let (reason, rest) = sentence.split_once("</p>").expect("its end");
    assert!(reason.contains("/mirror") && reason.contains("Since <time"), "{reason}");
    assert!(rest.starts_with("<pre tabindex=\"0\"><code>rspm sync --type=cran</code></pre>"), "{rest}");
    assert!(text.contains("<span class=\"danger\">needs a hand</span>"), "{text}");
    let problem = health(&server)["problems"][0].clone();
    assert_eq!((&problem["type"], &problem["command"]), (&json!("job"), &json!("rspm sync --type=cran")));
    assert_eq!(health(&server)["work"]["failed_jobs"], json!(1));
    let status = server.rspm_stdout("status");
    let line = status.lines().find(|line| line.starts_with("Warning: sync:cran failed;"));
    assert!(line.is_some_and(|line| line.ends_with(": rspm sync --type=cran")), "{status}");
    // Clients learn that there is a problem, and no reason.
    for path in ["/", "/__api__/alerts"] {
        let text = server.get(path).text();
        assert!(text.contains("sync:cran failed") && !text.contains("/mirror"), "{text}");
    }
    create_mirror(&server.dir().join("mirror"));
    server.sync().expect("a sync");
    let text = page(&server, &token);
    assert!(
        text.contains("Nothing needs a hand.") && text.contains("<span class=\"ok\">well</span>"),
        "{text}"
    );
    assert!(!server.rspm_stdout("status").contains("Warning: sync"));
}

#[test]
fn requests_are_counted_by_the_kind_of_their_address_with_the_slowest_one() {
    let server = server();
    let token = administration::token(&server);
    for _ in 0..3 {
        server.get("/nothing/latest/src/contrib/PACKAGES");
    }
    let hostile = "/nothing/latest/web/%3Cscript%3Ealert(1)%3C/script%3E";
    assert_eq!(server.get(&format!("{hostile}?secret=1")).status, 404);
    let kinds = || health(&server)["requests"]["kinds"].clone();
    let kind = |name: &str| -> Value {
        let kinds = kinds();
        let kind = kinds.as_array().expect("a list").iter().find(|kind| kind["name"] == name);
        kind.cloned().unwrap_or_default()
    };
    until("all are counted", || kind("Web pages")["requests"] == json!(1));
    assert_eq!(kind("Lists of R packages")["requests"], json!(3));
    assert_eq!(kind("Web pages")["slowest_path"], json!(hostile));
    let hours = health(&server)["requests"]["hours"].clone();
    let hours = hours.as_array().expect("a list");
    assert_eq!(hours.len(), 24);
    let refused: u64 = hours.iter().filter_map(|hour| hour["client_errors"].as_u64()).sum();
    assert_eq!(refused, 4);
    let text = page(&server, &token);
    assert!(text.contains("<strong>4</strong> since") && text.contains(hostile), "{text}");
    assert!(!text.contains("secret"), "the query is not stored: {text}");
}

#[test]
fn tokens_that_end_soon_are_listed_up_to_a_limit() {
    let server = server();
    let admin = administration::token(&server);
    let create = |description: &str, seconds: u64| {
        let body = json!({
            "scopes": [{ "scope": "global:admin", "objects": [] }],
            "description": description,
            "user": "<i>",
            "expires_in": seconds,
        });
        let answer = server.admin("POST", "/tokens", &body);
        assert!(answer.status < 300, "{}", answer.text());
    };
    create("for years", 900 * 86_400);
    create("of a job", 3_600);
    assert!(page(&server, &admin).contains("No token ends within 30 days"));
    for number in 0..21 {
        create(&format!("<b>month {number:02}"), 30 * 86_400 - 60);
    }
    let text = page(&server, &admin);
    for part in ["&lt;b&gt;month 00 (&lt;i&gt;)", "month 19", "And more: <code>rspm list tokens</code>"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for part in ["month 20", "for years", "of a job", "<b>", "<i>"] {
        assert!(!text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_address_of_administrators_leads_to_the_page() {
    let server = server();
    let token = administration::token(&server);
    let answer = administration::get(&server, &token, "/__ui__/admin/");
    assert_eq!((answer.status, answer.header("location")), (303, Some("../../__ui__/admin/health/")));
}
