//! `validate` finds every change of a file, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::downloader::{
    assert_complete, bundle, copy_over, create_mirror, must_get_cran, tree, validate,
};
use crate::support::mirror_dir::{self, MirrorDir};
use crate::support::{data, rules};

/// A linear congruential generator (Knuth's MMIX): the same mutations in every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    /// Returns the next number, which is less than `bound`.
    fn number(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Mutation {
    Flip,
    Cut,
    Delete,
    Swap,
    Extra,
    Link,
}

pub(super) const ALL: [Mutation; 6] =
    [Mutation::Flip, Mutation::Cut, Mutation::Delete, Mutation::Swap, Mutation::Extra, Mutation::Link];

/// Restores the original files when it is dropped.
pub(super) struct RestoreGuard {
    originals: Vec<(PathBuf, Option<Vec<u8>>)>,
}

impl Drop for RestoreGuard {
    fn drop(&mut self) {
        for (path, bytes) in &self.originals {
            let _ = fs::remove_file(path);
            if let Some(bytes) = bytes {
                fs::write(path, bytes).unwrap();
            }
        }
    }
}

/// Applies the mutation to one of the files; returns the files that must be reported.
pub(super) fn mutate(
    root: &Path,
    files: &[String],
    mutation: Mutation,
    random: &mut Random,
) -> (Vec<String>, RestoreGuard) {
    let name = files[random.number(files.len())].clone();
    let path = root.join(&name);
    let bytes = fs::read(&path).unwrap();
    let mut restore = RestoreGuard { originals: vec![(path.clone(), Some(bytes.clone()))] };
    let mut affected_paths = vec![name.clone()];
    match mutation {
        Mutation::Flip => {
            let mut changed_bytes = bytes.clone();
            let offset = random.number(bytes.len());
            changed_bytes[offset] ^= 1 << random.number(8);
            fs::write(&path, changed_bytes).unwrap();
        }
        Mutation::Cut => fs::write(&path, &bytes[..random.number(bytes.len())]).unwrap(),
        Mutation::Delete => fs::remove_file(&path).unwrap(),
        Mutation::Swap => {
            let other = loop {
                let other = &files[random.number(files.len())];
                if fs::read(root.join(other)).unwrap() != bytes {
                    break other.clone();
                }
            };
            let other_bytes = fs::read(root.join(&other)).unwrap();
            fs::write(&path, &other_bytes).unwrap();
            fs::write(root.join(&other), &bytes).unwrap();
            restore.originals.push((root.join(&other), Some(other_bytes)));
            affected_paths.push(other);
        }
        Mutation::Extra => {
            let extra_path = format!("{}-{}", name, random.number(1000));
            fs::write(root.join(&extra_path), &bytes).unwrap();
            restore.originals = vec![(root.join(&extra_path), None)];
            affected_paths = vec![extra_path];
        }
        Mutation::Link => {
            let target = root.parent().unwrap().join("elsewhere");
            fs::write(&target, &bytes).unwrap();
            fs::remove_file(&path).unwrap();
            symlink(target, &path).unwrap();
        }
    }
    (affected_paths, restore)
}

#[test]
fn five_hundred_mutations_are_found_without_false_findings() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("bundle");
    rules::folder(&dir.path().join("rules"), &["libcurl", "geos"]);
    let rules_url = mirror_dir::file_url(&dir.path().join("rules"));
    let mut mirror = MirrorDir::new(dir.path().join("mirror"));
    for n in 0..12 {
        mirror.simple(&format!("package{n}"), "1.0", "2020-01-01");
        mirror.simple(&format!("package{n}"), "1.1", "2020-02-01");
    }
    mirror.write();
    must_get_cran(&mirror.url(), &root, &["--requirements-url", &rules_url]);
    mirror.simple("another", "1.0", "2020-03-01");
    mirror.write();
    must_get_cran(&mirror.url(), &root, &["--requirements-url", &rules_url]);
    assert_complete(&root);
    // Hidden files of the downloader are not part of a bundle.
    let files: Vec<String> = tree(&root).into_keys().filter(|path| !path.contains("/.")).collect();
    assert!(files.len() > 30, "{}", files.len());
    let mut random = Random(20_261_120);
    let mut undetected_mutations = Vec::new();
    for number in 0..500 {
        let mutation = ALL[number % ALL.len()];
        let (affected_paths, restore) = mutate(&root, &files, mutation, &mut random);
        let (code, findings) = validate("cran", &root, &["--packages"]);
        let reported_files: BTreeSet<&str> = findings.iter().map(|(_, file, _)| file.as_str()).collect();
        let expected_files: BTreeSet<&str> = affected_paths.iter().map(String::as_str).collect();
        // With a missing head the files that it lists are reported; a segment or another head may be reported too.
        let are_all_reported = expected_files.iter().all(|file| reported_files.contains(file));
        let is_object = expected_files.iter().all(|file| file.contains("/obj/"));
        if code == 0 || !are_all_reported || (is_object && reported_files != expected_files) {
            undetected_mutations
                .push(format!("{number}: {mutation:?} {affected_paths:?}: {code} {findings:?}"));
        }
        drop(restore);
    }
    assert!(
        undetected_mutations.is_empty(),
        "{} of 500:\n{}",
        undetected_mutations.len(),
        undetected_mutations.join("\n")
    );
    assert_complete(&root);
}

