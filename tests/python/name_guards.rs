//! Guarded names in Python repositories with an index that has them too: pages, files, metadata, documents and the API
//! have the own package or answer 403, in every spelling; pip and uv do not install the package of the index.

use serde_json::json;
use sha2::Digest;

use super::clients::{command, installed_version, program, run, text};
use crate::support::http::{self, Answer};
use crate::support::pypi::Pypi;
use crate::support::python::package::{Package, add};
use crate::support::server::{Builder, Server};
use crate::support::today::stable_today;

const JSON: &str = "application/vnd.pypi.simple.v1+json";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    /// The first upload creates it; the index lists the name later.
    Automatic,
    /// An administrator creates it for the name; the index listed the name before.
    Exact,
    /// An administrator creates it for a prefix of the name; the index listed the name before.
    Prefix,
}

/// The state of the package in the source of the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Present,
    /// The source had it, and all files were removed.
    Absent,
    /// The source has it, but the repository does not subscribe to the source any more.
    Unsubscribed,
    /// The source has it, but a rule blocks it.
    Blocked,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    guard: Guard,
    own: Own,
}

impl Case {
    fn all() -> Vec<Case> {
        let guards = [Guard::Automatic, Guard::Exact, Guard::Prefix];
        let own = [Own::Present, Own::Absent, Own::Unsubscribed, Own::Blocked];
        guards.into_iter().flat_map(|guard| own.map(|own| Case { guard, own })).collect()
    }

    /// The name of the package as its owner writes it.
    fn display(self) -> String {
        format!("{:?}.{:?}", self.guard, self.own)
    }

    /// The normal form, also the name of the source and the repository.
    fn name(self) -> String {
        self.display().to_lowercase().replace('.', "-")
    }

    fn spellings(self) -> Vec<String> {
        let display = self.display();
        let separators = ["-", ".", "_", "--", "._-", "%2E", "%2e", "%5F"];
        let spelled = separators.map(|separator| display.replace('.', separator));
        spelled.into_iter().chain([self.name(), display.to_uppercase()]).collect()
    }

    /// A name that resembles the guarded one and is not guarded.
    fn neighbour(self) -> String {
        match self.guard {
            Guard::Automatic | Guard::Exact => format!("{}2", self.name()),
            Guard::Prefix => self.name().replace("prefix-", "prefix-x"),
        }
    }

    /// The pattern of the guard that an administrator creates, in another spelling.
    fn pattern(self) -> Option<String> {
        match self.guard {
            Guard::Automatic => None,
            Guard::Exact => Some(self.display().to_uppercase().replace('.', "__")),
            Guard::Prefix => Some(format!("{}*", &self.display()[.."Prefix.Ab".len()])),
        }
    }

    fn upload(self) -> Package {
        Package::new(&self.display(), "1.0").code("origin = 'own'\n")
    }

    fn upstream(self) -> Package {
        upstream(&self.display())
    }
}

fn upstream(name: &str) -> Package {
    Package::new(name, "99.0").code("origin = 'upstream'\n")
}

fn publish(pypi: &Pypi, project: &str, package: &Package) {
    let name = package.wheel_name();
    pypi.add(project, &name, &package.wheel(), "2020-01-01T00:00:00Z");
    pypi.edit(project, &name, |file| file.metadata = Some(package.metadata().into_bytes()));
}

/// The address of a wheel below a snapshot.
fn address(package: &Package) -> String {
    let sha256 = hex::encode(sha2::Sha256::digest(package.wheel()));
    format!("packages/{sha256}/{}", package.wheel_name())
}

