//! The log of history: what it adds to `rspm add` and `rspm sync`, and the time until a publish is in a signed and in a
//! cosigned checkpoint. Further rows are in `history_proofs` and `history_large`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::admin::Admin;
use super::answers;
use super::mirror::Mirror;
use super::report::{Report, median, percentiles};
use super::scrubbing::seconds;
use super::server::{Server, package};
use super::{history_large, history_proofs};

/// Number of packages that are added to one server before it is the turn of the other one, and of these turns.
const TURN: usize = 20;
const TURNS: usize = 30;
/// Time in which the log of the last publish is written, so that the other server is measured alone.
const PAUSE: Duration = Duration::from_millis(300);
const SYNCS: usize = 15;
/// The same for a sync of CRAN.
const SYNC_PAUSE: Duration = Duration::from_secs(1);
const SIGNED_PUBLISHES: usize = 150;
const COSIGNED_PUBLISHES: usize = 120;
/// Time from a publish to the next one. The five seconds after which a witness is asked again are no multiple of it.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(270);

pub(crate) fn run(report: &mut Report) {
    let mirror = Mirror::write();
    let gcfg = format!("[CRAN]\nURL = {}\n", mirror.url());
    let [with, without] = [(); 2].map(|()| start(&gcfg));
    for server in [&with, &without] {
        server.rspm(&["create", "source", "--name=team"]);
        server.create_repository(&[]);
        server.rspm(&["create", "repo", "--name=dev"]);
        server.rspm(&["subscribe", "--repo=dev", "--source=team"]);
    }
    begin(&with, "with");
    add_packages(report, &with, &without);
    sync_changes(report, &mirror, &with, &without);
    without.stop();
    sign_publishes(report, &with);
    let witnesses = [witness(&with, "office"), witness(&with, "lab")];
    cosign_publishes(report, &with);
    history_proofs::measure_answers(report, &with, &witnesses);
    with.stop();
    witnesses.into_iter().for_each(|(_, server)| server.stop());
    history_proofs::measure_states(report, &mirror);
    history_large::run(report);
}

/// Starts a server with an encryption key, which a log needs.
pub(crate) fn start(gcfg: &str) -> Server {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("a folder");
    fs::write(data.join("rstudio-pm.key"), "5a".repeat(512)).expect("written");
    Server::start_in(Arc::new(folder), gcfg)
}

/// Begins the log of a server, and waits until all transactions are in it.
pub(crate) fn begin(server: &Server, name: &str) -> Value {
    server.rspm(&["history", "init", &format!("--origin={name}.example.org/__log__")]);
    wait_for(&mut Admin::connect(server), is_signed)
}

pub(crate) fn status(admin: &mut Admin) -> Value {
    serde_json::from_str(&admin.send("GET", "/history", b"")).expect("JSON")
}

/// Waits until the status of the log is as wanted; returns it.
pub(crate) fn wait_for(admin: &mut Admin, is_wanted: fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let status = status(admin);
        if is_wanted(&status) {
            return status;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "{status}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether all transactions are in the signed log.
pub(crate) fn is_signed(status: &Value) -> bool {
    status["waiting"] == 0 && status["signed"] == status["entries"] && status["signed"] != 0
}

/// Whether all transactions are in a checkpoint that all witnesses cosigned.
pub(crate) fn is_cosigned(status: &Value) -> bool {
    let witnesses = status["witnesses"].as_array().expect("a list");
    is_signed(status) && has_cosignatures(status, witnesses.len())
}

/// Whether the newest checkpoint has this number of signatures besides that of the log.
fn has_cosignatures(status: &Value, count: usize) -> bool {
    let checkpoint = status["checkpoint"].as_str().expect("a text");
    checkpoint.lines().filter(|line| line.starts_with('—')).count() == 1 + count
}

/// Uploads a package and adds it to the source `team`.
fn add(server: &Server, admin: &mut Admin, name: &str) {
    let file = package(server.path(), name, 500);
    let archive = fs::read(&file).expect("just written");
    fs::remove_file(file).expect("ours");
    let upload = admin.send("POST", &format!("/uploads?file={name}_1.0.0.tar.gz"), &archive);
    let id = upload.split("\"id\":").nth(1).and_then(|text| text.split(',').next()).expect("an upload");
    admin.send("POST", "/sources/team/packages", format!("{{\"uploads\":[{id}]}}").as_bytes());
}

/// The server whose turn it is first, and the other one; their positions in the results.
fn in_turn<'a>(turn: usize, with: &'a Server, without: &'a Server) -> [(usize, &'a Server); 2] {
    let mut servers = [(0, with), (1, without)];
    servers.rotate_left(turn % 2);
    servers
}

