//! Plans of promotions of Python repositories: all files of a project, and names that come from an index.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::postgres;
use crate::support::pypi::Pypi;
use crate::support::python::index::{get, wheel};
use crate::support::python::package::{Package, add, write};
use crate::support::rspm::RspmOutput;
use crate::support::server::{Builder, Server};

/// The files on the page of a project, with digests and yanks; empty if there is no page.
fn page(server: &Server, repo: &str, project: &str) -> BTreeMap<String, (String, bool)> {
    let answer = get(server, &format!("/{repo}/latest/simple/{project}/"));
    if answer.status != 200 {
        assert_eq!(answer.status, 404, "{}", answer.text());
        return BTreeMap::new();
    }
    let page = answer.json();
    let file = |file: &Value| {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        (text(&file["filename"]), (text(&file["hashes"]["sha256"]), file["yanked"] != Value::Bool(false)))
    };
    page["files"].as_array().expect("files").iter().map(file).collect()
}

/// The files that differ between two pages, as a plan states them.
fn differences(
    before: &BTreeMap<String, (String, bool)>,
    after: &BTreeMap<String, (String, bool)>,
) -> BTreeMap<String, String> {
    let names = before.keys().chain(after.keys());
    let change = |name: &String| {
        let change = match (before.get(name), after.get(name)) {
            (None, _) => "added",
            (_, None) => "removed",
            (Some((old, _)), Some((new, _))) if old != new => "replaced",
            (Some((_, true)), Some((_, false))) => "unyanked",
            (Some((_, false)), Some((_, true))) => "yanked",
            (Some(_), Some(_)) => return None,
        };
        Some((name.clone(), change.to_owned()))
    };
    names.filter_map(change).collect()
}

/// The files of a package of a plan.
fn planned_files(package: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let file = |file: &Value| (text(&file["name"]), text(&file["change"]));
    package["files"].as_array().map(|files| files.iter().map(file).collect()).unwrap_or_default()
}

/// The change of a package of a plan: kind, versions, sources.
fn change(package: &Value) -> String {
    let text = |key: &str| package[key].as_str().unwrap_or("-").to_owned();
    ["name", "change", "from_version", "to_version", "from_source", "source"].map(text).join(" ")
}

#[test]
fn a_plan_has_every_file_that_the_promotion_changes() {
    for server in super::local::servers() {
        add(&server, "team", &Package::new("acme", "1.0"));
        add(&server, "team", &Package::new("other", "1.0"));
        server.rspm_stdout("create repo --name=live --type=python --changes=promotion");
        server.rspm_stdout("promote --from=py --to=live");
        let replaced = Package::new("acme", "1.0").code("other = 1\n");
        let old = Package::new("acme", "0.9");
        let replace = || {
            let path = write(&server, &replaced.wheel_name(), &replaced.wheel());
            server.rspm_stdout(&format!("add --source=team --replace --path={}", path.display()));
        };
        let sdist = || {
            let path = write(&server, &old.sdist_name(), &old.sdist());
            server.rspm_stdout(&format!("add --source=team --path={}", path.display()));
        };
        let yank = |version: &str| {
            server.rspm_stdout(&format!("yank --source=team --name=acme@{version}"));
        };
        let steps: [(&dyn Fn(), &str, usize); 7] = [
            (&replace, "acme replaced 1.0 1.0 - team", 1),
            (&|| add(&server, "team", &old), "acme changed 1.0 1.0 - team", 1),
            (&sdist, "acme changed 1.0 1.0 - team", 1),
            (&|| add(&server, "team", &Package::new("acme", "3.0rc1")), "acme changed 1.0 1.0 - team", 1),
            (
                &|| {
                    for version in ["0.8", "2.0"] {
                        add(&server, "team", &Package::new("acme", version));
                    }
                },
                "acme updated 1.0 2.0 - team",
                2,
            ),
            (&|| yank("0.9"), "acme changed 2.0 2.0 - team", 2),
            (&|| yank("2.0"), "acme downgraded 2.0 1.0 - team", 1),
        ];
        for (step, expected, files) in steps {
            step();
            let before = page(&server, "live", "acme");
            let plan = server.json("promote --from=py --to=live --plan");
            let packages = plan["plan"]["packages"].as_array().expect("packages");
            let kind = expected.split(' ').nth(1).expect("a kind");
            assert_eq!(packages.len(), 1, "{expected}: {plan}");
            assert_eq!(packages[0]["change"], kind, "{expected}: {plan}");
            assert_eq!(change(&packages[0]), expected);
            assert_eq!(page(&server, "live", "acme"), before, "{expected}: a plan changes nothing");
            server.rspm_stdout("promote --from=py --to=live");
            let after = page(&server, "live", "acme");
            assert_eq!(after, page(&server, "py", "acme"), "{expected}");
            assert_eq!(planned_files(&packages[0]), differences(&before, &after), "{expected}");
            assert_eq!(packages[0]["files"].as_array().map(Vec::len), Some(files), "{expected}: {plan}");
            let again = server.json("promote --from=py --to=live --plan");
            assert_eq!(again["plan"]["packages"], Value::Array(Vec::new()), "{expected}");
        }
        // The text has the files, except those that a new version adds.
        let shown = server.rspm_stdout("promote --show=6");
        let line = "\nFiles of acme: acme-0.8-py3-none-any.whl added\n\nPackages: 1 updated\n";
        assert!(shown.contains(line), "{shown}");
        let shown = server.rspm_stdout("promote --show=2");
        let line = "\nFiles of acme: acme-1.0-py3-none-any.whl replaced\n\nPackages: 1 replaced\n";
        assert!(shown.contains(line), "{shown}");
    }
}

