//! Runs the real programs in a temporary directory.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::nginx::free_port;

/// A running `rstudio-pm`; killed on drop.
pub(crate) struct Server {
    folder: std::sync::Arc<tempfile::TempDir>,
    process: Child,
    port: u16,
    /// The time from the start of the process to `READY=1`.
    pub(crate) ready_time: Duration,
}

impl Server {
    /// Starts the server in a new directory with additional lines of configuration.
    pub(crate) fn start(gcfg_lines: &str) -> Server {
        Server::start_in(std::sync::Arc::new(tempfile::tempdir().expect("a folder")), gcfg_lines)
    }

    /// Starts the server in a directory that may contain data.
    pub(crate) fn start_in(folder: std::sync::Arc<tempfile::TempDir>, gcfg_lines: &str) -> Server {
        let root = folder.path().display();
        let port = free_port();
        fs::create_dir_all(folder.path().join("tmp")).expect("a folder");
        let gcfg = format!(
            "[Server]\nDataDir = {root}/data\nTempDir = {root}/tmp\nSockFileDir = {root}/run\nAccessLog = {root}/access.log\n\
             [HTTP]\nListen = 127.0.0.1:{port}\n[Metrics]\nListen = 127.0.0.1:0\n[Logging]\nSystemLog = {root}/server.log\n{gcfg_lines}\n"
        );
        fs::write(folder.path().join("rstudio-pm.gcfg"), gcfg).expect("written");
        let notify = folder.path().join("notify");
        let _ = fs::remove_file(&notify);
        let socket = UnixDatagram::bind(&notify).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
        let start = Instant::now();
        let process = Command::new(env!("CARGO_BIN_EXE_rstudio-pm"))
            .arg("--config")
            .arg(folder.path().join("rstudio-pm.gcfg"))
            .env("NOTIFY_SOCKET", &notify)
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("rstudio-pm runs");
        let mut text = [0; 4096];
        loop {
            let n = socket.recv(&mut text).expect("the server becomes ready; server.log may say why not");
            if text[..n].windows(7).any(|w| w == b"READY=1") {
                break;
            }
        }
        Server { ready_time: start.elapsed(), folder, process, port }
    }

    /// The directory, for another process.
    pub(crate) fn folder(&self) -> std::sync::Arc<tempfile::TempDir> {
        self.folder.clone()
    }

    /// The path of the directory.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Runs `rspm`; panics if it fails.
    pub(crate) fn rspm(&self, args: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_rspm"))
            .arg("--config")
            .arg(self.folder.path().join("rstudio-pm.gcfg"))
            .args(args)
            .output()
            .expect("rspm runs");
        assert!(output.status.success(), "rspm {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Creates the repository `bench` with packages of these names and sizes in bytes, and with those of the
    /// mirror.
    pub(crate) fn create_repository(&self, packages: &[(&str, usize)]) {
        self.rspm(&["create", "source", "--name=files"]);
        for (name, size) in packages {
            let path = package(self.path(), name, *size);
            self.rspm(&["add", "--source=files", &format!("--path={}", path.display())]);
        }
        self.rspm(&["create", "repo", "--name=bench"]);
        self.rspm(&["subscribe", "--repo=bench", "--source=files"]);
        self.rspm(&["sync"]);
        self.rspm(&["subscribe", "--repo=bench", "--source=cran"]);
    }

    /// A value of `/proc/PID/status` in MB: `VmRSS`, `VmHWM`, `RssAnon`.
    pub(crate) fn memory(&self, field: &str) -> f64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = text.lines().find(|l| l.starts_with(field)).expect("a line of this name");
        line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).expect("a number") / 1024.0
    }

    /// The CPU time of all threads in seconds.
    pub(crate) fn cpu_time(&self) -> f64 {
        self.cpu_times(2)
    }

    /// The CPU time in seconds, with that of all children that have ended, and of their children.
    pub(crate) fn cpu_time_with_children(&self) -> f64 {
        self.cpu_times(4)
    }

    /// The seconds in the first `count` of four times: of the process in user mode and in the kernel, and
    /// both of children.
    fn cpu_times(&self, count: usize) -> f64 {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("it runs");
        let fields = text.rsplit_once(") ").expect("a name in parentheses").1;
        let mut ticks = fields.split(' ').skip(11).map(|n| n.parse::<f64>().expect("a number"));
        // In USER_HZ, a hundredth of a second on all platforms.
        ticks.by_ref().take(count).sum::<f64>() / 100.0
    }

    /// Stops the server and waits for its end.
    pub(crate) fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).expect("a pid"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
        self.process.wait().expect("our own child");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Creates a source package of about `size` incompressible bytes in `folder`.
pub(crate) fn package(folder: &Path, name: &str, size: usize) -> std::path::PathBuf {
    let mut random_bytes = vec![0; size];
    let mut state = size as u64 | 1;
    for byte in &mut random_bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state as u8;
    }
    let description = format!(
        "Package: {name}\nVersion: 1.0.0\nTitle: Bytes\nDescription: Bytes.\nLicense: MIT\nNeedsCompilation: no\n"
    );
    let path = folder.join(format!("{name}_1.0.0.tar.gz"));
    let file = fs::File::create(&path).expect("a file");
    // The bytes are random: compressing many of them only takes time.
    let level = if size > 50_000_000 { 0 } else { 6 };
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::new(level)));
    for (member, bytes) in [("DESCRIPTION", description.as_bytes()), ("inst/noise", &random_bytes)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("{name}/{member}"), bytes).expect("a member");
    }
    tar.into_inner().and_then(flate2::write::GzEncoder::finish).expect("written");
    path
}
