//! A language of one file, as a language with projects is served: lists, pages and files of every day, uploads, rules, guards,
//! promotions, tokens, an index, a bundle, searches and pages. Its client is `client.sh`, with curl.

use std::path::Path;
use std::process::Command;

use crate::support::access::token;
use crate::support::downloader;
use crate::support::helper_program::HelperProgram;
use crate::support::mirror_dir::file_url;
use crate::support::postgres;
use crate::support::process::{ProcessOutput, run_to_end};
use crate::support::python::package::{transaction, write};
use crate::support::server::{Builder, Server};

fn package(name: &str, version: &str) -> String {
    format!("{name} {version}\nThe text of {name} {version}.\n")
}

fn file_name(name: &str, version: &str) -> String {
    format!("{name}-{version}.sample")
}

fn add(server: &Server, source: &str, name: &str, version: &str) {
    let path = write(server, &file_name(name, version), package(name, version).as_bytes());
    server.rspm_stdout(&format!("add --source={source} --path={}", path.display()));
}

/// Runs the client; the package that it downloaded has the right text.
fn client(server: &Server, snapshot: &str, package: &str, token: Option<&str>) -> ProcessOutput {
    let mut command = Command::new("tests/sample/client.sh");
    command.args([&server.url(snapshot), package]).arg(server.dir());
    token.map(|token| command.env("TOKEN", token));
    run_to_end(&mut command)
}

/// The version that the client downloads.
#[track_caller]
fn installed(server: &Server, snapshot: &str, name: &str) -> String {
    let output = client(server, snapshot, name, None);
    assert_eq!(output.code, Some(0), "{snapshot} {name}: {}", output.err);
    let version = output.out.trim().to_owned();
    let name = name.split('=').next().expect("a name");
    let text = std::fs::read_to_string(server.dir().join(file_name(name, &version))).expect("downloaded");
    assert_eq!(text, package(name, &version));
    version
}

/// What the client says about a package that it cannot download.
#[track_caller]
fn refused(server: &Server, snapshot: &str, name: &str) -> String {
    let output = client(server, snapshot, name, None);
    assert_ne!(output.code, Some(0), "{snapshot} {name}: {}", output.out);
    output.err
}

/// Servers with the source `own` and the repository `s`, one for each database.
fn servers() -> [Server; 2] {
    let url = postgres::server().schema();
    let gcfg = format!("[Database]\nProvider = postgres\n[Postgres]\nURL = \"{url}\"\n");
    let servers = [Server::start(), Builder::default().gcfg(&gcfg).start()];
    for server in &servers {
        server.rspm_stdout("create source --name=own --type=local-sample");
        server.rspm_stdout("create repo --name=s --type=sample");
        server.rspm_stdout("subscribe --repo=s --source=own");
    }
    servers
}

