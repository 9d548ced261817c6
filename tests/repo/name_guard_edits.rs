//! Name guards: creation and deletion; what uploads, syncs, audits and alerts state about names that a
//! mirror has too; who may see them.

use serde_json::{Value, json};

use crate::support::http;
use crate::support::mirror::{Entry, Mirror};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

fn entries(packages: &[(&str, &str)]) -> Vec<Entry> {
    packages.iter().map(|(name, version)| Entry::new(name, version, 100)).collect()
}

/// A server of a mirror with these packages, the local source `internal`, and the repository `prod` of both.
fn start(mirror: &Mirror) -> Server {
    let server =
        Builder::default().gcfg(&format!("[CRAN]\nURL = {}", mirror.url())).env("NO_PROXY", "*").start();
    server.sync().expect("a mirror");
    server.rspm_stdout("create source --name=internal");
    server.repository("prod", "cran");
    server.rspm_stdout("subscribe --repo=prod --source=internal");
    server
}

/// The versions of a package in the index of `prod`.
fn versions(server: &Server, name: &str) -> Vec<String> {
    let text = server.get("/prod/latest/src/contrib/PACKAGES").text();
    let begin = format!("Package: {name}\nVersion: ");
    let records =
        text.split("\n\n").filter_map(|record| record.trim_start().strip_prefix(&begin)?.lines().next());
    records.map(str::to_owned).collect()
}

/// The rows of `rspm audit names`: finding, name, other name, other source, note.
fn audit(server: &Server) -> Vec<[String; 5]> {
    let rows = server.json("audit names");
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let row =
        |row: &Value| ["finding", "name", "other_name", "other_source", "note"].map(|key| text(row, key));
    rows.as_array().expect("a list").iter().map(row).collect()
}

/// Uploads a package with `rspm add`; returns the warnings.
fn add(server: &Server, source: &str, package: &Tarball) -> String {
    let path = server.dir().join(package.file());
    std::fs::write(&path, package.bytes()).expect("written");
    let output = server.rspm(&format!("add --source={source} --path={}", path.display()));
    assert_eq!(output.code, 0, "{}", output.err);
    output.err
}

const LISTED_BEFORE: &str = "a mirror listed the name before the first upload";
const NOT_HIDDEN: &str = "not hidden: the first subscribed source with the name provides it";
const HIDDEN: &str = "hidden by the guard";

