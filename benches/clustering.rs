//! Time until a publish on one server is visible on another, with notifications and with polling, relative to
//! a single `NOTIFY` that another session of PostgreSQL receives.

use std::future::poll_fn;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tokio_postgres::{AsyncMessage, Client, NoTls, Notification};

use super::admin::Admin;
use super::postgres;
use super::postgres_proxy::PostgresProxy;
use super::report::{Report, percentiles};
use super::server::{Server, package};

const PUBLISHES: usize = 300;
/// Number of publishes that a server detects by polling, which takes seconds each.
const POLLED_PUBLISHES: usize = 30;
/// Time in which a server detects that notifications do not arrive, and begins to poll.
const DETECTION_TIME: Duration = Duration::from_secs(5);

pub(crate) fn run(report: &mut Report) {
    let url = postgres::server().schema();
    let (address, schema) = url.split_once("?search_path=").expect("a schema");
    let storage = tempfile::tempdir().expect("a folder");
    let start = |url: &str| {
        Server::start(&format!(
            "[Server]\nDataDir = {}\n[Database]\nProvider = postgres\n[Postgres]\nURL = \"{url}\"",
            storage.path().display()
        ))
    };
    let proxy = PostgresProxy::to(postgres::server().port);
    proxy.drop_notifications();
    let (publisher, notified_server) = (start(&url), start(&url));
    let polling_server = start(&format!(
        "postgres://postgres@{}/postgres?sslmode=disable&search_path={schema}",
        proxy.address
    ));
    publisher.rspm(&["create", "source", "--name=team"]);
    publisher.rspm(&["create", "repo", "--name=bench"]);
    publisher.rspm(&["subscribe", "--repo=bench", "--source=team"]);
    std::thread::sleep(DETECTION_TIME);
    let mut admin = Admin::connect(&publisher);
    let mut listener = Listener::connect(address);
    let (mut notify_times, mut publish_times, mut polled_publish_times) = (vec![], vec![], vec![]);
    let mut reader = Reader::connect(&notified_server);
    for number in 0..PUBLISHES {
        notify_times.push(listener.round_trip());
        publish_times.push(publish(&publisher, &mut admin, &mut reader, &format!("notified{number}")));
    }
    let mut reader = Reader::connect(&polling_server);
    for number in 0..POLLED_PUBLISHES {
        polled_publish_times.push(publish(&publisher, &mut admin, &mut reader, &format!("polled{number}")));
    }
    let [(notify, notify_p99), (publish, publish_p99), (polled_publish, polled_publish_p99)] =
        [notify_times, publish_times, polled_publish_times].map(percentiles);
    let reference = || format!("NOTIFY {:.2} / {:.2} ms", 1e3 * notify, 1e3 * notify_p99);
    report.row(
        format!("publish visible on another server, {PUBLISHES} publishes, p50 / p99"),
        format!("{:.1} / {:.1} ms", 1e3 * publish, 1e3 * publish_p99),
        reference(),
        format!("{:.1}", publish / notify),
        "p99 ≤ 50 ms",
    );
    report.row(
        format!("the same without notifications, {POLLED_PUBLISHES} publishes"),
        format!("{:.0} / {:.0} ms", 1e3 * polled_publish, 1e3 * polled_publish_p99),
        reference(),
        "",
        "p99 ≤ 2.5 s",
    );
    for server in [publisher, notified_server, polling_server] {
        server.stop();
    }
}

/// Adds a package and returns the seconds from the answer until the other server lists it.
fn publish(publisher: &Server, admin: &mut Admin, reader: &mut Reader, name: &str) -> f64 {
    let previous = reader.tag("");
    let file = package(publisher.path(), name, 500);
    let archive = std::fs::read(&file).expect("just written");
    std::fs::remove_file(file).expect("removed");
    let upload = admin.send("POST", &format!("/uploads?file={name}_1.0.0.tar.gz"), &archive);
    let id = upload.split("\"id\":").nth(1).and_then(|t| t.split(',').next()).expect("an upload");
    admin.send("POST", "/sources/team/packages", format!("{{\"uploads\":[{id}]}}").as_bytes());
    let start = Instant::now();
    while reader.tag(&previous) == previous {
        assert!(start.elapsed() < Duration::from_secs(60), "{name} is not visible");
    }
    start.elapsed().as_secs_f64()
}

/// A persistent connection to a server.
struct Reader(BufReader<TcpStream>);

impl Reader {
    fn connect(server: &Server) -> Reader {
        let url = server.url("");
        let stream = TcpStream::connect(url.trim_start_matches("http://")).expect("it answers");
        stream.set_nodelay(true).expect("a socket");
        Reader(BufReader::new(stream))
    }

    /// Requests the ETag of the index, with `previous` as `If-None-Match` unless it is empty.
    fn tag(&mut self, previous: &str) -> String {
        let condition =
            if previous.is_empty() { String::new() } else { format!("If-None-Match: {previous}\r\n") };
        let request =
            format!("GET /bench/latest/src/contrib/PACKAGES HTTP/1.1\r\nHost: x\r\n{condition}\r\n");
        self.0.get_mut().write_all(request.as_bytes()).expect("sent");
        let (mut tag, mut length, mut status) = (String::new(), 0, String::new());
        self.0.read_line(&mut status).expect("an answer");
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a header");
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "etag" => tag = value.to_owned(),
                "content-length" => length = value.parse().expect("a number"),
                _ => {}
            }
        }
        if status.contains(" 304 ") {
            return previous.to_owned();
        }
        assert!(status.contains(" 200 ") && !tag.is_empty(), "{status}");
        self.0.read_exact(&mut vec![0; length]).expect("a body");
        tag
    }
}

/// Two sessions of PostgreSQL: `client` sends notifications, the other one receives them.
struct Listener {
    runtime: tokio::runtime::Runtime,
    client: Client,
    notifications: tokio::sync::mpsc::UnboundedReceiver<Notification>,
    _receiver: Client,
}

impl Listener {
    fn connect(url: &str) -> Listener {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (sender, notifications) = tokio::sync::mpsc::unbounded_channel();
        let (client, receiver) = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("it answers");
            tokio::spawn(connection);
            let (receiver, mut connection) = tokio_postgres::connect(url, NoTls).await.expect("it answers");
            tokio::spawn(async move {
                while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                    if let AsyncMessage::Notification(notification) = message {
                        let _ = sender.send(notification);
                    }
                }
            });
            receiver.batch_execute("LISTEN bench").await.expect("it listens");
            (client, receiver)
        });
        Listener { runtime, client, notifications, _receiver: receiver }
    }

    /// The seconds from a `NOTIFY` until it is received.
    fn round_trip(&mut self) -> f64 {
        let start = Instant::now();
        self.runtime.block_on(async {
            self.client.batch_execute("NOTIFY bench").await.expect("sent");
            self.notifications.recv().await.expect("it arrives");
        });
        start.elapsed().as_secs_f64()
    }
}