/// Servers of an index with `shared` and `public`, one for each database, with the local source `internal` with
/// `shared` and `only`, and the repository `dev` of both, the local source first.
fn servers_of_index(pypi: &Pypi) -> [Server; 2] {
    for name in ["shared", "public"] {
        wheel(pypi, &Package::new(name, "99.0"), "2020-01-01T00:00:00Z");
    }
    let url = postgres::server().schema();
    let postgres = format!("[Database]\nProvider = postgres\n[Postgres]\nURL = \"{url}\"\n");
    [String::new(), postgres].map(|database| {
        let gcfg = format!("[PyPI]\nURL = {}\n{database}", pypi.url());
        let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
        server.sync_of("pypi").expect("an index");
        server.rspm_stdout("create source --name=internal --type=local-python");
        server.rspm_stdout("create repo --name=dev --type=python");
        server.rspm_stdout("create repo --name=live --type=python --changes=promotion");
        for name in ["shared", "only"] {
            let package = Package::new(name, "1.0");
            let path = write(&server, &package.wheel_name(), &package.wheel());
            // A warning states that the index has one of the names.
            succeed(&server, &format!("add --source=internal --path={}", path.display()));
        }
        succeed(&server, "subscribe --repo=dev --source=internal");
        succeed(&server, "subscribe --repo=dev --source=pypi");
        server
    })
}

/// Runs a command that may print warnings.
fn succeed(server: &Server, line: &str) -> RspmOutput {
    let output = server.rspm(line);
    assert_eq!(output.code, 0, "{line}: {output:?}");
    output
}

/// The changes of a plan, and its warnings.
fn planned(server: &Server) -> (Vec<String>, String) {
    let output = succeed(server, "promote --from=dev --to=live --plan -o json");
    let plan: Value = serde_json::from_str(&output.out).expect("JSON");
    let packages = plan["plan"]["packages"].as_array().expect("packages");
    (packages.iter().map(change).collect(), output.err)
}

/// The files of `shared` in the promoted repository.
fn shared(server: &Server) -> Vec<String> {
    page(server, "live", "shared").into_keys().collect()
}

#[test]
fn a_plan_names_the_packages_that_come_from_an_index_afterwards() {
    let pypi = Pypi::start();
    for server in servers_of_index(&pypi) {
        let added = ["only added - 1.0 - internal", "shared added - 1.0 - internal"];
        assert_eq!(planned(&server), (added.map(str::to_owned).to_vec(), String::new()));
        succeed(&server, "promote --from=dev --to=live");
        assert_eq!(shared(&server), ["shared-1.0-py3-none-any.whl"]);

        succeed(&server, "reorder --repo=dev --sources=pypi,internal");
        let warning = "Warning: clients get the packages of these names from 'pypi' after this promotion, in versions that are \
                       not known, and no longer from 'internal': shared\n";
        let moved = vec!["shared moved 1.0 - internal pypi".to_owned()];
        assert_eq!(planned(&server), (moved, warning.to_owned()));
        let text = succeed(&server, "promote --from=dev --to=live --plan").out;
        assert!(text.contains("shared   moved   1.0   not known  pypi (was internal)\n"), "{text}");
        succeed(&server, "promote --from=dev --to=live");
        assert_eq!(shared(&server), ["shared-99.0-py3-none-any.whl"]);
        let shown = succeed(&server, "promote --show=2");
        assert!(shown.err == warning && shown.out.contains("pypi (was internal)\n"), "{shown:?}");

        succeed(&server, "reorder --repo=dev --sources=internal,pypi");
        let back = vec!["shared moved - 1.0 pypi internal".to_owned()];
        assert_eq!(planned(&server), (back, String::new()));
        succeed(&server, "promote --from=dev --to=live");
        assert_eq!(shared(&server), ["shared-1.0-py3-none-any.whl"]);

        // A name that the index does not have is removed.
        succeed(&server, "unsubscribe --repo=dev --source=internal");
        let gone = ["only removed 1.0 - - internal", "shared moved 1.0 - internal pypi"];
        assert_eq!(planned(&server), (gone.map(str::to_owned).to_vec(), warning.to_owned()));
        // A name guard hides the package of the index.
        server.rspm_stdout("create name-guard --name=shared --source=internal");
        let gone = ["only removed 1.0 - - internal", "shared removed 1.0 - - internal"];
        assert_eq!(planned(&server), (gone.map(str::to_owned).to_vec(), String::new()));
    }
}
