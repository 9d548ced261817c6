//! HEAD, conditions and ranges on every kind of resource.

use crate::support::http::{self, Answer};
use crate::support::server::Server;
use crate::support::tarball::Tarball;

const INDEX: &str = "/team/latest/src/contrib/PACKAGES";
const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const FUTURE: &str = "Fri, 06 Nov 2099 08:49:37 GMT";
const RESOURCES: [&str; 7] = [
    INDEX,
    "/team/latest/src/contrib/PACKAGES.gz",
    "/team/latest/src/contrib/PACKAGES.rds",
    "/team/latest/src/contrib/Meta/archive.rds",
    "/team/latest/bin/windows/contrib/4.5/PACKAGES.gz",
    "/team/latest/src/contrib/alpha_1.1.tar.gz",
    "/team/latest/src/contrib/Archive/alpha/alpha_1.0.tar.gz",
];

fn server() -> Server {
    let server = Server::start();
    server.local_repository("team", &[Tarball::new("alpha", "1.0"), Tarball::new("alpha", "1.1")]);
    server
}

fn request(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    http::request(method, &server.url(path), headers, b"")
}

#[test]
fn head_is_get_without_the_body() {
    let server = server();
    for path in RESOURCES.into_iter().chain([
        "/",
        "/__ping__",
        "/__api__/status",
        "/team/latest/src/contrib/x_1.tar.gz",
    ]) {
        let (get, head) = (server.get(path), request(&server, "HEAD", path, &[]));
        let comparable = |answer: &Answer| {
            let volatile = ["date", "request-id"];
            let mut headers: Vec<_> =
                answer.headers.iter().filter(|(n, _)| !volatile.contains(&n.as_str())).cloned().collect();
            headers.sort();
            (answer.status, headers)
        };
        assert_eq!(comparable(&get), comparable(&head), "{path}");
    }
}

#[test]
fn the_condition_matrix_holds_for_every_resource() {
    let server = server();
    for path in RESOURCES {
        let first = server.get(path);
        let tag = first.header("etag").expect("an ETag").to_owned();
        let modified = first.header("last-modified").map(ToOwned::to_owned);
        let weak = format!("W/{}", tag.trim_start_matches("W/"));
        let tag_list = format!("\"other\", {weak}");
        let strong_match = if tag.starts_with("W/") { 412 } else { 200 };
        let dated = |with, without| if modified.is_some() { with } else { without };
        let mut cases: Vec<(&[(&str, &str)], u16)> = vec![
            (&[], 200),
            (&[("If-None-Match", "\"other\"")], 200),
            (&[("If-None-Match", "*")], 304),
            (&[("If-Modified-Since", OLD)], 200),
            (&[("If-Modified-Since", FUTURE)], dated(304, 200)),
            (&[("If-Unmodified-Since", OLD)], dated(412, 200)),
            (&[("If-Unmodified-Since", FUTURE)], 200),
            (&[("If-Match", "*")], 200),
            (&[("If-Match", "\"other\"")], 412),
            (&[("If-None-Match", "\"other\""), ("If-Modified-Since", FUTURE)], 200),
        ];
        let (same, weakly, listed, strong) = (
            [("If-None-Match", tag.as_str())],
            [("If-None-Match", weak.as_str())],
            [("If-None-Match", tag_list.as_str())],
            [("If-Match", tag.as_str())],
        );
        cases.extend([(&same[..], 304), (&weakly[..], 304), (&listed[..], 304), (&strong[..], strong_match)]);
        for method in ["GET", "HEAD"] {
            for (headers, status) in &cases {
                let answer = request(&server, method, path, headers);
                assert_eq!(answer.status, *status, "{method} {path} {headers:?}");
                assert_eq!(answer.header("etag"), Some(tag.as_str()), "{method} {path} {headers:?}");
                if answer.status == 304 {
                    assert!(
                        answer.header("cache-control").is_some() && answer.header("content-type").is_none()
                    );
                    assert_eq!(answer.header("x-repository-type"), Some("RSPM"));
                }
            }
        }
    }
}

