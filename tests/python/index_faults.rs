//! Faults of an index: of the page of one project, of several pages in a row, and of the whole index.

use crate::support::fixtures::until;
use crate::support::listener::ClosedPort;
use crate::support::pypi::Pypi;
use crate::support::python::index::{files, get, names, start};

const OLD: &str = "2021-03-05T00:00:00Z";

fn index(projects: &[String]) -> Pypi {
    let pypi = Pypi::start();
    for project in projects {
        pypi.add(project, &format!("{project}-1.0.tar.gz"), project.as_bytes(), OLD);
    }
    pypi
}

fn named(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

fn page(project: &str) -> String {
    format!("/py/latest/simple/{project}/")
}

#[test]
fn a_page_that_fails_does_not_concern_other_projects() {
    let closed = ClosedPort::open();
    let redirect = format!("Location: http://127.0.0.1:{}/\r\n", closed.port);
    let faults = [
        (500, ""),
        (502, ""),
        (503, "Retry-After: 30\r\n"),
        (504, ""),
        (429, "Retry-After: 30\r\n"),
        // A body that ends before its length.
        (200, "Content-Type: application/vnd.pypi.simple.v1+json\r\nContent-Length: 1000\r\n"),
        (200, "no header field\r\n"),
        // A redirect to a server that does not accept connections.
        (302, &*redirect),
    ];
    let (broken, other) = (named("broken", faults.len()), named("other", faults.len()));
    let pypi = index(&[broken.clone(), other.clone()].concat());
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    for ((fault, broken), other) in faults.iter().zip(&broken).zip(&other) {
        pypi.set_fault(broken, Some(*fault));
        pypi.take_requests();
        for _ in 0..3 {
            let answer = get(&server, &page(broken));
            assert_eq!(
                (answer.status, answer.header("retry-after")),
                (503, Some("30")),
                "{fault:?} {answer:?}"
            );
        }
        assert_eq!(names(&server, "latest", other), [format!("{other}-1.0.tar.gz")], "{fault:?}");
        let expected = [format!("/simple/{broken}/"), format!("/simple/{other}/")];
        assert_eq!(pypi.take_requests(), expected, "{fault:?}");
    }
    pypi.set_fault(&broken[0], None);
    until("the project is requested again", || get(&server, &page(&broken[0])).status == 200);
}

#[test]
fn the_last_state_of_a_project_is_served_while_its_page_fails() {
    let pypi = index(&["one".to_owned(), "two".to_owned()]);
    let server = start(&pypi, "Follow = false");
    server.sync_of("pypi").expect("an index");
    let name = "one-1.0.tar.gz";
    assert_eq!(names(&server, "latest", "one"), [name]);
    pypi.edit("one", name, |file| file.yanked = Some("bad".to_owned()));
    server.sync_of("pypi").expect("an index");
    pypi.set_fault("one", Some((500, "")));
    assert_eq!(files(&server, "latest", "one").expect("the last page")[name], false);
    assert_eq!(names(&server, "latest", "two").len(), 1, "it was never read before");
    pypi.set_fault("one", None);
    until("the project is requested again", || {
        files(&server, "latest", "one").is_some_and(|files| files[name] == "bad")
    });
}

#[test]
fn the_index_is_not_requested_after_failures_of_several_projects_in_a_row() {
    let broken = named("broken", 3);
    let pypi = index(&[&broken[..], &["one".to_owned()]].concat());
    let server = start(&pypi, "");
    server.sync_of("pypi").expect("an index");
    for project in &broken {
        pypi.set_fault(project, Some((429, "Retry-After: 50\r\n")));
    }
    pypi.take_requests();
    for project in broken.iter().chain([&"one".to_owned()]) {
        let answer = get(&server, &page(project));
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("30")), "{project}");
    }
    let expected: Vec<String> = broken.iter().map(|project| format!("/simple/{project}/")).collect();
    assert_eq!(pypi.take_requests(), expected);
}
