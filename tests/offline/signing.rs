//! Signed bundles: the keys and notes of the downloader, and the servers that use nothing without a signature.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rstudio_pm::bundle::shared::SharedFolder;
use rstudio_pm::bundle::{Product, note, self_digest};
use rstudio_pm::tlog::note::{Signer, Statement, VerifierKey};
use rstudio_pm::upstream::origin::bundle::Bundle;

use crate::support::advisories::{folder, record};
use crate::support::downloader::{
    copy_over, create_mirror, get_cran, must_get_cran, open_bundle, run, tree, validate,
};
use crate::support::mirror_dir::{MirrorDir, file_url};
use crate::support::nginx::Nginx;
use crate::support::server::{Builder, Server};
use crate::support::today::stable_today;

/// A key in a file, and its public form.
pub(super) struct Key {
    pub(super) file: PathBuf,
    pub(super) public: String,
}

impl Key {
    pub(super) fn new(dir: &Path, name: &str) -> Key {
        let file = dir.join(format!("{name}.key"));
        let output = run(&["keygen", "--out", file.to_str().unwrap(), "--name", name]);
        assert_eq!(output.code, Some(0), "{}", output.err);
        Key { file, public: output.out.trim_end().to_owned() }
    }

    pub(super) fn flags(&self) -> [&str; 2] {
        ["--sign-key", self.file.to_str().unwrap()]
    }

    fn signer(&self) -> Signer {
        fs::read_to_string(&self.file).unwrap().parse().unwrap()
    }

    fn bundle(&self, root: &Path) -> Bundle {
        open_bundle(root).requiring([self.public.parse::<VerifierKey>().unwrap()].into())
    }
}

fn sign(root: &Path, key: &Key) {
    let output = run(&[&["sign", "--destination", root.to_str().unwrap()], &key.flags()[..]].concat());
    assert_eq!(output.code, Some(0), "{}", output.err);
}

fn mirror(dir: &Path) -> MirrorDir {
    create_mirror(dir, &[("alpha", "1.0", "2020-01-01"), ("beta", "1.0", "2020-02-01")])
}

/// The path of the note of a file below `v3/1`.
fn note_of(root: &Path, file: &str) -> PathBuf {
    let digest = self_digest::digest(&fs::read(root.join("v3/1").join(file)).unwrap());
    root.join(format!("v3/1/sig/{digest}.note"))
}

async fn refusal(bundle: &Bundle) -> String {
    bundle.head(&Product::Cran).await.expect_err("refused").to_string()
}

fn server(url: &str, bundle_section: &str) -> Server {
    let gcfg = format!("[CRAN]\nURL = {url}\n[Bundle]\n{bundle_section}");
    let server = Builder::default().gcfg(&gcfg).start();
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    server
}

fn index(server: &Server) -> String {
    server.get("/prod/latest/src/contrib/PACKAGES").text()
}

