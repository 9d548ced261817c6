//! Packages that block rules forbid.

use super::{listed, start};
use crate::support::fixtures::until;
use crate::support::today::stable_today;

#[test]
fn a_blocked_package_is_marked_in_the_plan_and_refused_at_the_commit() {
    let curated = start();
    let server = &curated.server;
    server
        .rspm_stdout("create blocklist-rule --package-name=lib --version=2.0 --repo=prod --description=ask");
    let reason = "blocked in 'prod' by rule 1 (ask; versions 2.0)";
    let csv = server.dir().join("plan.csv");
    let flags = format!("--snapshot=2025-10-14 --csv-out={}", csv.display());
    let problem = format!(
        "Error: lib 2.0 is {reason}; no client could download it: select another version, or create an exception\n"
    );
    let plan = curated.update("app\n", &flags);
    assert_eq!(
        (plan.code, plan.err),
        (1, format!("{problem}The plan cannot be committed.\n")),
        "{}",
        plan.out
    );
    assert!(plan.out.contains(&format!("\nlib 2.0 is {reason}\n4 added")), "{}", plan.out);
    assert!(!plan.out.contains("--snapshot="), "no flags of a commit: {}", plan.out);
    let text = std::fs::read_to_string(&csv).expect("a plan");
    assert!(text.lines().any(|line| line.starts_with("lib,2.0,") && line.ends_with(reason)), "{text}");
    let json = curated.update("app\n", &format!("{flags} -o json"));
    let json: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(json["packages"][2]["release"]["blocked"], reason, "{json}");

    let commit = curated.update("app\n", "--snapshot=2025-10-14 --commit");
    assert_eq!((commit.code, commit.err), (1, format!("{problem}Nothing was changed.\n")));
    assert_eq!(curated.listed("latest"), [""; 0]);
    // Another version, or an exception.
    curated.commit("app\nlib !=2.0\n", "2025-10-14");
    assert_eq!(curated.listed("latest"), ["app 2.0", "hdr 1.0", "lib 1.5", "util 1.0"]);
    server.rspm_stdout("create blocklist-rule --package-name=lib --repo=prod --exception --priority=1");
    curated.commit("app\n", "2025-10-14");
    assert_eq!(curated.listed("latest"), ["app 2.0", "hdr 1.0", "lib 2.0", "util 1.0"]);
}

#[test]
fn a_rule_of_another_repository_does_not_matter_and_a_later_rule_applies() {
    let curated = start();
    let server = &curated.server;
    server.rspm_stdout("create repo --name=strict");
    server.rspm_stdout("create blocklist-rule --package-name=util --repo=strict");
    curated.commit("app\n", "2025-10-14");
    server.rspm_stdout("subscribe --repo=strict --source=subset");
    assert_eq!(listed(server, "/strict/latest"), ["app 2.0", "hdr 1.0", "lib 2.0"]);
    assert_eq!(server.get("/strict/latest/src/contrib/util_1.0.tar.gz").status, 403);
    assert_eq!(server.get("/prod/latest/src/contrib/util_1.0.tar.gz").status, 200);
    let refused = curated.update("app\nother\n", "--snapshot=2025-10-14 --commit");
    assert!(
        refused.code == 1 && refused.err.contains("util 1.0 is blocked in 'strict' by rule 1"),
        "{refused:?}"
    );
    // Versions that CRAN has and the definition does not select never replace a blocked one.
    server.rspm_stdout("create blocklist-rule --package-name=lib --version=2.0 --repo=prod");
    let served = curated.listed("latest");
    assert!(!served.contains(&"lib 2.0".to_owned()), "{served:?}");
    assert_eq!(server.get("/prod/latest/src/contrib/lib_2.0.tar.gz").status, 403);
}

#[test]
fn a_package_that_is_blocked_later_does_not_prevent_the_removal_of_another_one() {
    let curated = start();
    let server = &curated.server;
    curated.commit("app\nother\nring1\n", "2025-10-14");
    server.rspm_stdout("create blocklist-rule --package-name=util --repo=prod --description=ask");
    assert_eq!(
        server.rspm_stdout("remove package --source=subset --name=ring1@all"),
        "Removed ring1 1.0, ring2 1.0 from source 'subset'.\n"
    );
    assert_eq!(curated.listed("latest"), ["app 2.0", "hdr 1.0", "lib 2.0", "other 2.0"]);
    // A removal that selects a blocked version instead is refused.
    server.rspm_stdout("remove package --source=subset --name=other@all");
    server.rspm_stdout("delete blocklist-rule --id=1");
    curated.commit("app\nlib !=2.0\n", "2025-10-14");
    server.rspm_stdout("create blocklist-rule --package-name=lib --version=2.0 --repo=prod");
    let refused = server.refused("remove package --source=subset --name=lib@all");
    assert!(refused.contains("lib 2.0 is blocked in 'prod' by rule 2"), "{refused}");
}

#[test]
fn a_package_that_a_name_guard_hides_is_marked_in_the_plan_and_refused_at_the_commit() {
    let curated = start();
    let server = &curated.server;
    server.rspm_stdout("create source --name=team --type=local");
    server.rspm_stdout("create name-guard --name=lib --source=team");
    let reason = "hidden by name guard 1: only another source may provide the name";
    let problem = format!(
        "Error: lib 2.0 is {reason}; no client could download it: remove it from the definition, or change the guard \
         (rspm list name-guards shows all)\n"
    );
    let plan = curated.update("app\n", "--snapshot=2025-10-14");
    assert_eq!(
        (plan.code, plan.err),
        (1, format!("{problem}The plan cannot be committed.\n")),
        "{}",
        plan.out
    );
    assert!(plan.out.contains(&format!("\nlib 2.0 is {reason}\n4 added")), "{}", plan.out);
    let commit = curated.update("app\n", "--snapshot=2025-10-14 --commit");
    assert_eq!((commit.code, commit.err), (1, format!("{problem}Nothing was changed.\n")));
    assert_eq!(curated.listed("latest"), [""; 0]);
    server.rspm_stdout("delete name-guard --id=1");
    curated.commit("app\n", "2025-10-14");
    assert_eq!(curated.listed("latest"), ["app 2.0", "hdr 1.0", "lib 2.0", "util 1.0"]);
}

