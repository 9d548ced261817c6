//! Pages and files of Python packages against devpi, pypiserver and proxpi with the same files. Each is
//! installed with the versions in `python-peers.txt` into an environment of its own in the cache folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::nginx::{Nginx, free_port, try_wrk};
use super::python_index::{write_list, write_project};
use super::report::Report;
use super::server::Server;
use super::uploading::curl;
use super::wheel::{Wheel, wheel};

/// pip's constraints.
const PINS: &str = include_str!("python-peers.txt");
const PROJECT: &str = "bench-peer";
const FILES: usize = 50;
const SIZE: usize = 20 << 10;
const CONNECTIONS: u32 = 8;
const ROUNDS: usize = 3;
const SECONDS: u32 = 1;
/// Timeout for a start.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A different server of Python packages.
struct Peer {
    name: &'static str,
    /// The requirement that pip installs.
    packages: &'static [&'static str],
    start: fn(&Setting) -> Result<RunningPeer, String>,
    /// The target for pages.
    target: &'static str,
}

const PEERS: [Peer; 3] = [
    Peer { name: "devpi", packages: &["devpi-server"], start: start_devpi, target: "≥ 100" },
    Peer {
        name: "pypiserver",
        packages: &["pypiserver[cache]", "gunicorn"],
        start: start_pypiserver,
        target: "—",
    },
    Peer { name: "proxpi", packages: &["proxpi", "gunicorn"], start: start_proxpi, target: "—" },
];

/// The parameters with which a peer is started.
struct Setting {
    /// The programs of its environment.
    programs: PathBuf,
    /// An empty directory for its data.
    folder: PathBuf,
    /// The directory of the files.
    packages: PathBuf,
    /// The URL of the index that a peer caches.
    upstream: String,
}

impl Setting {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(&self.folder).env("HOME", &self.folder).env("NO_PROXY", "*").stdin(Stdio::null());
        command
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }
}

/// A running peer, and the URL of the page; killed on drop.
struct RunningPeer {
    process: Child,
    page: String,
}

impl Drop for RunningPeer {
    fn drop(&mut self) {
        // Ends the workers, too: they are in the group of the process.
        let group = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).expect("a process id"));
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.process.wait();
    }
}

pub(crate) fn run(report: &mut Report) {
    let index = tempfile::tempdir().expect("a folder");
    let root = index.path().canonicalize().expect("a folder");
    let wheels: Vec<Wheel> =
        (0..FILES).map(|number| wheel(PROJECT, &format!("1.{number}"), SIZE, number as u64)).collect();
    write_list(&root, &[PROJECT]);
    write_project(&root, PROJECT, &wheels);
    let server = Server::start(&format!("[PyPI]\nURL = file://{}", root.display()));
    server.rspm(&["create", "repo", "--name=py", "--type=python"]);
    server.rspm(&["subscribe", "--repo=py", "--source=pypi"]);
    server.rspm(&["sync", "--type=pypi", "--quiet"]);
    let page = server.url(&format!("/py/latest/simple/{PROJECT}/"));
    let nginx = Nginx::with_index(&root);
    for peer in PEERS {
        let folder = tempfile::tempdir().expect("a folder");
        let setting = |programs| Setting {
            programs,
            folder: folder.path().to_path_buf(),
            packages: root.join("packages"),
            upstream: nginx.url("simple/"),
        };
        let result = install(&peer).map(setting).and_then(|setting| {
            let running = (peer.start)(&setting)?;
            wait_for(&running.page, &setting)?;
            compare(report, &peer, &page, &running.page, &wheels)
        });
        if let Err(reason) = result {
            report.error(format!("page of {FILES} files against {}", peer.name), &reason, peer.target);
        }
    }
}

