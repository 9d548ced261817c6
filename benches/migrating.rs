//! The migration to the other database provider with all of CRAN, against copies by the databases' own programs.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::mirror::{Mirror, RELEASES};
use super::report::{Report, median};
use super::server::Server;

const ROUNDS: usize = 3;

pub(crate) fn run(report: &mut Report) {
    let mirror = Mirror::write();
    let server = Server::start(&format!("[CRAN]\nURL = {}", mirror.url()));
    server.rspm(&["sync", "--quiet"]);
    server.rspm(&["create", "repo", "--name=bench"]);
    server.rspm(&["subscribe", "--repo=bench", "--source=cran"]);
    let folder = server.folder();
    server.stop();
    let root = folder.path();
    let (mut to_postgres_times, mut to_sqlite_times, mut pg_dump_times, mut sqlite_dump_times) =
        (vec![], vec![], vec![], vec![]);
    let mut rows = 0;
    for round in 0..ROUNDS {
        let (postgres, copies) = (super::postgres::server(), root.join(format!("copy{round}")));
        let url = postgres.schema();
        let gcfg = |provider: &str, dir: &Path| {
            let file = root.join(format!("{provider}{round}.gcfg"));
            let base = std::fs::read_to_string(root.join("rstudio-pm.gcfg")).expect("the server's");
            let gcfg_lines = format!(
                "[Database]\nProvider = {provider}\n[SQLite]\nDir = {}\n[Postgres]\nURL = \"{url}\"\n",
                dir.display()
            );
            std::fs::write(&file, base + &gcfg_lines).expect("written");
            file
        };
        let result = migrate(&gcfg("sqlite", &root.join("data/db")));
        to_postgres_times.push(result["seconds"].as_f64().expect("a number"));
        rows =
            result["tables"].as_array().expect("a list").iter().filter_map(|row| row["rows"].as_u64()).sum();
        let (_, schema) = url.rsplit_once('=').expect("a schema");
        pg_dump_times.push(pg_dump(postgres, schema, round));
        let result = migrate(&gcfg("postgres", &copies));
        to_sqlite_times.push(result["seconds"].as_f64().expect("a number"));
        sqlite_dump_times
            .push(sqlite_dump(&root.join("data/db/rstudio-pm.db"), &root.join(format!("dump{round}.db"))));
        postgres.sql(&format!("DROP SCHEMA {schema} CASCADE"));
    }
    for (name, times, program_times, program) in [
        ("SQLite to PostgreSQL", to_postgres_times, pg_dump_times, "pg_dump | psql"),
        ("PostgreSQL to SQLite", to_sqlite_times, sqlite_dump_times, ".dump | sqlite3"),
    ] {
        let (time, program_time) = (median(times), median(program_times));
        report.row(
            format!("migrate {RELEASES} releases with history ({rows} rows), {name}"),
            format!("{time:.2} s"),
            format!("{program} {program_time:.2} s"),
            format!("{:.2}", time / program_time),
            "≤ 10 s",
        );
        report.row(
            format!("rows per second, {name}"),
            format!("{:.0}/s", rows as f64 / time),
            format!("{program} {:.0}/s", rows as f64 / program_time),
            format!("{:.2}", program_time / time),
            "≥ 100,000/s",
        );
    }
}

/// Runs `migrate`; returns its JSON result.
fn migrate(gcfg: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_migrate"))
        .args(["-o", "json", "--config"])
        .arg(gcfg)
        .output()
        .expect("migrate runs");
    assert!(output.status.success(), "migrate: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Copies a schema to another database of the same server, in one transaction; returns the seconds.
fn pg_dump(server: &super::postgres::Server, schema: &str, round: usize) -> f64 {
    let database = format!("bench_{}_{round}", std::process::id());
    server.sql(&format!("CREATE DATABASE {database} TEMPLATE template0"));
    let connection = |program: &str| {
        let mut command = Command::new(program);
        command.arg("-h").arg(&server.socket).args(["-p", &server.port.to_string(), "-U", "postgres"]);
        command
    };
    let mut dump = connection("pg_dump");
    let start = Instant::now();
    let mut load = connection("psql");
    pipe(
        dump.args(["-n", schema, "postgres"]),
        load.args(["-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", &database]),
    );
    let seconds = start.elapsed().as_secs_f64();
    server.sql(&format!("DROP DATABASE {database}"));
    seconds
}

/// Copies a file of SQLite through its text form; returns the seconds.
fn sqlite_dump(from: &Path, to: &Path) -> f64 {
    let start = Instant::now();
    pipe(Command::new("sqlite3").arg(from).arg(".dump"), Command::new("sqlite3").arg(to));
    let seconds = start.elapsed().as_secs_f64();
    std::fs::remove_file(to).expect("just written");
    seconds
}

/// Runs two programs, the output of the first one as the input of the second one.
fn pipe(from: &mut Command, to: &mut Command) {
    let mut writer = from.stdout(Stdio::piped()).spawn().unwrap_or_else(|e| panic!("{from:?}: {e}"));
    let output = writer.stdout.take().expect("piped");
    let status = to.stdin(output).stdout(Stdio::null()).status().unwrap_or_else(|e| panic!("{to:?}: {e}"));
    assert!(status.success() && writer.wait().expect("our child").success(), "{from:?} | {to:?}");
}
