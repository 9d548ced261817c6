//! Tens of thousands of hostile addresses: each gets 4xx, none reaches a file, none breaks the server.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::TcpStream;

use crate::support::http;
use crate::support::mirror_dir::MirrorDir;
use crate::support::server::Server;
use crate::support::tarball::Tarball;

/// The content of files that no address may return.
const CANARY: &str = "canary-3b1f0e6a";

const PREFIXES: [&str; 14] = [
    "",
    "/",
    "/team",
    "/team/latest",
    "/team/latest/src/contrib",
    "/team/latest/src/contrib/Archive",
    "/team/latest/src/contrib/Archive/alpha",
    "/team/latest/src/contrib/Meta",
    "/team/latest/bin/windows/contrib/4.5",
    "/team/latest/web/packages",
    "/assets",
    "/__api__",
    "/__api__/repos/team/packages",
    "/%2F%2F",
];

const TRAVERSALS: [&str; 32] = [
    "../",
    "..%2f",
    "..%2F",
    "%2e%2e/",
    "%2e%2e%2f",
    "%2E%2E%2F",
    ".%2e/",
    "%2e./",
    "..%5c",
    "..\\",
    "%2e%2e%5c",
    "..%255c",
    "..%252f",
    "%252e%252e%252f",
    "%252e%252e/",
    "%c0%ae%c0%ae/",
    "%c0%ae%c0%ae%c0%af",
    "..%c0%af",
    "%e0%80%ae%e0%80%ae/",
    "..;/",
    "....//",
    "..../",
    ".../",
    "..//",
    "//",
    "/./",
    "%2f",
    "%00/",
    "..%00/",
    "..%0d/",
    "%uff0e%uff0e/",
    "%ef%bc%8e%ef%bc%8e/",
];

/// Every combination of prefix, traversal, depth and file; `canary` is the path of a file outside of the served ones.
fn targets(canary: &str) -> Vec<String> {
    let files = [
        "etc/passwd",
        canary.trim_start_matches('/'),
        "rstudio-pm.gcfg",
        "data/db",
        "run/rstudio-pm.sock",
        "proc/self/environ",
        "canary%00.tar.gz",
    ];
    let mut targets = Vec::new();
    for prefix in PREFIXES {
        for traversal in TRAVERSALS {
            for depth in 1..=9 {
                for file in files {
                    let path = format!("{prefix}/{}{file}", traversal.repeat(depth));
                    // The redundant slash of an empty prefix is a separate case.
                    targets.push(path);
                }
            }
        }
    }
    targets
}

/// Sends a request for each target, and reconnects when the server closes the connection; calls `check` with each
/// answer.
fn send_all(host: &str, targets: &[String], mut check: impl FnMut(&str, &http::Answer)) {
    let mut stream: Option<BufReader<TcpStream>> = None;
    for target in targets {
        let connection = stream.get_or_insert_with(|| BufReader::new(http::connect(host)));
        let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        connection.get_mut().write_all(request.as_bytes()).expect("sent");
        let answer = http::read(connection, "GET");
        if answer.header("connection") == Some("close")
            || answer.status == 400 && answer.header("server").is_none()
        {
            stream = None;
        }
        check(target, &answer);
    }
}

fn server() -> Server {
    let server = Server::start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0"), Tarball::new("alpha", "1.1")]);
    server
}

#[test]
fn no_hostile_address_reaches_a_file() {
    let server = server();
    let canary = server.dir().join("canary.txt");
    std::fs::write(&canary, CANARY).expect("written");
    std::fs::write(server.dir().join("data/canary.txt"), CANARY).expect("written");
    let targets = targets(&canary.display().to_string());
    assert!(targets.len() >= 20_000, "{}", targets.len());
    let mut statuses = BTreeMap::new();
    send_all(server.host(), &targets, |target, answer| {
        *statuses.entry(answer.status).or_insert(0) += 1;
        assert!((400..500).contains(&answer.status), "{target}: {}", answer.status);
        let text = answer.text();
        assert!(
            !text.contains(CANARY) && !text.contains("root:x:") && !text.contains("[Server]"),
            "{target}: {text}"
        );
    });
    assert!(statuses.keys().all(|status| [400, 404].contains(status)), "{statuses:?}");
    assert_eq!(server.get("/team/latest/src/contrib/PACKAGES").status, 200, "the server still runs");
}

