//! Lists of imports from running servers: this one, pypiserver, devpi, and an index with hostile pages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::origins::{lines, list, refused};
use crate::python::clients::program;
use crate::support::helper_program::HelperProgram;
use crate::support::mirror_dir::MirrorDir;
use crate::support::nginx::Nginx;
use crate::support::pypi::Pypi;
use crate::support::python::package::Package;
use crate::support::server::{Builder, Server};

/// Returns the packages with their highest versions after the events up to the end of a day.
fn state_after(events: &[Value], day: &str) -> BTreeMap<String, String> {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["at"].as_str().is_some_and(|at| &at[..10] <= day)) {
        if event["op"] == "remove" {
            let (name, version) = (event["name"].as_str().unwrap(), event["version"].as_str().unwrap());
            versions.get_mut(name).expect("a package").retain(|present| present != version);
        } else {
            let file = event["file"].as_str().unwrap();
            let (name, rest) = file.split_once('_').unwrap();
            versions.entry(name.to_owned()).or_default().push(rest.trim_end_matches(".tar.gz").to_owned());
        }
    }
    versions.into_iter().filter_map(|(name, versions)| Some((name, versions.into_iter().max()?))).collect()
}

fn listed(server: &Server, day: &str) -> BTreeMap<String, String> {
    let text = server.get(&format!("/prod/{day}/src/contrib/PACKAGES")).text();
    let field = |record: &str, tag: &str| {
        record.lines().find_map(|line| line.strip_prefix(tag)).unwrap_or_default().trim().to_owned()
    };
    let records = text.split("\n\n").filter(|record| !record.trim().is_empty());
    records.map(|record| (field(record, "Package:"), field(record, "Version:"))).collect()
}

#[test]
fn the_list_of_snapshots_gives_the_state_of_each_day() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = MirrorDir::new(dir.path().join("mirror"));
    mirror.simple("alpha", "1.0", "2020-01-01");
    mirror.simple("beta", "1.0", "2020-01-05");
    mirror.simple("alpha", "1.1", "2020-02-01");
    mirror.simple("gamma", "1.0", "2020-02-02");
    mirror.archive("gamma", "2020-03-01");
    mirror.simple("beta", "1.1", "2020-03-05");
    mirror.write();
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", mirror.url())).start();
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    server.sync().expect("a mirror");
    server.rspm_stdout("backfill --source=cran --since=2019-12-01");
    let events = list(&["from-snapshots", &server.url("/prod")]);
    let dates = server.get("/__api__/repos/prod/transaction-dates").json();
    let days: Vec<&str> =
        dates.as_array().unwrap().iter().filter_map(|date| date["alias"].as_str()).collect();
    assert!(days.len() > 5, "{days:?}");
    for day in days.into_iter().filter(|day| *day != "latest") {
        assert_eq!(state_after(&events, day), listed(&server, day), "{day}: {:#?}", lines(&events));
    }
    let adds: Vec<String> = lines(&events).into_iter().filter(|line| line.contains(" add ")).collect();
    assert_eq!(adds.len(), 5, "{adds:?}");
    assert_eq!(adds[0], "2020-01-01T12:00:00Z add alpha_1.0.tar.gz releases");
    // Before the server has the file, and knows its digest.
    assert_eq!(list(&["from-snapshots", &server.url("/prod/latest/")]), events);
    let from = events[0]["from"].as_str().expect("an address");
    let path = from.strip_prefix(&server.url("")).expect("of this server");
    assert_eq!(server.get(path).status, 200, "{from}");
    assert!(
        refused(2, &["from-snapshots", &server.url("/none")]).contains("is not the address of a repository")
    );
    server.rspm_stdout("create repo --name=py --type=python");
    assert!(refused(2, &["from-snapshots", &server.url("/py")]).contains("list from-index"));
    server.rspm_stdout("create source --name=team");
    server.rspm_stdout("subscribe --repo=prod --source=team");
    assert!(refused(2, &["from-snapshots", &server.url("/prod")]).contains("several sources"));
}