#[test]
fn a_key_is_private_and_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let key = Key::new(dir.path(), "usb");
    assert_eq!(fs::metadata(&key.file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(key.signer().key(rstudio_pm::tlog::note::KeyType::Note).to_string(), key.public);
    assert!(key.public.starts_with("usb+"));
    let text = fs::read(&key.file).unwrap();
    let output = run(&["keygen", "--out", key.file.to_str().unwrap()]);
    assert!(output.code == Some(1) && output.out.is_empty(), "{}", output.out);
    assert_eq!(fs::read(&key.file).unwrap(), text);
    let other = dir.path().join("other");
    let output = run(&["keygen", "--out", other.to_str().unwrap(), "--name", "a b"]);
    assert!(output.code == Some(2) && !other.exists(), "{}", output.err);
    let mirror = mirror(dir.path());
    for (text, part) in [("", "not a private key"), (key.public.as_str(), "rspm-offline-downloader keygen")] {
        fs::write(&other, text).unwrap();
        let output =
            get_cran(&mirror.url(), &dir.path().join("bundle"), &["--sign-key", other.to_str().unwrap()]);
        assert!(output.code == Some(2) && output.err.contains(part), "{}", output.err);
    }
}

#[tokio::test]
async fn every_head_has_a_note_that_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let (mut mirror, bundle, key) =
        (mirror(dir.path()), dir.path().join("bundle"), Key::new(dir.path(), "usb"));
    must_get_cran(&mirror.url(), &bundle, &key.flags());
    let first_tree = tree(&bundle);
    key.bundle(&bundle).head(&Product::Cran).await.expect("signed");
    assert!(key.bundle(&bundle).shared_head(SharedFolder::Distributions).await.expect("signed").is_some());
    let text = fs::read_to_string(note_of(&bundle, "head.json")).unwrap();
    let head = open_bundle(&bundle).head(&Product::Cran).await.unwrap().head;
    let state = format!("rspm-bundle/1 head\ncran {} {}\nsha256 ", head.serial, head.snapshot);
    assert!(text.starts_with(&state) && text.contains(&format!("\nkey {}\n", key.public)), "{text}");
    // Nothing is new.
    must_get_cran(&mirror.url(), &bundle, &key.flags());
    assert_eq!(tree(&bundle), first_tree);
    mirror.simple("gamma", "1.0", "2020-03-01");
    mirror.write();
    must_get_cran(&mirror.url(), &bundle, &key.flags());
    key.bundle(&bundle).head(&Product::Cran).await.expect("signed");
    let changed: Vec<String> = tree(&bundle)
        .into_iter()
        .filter(|(path, bytes)| first_tree.get(path).is_some_and(|old| old != bytes))
        .map(|(path, _)| path)
        .collect();
    assert!(changed.iter().all(|path| !path.contains("/sig/")), "{changed:?}");
    let flags = ["--packages", "--key", &key.public];
    assert_eq!(validate("cran", &bundle, &flags), (0, Vec::new()));
    assert_eq!(validate("cran", &bundle, &["--packages"]), (0, Vec::new()));
    let other = Key::new(dir.path(), "other");
    let (code, findings) = validate("cran", &bundle, &["--key", &other.public]);
    let (_, file, text) = &findings[0];
    assert!(
        code == 3 && file.ends_with("head.json") && text.contains("not one of the required keys"),
        "{text}"
    );
    let flags = ["--key", &other.public, "--key", &key.public];
    assert_eq!(validate("cran", &bundle, &flags).0, 0, "one of them signed it");
}

#[tokio::test]
async fn what_a_directory_has_must_be_signed_before_it_becomes_a_part_of_what_is_signed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut mirror, bundle) = (mirror(dir.path()), dir.path().join("bundle"));
    let (key, other) = (Key::new(dir.path(), "usb"), Key::new(dir.path(), "other"));
    must_get_cran(&mirror.url(), &bundle, &[]);
    mirror.simple("gamma", "1.0", "2020-03-01");
    mirror.write();
    let before = tree(&bundle);
    let output = get_cran(&mirror.url(), &bundle, &key.flags());
    assert!(output.code == Some(1) && output.err.contains("rspm-offline-downloader sign"), "{}", output.err);
    let is_same = |(path, bytes): (&String, &Vec<u8>)| tree(&bundle).get(path) == Some(bytes);
    assert!(before.iter().filter(|(path, _)| path.starts_with("v3/")).all(is_same));
    sign(&bundle, &key);
    must_get_cran(&mirror.url(), &bundle, &key.flags());
    assert_eq!(validate("cran", &bundle, &["--packages", "--key", &key.public]), (0, Vec::new()));
    let output = get_cran(&mirror.url(), &bundle, &other.flags());
    assert!(output.code == Some(1) && output.err.contains("required keys"), "{}", output.err);
    // The key is exchanged.
    sign(&bundle, &other);
    must_get_cran(&mirror.url(), &bundle, &other.flags());
    assert_eq!(validate("cran", &bundle, &["--packages", "--key", &other.public]), (0, Vec::new()));
    assert_eq!(validate("cran", &bundle, &["--key", &key.public]).0, 3);
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let flags = ["sign", "--destination", empty.to_str().unwrap(), "--sign-key", key.file.to_str().unwrap()];
    assert_eq!(run(&flags).code, Some(1), "there is nothing to sign");
}

