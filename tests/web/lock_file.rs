//! The page that compares a lock file with a snapshot.

use std::io::Write;

use super::document;
use crate::support::data;
use crate::support::http::{self, Answer};
use crate::support::python::package::{Package, add, repository};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

const PAGE: &str = "/team/latest/web/lockfile/";

fn post(server: &Server, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    http::request("POST", &server.url(path), headers, body)
}

#[test]
fn a_renv_lock_is_compared_with_the_snapshot() {
    let server = super::server();
    document::page(&server.get(PAGE), PAGE);
    let lock = r#"{"R": {"Version": "4.4.1"}, "Packages": {
        "alpha": {"Package": "alpha", "Version": "1.0", "Source": "Repository"},
        "beta": {"Package": "beta", "Version": "2.0", "Source": "Repository"},
        "gone": {"Package": "gone", "Version": "0.1", "Source": "Repository"}}}"#;
    let answer = post(&server, PAGE, &[("Content-Type", "application/json")], lock.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    document::page(&answer, PAGE);
    let page = answer.text();
    for part in ["<strong>3 packages</strong>: 1 listed", "in the archive, lists 1.1", "does not have it"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(page.contains("It never listed the versions of: gone."), "{page}");
    let none = r#"{"Packages": {"mine": {"Version": "0.1", "Source": "GitHub"}}}"#;
    let page = post(&server, PAGE, &[], none.as_bytes()).text();
    assert!(page.contains("<strong>0 packages</strong>") && !page.contains("of no day"), "{page}");
    // As the form of the page sends it.
    let form = "file=beta%0D%0A".to_owned() + "&file=x";
    let own = [("Content-Type", "application/x-www-form-urlencoded"), ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(post(&server, PAGE, &own, form.as_bytes()).status, 400);
    // A refused form has the text of the file, and the reason beside its field.
    let answer = post(&server, PAGE, &own, b"file=%0A%3Cscript%3Ealert%3C%2Fscript%3E+%26+x&day=2026-11-20");
    assert_eq!(answer.status, 400, "{}", answer.text());
    document::page(&answer, PAGE);
    let page = answer.text();
    for part in [
        ">\n\n&lt;script&gt;alert&lt;/script&gt; &amp; x</textarea>",
        "aria-describedby=\"file-problem\"",
        "id=\"file-problem\"",
        "name=\"day\" value=\"2026-11-20\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let answer = post(&server, PAGE, &own, b"file=other+attached+packages%3A%0A%5B1%5D+beta_2.0%0A&day=x");
    assert_eq!(answer.status, 400, "{}", answer.text());
    let page = answer.text();
    assert!(page.contains("[1] beta_2.0") && page.contains("id=\"day-problem\""), "{page}");
    assert!(!page.contains("file-problem"), "{page}");
    let session = "file=other+attached+packages%3A%0A%5B1%5D+beta_2.0%0A";
    let answer = post(&server, PAGE, &own, session.as_bytes());
    assert!(answer.status == 200 && answer.text().contains("up to this snapshot"), "{}", answer.text());
}

#[test]
fn a_requirements_file_is_compared_with_a_python_repository() {
    let server = Server::start();
    repository(&server);
    add(&server, "team", &Package::new("Odd.Lib", "1.0"));
    let path = "/py/latest/web/lockfile/";
    let answer = post(&server, path, &[], b"odd_lib==1.0\nother==2.0\nthird>=1\n");
    assert_eq!(answer.status, 200, "{}", answer.text());
    document::page(&answer, path);
    let page = answer.text();
    assert!(page.contains("<strong>2 packages</strong>: 1 listed") && page.contains("third"), "{page}");
    // Two texts of one version, and a version that the project does not have.
    for (version, state) in [("1.0.0", "lists it"), ("9", "lists 1.0<")] {
        let page = post(&server, path, &[], format!("odd_lib=={version}\n").as_bytes()).text();
        assert!(page.contains(state), "{version}: {page}");
    }
}

#[test]
fn options_and_addresses_of_a_requirements_file_are_reported_by_line() {
    let server = Server::start();
    repository(&server);
    add(&server, "team", &Package::new("one", "1.0"));
    add(&server, "team", &Package::new("two", "2.0"));
    let path = "/py/latest/web/lockfile/";
    let file = format!(
        "# as pip freeze and pip-compile write it\n--index-url https://user:secret@h.example/simple\n\
         --require-hashes\n-r base.txt\n-e ./own\none==1.0 \\\n    --hash=sha256:{} \\\n    --hash=sha512:00\n\
         mine @ git+https://h.example/mine\nhttps://h.example/x-1.0.tar.gz\n\
         two==2.0 ; python_version >= '3.9'\ntwo==1.0 ; python_version < '3.9'\n",
        "0".repeat(64)
    );
    let answer = post(&server, path, &[], file.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    document::page(&answer, path);
    let page = answer.text();
    for part in [
        "<strong>2 packages</strong>: 2 listed",
        "<li>an option of pip: --index-url (line 2), --require-hashes (line 3)</li>",
        "<li>a reference to another file, which is not read: -r (line 4)</li>",
        "<li>not from a repository: -e (line 5), mine (line 9), line 10</li>",
        "<li>a further version of a package, such as one for other environments: two 1.0</li>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("secret"), "{page}");
    let answer = post(&server, path, &[], b"one==1.0\nnot a requirement\n");
    assert!(answer.status == 400 && answer.text().contains("line 2"), "{}", answer.text());
}

#[test]
fn a_version_of_one_day_and_another_text_of_a_version_are_reported() {
    let server = super::server();
    let lock = |name: &str, version: &str| {
        let file =
            format!(r#"{{"Packages": {{"{name}": {{"Package": "{name}", "Version": "{version}"}}}}}}"#);
        let answer = post(&server, PAGE, &[], file.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        document::page(&answer, PAGE);
        answer.text()
    };
    // The repository listed alpha 1.0 until it got 1.1 on the same day.
    let page = lock("alpha", "1.0");
    assert!(page.contains("There is no day") && !page.contains("It never listed"), "{page}");
    let listed = page.split_once("Only within a day, it listed: <a href=\"").expect("the version").1;
    let (address, rest) = listed.split_once('"').expect("an address");
    assert!(rest.starts_with(">alpha 1.0</a> (<time"), "{page}");
    let history = server.get(&format!("/{}", address.trim_start_matches("../"))).text();
    let row = history.split("<tr>").find(|row| row.contains(">1.0</td>"));
    let row = row.unwrap_or_else(|| panic!("no row: {history}"));
    assert!(row.contains("the same day"), "{row}");
    // Its link is to the state that listed the version; the day lists another one.
    let address = row.split("href=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a link");
    let path = address.trim_start_matches("../").to_owned();
    let path = format!("/{path}");
    assert!(path.starts_with("/team/") && !path.contains('-'), "{path}");
    let page = server.get(&path);
    assert!(page.status == 200 && page.text().contains("alpha 1.0"), "{path}: {}", page.text());
    // R compares versions by their numbers.
    server.add("team", &Tarball::new("gamma", "1.0-1"));
    let page = lock("gamma", "1.0-01");
    assert!(page.contains("1 listed in this version") && page.contains("up to this snapshot"), "{page}");
    assert!(page.contains("there it is written <span class=\"changed\">1.0-1</span>"), "{page}");
    assert!(!lock("gamma", "1.0-1").contains("there it is written"));
}

#[test]
fn another_day_is_compared_with_the_versions_of_the_file() {
    let server = super::server();
    let today = crate::support::today::stable_today().to_string();
    assert!(server.get(PAGE).text().contains("type=\"date\""));
    let own = [("Content-Type", "application/x-www-form-urlencoded"), ("Sec-Fetch-Site", "same-origin")];
    let file = "file=other+attached+packages%3A%0A%5B1%5D+alpha_1.0+beta_2.0+gone_0.1%0A";
    let answer = post(&server, PAGE, &own, format!("{file}&day={today}").as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    document::page(&answer, PAGE);
    let page = answer.text();
    let part =
        page.split_once(" would change</h2>").expect("the part").1.split_once("</table>").expect("its end").0;
    for text in ["<strong>2 packages</strong>", "→ 1.1", "not in the repository on that day"] {
        assert!(part.contains(text), "{text}: {part}");
    }
    assert!(!part.contains("beta"), "{part}");
    assert!(
        !post(&server, PAGE, &own, format!("{file}&day=").as_bytes()).text().contains("would change</h2>")
    );
    let page =
        post(&server, &format!("{PAGE}?day={today}"), &[], b"other attached packages:\n[1] beta_2.0\n");
    assert!(page.text().contains("lists all versions of the file"), "{}", page.text());
    for day in ["yesterday", "2026-02-30", "%3Ci%3E"] {
        let answer = post(&server, PAGE, &own, format!("{file}&day={day}").as_bytes());
        assert!(answer.status == 400 && !answer.text().contains("<i>"), "{day}: {}", answer.text());
    }
    let server = Server::start();
    repository(&server);
    add(&server, "team", &Package::new("Odd.Lib", "1.0"));
    let page =
        post(&server, &format!("/py/latest/web/lockfile/?day={today}"), &[], b"odd_lib==2.0\nother==1.0\n")
            .text();
    let part = page.split_once(" would change</h2>").expect("the part").1;
    assert!(part.contains("<strong>2 packages</strong>") && part.contains("→ 1.0"), "{part}");
}

#[test]
fn a_day_before_the_first_sync_is_compared_with_its_own_versions() {
    let mirror = data::path("cran-mirror");
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = file://{}", mirror.display())).start();
    server.rspm_stdout("sync --type=CRAN");
    server.rspm_stdout("create repo --name=team");
    server.rspm_stdout("subscribe --repo=team --source=cran");
    server.rspm_stdout("backfill --source=cran --since=2015-01-01");
    let now = data::cran().version("R6").to_owned();
    // R6 2.5.1 was published on 2021-08-19, its successor in 2025.
    let compare = |version: &str, day: &str| {
        let lock = format!(
            r#"{{"Packages": {{"R6": {{"Package": "R6", "Version": "{version}", "Source": "Repository"}}}}}}"#
        );
        let answer = post(&server, &format!("{PAGE}?day={day}"), &[], lock.as_bytes());
        assert_eq!(answer.status, 200, "{version} {day}: {}", answer.text());
        document::page(&answer, PAGE);
        answer.text()
    };
    let page = compare(&now, "2023-01-15");
    let part = page.split_once("would change</h2>").expect("the part").1;
    assert!(part.contains("<strong>1 package</strong>") && part.contains("→ 2.5.1"), "{page}");
    // The version of that day changes nothing, and the page names the days on which it was listed.
    let page = compare("2.5.1", "2023-01-15");
    assert!(page.contains("lists all versions of the file"), "{page}");
    assert!(page.contains("../../2021-08-19/") || page.contains("/team/2021-08-19/"), "{page}");
    assert!(page.contains("in the archive, lists"), "{page}");
    let page = compare("2.5.1", "2021-08-18");
    let part = page.split_once("would change</h2>").expect("the part").1;
    assert!(part.contains("<strong>1 package</strong>") && !part.contains("→ 2.5.1"), "{page}");
}

#[test]
fn files_that_are_too_large_or_no_lock_files_or_from_other_sites_are_refused() {
    let server = super::server();
    let megabyte = vec![b' '; 1 << 20];
    let answer = post(&server, PAGE, &[], &megabyte);
    assert_eq!(answer.status, 400, "{}", answer.text());
    let larger = vec![b' '; (1 << 20) + 1];
    let answer = post(&server, PAGE, &[], &larger);
    assert_eq!(answer.status, 413, "{}", answer.text());
    let form = "application/x-www-form-urlencoded";
    let larger = format!("file={}", "+".repeat((1 << 20) + 1));
    let own = [("Content-Type", form), ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(post(&server, PAGE, &own, larger.as_bytes()).status, 413);
    // A browser sends each line feed as a carriage return and a line feed; the limit is about the file.
    let lock = r#"{"Packages": {"beta": {"Package": "beta", "Version": "2.0"}}}"#;
    let form_of = |size: usize| {
        let encoded: String = url::form_urlencoded::byte_serialize(lock.as_bytes()).collect();
        format!("file={encoded}{}", "%0D%0A".repeat(size - lock.len())).into_bytes()
    };
    let answer = post(&server, PAGE, &own, &form_of(1 << 20));
    assert!(answer.status == 200 && answer.text().contains("1 listed"), "{}", answer.status);
    assert_eq!(post(&server, PAGE, &own, &form_of((1 << 20) + 1)).status, 413);
    for site in ["cross-site", "same-site", "none"] {
        let answer = post(&server, PAGE, &[("Content-Type", form), ("Sec-Fetch-Site", site)], b"file=x");
        assert_eq!(answer.status, 403, "{site}: {}", answer.text());
    }
    let own = server.url("");
    let own = own.trim_end_matches('/');
    let other_scheme = own.replacen("http:", "https:", 1);
    for (origin, status) in [(own, 400), (other_scheme.as_str(), 403), ("null", 403)] {
        let answer = post(&server, PAGE, &[("Content-Type", form), ("Origin", origin)], b"file=x");
        assert_eq!(answer.status, status, "{origin}: {}", answer.text());
    }
    let answer = post(&server, PAGE, &[], b"<script>alert(1)</script>");
    assert_eq!(answer.status, 400);
    assert!(!answer.text().contains("<script>alert"), "{}", answer.text());
    assert_eq!(post(&server, "/team/latest/web/packages/", &[], b"x").status, 405);
    let put = http::request("PUT", &server.url(PAGE), &[], b"x");
    assert_eq!((put.status, put.header("allow")), (405, Some("GET, HEAD, POST")));
}

#[test]
fn a_request_is_authorized_again_after_its_body() {
    let server = super::server();
    let lock = br#"{"Packages": {"beta": {"Package": "beta", "Version": "2.0"}}}"#;
    let names = br#"{"names": ["beta"]}"#.as_slice();
    let token = || {
        let text = server.rspm_stdout("create token --description=x --quiet --scope=repos:read --repos=team");
        text.trim().to_owned()
    };
    for (path, body) in [(PAGE, lock.as_slice()), ("/__api__/repos/team/filter/packages", names)] {
        // The answer to a body whose last byte is sent after `change`.
        let answer_after = |secret: Option<&str>, change: &dyn Fn()| {
            let mut stream = http::connect(server.host());
            let token = secret.map(|secret| format!("Authorization: Bearer {secret}\r\n"));
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: {}\r\n{}Content-Length: {}\r\nConnection: close\r\n\r\n",
                server.host(),
                token.unwrap_or_default(),
                body.len()
            );
            stream.write_all(head.as_bytes()).expect("sent");
            stream.write_all(&body[..body.len() - 1]).expect("sent");
            // A request that is answered after this one began.
            assert_eq!(server.get("/__ping__").status, 200);
            change();
            stream.write_all(&body[body.len() - 1..]).expect("sent");
            http::read(&mut stream, "POST").status
        };
        server.rspm_stdout("edit repo --name=team --authenticated=true");
        assert_eq!(answer_after(Some(&token()), &|| {}), 200, "{path}");
        let revoked = token();
        let revoke = || drop(server.rspm_stdout(&format!("revoke token --token={revoked}")));
        assert_eq!(answer_after(Some(&revoked), &revoke), 401, "{path}");
        // An open repository becomes authenticated while the body arrives.
        assert_eq!(server.rspm("edit repo --name=team --authenticated=false").code, 0);
        let close = || drop(server.rspm_stdout("edit repo --name=team --authenticated=true"));
        assert_eq!(answer_after(None, &close), 401, "{path}");
    }
}