#[test]
fn without_releases_the_indexes_of_the_days_are_the_evidence() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = ["0a".repeat(16), "0b".repeat(16)];
    let record = |name: &str, version: &str, md5: &str| {
        format!("Package: {name}\nVersion: {version}\nMD5sum: {md5}\n\n")
    };
    for (day, index) in [
        ("2024-01-01", record("alpha", "1.0", &first) + &record("beta", "1.0", &first)),
        ("2024-01-02", record("alpha", "2.0", &first) + &record("beta", "1.0", &first)),
        // A lower version is listed again, and then with other bytes.
        ("2024-01-03", record("alpha", "1.0", &first) + &record("beta", "1.0", &first)),
        ("2024-01-04", record("alpha", "1.0", &second)),
    ] {
        let contrib = dir.path().join("team").join(day).join("src/contrib");
        std::fs::create_dir_all(&contrib).unwrap();
        std::fs::write(contrib.join("PACKAGES"), index).unwrap();
    }
    let dates: Vec<String> = ["latest", "2024-01-04", "2024-01-03", "2024-01-02", "2024-01-01"]
        .map(|alias| format!("{{\"alias\":\"{alias}\"}}"))
        .into();
    let web = Nginx::start(&format!(
        "root {}; location = /__api__/repos {{ return 200 '[{{\"id\":7,\"name\":\"team\",\"type\":\"R\"}}]'; }}
        location = /__api__/repos/7/transaction-dates {{ return 200 '[{}]'; }}",
        dir.path().display(),
        dates.join(",")
    ));
    let events = list(&["from-snapshots", &format!("{}/team", web.url())]);
    let index = |line: &str| format!("2024-01-{line} index of the day");
    assert_eq!(
        lines(&events),
        [
            "01T00:00:00Z add alpha_1.0.tar.gz",
            "01T00:00:00Z add beta_1.0.tar.gz",
            "02T00:00:00Z add alpha_2.0.tar.gz",
            "03T00:00:00Z remove alpha 2.0",
            "04T00:00:00Z remove beta 1.0",
            "04T00:00:00Z replace alpha_1.0.tar.gz",
        ]
        .map(index)
    );
    assert_eq!(events[5]["from"], format!("{}/team/2024-01-04/src/contrib/alpha_1.0.tar.gz", web.url()));
    assert_eq!(events[5]["md5"], *second);
}

#[test]
fn an_index_has_upload_times_or_those_of_its_files() {
    let pypi = Pypi::start();
    let (acme, other) = (Package::new("acme", "1.0"), Package::new("other", "2.0"));
    pypi.add("acme", &acme.wheel_name(), &acme.wheel(), "2024-01-10T09:00:00.5Z");
    pypi.add("other", &other.sdist_name(), &other.sdist(), "2024-03-10T09:00:00Z");
    pypi.edit("other", &other.sdist_name(), |file| file.yanked = Some("broken".to_owned()));
    let events = list(&["from-index", &format!("{}/simple/", pypi.url())]);
    assert_eq!(
        lines(&events),
        [
            "2024-01-10T09:00:00.500000Z add acme-1.0-py3-none-any.whl upload-time",
            "2024-03-10T09:00:00Z add other-2.0.tar.gz upload-time",
            "yank other-2.0.tar.gz",
        ]
    );
    assert_eq!(events[2]["reason"], "broken");
    let names = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(names.path(), "# ours\nAcme\nmissing\n").unwrap();
    let events = list(&["from-index", &pypi.url(), "--projects", names.path().to_str().unwrap()]);
    assert_eq!(lines(&events)[1], "lost project missing");
    assert_eq!(events.len(), 2);
    std::fs::write(names.path(), "acme\n-bad-\n").unwrap();
    let error = refused(2, &["from-index", &pypi.url(), "--projects", names.path().to_str().unwrap()]);
    assert!(error.contains("line 2"), "{error}");
}

