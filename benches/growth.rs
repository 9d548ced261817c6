//! How costs grow with the site: changes, requests, starts and memory with few and with many repositories, sources, rules,
//! packages and states. The figures are ratios to the smallest site: 1 means that the cost does not grow.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::admin::Admin;
use super::report::{Report, median};
use super::server::{Server, package};

const SIZES: [usize; 5] = [1, 10, 100, 1_000, 5_000];
/// An even number, so that each subscription is removed.
const ROUNDS: usize = 22;

/// What there are many of.
#[derive(Clone, Copy)]
enum Many {
    Repositories,
    Sources,
    Rules,
    Packages,
    States,
}

impl Many {
    const ALL: [Many; 5] = [Many::Repositories, Many::Sources, Many::Rules, Many::Packages, Many::States];

    fn noun(self) -> &'static str {
        match self {
            Many::Repositories => "repositories",
            Many::Sources => "sources",
            Many::Rules => "rules",
            Many::Packages => "packages",
            Many::States => "states of a source",
        }
    }

    /// Creates those with the numbers from `first` to `last`, without it.
    fn create(self, site: &mut Site, first: usize, last: usize) {
        match self {
            Many::Repositories => (first..last).for_each(|number| {
                site.post("/repos", &format!("{{\"name\":\"many{number}\"}}"));
                site.post(&format!("/repos/many{number}/sources"), "{\"source\":\"team\"}");
            }),
            Many::Sources => (first..last).for_each(|number| {
                site.post("/sources", &format!("{{\"name\":\"many{number}\"}}"));
            }),
            Many::Rules => {
                let mut rules = String::new();
                for number in first..last {
                    let separator = if number == first { "" } else { "," };
                    write!(rules, "{separator}{{\"package_name\":\"absent{number}\",\"version\":\"<2.0\"}}")
                        .expect("a String");
                }
                site.post("/block-rules", &format!("{{\"rules\":[{rules}]}}"));
            }
            Many::Packages => {
                let uploads: Vec<String> = (first..last).map(|_| site.upload()).collect();
                site.post("/sources/team/packages", &format!("{{\"uploads\":[{}]}}", uploads.join(",")));
            }
            Many::States => (first..last).for_each(|_| site.add()),
        }
    }
}

/// A running server with the source `team` and the repository `bench`.
struct Site {
    server: Server,
    admin: Admin,
    /// The number of packages so far.
    packages: usize,
    rules: usize,
}

/// The median times of a site, in milliseconds, and its memory in MB.
struct Costs(Vec<(&'static str, f64)>);

impl Site {
    fn start() -> Site {
        let server = Server::start("");
        server.rspm(&["create", "source", "--name=team"]);
        server.rspm(&["create", "source", "--name=other"]);
        server.rspm(&["create", "repo", "--name=bench"]);
        server.rspm(&["subscribe", "--repo=bench", "--source=team"]);
        let admin = Admin::connect(&server);
        Site { server, admin, packages: 0, rules: 0 }
    }

    fn post(&mut self, path: &str, body: &str) -> String {
        self.admin.send("POST", path, body.as_bytes())
    }

    /// Uploads a new package; returns the number of the upload.
    fn upload(&mut self) -> String {
        self.packages += 1;
        let name = format!("added{}", self.packages);
        let file = package(self.server.path(), &name, 16);
        let archive = std::fs::read(&file).expect("just written");
        std::fs::remove_file(file).expect("ours");
        let upload = self.admin.send("POST", &format!("/uploads?file={name}_1.0.0.tar.gz"), &archive);
        upload.split("\"id\":").nth(1).and_then(|text| text.split(',').next()).expect("an upload").to_owned()
    }

    fn add(&mut self) {
        let upload = self.upload();
        self.post("/sources/team/packages", &format!("{{\"uploads\":[{upload}]}}"));
    }

    /// Sends a GET over a new connection.
    fn get(&self, path: &str) {
        let url = self.server.url("");
        let host = url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host).expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut response = Vec::new();
        stream.read_to_end(&mut response).expect("an answer");
        assert!(response.starts_with(b"HTTP/1.1 200"), "{path}: {}", String::from_utf8_lossy(&response));
    }

    /// Returns the median time of an action, which gets the number of the round and returns its time.
    fn median(&mut self, mut action: impl FnMut(&mut Site, usize) -> f64) -> f64 {
        median((0..ROUNDS).map(|round| action(self, round)).collect())
    }

    fn costs(&mut self) -> Costs {
        let mut costs = Vec::new();
        costs.push(("add of a package", self.median(|site, _| timed(|| site.add()))));
        let subscribe = |site: &mut Site, round| {
            timed(|| match round % 2 {
                0 => site.post("/repos/bench/sources", "{\"source\":\"other\"}"),
                _ => site.admin.send("DELETE", "/repos/bench/sources/other", b""),
            })
        };
        costs.push(("subscription", self.median(subscribe)));
        let edit = |site: &mut Site, round| {
            let body = format!("{{\"description\":\"{round}\"}}");
            timed(|| site.admin.send("PATCH", "/repos/bench", body.as_bytes()))
        };
        costs.push(("edit of a repository", self.median(edit)));
        let rule = |site: &mut Site, _| {
            site.rules += 1;
            let rule = format!("{{\"rules\":[{{\"package_name\":\"new{}\"}}]}}", site.rules);
            timed(|| site.post("/block-rules", &rule))
        };
        costs.push(("rule", self.median(rule)));
        let request = |site: &mut Site, round| {
            site.admin.send("PATCH", "/repos/bench", format!("{{\"description\":\"r{round}\"}}").as_bytes());
            timed(|| site.get("/bench/latest/src/contrib/PACKAGES"))
        };
        costs.push(("first request after a change", self.median(request)));
        costs.push((
            "page of the repository",
            self.median(|site, _| timed(|| site.get("/bench/latest/web/"))),
        ));
        costs.push(("private memory", self.server.memory("RssAnon")));
        Costs(costs)
    }
}

/// Returns the time of an action in milliseconds.
fn timed<T>(action: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    action();
    1e3 * start.elapsed().as_secs_f64()
}

pub(crate) fn run(report: &mut Report) {
    for many in Many::ALL {
        let mut site = Site::start();
        let mut all = Vec::new();
        let mut count = 0;
        for size in SIZES {
            many.create(&mut site, count, size);
            count = size;
            let mut costs = site.costs();
            let folder = site.server.folder();
            let (packages, rules) = (site.packages, site.rules);
            site.server.stop();
            let server = Server::start_in(folder, "");
            costs.0.push(("start", 1e3 * server.ready_time.as_secs_f64()));
            let admin = Admin::connect(&server);
            site = Site { server, admin, packages, rules };
            all.push(costs);
        }
        let (Some(first), Some(last)) = (all.first(), all.last()) else { continue };
        for (index, (name, smallest)) in first.0.iter().enumerate() {
            let values: Vec<String> = all.iter().map(|costs| format!("{:.1}", costs.0[index].1)).collect();
            let unit = if *name == "private memory" { "MB" } else { "ms" };
            report.row(
                format!("{name} with 1, 10, 100, 1,000, 5,000 {}", many.noun()),
                format!("{} {unit}", values.join(", ")),
                format!("with 1: {smallest:.1} {unit}"),
                format!("{:.2}", last.0[index].1 / smallest),
                "≤ 1.5",
            );
        }
        site.server.stop();
    }
}
