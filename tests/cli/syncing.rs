//! `rspm sync`: two at once, and unusable mirrors.

use std::process::Stdio;

use super::timeless;
use crate::support::fixtures;
use crate::support::nginx::Nginx;
use crate::support::rspm::RspmOutput;
use crate::support::server::{Builder, Server};

#[test]
fn a_second_sync_follows_the_first() {
    let mirror = crate::support::data::path("cran-mirror");
    // The mirror is so slow that the two syncs overlap.
    let web = Nginx::start(&format!("root {}; limit_rate 4k; sendfile off;", mirror.display()));
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", web.url())).start();
    let first = server.json("sync --no-wait");
    assert_eq!((&first["status"], &first["attached"]), (&"running".into(), &false.into()), "{first}");
    let second = server.json("sync --no-wait");
    assert_eq!((&second["id"], &second["attached"]), (&first["id"], &true.into()), "the same job: {second}");
    let spawn = || {
        let mut command = server.rspm_command("sync");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("rspm runs")
    };
    let outputs: Vec<RspmOutput> =
        [spawn(), spawn()].map(|child| child.wait_with_output().expect("our own child").into()).into();
    for output in &outputs {
        assert_eq!(output.code, 0, "{}", output.err);
        assert_eq!(output.err, "A sync of CRAN is already running; following it.\n");
        assert!(output.out.contains(&crate::support::data::cran().added_message()), "{}", output.out);
    }
    assert_eq!(outputs[0].out, outputs[1].out);
    let rows = server.get("/__api__/sources/1/transactions").json();
    let rows = rows.as_array().cloned().unwrap_or_default();
    assert_eq!(rows.len(), 1, "one transaction: {rows:?}");
}

#[test]
fn status_shows_each_schedule_with_its_last_success_and_its_next_run() {
    let gcfg = "[CRAN]\nSyncSchedule = 30 4 * * *\n[Vulnerabilities]\nSyncSchedule = 0 0 30 2 *";
    let server = Builder::default().gcfg(gcfg).start();
    fixtures::create_mirror(&server.dir().join("no-mirror"));
    let rows = |server: &Server| -> Vec<String> {
        let text = timeless(&server.rspm_stdout("status"));
        let (_, table) = text.split_once("\n\n").expect("a table below the text");
        table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let rows_before_sync = [
        "Schedule When (UTC) Last success Next run",
        "cran 30 4 * * * never <time>",
        "bioconductor 0 2 * * * never none",
        "pypi 0 1 * * * never none",
        "sysreqs 0 1 * * * never <time>",
        // 30 February never occurs.
        "vulns 0 0 30 2 * never none",
    ];
    assert_eq!(rows(&server)[..6], rows_before_sync);
    assert!(rows(&server)[6].starts_with("usage data 15 0 * * * "), "{:?}", rows(&server));
    server.rspm_stdout("sync");
    server.rspm_stdout("create repo --name=bioc --type=bioconductor");
    let rows_after_sync = rows(&server);
    assert_eq!(
        rows_after_sync[1..3],
        ["cran 30 4 * * * <time> <time>", "bioconductor 0 2 * * * never <time>"]
    );
    let schedules = server.json("status")["schedules"].clone();
    assert_eq!((&schedules[0]["name"], &schedules[0]["cron"]), (&"cran".into(), &"30 4 * * *".into()));
    assert!(schedules[0]["next"].as_str().is_some_and(|next| next.ends_with("T04:30:00Z")), "{schedules}");
    server.rspm_stdout("offline");
    assert!(!server.rspm_stdout("status").contains("Schedule"), "nothing runs while the server is offline");
}

#[test]
fn a_sync_of_bioconductor_has_a_line_for_each_version() {
    let mirror = crate::support::data::path("bioc-mirror");
    let server =
        Builder::default().gcfg(&format!("[Bioconductor]\nURL = file://{}", mirror.display())).start();
    let message = server.rspm_stdout("sync --type=bioconductor");
    let lines: Vec<&str> = message.lines().collect();
    assert!(lines.len() >= 2, "{message}");
    for version in ["3.20", "3.16"] {
        let is_line_of_version =
            |line: &&&str| line.starts_with(&format!("Bioconductor {version} was synced (transaction "));
        assert_eq!(lines.iter().filter(is_line_of_version).count(), 1, "{message}");
        server.wait_for_log(&format!("Bioconductor {version} was synced"));
    }
}

#[test]
fn a_source_that_is_no_mirror_is_refused_with_the_files_expected() {
    let server = Builder::default().start();
    let message = server.refused("sync");
    let path = server.dir().join("no-mirror");
    assert!(message.contains(&path.display().to_string()), "{message}");
    let page = Nginx::start("location / { default_type text/html; return 200 '<html>Welcome</html>'; }");
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", page.url())).start();
    let message = server.refused("sync");
    assert!(message.contains("PACKAGES"), "{message}");
    assert_eq!(
        timeless(&server.rspm_stdout("list sources --type=cran")),
        "Name  Type  Packages  Last change\ncran  CRAN  0\n"
    );
    let empty = Nginx::start("location / { return 404; }");
    let url = empty.url();
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {url}")).start();
    let message = server.refused("sync");
    assert!(message.contains(&url), "{message}");
    let output = server.rspm("sync -o json");
    assert_eq!((output.code, output.out.as_str()), (1, ""), "a failed sync fails the command");
}
