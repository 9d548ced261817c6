//! Forms of administrators that pages of other sites send (cross-site request forgery): each method, origin and client.

use std::io::Write;
use std::os::unix::net::UnixStream;

use super::{basic, private_repository, token};
use crate::support::browser::Browser;
use crate::support::http;
use crate::support::openid_provider::OpenIdProvider;
use crate::support::port::free_port;
use crate::support::server::{Builder, Server};

const PAGE: &str = "/__ui__/admin/sources/";

/// The header fields that describe the page that sends a request, and whether the request is accepted; `OWN` is the
/// origin of the server.
const ORIGINS: [(&[(&str, &str)], bool); 11] = [
    (&[("Sec-Fetch-Site", "same-origin")], true),
    (&[("Origin", "OWN")], true),
    (&[("Sec-Fetch-Site", "same-origin"), ("Origin", "OWN")], true),
    (&[], false),
    (&[("Sec-Fetch-Site", "cross-site")], false),
    (&[("Sec-Fetch-Site", "same-site")], false),
    (&[("Sec-Fetch-Site", "none")], false),
    (&[("Sec-Fetch-Site", "cross-site"), ("Origin", "OWN")], false),
    (&[("Origin", "http://evil.example")], false),
    (&[("Origin", "null")], false),
    (&[("Origin", "OWN.evil.example")], false),
];

