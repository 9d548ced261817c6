//! Yanked releases of Python projects: a release is yanked if all its files are.

use super::document;
use crate::support::pypi::Pypi;
use crate::support::python::index::{self, wheel};
use crate::support::python::package::Package;
use crate::support::server::Server;

fn page(server: &Server, path: &str) -> String {
    let answer = server.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    document::page(&answer, path);
    answer.text()
}

#[test]
fn a_release_is_yanked_only_if_all_its_files_are() {
    let pypi = Pypi::start();
    let uploaded = "2020-01-01T00:00:00Z";
    let package = Package::new("one", "2.0");
    wheel(&pypi, &Package::new("one", "1.0"), uploaded);
    // The sdist is the first file in the order of names, so either one may be the first on the page.
    let files = [wheel(&pypi, &package, uploaded), "one-2.0.tar.gz".to_owned()];
    pypi.add("one", &files[1], b"an sdist", uploaded);
    let server = index::start(&pypi, "");
    let states = || {
        server.sync_of("pypi").expect("a sync");
        let folder = "/py/latest/web/packages/one/";
        let of_version = page(&server, &format!("{folder}?version=2.0"));
        let versions = page(&server, &format!("{folder}versions/"));
        let row = versions.split("<tr").find(|row| row.contains("?version=2.0"));
        let row = row.unwrap_or_else(|| panic!("{versions}"));
        let state = if row.contains(">yanked<") { "yanked" } else { "listed" };
        assert!(row.contains(&format!(">{state}<")), "{row}");
        (of_version.contains("Yanked"), state)
    };
    assert_eq!(states(), (false, "listed"));
    for yanked in &files {
        for file in &files {
            let reason = (file == yanked).then(|| "broken build".to_owned());
            pypi.edit("one", file, |entry| entry.yanked = reason);
        }
        assert_eq!(states(), (false, "listed"), "{yanked}");
    }
    for file in &files {
        pypi.edit("one", file, |entry| entry.yanked = Some("broken build".to_owned()));
    }
    assert_eq!(states(), (true, "yanked"));
    assert!(page(&server, "/py/latest/web/packages/one/?version=2.0").contains("broken build"));
}
