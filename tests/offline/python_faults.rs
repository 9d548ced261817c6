//! Damage of bundles of Python packages, interrupted downloads, and indexes with faults.

use std::collections::BTreeSet;

use super::mutations::{ALL, Random, mutate};
use super::python::{assert_complete, get_pypi, index, must_get_pypi, publish};
use crate::support::downloader::{copy_over, objects, tree, validate};
use crate::support::pypi::Pypi;
use crate::support::python::package::Package;

const THREADS: usize = 4;

#[test]
fn five_hundred_mutations_of_python_packages_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    let pypi = index();
    must_get_pypi(&pypi.url(), &bundle, "app\nodd-lib\nother\nbase\n", &[]);
    publish(&pypi, &Package::new("app", "2.0"), "2020-05-01T00:00:00Z");
    must_get_pypi(&pypi.url(), &bundle, "app\n", &[]);
    assert_complete(&bundle);
    // Hidden files of the downloader are not part of a bundle.
    let files: Vec<String> = tree(&bundle).into_keys().filter(|path| !path.contains("/.")).collect();
    assert!(files.len() > 12, "{files:?}");
    let run = |thread: usize| {
        let root = dir.path().join(format!("thread{thread}/bundle"));
        std::fs::create_dir_all(&root).unwrap();
        copy_over(&bundle, &root);
        let mut random = Random(20_261_120 + thread as u64);
        let mut undetected_mutations = Vec::new();
        for number in (0..500).filter(|number| number % THREADS == thread) {
            let mutation = ALL[number / THREADS % ALL.len()];
            let (affected_paths, restore) = mutate(&root, &files, mutation, &mut random);
            let (code, findings) = validate("pypi", &root, &["--packages"]);
            let reported: BTreeSet<&str> = findings.iter().map(|(_, file, _)| file.as_str()).collect();
            let expected: BTreeSet<&str> = affected_paths.iter().map(String::as_str).collect();
            let is_object = expected.iter().all(|file| file.contains("/obj/"));
            if code == 0 || !expected.is_subset(&reported) || (is_object && reported != expected) {
                undetected_mutations.push(format!("{mutation:?} {affected_paths:?}: {code} {findings:?}"));
            }
            drop(restore);
        }
        assert_complete(&root);
        undetected_mutations
    };
    let run = &run;
    let undetected_mutations: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || run(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a result")).collect()
    });
    assert!(undetected_mutations.is_empty(), "{}", undetected_mutations.join("\n"));
}

#[test]
fn an_interrupted_download_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, interrupted) = (dir.path().join("whole"), dir.path().join("interrupted"));
    let pypi = index();
    must_get_pypi(&pypi.url(), &whole, "app\nodd-lib\n", &[]);
    // A killed run leaves files without a head, and one that was being written.
    let from = whole.join("pypi/v1/1/obj");
    let to = interrupted.join("pypi/v1/1/obj");
    std::fs::create_dir_all(&to).unwrap();
    copy_over(&from, &to);
    let files = objects(&whole);
    let (first, second) = (
        files.iter().find(|path| path.ends_with(".whl")).unwrap(),
        files.iter().rfind(|path| path.ends_with(".whl")).unwrap(),
    );
    std::fs::write(interrupted.join(first), "damaged").unwrap();
    let temporary = interrupted.join(second).with_file_name(".tmp-dead");
    std::fs::write(&temporary, "1").unwrap();
    pypi.take_requests();
    must_get_pypi(&pypi.url(), &interrupted, "app\nodd-lib\n", &[]);
    let requests = pypi.take_requests();
    let fetched =
        requests.iter().filter(|path| path.starts_with("/packages/") && !path.ends_with(".metadata"));
    assert_eq!(fetched.count(), 1, "only the damaged file: {requests:?}");
    assert!(!temporary.exists());
    assert_complete(&interrupted);
    assert_eq!(objects(&interrupted), files);
}

#[test]
fn a_file_with_other_bytes_than_the_page_states_is_left_out_until_it_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    let pypi = index();
    let name = "app-1.0-py3-none-any.whl";
    let right = Package::new("app", "1.0").requires("odd_lib>=1").wheel();
    let wrong = vec![b'x'; right.len()];
    pypi.edit("app", name, |file| file.sent = Some(wrong.clone()));
    let output = get_pypi(&pypi.url(), &bundle, "app\nother\n", &[]);
    assert_eq!(output.code, Some(1), "{}", output.err);
    assert!(output.err.contains("its sha256 is"), "{}", output.err);
    assert!(tree(&bundle).values().all(|bytes| *bytes != wrong));
    let (code, findings) = validate("pypi", &bundle, &["--packages"]);
    assert_eq!((code, findings.len()), (1, 1), "{findings:?}");
    assert!(findings[0].1 == name && findings[0].2.contains("run get again"), "{findings:?}");
    pypi.edit("app", name, |file| file.sent = None);
    must_get_pypi(&pypi.url(), &bundle, "app\nother\n", &[]);
    assert_complete(&bundle);
}

#[test]
fn an_index_cannot_lead_to_other_hosts() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    let pypi = Pypi::start();
    publish(&pypi, &Package::new("app", "1.0"), "2020-01-01T00:00:00Z");
    pypi.set_file_server("http://files.example.org:81");
    let output = get_pypi(&pypi.url(), &bundle, "app\n", &[]);
    assert_eq!(output.code, Some(1), "{}", output.err);
    assert!(output.err.contains("--file-hosts files.example.org:81"), "{}", output.err);
    pypi.set_file_server("file:///etc");
    let output = get_pypi(&pypi.url(), &bundle, "app\n", &[]);
    assert!(output.code == Some(1) && output.err.contains("not below the directory"), "{}", output.err);
    assert!(objects(&bundle).is_empty());
}

#[test]
fn a_requirement_that_no_file_satisfies_is_reported_and_the_rest_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    let pypi = index();
    let output = get_pypi(&pypi.url(), &bundle, "app\nother>=7\nnone\n", &[]);
    assert_eq!(output.code, Some(1), "{}", output.err);
    for text in ["other >=7: no file of the index satisfies it", "none: the index has no such project"] {
        assert!(output.err.contains(text), "{}", output.err);
    }
    assert_complete(&bundle);
    let output = get_pypi(&pypi.url(), &bundle, "app >> 1\n", &[]);
    assert!(output.code == Some(2) && output.err.contains("line 1"), "{}", output.err);
}

#[test]
fn an_index_without_any_project_of_the_bundle_removes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    let pypi = index();
    must_get_pypi(&pypi.url(), &bundle, "app\nother\n", &[]);
    let files = tree(&bundle);
    let empty = Pypi::start();
    let output = get_pypi(&empty.url(), &bundle, "app\nother\n", &[]);
    assert_ne!(output.code, Some(0), "{}", output.err);
    assert!(
        output.err.contains("none of the 2 projects") && output.err.contains("--base-url"),
        "{}",
        output.err
    );
    let is_visible = |path: &&String| !path.contains("/.");
    let after = tree(&bundle);
    assert!(files.keys().filter(is_visible).eq(after.keys().filter(is_visible)));
    assert_complete(&bundle);
}
