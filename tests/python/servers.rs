//! Python packages on two servers of one database, and in backups.

use std::collections::BTreeMap;

use super::attached;
use crate::backup::machines::{back_up, blank, copy_folder, database, folder};
use crate::support::cluster::Shared;
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::python::form::{Form, publisher, send};
use crate::support::python::package::{Package, repository};
use crate::support::server::{Builder, Server};

/// Status, ETag and body of the pages of a repository in both formats, at `latest` and at each transaction, and of each
/// file and the files that belong to it.
fn answers(server: &Server, transactions: i64) -> BTreeMap<String, (u16, Option<String>, Vec<u8>)> {
    let mut answers = BTreeMap::new();
    let snapshots = (1..=transactions).map(|number| number.to_string()).chain(["latest".to_owned()]);
    for snapshot in snapshots {
        for project in ["", "one/", "two/"] {
            for accept in ["application/vnd.pypi.simple.v1+json", "text/html"] {
                let path = format!("/py/{snapshot}/simple/{project}");
                let answer = http::request("GET", &server.url(&path), &[("Accept", accept)], b"");
                for link in answer.text().split('"').filter_map(|text| text.strip_prefix("../../packages/")) {
                    let link = link.split('#').next().unwrap_or_default();
                    for suffix in ["", ".metadata", ".asc", ".provenance"] {
                        let path = format!("/py/{snapshot}/packages/{link}{suffix}");
                        let file = server.get(&path);
                        let etag = file.header("etag").map(str::to_owned);
                        answers.insert(path, (file.status, etag, file.body));
                    }
                }
                let etag = answer.header("etag").map(str::to_owned);
                answers.insert(format!("{path} {accept}"), (answer.status, etag, answer.body));
            }
        }
    }
    assert!(answers.len() > 20, "{}", answers.len());
    answers
}

/// The form of a wheel with a signature and attestations.
fn with_attached(package: &Package) -> Form {
    let list = attached::attestations(&package.wheel_name(), &package.wheel());
    let form = Form::wheel(package).with("attestations", &list.to_string());
    form.signed(&format!("{}.asc", package.wheel_name()), attached::SIGNATURE)
}

#[test]
fn two_servers_serve_the_same_bytes_of_files_that_either_published() {
    let shared = Shared::new();
    let (pm1, pm2) = (shared.start("pm1"), shared.start("pm2"));
    repository(&pm1);
    let token = publisher(&pm1);
    let path = "/upload/pypi/team";
    until("the other server has the source and the token", || {
        send(&pm2, path, Some(&token), b"").status == 400
    });
    let publish = |server: &Server, form: Form| {
        let answer = send(server, path, Some(&token), &form.encode());
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    publish(&pm1, Form::wheel(&Package::new("one", "1.0")));
    publish(&pm2, Form::sdist(&Package::new("one", "1.0")));
    publish(&pm2, Form::wheel(&Package::new("two", "1.0").requires("one")));
    // What the other server adds to a file.
    publish(&pm2, with_attached(&Package::new("one", "1.0")));
    publish(&pm1, with_attached(&Package::new("two", "1.0").requires("one")));
    pm1.rspm_stdout("yank --source=team --name=one@1.0 --reason=broken");
    // At the same time on both: one of the requests succeeds.
    let package = Package::new("one", "1.1");
    let (first, second) = (Form::wheel(&package), Form::wheel(&package.clone().code("other = 1\n")));
    let statuses = std::thread::scope(|scope| {
        let second = scope.spawn(|| send(&pm2, path, Some(&token), &second.encode()).status);
        let first = send(&pm1, path, Some(&token), &first.encode()).status;
        let mut statuses = [first, second.join().expect("an answer")];
        statuses.sort_unstable();
        statuses
    });
    assert_eq!(statuses, [200, 400]);
    let last = crate::support::python::package::transaction(&pm1, "team");
    until("both have the last transaction", || {
        crate::support::python::package::transaction(&pm2, "team") == last
    });
    let page = |server: &Server| server.get("/py/latest/simple/one/").text();
    until("both serve it", || page(&pm1) == page(&pm2));
    let found = answers(&pm1, last);
    let attached =
        found.iter().filter(|(path, (status, ..))| path.ends_with(".provenance") && *status == 200);
    assert!(attached.count() >= 2, "{:?}", found.keys());
    assert_eq!(found, answers(&pm2, last));
}

fn restored(from: &str, to: &str) {
    let server = Builder::default().gcfg(&database(from)).start();
    repository(&server);
    let token = publisher(&server);
    let package = Package::new("one", "1.0").requires("two");
    let two = Package::new("two", "2.0+local");
    // `two` gets a signature and attestations later, so that its page has two states.
    for form in [with_attached(&package), Form::sdist(&package), Form::wheel(&two), with_attached(&two)] {
        let answer = form.send(&server, &token);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    server.rspm_stdout("yank --source=team --name=one@1.0 --reason=it~<breaks>");
    server.rspm_stdout("remove package --source=team --name=one@one-1.0.tar.gz");
    let last = crate::support::python::package::transaction(&server, "team");
    let before = answers(&server, last);
    back_up(&server);
    let mut other = blank(to);
    copy_folder(&folder(&server), &folder(&other));
    let from = format!("--from {}", folder(&other).display());
    let tested = other.json(&format!("backup test {from}"));
    // Two wheels with their metadata, signature (the same) and attestations, and a source distribution that only earlier
    // transactions list.
    assert!(tested["files"].as_u64() >= Some(8), "{tested}");
    other.json(&format!("backup restore {from}"));
    other.launch();
    assert_eq!(answers(&other, last), before);
    // The token is restored too, and the names that were used.
    assert_eq!(Form::wheel(&package).send(&other, &token).status, 200);
    let refused = Form::sdist(&package.clone().code("other = 1\n")).send(&other, &token);
    assert!(refused.text().starts_with("This filename has already been used"), "{}", refused.text());
    assert_eq!(Form::wheel(&Package::new("one", "1.1")).send(&other, &token).status, 200);
}

#[test]
fn a_backup_of_sqlite_is_restored_to_postgresql() {
    restored("sqlite", "postgres");
}

#[test]
fn a_backup_of_postgresql_is_restored_to_sqlite() {
    restored("postgres", "sqlite");
}
