//! Indexes whose pages are not below `/simple/`: those of devpi and PyTorch.

use crate::support::http;
use crate::support::pypi::Pypi;
use crate::support::python::index::{get, names};
use crate::support::python::package::Package;
use crate::support::server::{Builder, Server};

const OLD: &str = "2021-03-05T00:00:00Z";

fn start_at(pypi: &Pypi, path: &str) -> Server {
    let gcfg = format!("[PyPI]\nURL = {}{path}\n", pypi.url());
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    server.rspm_stdout("create repo --name=py --type=python");
    server.rspm_stdout("subscribe --repo=py --source=pypi");
    server
}

fn index(base: &'static str, is_plain: bool) -> Pypi {
    let pypi = Pypi::start();
    pypi.set_base(base);
    if is_plain {
        pypi.set_plain();
    }
    for name in ["one", "two"] {
        let package = Package::new(name, "1.0");
        pypi.add(name, &package.wheel_name(), &package.wheel(), OLD);
    }
    pypi
}

#[test]
fn pages_are_found_below_the_address_or_where_devpi_has_them() {
    for (base, path, is_plain) in [
        ("/whl/cu130/", "/whl/cu130", true),
        ("/whl/cu130/", "/whl/cu130/", false),
        ("/root/dev/+simple/", "/root/dev", true),
        ("/root/dev/+simple/", "/root/dev/+simple", true),
        ("/root/dev/+simple/", "/root/dev/+simple/", false),
        ("/idx/simple/", "/idx/simple/", true),
        ("/", "", true),
    ] {
        let pypi = index(base, is_plain);
        let server = start_at(&pypi, path);
        let message = server.sync_of("pypi").unwrap_or_else(|error| panic!("{base} {path}: {error}"));
        assert!(message.contains("2 projects, 2 added"), "{base} {path}: {message}");
        pypi.take_requests();
        let wheel = Package::new("one", "1.0").wheel_name();
        assert_eq!(names(&server, "latest", "one"), [wheel.as_str()], "{base} {path}");
        assert_eq!(pypi.take_requests(), [format!("{base}one/")], "the base is known");
        let page = get(&server, "/py/latest/simple/one/").json();
        let url =
            page["files"][0]["url"].as_str().expect("an address").trim_start_matches("../../").to_owned();
        let file = http::request("GET", &server.url(&format!("/py/latest/{url}")), &[], b"");
        assert_eq!((file.status, file.body), (200, Package::new("one", "1.0").wheel()), "{base} {path}");
        assert_eq!(get(&server, "/py/latest/simple/none/").status, 404);
    }
}

#[test]
fn an_index_without_a_list_is_refused_after_all_bases_were_tried() {
    let pypi = index("/elsewhere/", true);
    let server = start_at(&pypi, "/idx");
    pypi.take_requests();
    let error = server.sync_of("pypi").expect_err("no list");
    for part in
        ["/idx/simple/ is not on the mirror", "/idx/ nor ", "/idx/+simple/ is a list", "Unlisted = true"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
    let requests = pypi.take_requests();
    for path in ["/idx/simple/", "/idx/+simple/", "/idx/"] {
        assert!(requests.iter().any(|request| request == path), "{path}: {requests:?}");
    }
}

#[test]
fn a_website_in_place_of_a_list_is_not_taken_for_one() {
    let (one, list) = ("/whl/cu130/one/", "/whl/cu130/");
    let site = "<html><a href='/login'>Login</a><a href='/about/'>About</a></html>";
    for (status, head, body) in [(200, "", site), (302, "Location: /whl/cu130/\r\n", "")] {
        let pypi = index("/whl/cu130/", true);
        pypi.set_elsewhere(status, head, body);
        let server = start_at(&pypi, "/whl/cu130");
        let message = server.sync_of("pypi").unwrap_or_else(|error| panic!("{status}: {error}"));
        assert!(message.contains("2 projects, 2 added"), "{status}: {message}");
        pypi.take_requests();
        let wheel = Package::new("one", "1.0").wheel_name();
        assert_eq!(names(&server, "latest", "one"), [wheel.as_str()], "{status}");
        assert_eq!(pypi.take_requests(), [one], "{status}: where the list is");
        server.sync_of("pypi").expect("a second sync");
        assert_eq!(pypi.take_requests().first().map(String::as_str), Some(list), "{status}");
    }
}

#[test]
fn a_list_in_another_form_is_read_if_no_other_folder_has_one() {
    let pypi = index("/whl/simple/", true);
    pypi.set_list_suffix("<a href='/'>Home page of the index</a>");
    let server = start_at(&pypi, "/whl");
    let message = server.sync_of("pypi").expect("a list");
    assert!(message.contains("2 projects, 2 added"), "{message}");
    assert_eq!(names(&server, "latest", "one").len(), 1);
}