/// A server with a repository for each case, which subscribes to the index first.
fn start(pypi: &Pypi) -> Server {
    for case in Case::all() {
        publish(pypi, &case.neighbour(), &upstream(&case.neighbour()));
        if case.guard != Guard::Automatic {
            publish(pypi, &case.name(), &case.upstream());
        }
    }
    let gcfg = format!("[PyPI]\nURL = {}\n", pypi.url());
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    server.sync_of("pypi").expect("an index");
    let repository = |name: &str| {
        server.rspm_stdout(&format!("create repo --name={name} --type=python"));
        server.rspm_stdout(&format!("subscribe --repo={name} --source=pypi"));
    };
    repository("open");
    for case in Case::all() {
        let name = case.name();
        repository(&name);
        server.rspm_stdout(&format!("create source --name={name} --type=local-python"));
        server.rspm_stdout(&format!("subscribe --repo={name} --source={name}"));
        let page = get(&server, &format!("/open/latest/simple/{name}/"), JSON);
        assert_eq!(page.status == 200, case.guard != Guard::Automatic, "{case:?}: before the guard");
        if case.own != Own::Absent || case.guard == Guard::Automatic {
            let package = case.upload();
            let path =
                crate::support::python::package::write(&server, &package.wheel_name(), &package.wheel());
            let output = server.rspm(&format!("add --source={name} --path={}", path.display()));
            assert_eq!(output.code, 0, "{}", output.err);
        }
        let command = match case.own {
            Own::Absent if case.guard == Guard::Automatic => {
                Some(format!("remove package --source={name} --name={name}@all"))
            }
            Own::Present | Own::Absent => None,
            Own::Unsubscribed => Some(format!("unsubscribe --repo={name} --source={name}")),
            Own::Blocked => Some(format!("create blocklist-rule --package-name={name}")),
        };
        command.iter().for_each(|command| drop(server.rspm_stdout(command)));
        if let Some(pattern) = case.pattern() {
            let created = server.rspm_stdout(&format!("create name-guard --name={pattern} --source={name}"));
            assert!(
                created.contains(&format!("hides 1 package of other sources: {name} (pypi)")),
                "{created}"
            );
        }
    }
    for case in Case::all().into_iter().filter(|case| case.guard == Guard::Automatic) {
        publish(pypi, &case.name(), &case.upstream());
    }
    server.sync_of("pypi").expect("an index");
    server
}

/// A GET request that follows redirects to other spellings.
fn get(server: &Server, path: &str, accept: &str) -> Answer {
    let mut path = path.to_owned();
    for _ in 0..4 {
        let answer = http::request("GET", &server.url(&path), &[("Accept", accept)], b"");
        if !matches!(answer.status, 301 | 308) {
            return answer;
        }
        let base = url::Url::parse(&server.url(&path)).expect("a URL");
        let target = base.join(answer.header("location").expect("a target")).expect("a URL");
        target.path().clone_into(&mut path);
    }
    panic!("{path} is redirected too often");
}

fn assert_forbidden(case: Case, path: &str, answer: &Answer) {
    assert_eq!(answer.status, 403, "{case:?}: {path}: {}", answer.text());
    let reason = answer.header("x-pm-reason").unwrap_or_default();
    let is_known =
        reason.starts_with("name guard ") || (case.own == Own::Blocked && reason.starts_with("rule "));
    assert!(is_known, "{case:?}: {path}: {reason}");
}

/// Asserts that an answer is about the own package, or 403.
fn assert_own(case: Case, path: &str, answer: &Answer) {
    let text = answer.text();
    assert!(!text.contains("99.0"), "{case:?}: {path} has a version of the index: {text}");
    if case.own == Own::Present {
        assert_eq!(answer.status, 200, "{case:?}: {path}: {text}");
        assert!(text.contains("1.0"), "{case:?}: {path}: {text}");
    } else {
        assert_forbidden(case, path, answer);
    }
}