#[test]
fn packages_are_uploaded_listed_found_and_served_at_every_state() {
    for server in servers() {
        add(&server, "own", "alpha", "1.9");
        let first = transaction(&server, "own");
        add(&server, "own", "alpha", "1.10");
        add(&server, "own", "beta-2", "1.0");
        assert_eq!(server.get("/s/latest/sample/").text(), "alpha\nbeta-2\n");
        assert_eq!(server.get(&format!("/s/{first}/sample/")).text(), "alpha\n");
        assert_eq!(installed(&server, "/s/latest", "alpha"), "1.10");
        assert_eq!(installed(&server, "/s/latest", "alpha=1.9"), "1.9");
        assert_eq!(installed(&server, &format!("/s/{first}"), "alpha"), "1.9");
        assert!(refused(&server, &format!("/s/{first}"), "beta-2").contains("not listed"));
        server.rspm_stdout("yank --source=own --name=alpha@1.10 --reason=broken");
        assert_eq!(installed(&server, "/s/latest", "alpha"), "1.9");
        assert_eq!(installed(&server, "/s/latest", "alpha=1.10"), "1.10");
        server.rspm_stdout("remove package --source=own --name=beta-2@all");
        assert_eq!(server.get("/s/latest/sample/").text(), "alpha\n");
        for (name, bytes, reason) in [
            ("alpha-2.sample", "beta 2\n", "its first line is 'beta 2'"),
            ("alpha-2.sample", "\u{fffd}", "its first line"),
            ("alpha.sample", "alpha 1\n", "is not the name of a sample file"),
            ("alpha-2.zip", "alpha 2\n", "is not the name of a sample file"),
        ] {
            let path = write(&server, name, bytes.as_bytes());
            let error = server.refused(&format!("add --source=own --path={}", path.display()));
            assert!(error.contains(reason), "{name}: {error}");
        }
        for (path, reason) in [
            ("/s/latest/sample/no/", "there is no project 'no' in this snapshot"),
            ("/s/latest/sample/-/", "'-' is not the name of a sample package"),
            ("/s/latest/simple/", "the repository 's' is of type Sample; those of type Python have simple/"),
            (
                "/s/latest/src/contrib/PACKAGES",
                "the repository 's' is of type Sample; its packages are at /s/latest/sample/",
            ),
        ] {
            let answer = server.get(path);
            assert!(answer.status == 404 && answer.text().starts_with(reason), "{path}: {}", answer.text());
        }
        let redirect = server.get("/s/latest/sample/ALPHA");
        assert_eq!((redirect.status, redirect.header("location")), (301, Some("alpha/")));
        for page in ["/s/latest/", "/s/latest/web/packages/", "/s/latest/web/packages/alpha/", "/?q=alp"] {
            let answer = server.get(page);
            answer.assert_page(page);
            assert!(answer.text().contains("alpha") || page == "/s/latest/", "{page}: {}", answer.text());
        }
        let found = server.get("/__api__/repos/s/packages?name_like=alp").json();
        assert_eq!(
            (found[0]["name"].as_str(), found[0]["version"].as_str()),
            (Some("alpha"), Some("1.9")),
            "{found}"
        );
    }
}

#[test]
fn rules_guards_promotions_and_tokens_apply() {
    for server in servers() {
        add(&server, "own", "alpha", "1.0");
        server.rspm_stdout("create repo --name=live --type=sample --changes=promotion");
        server.rspm_stdout("promote --from=s --to=live");
        add(&server, "own", "alpha", "2.0");
        assert_eq!(installed(&server, "/live/latest", "alpha"), "1.0");
        let plan = server.rspm_stdout("promote --from=s --to=live --plan");
        assert!(plan.contains("alpha") && plan.contains("2.0"), "{plan}");
        server.rspm_stdout("promote --from=s --to=live");
        assert_eq!(installed(&server, "/live/latest", "alpha"), "2.0");

        server.rspm_stdout(
            "create blocklist-rule --repo=s --package-name=alpha --version=2.0 --description=broken",
        );
        assert_eq!(installed(&server, "/s/latest", "alpha"), "1.0");
        assert!(refused(&server, "/s/latest", "alpha=2.0").contains("no version 2.0"));
        server.rspm_stdout("create blocklist-rule --repo=s --package-name=alpha");
        assert!(refused(&server, "/s/latest", "alpha").contains("alpha"));
        assert_eq!(server.get("/s/latest/sample/alpha/").status, 403);

        server.rspm_stdout("create source --name=other --type=local-sample");
        server.rspm_stdout("create name-guard --name=alp* --source=own");
        server.rspm_stdout("create repo --name=o --type=sample --authenticated");
        server.rspm_stdout("subscribe --repo=o --source=other");
        let path = write(&server, "alps-1.sample", b"alps 1\n");
        let added = server.rspm(&format!("add --source=other --path={}", path.display()));
        assert!(added.err.contains("hidden by name guard"), "{added:?}");
        server.rspm_stdout("create repo --name=public --type=sample");
        server.rspm_stdout("create source --name=third --type=local-sample");
        server.rspm_stdout("subscribe --repo=public --source=third");
        let added = server.rspm(&format!("add --source=third --path={}", path.display()));
        assert!(added.err.contains("hidden by name guard"), "{added:?}");
        assert_eq!(server.get("/public/latest/sample/alps/").status, 403);
        add(&server, "other", "gamma", "3");
        assert!(client(&server, "/o/latest", "gamma", None).err.contains("401"));
        let token = token(&server, "--scope=repos:read --repos=o");
        let output = client(&server, "/o/latest", "gamma", Some(&token));
        assert_eq!((output.code, output.out.as_str()), (Some(0), "3\n"), "{}", output.err);
    }
}