#[tokio::test]
async fn notes_of_something_else_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut mirror, root) = (mirror(dir.path()), dir.path().join("bundle"));
    let (key, other) = (Key::new(dir.path(), "usb"), Key::new(dir.path(), "other"));
    must_get_cran(&mirror.url(), &root, &key.flags());
    let (old_head, old_note) =
        (fs::read(root.join("v3/1/head.json")).unwrap(), fs::read(note_of(&root, "head.json")).unwrap());
    mirror.simple("gamma", "1.0", "2020-03-01");
    mirror.write();
    must_get_cran(&mirror.url(), &root, &key.flags());
    let (bundle, path) = (key.bundle(&root), note_of(&root, "head.json"));
    bundle.head(&Product::Cran).await.expect("signed");
    let (good, head) = (fs::read(&path).unwrap(), fs::read(root.join("v3/1/head.json")).unwrap());
    let good_text = String::from_utf8(good.clone()).unwrap();
    let line = good_text.lines().last().unwrap();
    let distros = tree(&root).into_iter().find(|(path, _)| path.starts_with("distros/sig/")).unwrap().1;
    let text = good_text.split("\n\n").next().unwrap().to_owned() + "\n";
    let foreign = other.signer().sign(&text, Statement::Signed);
    for (case, note, part) in [
        ("another product", distros, "it signs 'rspm-bundle/1 head, distros "),
        ("another head", old_note.clone(), "it signs 'rspm-bundle/1 head, cran "),
        ("truncated", good[..good.len() - 9].to_vec(), "is not the note of its file"),
        ("empty", Vec::new(), "is not the note of its file"),
        ("half", good[..good.len() / 2].to_vec(), "is not the note of its file"),
        ("two signatures", format!("{good_text}{line}\n").into_bytes(), "second signature of usb"),
        ("another key", note::sign(&head, &other.signer()).unwrap().into(), "not one of the required keys"),
        ("signature of another key", format!("{text}\n{foreign}").into_bytes(), "no signature of usb+"),
        ("large", vec![b'x'; 100_000], "more than the limit"),
    ] {
        fs::write(&path, note).unwrap();
        let message = refusal(&bundle).await;
        assert!(message.contains(part) && message.contains("/sig/"), "{case}: {message}");
    }
    // A signature of an unknown key besides is not an error.
    fs::write(&path, format!("{good_text}{foreign}")).unwrap();
    bundle.head(&Product::Cran).await.expect("signed");
    fs::remove_file(&path).unwrap();
    let message = refusal(&bundle).await;
    assert!(message.contains("is missing: the copy is not complete yet"), "{message}");
    assert!(bundle.head(&Product::Cran).await.unwrap_err().is_partial());
    // Links lead anywhere inside the bundle only.
    let outside = dir.path().join("outside.note");
    fs::write(&outside, &good).unwrap();
    std::os::unix::fs::symlink(&outside, &path).unwrap();
    assert!(refusal(&bundle).await.contains("is a link that leads out of the mirror"));
    assert_eq!(validate("cran", &root, &["--packages"]).0, 3, "a link");
    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(refusal(&bundle).await.contains("is not a regular file"));
    fs::remove_file(&path).unwrap();
    fs::write(&path, &good).unwrap();
    // Another copy of a signed head is signed, too; a changed one is not.
    fs::write(root.join("v3/1/head.json"), &old_head).unwrap();
    bundle.head(&Product::Cran).await.expect("an earlier head of the same key");
    let mut json: serde_json::Value = serde_json::from_slice(&head).unwrap();
    json.as_object_mut().unwrap().remove("sha256");
    json["packages"] = 7.into();
    let changed = self_digest::serialize(&json);
    assert!(serde_json::from_slice::<serde_json::Value>(&changed).is_ok());
    fs::write(root.join("v3/1/head.json"), &changed).unwrap();
    open_bundle(&root).head(&Product::Cran).await.expect("consistent");
    assert!(refusal(&bundle).await.contains("is missing"));
}

