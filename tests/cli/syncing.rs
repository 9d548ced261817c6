//! `rspm sync` twice at once, and against mirrors that cannot be used.

use std::process::Stdio;

use super::timeless;
use crate::support::nginx::Nginx;
use crate::support::rspm::Ran;
use crate::support::server::Builder;

#[test]
fn a_second_sync_follows_the_first() {
    let mirror = crate::support::data::path("cran-mirror");
    // Slow enough that the two overlap.
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
    let ends: Vec<Ran> =
        [spawn(), spawn()].map(|child| child.wait_with_output().expect("our own child").into()).into();
    for ran in &ends {
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert_eq!(ran.err, "A sync of CRAN is under way already; following it.\n");
        assert!(ran.out.contains("61 packages added"), "{}", ran.out);
    }
    assert_eq!(ends[0].out, ends[1].out);
    let rows = server.get("/__api__/sources/1/transactions").json();
    let rows = rows.as_array().cloned().unwrap_or_default();
    assert_eq!(rows.len(), 1, "one transaction: {rows:?}");
}

#[test]
fn a_mirror_that_is_none_is_refused_with_what_was_looked_for() {
    let server = Builder::default().start();
    let said = server.refused("sync");
    let path = server.dir().join("no-mirror");
    assert!(said.contains(&path.display().to_string()), "{said}");
    let page = Nginx::start("location / { default_type text/html; return 200 '<html>Welcome</html>'; }");
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", page.url())).start();
    let said = server.refused("sync");
    assert!(said.contains("PACKAGES"), "{said}");
    assert_eq!(
        timeless(&server.told("list sources --type=cran")),
        "Name  Type  Packages  Last change\ncran  CRAN  0\n"
    );
    let gone = Nginx::start("location / { return 404; }");
    let url = gone.url();
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {url}")).start();
    let said = server.refused("sync");
    assert!(said.contains(&url), "{said}");
    let ran = server.rspm("sync -o json");
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "a failed sync fails the command");
}
