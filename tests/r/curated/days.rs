//! Plans for a day that is not over, and for a server that is killed between plan and commit.

use super::{Curated, cran, package, start, transaction};
use crate::support::today::stable_today;

/// Publishes lib 3.0 and fresh 1.0 on the mirror, removes hdr from it, and syncs.
fn change_cran(curated: &Curated) {
    let mut cran = cran();
    cran.publish(9, &package("lib", "3.0").field("Imports: fresh"));
    cran.publish(9, &package("fresh", "1.0"));
    cran.publish(9, &package("util", "1.1"));
    cran.serve(&curated.web);
    curated.server.rspm_stdout("sync");
}

/// The refusal of a commit whose plan selected from the state of the transaction `exact`.
fn difference(exact: &str) -> String {
    format!(
        "Error: CRAN has changed since the plan: fresh 1.0 is new; lib is 3.0, and was 2.0 in the plan; util is 1.1, and was \
         1.0 in the plan; plan again, or commit the planned state with --snapshot={exact}\n"
    )
}

/// The transaction in the notice of a plan for a day that is not over.
fn exact_transaction(notice: &str) -> String {
    let (_, exact) = notice.trim_end().split_once("; --snapshot=").expect("the transaction");
    exact.strip_suffix(" names exactly the planned state").expect("the transaction").to_owned()
}

#[test]
fn a_commit_for_today_that_would_differ_from_its_plan_is_refused_with_the_difference() {
    let curated = start();
    let today = stable_today();
    let synced = curated.server.json("info --source=cran")["last_transaction"]["id"].clone();
    let plan = curated.update("app\n", "");
    assert!(plan.out.ends_with(&format!("with the --commit and --snapshot={today} flags.\n")), "{plan:?}");
    let notice = plan.err.trim_end();
    let start_of_notice =
        format!("{today} is not over: a sync before the commit may change what is selected");
    assert!(notice.starts_with(&start_of_notice), "{notice}");
    let exact = exact_transaction(notice);
    assert!(exact.parse::<u64>().is_ok(), "{exact}; cran: {synced}");

    change_cran(&curated);
    let commit = format!("--snapshot={today} --commit");
    let refused = curated.update("app\n", &commit);
    assert_eq!((refused.code, refused.out.as_str(), refused.err), (1, "", difference(&exact)));
    assert_eq!(curated.listed("latest"), [""; 0]);
    // The same definition with other flags was not planned: nothing to compare with.
    let other = curated.update("app\n", &format!("{commit} --include=none"));
    assert_eq!(other.code, 0, "{other:?}");
    assert_eq!(curated.listed("latest"), ["app 2.0"]);
    let planned =
        curated.update("app\n", &format!("--snapshot={exact} --commit --include=imports,depends,linking-to"));
    assert_eq!((planned.code, planned.err.as_str()), (0, ""), "{}", planned.out);
    assert_eq!(curated.listed("latest"), ["app 2.0", "hdr 1.0", "lib 2.0", "util 1.0"]);

    let plan = curated.update("app\n", &format!("--snapshot={today}"));
    assert!(plan.out.contains("1 added, 2 updated, 0 downgraded, 0 removed, 2 kept"), "{plan:?}");
    assert_eq!(curated.update("app\n", &commit).code, 0);
    assert_eq!(curated.listed("latest"), ["app 2.0", "fresh 1.0", "hdr 1.0", "lib 3.0", "util 1.1"]);
}

#[test]
fn a_transaction_id_commits_the_state_of_that_transaction() {
    let curated = start();
    let exact = exact_transaction(&curated.update("app\n", "").err);
    change_cran(&curated);
    let commit = curated.update("app\n", &format!("--transaction-id={exact}"));
    assert_eq!((commit.code, commit.err.as_str()), (0, ""), "{}", commit.out);
    let first = transaction(&commit.out);
    let old = ["app 2.0", "hdr 1.0", "lib 2.0", "util 1.0"];
    assert_eq!(curated.listed("latest"), old);
    let info = curated.server.json("info --source=subset");
    assert_eq!(info["definition"]["snapshot"], exact.as_str(), "{info}");

    let add = |flags: &str| curated.server.rspm(&format!("add --source=subset --packages=other {flags}"));
    let commit = add(&format!("--transaction-id={exact}"));
    assert_eq!((commit.code, commit.err.as_str()), (0, ""), "{}", commit.out);
    let both = ["app 2.0", "hdr 1.0", "lib 2.0", "other 2.0", "util 1.0"];
    assert_eq!(curated.listed("latest"), both);
    assert_eq!(curated.listed(first), old, "the state of the first commit stays");

    for flags in ["--commit --snapshot=2025-10-14", "--snapshot=2025-10-14", "--commit", "--dry-run"] {
        let output = add(&format!("--transaction-id={exact} {flags}"));
        assert!(output.code == 2 && output.err.contains("--transaction-id"), "{flags}: {output:?}");
    }
    let unknown = add("--transaction-id=99999");
    assert_eq!((unknown.code, unknown.out.as_str()), (1, ""), "{unknown:?}");
    assert!(unknown.err.contains("there is no transaction 99999"), "{unknown:?}");
    assert_eq!(add("--transaction-id=2025-10-14").code, 2, "a day is no transaction");
    assert_eq!(curated.listed("latest"), both);
}

#[test]
fn a_sync_that_changes_no_selected_package_does_not_refuse_the_commit() {
    let curated = start();
    let today = stable_today();
    assert_eq!(curated.update("other\n", "").code, 0);
    change_cran(&curated);
    assert_eq!(curated.update("other\n", &format!("--snapshot={today} --commit")).code, 0);
    assert_eq!(curated.listed("latest"), ["other 2.0"]);
}

#[test]
fn a_server_killed_between_plan_and_commit_loses_neither_the_plan_nor_the_source() {
    let mut curated = start();
    let today = stable_today();
    let first = curated.commit("other\n", "2025-10-12");
    let open = curated.update("app\n", "");
    assert_eq!(open.code, 0, "{open:?}");
    let closed = curated.update("app\n", "--snapshot=2025-10-12");
    curated.server.kill();
    curated.server.launch();

    assert_eq!(curated.listed("latest"), ["other 1.0"]);
    assert_eq!(curated.update("app\n", "--snapshot=2025-10-12").out, closed.out);
    change_cran(&curated);
    let refused = curated.update("app\n", &format!("--snapshot={today} --commit"));
    assert_eq!(
        (refused.code, refused.err),
        (1, difference(&exact_transaction(&open.err))),
        "{}",
        refused.out
    );
    let commit = curated.update("app\n", "--snapshot=2025-10-12 --commit");
    assert_eq!((commit.code, commit.err.as_str()), (0, ""), "{}", commit.out);
    let second = transaction(&commit.out);
    curated.server.kill();
    curated.server.launch();
    let app = ["app 1.0", "hdr 1.0", "lib 1.5", "util 1.0"];
    assert_eq!(curated.listed("latest"), app);
    assert_eq!(curated.listed(second), app);
    assert_eq!(curated.listed(first), ["other 1.0"]);
}
