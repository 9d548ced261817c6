//! A replacement for systemd: owns the listening sockets, starts the real server on them, receives its notifications.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustls::pki_types::CertificateDer;

use super::load::Target;
use super::server::{Builder, Server};
use super::tls::Pair;

/// Timeout for a start, a stop or a notification.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Notifications {
    messages: Mutex<Vec<String>>,
    arrival: Condvar,
}

/// One service and its sockets.
pub(crate) struct Manager {
    pub(crate) server: Server,
    /// The program; an upgrade replaces the file at this path.
    program: PathBuf,
    http: TcpListener,
    https: TcpListener,
    admin: UnixListener,
    certificate: CertificateDer<'static>,
    notifications: Arc<Notifications>,
    /// All started processes, including previous main processes.
    children: Vec<Child>,
    main: Option<Pid>,
    environment: Vec<(String, String)>,
}

impl Manager {
    /// Opens the sockets without starting the server.
    pub(crate) fn new(gcfg: &str) -> Manager {
        let http = TcpListener::bind("127.0.0.1:0").expect("a port");
        let https = TcpListener::bind("127.0.0.1:0").expect("a port");
        for socket in [&http, &https] {
            let backlog = nix::sys::socket::Backlog::new(4096).expect("a number");
            nix::sys::socket::listen(socket, backlog).expect("a longer backlog");
        }
        let address_of = |socket: &TcpListener| socket.local_addr().expect("bound").to_string();
        let server = Builder::default()
            .gcfg(&format!("[HTTP]\nListen = {}", address_of(&http)))
            .gcfg(&format!("[HTTPS]\nListen = {}\nCertificate = {{dir}}/server.crt", address_of(&https)))
            .gcfg("Key = {dir}/server.key")
            .gcfg(gcfg)
            .prepare();
        let pair = Pair::new();
        pair.write(server.dir());
        std::fs::create_dir_all(server.dir().join("run")).expect("a directory");
        let admin = UnixListener::bind(server.admin_socket()).expect("the admin socket");
        let notify = UnixDatagram::bind(server.dir().join("notify")).expect("a socket");
        let notifications = Arc::new(Notifications::default());
        let writer = Arc::clone(&notifications);
        // Runs until the test process ends: a server must never wait for a reader.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(size) = notify.recv(&mut bytes) {
                let message = String::from_utf8_lossy(&bytes[..size]).into_owned();
                writer.messages.lock().expect("no panic holds it").push(message);
                writer.arrival.notify_all();
            }
        });
        let program = server.dir().join("rstudio-pm");
        let manager = Manager {
            certificate: pair.der(),
            program,
            server,
            http,
            https,
            admin,
            notifications,
            children: Vec::new(),
            main: None,
            environment: Vec::new(),
        };
        manager.install_program();
        manager
    }

    /// Installs the program under test.
    pub(crate) fn install_program(&self) {
        self.install(PathBuf::from(env!("CARGO_BIN_EXE_rstudio-pm")));
    }

    /// Replaces the program by a new file, as a package manager does.
    fn install(&self, from: PathBuf) {
        let new_file = self.program.with_extension("new");
        std::fs::copy(from, &new_file).expect("copied");
        std::fs::rename(&new_file, &self.program).expect("renamed");
    }

    /// Replaces the program by a shell script.
    pub(crate) fn install_script(&self, script: &str) {
        let file = self.server.dir().join("script");
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&file, mode).expect("executable");
        self.install(file);
    }

    /// Sets an environment variable for the next starts; `PID` in the value is replaced by the server's process id.
    pub(crate) fn env(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts the server and waits until it is ready. The shell duplicates descriptors 0, 1, 2 to 3, 4, 5.
    pub(crate) fn start(&mut self) {
        let previous_count = self.notification_count();
        let exports: String = self
            .environment
            .iter()
            .map(|(name, value)| format!("export {name}={}; ", value.replace("PID", "$$")))
            .collect();
        let script = format!(
            "exec 3<&0 4<&1 5<&2 0</dev/null 1>/dev/null 2>>\"$2\"; {} LISTEN_PID=$$ exec \"$0\" --config \"$1\"",
            exports
        );
        let stdio = |socket: OwnedFd| Stdio::from(socket);
        let child = Command::new("sh")
            .args(["-c", &script])
            .arg(&self.program)
            .arg(self.server.config_file())
            .arg(self.log_file())
            .env("LISTEN_FDS", "3")
            .env("LISTEN_FDNAMES", "http:https:admin")
            .env("NOTIFY_SOCKET", self.server.dir().join("notify"))
            .stdin(stdio(self.http.try_clone().expect("a second handle").into()))
            .stdout(stdio(self.https.try_clone().expect("a second handle").into()))
            .stderr(stdio(self.admin.try_clone().expect("a second handle").into()))
            .spawn()
            .expect("sh runs");
        self.main = Some(Pid::from_raw(i32::try_from(child.id()).expect("a process id")));
        self.children.push(child);
        self.wait_for_notification(previous_count, "READY=1");
    }

    /// The standard error of all starts.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.server.dir().join("stderr.log")
    }

    /// The target of a load.
    pub(crate) fn target(&self) -> Target {
        let address_of = |socket: &TcpListener| socket.local_addr().expect("bound").to_string();
        Target {
            http: address_of(&self.http),
            https: address_of(&self.https),
            certificate: self.certificate.clone(),
        }
    }

    /// The main process.
    pub(crate) fn main(&self) -> Pid {
        self.main.expect("it was started")
    }

    /// Sends a signal to the main process.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.main(), signal).expect("it runs");
    }

    /// The number of received notifications.
    pub(crate) fn notification_count(&self) -> usize {
        self.notifications.messages.lock().expect("no panic holds it").len()
    }

    /// The number of notifications after the first `since` that contain `text`.
    pub(crate) fn count(&self, since: usize, text: &str) -> usize {
        let messages = self.notifications.messages.lock().expect("no panic holds it");
        messages.iter().skip(since).filter(|message| message.contains(text)).count()
    }

    /// Waits for a notification after the first `since` that contains `text`.
    pub(crate) fn wait_for_notification(&self, since: usize, text: &str) -> String {
        self.wait_for_any_notification(since, &[text])
    }

    /// Waits for a notification after the first `since` that contains one of `texts`. Panics with the log if the main process
    /// ends without it.
    pub(crate) fn wait_for_any_notification(&self, since: usize, texts: &[&str]) -> String {
        let deadline = Instant::now() + TIMEOUT;
        let mut messages = self.notifications.messages.lock().expect("no panic holds it");
        let mut has_ended = false;
        loop {
            let holds = |message: &&String| texts.iter().any(|text| message.contains(text));
            if let Some(message) = messages.iter().skip(since).find(holds) {
                return message.clone();
            }
            let remaining = deadline.saturating_duration_since(Instant::now());
            assert!(
                !remaining.is_zero() && !has_ended,
                "no notification {texts:?}, but {messages:?}; the log:\n{}",
                self.log()
            );
            // Its last notifications may arrive after its end.
            has_ended = self.main.is_some_and(|pid| !is_alive(pid));
            let pause = remaining.min(Duration::from_secs(2));
            messages = self.notifications.arrival.wait_timeout(messages, pause).expect("no panic holds it").0;
        }
    }

    /// Stops and starts the server, as `systemctl restart` does.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// Sends SIGTERM and waits for the end of the main process.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        self.wait_for_end(self.main());
    }

    /// Sends SIGHUP and waits for the notifications of a complete reload.
    pub(crate) fn reload(&self) {
        let previous_count = self.notification_count();
        self.signal(Signal::SIGHUP);
        self.wait_for_notification(previous_count, "RELOADING=1");
        let since = {
            let messages = self.notifications.messages.lock().expect("no panic holds it");
            messages.iter().skip(previous_count).position(|m| m.contains("RELOADING=1")).unwrap_or(0)
                + previous_count
                + 1
        };
        self.wait_for_notification(since, "READY=1");
    }

    /// Sends SIGUSR2; returns the new main process, or the reason for the refusal.
    pub(crate) fn upgrade(&mut self) -> Result<Pid, String> {
        let previous_count = self.notification_count();
        self.signal(Signal::SIGUSR2);
        let message = self.wait_for_any_notification(previous_count, &["MAINPID=", "upgrade refused"]);
        let pid = message.lines().find_map(|line| line.strip_prefix("MAINPID=")?.parse().ok());
        let pid = Pid::from_raw(pid.ok_or(message.clone())?);
        assert!(message.contains("READY=1"), "one datagram for both: {message}");
        self.main = Some(pid);
        Ok(pid)
    }

    /// Waits until a process has ended.
    pub(crate) fn wait_for_end(&self, pid: Pid) {
        let deadline = Instant::now() + TIMEOUT;
        while is_alive(pid) {
            assert!(Instant::now() < deadline, "{pid} does not end; the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Whether the process exists and has not ended. One that has ended may not have been reaped yet.
pub(crate) fn is_alive(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

impl Drop for Manager {
    fn drop(&mut self) {
        // A draining predecessor exits on a message of its successor, or after its deadline.
        if let Some(pid) = self.main.take().filter(|pid| is_alive(*pid)) {
            let _ = kill(pid, Signal::SIGKILL);
        }
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
