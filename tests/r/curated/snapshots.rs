//! Sources of type cran-snapshot, and how clients and the API see sources with a state of CRAN.

use super::{Curated, listed, start, transaction};
use crate::support::server::Server;
use crate::support::today::stable_today;

#[test]
fn sources_are_created_with_a_day_a_transaction_or_the_newest_state() {
    let Curated { web: _web, server } = start();
    let create = |flags: &str| server.rspm_stdout(&format!("create source {flags}"));
    assert_eq!(
        create("--name=a --type=curated-cran --snapshot=2025-10-12"),
        "Source 'a':\n  Type:  Curated CRAN - 2025-10-12\n"
    );
    assert_eq!(
        create("--name=b --type=cran-snapshot --snapshot=2025-10-12"),
        "Source 'b':\n  Type:  CRAN Snapshot - 2025-10-12\n"
    );
    assert_eq!(
        create("--name=c --type=cran-snapshot --snapshot=2"),
        "Source 'c':\n  Type:  CRAN Snapshot - 2\n"
    );
    let newest = server.json("info --source=subset")["definition"]["snapshot"].clone();
    let newest = newest.as_str().expect("a day");
    assert_eq!(
        create("--name=d --type=cran-snapshot"),
        format!("Source 'd':\n  Type:  CRAN Snapshot - {newest}\n")
    );
    // An existing source keeps its state.
    assert_eq!(
        create("--name=b --type=cran-snapshot --snapshot=2025-10-10 --succeed-on-existing"),
        "Source 'b':\n  Type:  CRAN Snapshot - 2025-10-12\n"
    );
    let info = server.rspm_stdout("info --source=b");
    assert!(
        info.contains("Selected from:     snapshot 2025-10-12, CRAN as of 2025-10-11 23:59:59 UTC\n"),
        "{info}"
    );
    assert!(!info.contains("Definition"), "{info}");
    let types = server.rspm_stdout("list sources --type=cran-snapshot");
    assert!(types.contains("CRAN Snapshot - 2025-10-12") && !types.contains("Curated"), "{types}");
    // The state with which a source was created is that of its first plan.
    let plan = server.rspm_stdout("add --source=a --packages=lib");
    assert!(plan.contains("lib   1.5") && plan.ends_with("--snapshot=2025-10-12 flags.\n"), "{plan}");
    for (flags, reason) in [
        (
            "--type=cran-snapshot --snapshot=2025-10-01",
            "this server has no state of CRAN at --snapshot=2025-10-01; the first one is 2025-10-09",
        ),
        (
            "--type=cran-snapshot --include=all",
            "a source of type cran-snapshot selects no dependencies: --include is for sources of type curated-cran",
        ),
        (
            "--type=local --snapshot=2025-10-12",
            "a source of type local has no state of CRAN: --snapshot is for sources of type curated-cran and",
        ),
        ("--type=curated-cran --include=sugests", "'sugests' is not a kind of dependency"),
    ] {
        let refused = server.refused(&format!("create source --name=x {flags}"));
        assert!(refused.starts_with(reason), "{flags}: {refused}");
        assert!(server.refused("info --source=x").starts_with("there is no source 'x'"), "{flags}");
    }
}

#[test]
fn sources_before_the_first_sync_of_cran() {
    let server = Server::start();
    assert_eq!(
        server.rspm_stdout("create source --name=subset --type=curated-cran"),
        "Source 'subset':\n  Type:  Curated CRAN\n"
    );
    let reason = "CRAN, from which the source selects, was not synced yet; run: rspm sync --type=cran --wait";
    assert_eq!(server.refused("create source --name=pin --type=cran-snapshot"), reason);
    assert_eq!(server.refused("add --source=subset --packages=lib"), reason);
}

