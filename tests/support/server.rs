//! The real `rstudio-pm`, started in a temporary directory on a port chosen by the system; killed on drop.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::http::{self, Answer};
use super::secrets;
use super::tarball::Tarball;

/// Timeout for a start or a stop.
const TIMEOUT: Duration = Duration::from_secs(90);

/// The version of `rstudio-pm` that is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Program {
    /// The version under test.
    #[default]
    This,
    /// A later one with a further migration, `tests/programs/next_version.rs`.
    Next,
}

impl Program {
    /// The path of the executable file.
    pub(crate) fn path(self) -> String {
        let this = env!("CARGO_BIN_EXE_rstudio-pm");
        match self {
            Program::This => this.to_owned(),
            Program::Next => {
                let path = Path::new(this).with_file_name("examples/next-version");
                assert!(path.exists(), "{} is missing: cargo build --example next-version", path.display());
                path.display().to_string()
            }
        }
    }
}

/// Configuration of a server.
#[derive(Default)]
pub(crate) struct Builder {
    program: Program,
    gcfg: String,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
    arguments: Vec<String>,
}

impl Builder {
    /// Sets the program that executes the server, with its arguments, such as `unshare --net`.
    pub(crate) fn wrapper(mut self, program: &[&str]) -> Builder {
        self.wrapper = program.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Starts this version of the program.
    pub(crate) fn program(mut self, program: Program) -> Builder {
        self.program = program;
        self
    }

    /// Sets further arguments of the program.
    pub(crate) fn arguments(mut self, words: &[&str]) -> Builder {
        self.arguments = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Adds lines to the configuration file; `{dir}` in them is the server's directory.
    pub(crate) fn gcfg(mut self, lines: &str) -> Builder {
        self.gcfg.push_str(lines);
        self.gcfg.push('\n');
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Builder {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes the configuration file without starting the server.
    pub(crate) fn prepare(self) -> Server {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().display().to_string();
        let base = format!(
            "[Server]\nDataDir = {root}/data\nTempDir = {root}/tmp\nSockFileDir = {root}/run\n\
             AccessLog = {root}/access.log\n[HTTP]\nListen = 127.0.0.1:0\n[Metrics]\nListen = 127.0.0.2:0\n[Logging]\nSystemLog = STDERR\n\
             [CRAN]\nURL = file://{root}/no-mirror\n[Vulnerabilities]\nSyncSchedule = 0 0 29 2 *\n"
        );
        fs::create_dir(dir.path().join("tmp")).expect("a directory for TempDir");
        let gcfg = base + &self.gcfg.replace("{dir}", &root);
        fs::write(dir.path().join("rstudio-pm.gcfg"), gcfg).expect("the configuration is written");
        let Builder { program, gcfg: _, environment, wrapper, arguments } = self;
        let (log, urls) = (Arc::default(), Vec::new());
        Server { dir, program, environment, wrapper, arguments, process: None, log, urls }
    }

    /// Starts the server and waits until it is ready.
    pub(crate) fn start(self) -> Server {
        let mut server = self.prepare();
        server.launch();
        server
    }
}

#[derive(Default)]
struct Log {
    /// The lines of standard error, and whether it has ended.
    lines: Mutex<(Vec<String>, bool)>,
    more: Condvar,
}

/// A running or stopped server and its directory.
pub(crate) struct Server {
    dir: tempfile::TempDir,
    program: Program,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
    arguments: Vec<String>,
    process: Option<Child>,
    log: Arc<Log>,
    urls: Vec<String>,
}

impl Server {
    /// Starts a server with the default configuration: SQLite, disk, plain HTTP.
    pub(crate) fn start() -> Server {
        Builder::default().start()
    }

    /// Starts the server, also after [`Server::stop`], and waits for `is ready`.
    pub(crate) fn launch(&mut self) {
        let mut command = self.command(&self.program.path());
        if let [program, words @ ..] = &*self.wrapper {
            let inner = std::mem::replace(&mut command, Command::new(program));
            command.args(words).arg(inner.get_program()).args(inner.get_args());
            command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        }
        let mut child = command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("rstudio-pm runs");
        let output = child.stderr.take().expect("piped");
        self.log = Arc::default();
        let log = Arc::clone(&self.log);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { break };
                log.lines.lock().expect("no panic holds it").0.push(line);
                log.more.notify_all();
            }
            log.lines.lock().expect("no panic holds it").1 = true;
            log.more.notify_all();
        });
        self.process = Some(child);
        self.wait_for_log("is ready");
        self.urls = self
            .log_lines()
            .iter()
            .filter_map(|line| Some(line.split_once("Listening on ")?.1.trim_matches('"').to_owned()))
            .collect();
    }

    /// Waits for a log line that contains `text`; panics with the whole log if the server exits before.
    pub(crate) fn wait_for_log(&self, text: &str) {
        let deadline = Instant::now() + TIMEOUT;
        let mut lines = self.log.lines.lock().expect("no panic holds it");
        while !lines.0.iter().any(|line| line.contains(text)) {
            assert!(!lines.1, "the server exited before it logged '{text}':\n{}", lines.0.join("\n"));
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the server did not log '{text}':\n{}", lines.0.join("\n"));
            lines = self.log.more.wait_timeout(lines, left).expect("no panic holds it").0;
        }
    }

    /// The lines written to standard error since the last start.
    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.log.lines.lock().expect("no panic holds it").0.clone()
    }

