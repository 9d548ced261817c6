//! Tags: which ones are built, and what happens to one that is moved.

use super::{builds, listed_version, repository, server, wait_for_build};

#[test]
fn all_existing_tags_are_built_on_request() {
    let server = server("PollInterval = 1h\nFirstTags = 1");
    let repository = repository("1.0");
    repository.git(&["tag", "v1.0"]);
    repository.package("", "1.1");
    repository.commit();
    repository.git(&["tag", "v1.1"]);
    let line = format!("create git-builder --source=dev --url={} --all-tags", repository.url());
    let refused = server.rspm(&line);
    assert!(refused.code == 1 && refused.err.contains("--build-trigger=tags"), "{}", refused.err);
    server.rspm_stdout(&format!("{line} --build-trigger=tags"));
    let states: Vec<_> = builds(&server).iter().map(|build| build["state"].to_string()).collect();
    assert_eq!(states, ["\"published\"", "\"published\""]);
    assert_eq!(server.get("/dev/latest/src/contrib/Archive/tested/tested_1.0.tar.gz").status, 200);
}

#[test]
fn new_tags_are_built_and_moved_ones_are_not() {
    let server = server("PollInterval = 1h\nFirstTags = 1");
    let repository = repository("1.0");
    repository.git(&["tag", "v1.0"]);
    repository.package("", "1.1");
    let second = repository.commit();
    repository.git(&["tag", "--annotate", "v1.1", "--message=x"]);
    repository.package("", "2.0");
    let third = repository.commit();

    let url = repository.url();
    server.rspm_stdout(&format!("create git-builder --source=dev --url={url} --build-trigger=tags"));
    assert_eq!(listed_version(&server).as_deref(), Some("1.1"), "not the branch");
    assert_eq!(wait_for_build(&server, "tag", "v1.1", "published")["commit"], second);
    let skipped = wait_for_build(&server, "tag", "v1.0", "skipped");
    assert!(skipped["reason"].as_str().unwrap().contains("Git.FirstTags"), "{skipped}");
    let rerun = server.rspm("rerun git-builder --source=dev --name=tested --tag=v1.0");
    assert_eq!(rerun.code, 0, "{}", rerun.err);
    assert_eq!(listed_version(&server).as_deref(), Some("1.1"), "the higher version stays");

    repository.git(&["tag", "v2.0"]);
    let run = server.rspm_stdout("run git-builder --source=dev --name=tested");
    assert!(run.starts_with("New tag v2.0\n"), "{run}");
    assert_eq!(listed_version(&server).as_deref(), Some("2.0"));
    let bytes = server.get("/dev/latest/src/contrib/tested_2.0.tar.gz").body;

    repository.write("R/f.R", "f <- function() 1 # poisoned\n");
    let moved = repository.commit();
    repository.git(&["tag", "--force", "v2.0"]);
    for message in ["Moved tags, which are not built again: v2.0\n", "Nothing new: 3 tags, all known.\n"] {
        assert_eq!(server.rspm_stdout("run git-builder --source=dev --name=tested"), message);
    }
    let build = wait_for_build(&server, "tag", "v2.0", "moved");
    assert_eq!(build["commit"], moved);
    assert!(build["reason"].as_str().unwrap().contains(&third[..7]), "{build}");
    assert_eq!(builds(&server).iter().filter(|build| build["state"] == "moved").count(), 1);
    assert_eq!(server.get("/dev/latest/src/contrib/tested_2.0.tar.gz").body, bytes);

    // The same version under another tag does not replace the published bytes.
    repository.git(&["tag", "release-2.0"]);
    let run = server.rspm("run git-builder --source=dev --name=tested");
    assert_eq!(run.code, 1, "{}", run.out);
    assert!(
        run.err.contains("tested 2.0 is in the source already, built from another commit"),
        "{}",
        run.err
    );
    assert_eq!(server.get("/dev/latest/src/contrib/tested_2.0.tar.gz").body, bytes);
    // A printed command quotes the name of the tag: its author cannot add a command for the administrator's shell.
    repository.git(&["tag", "v2.0;touch${IFS}x"]);
    server.rspm("run git-builder --source=dev --name=tested");
    let skipped = wait_for_build(&server, "tag", "v2.0;touch${IFS}x", "skipped");
    assert!(skipped["reason"].as_str().unwrap().ends_with("--tag='v2.0;touch${IFS}x'"), "{skipped}");
    let replaced = server.rspm("rerun git-builder --source=dev --name=tested --tag=v2.0 --replace");
    assert_eq!(replaced.code, 0, "{}", replaced.err);
    assert_ne!(server.get("/dev/latest/src/contrib/tested_2.0.tar.gz").body, bytes);
}