/// An index, for Python: of a directory with a folder for each project. The time of a file is that of its upload. It answers POST
/// requests for several pages, without digests or sizes.
const INDEX: &str = r#"
import http.server, os, sys, datetime

root = sys.argv[1]


def serial(name):
    return max(int(os.stat(f"{root}/{name}/{file}").st_mtime) for file in os.listdir(f"{root}/{name}"))


class Index(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args):
        super().__init__(*args, directory=root)

    def send_text(self, text):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self):
        if self.path == "/sample/":
            names = sorted(os.listdir(root))
            return self.send_text("".join(f"{name} {serial(name)}\n" for name in names))
        super().do_GET()

    def do_POST(self):
        names = self.rfile.read(int(self.headers["Content-Length"])).decode().split()
        with open(root + ".requests", "a") as log:
            log.write(" ".join(names) + "\n")
        if os.path.exists(root + ".down"):
            return self.send_error(503)
        self.send_text("".join(self.page(name) for name in names if os.path.isdir(f"{root}/{name}")))

    def page(self, name):
        lines = [f"[{name}] {serial(name)}"]
        for file in sorted(os.listdir(f"{root}/{name}")):
            at = datetime.datetime.fromtimestamp(os.stat(f"{root}/{name}/{file}").st_mtime, datetime.timezone.utc)
            version = file.removesuffix(".sample").rsplit("-", 1)[1]
            lines.append(f"/{name}/{file} {version} - - {at:%Y-%m-%dT%H:%M:%SZ}")
        return "".join(line + "\n" for line in lines)


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Index).serve_forever()
"#;

/// A running index.
struct Index {
    program: HelperProgram,
    dir: tempfile::TempDir,
    url: String,
}

impl Index {
    fn start() -> Index {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("index");
        std::fs::create_dir(&root).unwrap();
        let (program, port) = HelperProgram::on_free_port(|port| {
            let mut command = Command::new("python3");
            command.args(["-c", INDEX]).arg(&root).arg(port.to_string());
            command
        });
        Index { program, dir, url: format!("http://127.0.0.1:{port}") }
    }

    fn add(&self, name: &str, version: &str, uploaded: &str) {
        let folder = self.dir.path().join("index").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(file_name(name, version));
        std::fs::write(&path, package(name, version)).unwrap();
        let touched = Command::new("touch").arg("--date").arg(uploaded).arg(&path).status().unwrap();
        assert!(touched.success());
    }

