//! External rotation: the log files of a server started by systemd, logrotate with the package's configuration and
//! script, and the processes that `rspm logs reopen` waits for.

use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::fixtures::until;
use crate::support::http;
use crate::support::server::{Builder, Server};

/// A server as systemd starts it: the sockets exist longer than the process. Logs, logrotate's configuration and the
/// package's script are in its directory.
pub(super) struct ManagedServer {
    pub(super) server: Server,
    http: TcpListener,
    admin: UnixListener,
    child: Option<Child>,
}

/// The log folder in the package's configuration of logrotate.
const FOLDER: &str = "/var/log/rstudio/rstudio-pm";

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("our own file");
}

fn project(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a file of the project")
}

impl ManagedServer {
    /// Starts the server. `keep` is the number of rotated files that logrotate keeps.
    pub(super) fn start(keep: u32) -> ManagedServer {
        let server = Builder::default().prepare();
        let dir = server.dir();
        for folder in ["logs", "lib", "bin", "run"] {
            std::fs::create_dir(dir.join(folder)).expect("created");
        }
        let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
        let root = dir.display();
        let gcfg = gcfg
            .replace("SystemLog = STDERR", &format!("SystemLog = {root}/logs/rstudio-pm.log"))
            .replace("/access.log", "/logs/rstudio-pm.access.log");
        std::fs::write(server.config_file(), gcfg).expect("written");

        let rotate = project("logrotate/rstudio-pm")
            .replace(FOLDER, &format!("{root}/logs"))
            .replace("/opt/rstudio-pm/lib", &format!("{root}/lib"))
            .replace("rotate 30", &format!("rotate {keep}"));
        write(&dir.join("logrotate.conf"), &rotate, 0o644);
        write(&dir.join("lib/reopen-logs"), &project("units/reopen-logs"), 0o755);
        let rspm = format!(
            "#!/bin/sh\nexec {} --config {root}/rstudio-pm.gcfg \"$@\"\n",
            env!("CARGO_BIN_EXE_rspm")
        );
        write(&dir.join("bin/rspm"), &rspm, 0o755);
        // The script gets the process id from systemd.
        write(&dir.join("bin/systemctl"), &format!("#!/bin/sh\ncat {root}/main.pid\n"), 0o755);
        write(&dir.join("main.pid"), "0", 0o644);

        let http = TcpListener::bind("127.0.0.1:0").expect("a port");
        let admin = UnixListener::bind(server.admin_socket()).expect("a socket");
        let mut managed = ManagedServer { server, http, admin, child: None };
        managed.launch();
        managed
    }

    /// The program under test: an optimized one if the environment names its folder.
    fn program() -> PathBuf {
        let program = Path::new(env!("CARGO_BIN_EXE_rstudio-pm"));
        std::env::var_os("RSPM_TEST_PROGRAMS")
            .map_or_else(|| program.to_owned(), |folder| Path::new(&folder).join("rstudio-pm"))
    }

    /// Starts the process on the existing sockets.
    pub(super) fn launch(&mut self) {
        let script = "exec 3<&0 4<&1 0</dev/null 1>/dev/null; LISTEN_PID=$$ exec \"$0\" --config \"$1\"";
        let http: OwnedFd = self.http.try_clone().expect("a handle").into();
        let admin: OwnedFd = self.admin.try_clone().expect("a handle").into();
        let errors = File::options().append(true).create(true).open(self.server.dir().join("errors"));
        let child = Command::new("sh")
            .args(["-c", script])
            .arg(Self::program())
            .arg(self.server.config_file())
            .env("LISTEN_FDS", "2")
            .env("LISTEN_FDNAMES", "http:admin")
            .stdin(Stdio::from(http))
            .stdout(Stdio::from(admin))
            .stderr(errors.expect("a file"))
            .spawn()
            .expect("sh runs");
        write(&self.server.dir().join("main.pid"), &child.id().to_string(), 0o644);
        self.child = Some(child);
    }

