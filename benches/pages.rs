//! Response times of web pages with a full-size source: the median relative to that of the public API with the same data.

use std::path::Path;
use std::time::Instant;

use super::answers::{get, index, most_required};
use super::mirror::Mirror;
use super::report::{Report, median};
use super::server::Server;

const ROUNDS: usize = 41;

/// Pages: description, path, and the path of the same data in the public API. `{first}` is the most required package.
const PAGES: &[(&str, &str, &str)] = &[
    ("a package", "/bench/latest/web/packages/{first}/", "/__api__/repos/bench/packages/{first}"),
    ("a history", "/bench/latest/web/packages/{first}/history/", "/__api__/repos/bench/packages/{first}"),
    ("a list", "/bench/latest/web/packages/?page=3", "/__api__/repos/bench/packages?_limit=100&_page=3"),
    (
        "a search",
        "/bench/latest/web/packages/?q=plot",
        "/__api__/repos/bench/packages?name_search=plot&exact_first=true&_limit=100",
    ),
    ("changes", "/bench/latest/web/changes/?since=latest", "/__api__/repos/bench/diff?from=latest"),
];

pub(crate) fn run(report: &mut Report) {
    let mirror = Mirror::write();
    let server = Server::start(&format!("[CRAN]\nURL = {}", mirror.url()));
    server.rspm(&["create", "repo", "--name=bench"]);
    server.rspm(&["subscribe", "--repo=bench", "--source=cran"]);
    server.rspm(&["sync"]);
    let root = Path::new(mirror.url().trim_start_matches("file://")).to_owned();
    let [first, _] = most_required(&index(&root));
    let timed = |path: &str| {
        let start = Instant::now();
        let size = get(&server, path);
        (start.elapsed().as_secs_f64() * 1e3, size)
    };
    for (name, page, data) in PAGES {
        let (page, data) = (page.replace("{first}", &first), data.replace("{first}", &first));
        let (first_time, size) = timed(&page);
        timed(&data);
        let (mut times, mut data_times) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            times.push(timed(&page).0);
            data_times.push(timed(&data).0);
        }
        let (time, data_time) = (median(times), median(data_times));
        report.row(
            format!("page: {name} ({} kB; first {first_time:.1} ms)", size / 1000),
            format!("{time:.2} ms"),
            format!("API {data_time:.2} ms"),
            format!("{:.1}", time / data_time),
            "≤ 2.0",
        );
    }
    server.stop();
}
