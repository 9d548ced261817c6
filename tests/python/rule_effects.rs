//! What administrators of Python repositories are shown before a change, on both databases: plans of promotions, effects
//! of name guards, warnings of subscriptions.

use serde_json::Value;

use super::curated;
use crate::support::postgres;
use crate::support::pypi::{Pypi, hex};
use crate::support::python::index::{get, wheel};
use crate::support::python::package::{Package, add, write};
use crate::support::server::{Builder, Server};

/// The changed packages of a plan: name, change, versions, source.
fn planned(server: &Server, from: &str, to: &str) -> Vec<String> {
    let plan = server.json(&format!("promote --from={from} --to={to} --plan"));
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or("-").to_owned();
    let package = |row: &Value| {
        ["name", "change", "from_version", "to_version", "source"].map(|key| text(row, key)).join(" ")
    };
    plan["plan"]["packages"].as_array().expect("packages").iter().map(package).collect()
}

/// The names and versions in the list of packages of a repository.
fn listed(server: &Server, repo: &str) -> Vec<String> {
    let rows = server.get(&format!("/__api__/repos/{repo}/packages")).json();
    let text = |row: &Value| {
        format!("{} {}", row["name"].as_str().expect("a name"), row["version"].as_str().expect("a version"))
    };
    rows.as_array().expect("a list").iter().map(text).collect()
}

#[test]
fn the_plan_of_a_promotion_applies_guards_and_rules() {
    for server in super::local::servers() {
        server.rspm_stdout("create source --name=outside --type=local-python");
        for (source, name, version) in [
            ("team", "one", "1.0"),
            ("team", "one", "2.0"),
            ("team", "gone", "1.0"),
            ("team", "ours", "1.0"),
            ("outside", "ours", "9.0"),
            ("outside", "acme-db", "7.0"),
        ] {
            add(&server, source, &Package::new(name, version));
        }
        server.rspm_stdout("create repo --name=dev --type=python");
        server.rspm_stdout("subscribe --repo=dev --source=outside");
        server.rspm_stdout("subscribe --repo=dev --source=team");
        server.rspm_stdout("create name-guard --name=ours --source=team");
        server.rspm_stdout("create name-guard --name=acme-* --source=team");
        server.rspm_stdout("create blocklist-rule --package-name=one --version=>=2.0");
        server.rspm_stdout("create blocklist-rule --package-name=gone");
        server.rspm_stdout("create repo --name=live --type=python --changes=promotion");
        assert_eq!(planned(&server, "dev", "live"), ["one added - 1.0 team", "ours added - 1.0 team"]);
        server.rspm_stdout("promote --from=dev --to=live");
        assert_eq!(listed(&server, "live"), ["one 1.0", "ours 1.0"]);
        for (project, status) in [("one", 200), ("ours", 200), ("gone", 403), ("acme-db", 403)] {
            assert_eq!(get(&server, &format!("/live/latest/simple/{project}/")).status, status, "{project}");
        }
        add(&server, "team", &Package::new("one", "2.1"));
        add(&server, "team", &Package::new("gone", "1.1"));
        let guarded = Package::new("ours", "9.1");
        let path = write(&server, &guarded.wheel_name(), &guarded.wheel());
        let output = server.rspm(&format!("add --source=outside --path={}", path.display()));
        assert!(output.code == 0 && output.err.contains("clients do not get 'ours'"), "{output:?}");
        assert_eq!(planned(&server, "dev", "live"), [] as [&str; 0]);
        add(&server, "team", &Package::new("ours", "1.1"));
        assert_eq!(planned(&server, "dev", "live"), ["ours updated 1.0 1.1 team"]);
        server.rspm_stdout("delete blocklist-rule --id=1");
        assert_eq!(listed(&server, "live"), ["one 1.0", "ours 1.0"], "only a promotion lists a version");
        let withheld = Package::new("one", "2.0");
        let (digest, name) = (hex(&withheld.wheel()), withheld.wheel_name());
        let refused = get(&server, &format!("/live/latest/packages/{digest}/{name}"));
        assert_eq!(refused.status, 403);
        let text = refused.text();
        assert!(text.contains("when a rule withheld this version"), "{text}");
        assert_eq!(
            planned(&server, "dev", "live"),
            ["one updated 1.0 2.1 team", "ours updated 1.0 1.1 team"]
        );
        server.rspm_stdout("promote --from=dev --to=live");
        assert_eq!(listed(&server, "live"), ["one 2.1", "ours 1.1"]);
    }
}