    /// `http://127.0.0.1:PORT` + `path`, of the first listener.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.urls[0])
    }

    /// The URLs of all listeners in the order HTTP, HTTPS, HTTPRedirect.
    pub(crate) fn urls(&self) -> &[String] {
        &self.urls
    }

    /// `127.0.0.1:PORT` of the first listener.
    pub(crate) fn host(&self) -> &str {
        self.urls[0].split_once("://").expect("a URL").1
    }

    /// The metrics as Prometheus reads them.
    pub(crate) fn metrics(&self) -> Answer {
        http::get(&self.metrics_url())
    }

    /// The URL of the metrics.
    pub(crate) fn metrics_url(&self) -> String {
        let text = "Metrics are served on ";
        let lines = self.log_lines();
        let url = lines.iter().find_map(|line| Some(line.split_once(text)?.1.trim_matches('"').to_owned()));
        url.unwrap_or_else(|| panic!("no metrics are served:\n{}", lines.join("\n")))
    }

    /// The value of one series, named as in the text format; `None` if it is missing.
    pub(crate) fn series(&self, series: &str) -> Option<f64> {
        let text = self.metrics().text();
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    /// GET of a path.
    pub(crate) fn get(&self, path: &str) -> Answer {
        http::get(&self.url(path))
    }

    /// The alerts of type `job`: others may be about the file systems of this machine.
    pub(crate) fn job_alerts(&self) -> serde_json::Value {
        let mut alerts = self.get("/__api__/alerts").json();
        alerts.as_array_mut().expect("a list").retain(|alert| alert["type"] == "job");
        alerts
    }

    /// A storage class as `rspm storage list` shows it.
    pub(crate) fn storage_class(&self, name: &str) -> serde_json::Value {
        let listed = self.json("storage list");
        let classes = listed["classes"].as_array().expect("a list");
        classes.iter().find(|class| class["class"] == name).unwrap_or_else(|| panic!("{listed}")).clone()
    }

    /// The path of the admin socket.
    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.dir.path().join("run/rstudio-pm.sock")
    }

    /// Starts an upload and leaves it incomplete. The server is reading the body when this returns: it has sent `100
    /// Continue`.
    pub(crate) fn begin_upload(&self) -> UnixStream {
        let stream = UnixStream::connect(self.admin_socket()).expect("it answers");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a valid time");
        let head = "POST /__api__/admin/v1/uploads?file=a_1.tar.gz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\
                    Expect: 100-continue\r\n\r\n";
        let mut stream = http::begin(stream, head);
        stream.write_all(b"x").expect("sent");
        stream
    }

    /// A request to the admin API: `admin("POST", "/repos", &json)`.
    pub(crate) fn admin(&self, method: &str, path: &str, body: &serde_json::Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let target = format!("/__api__/admin/v1{path}");
        http::admin(&self.admin_socket(), method, &target, body.as_bytes())
    }

    /// Creates a repository that subscribes to a local source of the same name, and adds packages to it.
    pub(crate) fn local_repository(&self, name: &str, packages: &[Tarball]) {
        let json = |method, path: &str, body| {
            let answer = self.admin(method, path, &body);
            assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
            answer.json()
        };
        json("POST", "/sources", serde_json::json!({ "name": name }));
        json("POST", "/repos", serde_json::json!({ "name": name }));
        json("POST", &format!("/repos/{name}/sources"), serde_json::json!({ "source": name }));
        for package in packages {
            self.add(name, package);
        }
    }

    /// Adds one package to a local source.
    pub(crate) fn add(&self, source: &str, package: &Tarball) {
        add(&self.admin_socket(), source, package);
    }

    /// The directory of all files of this server.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The path of the configuration file.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.dir.path().join("rstudio-pm.gcfg")
    }

    /// A command that runs a program with this server's configuration file and environment.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--config").arg(self.config_file());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("running").id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.pid()).expect("a process id"));
        nix::sys::signal::kill(pid, signal).expect("it runs");
    }

    /// Sends SIGTERM and waits.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        self.wait()
    }

    /// Waits until the server exits; panics after the timeout.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut child = self.process.take().expect("running");
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Some(status) = child.try_wait().expect("our own child") {
                return status;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the server does not stop:\n{}", self.log_lines().join("\n"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends SIGKILL and waits.
    pub(crate) fn kill(&mut self) {
        let mut child = self.process.take().expect("running");
        child.kill().expect("it runs");
        child.wait().expect("our own child");
    }

    /// The version of the program.
    pub(crate) fn program(&self) -> Program {
        self.program
    }

    /// Replaces the program, from the next start on.
    pub(crate) fn install(&mut self, program: Program) {
        self.program = program;
    }

    /// Stops the server and starts it again in the same directory, on a different port.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.launch();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !std::thread::panicking() {
            let log = self.log_lines().join("\n");
            assert!(!secrets::has_token(log.as_bytes()), "the log has a token: {log}");
            assert_eq!(secrets::files_with_tokens(self.dir()), Vec::<PathBuf>::new(), "files with a token");
        }
    }
}

/// Adds one package to a local source, as `rspm add` does.
pub(crate) fn add(admin: &Path, source: &str, package: &Tarball) {
    let target = format!("/__api__/admin/v1/uploads?file={}", package.file());
    let add = || {
        let upload = http::admin(admin, "POST", &target, &package.bytes());
        assert_eq!(upload.status, 201, "{}", upload.text());
        let body =
            serde_json::json!({ "uploads": [upload.json()["id"]], "succeed_on_existing": true }).to_string();
        http::admin(admin, "POST", &format!("/__api__/admin/v1/sources/{source}/packages"), body.as_bytes())
    };
    let mut added = add();
    if added.status == 404 && added.text().contains("there is no upload") {
        // The process that received the upload was replaced before the second request.
        added = add();
    }
    assert_eq!(added.status, 200, "{}", added.text());
}