/// Whether `filter/packages` has a row of the own package, which may be blocked; asserts that it has none of that of the index, and a row of
/// another name in the same request.
fn is_in_filter(server: &Server, case: Case, spelling: &str) -> bool {
    let names = [spelling.to_owned(), format!("{spelling}==99.0"), case.neighbour()];
    let body = json!({ "repo": case.name(), "names": names }).to_string();
    let headers = [("Content-Type", "application/json")];
    let url = server.url("/__api__/filter/packages");
    let answer = http::request("POST", &url, &headers, body.as_bytes());
    assert_eq!(answer.status, 200, "{case:?}: {}", answer.text());
    let rows = answer.text();
    let rows: Vec<serde_json::Value> =
        rows.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let versions = |name: &str| -> Vec<&str> {
        let normalized = |row: &&serde_json::Value| {
            row["name"].as_str().is_some_and(|shown| shown.to_lowercase().replace('.', "-") == name)
        };
        rows.iter().filter(normalized).filter_map(|row| row["version"].as_str()).collect()
    };
    assert_eq!(versions(&case.neighbour()), ["99.0"], "{case:?}: another name: {rows:?}");
    let own = versions(&case.name());
    assert!(own.iter().all(|version| *version == "1.0"), "{case:?}: {rows:?}");
    !own.is_empty()
}

#[test]
fn a_guarded_name_has_its_own_source_or_none_at_every_address_of_python() {
    let pypi = Pypi::start();
    let server = start(&pypi);
    let today = stable_today().to_string();
    let requests: [(&str, &[(&str, &str)]); 3] =
        [("GET", &[]), ("HEAD", &[]), ("GET", &[("Range", "bytes=0-9")])];
    let mut count = 0;
    for case in Case::all() {
        let (name, neighbour) = (case.name(), case.neighbour());
        for base in [format!("/{name}/latest"), format!("/{name}/{today}")] {
            for spelling in case.spellings() {
                for accept in [JSON, "text/html"] {
                    let path = format!("{base}/simple/{spelling}/");
                    assert_own(case, &path, &get(&server, &path, accept));
                }
                let path = format!("{base}/pypi/{spelling}/json");
                assert_own(case, &path, &get(&server, &path, "*/*"));
                let path = format!("{base}/pypi/{spelling}/99.0/json");
                assert_forbidden(case, &path, &get(&server, &path, "*/*"));
                count += 4;
            }
            for suffix in ["", ".metadata"] {
                let path = format!("{base}/{}{suffix}", address(&case.upstream()));
                for path in [path.clone(), path.replace("99.0", "99%2E0")] {
                    for (method, headers) in requests {
                        let answer = http::request(method, &server.url(&path), headers, b"");
                        assert_forbidden(case, &path, &answer);
                        count += 1;
                    }
                }
                let path = format!("{base}/{}{suffix}", address(&case.upload()));
                let answer = server.get(&path);
                let package = case.upload();
                let expected =
                    if suffix.is_empty() { package.wheel() } else { package.metadata().into_bytes() };
                match (case.own, answer.status) {
                    // Lock files may name a removed file.
                    (Own::Present, _) | (Own::Absent, 200) => {
                        assert_eq!((answer.status, answer.body), (200, expected), "{case:?}: {path}");
                    }
                    _ => assert_forbidden(case, &path, &answer),
                }
                count += 1;
            }
            for accept in [JSON, "text/html"] {
                let list = get(&server, &format!("{base}/simple/"), accept).text();
                let lists = |name: &str| {
                    list.contains(&format!("\"{name}\"")) || list.contains(&format!("\"{name}/\""))
                };
                assert!(lists(&neighbour), "{case:?}: another name: {list}");
                assert_eq!(lists(&name), case.own == Own::Present, "{case:?}: {list}");
                count += 1;
            }
            let path = format!("{base}/{}", address(&upstream(&neighbour)));
            assert_eq!(get(&server, &format!("{base}/simple/{neighbour}/"), JSON).status, 200, "{case:?}");
            assert_eq!(server.get(&path).body, upstream(&neighbour).wheel(), "{case:?}: another name");
        }
        for spelling in case.spellings() {
            let path = format!("/__api__/repos/{name}/packages/{spelling}");
            assert_own(case, &path, &get(&server, &path, "*/*"));
            let path = format!("/open/latest/simple/{spelling}/");
            assert_forbidden(case, &path, &get(&server, &path, JSON));
            let path = format!("/__api__/repos/open/packages/{spelling}");
            assert_forbidden(case, &path, &get(&server, &path, "*/*"));
            assert_eq!(
                is_in_filter(
                    &server,
                    case,
                    &spelling.replace("%2E", ".").replace("%2e", ".").replace("%5F", "_")
                ),
                matches!(case.own, Own::Present | Own::Blocked),
                "{case:?}: {spelling}"
            );
            count += 4;
        }
        let explained = server.rspm_stdout(&format!("explain {name} {name}"));
        assert_eq!(explained.contains("403: "), case.own != Own::Present, "{case:?}: {explained}");
        let path = format!("/{name}/latest/web/packages/{name}/");
        let page = get(&server, &path, "text/html");
        assert!(!page.text().contains("99.0"), "{case:?}: {path}: {}", page.text());
        assert_eq!(page.status, if case.own == Own::Present { 200 } else { 403 }, "{case:?}: {path}");
    }
    assert!(count >= 240, "{count} requests");
    // Whether a page was read does not matter; the pages of automatically guarded names were never read.
    let requests = pypi.take_requests();
    let is_guarded = |path: &&String| path.starts_with("/simple/automatic") && !path.ends_with("2/");
    assert_eq!(requests.iter().filter(is_guarded).collect::<Vec<_>>(), [] as [&String; 0]);
}