#[test]
fn a_name_that_the_mirror_had_first_is_not_guarded_until_an_administrator_decides() {
    let mirror = Mirror::of(&entries(&[("acme.db", "99.0"), ("other", "1.0")]), &[]);
    let server = start(&mirror);
    let warning = add(&server, "internal", &Tarball::new("acme.db", "1.0"));
    assert_eq!(
        warning,
        "Warning: the sources internal and cran both have a package 'acme.db': the first of them in a \
         repository provides the name; to hide the other: rspm create name-guard\n"
    );
    assert_eq!(versions(&server, "acme.db"), ["99.0"], "the mirror is subscribed first");
    let listed = server.json("list name-guards");
    assert_eq!(
        (&listed[0]["name"], &listed[0]["automatic"], &listed[0]["state"]),
        (&json!("acme.db"), &json!(true), &json!("listed before"))
    );
    let row =
        |finding: &str, source: &str, note: &str| [finding, "acme.db", "", source, note].map(str::to_owned);
    let jump = "a version of the mirror begins with 99, the highest own version with 1";
    assert_eq!(
        audit(&server),
        [
            row("unguarded", "", LISTED_BEFORE),
            row("overlap", "cran", NOT_HIDDEN),
            row("version", "cran", jump)
        ]
    );

    let dry = server.rspm_stdout("create name-guard --name=acme.* --source=internal --dry-run");
    assert_eq!(
        dry,
        "Only the source internal would provide 'acme.*'.\nIt would hide 1 package of other sources: acme.db (cran)\n\
         Nothing was created: --dry-run\n"
    );
    assert_eq!(versions(&server, "acme.db"), ["99.0"]);
    let created =
        server.rspm_stdout("create name-guard --name=acme.* --source=internal --description=our~prefix");
    assert_eq!(
        created,
        "Created name guard 2: only the source internal provides 'acme.*'.\nIt hides 1 package of other sources: \
         acme.db (cran)\n"
    );
    assert_eq!(versions(&server, "acme.db"), ["1.0"]);
    let overlaps: Vec<_> =
        audit(&server).into_iter().filter(|row| row[0] == "overlap").map(|row| row[4].clone()).collect();
    assert!(overlaps.contains(&HIDDEN.to_owned()), "{overlaps:?}");
    let warning = add(&server, "internal", &Tarball::new("acme.db", "1.1"));
    assert_eq!(
        warning,
        "Warning: the sources internal and cran both have a package 'acme.db': the name is guarded, so that the package of the mirror is hidden\n"
    );
    // The response to the author of a guard names the hidden packages, so there is no alert.
    assert_eq!(name_alerts(&server), [] as [String; 0]);

    let table =
        "Repository  Package  Before           After\nprod        acme.db  1.1 of internal  99.0 of cran\n";
    assert_eq!(
        server.rspm_stdout("delete name-guard --id=2 --dry-run"),
        format!(
            "Without name guard 2, other sources could provide 'acme.*'.\n{table}Nothing was deleted: --dry-run\n"
        )
    );
    assert_eq!(versions(&server, "acme.db"), ["1.1"]);
    let deleted = server.rspm_stdout("delete name-guard --id=2");
    assert_eq!(deleted, format!("Deleted name guard 2: other sources may provide 'acme.*'.\n{table}"));
    assert_eq!(versions(&server, "acme.db"), ["99.0"]);
    assert_eq!(
        server.refused("delete name-guard --id=2"),
        "there is no name guard 2; rspm list name-guards shows all"
    );
}

/// The messages of alerts about names that an administrator sees.
fn name_alerts(server: &Server) -> Vec<String> {
    let token = server.rspm_stdout("create token --description=alerts --quiet --scope=global:admin");
    let authorization = format!("Bearer {}", token.trim());
    let headers = [("Authorization", authorization.as_str())];
    let alerts = http::request("GET", &server.url("/__api__/alerts"), &headers, b"").json();
    let names = alerts.as_array().expect("a list").iter().filter(|alert| alert["type"] == "name-guard");
    names.map(|alert| alert["message"].as_str().expect("a message").to_owned()).collect()
}

