//! Time to add a package until it is durable and visible, relative to an fsync on the same disk; with 1,000 and with
//! 23,000 packages in the source.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::report::{Report, median};
use super::server::{Server, package};

const ROUNDS: usize = 101;

pub(crate) fn run(report: &mut Report) {
    let server = Server::start("");
    server.rspm(&["create", "source", "--name=team"]);
    server.rspm(&["create", "repo", "--name=bench"]);
    server.rspm(&["subscribe", "--repo=bench", "--source=team"]);
    let mut number = 0;
    let mut figures = Vec::new();
    for packages in [1_000, 23_000] {
        fill(&server, &mut number, packages);
        let mut admin = Admin::connect(&server);
        let (mut adds, mut syncs) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            number += 1;
            let file = package(server.path(), &format!("added{number}"), 500);
            let archive = std::fs::read(file).expect("just written");
            // Both requests of a client: upload the file, add it to the source.
            let start = Instant::now();
            let upload = admin.post(&format!("/uploads?file=added{number}_1.0.0.tar.gz"), &archive);
            let id = upload.split("\"id\":").nth(1).and_then(|t| t.split(',').next()).expect("an upload");
            admin.post("/sources/team/packages", format!("{{\"uploads\":[{id}]}}").as_bytes());
            adds.push(start.elapsed().as_secs_f64());
            syncs.push(fsync(&server));
        }
        figures.push((packages, median(adds), median(syncs)));
    }
    for (packages, add, sync) in &figures {
        report.row(
            format!("add one package to {packages}, durable and visible, p50"),
            format!("{:.1} ms", 1e3 * add),
            format!("one fsync {:.2} ms", 1e3 * sync),
            format!("{:.1} fsyncs", add / sync),
            "≤ 5",
        );
    }
    let growth = (figures[1].1 / figures[1].2) / (figures[0].1 / figures[0].2);
    report.row("the same, 23,000 against 1,000 packages", "", "", format!("{growth:.2}"), "1.0");
}

/// A connection to the admin socket.
struct Admin(BufReader<UnixStream>);

impl Admin {
    fn connect(server: &Server) -> Admin {
        let socket =
            UnixStream::connect(server.path().join("run/rstudio-pm.sock")).expect("the admin socket");
        Admin(BufReader::new(socket))
    }

    /// Sends a request, which must succeed; returns the body of the response.
    fn post(&mut self, path: &str, body: &[u8]) -> String {
        let head = format!(
            "POST /__api__/admin/v1{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.0.get_mut().write_all(&[head.as_bytes(), body].concat()).expect("sent");
        let (mut status, mut length) = (String::new(), 0);
        self.0.read_line(&mut status).expect("an answer");
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a header");
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(number) = line.strip_prefix("content-length:") {
                length = number.trim().parse().expect("a number");
            }
        }
        let mut text = vec![0; length];
        self.0.read_exact(&mut text).expect("a body");
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(status.starts_with("HTTP/1.1 20"), "{path}: {status}{text}");
        text
    }
}

/// Seconds for an fsync of 4 kB on the disk of the server's data.
fn fsync(server: &Server) -> f64 {
    let mut file = File::create(server.path().join("fsync")).expect("a file");
    file.write_all(&[7; 4096]).expect("written");
    let start = Instant::now();
    file.sync_all().expect("on disk");
    start.elapsed().as_secs_f64()
}

/// Adds small packages in large batches until the source has `packages` of them.
fn fill(server: &Server, number: &mut usize, packages: usize) {
    while *number < packages {
        let mut files = Vec::new();
        while files.len() < 500 && *number < packages {
            *number += 1;
            files.push(package(server.path(), &format!("added{number}"), 16).display().to_string());
        }
        server.rspm(&["add", "--source=team", &format!("--path={}", files.join(","))]);
        files.iter().for_each(|file| std::fs::remove_file(file).expect("ours"));
    }
}