/// `rspm add`, the whole command, on the two servers in turn.
fn add_packages(report: &mut Report, with: &Server, without: &Server) {
    let mut times = [vec![], vec![]];
    for turn in 0..TURNS {
        for (position, server) in in_turn(turn, with, without) {
            let names = (0..TURN).map(|number| format!("turn{turn}x{number}"));
            let files: Vec<_> = names.map(|name| package(server.path(), &name, 500)).collect();
            std::thread::sleep(PAUSE);
            for file in files {
                let path = format!("--path={}", file.display());
                times[position].push(seconds(|| drop(server.rspm(&["add", "--source=team", &path]))));
            }
        }
    }
    let [(with, with_p99), (without, without_p99)] = times.map(percentiles);
    report.row(
        format!("rspm add, {} times, with a log, p50 / p99", TURN * TURNS),
        format!("{:.1} / {:.1} ms", 1e3 * with, 1e3 * with_p99),
        format!("without {:.1} / {:.1} ms", 1e3 * without, 1e3 * without_p99),
        format!("{:.2} / {:.2}", with / without, with_p99 / without_p99),
        "≤ 1.05 / ≤ 1.10",
    );
}

/// Adds a package to the index of the mirror.
pub(crate) fn add_upstream(mirror: &Mirror, name: &str) {
    let mut index = answers::index(mirror.path());
    let digest = "0".repeat(32);
    index.push_str(&format!("\nPackage: {name}\nVersion: 1.0\nMD5sum: {digest}\nNeedsCompilation: no\n"));
    let file = fs::File::create(mirror.path().join("src/contrib/PACKAGES.gz")).expect("a file");
    let mut gz = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    gz.write_all(index.as_bytes()).expect("written");
    gz.finish().expect("written");
}

/// `rspm sync`, the whole command, of an index with one more package, on the two servers in turn; and the CPU time of the
/// server until the log has it.
fn sync_changes(report: &mut Report, mirror: &Mirror, with: &Server, without: &Server) {
    let (mut times, mut cpu_times) = ([vec![], vec![]], [vec![], vec![]]);
    for turn in 0..SYNCS {
        add_upstream(mirror, &format!("zz{turn}"));
        for (position, server) in in_turn(turn, with, without) {
            let before = server.cpu_time();
            times[position].push(seconds(|| drop(server.rspm(&["sync", "--quiet"]))));
            std::thread::sleep(SYNC_PAUSE);
            cpu_times[position].push(server.cpu_time() - before);
            if position == 0 {
                wait_for(&mut Admin::connect(server), is_signed);
            }
        }
    }
    let longest = |times: &[f64]| times.iter().copied().fold(0.0, f64::max);
    let [with_longest, without_longest] = [longest(&times[0]), longest(&times[1])];
    let [with, without] = times.map(median);
    report.row(
        format!("rspm sync of CRAN with one new package, {SYNCS} times, with a log, p50 / longest"),
        format!("{:.0} / {:.0} ms", 1e3 * with, 1e3 * with_longest),
        format!("without {:.0} / {:.0} ms", 1e3 * without, 1e3 * without_longest),
        format!("{:.2} / {:.2}", with / without, with_longest / without_longest),
        "≤ 1.05 / ≤ 1.10",
    );
    let [with, without] = cpu_times.map(median);
    report.row(
        "the same with the writing of the log, CPU time of the server, p50",
        format!("{:.0} ms", 1e3 * with),
        format!("without {:.0} ms", 1e3 * without),
        format!("{:.2}", with / without),
        "",
    );
}