#[test]
fn a_guarded_name_that_appears_in_the_mirror_is_reported_exactly_once() {
    let mirror = Mirror::of(&entries(&[("other", "1.0")]), &[]);
    let server = start(&mirror);
    assert_eq!(add(&server, "internal", &Tarball::new("ours", "1.0")), "");
    server.rspm_stdout("create name-guard --name=acme.* --source=internal");
    assert_eq!(name_alerts(&server), [] as [String; 0]);
    let packages = [("other", "1.0"), ("ours", "2.0"), ("acme.x", "1.0"), ("Ours", "1.0")];
    mirror.publish(&entries(&packages), &[]);
    server.sync().expect("a mirror");
    // Newer versions are no new names.
    let packages = [("other", "1.1"), ("ours", "2.1"), ("acme.x", "1.1"), ("Ours", "1.1")];
    mirror.publish(&entries(&packages), &[]);
    server.sync().expect("a mirror");
    server.sync().expect("nothing changed");

    let logged = |name: &str| {
        let lines = server.log_lines();
        let is_it = |line: &&String| line.contains("a guarded name appeared upstream") && line.contains(name);
        lines.iter().filter(is_it).count()
    };
    assert_eq!((logged("ours"), logged("acme.x"), logged("Ours")), (1, 1, 0));
    let alert = |name: &str| {
        format!("the source cran lists the guarded name '{name}'; it is hidden; see rspm audit names")
    };
    assert_eq!(name_alerts(&server), [alert("acme.x"), alert("ours")]);
    let trail = server.json("audit list --limit=1000");
    let details: Vec<&str> = trail
        .as_array()
        .expect("rows")
        .iter()
        .filter(|row| row["action"] == "guarded name appeared")
        .map(|row| row["detail"].as_str().expect("a detail"))
        .collect();
    assert_eq!(details.len(), 2, "{details:?}");
    assert!(details.contains(&"the source cran lists the guarded name 'ours'"), "{details:?}");

    assert_eq!(versions(&server, "ours"), ["1.0"]);
    assert_eq!(versions(&server, "acme.x"), [] as [&str; 0]);
    assert_eq!(versions(&server, "Ours"), ["1.1"], "another package for R");
    let found = audit(&server);
    let of = |finding: &str| -> Vec<String> {
        found
            .iter()
            .filter(|row| row[0] == finding)
            .map(|row| format!("{}<-{}{}", row[1], row[3], row[2]))
            .collect()
    };
    let mut overlaps = of("overlap");
    overlaps.sort();
    assert_eq!(overlaps, ["acme.x<-cran", "ours<-cran"]);
    assert_eq!((of("pattern"), of("automatic")), (vec!["acme.*<-".to_owned()], vec!["ours<-".to_owned()]));
    assert_eq!(of("similar"), ["ours<-cranOurs"]);
    let table = server.rspm_stdout("audit names");
    assert!(table.starts_with("finding") && table.contains("overlap    r         ours"), "{table}");
    let csv = server.rspm_stdout("audit names --format=csv");
    assert!(
        csv.starts_with("finding,language,name,source,guard,other_name,other_source,since,note\r\n"),
        "{csv}"
    );
    assert!(csv.contains(",r,ours,internal,1,,cran,"), "{csv}");

    // A deleted guard causes no alert, and an ended one does not return.
    server.rspm_stdout("delete name-guard --id=2");
    assert_eq!(name_alerts(&server), [alert("ours")]);
    let ended = server.rspm_stdout("delete name-guard --id=1");
    assert_eq!(
        ended,
        "Ended the automatic guard of 'ours': other sources may provide the name.\n\
         Repository  Package  Before           After\n\
         prod        ours     1.0 of internal  2.1 of cran\n"
    );
    add(&server, "internal", &Tarball::new("ours", "1.2"));
    assert_eq!(versions(&server, "ours"), ["2.1"], "the first subscribed source provides it");
    assert_eq!(name_alerts(&server), [] as [String; 0]);
    assert_eq!(server.json("list name-guards")[0]["state"], "ended");
}

#[test]
fn earlier_snapshots_list_the_packages_of_a_deleted_local_source_with_a_guarded_name() {
    let mirror = Mirror::of(&entries(&[("other", "1.0")]), &[]);
    let mut server = start(&mirror);
    server.rspm_stdout("create source --name=second");
    server.repository("two", "second");
    // The automatic guard is that of the first upload.
    add(&server, "internal", &Tarball::new("shared", "1.0"));
    add(&server, "second", &Tarball::new("shared", "2.0"));
    mirror.publish(&entries(&[("other", "1.0"), ("shared", "9.0")]), &[]);
    server.sync().expect("a mirror");
    assert_eq!(versions(&server, "shared"), ["1.0"], "the guard hides the package of the mirror");
    let url = server.json("url create --repo=two --lock");
    let folder = format!("/two/{}/src/contrib", url["snapshot"].as_str().expect("a snapshot"));
    let index = || server.get(&format!("{folder}/PACKAGES")).text();
    let file = || server.get(&format!("{folder}/shared_2.0.tar.gz")).status;
    let before = index();
    assert!(before.contains("Package: shared\nVersion: 2.0\n"), "{before}");
    server.rspm_stdout("unsubscribe --repo=two --source=second");
    server.rspm_stdout("delete source --name=second --with-packages");
    assert_eq!((index(), file()), (before.clone(), 200));
    server.restart();
    let index = server.get(&format!("{folder}/PACKAGES")).text();
    let file = server.get(&format!("{folder}/shared_2.0.tar.gz")).status;
    assert_eq!((index, file), (before, 200));
}

