//! Builds from git: which logs and rows are kept.

use rstudio_pm::db::git_build::{self, NewBuild};
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::recorded_words::BuildState;
use rstudio_pm::model::time::Timestamp;

use crate::support::db::TestDb;

both! {
    old_logs_are_removed_except_those_of_the_newest_builds
    a_newer_commit_supersedes_only_builds_that_were_not_requested
    a_build_that_waits_for_another_attempt_gives_way_to_a_newer_commit
    builds_that_wait_run_and_failed_lately_are_counted
}

fn build(commit: &str, state: BuildState) -> NewBuild<'_> {
    NewBuild { builder: 1, tag: "", commit, state, reason: "", replaces: false, actor: "schedule" }
}

fn old_logs_are_removed_except_those_of_the_newest_builds(db: &mut TestDb) {
    let log = |id: i64| Sha256([u8::try_from(id).unwrap(); 32]);
    db.write(move |c| {
        for (number, state) in [
            (1, BuildState::Published),
            (2, BuildState::Skipped),
            (3, BuildState::Failed),
            (4, BuildState::Published),
            (5, BuildState::Published),
        ] {
            let id = git_build::insert(c, &build(&format!("{number:040}"), state), Timestamp(number * 100))?;
            git_build::set_log(c, id, log(id), 7)?;
        }
        let tag = NewBuild { tag: "v1", ..build("tag", BuildState::Skipped) };
        git_build::insert(c, &tag, Timestamp(100))?;
        git_build::insert(c, &NewBuild { builder: 2, ..build("other", BuildState::Failed) }, Timestamp(100))
    });
    // The newest three of the builder are the tag, 5 and 4.
    assert_eq!(db.write(|c| git_build::remove_logs(c, Timestamp(450), 3)), 2);
    assert_eq!(db.write(|c| git_build::remove_logs(c, Timestamp(450), 3)), 0);
    let kept = db.read(|c| git_build::of_builder(c, 1));
    let kept: Vec<(i64, bool)> = kept.iter().map(|build| (build.id, build.log.is_some())).collect();
    assert_eq!(
        kept,
        [(6, false), (5, true), (4, true), (3, false), (1, false)],
        "rows remain, but a skipped commit"
    );
    let logs = db.read(git_build::logs);
    assert_eq!(logs.len(), 2);
}

fn a_newer_commit_supersedes_only_builds_that_were_not_requested(db: &mut TestDb) {
    let states = db.write(|c| {
        let now = Timestamp(1);
        git_build::insert(c, &build("published", BuildState::Published), now)?;
        for new in [
            build("waiting", BuildState::Queued),
            // Requested: the commit was built before, or the version is to be replaced.
            build("published", BuildState::Queued),
            NewBuild { replaces: true, ..build("other", BuildState::Queued) },
            // Requested: a commit that was never the newest.
            build("older", BuildState::Queued),
        ] {
            git_build::insert(c, &new, now)?;
        }
        git_build::supersede(c, 1, "waiting", now)?;
        git_build::of_builder(c, 1)
    });
    let states: Vec<_> = states.iter().map(|build| build.state).collect();
    let queued = BuildState::Queued;
    assert_eq!(states, [queued, queued, queued, BuildState::Skipped, BuildState::Published]);
}

fn a_build_that_waits_for_another_attempt_gives_way_to_a_newer_commit(db: &mut TestDb) {
    let (results, states) = db.write(|c| {
        let now = Timestamp(1);
        let older = git_build::insert(c, &build("older", BuildState::Queued), now)?;
        let alone = git_build::skip_superseded(c, older, now)?;
        let other = NewBuild { builder: 2, ..build("other", BuildState::Queued) };
        let tag = NewBuild { tag: "v1", ..build("tag", BuildState::Queued) };
        let (other, tag) = (git_build::insert(c, &other, now)?, git_build::insert(c, &tag, now)?);
        let requested = NewBuild { replaces: true, ..build("requested", BuildState::Queued) };
        let requested = git_build::insert(c, &requested, now)?;
        let newer = git_build::insert(c, &build("newer", BuildState::Published), now)?;
        let mut results = vec![alone];
        for id in [older, other, tag, requested, newer] {
            results.push(git_build::skip_superseded(c, id, now)?);
        }
        Ok((results, git_build::of_builder(c, 1)?))
    });
    assert_eq!(results, [false, true, false, false, false, false]);
    let states: Vec<_> = states.iter().map(|build| build.state).collect();
    let queued = BuildState::Queued;
    assert_eq!(states, [BuildState::Published, queued, queued, BuildState::Skipped]);
}

fn builds_that_wait_run_and_failed_lately_are_counted(db: &mut TestDb) {
    let count = |db: &TestDb| db.read(|c| git_build::counts(c, Timestamp(500)));
    assert_eq!(count(db), (0, 0, 0));
    db.write(|c| {
        for (commit, state, at) in [
            ("a", BuildState::Queued, 900),
            ("b", BuildState::Queued, 900),
            ("c", BuildState::Building, 900),
            ("d", BuildState::Failed, 100),
            ("e", BuildState::Failed, 500),
            ("f", BuildState::Published, 900),
        ] {
            git_build::insert(c, &build(commit, state), Timestamp(at))?;
        }
        Ok(())
    });
    assert_eq!(count(db), (2, 1, 1));
}