    /// Sends SIGTERM to the process and returns at once.
    pub(super) fn terminate(&self) {
        let pid = self.child.as_ref().expect("running").id();
        kill(Pid::from_raw(pid.try_into().expect("a process id")), Signal::SIGTERM).expect("it runs");
    }

    /// Waits for the end of the process.
    pub(super) fn wait(&mut self) {
        let mut child = self.child.take().expect("running");
        let status = child.wait().expect("our own child");
        write(&self.server.dir().join("main.pid"), "0", 0o644);
        assert_eq!(status.code(), Some(0), "{}", self.errors());
    }

    /// `127.0.0.1:PORT`.
    pub(super) fn address(&self) -> String {
        self.http.local_addr().expect("bound").to_string()
    }

    /// The standard error of the process.
    pub(super) fn errors(&self) -> String {
        std::fs::read_to_string(self.server.dir().join("errors")).unwrap_or_default()
    }

    /// The command that rotates all logs; when it ends, the server no longer writes to the old files.
    pub(super) fn rotate(&self) -> Command {
        let dir = self.server.dir();
        let mut command = Command::new("logrotate");
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}:/usr/sbin", dir.join("bin").display()));
        command.args(["--force", "--state"]).arg(dir.join("status")).arg(dir.join("logrotate.conf"));
        command
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.server.dir().join("logs").join(name)
    }

    /// The file names in the folder of the logs that start with `begin`.
    pub(super) fn names(&self, begin: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.server.dir().join("logs")).expect("readable");
        let names = entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(begin)).collect();
        names.sort();
        names
    }

    /// All text of a log: the file and the rotated ones, compressed or not.
    pub(super) fn all(&self, begin: &str) -> Vec<String> {
        self.names(begin).iter().map(|name| read(&self.log(name))).collect()
    }
}

impl Drop for ManagedServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let status = self.child.as_mut().map(Child::try_wait);
            eprintln!("the server: {status:?}\n{}\n{}", self.errors(), self.all("rstudio-pm.log").concat());
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The text of a file, compressed or not.
fn read(path: &Path) -> String {
    let mut text = String::new();
    let file = File::open(path).expect("a log file");
    let read = if path.extension().is_some_and(|end| end == "gz") {
        flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text)
    } else {
        { file }.read_to_string(&mut text)
    };
    read.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text
}

pub(super) fn run(mut command: Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}; run tests/setup"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{}: {errors}", output.status);
}

#[test]
fn logrotate_keeps_one_server_log_plain_and_compresses_access_logs_at_once() {
    let managed = ManagedServer::start(30);
    for turn in 0..3 {
        assert_eq!(http::get(&format!("http://{}/__ping__?{turn}", managed.address())).status, 200);
        run(managed.rotate());
    }
    assert_eq!(http::get(&format!("http://{}/__ping__?3", managed.address())).status, 200);
    let server = ["rstudio-pm.log", "rstudio-pm.log.1", "rstudio-pm.log.2.gz", "rstudio-pm.log.3.gz"];
    assert_eq!(managed.names("rstudio-pm.log"), server);
    let access = ["", ".1.gz", ".2.gz", ".3.gz"].map(|end| format!("rstudio-pm.access.log{end}"));
    assert_eq!(managed.names("rstudio-pm.access.log"), access);
    for (turn, name) in access.iter().rev().enumerate() {
        let expected = format!("\"GET /__ping__?{turn} HTTP/1.1\" 200 2 ");
        until(name, || read(&managed.log(name)).contains(&expected));
        let mode = managed.log(name).metadata().expect("it exists").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }
}

