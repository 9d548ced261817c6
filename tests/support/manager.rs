//! Stands in for systemd: holds the listening sockets, starts the real server on them, hears what it tells.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustls::pki_types::CertificateDer;

use super::load::Target;
use super::server::{Builder, Server};
use super::tls::Pair;

/// Longest wait for a start, a stop or a word.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Heard {
    messages: Mutex<Vec<String>>,
    more: Condvar,
}

/// One service and its sockets.
pub(crate) struct Manager {
    pub(crate) server: Server,
    /// What is started; its place, not its content, is what an upgrade keeps.
    program: PathBuf,
    http: TcpListener,
    https: TcpListener,
    admin: UnixListener,
    certificate: CertificateDer<'static>,
    heard: Arc<Heard>,
    /// Children of ours, the main process or not.
    children: Vec<Child>,
    main: Option<Pid>,
    environment: Vec<(String, String)>,
}

impl Manager {
    /// Opens the sockets and starts nothing.
    pub(crate) fn new(gcfg: &str) -> Manager {
        let http = TcpListener::bind("127.0.0.1:0").expect("a port");
        let https = TcpListener::bind("127.0.0.1:0").expect("a port");
        for socket in [&http, &https] {
            let backlog = nix::sys::socket::Backlog::new(4096).expect("a number");
            nix::sys::socket::listen(socket, backlog).expect("a longer backlog");
        }
        let at = |socket: &TcpListener| socket.local_addr().expect("bound").to_string();
        let server = Builder::default()
            .gcfg(&format!("[HTTP]\nListen = {}", at(&http)))
            .gcfg(&format!("[HTTPS]\nListen = {}\nCertificate = {{dir}}/server.crt", at(&https)))
            .gcfg("Key = {dir}/server.key")
            .gcfg(gcfg)
            .prepare();
        let pair = Pair::new();
        pair.write(server.dir());
        std::fs::create_dir_all(server.dir().join("run")).expect("a directory");
        let admin = UnixListener::bind(server.admin_socket()).expect("the admin socket");
        let notify = UnixDatagram::bind(server.dir().join("notify")).expect("a socket");
        let heard = Arc::new(Heard::default());
        let ears = Arc::clone(&heard);
        // Ends with the process: a server must never wait until it is heard.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(size) = notify.recv(&mut bytes) {
                let message = String::from_utf8_lossy(&bytes[..size]).into_owned();
                ears.messages.lock().expect("no panic holds it").push(message);
                ears.more.notify_all();
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
            heard,
            children: Vec::new(),
            main: None,
            environment: Vec::new(),
        };
        manager.install_built();
        manager
    }

    /// Puts the program under test in the place of the one that is started.
    pub(crate) fn install_built(&self) {
        self.install(PathBuf::from(env!("CARGO_BIN_EXE_rstudio-pm")));
    }

    /// Puts another program in the place of the one that is started, as a package manager does: a new file.
    fn install(&self, from: PathBuf) {
        let new = self.program.with_extension("new");
        std::fs::copy(from, &new).expect("copied");
        std::fs::rename(&new, &self.program).expect("renamed");
    }

    /// The same with a shell script.
    pub(crate) fn install_script(&self, script: &str) {
        let file = self.server.dir().join("script");
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&file, mode).expect("executable");
        self.install(file);
    }

    /// Sets an environment variable for the next starts; `PID` in the value becomes the server's number.
    pub(crate) fn env(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts the server and waits until it is ready. The shell makes descriptors 3, 4, 5 of its 0, 1, 2.
    pub(crate) fn start(&mut self) {
        let before = self.heard();
        let more: String = self
            .environment
            .iter()
            .map(|(name, value)| format!("export {name}={}; ", value.replace("PID", "$$")))
            .collect();
        let script = format!(
            "exec 3<&0 4<&1 5<&2 0</dev/null 1>/dev/null 2>>\"$2\"; {} LISTEN_PID=$$ exec \"$0\" --config \"$1\"",
            more
        );
        let give = |socket: OwnedFd| Stdio::from(socket);
        let child = Command::new("sh")
            .args(["-c", &script])
            .arg(&self.program)
            .arg(self.server.config_file())
            .arg(self.log_file())
            .env("LISTEN_FDS", "3")
            .env("LISTEN_FDNAMES", "http:https:admin")
            .env("NOTIFY_SOCKET", self.server.dir().join("notify"))
            .stdin(give(self.http.try_clone().expect("a second handle").into()))
            .stdout(give(self.https.try_clone().expect("a second handle").into()))
            .stderr(give(self.admin.try_clone().expect("a second handle").into()))
            .spawn()
            .expect("sh runs");
        self.main = Some(Pid::from_raw(i32::try_from(child.id()).expect("a process id")));
        self.children.push(child);
        self.told(before, "READY=1");
    }

    /// What it wrote to standard error, over all starts.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.server.dir().join("stderr.log")
    }

    /// For a load.
    pub(crate) fn target(&self) -> Target {
        let at = |socket: &TcpListener| socket.local_addr().expect("bound").to_string();
        Target { http: at(&self.http), https: at(&self.https), certificate: self.certificate.clone() }
    }

    /// The main process.
    pub(crate) fn main(&self) -> Pid {
        self.main.expect("it was started")
    }

    /// Sends the main process a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.main(), signal).expect("it runs");
    }

    /// What was told so far.
    pub(crate) fn heard(&self) -> usize {
        self.heard.messages.lock().expect("no panic holds it").len()
    }

    /// How many messages after the first `since` hold `text`.
    pub(crate) fn count(&self, since: usize, text: &str) -> usize {
        let messages = self.heard.messages.lock().expect("no panic holds it");
        messages.iter().skip(since).filter(|message| message.contains(text)).count()
    }

    /// Waits for a message after the first `since` that holds `text`.
    pub(crate) fn told(&self, since: usize, text: &str) -> String {
        self.told_any(since, &[text])
    }

    /// Waits for a message after the first `since` that holds one of `texts`.
    pub(crate) fn told_any(&self, since: usize, texts: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut messages = self.heard.messages.lock().expect("no panic holds it");
        loop {
            let holds = |message: &&String| texts.iter().any(|text| message.contains(text));
            if let Some(found) = messages.iter().skip(since).find(holds) {
                return found.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "never told {texts:?}, but {messages:?}; the log:\n{}", self.log());
            messages = self.heard.more.wait_timeout(messages, left).expect("no panic holds it").0;
        }
    }

    /// TERM, wait, start: what `systemctl restart` does.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// TERM, and wait for the end of the main process.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        self.wait_for_end(self.main());
    }

    /// HUP, and wait until it says that it is done: what a reload does.
    pub(crate) fn reload(&self) {
        let before = self.heard();
        self.signal(Signal::SIGHUP);
        self.told(before, "RELOADING=1");
        let after = {
            let messages = self.heard.messages.lock().expect("no panic holds it");
            messages.iter().skip(before).position(|m| m.contains("RELOADING=1")).unwrap_or(0) + before + 1
        };
        self.told(after, "READY=1");
    }

    /// USR2; the new main process, or what kept it from taking over.
    pub(crate) fn upgrade(&mut self) -> Result<Pid, String> {
        let before = self.heard();
        self.signal(Signal::SIGUSR2);
        let told = self.told_any(before, &["MAINPID=", "upgrade refused"]);
        let pid = told.lines().find_map(|line| line.strip_prefix("MAINPID=")?.parse().ok());
        let pid = Pid::from_raw(pid.ok_or(told.clone())?);
        assert!(told.contains("READY=1"), "one datagram for both: {told}");
        self.main = Some(pid);
        Ok(pid)
    }

    /// True while the process exists and has not ended.
    pub(crate) fn lives(&mut self, pid: Pid) -> bool {
        for child in &mut self.children {
            if i32::try_from(child.id()) == Ok(pid.as_raw()) {
                return child.try_wait().expect("our own child").is_none();
            }
        }
        // Somebody else's child, who may be slow to bury it.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
        kill(pid, None) != Err(Errno::ESRCH) && !matches!(state, None | Some('Z' | 'X'))
    }

    /// Waits until a process ended.
    pub(crate) fn wait_for_end(&mut self, pid: Pid) {
        let deadline = Instant::now() + PATIENCE;
        while self.lives(pid) {
            assert!(Instant::now() < deadline, "{pid} does not end; the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // A predecessor that drains ends by itself when its successor tells it to, or after its deadline.
        if let Some(pid) = self.main.take().filter(|pid| self.lives(*pid)) {
            let _ = kill(pid, Signal::SIGKILL);
        }
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