#[test]
fn a_subscription_warns_about_the_names_of_two_sources() {
    let names = ["a.one", "b.two", "c.three", "d.four"];
    let packages: Vec<(&str, &str)> = names.iter().map(|name| (*name, "9.0")).collect();
    let mirror = Mirror::of(&entries(&packages), &[]);
    let server =
        Builder::default().gcfg(&format!("[CRAN]\nURL = {}", mirror.url())).env("NO_PROXY", "*").start();
    server.sync().expect("a mirror");
    server.rspm_stdout("create source --name=internal");
    names.iter().for_each(|name| server.add("internal", &Tarball::new(name, "1.0")));
    server.repository("prod", "cran");
    let output = server.rspm("subscribe --repo=prod --source=internal");
    assert_eq!(
        (output.code, output.err.as_str()),
        (
            0,
            "Warning: the sources cran and internal both have 4 packages, such as a.one, b.two, c.three; cran, which precedes \
             internal in the repository 'prod', provides them. rspm audit names lists such names; rspm create name-guard hides \
             those of the other source\n"
        )
    );
    assert_eq!(versions(&server, "a.one"), ["9.0"]);
    let body = json!({ "source": "internal", "succeed_on_existing": true });
    let again = server.admin("POST", "/repos/prod/sources", &body).json();
    assert_eq!(again["warnings"].as_array().map(Vec::len), Some(1), "{again}");
}

#[test]
fn several_local_sources_may_have_a_name_without_a_finding() {
    let mirror = Mirror::of(&entries(&[("other", "1.0")]), &[]);
    let server = start(&mirror);
    server.rspm_stdout("create source --name=second");
    server.rspm_stdout("subscribe --repo=prod --source=second");
    add(&server, "internal", &Tarball::new("ours", "1.0"));
    add(&server, "second", &Tarball::new("ours", "3.0"));
    mirror.publish(&entries(&[("other", "1.0"), ("ours", "9.0")]), &[]);
    server.sync().expect("a mirror");
    let overlaps: Vec<_> = audit(&server).into_iter().filter(|row| row[0] == "overlap").collect();
    assert_eq!(overlaps, [["overlap", "ours", "", "cran", HIDDEN].map(str::to_owned)]);
    server.rspm_stdout("unsubscribe --repo=prod --source=internal");
    assert_eq!(versions(&server, "ours"), ["3.0"], "an automatic guard does not hide another local source");
    server.rspm_stdout("create name-guard --name=ours --source=internal");
    assert_eq!(versions(&server, "ours"), [] as [&str; 0], "a guard of an administrator does");
    server.rspm_stdout("subscribe --repo=prod --source=internal");
    assert_eq!(versions(&server, "ours"), ["1.0"]);
}