#[test]
fn a_name_that_appears_in_the_index_is_reported_once() {
    let pypi = Pypi::start();
    pypi.add("other", "other-1.0.tar.gz", b"x", "2020-01-01T00:00:00Z");
    let server = crate::support::python::index::start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    server.rspm_stdout("create source --name=team --type=local-python");
    add(&server, "team", &Package::new("Our.Tools", "1.0"));
    publish(&pypi, "our-tools", &upstream("Our.Tools"));
    server.sync_of("pypi").expect("an index");
    pypi.add("our-tools", "our_tools-100.tar.gz", b"x", "2020-01-01T00:00:00Z");
    server.sync_of("pypi").expect("an index");
    let lines = server.log_lines();
    let count = lines.iter().filter(|line| line.contains("a guarded name appeared upstream")).count();
    assert_eq!(count, 1, "{lines:#?}");
    let rows = server.json("audit names");
    let found: Vec<_> =
        rows.as_array().expect("rows").iter().map(|row| (&row["finding"], &row["name"])).collect();
    assert_eq!(found, [(&json!("automatic"), &json!("our-tools")), (&json!("overlap"), &json!("our-tools"))]);
    let trail = server.json("audit list");
    let is_it = |row: &&serde_json::Value| row["action"] == "guarded name appeared";
    assert_eq!(trail.as_array().expect("rows").iter().filter(is_it).count(), 1, "{trail}");
}

/// A server whose index has `acme-tools` 99.0 and `free` 1.0. The name is guarded for a source that has version 1.0, or
/// nothing.
fn server_for_clients(pypi: &Pypi, has_package: bool) -> Server {
    publish(pypi, "acme-tools", &upstream("acme-tools"));
    publish(pypi, "free", &Package::new("free", "1.0"));
    let server = crate::support::python::index::start(pypi, "");
    server.sync_of("pypi").expect("an index");
    server.rspm_stdout("create source --name=team --type=local-python");
    server.rspm_stdout("subscribe --repo=py --source=team");
    server.rspm_stdout("create name-guard --name=acme-* --source=team");
    if has_package {
        let package = Package::new("acme-tools", "1.0").code("origin = 'own'\n");
        let path = crate::support::python::package::write(&server, &package.wheel_name(), &package.wheel());
        assert_eq!(server.rspm(&format!("add --source=team --path={}", path.display())).code, 0);
    }
    server
}