#[test]
fn ranges_are_served_where_the_bytes_are_stable() {
    let server = server();
    for path in [INDEX, "/team/latest/src/contrib/alpha_1.1.tar.gz"] {
        let response = server.get(path);
        let size = response.body.len();
        let tag = response.header("etag").expect("an ETag").to_owned();
        let last = size - 1;
        let cases = [
            ("bytes=0-9".to_owned(), 0..10),
            (format!("bytes=5-{last}"), 5..size),
            (format!("bytes={last}-"), last..size),
            ("bytes=-7".to_owned(), size - 7..size),
            (format!("bytes=3-{}", size + 100), 3..size),
        ];
        for (range, expected) in cases {
            for condition in [&[][..], &[("If-Range", tag.as_str())][..]] {
                let headers = [&[("Range", range.as_str())][..], condition].concat();
                let part = request(&server, "GET", path, &headers);
                assert_eq!(part.status, 206, "{path} {headers:?}");
                assert_eq!(part.body, response.body[expected.clone()], "{path} {headers:?}");
                let content_range = format!("bytes {}-{}/{size}", expected.start, expected.end - 1);
                assert_eq!(part.header("content-range"), Some(content_range.as_str()));
            }
            let stale = request(&server, "GET", path, &[("Range", &range), ("If-Range", "\"other\"")]);
            assert_eq!(
                (stale.status, stale.body.len()),
                (200, size),
                "a stale If-Range returns the whole file"
            );
        }
        let beyond = format!("bytes={size}-");
        let response = request(&server, "GET", path, &[("Range", &beyond)]);
        assert_eq!(response.status, 416);
        assert_eq!(response.header("content-range"), Some(format!("bytes */{size}").as_str()));
        for unsupported in ["bytes=0-1,3-4", "bytes=x", "lines=1-2"] {
            assert_eq!(request(&server, "GET", path, &[("Range", unsupported)]).status, 200, "{unsupported}");
        }
        assert_eq!(request(&server, "HEAD", path, &[("Range", "bytes=0-9")]).status, 200);
    }
    let gz = request(&server, "GET", "/team/latest/src/contrib/PACKAGES.gz", &[("Range", "bytes=0-9")]);
    assert_eq!(gz.status, 200, "a compressed index has no ranges: its bytes may differ for the same content");
}

/// `Last-Modified` in seconds since the epoch.
fn modified(answer: &Answer) -> u64 {
    let text = answer.header("last-modified").expect("a date");
    let time = httpdate::parse_http_date(text).expect("a date");
    time.duration_since(std::time::SystemTime::UNIX_EPOCH).expect("a date after 1970").as_secs()
}

#[test]
fn the_date_of_an_index_differs_after_each_publish_within_one_second() {
    let server = server();
    let mut answers: Vec<(String, Answer)> = Vec::new();
    for number in 0..4 {
        server.add("team", &Tarball::new(&format!("zz{number}"), "1.0"));
        let answer = request(&server, "HEAD", INDEX, &[]);
        if let Some((_, before)) = answers.last() {
            assert!(modified(before) < modified(&answer), "{before:?}\n{answer:?}");
        }
        answers.push((answer.header("last-modified").expect("a date").to_owned(), answer));
    }
    let last = answers.pop().expect("four answers").0;
    for (before, _) in &answers {
        assert_eq!(request(&server, "GET", INDEX, &[("If-Modified-Since", before)]).status, 200, "{before}");
    }
    assert_eq!(request(&server, "GET", INDEX, &[("If-Modified-Since", &last)]).status, 304);
}

#[test]
fn the_date_of_a_package_increases_when_the_same_version_has_other_bytes() {
    let server = server();
    let path = "/team/latest/src/contrib/twice_1.0.tar.gz";
    server.add("team", &Tarball::new("twice", "1.0"));
    let first = request(&server, "HEAD", path, &[]);
    server.rspm_stdout("remove package --source=team --name=twice@1.0");
    server.add("team", &Tarball::new("twice", "1.0").with("R/more.R", "x <- 1"));
    let second = request(&server, "HEAD", path, &[]);
    assert_ne!(first.header("etag"), second.header("etag"));
    assert!(modified(&first) < modified(&second), "{first:?}\n{second:?}");
}