#[test]
fn links_to_other_hosts_are_reported_and_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let other = Pypi::start();
    let page =
        |links: &str| format!("<!DOCTYPE html><title>Links for acme</title><h1>Links for acme</h1>{links}");
    let folder = dir.path().join("simple/acme");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(dir.path().join("simple/index.html"), "<a href=\"acme/\">acme</a>").unwrap();
    let links = format!(
        "<a href=\"{0}/acme-1.0-py3-none-any.whl\">acme-1.0-py3-none-any.whl</a>\
         <a href=\"//127.0.0.2/acme-1.1-py3-none-any.whl\">acme-1.1-py3-none-any.whl</a>\
         <a href=\"file:///etc/acme-1.2-py3-none-any.whl\">acme-1.2-py3-none-any.whl</a>\
         <a href=\"acme-1.3-py3-none-any.whl\">acme-1.3-py3-none-any.whl</a>\
         <a href=\"missing-1.4-py3-none-any.whl\">missing-1.4-py3-none-any.whl</a>",
        other.url().replace("127.0.0.1", "localhost"),
    );
    std::fs::write(folder.join("index.html"), page(&links)).unwrap();
    std::fs::write(folder.join("acme-1.3-py3-none-any.whl"), "x").unwrap();
    let web = Nginx::start(&format!(
        "root {}; index index.html; types {{ text/html html; }}",
        dir.path().display()
    ));
    let events = list(&["from-index", &web.url()]);
    let lost: Vec<String> = lines(&events[1..]);
    assert_eq!(events[0]["exact"], "Last-Modified");
    assert_eq!(lost.len(), 4, "{events:#?}");
    assert!(lost.iter().all(|line| line.starts_with("lost ")), "{lost:?}");
}

#[test]
fn an_origin_that_is_refused_is_named_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let web = Nginx::start(&format!("root {}; location /denied {{ return 401; }}", dir.path().display()));
    let at = |path: &str| format!("{}{path}", web.url());
    let (server, out) = (web.url(), dir.path().join("list.ndjson"));
    for (code, args, parts) in [
        (1, &["from-cran", &at("/denied")][..], ["401 Unauthorized", "http://USER:PASSWORD@HOST"]),
        (1, &["from-index", &at("/denied")], ["401 Unauthorized", "http://USER:PASSWORD@HOST"]),
        (1, &["from-cran", &at("/r")], ["has no src/contrib/PACKAGES", "add /latest"]),
        (1, &["from-index", &at("/py")], ["/py/simple/ is missing", "add /latest"]),
        (2, &["from-snapshots", &server], ["is not the address of a repository", "http://host:4242/team"]),
        (
            1,
            &["from-git", "ssh://nowhere/r", "--out", out.to_str().unwrap()],
            ["'ssh' not allowed", "; clone it"],
        ),
    ] {
        let error = refused(code, args);
        assert!(parts.iter().all(|part| error.contains(part)), "{args:?}: {error}");
    }
}

/// Starts pypiserver with packages in a folder.
fn pypiserver(folder: &Path) -> (HelperProgram, String) {
    let (server, port) = HelperProgram::on_free_port(|port| {
        let mut command = Command::new(program("pypiserver", "pypi-server"));
        command.args(["run", "--interface", "127.0.0.1", "--port", &port.to_string()]).arg(folder);
        command
    });
    (server, format!("http://127.0.0.1:{port}"))
}

#[test]
fn pypiserver_is_read_with_the_times_of_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["acme-tools", "Acme.Web"].map(|name| {
        let package = Package::new(name, "1.0");
        let path = dir.path().join(package.wheel_name());
        std::fs::write(&path, package.wheel()).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_704_877_200);
        std::fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
        package.wheel_name()
    });
    let (_server, url) = pypiserver(dir.path());
    let events = list(&["from-index", &format!("{url}/simple/")]);
    let expected = names.map(|name| format!("2024-01-10T09:00:00Z add {name} Last-Modified"));
    assert_eq!(lines(&events), expected);
    assert!(events.iter().all(|event| event["sha256"].is_string()), "{events:?}");
}