#[tokio::test]
async fn an_unsigned_base_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let (mut mirror, base, key) = (mirror(dir.path()), dir.path().join("base"), Key::new(dir.path(), "usb"));
    stable_today();
    must_get_cran(&mirror.url(), &base, &[]);
    let day = open_bundle(&base).head(&Product::Cran).await.unwrap().head.snapshot.to_string();
    mirror.simple("gamma", "1.0", &day);
    mirror.write();
    // Times of segments have a resolution of one second.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let difference = dir.path().join("difference");
    must_get_cran(&mirror.url(), &difference, &[&key.flags()[..], &["--starting-snapshot", &day]].concat());
    copy_over(&difference, &base);
    open_bundle(&base).head(&Product::Cran).await.expect("the base is there");
    let message = refusal(&key.bundle(&base)).await;
    assert!(message.contains(&format!("signs v3/1/heads/{day}.json")), "{message}");
    sign(&base, &key);
    key.bundle(&base).head(&Product::Cran).await.expect("both are signed");
    assert_eq!(validate("cran", &base, &["--packages", "--key", &key.public]), (0, Vec::new()));
}

#[test]
fn shared_data_and_versions_of_bioconductor_are_signed() {
    let dir = tempfile::tempdir().unwrap();
    let (key, root) = (Key::new(dir.path(), "usb"), dir.path().join("bundle"));
    let destination = root.to_str().unwrap();
    let advisories = dir.path().join("own");
    folder(&advisories, &[record("RSEC-1", "CRAN", "a", "1.0")]);
    let get = |url: &str, flags: &[&str]| {
        let output =
            run(&[&["get", "vulns", "--base-url", url, "--destination", destination], flags].concat());
        assert_eq!(output.code, Some(0), "{}", output.err);
    };
    // Unchanged data is signed, too.
    get(&file_url(&advisories), &[]);
    assert_eq!(validate("vulns", &root, &["--key", &key.public]).0, 1);
    get(&file_url(&advisories), &key.flags());
    assert_eq!(validate("vulns", &root, &["--key", &key.public]), (0, Vec::new()));
    folder(&advisories, &[record("RSEC-2", "CRAN", "b", "1.0")]);
    get(&file_url(&advisories), &key.flags());
    assert_eq!(validate("vulns", &root, &["--key", &key.public]), (0, Vec::new()));
    let notes = tree(&root).into_keys().filter(|path| path.starts_with("vulns/sig/")).count();
    assert_eq!(notes, 1, "the replaced one is removed");
    let mirror = dir.path().join("bioc");
    crate::clients::bioconductor::mirror(&mirror, "4.4");
    let url = file_url(&mirror);
    let flags =
        ["get", "bioconductor", "--base-url", &url, "--destination", destination, "--versions", "3.20"];
    let output = run(&[&flags[..], &key.flags()].concat());
    assert_eq!(output.code, Some(0), "{}", output.err);
    assert_eq!(validate("bioconductor", &root, &["--packages", "--key", &key.public]), (0, Vec::new()));
    let note = tree(&root).into_keys().find(|path| path.starts_with("bioc/v4/sig/")).expect("a note");
    fs::remove_file(root.join(note)).unwrap();
    let (code, findings) = validate("bioconductor", &root, &["--key", &key.public]);
    assert!(code == 1 && findings[0].1 == "bioc/v4/config.json", "{findings:?}");
}

