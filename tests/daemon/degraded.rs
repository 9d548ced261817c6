//! A server with sockets from systemd and an unusable resource keeps running, reports the reason, and recovers.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::http;
use crate::support::listener::ClosedPort;
use crate::support::manager::Manager;
use crate::support::server::Server;

/// A server with an unusable resource.
struct BrokenServer {
    manager: Manager,
    /// The reason that clients get.
    phrase: &'static str,
}

impl BrokenServer {
    /// Starts the server; `detail` is the reason that administrators get.
    fn start(mut manager: Manager, phrase: &'static str, detail: &str) -> BrokenServer {
        manager.start();
        manager.wait_for_notification(0, "STATUS=Cannot serve, every request gets 503: ");
        let broken = BrokenServer { manager, phrase };
        broken.assert_unavailable();
        let server = &broken.manager.server;
        for words in [server.rspm_stdout("status"), broken.manager.log(), server.refused("list")] {
            assert!(words.contains(detail), "{detail}\n{words}");
        }
        assert_eq!(server.json("cluster nodes")[0]["mode"], "broken");
        broken
    }

    fn url(&self) -> String {
        format!("http://{}/__ping__", self.manager.target().http)
    }

    /// Every client gets 503 and the reason, without details of the machine.
    fn assert_unavailable(&self) {
        let dir = self.manager.server.dir().display().to_string();
        for path in ["/__ping__", "/", "/team/latest/src/contrib/PACKAGES", "/__api__/status"] {
            let answer = http::get(&format!("http://{}{path}", self.manager.target().http));
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("30")), "{path}");
            let text = answer.text();
            assert!(text.contains(self.phrase), "{}\n{text}", self.phrase);
            assert!(!text.contains(&dir) && !text.contains("s3cret") && !text.contains(".gcfg:"), "{text}");
        }
    }

    /// Waits until the server is online.
    fn wait_until_online(&self, since: usize) {
        self.manager.wait_for_notification(since, "STATUS=Online: ");
        assert_eq!(http::get(&self.url()).status, 200);
    }

    fn stop(mut self) {
        self.manager.stop();
    }
}

fn edit(server: &Server, change: impl Fn(&str) -> String) {
    let text = fs::read_to_string(server.config_file()).expect("readable");
    fs::write(server.config_file(), change(&text)).expect("written");
}

#[test]
fn an_unusable_configuration_is_reported_and_replaced_by_hup() {
    let manager = Manager::new("");
    edit(&manager.server, |text| format!("{text}\n[CRAN]\nSyncSchedule = s3cret\n"));
    let phrase = "the server cannot serve: its configuration file cannot be used";
    let broken = BrokenServer::start(manager, phrase, "rstudio-pm.gcfg:");
    let server = &broken.manager.server;
    let error = server.refused("hup");
    assert!(error.contains("SyncSchedule"), "{error}");
    let error = server.refused("online");
    assert!(error.contains("SyncSchedule"), "{error}");
    broken.assert_unavailable();
    edit(server, |text| text.replace("SyncSchedule = s3cret", ""));
    let before = broken.manager.notification_count();
    broken.manager.signal(Signal::SIGHUP);
    broken.manager.wait_for_notification(before, "RELOADING=1");
    broken.wait_until_online(before);
    // Now the server behaves like any running server.
    edit(server, |text| format!("{text}\n[CRAN]\nSyncSchedule = s3cret\n"));
    assert!(server.refused("hup").contains("Nothing was changed"), "{}", broken.manager.log());
    assert_eq!(http::get(&broken.url()).status, 200);
    broken.stop();
}