    /// The projects of each request for pages.
    fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.dir.path().join("index.requests")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

/// A server with the repository `s` of an index or of a bundle.
fn mirror(url: &str) -> Server {
    let server = Builder::default().gcfg(&format!("[Sample]\nURL = {url}")).env("NO_PROXY", "*").start();
    server.sync_of("sample").expect("an index");
    server.rspm_stdout("create repo --name=s --type=sample");
    server.rspm_stdout("subscribe --repo=s --source=sample");
    server
}

fn index() -> Index {
    let index = Index::start();
    index.add("alpha", "1.0", "2024-03-01T10:00:00Z");
    index.add("alpha", "1.5", "2024-05-01T10:00:00Z");
    index.add("beta", "0.1", "2024-04-01T10:00:00Z");
    index
}

#[test]
fn an_index_is_mirrored_with_its_past() {
    let index = index();
    let server = mirror(&index.url);
    assert_eq!(server.get("/s/latest/sample/").text(), "alpha\nbeta\n");
    assert_eq!(installed(&server, "/s/latest", "alpha"), "1.5");
    assert_eq!(installed(&server, "/s/2024-04-15", "alpha"), "1.0");
    assert!(refused(&server, "/s/2024-04-15", "alpha=1.5").contains("no version 1.5"));
    assert_eq!(installed(&server, "/s/2024-04-15", "beta"), "0.1");
    index.add("alpha", "2.0", "2024-06-01T10:00:00Z");
    index.add("beta", "0.2", "2024-06-01T10:00:00Z");
    server.sync_of("sample").expect("an index");
    assert_eq!(installed(&server, "/s/latest", "alpha"), "2.0");
    assert_eq!(installed(&server, "/s/latest", "beta"), "0.2");
    assert!(
        index.requests().contains(&"beta alpha".to_owned()),
        "one request after the sync: {:?}",
        index.requests()
    );
    drop(index.program);
    assert_eq!(installed(&server, "/s/latest", "alpha"), "2.0");
}

#[test]
fn a_bundle_takes_packages_to_a_server_without_internet() {
    let index = index();
    let bundle = index.dir.path().join("bundle");
    let list = index.dir.path().join("list.txt");
    std::fs::write(&list, "# what we need\nalpha==1.5\nbeta\n").unwrap();
    get_sample(&index.url, &bundle, &list);
    assert_eq!(downloader::validate("sample", &bundle, &["--packages"]), (0, Vec::new()));
    drop(index.program);
    let server = mirror(&file_url(&bundle.canonicalize().unwrap()));
    assert_eq!(installed(&server, "/s/latest", "alpha"), "1.5");
    assert_eq!(installed(&server, "/s/latest", "beta"), "0.1");
    assert!(refused(&server, "/s/latest", "alpha=1.0").contains("no version 1.0"));
}

fn get_sample(from: &str, to: &Path, list: &Path) {
    let (to, list) = (to.to_str().unwrap(), list.to_str().unwrap());
    let args = ["get", "sample", "--base-url", from, "--destination", to, "--file-in", list];
    let output = run_to_end(downloader::command(&args).env("NO_PROXY", "*"));
    assert_eq!(output.code, Some(0), "{}\n{}", output.out, output.err);
}

#[test]
fn a_built_in_source_has_its_name_before_its_first_sync() {
    let index = index();
    let server =
        Builder::default().gcfg(&format!("[Sample]\nURL = {}", index.url)).env("NO_PROXY", "*").start();
    let error = server.refused("create source --name=x --type=sample");
    assert!(error.contains("its first sync creates: rspm sync --type=sample"), "{error}");
    let error = server.refused("create source --name=sample --type=local");
    assert!(error.contains("'sample' is the name of the built-in source of type sample"), "{error}");
    server.rspm_stdout("create source --name=team");
    let error = server.refused("edit source --name=team --new-name=sample");
    assert!(error.contains("use another name"), "{error}");
    server.sync_of("sample").expect("an index");
    server.rspm_stdout("create repo --name=s --type=sample");
    server.rspm_stdout("subscribe --repo=s --source=sample");
    let explained = server.rspm_stdout("explain s alpha");
    assert!(explained.contains("latest: with Sample as of 20"), "{explained}");
    let page = server.get("/s/latest/sample/alpha/").text();
    let digest = page.lines().find_map(|line| line.split_whitespace().find(|word| word.len() == 64));
    let url = format!("/s/latest/packages/{}/alpha-1.0.sample.provenance", digest.expect("a digest"));
    let text = server.get(&url).text();
    assert!(text.contains("no provenance of 'alpha-1.0.sample'"), "{text}");
}

#[test]
fn an_index_that_does_not_answer_for_several_projects_pauses() {
    let index = Index::start();
    let names: Vec<String> = (0..100).map(|number| format!("p{number}")).collect();
    names.iter().for_each(|name| index.add(name, "1.0", "2024-03-01T10:00:00Z"));
    let server = mirror(&index.url);
    for name in &names {
        server.get(&format!("/s/latest/sample/{name}/"));
    }
    names.iter().for_each(|name| index.add(name, "2.0", "2024-06-01T10:00:00Z"));
    std::fs::write(index.dir.path().join("index.down"), "").unwrap();
    let before = index.requests().len();
    server.sync_of("sample").expect("the list");
    // Four of the ten requests may be under way when the first one fails.
    let count = index.requests().len() - before;
    assert!((1..=4).contains(&count), "{count} requests");
    assert_eq!(installed(&server, "/s/latest", "p7"), "1.0", "the last known state");
}