/// Servers of an index, one for each database, with the local source `internal` and the repository `py` of both, the
/// index first. The page of `acme-db` was read, that of `acme-web` was not.
fn servers(pypi: &Pypi) -> [Server; 2] {
    for name in ["acme-db", "acme-web", "other"] {
        wheel(pypi, &Package::new(name, "99.0"), "2020-01-01T00:00:00Z");
    }
    let url = postgres::server().schema();
    let postgres = format!("[Database]\nProvider = postgres\n[Postgres]\nURL = \"{url}\"\n");
    [String::new(), postgres].map(|database| {
        let gcfg = format!("[PyPI]\nURL = {}\n{database}", pypi.url());
        let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
        server.sync_of("pypi").expect("an index");
        server.rspm_stdout("create source --name=internal --type=local-python");
        server.rspm_stdout("create repo --name=py --type=python");
        server.rspm_stdout("subscribe --repo=py --source=pypi");
        assert_eq!(get(&server, "/py/latest/simple/acme-db/").status, 200);
        for (name, version) in [("acme-db", "1.0"), ("acme-db", "1.1"), ("ours", "1.0")] {
            let package = Package::new(name, version);
            let path = write(&server, &package.wheel_name(), &package.wheel());
            let output = server.rspm(&format!("add --source=internal --path={}", path.display()));
            assert_eq!((output.code, output.err.is_empty()), (0, name == "ours"), "{output:?}");
        }
        server
    })
}

#[test]
fn a_deleted_or_changed_guard_prints_what_the_repositories_provide_then() {
    let pypi = Pypi::start();
    for server in servers(&pypi) {
        server.rspm_stdout("create name-guard --name=acme-* --source=internal");
        server.rspm_stdout("subscribe --repo=py --source=internal");
        let version = || {
            let page = get(&server, "/py/latest/simple/acme-db/").json();
            page["versions"].as_array().expect("versions").last().expect("a version").clone()
        };
        assert_eq!(version(), "1.1");
        let table = "Repository  Package   Before           After\n\
                     py          acme-db   1.1 of internal  99.0 of pypi\n\
                     py          acme-web  none             a version of pypi\n";
        assert_eq!(
            server.rspm_stdout("delete name-guard --id=3 --dry-run"),
            format!(
                "Without name guard 3, other sources could provide 'acme-*'.\n{table}Nothing was deleted: --dry-run\n"
            )
        );
        assert_eq!(version(), "1.1");
        let changed = server.json("edit name-guard --id=3 --name=acme-d* --dry-run");
        let changes = changed["changes"].as_array().expect("changes");
        assert_eq!((changes.len(), &changes[0]["name"]), (1, &Value::from("acme-web")), "{changed}");
        assert_eq!(server.json("list name-guards")[2]["name"], "acme-*", "a dry run");
        assert_eq!(
            server.rspm_stdout("delete name-guard --id=3"),
            format!("Deleted name guard 3: other sources may provide 'acme-*'.\n{table}")
        );
        assert_eq!(version(), "99.0");
    }
}

#[test]
fn a_subscription_warns_about_names_that_the_index_has_too() {
    let pypi = Pypi::start();
    for server in servers(&pypi) {
        let warning = |repo: &str, first: &str, second: &str| {
            format!(
                "Warning: the sources {first} and {second} both have the package 'acme-db'; {first}, which precedes {second} \
                 in the repository '{repo}', provides it. rspm audit names lists such names; rspm create name-guard hides \
                 those of the other source\n"
            )
        };
        let output = server.rspm("subscribe --repo=py --source=internal");
        assert_eq!((output.code, output.err), (0, warning("py", "pypi", "internal")));
        server.rspm_stdout("create repo --name=own --type=python");
        let output = server.rspm("subscribe --repo=own --source=internal");
        assert_eq!((output.code, output.err.as_str()), (0, ""));
        let output = server.rspm("subscribe --repo=own --source=pypi");
        assert_eq!((output.code, output.err), (0, warning("own", "internal", "pypi")));
        server.rspm_stdout("create name-guard --name=acme-db --source=internal");
        server.rspm_stdout("unsubscribe --repo=own --source=pypi");
        let output = server.rspm("subscribe --repo=own --source=pypi");
        assert_eq!((output.code, output.err.as_str()), (0, ""), "the guard decides");
    }
}

#[test]
fn the_effects_of_a_guard_include_curated_sources() {
    let pypi = Pypi::start();
    let server = curated::start(&pypi);
    server.sync_of("pypi").expect("an index");
    let path = write(&server, "requirements.txt", b"lib\nother\n");
    let flags = format!("--file-in={} --snapshot=2022-01-01 --commit", path.display());
    let committed = curated::update(&server, &flags);
    assert_eq!(committed.code, 0, "{committed:?}");
    let status = || get(&server, "/py/latest/simple/lib/").status;
    assert_eq!(status(), 200);
    server.rspm_stdout("create name-guard --name=lib --source=pypi");
    assert_eq!(status(), 403);
    let table = "Repository  Package  Before  After\npy          lib      none    2.0 of subset\n";
    assert_eq!(
        server.rspm_stdout("delete name-guard --id=1 --dry-run"),
        format!(
            "Without name guard 1, other sources could provide 'lib'.\n{table}Nothing was deleted: --dry-run\n"
        )
    );
    assert_eq!(status(), 403);
    let renamed = server.json("edit name-guard --id=1 --name=lib2 --dry-run");
    assert_eq!((&renamed["changes"][0]["name"], &renamed["changes"][1]), (&Value::from("lib"), &Value::Null));
    assert_eq!(
        server.rspm_stdout("delete name-guard --id=1"),
        format!("Deleted name guard 1: other sources may provide 'lib'.\n{table}")
    );
    assert_eq!(status(), 200);
}
