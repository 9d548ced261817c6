//! The audit trail: what it records, `rspm audit`, and what it never contains.

use serde_json::{Value, json};

use super::sign_in::form;
use super::{bearer, get, private_repository, send, token};
use crate::support::cluster::Shared;
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::issuer::Issuer;
use crate::support::port::free_port;
use crate::support::server::{Builder, Server};

fn exported(server: &Server) -> Vec<Value> {
    let lines = server.rspm_stdout("audit export");
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn actions(server: &Server) -> Vec<(String, String)> {
    let text = |row: &Value, name: &str| row[name].as_str().expect("a text").to_owned();
    exported(server).iter().map(|row| (text(row, "action"), text(row, "object"))).collect()
}

#[test]
fn each_change_is_recorded_once_with_its_author_and_reads_are_not() {
    let server = Server::start();
    private_repository(&server, "team", "alpha");
    server.rspm_stdout("edit repo --name=team --new-name=crew");
    server.rspm_stdout("edit source --name=team --new-name=own");
    server.rspm_stdout("remove package --source=own --name=alpha@all --comment=wrong");
    server.rspm_stdout("unsubscribe --repo=crew --source=own");
    server.rspm_stdout("delete source --name=own --with-packages");
    server.rspm_stdout("delete repo --name=crew");
    let admin = token(&server, "--scope=global:admin --user=ann@example.org");
    server.refused("create source --name=cran");
    server.refused("delete repo --name=nothing");
    server.rspm_stdout("list repos");
    let expected = [
        ("create repository", "team"),
        ("create source", "team"),
        ("subscribe", "team"),
        ("add", "team"),
        ("edit repository", "team"),
        ("rename source", "team"),
        ("remove", "own"),
        ("subscribe", "crew"),
        ("delete source", "own"),
        ("delete repository", "crew"),
    ];
    let all = actions(&server);
    let found: Vec<(&str, &str)> =
        all.iter().map(|(action, object)| (action.as_str(), object.as_str())).collect();
    assert_eq!(found[..10], expected);
    assert_eq!((found.len(), found[10].0), (11, "create token"));
    let rows = exported(&server);
    assert_eq!(rows[3]["detail"], "transaction 2, 1 added; alpha_1.0.tar.gz");
    assert_eq!(rows[6]["detail"], "transaction 3, 1 removed; alpha, all releases; wrong");
    assert!(rows.iter().all(|row| row["actor_kind"] == "socket" && row["address"] == ""), "{rows:?}");
    let uid = format!("(uid {})", nix::unistd::getuid());
    assert!(rows[0]["actor"].as_str().is_some_and(|actor| actor.contains(&uid)), "{}", rows[0]["actor"]);
    // From the network, behind a proxy that names the client.
    let created = http::request(
        "POST",
        &server.url("/__api__/admin/v1/sources"),
        &[("Authorization", &bearer(&admin)), ("X-Forwarded-For", "198.51.100.1, 203.0.113.5")],
        br#"{"name": "net", "type": "local"}"#,
    );
    assert_eq!(created.status, 201, "{}", created.text());
    let last = exported(&server).into_iter().find(|row| row["object"] == "net").expect("recorded");
    assert_eq!((&last["actor_kind"], &last["address"]), (&"token".into(), &"203.0.113.5".into()));
    assert!(last["actor"].as_str().is_some_and(|actor| actor.starts_with("ann@example.org (token ")));
    until("the first use of the token is recorded", || {
        actions(&server).iter().any(|(action, _)| action == "first use of token")
    });
    assert!(server.json("list tokens")[0]["last_used"].is_string(), "the day of the last use");
    let text = server.rspm_stdout("audit export") + &server.rspm_stdout("audit list");
    assert!(!text.contains(&admin), "the trail has no token");
    assert_eq!(server.json("audit verify")["problems"], serde_json::json!([]));
}

#[test]
fn refused_changes_of_a_token_are_recorded_and_limited() {
    let server = Server::start();
    private_repository(&server, "team", "alpha");
    let reader = bearer(&token(&server, "--scope=repos:read --repos=team --user=bob"));
    let path = "/__api__/admin/v1/repos";
    for _ in 0..50 {
        assert_eq!(send(&server, "POST", path, Some(&reader), r#"{"name": "x"}"#).status, 403);
        assert_eq!(send(&server, "POST", path, None, r#"{"name": "x"}"#).status, 401);
        assert_eq!(get(&server, "/__api__/admin/v1/tokens", Some(&reader)).status, 403);
    }
    let rows = server.json("audit list --outcome=refused --actor=bob");
    let rows = rows.as_array().expect("a list");
    assert!((20..=60).contains(&rows.len()), "{}", rows.len());
    assert_eq!(rows[0]["object"], "POST /__api__/admin/v1/repos");
    assert!(rows[0]["detail"].as_str().is_some_and(|detail| detail.contains("global:admin")));
    assert_eq!(server.json("audit list --outcome=refused").as_array().map(Vec::len), Some(rows.len()));
    // Uploads have an address outside the admin API.
    let other = bearer(&token(&server, "--scope=repos:read --repos=team --user=eve"));
    assert_eq!(send(&server, "POST", "/upload/pypi/team", Some(&other), "").status, 403);
    assert_eq!(send(&server, "POST", "/upload/pypi/team", None, "").status, 401);
    let rows = server.json("audit list --outcome=refused --actor=eve");
    assert_eq!(
        (rows.as_array().map(Vec::len), &rows[0]["object"]),
        (Some(1), &"POST /upload/pypi/team".into())
    );
}

#[test]
fn rows_are_listed_verified_and_exported_in_each_format() {
    let server = Server::start();
    for name in ["one", "two", "three"] {
        server.rspm_stdout(&format!("create source --name={name}"));
    }
    let list = server.rspm_stdout("audit list --limit=2");
    assert!(list.contains("three") && list.contains("two") && !list.contains("one"), "{list}");
    let one = server.json("audit list --object=one --action=create~source");
    assert_eq!((one.as_array().map(Vec::len), &one[0]["id"]), (Some(1), &1.into()));
    assert_eq!(server.json("audit list --since=2099-01-01"), serde_json::json!([]));
    assert_eq!(server.json("audit list --until=2020-01-01"), serde_json::json!([]));
    let verified = server.rspm_stdout("audit verify");
    assert!(verified.contains("Rows: 3") && verified.contains("Every row has the digest"), "{verified}");
    let digest = one[0]["sha256"].as_str().expect("a text").to_owned();
    server.rspm_stdout(&format!("audit verify --row=1 --sha256={digest}"));
    let refused = server.rspm(&format!("audit verify --row=2 --sha256={digest}"));
    assert_eq!(refused.code, 1, "{}", refused.out);
    let text = refused.err;
    assert!(text.contains("manipulated") && text.contains("row 2 has a different digest"), "{text}");
    let csv = server.rspm_stdout("audit export --format=csv --after=1");
    assert!(csv.starts_with("id,time,actor_kind,"), "{csv}");
    assert_eq!(csv.lines().count(), 3);
    let text = server.rspm_stdout("audit export --format=text --object=two");
    assert!(
        text.contains(r#"level=info type=audit id=2 "#) && text.contains("action=\"create source\""),
        "{text}"
    );
    // Another program computes the digests from the export alone.
    let script = "import sys, json, hashlib\n\
        previous = '0' * 64\n\
        for line in sys.stdin:\n\
        \x20   row = json.loads(line)\n\
        \x20   names = 'previous id time actor_kind actor address action object_kind object outcome detail'.split()\n\
        \x20   parts = [str(row[name]).encode() for name in names]\n\
        \x20   digest = hashlib.sha256(b''.join(b'%d:%s,' % (len(part), part) for part in parts)).hexdigest()\n\
        \x20   assert (row['previous'], row['sha256']) == (previous, digest), row\n\
        \x20   previous = digest\n\
        print(previous)\n";
    let export = server.dir().join("export.json");
    std::fs::write(&export, server.rspm_stdout("audit export")).expect("written");
    let output = std::process::Command::new("python3")
        .args(["-c", script])
        .stdin(std::fs::File::open(&export).expect("readable"))
        .output()
        .expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        server.json("audit verify")["sha256"].as_str().unwrap()
    );
}

#[test]
fn reloads_and_modes_are_recorded_without_values() {
    let server = Server::start();
    server.rspm_stdout("offline");
    server.rspm_stdout("online");
    server.rspm_stdout("hup");
    let all = actions(&server);
    let found: Vec<&str> = all.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(found, ["offline", "online", "reload configuration"]);
    assert!(exported(&server).iter().all(|row| row["actor_kind"] == "socket"));
}

#[test]
fn a_reload_is_recorded_with_the_names_of_its_properties() {
    let server = Server::start();
    let before = std::fs::read_to_string(server.config_file()).expect("readable");
    let reload = |text: &str| {
        std::fs::write(server.config_file(), text).expect("written");
        server.rspm_stdout("hup");
    };
    reload(&before);
    reload(&format!("{before}\n[Proxy]\nURL = http://127.0.0.1:1\nUser = pm\nPassword = a-secret-word\n"));
    reload(&before);
    let rows = exported(&server);
    let reloads = rows.iter().filter(|row| row["action"] == "reload configuration");
    let details: Vec<&str> = reloads.map(|row| row["detail"].as_str().expect("a text")).collect();
    let names = "Proxy.URL, Proxy.User, Proxy.Password";
    let expected = [
        "no changes".to_owned(),
        format!("applied: {names}"),
        format!("removed lines, after a restart: {names}"),
    ];
    assert_eq!(details, expected);
    assert!(!json!(rows).to_string().contains("a-secret-word"), "{rows:?}");
}

#[test]
fn a_refused_sign_in_is_recorded_and_a_name_that_a_user_chose_is_no_formula() {
    let (issuer, port) = (Issuer::start(), free_port());
    let server = Builder::default()
        .env("PACKAGEMANAGER_ENCRYPTION_KEY", &"5a".repeat(512))
        .gcfg(&format!(
            "[Server]\nAddress = http://127.0.0.1:{port}\n[HTTP]\nListen = 127.0.0.1:{port}\n[OpenIDConnect]\n\
             Issuer = {}\nClientId = packages\n[GroupToScopeMapping \"team\"]\nScope = repos:read:*",
            issuer.url()
        ))
        .start();
    let name = "=HYPERLINK(\"http://192.0.2.1\")";
    let claims = json!({"aud": "packages", "sub": "7", "preferred_username": name, "groups": ["sales"]});
    let token = issuer.token(&claims);
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", token.as_str()),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
    ];
    let answer = form(&server, "/__api__/token", &fields);
    assert_eq!(
        (answer.status, answer.json()["error"].as_str()),
        (400, Some("access_denied")),
        "{}",
        answer.text()
    );
    let row = exported(&server).pop().expect("a row");
    let columns =
        ["action", "outcome", "actor", "object"].map(|column| row[column].as_str().expect("a text"));
    assert_eq!(columns, ["sign in", "refused", name, name]);
    let csv = server.rspm_stdout("audit export --format=csv");
    let cell = format!("\"'{}\"", name.replace('"', "\"\""));
    assert_eq!(csv.matches(&cell).count(), 2, "{csv}");
    assert!(!csv.contains("\"="), "{csv}");
}

#[test]
fn two_servers_write_one_trail() {
    let shared = Shared::new();
    let (pm1, pm2) = (shared.start("pm1"), shared.start("pm2"));
    for round in 0..5 {
        pm1.rspm_stdout(&format!("create source --name=a{round}"));
        pm2.rspm_stdout(&format!("create source --name=b{round}"));
    }
    pm1.rspm_stdout("cluster offline --nodes=pm2");
    let names: Vec<String> = actions(&pm1).into_iter().map(|(_, object)| object).take(10).collect();
    assert_eq!(names, ["a0", "b0", "a1", "b1", "a2", "b2", "a3", "b3", "a4", "b4"]);
    // The server that goes offline may write its row before or after the row of the request.
    let rows = exported(&pm1);
    let is_recorded = rows.iter().any(|row| row["action"] == "offline" && row["detail"] == "pm2");
    assert!(is_recorded, "{rows:?}");
    assert_eq!(pm1.json("audit verify")["problems"], serde_json::json!([]));
}

#[test]
fn changes_of_log_level_and_mode_are_recorded() {
    let shared = Shared::new();
    let server = shared.start("pm1");
    server.rspm_stdout("config log --level=DEBUG");
    server.rspm_stdout("cluster online --nodes=pm1");
    let all = actions(&server);
    for (action, object) in [("set log level", "pm1"), ("request online", "pm1")] {
        assert!(all.contains(&(action.to_owned(), object.to_owned())), "{action}: {all:?}");
    }
    let row = exported(&server).into_iter().find(|row| row["action"] == "set log level").expect("recorded");
    assert_eq!((&row["detail"], &row["actor_kind"]), (&"DEBUG".into(), &"socket".into()));
}