#[test]
fn guards_and_their_alerts_are_disclosed_to_administrators_only() {
    let mirror = Mirror::of(&entries(&[("other", "1.0")]), &[]);
    let server = start(&mirror);
    server.rspm_stdout("create name-guard --name=secret.* --source=internal --description=for~us");
    mirror.publish(&entries(&[("other", "1.0"), ("secret.x", "1.0")]), &[]);
    server.sync().expect("a mirror");
    let token = |scope: &str| {
        let token = server.rspm_stdout(&format!("create token --description=test --quiet --scope={scope}"));
        format!("Bearer {}", token.trim())
    };
    let weak =
        ["sources:write --sources=internal", "repos:read --repos=*", "blocklist:admin", "metadata:admin"]
            .map(token);
    let guard = json!({ "name": "x.*", "source": "internal" }).to_string();
    let json = ("Content-Type", "application/json");
    for (method, path, body) in [
        ("GET", "/name-guards", ""),
        ("POST", "/name-guards", guard.as_str()),
        ("PATCH", "/name-guards/1", r#"{"name": "y.*"}"#),
        ("DELETE", "/name-guards/1", ""),
        ("GET", "/audit/names", ""),
    ] {
        let url = server.url(&format!("/__api__/admin/v1{path}"));
        let anonymous = http::request(method, &url, &[json], body.as_bytes());
        assert_eq!(anonymous.status, 401, "{method} {path}");
        for token in &weak {
            let answer =
                http::request(method, &url, &[json, ("Authorization", token.as_str())], body.as_bytes());
            assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
            assert!(!answer.text().contains("secret"), "{method} {path}: {}", answer.text());
        }
    }
    for token in weak.iter().map(|token| vec![("Authorization", token.as_str())]).chain([Vec::new()]) {
        let alerts = http::request("GET", &server.url("/__api__/alerts"), &token, b"").text();
        assert!(!alerts.contains("secret"), "{alerts}");
    }
    assert_eq!(name_alerts(&server).len(), 1);
    let forbidden = server.get("/prod/latest/src/contrib/secret.x_1.0.tar.gz");
    assert_eq!(
        (forbidden.status, forbidden.text()),
        (
            403,
            "the name 'secret.x' is guarded here by name guard 1: only one source may provide it, and the requested \
             package is not from there\n"
                .to_owned()
        )
    );
    assert_eq!(forbidden.header("x-pm-reason"), Some("name guard 1"), "neither the pattern nor the source");
}

#[test]
fn automatic_guards_end_with_their_property_and_return_with_it() {
    let mirror = Mirror::of(&entries(&[("other", "1.0")]), &[]);
    let server = start(&mirror);
    add(&server, "internal", &Tarball::new("ours", "1.0"));
    mirror.publish(&entries(&[("other", "1.0"), ("ours", "9.0")]), &[]);
    server.sync().expect("a mirror");
    assert_eq!(versions(&server, "ours"), ["1.0"]);
    let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    for (value, expected, state) in [("false", "9.0", "off"), ("true", "1.0", "in force")] {
        let text = gcfg.replace("[Server]\n", &format!("[Server]\nAutomaticNameGuard = {value}\n"));
        server.hup_with(&text);
        assert_eq!(versions(&server, "ours"), [expected], "{value}");
        assert_eq!(server.json("list name-guards")[0]["state"], state);
    }
}

#[test]
fn addresses_of_a_source_do_not_reveal_the_names_of_private_packages() {
    let mirror = Mirror::of(&entries(&[("open", "1.0")]), &[]);
    let server = start(&mirror);
    server.rspm_stdout("create source --name=private");
    server.add("private", &Tarball::new("secret", "1.0"));
    let releases = |name: &str| {
        let answer = server.get(&format!("/__api__/sources/cran/packages/{name}/releases"));
        (answer.status, answer.text().replace(name, "NAME"))
    };
    assert_eq!(releases("secret"), releases("sekret"), "an unknown name");
    assert_eq!(releases("secret").0, 404);
    assert_eq!(releases("open").0, 200);
}

#[test]
fn an_upload_warns_about_names_of_mirrors_that_differ_in_case_and_dots_only() {
    let mirror =
        Mirror::of(&entries(&[("data.table", "1.0"), ("datatables", "1.0"), ("dot..ted", "1.0")]), &[]);
    let server = start(&mirror);
    for (name, similar) in
        [("dataTable", "data.table"), ("d.ata.table", "data.table"), ("dotted", "dot..ted")]
    {
        assert_eq!(
            add(&server, "internal", &Tarball::new(name, "1.0")),
            format!(
                "Warning: the name '{name}' of the source internal is similar to '{similar}' of cran; R treats them as two \
                 packages\n"
            )
        );
    }
    assert_eq!(add(&server, "internal", &Tarball::new("dat", "1.0")), "");
    let sources = server.json("list sources");
    let count = |name: &str| {
        let mut sources = sources.as_array().expect("sources").iter();
        sources.find(|source| source["name"] == name).expect("a source")["packages"].clone()
    };
    assert_eq!((count("internal"), count("cran")), (json!(4), json!(3)));
}
