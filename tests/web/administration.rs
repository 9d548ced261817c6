//! Pages of administrators: what they show, what their forms change, and who sees them.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::document;
use crate::support::chromium::Chromium;
use crate::support::fixtures::until;
use crate::support::http::{self, Answer};
use crate::support::postgres;
use crate::support::server::{Builder, Server};

/// All pages of a server that [`server`](super::server) returns.
pub(super) const PAGES: [&str; 9] = [
    "/__ui__/admin/health/",
    "/__ui__/admin/sources/",
    "/__ui__/admin/sources/team/",
    "/__ui__/admin/repositories/",
    "/__ui__/admin/repositories/team/",
    "/__ui__/admin/jobs/",
    "/__ui__/admin/storage/",
    "/__ui__/admin/rules/",
    "/__ui__/admin/tokens/",
];

/// A token of an administrator.
pub(super) fn token(server: &Server) -> String {
    let output = server.rspm("create token --description=pages --quiet --scope=global:admin");
    assert_eq!(output.code, 0, "{}", output.err);
    output.out.trim().to_owned()
}

fn basic(token: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("__token__:{token}")))
}

pub(super) fn get(server: &Server, token: &str, path: &str) -> Answer {
    http::request("GET", &server.url(path), &[("Authorization", &basic(token))], b"")
}

/// The address of a page with the password in it, for a browser.
pub(super) fn url(server: &Server, token: &str, path: &str) -> String {
    server.url(path).replacen("http://", &format!("http://__token__:{token}@"), 1)
}

fn page(server: &Server, token: &str, path: &str) -> String {
    let answer = get(server, token, path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    document::page(&answer, path);
    answer.text()
}

/// Sends a form as the page would.
fn post(server: &Server, token: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let page = get(server, token, path).text();
    let field = "name=\"form_token\" value=\"";
    let form_token = page.split(field).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("form_token", form_token).extend_pairs(fields);
    let authorization = basic(token);
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Sec-Fetch-Site", "same-origin"),
    ];
    http::request("POST", &server.url(path), &headers, form.finish().as_bytes())
}