#[test]
fn a_missing_configuration_file_is_reported_and_found_by_hup() {
    let manager = Manager::new("");
    // Without a file the default paths apply: the socket is the one that systemd passes.
    let (file, away) = (manager.server.config_file(), manager.server.dir().join("away"));
    fs::rename(&file, &away).expect("moved");
    let mut manager = manager;
    manager.start();
    manager.wait_for_notification(0, "STATUS=Cannot serve");
    let url = format!("http://{}/__ping__", manager.target().http);
    assert!(http::get(&url).text().contains("its configuration file cannot be used"));
    fs::rename(&away, &file).expect("moved back");
    let before = manager.notification_count();
    manager.signal(Signal::SIGHUP);
    manager.wait_for_notification(before, "STATUS=Online: ");
    assert_eq!(http::get(&url).status, 200);
    manager.stop();
}

/// Asserts that a server starts automatically once the file at the path of a property, which must be a directory, is
/// removed.
fn assert_retried(section: &str, property: &str, phrase: &'static str) {
    let manager = Manager::new(&format!("[{section}]\n{property} = {{dir}}/place"));
    let path = manager.server.dir().join("place");
    fs::write(&path, "not a directory").expect("written");
    let broken = BrokenServer::start(manager, phrase, &path.display().to_string());
    let before = broken.manager.notification_count();
    fs::remove_file(&path).expect("removed");
    broken.wait_until_online(before);
    broken.stop();
}

#[test]
fn an_unusable_database_is_retried_automatically() {
    assert_retried("SQLite", "Dir", "SQLite.Dir cannot be used");
}

#[test]
fn an_unusable_storage_is_retried_automatically() {
    assert_retried("FileStorage \"packages\"", "Location", "FileStorage.Location cannot be used");
}

#[test]
fn a_database_server_that_does_not_answer_is_reported_without_its_address() {
    let closed_port = ClosedPort::open();
    let port = closed_port.port;
    let manager = Manager::new(&format!(
        "[Database]\nProvider = postgres\n[Postgres]\nURL = postgres://me:s3cret@127.0.0.1:{port}/pm"
    ));
    let phrase = "the database (Database.Provider, SQLite.Dir, Postgres.URL) cannot be used";
    let broken = BrokenServer::start(manager, phrase, "127.0.0.1");
    assert!(!broken.manager.log().contains("s3cret"), "{}", broken.manager.log());
    edit(&broken.manager.server, |text| text.replace("Provider = postgres", "Provider = sqlite"));
    let output = broken.manager.server.rspm_stdout("hup");
    assert!(output.contains("online again"), "{output}");
    broken.wait_until_online(0);
    broken.stop();
}

#[test]
fn an_unusable_certificate_closes_https_and_is_retried_automatically() {
    let manager = Manager::new("");
    let (file, away) = (manager.server.dir().join("server.crt"), manager.server.dir().join("away"));
    fs::rename(&file, &away).expect("moved");
    let phrase = "the certificate (HTTPS.Certificate, HTTPS.Key) cannot be used";
    let broken = BrokenServer::start(manager, phrase, "server.crt");
    // The connection is closed at once: no handshake is possible.
    let mut stream = http::connect(&broken.manager.target().https);
    let mut bytes = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut bytes);
    assert!(bytes.is_empty());
    let before = broken.manager.notification_count();
    fs::rename(&away, &file).expect("moved back");
    broken.wait_until_online(before);
    broken.stop();
}

#[test]
fn offline_and_online_work_on_a_server_that_cannot_serve() {
    let manager = Manager::new("[SQLite]\nDir = {dir}/db");
    let db = manager.server.dir().join("db");
    fs::write(&db, "not a directory").expect("written");
    let mut manager = manager;
    manager.start();
    manager.server.rspm_stdout("offline");
    fs::remove_file(&db).expect("removed");
    let url = format!("http://{}/__ping__", manager.target().http);
    // Longer than the retry interval: nothing is retried while the server is offline.
    std::thread::sleep(std::time::Duration::from_secs(6));
    assert_eq!(http::get(&url).text(), "the server is offline\n");
    manager.server.rspm_stdout("online");
    assert_eq!(http::get(&url).status, 200);
    manager.stop();
}