#[test]
fn line_ends_in_an_address_inject_nothing() {
    let server = server();
    let breaks = [
        "%0d%0a",
        "%0a",
        "%0d",
        "%0D%0A",
        "%e5%98%8a%e5%98%8d",
        "%c2%85",
        "%e2%80%a8",
        "%u000a",
        "\t",
        "%09",
        "%0b",
        "%0c",
    ];
    let templates = [
        "/{}X-Evil:%201",
        "/team{}X-Evil:1/latest",
        "/team/latest{}X-Evil:1/src/contrib/PACKAGES",
        "/team/latest/src/contrib/{}X-Evil:1",
        "/team/latest/src/contrib/alpha{}X-Evil:1_1.1.tar.gz",
        "/team/latest/src/contrib/Archive/{}X-Evil:1/alpha_1.0.tar.gz",
        "/team/latest/src/contrib/PACKAGES?a={}X-Evil:1",
        "/team/latest/src/contrib/PACKAGES?{}X-Evil:1=b",
        "/__api__/repos/{}X-Evil:1",
        "/__api__/repos?type={}X-Evil:1",
        "/__api__/repos/team/packages?name={}X-Evil:1",
        "/__api__/repos/team/packages/{}X-Evil:1",
    ];
    let double_breaks = breaks.map(|b| b.repeat(2));
    let mut count = 0;
    for template in templates {
        for text in breaks.iter().map(|b| (*b).to_owned()).chain(double_breaks.clone()) {
            let target = template.replace("{}", &text);
            let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
            let answer = http::raw(server.host(), request.as_bytes());
            assert_eq!(answer.header("x-evil"), None, "{target}");
            let is_control = ["%0", "%c2%85", "\t", "%u"].iter().any(|c| text.to_lowercase().contains(c));
            if is_control {
                assert!((400..500).contains(&answer.status), "{target}: {}", answer.status);
            } else {
                // Unicode line separators are not line ends in HTTP: they belong to an unknown name or an unused query.
                assert!(answer.status < 500, "{target}: {}", answer.status);
            }
            count += 1;
        }
    }
    assert!(count > 250);
}

#[test]
fn an_overlong_address_gets_414_or_431() {
    let server = server();
    for (length, status) in [(3000, 404), (4200, 414), (20_000, 414), (60_000, 414), (200_000, 431)] {
        let target = format!("/team/latest/src/contrib/{}", "a".repeat(length));
        let answer = http::raw(
            server.host(),
            format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        assert_eq!(answer.status, status, "{length}");
    }
    let query = format!("/__ping__?{}", "a=b&".repeat(2000));
    assert_eq!(server.get(&query).status, 414);
}

#[test]
fn a_file_that_a_mirror_lacks_is_reported_without_the_directory_of_the_mirror() {
    let server = Server::start();
    let folder = server.dir().join("no-mirror");
    let mut mirror = MirrorDir::new(&folder);
    mirror.simple("one", "1.0", "2024-02-01");
    mirror.write();
    server.sync().expect("a mirror");
    server.repository("prod", "cran");
    std::fs::remove_file(folder.join("src/contrib/one_1.0.tar.gz")).expect("the file of the mirror");
    let answer = server.get("/prod/latest/src/contrib/one_1.0.tar.gz");
    assert_eq!((answer.status, answer.text().contains("no-mirror")), (404, false), "{}", answer.text());
    assert!(answer.text().contains("one_1.0.tar.gz is not on the mirror"), "{}", answer.text());
}