#[test]
fn a_server_with_a_key_applies_what_is_signed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (mut mirror, root, key) =
        (mirror(dir.path()), dir.path().join("bundle"), Key::new(dir.path(), "usb"));
    must_get_cran(&mirror.url(), &root, &key.flags());
    let mut server = server(&file_url(&root), &format!("Key = {}", key.public));
    server.sync().expect("signed");
    let old_index = index(&server);
    assert!(old_index.contains("Package: alpha"));
    let older = dir.path().join("older");
    fs::create_dir(&older).unwrap();
    copy_over(&root, &older);
    // The next state, of a program without the key.
    mirror.simple("gamma", "1.0", "2020-03-01");
    mirror.write();
    must_get_cran(&mirror.url(), &root, &[]);
    let message = server.sync().expect_err("unsigned");
    assert!(message.contains("/sig/") && message.contains("the copy is not complete yet"), "{message}");
    assert_eq!(index(&server), old_index);
    server.wait_for_log("the last good state is served");
    assert!(server.check_config().1.contains("is missing: the copy is not complete yet"));
    sign(&root, &key);
    server.sync().expect("signed");
    assert!(index(&server).contains("Package: gamma"));
    // An earlier state, which is signed: also a restarted server does not return to it.
    copy_over(&older, &root);
    for _ in 0..2 {
        let message = server.sync().expect_err("an earlier state");
        assert!(message.contains("is older than"), "{message}");
        assert!(index(&server).contains("Package: gamma"));
        server.restart();
    }
}

#[test]
fn a_bundle_cannot_be_replaced_by_a_mirror() {
    let dir = tempfile::tempdir().unwrap();
    let (mirror, key) = (mirror(dir.path()), Key::new(dir.path(), "usb"));
    let key_line = format!("Key = {}", key.public);
    let from_directory = server(&mirror.url(), &key_line);
    let message = from_directory.sync().expect_err("a mirror");
    assert!(message.contains("has no cran") && message.contains("v3/1/head.json"), "{message}");
    let (_, check) = from_directory.check_config();
    assert!(check.contains("is a bundle without CRAN"), "{check}");
    // Over HTTP a mirror is allowed, unless the address must be a bundle.
    let web = Nginx::files(&mirror.root);
    server(&web.url(), &key_line).sync().expect("a mirror");
    let strict = server(&web.url(), &format!("{key_line}\nURL = {}", web.url()));
    strict.sync().expect_err("a mirror");
    let root = dir.path().join("bundle");
    must_get_cran(&mirror.url(), &root, &[]);
    let web = Nginx::files(&root);
    for lines in [key_line.clone(), format!("{key_line}\nURL = {}", web.url())] {
        let server = server(&web.url(), &lines);
        let message = server.sync().expect_err("unsigned");
        assert!(message.contains("/sig/"), "{message}");
    }
    sign(&root, &key);
    let server = server(&web.url(), &format!("{key_line}\nURL = {}", web.url()));
    server.sync().expect("a signed bundle");
    assert!(index(&server).contains("Package: alpha"));
}

#[test]
fn keys_of_a_bundle_are_named_and_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let (mirror, root, key) = (mirror(dir.path()), dir.path().join("bundle"), Key::new(dir.path(), "usb"));
    must_get_cran(&mirror.url(), &root, &key.flags());
    let other = Key::new(dir.path(), "other");
    let line = format!("add to [Bundle]: Key = {}", key.public);
    for (section, is_named) in [
        (String::new(), true),
        (format!("Key = {}", other.public), true),
        (format!("Key = {}\nKey = {}", other.public, key.public), false),
    ] {
        let server = server(&file_url(&root), &section);
        let (_, check) = server.check_config();
        assert_eq!(check.contains(&line), is_named, "{section}: {check}");
        assert_eq!(server.sync().is_ok(), section != format!("Key = {}", other.public), "{section}");
    }
    // A key that signs every text, and an address without a key.
    let small = "usb+00000000+AQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (section, part) in
        [(format!("Key = {small}"), "small order"), ("URL = file:///srv".to_owned(), "needs Bundle.Key")]
    {
        let gcfg = format!("[CRAN]\nURL = {}\n[Bundle]\n{section}", file_url(&root));
        let server = Builder::default().gcfg(&gcfg).prepare();
        let (code, check) = server.check_config();
        assert!(code != 0 && check.contains(part), "{check}");
    }
}