#[test]
fn reopening_prints_the_files_and_waits_for_other_processes_that_write_to_the_old_ones() {
    let managed = ManagedServer::start(30);
    let (log, old) = (managed.log("rstudio-pm.access.log"), managed.log("old"));
    until("the files are there", || log.exists());
    let output = managed.server.rspm_stdout("logs reopen");
    let files =
        ["rstudio-pm.log", "rstudio-pm.access.log"].map(|name| managed.log(name).display().to_string());
    assert_eq!(output, format!("Reopened:\n  {}\n  {}\n", files[0], files[1]));
    assert_eq!(managed.server.json("logs reopen"), serde_json::json!({ "files": files }));

    // The lock of a process that still finishes requests.
    let other = File::options().append(true).open(&log).expect("it exists");
    other.lock_shared().expect("a lock");
    std::fs::rename(&log, &old).expect("renamed");
    let mut rspm =
        managed.server.rspm_command("logs reopen").stdout(Stdio::null()).spawn().expect("rspm runs");
    until("the server has the new file", || log.exists());
    assert!(rspm.try_wait().expect("our own child").is_none(), "the command waits for the other process");
    drop(other);
    assert_eq!(rspm.wait().expect("our own child").code(), Some(0));
}

#[test]
fn a_file_that_cannot_be_reopened_is_an_error_and_the_old_one_stays_in_use() {
    let managed = ManagedServer::start(30);
    let log = managed.log("rstudio-pm.access.log");
    until("the files are there", || log.exists());
    std::fs::rename(&log, managed.log("old")).expect("renamed");
    std::fs::create_dir(&log).expect("created");
    let output = managed.server.rspm("logs reopen");
    assert_eq!(output.code, 1, "{}", output.out);
    assert!(
        output.err.contains("rstudio-pm.access.log") && output.err.contains("Is a directory"),
        "{}",
        output.err
    );
    assert_eq!(http::get(&format!("http://{}/__ping__", managed.address())).status, 200);
    until("it is logged", || read(&managed.log("old")).contains("/__ping__"));
    // The script fails as well.
    std::fs::remove_dir(&log).expect("removed");
    std::fs::rename(managed.log("old"), managed.log("rstudio-pm.access.log.1")).expect("renamed");
    symlink("/dev/null/x", &log).expect("a link");
    let mut script = Command::new(managed.server.dir().join("lib/reopen-logs"));
    let path = std::env::var("PATH").unwrap_or_default();
    script.env("PATH", format!("{}:{path}", managed.server.dir().join("bin").display()));
    let output = script.output().expect("sh runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("still writes") && errors.contains("rstudio-pm.access.log"), "{errors}");
}

#[test]
fn the_script_falls_back_to_the_signal_if_the_socket_does_not_answer() {
    let managed = ManagedServer::start(30);
    let log = managed.log("rstudio-pm.access.log");
    until("the files are there", || log.exists());
    write(&managed.server.dir().join("bin/rspm"), "#!/bin/sh\nexit 3\n", 0o755);
    assert_eq!(http::get(&format!("http://{}/__ping__?1", managed.address())).status, 200);
    run(managed.rotate());
    assert_eq!(http::get(&format!("http://{}/__ping__?2", managed.address())).status, 200);
    assert!(read(&managed.log("rstudio-pm.access.log.1.gz")).contains("/__ping__?1"));
    until("it is logged", || read(&log).contains("/__ping__?2"));
}

#[test]
fn rotations_during_the_start_and_the_stop_have_no_effect_on_the_server() {
    let mut managed = ManagedServer::start(30);
    let pid = |managed: &ManagedServer| {
        Pid::from_raw(managed.child.as_ref().expect("running").id().try_into().expect("an id"))
    };
    // From the first moment at which the program can handle the signal.
    let status = format!("/proc/{}/status", pid(&managed));
    let is_usr1_blocked = |line: &str| {
        let mask = line.strip_prefix("SigBlk:").and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask & (1 << (Signal::SIGUSR1 as u32 - 1)) != 0)
    };
    until("signals are blocked", || {
        let status = std::fs::read_to_string(&status).expect("it runs");
        status.lines().any(is_usr1_blocked) || managed.log("rstudio-pm.log").exists()
    });
    for _ in 0..20 {
        let _ = kill(pid(&managed), Signal::SIGUSR1);
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
    assert_eq!(http::get(&format!("http://{}/__ping__?1", managed.address())).status, 200);
    managed.terminate();
    for _ in 0..20 {
        let _ = kill(pid(&managed), Signal::SIGUSR1);
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
    managed.wait();
    assert!(read(&managed.log("rstudio-pm.log")).contains("log files reopened"));
}