/// Installs packages with a client into a new folder; returns the folder and the output.
fn install(server: &Server, words: &[&str], client: &str) -> (std::path::PathBuf, std::process::Output) {
    let target = server.dir().join(format!("target-{client}-{}", words.len()));
    let mut command = match client {
        "uv" => {
            let mut uv = command(server, &program("uv", "uv"), "uv");
            uv.args(["pip", "install"]);
            uv
        }
        pip => {
            let mut pip = command(server, &program(pip, "python"), "home");
            pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir"]);
            pip
        }
    };
    command.arg("--target").arg(&target).args(["--index-url", &server.url("/py/latest/simple")]).args(words);
    (target, run(command))
}

#[test]
fn pip_and_uv_install_the_own_package_and_not_the_higher_version_of_the_index() {
    let pypi = Pypi::start();
    let server = server_for_clients(&pypi, true);
    for client in ["pip-20.3.4", "pip-newest", "uv"] {
        let (target, output) = install(&server, &["Acme.Tools", "free"], client);
        assert!(output.status.success(), "{client}: {}", text(&output));
        assert_eq!(installed_version(&target, "acme_tools").as_deref(), Some("1.0"), "{client}");
        assert_eq!(installed_version(&target, "free").as_deref(), Some("1.0"), "{client}");
        let code = std::fs::read_to_string(target.join("acme_tools/__init__.py")).expect("installed");
        assert_eq!(code, "origin = 'own'\n", "{client}");
        let (target, output) = install(&server, &["acme-tools==99.0"], client);
        assert!(!output.status.success() && installed_version(&target, "acme_tools").is_none(), "{client}");
    }
}

#[test]
fn pip_and_uv_install_nothing_if_the_own_source_lacks_the_package_and_uv_tries_no_other_index() {
    let pypi = Pypi::start();
    let server = server_for_clients(&pypi, false);
    for client in ["pip-20.3.4", "pip-newest", "uv"] {
        let (target, output) = install(&server, &["acme-tools"], client);
        assert!(!output.status.success(), "{client}: {}", text(&output));
        assert_eq!(installed_version(&target, "acme_tools"), None, "{client}");
    }
    // The next index has the package: 404 would make uv continue, 403 does not.
    let target = server.dir().join("target-uv-indexes");
    let mut uv = command(&server, &program("uv", "uv"), "uv");
    uv.args(["pip", "install", "--target"]).arg(&target);
    uv.args([
        "--index",
        &server.url("/py/latest/simple"),
        "--default-index",
        &format!("{}/simple/", pypi.url()),
    ]);
    let output = run({
        uv.arg("acme-tools");
        uv
    });
    assert!(!output.status.success() && text(&output).contains("403"), "{}", text(&output));
    assert_eq!(installed_version(&target, "acme_tools"), None);
}

#[test]
fn explanations_and_addresses_of_a_source_do_not_reveal_the_names_of_private_projects() {
    let pypi = Pypi::start();
    publish(&pypi, "free", &Package::new("free", "1.0"));
    let server = crate::support::python::index::start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    server.rspm_stdout("create source --name=private --type=local-python");
    let package = Package::new("secret-py", "1.0");
    let path = crate::support::python::package::write(&server, &package.wheel_name(), &package.wheel());
    assert_eq!(server.rspm(&format!("add --source=private --path={}", path.display())).code, 0);
    let answer = |path: String, name: &str| {
        let answer = server.get(&path);
        (answer.status, answer.text().replace(name, "NAME"))
    };
    for path in ["/__api__/sources/pypi/packages/NAME/releases", "/py/latest/web/packages/NAME/why/"] {
        let [secret, unknown] =
            ["secret-py", "sekret-py"].map(|name| answer(path.replace("NAME", name), name));
        assert_eq!(secret, unknown, "{path}");
    }
}