/// The time from the answer to a publish until it is in a signed checkpoint.
fn sign_publishes(report: &mut Report, server: &Server) {
    let mut admin = Admin::connect(server);
    let (mut add_times, mut times) = (vec![], vec![]);
    for number in 0..SIGNED_PUBLISHES {
        add_times.push(seconds(|| add(server, &mut admin, &format!("signed{number}"))));
        times.push(seconds(|| drop(wait_for(&mut admin, is_signed))));
    }
    let ((add_time, add_p99), (time, p99)) = (percentiles(add_times), percentiles(times));
    report.row(
        format!("publish until it is in a signed checkpoint, {SIGNED_PUBLISHES} publishes, p50 / p99"),
        format!("{:.1} / {:.1} ms", 1e3 * time, 1e3 * p99),
        format!("publish {:.1} / {:.1} ms", 1e3 * add_time, 1e3 * add_p99),
        format!("{:.2}", time / add_time),
        "p99 ≤ 2 s",
    );
}

/// Starts a server that cosigns the log of another one; returns its name and the server.
fn witness(of: &Server, name: &'static str) -> (&'static str, Server) {
    let key = status(&mut Admin::connect(of))["key"].as_str().expect("a key").to_owned();
    let server = start(&format!("[History]\nWitnessFor = {key}\n"));
    begin(&server, name);
    let line =
        format!("[History]\nWitness = {name} {} {}\n", witness_key(&server), server.url("/__log__/witness"));
    let file = OpenOptions::new().append(true).open(of.path().join("rstudio-pm.gcfg"));
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("written");
    of.rspm(&["hup"]);
    (name, server)
}

pub(crate) fn witness_key(server: &Server) -> String {
    status(&mut Admin::connect(server))["witness_key"].as_str().expect("a key").to_owned()
}

/// The time from the answer to a publish until a checkpoint with it, and with two cosignatures, is published.
fn cosign_publishes(report: &mut Report, server: &Server) {
    let mut admin = Admin::connect(server);
    // A new checkpoint is cosigned sooner than one that a new witness does not know.
    add(server, &mut admin, "first");
    wait_for(&mut admin, is_cosigned);
    let (mut waiting, mut times) = (Vec::<(u64, Instant)>::new(), vec![]);
    let (mut cosigned_answers, mut answers) = (0, 0);
    for number in 0..COSIGNED_PUBLISHES {
        add(server, &mut admin, &format!("cosigned{number}"));
        let start = Instant::now();
        let size = wait_for(&mut admin, is_signed)["signed"].as_u64().expect("a number");
        waiting.push((size, start));
        let is_last = number + 1 == COSIGNED_PUBLISHES;
        while start.elapsed() < PUBLISH_INTERVAL || is_last && !waiting.is_empty() {
            let status = status(&mut admin);
            answers += 1;
            if has_cosignatures(&status, 2) {
                cosigned_answers += 1;
                let cosigned = status["signed"].as_u64().expect("a number");
                let done = waiting.extract_if(.., |(size, _)| *size <= cosigned);
                times.extend(done.map(|(_, start)| start.elapsed().as_secs_f64()));
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }
    let (time, p99) = percentiles(times);
    report.row(
        format!("the same with two witnesses, {COSIGNED_PUBLISHES} publishes at any time, p50 / p99"),
        format!("{time:.2} / {p99:.2} s"),
        "each witness is asked every 5 s",
        "",
        "p99 ≤ 5 s",
    );
    report.row(
        format!(
            "share of answers whose checkpoint has both cosignatures, a publish every {PUBLISH_INTERVAL:?}"
        ),
        format!("{:.0} %", 100.0 * f64::from(cosigned_answers) / f64::from(answers)),
        "",
        "",
        "",
    );
}