#[test]
fn a_second_tag_of_a_commit_is_reported_as_such() {
    let server = server("PollInterval = 1h");
    let repository = repository("1.0");
    repository.git(&["tag", "v1.0"]);
    let url = repository.url();
    server.rspm_stdout(&format!("create git-builder --source=dev --url={url} --build-trigger=tags"));
    let bytes = server.get("/dev/latest/src/contrib/tested_1.0.tar.gz").body;
    repository.git(&["tag", "release-1.0"]);
    let run = server.rspm("run git-builder --source=dev --name=tested");
    assert_eq!(run.code, 1, "{}", run.out);
    for part in [
        "tested 1.0 is in the source already, built from the same commit for the tag 'v1.0'",
        "--tag=release-1.0",
    ] {
        assert!(run.err.contains(part), "{part}: {}", run.err);
    }
    assert_eq!(server.get("/dev/latest/src/contrib/tested_1.0.tar.gz").body, bytes);
}

#[test]
fn only_tags_that_name_the_version_in_description_are_built() {
    let server = server("PollInterval = 1h");
    let repository = repository("1.2.0");
    let url = repository.url();
    for tag in ["v1.2.0-rc1", "nightly", "other-1.2.0", "v1.1"] {
        repository.git(&["tag", tag]);
    }
    repository.write("R/f.R", "f <- function() 1 # final\n");
    repository.commit();
    repository.git(&["tag", "v1.2-0"]);
    let created = server.rspm(&format!("create git-builder --source=dev --url={url} --build-trigger=tags"));
    assert_eq!(created.code, 0, "{} {}", created.out, created.err);
    wait_for_build(&server, "tag", "v1.2-0", "published");
    for (tag, reason) in [
        (
            "v1.2.0-rc1",
            "the tag does not name a version; to build it anyway: rspm rerun git-builder --tag=v1.2.0-rc1",
        ),
        ("nightly", "the tag does not name a version"),
        ("other-1.2.0", "the tag does not name a version"),
        ("v1.1", "the tag does not name the version in DESCRIPTION, 1.2.0"),
    ] {
        let build = wait_for_build(&server, "tag", tag, "skipped");
        assert!(build["reason"].as_str().unwrap().starts_with(reason), "{build}");
    }
    for (tag, version) in [("tested_v1.3", "1.3"), ("R/1.4", "1.4"), ("release-1.5", "1.5"), ("1.6", "1.6")] {
        repository.package("", version);
        repository.commit();
        repository.git(&["tag", tag]);
        server.rspm_stdout("run git-builder --source=dev --name=tested");
        assert_eq!(wait_for_build(&server, "tag", tag, "published")["version"], version);
    }
    // A tag that is moved often is recorded once.
    repository.git(&["tag", "--force", "nightly"]);
    server.rspm_stdout("run git-builder --source=dev --name=tested");
    assert_eq!(builds(&server).iter().filter(|build| build["tag"] == "nightly").count(), 1);
    repository.package("", "1.7");
    repository.commit();
    repository.git(&["tag", "--force", "nightly"]);
    let rerun = server.rspm("rerun git-builder --source=dev --name=tested --tag=nightly");
    assert_eq!(rerun.code, 0, "{} {}", rerun.out, rerun.err);
    assert_eq!(listed_version(&server).as_deref(), Some("1.7"), "an administrator requested it");
}