#[test]
fn exit_codes_distinguish_damaged_from_incomplete() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("bundle");
    let mirror = mirror_dir::file_url(&data::path("cran-mirror").canonicalize().unwrap());
    must_get_cran(&mirror, &root, &[]);
    let object = tree(&root).into_keys().find(|path| path.contains("/obj/")).unwrap();
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    copy_over(&root, &copy);
    fs::remove_file(copy.join(&object)).unwrap();
    let (code, findings) = validate("cran", &copy, &["--packages"]);
    assert_eq!((code, findings.len(), findings[0].0.as_str()), (1, 1, "missing"));
    assert_eq!(validate("cran", &copy, &[]), (0, Vec::new()), "without --packages only metadata are checked");
    fs::write(copy.join(&object), "other").unwrap();
    let (code, findings) = validate("cran", &copy, &["--packages"]);
    assert_eq!((code, findings[0].0.as_str(), findings[0].1.as_str()), (3, "damaged", object.as_str()));
    assert!(findings[0].2.contains("copy it again"), "{findings:?}");
}

#[test]
fn a_file_that_the_account_of_the_server_cannot_read_is_reported() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let dir = tempfile::tempdir().unwrap();
    let mirror = create_mirror(dir.path(), &[("alpha", "1.0", "2020-01-01")]);
    let root = dir.path().join("bundle");
    must_get_cran(&mirror.url(), &root, &[]);
    let object = tree(&root).into_keys().find(|path| path.contains("/obj/")).unwrap();
    assert!(nix::unistd::geteuid().is_root(), "only root can change owners");
    chown(&root, Some(4242), Some(4242)).unwrap();
    fs::set_permissions(root.join(&object), fs::Permissions::from_mode(0o600)).unwrap();
    let (code, findings) = validate("cran", &root, &["--packages"]);
    assert_eq!((code, findings.len()), (1, 1), "{findings:?}");
    assert_eq!((findings[0].0.as_str(), findings[0].1.as_str()), ("unreadable", object.as_str()));
    assert!(findings[0].2.contains("uid 4242") && findings[0].2.contains("chown -R"), "{findings:?}");
}

#[test]
fn no_file_is_called_removable_while_metadata_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = create_mirror(dir.path(), &[("alpha", "1.0", "2020-01-01"), ("beta", "1.0", "2020-02-01")]);
    let root = bundle(dir.path(), &mirror);
    fs::write(root.join("v3/stray"), "x").unwrap();
    let removable = |expected_code| {
        let (code, findings) = validate("cran", &root, &["--packages"]);
        assert_eq!(code, expected_code);
        findings.into_iter().filter(|(.., text)| text.contains("can be removed")).count()
    };
    assert_eq!(removable(1), 1);
    let head = rstudio_pm::bundle::Product::Cran.head_path();
    let mut bytes = fs::read(root.join(&head)).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(root.join(&head), bytes).unwrap();
    assert_eq!(removable(3), 0);
}
