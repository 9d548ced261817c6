//! One file for each distribution of a version: another file that stands for the same one is refused under any name.

use std::path::PathBuf;

use super::local::{files, servers};
use crate::support::python::form::{Form, publisher};
use crate::support::python::package::{Package, transaction, write};
use crate::support::server::Server;

/// The wheel of a project under another name; the code differs, so that the bytes differ.
fn wheel(server: &Server, name: &str, file: &str) -> PathBuf {
    let version = file.split('-').nth(1).expect("a version");
    write(server, file, &Package::new(name, version).code(&format!("file = '{file}'\n")).wheel())
}

fn add_line(paths: &[&PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    format!("add --source=team --path={}", paths.join(","))
}

/// Runs `rspm add`, which may print notices about names.
fn add_files(server: &Server, paths: &[&PathBuf], flags: &str) {
    let output = server.rspm(&format!("{} {flags}", add_line(paths)));
    assert_eq!(output.code, 0, "{}", output.err);
}

/// Runs `rspm add`, which fails; returns its notices and its error.
fn refuse(server: &Server, paths: &[&PathBuf]) -> String {
    let output = server.rspm(&add_line(paths));
    assert_eq!(output.code, 1, "{}", output.out);
    output.err
}

fn names(server: &Server, project: &str) -> Vec<String> {
    files(server, "latest", project).into_iter().map(|(name, _)| name).collect()
}

const PAIRS: [(&str, &str, &str); 8] = [
    ("a", "a-1.0-py2.py3-none-any.whl", "a-1.0-py3.py2-none-any.whl"),
    ("b", "b-1.0-py3-none-any.whl", "b-1.0.0-py3-none-any.whl"),
    ("c.d", "c.d-1.0-py3-none-any.whl", "c_d-1.0-py3-none-any.whl"),
    ("e", "e-1.0-1-py3-none-any.whl", "e-1.0-01-py3-none-any.whl"),
    ("f", "f-1.0-PY3-none-any.whl", "f-1.0-py3-none-any.whl"),
    ("g", "g-1.0+a.b-py3-none-any.whl", "g-1.0+a_b-py3-none-any.whl"),
    ("h", "h-1.0-py3.py3-none-any.whl", "h-1.0-py3-none-any.whl"),
    ("Case", "Case-1.0-py3-none-any.whl", "case-1.0-py3-none-any.whl"),
];

#[test]
fn a_second_wheel_for_one_distribution_is_refused() {
    for server in servers() {
        let token = publisher(&server);
        for (project, first, second) in PAIRS {
            let (first_path, second_path) = (wheel(&server, project, first), wheel(&server, project, second));
            let together = refuse(&server, &[&first_path, &second_path]);
            assert!(together.contains("stand for one distribution"), "{together}");
            add_files(&server, &[&first_path], "");
            let refusal = refuse(&server, &[&second_path]);
            let words = format!("the source 'team' has '{first}' already");
            assert!(refusal.contains(&words) && refusal.contains(second), "{refusal}");
            let version = second.split('-').nth(1).expect("a version");
            let package = Package::new(project, version);
            let bytes = std::fs::read(&second_path).expect("written");
            let form = Form::file(&package, second, bytes).with("filetype", "bdist_wheel");
            let answer = form.send(&server, &token);
            let words = format!("File already exists ('{first}', with sha256 hash '");
            assert!(answer.status == 400 && answer.text().starts_with(&words), "{}", answer.text());
            // Equal bytes under the second name are refused, too: lock files contain the names.
            let equal = write(&server, second, &std::fs::read(&first_path).expect("written"));
            assert!(refuse(&server, &[&equal]).contains("stands for the same distribution"));
            assert_eq!(names(&server, &project.to_lowercase().replace('.', "-")), [first]);
        }
    }
}

#[test]
fn a_version_has_one_source_distribution() {
    for server in servers() {
        let package = Package::new("one", "1.0");
        let sdist = write(&server, "one-1.0.tar.gz", &package.sdist());
        add_files(&server, &[&sdist], "");
        for (name, bytes) in [
            ("One-1.0.tar.gz", package.clone().code("x = 1\n").sdist()),
            ("one-1.0.0.tar.gz", package.clone().code("x = 2\n").sdist()),
            ("one-1.0.tgz", package.sdist()),
        ] {
            let refusal = refuse(&server, &[&write(&server, name, &bytes)]);
            assert!(refusal.contains("the source 'team' has 'one-1.0.tar.gz' already"), "{name}: {refusal}");
        }
        // A wheel of the version, and the source distribution of another version.
        let wheel = write(&server, &package.wheel_name(), &package.wheel());
        let next = write(&server, "one-1.0.post1.tar.gz", &Package::new("one", "1.0.post1").sdist());
        add_files(&server, &[&wheel, &next], "");
        assert_eq!(names(&server, "one").len(), 3);
    }
}

#[test]
fn replace_ends_the_other_file_and_a_removed_one_counts() {
    for server in servers() {
        let (first, second) = ("one-1.0-py2.py3-none-any.whl", "one-1.0-py3.py2-none-any.whl");
        let (first_path, second_path) = (wheel(&server, "one", first), wheel(&server, "one", second));
        add_files(&server, &[&first_path], "");
        server.rspm_stdout("yank --source=team --name=one@1.0 --reason=bad");
        let before = transaction(&server, "team");
        add_files(&server, &[&second_path], "--succeed-on-existing");
        assert_eq!(transaction(&server, "team"), before, "nothing changed");
        add_files(&server, &[&second_path], "--replace");
        assert_eq!(
            files(&server, "latest", "one"),
            [(second.to_owned(), "bad".into())],
            "yanked like the first"
        );
        assert_eq!(files(&server, &before.to_string(), "one"), [(first.to_owned(), "bad".into())]);
        // The same bytes under the first name again.
        assert!(refuse(&server, &[&first_path]).contains(&format!("has '{second}' already")));
        add_files(&server, &[&first_path], "--replace");
        assert_eq!(names(&server, "one"), [first]);
        server.rspm_stdout("remove package --source=team --name=one@all");
        let third = wheel(&server, "one", "one-1.0.0-py3.py2-none-any.whl");
        let refusal = refuse(&server, &[&third]);
        assert!(
            refusal.contains("had a file 'one-1.0-py") && refusal.contains("same distribution"),
            "{refusal}"
        );
        let token = publisher(&server);
        let package = Package::new("one", "1.0.0");
        let bytes = std::fs::read(&third).expect("written");
        let form =
            Form::file(&package, "one-1.0.0-py3.py2-none-any.whl", bytes).with("filetype", "bdist_wheel");
        let answer = form.send(&server, &token);
        assert!(
            answer.text().starts_with("This filename has already been used ('one-1.0-py"),
            "{}",
            answer.text()
        );
        add_files(&server, &[&first_path], "");
        assert_eq!(names(&server, "one"), [first], "a removed file with its bytes");
    }
}

#[test]
fn a_file_has_an_address_without_its_digest() {
    for server in servers() {
        let package = Package::new("Odd.Name", "1.0");
        let sdist = write(&server, &package.sdist_name(), &package.sdist());
        let wheel = write(&server, &package.wheel_name(), &package.wheel());
        add_files(&server, &[&sdist, &wheel], "");
        for (path, bytes) in [
            ("source/o/odd-name/odd_name-1.0.tar.gz", package.sdist()),
            ("source/O/Odd.Name/odd_name-1.0.tar.gz", package.sdist()),
            ("py3/o/odd-name/odd_name-1.0-py3-none-any.whl", package.wheel()),
        ] {
            let address = format!("/py/latest/packages/{path}");
            let answer = server.get(&address);
            assert_eq!(answer.status, 302, "{path}: {}", answer.text());
            let location = answer.header("location").expect("an address");
            let target = location.strip_prefix("../../../../").expect("relative to the address");
            assert!(server.get(&format!("/py/latest/{target}")).body == bytes, "{path}");
        }
        for path in [
            "source/o/odd-name/odd_name-1.1.tar.gz",
            "source/o/other/other-1.0.tar.gz",
            "source/x/odd-name/odd_name-1.0.tar.gz",
        ] {
            assert_eq!(server.get(&format!("/py/latest/packages/{path}")).status, 404, "{path}");
        }
        server.rspm_stdout("create blocklist-rule --package-name=odd-name --version=1.0");
        let answer = server.get("/py/latest/packages/source/o/odd-name/odd_name-1.0.tar.gz");
        assert_eq!(answer.status, 403, "{}", answer.text());
    }
}