/// Compares a page, and the file of the first wheel that it links to.
fn compare(
    report: &mut Report,
    peer: &Peer,
    page: &str,
    peer_page: &str,
    wheels: &[Wheel],
) -> Result<(), String> {
    let (link, peer_link) = (checked_link(page, wheels)?, checked_link(peer_page, wheels)?);
    let kilobytes = wheels[0].bytes.len() >> 10;
    for (name, url, peer_url, target) in [
        (format!("page of {FILES} files"), page, peer_page, peer.target),
        (format!("wheel of {kilobytes} kB"), &*link, &*peer_link, "—"),
    ] {
        let mut rounds = Vec::new();
        for round in 0..ROUNDS {
            // proxpi answers requests without this header with 406.
            let accept = ["Accept: */*".to_owned()];
            let measure = |url: &str| try_wrk(url, CONNECTIONS, SECONDS, &accept);
            // The order alternates.
            rounds.push(if round % 2 == 0 {
                let rate = measure(url)?;
                (rate, measure(peer_url)?)
            } else {
                let peer_rate = measure(peer_url)?;
                (measure(url)?, peer_rate)
            });
        }
        // Sorted by ratio, so that the median round is in the middle.
        rounds.sort_by(|a: &(f64, f64), b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
        let (rate, peer_rate) = rounds[ROUNDS / 2];
        report.row(
            format!("{name}, {CONNECTIONS} connections"),
            format!("{rate:.0}/s"),
            format!("{} {peer_rate:.0}/s", peer.name),
            format!("{:.1}", rate / peer_rate),
            target,
        );
    }
    Ok(())
}

/// Checks that a page lists all wheels, and that the file of the first has its bytes. Returns the URL of that
/// file.
fn checked_link(page_url: &str, wheels: &[Wheel]) -> Result<String, String> {
    let page = curl(Command::new("curl").arg(page_url))?;
    let hrefs: Vec<&str> =
        page.split("href=\"").skip(1).filter_map(|text| text.split(['"', '#']).next()).collect();
    if let Some(missing) = wheels.iter().find(|wheel| !hrefs.iter().any(|href| href.ends_with(&wheel.name))) {
        return Err(format!("the page {page_url} does not link to {}: {page}", missing.name));
    }
    let first = &wheels[0];
    let href = hrefs.iter().find(|href| href.ends_with(&first.name)).expect("just found");
    let link = url::Url::parse(page_url).and_then(|base| base.join(href));
    let link = link.map_err(|error| format!("the link {href} of {page_url}: {error}"))?.to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("copy");
    // Twice: the first request may be answered with a redirect to the index that a peer caches.
    for _ in 0..2 {
        curl(Command::new("curl").arg("--location").arg("--output").arg(&copy).arg(&link))?;
    }
    if fs::read(&copy).expect("just fetched") != first.bytes {
        return Err(format!("{link} has other bytes than {}", first.name));
    }
    Ok(link)
}

/// Installs a peer if its environment is missing or was made with other versions; returns the folder of its
/// programs.
fn install(peer: &Peer) -> Result<PathBuf, String> {
    let folder_of = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder_of("XDG_CACHE_HOME").or_else(|| Some(folder_of("HOME")?.join(".cache")));
    let cache = cache.ok_or("neither XDG_CACHE_HOME nor HOME is set")?;
    let environment = cache.join("rstudio-pm/python-peers").join(peer.name);
    let (programs, marker) = (environment.join("bin"), environment.join("installed"));
    if fs::read_to_string(&marker).is_ok_and(|pins| pins == PINS) {
        return Ok(programs);
    }
    eprintln!("  installing {} into {}", peer.name, environment.display());
    let _ = fs::remove_dir_all(&environment);
    let pins = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/python-peers.txt");
    finish(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    let mut pip = Command::new(programs.join("python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", pins]);
    finish(pip.args(peer.packages))?;
    fs::write(&marker, PINS).map_err(|error| format!("{}: {error}", marker.display()))?;
    Ok(programs)
}

/// Runs a command to its end.
fn finish(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// Starts a server in a process group of its own.
fn spawn(mut command: Command, setting: &Setting, page: String) -> Result<RunningPeer, String> {
    use std::os::unix::process::CommandExt;
    let log = fs::File::create(setting.log()).map_err(|error| error.to_string())?;
    let second = log.try_clone().map_err(|error| error.to_string())?;
    command.stdout(log).stderr(second).process_group(0);
    let process = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    Ok(RunningPeer { process, page })
}

/// Waits until a URL is answered with success.
fn wait_for(url: &str, setting: &Setting) -> Result<(), String> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let Err(error) = curl(Command::new("curl").arg(url)) else { return Ok(()) };
        if Instant::now() > deadline {
            return Err(format!("no answer after {} s: {error} {}", TIMEOUT.as_secs(), tail(&setting.log())));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The end of a log.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" ")
}

/// Starts devpi with an index that caches another index.
fn start_devpi(setting: &Setting) -> Result<RunningPeer, String> {
    let data = setting.folder.join("data");
    let mut init = setting.command("devpi-init");
    init.arg("--serverdir").arg(&data).args(["--no-root-pypi", "--root-passwd", "bench"]);
    finish(&mut init)?;
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let mut command = setting.command("devpi-server");
    command.arg("--serverdir").arg(&data).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    let running = spawn(command, setting, format!("{url}/root/bench/+simple/{PROJECT}/"))?;
    wait_for(&format!("{url}/+api"), setting)?;
    let json = ["--header", "Content-Type: application/json", "--header", "Accept: application/json"];
    let login = serde_json::json!({ "user": "root", "password": "bench" }).to_string();
    let answer = curl(Command::new("curl").args(json).args(["--data", &login]).arg(format!("{url}/+login")))?;
    let answer: serde_json::Value = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
    let password = answer["result"]["password"].as_str().ok_or("devpi's login has no password")?;
    let authorization = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("root:{password}"));
    let index = serde_json::json!({ "type": "mirror", "mirror_url": setting.upstream }).to_string();
    let header = format!("X-Devpi-Auth: {authorization}");
    let mut create = Command::new("curl");
    create.args(json).args(["--header", &header, "--request", "PUT", "--data", &index]);
    curl(create.arg(format!("{url}/root/bench")))?;
    Ok(running)
}

/// Starts pypiserver with its cache of digests, on the same directory.
fn start_pypiserver(setting: &Setting) -> Result<RunningPeer, String> {
    let port = free_port().to_string();
    let mut command = setting.command("pypi-server");
    command.args(["run", "--interface", "127.0.0.1", "--port", &port, "--server", "gunicorn"]);
    command.args(["--disable-fallback", "--backend", "cached-dir"]).arg(&setting.packages);
    spawn(command, setting, format!("http://127.0.0.1:{port}/simple/{PROJECT}/"))
}

/// Starts proxpi as its container image does, with a process and threads for each processor.
fn start_proxpi(setting: &Setting) -> Result<RunningPeer, String> {
    let port = free_port();
    let mut command = setting.command("gunicorn");
    command.env("PROXPI_INDEX_URL", &setting.upstream).env("PROXPI_LOGGING_LEVEL", "WARNING");
    command.args(["--bind", &format!("127.0.0.1:{port}"), "--workers", "2", "--threads", "4"]);
    command.arg("proxpi.server:app");
    spawn(command, setting, format!("http://127.0.0.1:{port}/index/{PROJECT}/"))
}