/// Creates the indexes `root/dev` and `root/prod`, whose base is `root/dev`, uploads a file to the first one, and pushes it to
/// the second one a second later.
const DEVPI: &str = r#"
import base64, json, sys, time, urllib.request
url, *files = sys.argv[1:]
def send(method, path, body, auth=None, kind="application/json"):
    request = urllib.request.Request(url + path, body, {"Content-Type": kind, "Accept": "application/json"}, method=method)
    if auth:
        request.add_header("X-Devpi-Auth", base64.b64encode(f"root:{auth}".encode()).decode())
    with urllib.request.urlopen(request) as answer:
        return answer.read()
login = json.loads(send("POST", "/+login", json.dumps({"user": "root", "password": ""}).encode()))
auth = login["result"]["password"]
for index, bases in (("dev", []), ("prod", ["root/dev"])):
    send("PUT", f"/root/{index}", json.dumps({"type": "stage", "bases": bases, "volatile": True}).encode(), auth)
for file in files:
    name, version = file.rsplit("/", 1)[-1].split("-")[:2]
    content = open(file, "rb").read()
    fields = {":action": "file_upload", "name": name, "version": version, "filetype": "bdist_wheel", "pyversion": "py3",
              "metadata_version": "2.1"}
    body = b"".join(f'--x\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode() for key, value in fields.items())
    head = f'--x\r\nContent-Disposition: form-data; name="content"; filename="{file.rsplit("/", 1)[-1]}"\r\n\r\n'
    body += head.encode() + content + b"\r\n--x--\r\n"
    send("POST", "/root/dev/", body, auth, "multipart/form-data; boundary=x")
time.sleep(1.1)
name, version = files[0].rsplit("/", 1)[-1].split("-")[:2]
send("PUSH", "/root/dev", json.dumps({"name": name, "version": version, "targetindex": "root/prod"}).encode(), auth)
"#;

fn devpi(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(program("devpi", name));
    command.arg("--serverdir").arg(folder).env("HOME", folder.parent().expect("a folder"));
    command
}

#[test]
fn an_index_of_devpi_is_read_from_the_server_and_from_its_export() {
    let dir = tempfile::tempdir().unwrap();
    let (data, export) = (dir.path().join("devpi"), dir.path().join("export"));
    let run = |mut command: Command| {
        let output = command.output().expect("it runs");
        assert!(
            output.status.success(),
            "{command:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let mut init = devpi("devpi-init", &data);
    init.arg("--no-root-pypi");
    run(init);
    let files: Vec<PathBuf> = ["1.0", "1.1"]
        .into_iter()
        .map(|version| {
            let package = Package::new("acme_tools", version);
            let path = dir.path().join(package.wheel_name());
            std::fs::write(&path, package.wheel()).unwrap();
            path
        })
        .collect();
    let (server, port) = HelperProgram::on_free_port(|port| {
        let mut command = devpi("devpi-server", &data);
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command
    });
    let url = format!("http://127.0.0.1:{port}");
    let mut script = Command::new(program("devpi", "python"));
    script.args(["-c", DEVPI, &url]).args(&files);
    run(script);
    let [over_http, prod_over_http] =
        ["dev", "prod"].map(|index| list(&["from-devpi", &format!("{url}/root/{index}/")]));
    for address in [&url, &format!("{url}/root")] {
        assert!(refused(1, &["from-devpi", address]).contains("give https://host/user/index"), "{address}");
    }
    drop(server);
    let mut export_command = devpi("devpi-export", &data);
    export_command.arg(&export);
    run(export_command);
    let folder = export.to_str().unwrap();
    let [exported, prod_exported] =
        ["root/dev", "root/prod"].map(|index| list(&["from-devpi", folder, "--index", index]));

    // Only the files of the index itself; the pushed one has the time of the push.
    assert_eq!((over_http.len(), prod_over_http.len()), (2, 1), "{over_http:?} {prod_over_http:?}");
    assert_eq!((lines(&exported), lines(&prod_exported)), (lines(&over_http), lines(&prod_over_http)));
    assert!(prod_exported[0]["at"].as_str() > exported[0]["at"].as_str(), "{prod_exported:?}");
    for event in exported.iter().chain(&over_http).chain(&prod_exported) {
        let name = event["file"].as_str().unwrap();
        let bytes = std::fs::read(dir.path().join(name)).unwrap();
        assert_eq!(event["sha256"], hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&bytes)));
        assert_eq!((&event["exact"], &event["note"]), (&"log".into(), &"uploaded by root".into()));
    }
    assert!(prod_over_http[0]["from"].as_str().unwrap().starts_with(&format!("{url}/root/prod/+f/")));
    let from = export.join(exported[0]["from"].as_str().unwrap());
    assert_eq!(std::fs::read(from).unwrap(), std::fs::read(&files[0]).unwrap());
    assert!(refused(2, &["from-devpi", folder, "--index", "root/none"]).contains("root/prod"));
    assert!(refused(2, &["from-folder", folder]).contains("from-devpi"));

    // Hostile exports: nothing outside the folder is read, and no hash of a password is printed.
    let index = export.join("dataindex.json");
    let text = std::fs::read_to_string(&index).unwrap();
    let relative = exported[0]["from"].as_str().unwrap();
    std::fs::write(
        &index,
        text.replace(relative, &format!("../{}", files[0].file_name().unwrap().to_str().unwrap())),
    )
    .unwrap();
    let events = list(&["from-devpi", folder, "--index", "root/dev"]);
    assert!(lines(&events).iter().any(|line| line.starts_with("lost ../")), "{events:?}");
    std::fs::write(&index, text.replacen("\"dumpversion\": \"2\"", "\"dumpversion\": \"3\"", 1)).unwrap();
    assert!(refused(1, &["from-devpi", folder, "--index", "root/dev"]).contains("dumpversion"));
    std::fs::write(&index, &text[..text.len() / 2]).unwrap();
    let error = refused(1, &["from-devpi", folder, "--index", "root/dev"]);
    assert!(error.contains("is not JSON") && !error.contains("argon2"), "{error}");
}

#[test]
fn nginx_redirects_old_addresses_with_the_lines_of_the_manual() {
    let page = std::fs::read_to_string("docs/admin/import-origins.md").unwrap();
    let lines = page.split("```nginx\n").nth(1).and_then(|rest| rest.split("```").next()).expect("lines");
    let web = Nginx::start(lines);
    for (old, new) in [
        ("/root/prod/+simple/acme/", "/py/latest/simple/acme/"),
        ("/simple/acme/", "/py/latest/simple/acme/"),
        ("/repository/r/src/contrib/PACKAGES.gz", "/prod/latest/src/contrib/PACKAGES.gz"),
        ("/artifactory/api/pypi/py/simple/acme/", "/py/latest/simple/acme/"),
        ("/artifactory/api/cran/r/src/contrib/PACKAGES", "/prod/latest/src/contrib/PACKAGES"),
        ("/api/v4/projects/7/packages/pypi/simple/acme", "/py/latest/simple/acme"),
        ("/api/packages/team/pypi/simple/acme/", "/py/latest/simple/acme/"),
        ("/api/packages/team/cran/src/contrib/PACKAGES", "/prod/latest/src/contrib/PACKAGES"),
        ("/pypi/py/simple/acme/", "/py/latest/simple/acme/"),
        ("/repo/r/src/contrib/a_1.0.tar.gz", "/prod/latest/src/contrib/a_1.0.tar.gz"),
        ("/drat/src/contrib/PACKAGES.rds", "/prod/latest/src/contrib/PACKAGES.rds"),
        ("/prod/2024-03-01/src/contrib/PACKAGES", "/prod/2024-03-01/src/contrib/PACKAGES"),
    ] {
        let answer = crate::support::http::get(&format!("{}{old}", web.url()));
        let expected = format!("https://packages.example.org{new}");
        assert_eq!((answer.status, answer.header("location")), (301, Some(expected.as_str())), "{old}");
    }
}
