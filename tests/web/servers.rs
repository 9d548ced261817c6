//! Pages of several servers on one database: a browser behind a load balancer gets them from any of them.

use super::links::crawl_with;
use crate::support::cluster::{Shared, modes};
use crate::support::fixtures::until;
use crate::support::http;
use crate::support::server::Server;
use crate::support::tarball::Tarball;

#[test]
fn two_servers_give_every_page_the_same_tag() {
    let shared = Shared::new();
    let start = |name: &str| {
        let address = "[Server]\nAddress = http://packages.example.org";
        shared.builder(name).gcfg(address).start()
    };
    let (one, two) = (start("pm1"), start("pm2"));
    until("both are online", || modes(&one) == "pm1 online, pm2 online");
    one.local_repository(
        "team",
        &[
            Tarball::new("alpha", "1.0"),
            Tarball::new("alpha", "1.1").with("README.md", "# Alpha\n").with("NEWS.md", "# alpha 1.1\n"),
            Tarball::new("beta", "2.0").field("Imports: alpha (>= 1.0), methods"),
        ],
    );
    let newest = "/team/latest/web/packages/beta/";
    until("the second server has the packages", || two.get(newest).status == 200);
    // Downloads are counted, and pages show their number: package files are requested without their content.
    let get = |server: &Server, path: &str| {
        let method = if path.ends_with(".tar.gz") { "HEAD" } else { "GET" };
        http::request(method, &server.url(path), &[], b"")
    };
    let pages = crawl_with("", |path| get(&one, path));
    assert!(pages.len() > 50, "{pages:?}");
    let mut compared = 0;
    for page in &pages {
        let (first, second) = (get(&one, page), get(&two, page));
        let tag = first.header("etag").unwrap_or_else(|| panic!("{page} has no ETag"));
        assert_eq!(second.header("etag"), Some(tag), "{page}\n{}\n{}", first.text(), second.text());
        let request = http::request("GET", &two.url(page), &[("If-None-Match", tag)], b"");
        assert_eq!(request.status, 304, "{page}");
        compared += 1;
    }
    assert_eq!(compared, pages.len());
    // A change on one server changes the pages of both.
    let before = two.get(newest).header("etag").expect("an ETag").to_owned();
    two.add("team", &Tarball::new("beta", "2.1"));
    let tag = |server: &Server| server.get(newest).header("etag").expect("an ETag").to_owned();
    assert_ne!(tag(&two), before);
    until("the first server has the new version", || tag(&one) == tag(&two));
}