/// Name and value of a header field.
type Header = (&'static str, String);

struct Clients {
    server: Server,
    _provider: OpenIdProvider,
    /// Name, header, and whether it is an administrator.
    clients: Vec<(&'static str, Option<Header>, bool)>,
}

fn session(server: &Server, name: &str) -> Header {
    let browser = Browser::new();
    let page = browser.get(&server.url("/__login__"));
    browser.post(&page.url, &[("sub", name)], "same-origin");
    ("Cookie", format!("ppm={}", browser.cookie("ppm").expect("a session")))
}

fn clients() -> Clients {
    let (provider, port) = (OpenIdProvider::mock(), free_port());
    provider.set_user("ada", &serde_json::json!({"groups": ["admins"], "preferred_username": "ada"}));
    provider.set_user("ann", &serde_json::json!({"groups": ["team"], "preferred_username": "ann"}));
    let server = Builder::default()
        .gcfg(&format!(
            "[Server]\nAddress = http://127.0.0.1:{port}\n[HTTP]\nListen = 127.0.0.1:{port}\n[OpenIDConnect]\n\
             Issuer = {}\nClientId = packages\nClientSecret = secret\n\
             [GroupToScopeMapping \"admins\"]\nScope = global:admin\n\
             [GroupToScopeMapping \"team\"]\nScope = repos:read:private",
            provider.issuer()
        ))
        .start();
    private_repository(&server, "private", "alpha");
    let admin = token(&server, "--scope=global:admin");
    let clients = vec![
        ("nobody", None, false),
        ("a reader", Some(session(&server, "ann")), false),
        ("an administrator", Some(session(&server, "ada")), true),
        ("a password", Some(("Authorization", basic("__token__", &admin))), true),
    ];
    Clients { server, _provider: provider, clients }
}

/// The token of the forms of a page.
fn form_token(server: &Server, client: Option<&(&'static str, String)>) -> String {
    let headers: Vec<(&str, &str)> = client.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let page = http::request("GET", &server.url(PAGE), &headers, b"").text();
    let field = "name=\"form_token\" value=\"";
    let token = page.split(field).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("none");
    token.to_owned()
}

fn names(server: &Server) -> Vec<String> {
    let sources = server.json("list sources");
    let names = sources.as_array().expect("sources").iter();
    names.map(|source| source["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_form_changes_something_only_if_a_page_of_this_server_sends_it_with_the_token_of_the_client() {
    let Clients { server, clients, .. } = clients();
    let own = server.url("").trim_end_matches('/').to_owned();
    let before = names(&server);
    let tokens: Vec<String> =
        clients.iter().map(|(_, header, _)| form_token(&server, header.as_ref())).collect();
    assert_ne!(tokens[2], tokens[3], "each client has a token of its own");
    let mut created = Vec::new();
    for (at, (name, client, is_administrator)) in clients.iter().enumerate() {
        let other = tokens[if at == 2 { 3 } else { 2 }].as_str();
        for (number, (origin, is_own)) in ORIGINS.iter().enumerate() {
            for (which, form_token) in [("its", tokens[at].as_str()), ("another", other), ("no", "")] {
                let source = format!("s{at}-{number}-{which}");
                let form = format!("form_token={form_token}&action=create&type=local&name={source}");
                let origin: Vec<(&str, String)> =
                    origin.iter().map(|(name, value)| (*name, value.replace("OWN", &own))).collect();
                let mut headers = vec![("Content-Type", "application/x-www-form-urlencoded")];
                headers.extend(origin.iter().map(|(name, value)| (*name, value.as_str())));
                headers.extend(client.iter().map(|(name, value)| (*name, value.as_str())));
                let answer = http::request("POST", &server.url(PAGE), &headers, form.as_bytes());
                let case = format!("{name}, {origin:?}, {which} token: {} {}", answer.status, answer.text());
                if *is_administrator && *is_own && which == "its" {
                    assert_eq!(answer.status, 303, "{case}");
                    created.push(source);
                } else {
                    // A browser without a session goes to the sign-in, but these requests accept no pages.
                    assert_eq!(answer.status, if client.is_none() { 401 } else { 403 }, "{case}");
                }
            }
        }
    }
    let mut expected = [before, created].concat();
    let mut present = names(&server);
    expected.sort_unstable();
    present.sort_unstable();
    assert_eq!(present, expected);
}

#[test]
fn other_methods_and_bodies_change_nothing() {
    let Clients { server, clients, .. } = clients();
    let before = (names(&server), server.json("audit list").as_array().map(Vec::len));
    for (name, client, is_administrator) in &clients {
        let form_token = form_token(&server, client.as_ref());
        let form = format!("form_token={form_token}&action=create&type=local&name=new");
        let own = [("Sec-Fetch-Site", "same-origin")];
        let with = |media_type: &'static str| {
            let mut headers = vec![("Content-Type", media_type)];
            headers.extend(own);
            headers.extend(client.iter().map(|(name, value)| (*name, value.as_str())));
            headers
        };
        for (method, media_type, path, expected) in [
            ("GET", "application/x-www-form-urlencoded", format!("{PAGE}?{form}"), 200),
            ("HEAD", "application/x-www-form-urlencoded", format!("{PAGE}?{form}"), 200),
            ("PUT", "application/x-www-form-urlencoded", PAGE.to_owned(), 405),
            ("DELETE", "application/x-www-form-urlencoded", format!("{PAGE}private/"), 405),
            ("POST", "application/x-www-form-urlencoded", "/__ui__/admin/jobs/".to_owned(), 405),
            ("POST", "text/plain", PAGE.to_owned(), 403),
            ("POST", "application/json", PAGE.to_owned(), 403),
            ("POST", "multipart/form-data; boundary=x", PAGE.to_owned(), 403),
        ] {
            let body = if method == "HEAD" || method == "GET" { "" } else { &form };
            let answer = http::request(method, &server.url(&path), &with(media_type), body.as_bytes());
            let case = format!("{name}: {method} {media_type}: {}", answer.status);
            match *is_administrator {
                true => assert_eq!(answer.status, expected, "{case}"),
                false => assert!([401, 403, 405].contains(&answer.status), "{case}"),
            }
        }
    }
    // Refused requests of readers are in the audit trail; nothing else is.
    assert_eq!(names(&server), before.0);
    let rows = server.json("audit list");
    let new = rows.as_array().expect("rows").iter().filter(|row| row["action"] == "create source");
    assert_eq!(new.count(), 1, "only the source that was created before the refused requests: {rows}");
}

#[test]
fn the_admin_socket_has_the_pages_for_localhost_alone() {
    let server = Server::start();
    let request = |host: &str, method: &str, headers: &str, body: &str| {
        let mut stream = UnixStream::connect(server.admin_socket()).expect("the socket");
        let length = body.len();
        let text = format!(
            "{method} {PAGE} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes()).expect("sent");
        http::read(&mut stream, method)
    };
    for host in ["evil.example", "localhost.evil.example", "192.0.2.1:8080"] {
        assert_eq!(request(host, "GET", "", "").status, 421, "{host}");
        assert_eq!(request(host, "POST", "", "").status, 421, "{host}");
    }
    for host in ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080"] {
        let page = request(host, "GET", "", "");
        assert_eq!(page.status, 200, "{host}: {}", page.text());
    }
    let page = request("localhost:8080", "GET", "", "").text();
    let field = "name=\"form_token\" value=\"";
    let token = page.split(field).nth(1).and_then(|rest| rest.split('"').next()).expect("a token");
    let form = format!("form_token={token}&action=create&type=local&name=team");
    let media_type = "Content-Type: application/x-www-form-urlencoded\r\n";
    for site in ["cross-site", "same-site", "none"] {
        let headers = format!("{media_type}Sec-Fetch-Site: {site}\r\n");
        assert_eq!(request("localhost:8080", "POST", &headers, &form).status, 403, "{site}");
    }
    assert_eq!(request("localhost:8080", "POST", media_type, &form).status, 403, "no origin");
    let other = format!("{media_type}Origin: http://localhost:9\r\n");
    assert_eq!(request("localhost:8080", "POST", &other, &form).status, 403, "another port");
    let other = format!("{media_type}Origin: https://localhost:8080\r\n");
    assert_eq!(request("localhost:8080", "POST", &other, &form).status, 403, "another scheme");
    let own = format!("{media_type}Origin: http://localhost:8080\r\n");
    let answer = request("localhost:8080", "POST", &own, &form);
    assert_eq!(answer.status, 303, "{}", answer.text());
    assert!(names(&server).contains(&"team".to_owned()));
}