#[test]
fn a_snapshot_has_all_packages_of_its_day_and_is_moved_by_edit_and_update() {
    let Curated { web: _web, server } = start();
    server.rspm_stdout("create source --name=pin --type=cran-snapshot --snapshot=2025-10-10");
    server.rspm_stdout("create repo --name=pinned");
    server.rspm_stdout("subscribe --repo=pinned --source=pin");
    server.rspm_stdout("create repo --name=whole");
    server.rspm_stdout("subscribe --repo=whole --source=cran");
    let of_day = |day: &str| listed(&server, &format!("/whole/{day}"));
    let pinned = || listed(&server, "/pinned/latest");
    assert_eq!(pinned(), of_day("2025-10-10"));
    assert!(pinned().contains(&"app 1.0".to_owned()), "{:?}", pinned());
    let before = server.json("info --source=pin")["last_transaction"]["id"].clone();
    assert_eq!(
        server.rspm_stdout("edit source --name=pin --snapshot=2025-10-14"),
        "Source 'pin':\n  Type:  CRAN Snapshot - 2025-10-14\n"
    );
    assert_eq!(pinned(), of_day("2025-10-14"));
    assert_eq!(listed(&server, &format!("/pinned/{before}")), of_day("2025-10-10"));
    // Files of other days are not served, superseded ones are in the archive.
    let status = |path: &str| server.get(&format!("/pinned/latest/src/contrib/{path}")).status;
    assert_eq!(
        [status("lib_2.0.tar.gz"), status("Archive/lib/lib_1.5.tar.gz"), status("app_2.0.tar.gz")],
        [200; 3]
    );

    let update = |flags: &str| server.rspm_stdout(&format!("update --source=pin {flags}"));
    let state = "All packages of CRAN as of 2025-10-11 23:59:59 UTC\n";
    assert_eq!(
        update("--snapshot=2025-10-12"),
        format!(
            "{state}To complete this operation, execute this command with the --commit and --snapshot=2025-10-12 flags.\n"
        )
    );
    assert_eq!(pinned(), of_day("2025-10-14"));
    let commit = update("--snapshot=2025-10-12 --commit");
    assert_eq!(commit, format!("{state}Source 'pin' was updated in transaction {}.\n", transaction(&commit)));
    assert_eq!(pinned(), of_day("2025-10-12"));
    assert_eq!(status("lib_2.0.tar.gz"), 404, "not published yet");
    // Without a snapshot, a plan is about the newest state; a commit requires one.
    let current = pinned();
    let plan = server.rspm("update --source=pin");
    let today = stable_today();
    assert!(plan.out.ends_with(&format!("with the --commit and --snapshot={today} flags.\n")), "{plan:?}");
    assert!(plan.err.starts_with(&format!("{today} is not over: a sync before the commit")), "{plan:?}");
    assert_eq!((plan.code, pinned()), (0, current));
    assert_eq!(server.rspm("update --source=pin --commit").code, 2);
    server.rspm_stdout(&format!("update --source=pin --snapshot={today} --commit"));
    assert_eq!(pinned(), of_day("latest"));
    let file = server.dir().join("packages.txt");
    std::fs::write(&file, "app\n").expect("written");
    for (line, reason) in [
        (
            format!("update --source=pin --snapshot=2025-10-12 --file-in={}", file.display()),
            "the source 'pin' is a snapshot of CRAN: it has a state but no definition; name the state with --snapshot",
        ),
        (
            "update --source=pin --snapshot=2025-10-12 --include=all".to_owned(),
            "the source 'pin' is a snapshot of CRAN: it has a state but no definition; name the state with --snapshot",
        ),
        ("edit source --name=pin --snapshot=2999-01-01".to_owned(), "--snapshot=2999-01-01 is in the future"),
        (
            "edit source --name=pin --new-name=other --snapshot=2025-10-12".to_owned(),
            "set the new name and the snapshot in two requests",
        ),
    ] {
        let refused = server.refused(&line);
        assert!(refused.starts_with(reason), "{line}: {refused}");
    }
}

#[test]
fn a_source_with_a_definition_is_moved_by_update_not_by_edit() {
    let curated = start();
    let edited = curated.server.rspm_stdout("edit source --name=subset --snapshot=2025-10-12");
    assert_eq!(edited, "Source 'subset':\n  Type:  Curated CRAN - 2025-10-12\n");
    curated.commit("app\n", "2025-10-12");
    assert_eq!(
        curated.server.refused("edit source --name=subset --snapshot=2025-10-14"),
        "the source 'subset' has a definition: plan its packages at another snapshot with: rspm update --source=subset \
         --snapshot=2025-10-14"
    );
}