#[test]
fn a_rule_for_cran_reaches_packages_that_come_from_cran_through_curated_sources_and_snapshots() {
    let curated = start();
    let server = &curated.server;
    server.rspm_stdout("create source --name=pinned --type=cran-snapshot --snapshot=2025-10-14");
    server.rspm_stdout("create repo --name=snap");
    server.rspm_stdout("subscribe --repo=snap --source=pinned");
    let whole = listed(server, "/snap/latest");
    let created = server.rspm_stdout(
        "create blocklist-rule --package-name=lib --version=>=2.0 --source=cran --description=ask",
    );
    assert!(created.contains("in snap: lib 2.0"), "{created}");
    let reason = "rule 1 (ask; versions >=2.0)";

    // The plan of a source without a commit, its commit, and a rule that is created after a commit.
    let plan = curated.update("app\n", "--snapshot=2025-10-14");
    assert!(plan.out.contains(&format!("\nlib 2.0 is blocked in 'prod' by {reason}\n")), "{plan:?}");
    let commit = curated.update("app\n", "--snapshot=2025-10-14 --commit");
    assert!(commit.code == 1 && commit.err.contains("lib 2.0 is blocked in 'prod'"), "{commit:?}");
    server.rspm_stdout("delete blocklist-rule --id=1");
    curated.commit("app\n", "2025-10-14");
    let created = server.rspm_stdout(
        "create blocklist-rule --package-name=lib --version=>=2.0 --source=cran --description=ask",
    );
    for line in ["in prod: lib 2.0", "in snap: lib 2.0"] {
        assert!(created.contains(line), "{line}: {created}");
    }
    let reason = "rule 2 (ask; versions >=2.0)";
    assert_eq!(curated.listed("latest"), ["app 2.0", "hdr 1.0", "util 1.0"]);
    let expected: Vec<String> = whole.iter().map(|line| line.replace("lib 2.0", "lib 1.5")).collect();
    assert_eq!(listed(server, "/snap/latest"), expected, "the snapshot lists lib 1.5 instead");
    for snapshot in ["latest", &stable_today().to_string()] {
        for repo in ["prod", "snap"] {
            for file in ["lib_2.0.tar.gz", "Archive/lib/lib_2.0.tar.gz"] {
                let answer = server.get(&format!("/{repo}/{snapshot}/src/contrib/{file}"));
                assert_eq!(
                    (answer.status, answer.header("x-pm-reason")),
                    (403, Some(reason)),
                    "{repo}: {file}"
                );
            }
        }
    }
    assert_eq!(server.get("/snap/latest/src/contrib/lib_1.5.tar.gz").status, 200);
    for repo in ["prod", "snap"] {
        let explained = server.rspm_stdout(&format!("explain {repo} lib --version=2.0"));
        assert!(explained.contains("403: lib 2.0 is blocked") && explained.contains(reason), "{explained}");
        let page = server.get(&format!("/{repo}/latest/web/packages/lib/?version=2.0")).text();
        assert!(page.contains("This version is blocked in this repository by rule 2"), "{page}");
        let tested =
            server.rspm(&format!("test blocklist-rules --repo={repo} --package-name=lib --version=2.0"));
        assert!(tested.code == 1 && tested.out.contains("lib 2.0 is blocked"), "{tested:?}");
    }
    until("refused requests are counted", || {
        let report = server.json("list blocked");
        report["requests"].as_array().expect("rows").iter().any(|row| row["rule"] == 2 && row["count"] == 8)
    });

    // A rule for the curated source does not reach the others; an exception for CRAN reaches it.
    server.rspm_stdout("edit blocklist-rule --id=2 --source=subset");
    assert_eq!(curated.listed("latest"), ["app 2.0", "hdr 1.0", "util 1.0"]);
    assert_eq!(listed(server, "/snap/latest"), whole);
    server.rspm_stdout("create blocklist-rule --package-name=lib --source=cran --exception");
    assert_eq!(curated.listed("latest"), ["app 2.0", "hdr 1.0", "lib 2.0", "util 1.0"]);
    server.rspm_stdout("delete blocklist-rule --id=all");

    // A rule reaches a dated snapshot also after its curated source was deleted.
    let url = server.rspm("url create --repo=prod --lock").out;
    let frozen = url.trim().split_at(url.find("/prod/").expect("a path")).1.to_owned();
    server.rspm_stdout("unsubscribe --repo=prod --source=subset");
    server.rspm_stdout("delete source --name=subset --with-packages");
    assert_eq!(listed(server, &frozen), ["app 2.0", "hdr 1.0", "lib 2.0", "util 1.0"]);
    server.rspm_stdout("create blocklist-rule --package-name=lib --source=cran");
    assert_eq!(listed(server, &frozen), ["app 2.0", "hdr 1.0", "util 1.0"]);
    assert_eq!(server.get(&format!("{frozen}/src/contrib/lib_2.0.tar.gz")).status, 403);
}