/// Sends a form that must succeed, and returns the page that follows.
fn change(server: &Server, token: &str, path: &str, fields: &[(&str, &str)]) -> String {
    let answer = post(server, token, path, fields);
    assert_eq!(answer.status, 303, "{path} {fields:?}: {}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("private, no-store"));
    let target = answer.header("location").expect("a target").trim_start_matches("../").to_owned();
    page(server, token, &format!("/{target}"))
}

#[test]
fn forms_do_what_rspm_does_and_leave_the_same_trail() {
    let server = super::server();
    let token = token(&server);
    let (sources, repositories) = ("/__ui__/admin/sources/", "/__ui__/admin/repositories/");
    let text =
        change(&server, &token, sources, &[("action", "create"), ("name", "extra"), ("type", "local")]);
    assert!(text.contains("Created.") && text.contains("<h1>extra</h1>"), "{text}");
    change(&server, &token, "/__ui__/admin/sources/extra/", &[("action", "rename"), ("new_name", "more")]);
    let fields = [
        ("action", "create"),
        ("name", "prod"),
        ("type", "r"),
        ("description", "a <b>"),
        ("authenticated", "true"),
    ];
    let text = change(&server, &token, repositories, &fields);
    assert!(text.contains("requires a token") && text.contains("a &lt;b&gt;"), "{text}");
    let prod = "/__ui__/admin/repositories/prod/";
    for source in ["team", "more"] {
        change(&server, &token, prod, &[("action", "subscribe"), ("source", source), ("version", "")]);
    }
    change(&server, &token, prod, &[("action", "reorder"), ("sources", "more, team")]);
    let repo = server.json("info --repo=prod");
    let names = |repo: &serde_json::Value| -> Vec<String> {
        let sources = repo["sources"].as_array().expect("sources").iter();
        sources.map(|source| source["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&repo), ["more", "team"]);
    change(&server, &token, prod, &[("action", "unsubscribe"), ("object", "more")]);
    let fields = [("action", "visibility"), ("hidden", "true"), ("authenticated", "false")];
    let text = change(&server, &token, prod, &fields);
    assert!(text.contains("Everyone who can connect to the server can read"), "{text}");
    let repo = server.json("info --repo=prod");
    assert_eq!((&repo["hidden"], &repo["authenticated"]), (&json!(true), &json!(false)));
    change(&server, &token, prod, &[("action", "describe"), ("description", "second")]);
    let last = [("action", "delete"), ("confirm", "yes")];
    change(&server, &token, "/__ui__/admin/sources/more/", &last);
    let text = change(&server, &token, prod, &last);
    assert!(text.contains("Deleted.") && !text.contains(">prod<"), "{text}");
    // The same with rspm.
    let rows = server.json("audit list --limit=1000");
    let of_pages: Vec<String> = trail(&rows, "token");
    for line in [
        "create source --name=extra",
        "edit source --name=extra --new-name=more",
        "create repo --name=prod --description=a --authenticated=true",
        "subscribe --repo=prod --source=team",
        "subscribe --repo=prod --source=more",
        "reorder --repo=prod --sources=more,team",
        "unsubscribe --repo=prod --source=more",
        "edit repo --name=prod --hide=true --authenticated=false",
        "edit repo --name=prod --description=second",
        "delete source --name=more",
        "delete repo --name=prod",
    ] {
        let output = server.rspm(line);
        // With a warning on standard error that everyone can read the repository.
        assert_eq!(output.code, 0, "{line}: {}", output.err);
    }
    let before = trail(&rows, "socket").len();
    let of_rspm: Vec<String> =
        trail(&server.json("audit list --limit=1000"), "socket").into_iter().skip(before).collect();
    assert_eq!(of_pages, of_rspm);
    assert_eq!(of_pages.len(), 11, "{of_pages:?}");
}

/// Actions and objects of an actor of this kind, the oldest first. The row about the first use of a token is left out:
/// it is written beside the requests.
fn trail(rows: &serde_json::Value, kind: &str) -> Vec<String> {
    let mut rows: Vec<&serde_json::Value> = rows.as_array().expect("rows").iter().collect();
    rows.sort_by_key(|row| row["id"].as_i64());
    let text = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let is_change = |row: &&serde_json::Value| row["action"] != "first use of token";
    let of_kind = rows.into_iter().filter(|row| row["actor_kind"] == kind).filter(is_change);
    of_kind.map(|row| format!("{} {}", text(row, "action"), text(row, "object"))).collect()
}

#[test]
fn a_refused_form_is_shown_again_with_the_reason_beside_its_field() {
    let server = super::server();
    let token = token(&server);
    for (path, fields, status, parts) in [
        (
            "/__ui__/admin/sources/",
            vec![("action", "create"), ("name", "<b>\"x"), ("type", "local")],
            400,
            vec![
                "value=\"&lt;b&gt;&quot;x\"",
                "aria-describedby=\"create-name-problem\"",
                "id=\"create-name-problem\"",
            ],
        ),
        (
            "/__ui__/admin/sources/",
            vec![("action", "create"), ("name", "team"), ("type", "local")],
            409,
            vec!["value=\"team\"", "id=\"create-name-problem\""],
        ),
        ("/__ui__/admin/sources/", vec![("action", "create"), ("name", " ")], 400, vec!["enter a name"]),
        ("/__ui__/admin/sources/", vec![("action", "other")], 400, vec![]),
        ("/__ui__/admin/sources/team/", vec![("action", "delete")], 400, vec!["tick the box to confirm"]),
        (
            "/__ui__/admin/sources/team/",
            vec![("action", "delete"), ("confirm", "yes")],
            409,
            vec!["id=\"delete-confirm-problem\""],
        ),
        (
            "/__ui__/admin/repositories/team/",
            vec![("action", "subscribe"), ("source", "nothing")],
            404,
            vec!["id=\"subscribe-source-problem\""],
        ),
        (
            "/__ui__/admin/tokens/",
            vec![("action", "create"), ("scope", "repos:read"), ("description", "x"), ("expires", "soon")],
            400,
            vec!["id=\"create-expires-problem\"", "value=\"soon\""],
        ),
        (
            "/__ui__/admin/tokens/",
            vec![("action", "create"), ("scope", "repos:read"), ("objects", "nothing"), ("description", "x")],
            404,
            vec!["id=\"create-objects-problem\"", "value=\"nothing\""],
        ),
    ] {
        let answer = post(&server, &token, path, &fields);
        assert_eq!(answer.status, status, "{path} {fields:?}: {}", answer.text());
        document::page(&answer, path);
        for part in parts {
            assert!(answer.text().contains(part), "{path} {fields:?} {part}: {}", answer.text());
        }
    }
    assert_eq!(get(&server, &token, "/__ui__/admin/sources/nothing/").status, 404);
    let large = "x".repeat(65 << 10);
    let answer =
        post(&server, &token, "/__ui__/admin/sources/", &[("action", "create"), ("name", large.as_str())]);
    assert_eq!(answer.status, 413, "{}", answer.text());
    let sources = server.json("list sources");
    assert!(sources.as_array().expect("sources").iter().any(|source| source["name"] == "team"));
}

#[test]
fn a_new_token_is_shown_once_and_can_be_revoked() {
    let server = super::server();
    let admin = token(&server);
    let path = "/__ui__/admin/tokens/";
    let fields = [
        ("action", "create"),
        ("scope", "repos:read"),
        ("objects", "team"),
        ("description", "for CI"),
        ("user", "ci"),
        ("expires", "30"),
    ];
    let answer = post(&server, &admin, path, &fields);
    assert_eq!(answer.status, 200, "{}", answer.text());
    document::page(&answer, path);
    assert_eq!(answer.header("cache-control"), Some("private, no-store"));
    assert_eq!(answer.header("content-encoding"), None);
    let text = answer.text();
    let start = text.find("<code>rspm_").expect("the token") + "<code>".len();
    let created = &text[start..start + 41];
    assert!(page(&server, &admin, path).contains("for CI (ci)"));
    assert!(!page(&server, &admin, path).contains(created), "shown once");
    let authorization = basic(created);
    let status = |path: &str| {
        http::request("GET", &server.url(path), &[("Authorization", &authorization)], b"").status
    };
    assert_eq!((status("/team/latest/src/contrib/PACKAGES"), status(path)), (200, 403));
    let tokens = server.json("list tokens");
    let rows = tokens.as_array().expect("tokens").iter();
    let guid = rows.clone().find(|row| row["description"] == "for CI").expect("the token")["guid"].clone();
    let guid = guid.as_str().expect("a text");
    let text = change(&server, &admin, path, &[("action", "revoke"), ("object", guid)]);
    assert!(text.contains("Revoked."), "{text}");
    until("it is revoked", || status("/team/latest/src/contrib/PACKAGES") == 401);
}

#[test]
fn a_rule_is_compared_before_it_is_created_and_its_reason_is_on_the_pages() {
    let server = super::server();
    let admin = token(&server);
    let path = "/__ui__/admin/rules/";
    assert!(page(&server, &admin, path).contains("There is no rule"));
    let rule = [
        ("action", "create"),
        ("package_name", "alpha"),
        ("version", ">1.0"),
        ("repo", "team"),
        ("description", "ask <legal>"),
        ("vulns", "false"),
        ("effect", "block"),
        ("priority", "50"),
    ];
    // The first answer shows what the rule matches, and keeps the fields.
    let compared = post(&server, &admin, path, &[&rule[..], &[("dry_run", "true")]].concat());
    assert_eq!(compared.status, 200, "{}", compared.text());
    document::page(&compared, path);
    for part in
        ["Nothing was created.", "1 of 2 in team: alpha 1.1", "value=\"ask &lt;legal&gt;\"", "value=\"50\""]
    {
        assert!(compared.text().contains(part), "{part}: {}", compared.text());
    }
    assert_eq!(server.json("list blocklist-rules"), json!([]));
    let created = change(&server, &admin, path, &[&rule[..], &[("dry_run", "false")]].concat());
    for part in ["Created.", "ask &lt;legal&gt;", "rspm delete blocklist-rule --id=1", "&gt;1.0"] {
        assert!(created.contains(part), "{part}: {created}");
    }
    let public = server.get("/team/latest/web/packages/alpha/").text();
    assert!(public.contains("alpha 1.0"), "the highest allowed version is listed: {public}");
    let versions = server.get("/team/latest/web/packages/alpha/versions/").text();
    assert!(versions.contains("ask &lt;legal&gt;") && !versions.contains("<legal>"), "{versions}");
    assert!(!versions.contains("alpha_1.1.tar.gz\""), "a file that is not served is no link: {versions}");
    // A field that is not valid.
    for (field, value, status) in [
        ("min_severity", "high", 400),
        ("priority", "x", 400),
        ("min_age", "soon", 400),
        ("package_name", "", 400),
    ] {
        let form = [("action", "create"), (field, value), ("dry_run", "false")];
        let answer = post(&server, &admin, path, &form);
        assert_eq!(answer.status, status, "{field}: {}", answer.text());
        assert!(answer.text().contains("role=\"alert\""), "{field}: {}", answer.text());
        document::page(&answer, path);
    }
    // A rule about all packages needs a confirmation.
    let all = [("action", "create"), ("repo", "team"), ("dry_run", "true")];
    let refused = post(&server, &admin, path, &all);
    assert_eq!(refused.status, 400, "{}", refused.text());
    let reason = "other than the repository matches everything there; this box confirms that";
    for part in [reason, "aria-describedby=\"create-all-problem\"", "id=\"create-all-problem\""] {
        assert!(refused.text().contains(part), "{part}: {}", refused.text());
    }
    let confirmed = post(&server, &admin, path, &[&all[..], &[("all", "true")]].concat());
    assert_eq!(confirmed.status, 200, "{}", confirmed.text());
    for part in ["Nothing was created.", "2 of 2 in team", r#"name="all" value="true" checked"#] {
        assert!(confirmed.text().contains(part), "{part}: {}", confirmed.text());
    }
    let refused = post(&server, &admin, path, &[("action", "delete"), ("object", "1")]);
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("id=\"delete-1-confirm-problem\""), "{}", refused.text());
    let delete = [("action", "delete"), ("object", "1"), ("confirm", "yes")];
    assert!(change(&server, &admin, path, &delete).contains("There is no rule"));
    assert!(server.get("/team/latest/web/packages/alpha/").text().contains("alpha 1.1"));
    // The same with rspm leaves the same trail.
    let of_pages = trail(&server.json("audit list --limit=1000"), "token");
    let before = trail(&server.json("audit list --limit=1000"), "socket").len();
    for arguments in [
        "create blocklist-rule --package-name=alpha --version=>1.0 --repo=team --priority=50",
        "delete blocklist-rule --id=all",
    ] {
        server.rspm_stdout(arguments);
    }
    let of_rspm = trail(&server.json("audit list --limit=1000"), "socket").split_off(before);
    let actions = |trail: Vec<String>| -> Vec<String> {
        trail.into_iter().map(|line| line.split(" rule").next().unwrap_or_default().to_owned()).collect()
    };
    let of_pages: Vec<String> = of_pages.into_iter().filter(|line| line.contains("rule")).collect();
    assert_eq!(actions(of_pages), actions(of_rspm));
}

/// Requests a page until it has a text.
fn wait_for(server: &Server, token: &str, path: &str, text: &str) {
    until(text, || get(server, token, path).text().contains(text));
}

#[test]
fn storage_has_its_size_and_built_in_sources_have_no_time_of_creation() {
    let server = super::server();
    let token = token(&server);
    let classes = server.json("list storage")["classes"].clone();
    let text = page(&server, &token, "/__ui__/admin/storage/");
    assert!(text.contains(">Files</th>"), "{text}");
    let counts: Vec<i64> =
        classes.as_array().expect("a list").iter().filter_map(|class| class["files"].as_i64()).collect();
    assert!(counts.iter().any(|count| *count > 0), "{classes}");
    for count in counts {
        assert!(text.contains(&format!("<td class=\"number\">{count} (")), "{count}: {text}");
    }
    let cran = page(&server, &token, "/__ui__/admin/sources/cran/");
    assert!(!cran.contains("Created") && !cran.contains("1970"), "{cran}");
    let team = page(&server, &token, "/__ui__/admin/sources/team/");
    assert!(team.contains("<dt>Created</dt>"), "{team}");
}

#[test]
fn ended_jobs_of_both_databases_are_on_the_page_also_after_a_restart() {
    let url = postgres::server().schema();
    let postgres = format!("[Database]\nProvider = postgres\n[Postgres]\nURL = \"{url}\"");
    for database in ["", &postgres] {
        let mirror = format!("{database}\n[CRAN]\nURL = file:///nonexistent-mirror");
        let mut server = Builder::default().gcfg(&mirror).start();
        let token = token(&server);
        let storage = page(&server, &token, "/__ui__/admin/storage/");
        assert!(storage.contains("this database") && storage.contains("rspm storage sweep"), "{storage}");
        let text = change(&server, &token, "/__ui__/admin/storage/", &[("action", "sweep")]);
        assert!(text.contains("The job was started"), "{text}");
        wait_for(&server, &token, "/__ui__/admin/jobs/", "storage:sweep");
        wait_for(&server, &token, "/__ui__/admin/jobs/", "objects were moved to the trash");
        let fields = [("action", "sync"), ("type", "cran")];
        change(&server, &token, "/__ui__/admin/sources/", &fields);
        wait_for(&server, &token, "/__ui__/admin/jobs/", "<span class=\"danger\">failed</span>");
        // Clients see on the home page that there is a problem, and no more.
        let home = server.get("/");
        document::page(&home, "/");
        assert!(home.text().contains("sync:cran") && !home.text().contains("nonexistent"), "{}", home.text());
        server.restart();
        let text = page(&server, &token, "/__ui__/admin/jobs/");
        for part in ["storage:sweep", "sync:cran", "usage data", "15 0 * * *"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

#[test]
fn every_command_on_the_pages_exists() {
    let server = super::server();
    let token = token(&server);
    server.rspm_stdout("create blocklist-rule --package-name=none --repo=team");
    let mut verbs = BTreeSet::new();
    for path in PAGES {
        let text = page(&server, &token, path);
        for command in text.split("<code>rspm ").skip(1) {
            let command = command.split("</code>").next().expect("its end");
            let words: Vec<&str> = command.split(' ').take_while(|word| !word.starts_with("--")).collect();
            let flags: Vec<&str> = command.split(' ').filter_map(|word| word.split('=').next()).collect();
            let flags = flags.into_iter().filter(|word| word.starts_with("--"));
            verbs.insert((words.join(" "), flags.map(str::to_owned).collect::<Vec<_>>()));
        }
    }
    assert!(verbs.len() > 15, "{verbs:?}");
    for (verb, flags) in verbs {
        let output = server.rspm(&format!("{verb} --help"));
        assert_eq!(output.code, 0, "{verb}: {}", output.err);
        for flag in flags {
            assert!(output.out.contains(&flag), "{verb} {flag}: {}", output.out);
        }
    }
}

#[test]
fn only_administrators_see_the_pages_and_the_link_to_them() {
    let server = super::server();
    let admin = token(&server);
    server.rspm_stdout("create repo --name=secret --authenticated=true");
    server.rspm_stdout("create repo --name=veiled");
    server.rspm_stdout("edit repo --name=veiled --hide=true");
    let reader = server.rspm("create token --description=r --quiet --scope=repos:read --repos=team").out;
    let reader = basic(reader.trim());
    let list = page(&server, &admin, "/__ui__/admin/repositories/");
    assert!(list.contains("secret") && list.contains("veiled"), "{list}");
    assert!(page(&server, &admin, "/").contains("__ui__/admin/"));
    for authorization in [None, Some(("Authorization", reader.as_str()))] {
        let request = |path: &str| http::request("GET", &server.url(path), authorization.as_slice(), b"");
        assert!(!request("/").text().contains("__ui__"));
        for path in PAGES {
            let answer = request(path);
            let expected = if authorization.is_none() { 401 } else { 403 };
            assert_eq!(answer.status, expected, "{path}");
            assert!(answer.header("www-authenticate").is_some(), "{path}");
        }
        // The answer is the same for names that exist and others.
        for section in ["sources", "repositories"] {
            let texts = ["team", "secret", "veiled", "nothing"].map(|name| {
                let answer = request(&format!("/__ui__/admin/{section}/{name}/"));
                (answer.status, answer.text().replace(name, "NAME"))
            });
            assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
        }
    }
}

#[test]
fn pages_are_read_only_where_changes_from_other_machines_are_turned_off() {
    let server = Builder::default().gcfg("[Authentication]\nAPITokenAuth = false").start();
    let token = token(&server);
    for path in PAGES.into_iter().filter(|path| !path.ends_with("/team/")) {
        let text = page(&server, &token, path);
        assert!(!text.contains("method=\"post\"") && text.contains("APITokenAuth"), "{path}: {text}");
    }
    let text = page(&server, &token, "/__ui__/admin/sources/");
    assert!(text.contains("rspm create source --name=NAME"), "{text}");
    let answer = post(&server, &token, "/__ui__/admin/sources/", &[("action", "create"), ("name", "x")]);
    assert_eq!(answer.status, 403, "{}", answer.text());
    let page = http::admin(&server.admin_socket(), "GET", "/__ui__/admin/sources/", b"").text();
    assert!(page.contains("method=\"post\""), "{page}");
}

#[test]
fn administrators_create_a_repository_and_revoke_a_token_in_a_browser_without_script() {
    let server = super::server();
    let token = token(&server);
    server.rspm_stdout("create token --description=other --scope=repos:read --repos=team --quiet");
    let tokens = server.json("list tokens");
    let of_other = tokens.as_array().expect("tokens").iter().find(|row| row["description"] == "other");
    let guid = of_other.expect("the token")["guid"].as_str().expect("a guid").to_owned();
    let chromium = Chromium::start();
    chromium.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": true }));
    chromium.open(&url(&server, &token, "/__ui__/admin/"));
    chromium.wait_for_text("Jobs and builds");
    chromium.click("a[href$='admin/repositories/']");
    chromium.fill("input[id=create-name]", "prod");
    chromium.click("main form button");
    chromium.wait_for_text("Created.");
    chromium.wait_for_text("The repository has no source yet");
    chromium.click("a[href$='admin/tokens/']");
    chromium.wait_for_text("pages");
    chromium.click(&format!("form:has(input[value='{guid}']) button"));
    chromium.wait_for_text("Revoked.");
    let tokens = server.json("list tokens");
    let revoked = tokens.as_array().expect("tokens").iter().find(|row| row["guid"] == guid.as_str());
    assert!(revoked.expect("the token")["revoked"].is_string(), "{tokens}");
    assert_eq!(server.json("info --repo=prod")["name"], "prod");
    let messages = chromium.messages();
    assert!(messages.is_empty(), "{messages:?}");
}