#[test]
fn api_pages_and_history_show_only_what_the_definition_selects() {
    let curated = start();
    let server = &curated.server;
    let first = curated.commit("app\n", "2025-10-12");
    curated.commit("app\nother\n", "2025-10-14");
    let names = |json: serde_json::Value| -> Vec<String> {
        let packages = json.as_array().expect("a list").clone();
        packages.iter().map(|package| package["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(
        names(server.get("/__api__/repos/prod/packages").json()),
        ["app", "hdr", "lib", "other", "util"]
    );
    let lib = server.get("/__api__/repos/prod/packages/lib").json();
    assert_eq!((&lib["version"], &lib["source"]), (&"2.0".into(), &"subset".into()));
    assert_eq!(server.get("/__api__/repos/prod/packages/ring1").status, 404);
    let changes = server.get(&format!("/__api__/repos/prod/diff?from={first}&to=latest")).json();
    let changes: Vec<String> = changes
        .as_array()
        .expect("changes")
        .iter()
        .map(|change| {
            format!(
                "{} {}",
                change["name"].as_str().expect("a name"),
                change["kind"].as_str().expect("a kind")
            )
        })
        .collect();
    assert_eq!(changes, ["app updated", "lib updated", "other added"]);

    let status = |path: &str| server.get(&format!("/prod/{path}")).status;
    for name in ["app", "lib", "other"] {
        assert_eq!(status(&format!("latest/web/packages/{name}/")), 200, "{name}");
    }
    assert_eq!(status("latest/web/packages/ring1/"), 404);
    assert_eq!(status(&format!("{first}/web/packages/other/")), 404);
    for (file, expected) in [
        ("app_2.0.tar.gz", 200),
        ("lib_2.0.tar.gz", 200),
        ("ring1_1.0.tar.gz", 404),
        ("Archive/ring1/ring1_1.0.tar.gz", 404),
        ("app_1.0.tar.gz", 404),
    ] {
        assert_eq!(status(&format!("latest/src/contrib/{file}")), expected, "{file}");
    }
    assert_eq!(status(&format!("{first}/src/contrib/app_1.0.tar.gz")), 200);
    assert_eq!(status(&format!("{first}/src/contrib/lib_1.5.tar.gz")), 200);
    let explained = server.rspm_stdout("explain prod lib");
    assert!(explained.contains("subset: lists 2.0"), "{explained}");
    let listed = server.rspm_stdout("list packages --source=subset");
    assert!(listed.contains("5 of 5") && !listed.contains("ring1"), "{listed}");

    // CRAN behind it provides the other names; a name has one owner.
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    let all = curated.listed("latest");
    assert!(all.contains(&"ring1 1.0".to_owned()), "{all:?}");
    curated.commit("lib <2\n", "2025-10-14");
    assert!(curated.listed("latest").contains(&"lib 1.5".to_owned()));
    let audit = server.rspm_stdout("audit list");
    assert!(audit.contains("subset"), "{audit}");
}

#[test]
fn the_plan_of_a_promotion_names_the_transaction_of_a_snapshot_of_cran() {
    let Curated { web: _web, server } = start();
    server.rspm_stdout("create source --name=pin --type=cran-snapshot --snapshot=2025-10-10");
    server.rspm_stdout("create repo --name=stage");
    server.rspm_stdout("subscribe --repo=stage --source=pin");
    server.rspm_stdout("edit source --name=pin --snapshot=2025-10-14");
    let transaction = server.json("info --source=pin")["last_transaction"]["id"].as_i64().expect("a number");
    server.rspm_stdout("create repo --name=live --changes=promotion");
    let plan = server.rspm_stdout("promote --from=stage --to=live --plan");
    let row = format!("pin     not subscribed  1. transaction {transaction}, ");
    assert!(plan.contains(&row), "{row}:\n{plan}");
    assert!(plan.ends_with(&format!("--to=live --snapshot={transaction}\n")), "{plan}");
}

#[test]
fn the_history_of_a_package_has_the_states_of_a_snapshot_of_cran_and_follows_the_rules() {
    let Curated { web: _web, server } = start();
    server.rspm_stdout("create source --name=pinned --type=cran-snapshot --snapshot=2025-10-10");
    server.rspm_stdout("create repo --name=snap");
    server.rspm_stdout("subscribe --repo=snap --source=pinned");
    let history = || {
        let answer = server.get("/snap/latest/web/packages/lib/history/");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    };
    let html = history();
    assert!(html.contains(">1.0</td>") && html.contains("still listed"), "{html}");
    server.rspm_stdout("edit source --name=pinned --snapshot=2025-10-14");
    let html = history();
    assert!(html.contains(">2.0</td>") && html.contains(">1.0</td>"), "both states: {html}");
    assert!(!html.contains(">1.5</td>"), "it was between the two states: {html}");
    server.rspm_stdout("create blocklist-rule --package-name=lib --version=2.0");
    let html = history();
    assert!(html.contains(">1.5</td>") && !html.contains(">2.0</td>"), "the replacement: {html}");
    assert!(html.contains("2.0 by rule 1"), "{html}");
    assert!(listed(&server, "/snap/latest").contains(&"lib 1.5".to_owned()), "as the index");
}
