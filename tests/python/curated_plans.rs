//! Plans of curated sources of PyPI for a day that is not over, and marks of files that rules block.

use super::curated::{file, start, update, wheel};
use super::index::names;
use super::package::write;
use crate::support::pypi::Pypi;
use crate::support::today::stable_today;

#[test]
fn a_commit_for_today_that_would_allow_other_files_than_its_plan_is_refused() {
    let pypi = Pypi::start();
    let mut server = start(&pypi);
    server.sync_of("pypi").expect("an index");
    let today = stable_today();
    let definition = write(&server, "requirements.txt", b"lib>=1.5\nodd<2\nother\n");
    let flags = format!("--file-in={}", definition.display());
    let plan = update(&server, &flags);
    assert_eq!(plan.code, 0, "{plan:?}");
    assert!(
        plan.err.contains(&format!("{today} is not over, or PyPI has not been synced since its end"))
            && plan.err.contains("a commit after another sync is refused if it would allow other files"),
        "{}",
        plan.err
    );

    let now = jiff::Timestamp::now().to_string();
    wheel(&pypi, "lib", "3.0", &now);
    wheel(&pypi, "odd", "3.0", &now);
    wheel(&pypi, "other", "2.0", &now);
    server.sync_of("pypi").expect("an index");
    server.kill();
    server.launch();
    let commit = format!("{flags} --snapshot={today} --commit");
    let refused = update(&server, &commit);
    assert_eq!(
        (refused.code, refused.err.as_str()),
        (
            1,
            "Error: PyPI has changed since the plan: lib is 3.0, planned was 2.0; plan again, or commit with \
             --snapshot=TRANSACTION, which always names the same state\n"
        ),
        "only a package of which other files would be allowed: {}",
        refused.out
    );
    assert!(server.json("info --source=subset")["definition"].is_null(), "nothing was published");

    let plan = update(&server, &format!("{flags} --snapshot={today}"));
    assert!(plan.code == 0 && plan.out.contains("3.0"), "{plan:?}");
    let committed = update(&server, &commit);
    assert_eq!(committed.code, 0, "{committed:?}");
    assert_eq!(names(&server, "latest", "lib"), [file("1.5", "lib"), file("2.0", "lib"), file("3.0", "lib")]);
    assert_eq!(names(&server, "latest", "odd"), [file("1.0", "odd"), file("1.5", "odd")]);
}

#[test]
fn a_plan_names_the_rules_that_block_files_and_a_package_without_any_other_file_is_refused() {
    let pypi = Pypi::start();
    let server = start(&pypi);
    server.sync_of("pypi").expect("an index");
    server.rspm_stdout("create blocklist-rule --package-name=lib --version=>=2 --description=broken");
    server.rspm_stdout("create blocklist-rule --package-name=odd --description=unwanted");
    let definition = write(&server, "requirements.txt", b"lib>=1.5\nodd<2\nother\n");
    let flags = format!("--file-in={} --snapshot=2022-01-01", definition.display());
    let plan = update(&server, &flags);
    let lib = "lib: 1 of its files are blocked in 'py' by rule 1 (broken; versions >=2)\n";
    let odd = "odd: 2 of its files are blocked in 'py' by rule 2 (unwanted)\n";
    assert!(plan.code == 0 && plan.out.contains(lib) && plan.out.contains(odd), "{plan:?}");
    let csv = server.dir().join("plan.csv");
    let commit = update(&server, &format!("{flags} --commit --csv-out={}", csv.display()));
    assert_eq!(
        (commit.code, commit.err.as_str()),
        (
            1,
            "Error: all 2 files of 'odd' are blocked in 'py' by rule 2 (unwanted); no client could download them: allow \
             other versions, or create an exception\n"
        ),
        "{}",
        commit.out
    );
    assert!(server.json("info --source=subset")["definition"].is_null(), "nothing was published");

    server.rspm_stdout("delete blocklist-rule --id=2");
    let committed = update(&server, &format!("{flags} --commit --csv-out={}", csv.display()));
    assert_eq!(committed.code, 0, "{committed:?}");
    let csv = std::fs::read_to_string(csv).expect("a plan");
    let row = "lib,>=1.5,2,2.0,added,1,blocked in 'py' by rule 1 (broken; versions >=2)\n";
    assert!(csv.contains(row) && csv.contains("odd,<2,2,1.5,added,,\n"), "{csv}");
    assert_eq!(names(&server, "latest", "lib"), [file("1.5", "lib")]);
}
