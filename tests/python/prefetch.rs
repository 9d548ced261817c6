//! `rspm prefetch`: files of PyPI are stored before a client requests them.

use serde_json::{Value, json};

use crate::support::fixtures::until;
use crate::support::pypi::{Pypi, hex};
use crate::support::python::index::{get, start, wheel};
use crate::support::python::package::Package;
use crate::support::server::Server;

/// The versions 1.0 and 2.0 of `one`, each with a wheel and a source distribution, and a later pre-release; `two` 1.0 and
/// 2.0, of which 2.0 is yanked.
fn index() -> Pypi {
    let pypi = Pypi::start();
    for version in ["1.0", "2.0"] {
        let one = Package::new("one", version);
        wheel(&pypi, &one, "2021-01-01T00:00:00Z");
        pypi.add("one", &one.sdist_name(), one.sdist_name().as_bytes(), "2021-01-01T00:00:00Z");
        wheel(&pypi, &Package::new("two", version), "2021-01-01T00:00:00Z");
    }
    wheel(&pypi, &Package::new("one", "3.0rc1"), "2022-01-01T00:00:00Z");
    pypi.edit("two", "two-2.0-py3-none-any.whl", |file| file.yanked = Some("broken".to_owned()));
    pypi
}

/// Starts a server of the index, synced with it.
fn synced(pypi: &Pypi) -> Server {
    let server = start(pypi, "");
    server.sync_of("pypi").expect("an index");
    pypi.take_requests();
    server
}

fn write(server: &Server, name: &str, text: &str) -> String {
    let path = server.dir().join(name);
    std::fs::write(&path, text).expect("written");
    format!("prefetch --source=pypi --file-in={}", path.display())
}

/// The names of the requested files, sorted.
fn requested_files(pypi: &Pypi) -> Vec<String> {
    let requests = pypi.take_requests();
    let files = requests.iter().filter(|path| path.starts_with("/packages/"));
    let mut names: Vec<String> =
        files.map(|path| path.rsplit('/').next().expect("a name").to_owned()).collect();
    names.sort();
    names
}

fn packages(result: &Value) -> Vec<(String, Value, u64)> {
    let rows = result["packages"].as_array().expect("packages").iter();
    rows.map(|row| {
        let name = row["name"].as_str().expect("a name").to_owned();
        (name, row["versions"].clone(), row["files"].as_u64().expect("a number"))
    })
    .collect()
}

#[test]
fn the_newest_versions_and_pins_are_served_while_the_index_does_not_answer() {
    let pypi = index();
    let server = synced(&pypi);
    let command = write(&server, "requirements.txt", "One\ntwo==2.0\n");
    let dry = server.json(&format!("{command} --dry-run"));
    assert_eq!((&dry["files"], &dry["dry_run"]), (&json!(3), &json!(true)), "{dry}");
    assert!(requested_files(&pypi).is_empty(), "files are only counted");

    let result = server.json(&command);
    assert_eq!(
        packages(&result),
        [("one".to_owned(), json!(["2.0"]), 2), ("two".to_owned(), json!(["2.0"]), 1)],
        "{result}"
    );
    let one = Package::new("one", "2.0");
    let bytes = one.wheel().len() + one.sdist_name().len() + Package::new("two", "2.0").wheel().len();
    assert_eq!((&result["files"], &result["bytes"]), (&json!(3), &json!(bytes)), "{result}");
    assert_eq!((&result["stored_before"], &result["problems"]), (&json!(0), &json!([])), "{result}");
    let expected = [
        "one-2.0-py3-none-any.whl",
        "one-2.0-py3-none-any.whl.metadata",
        "one-2.0.tar.gz",
        "two-2.0-py3-none-any.whl",
        "two-2.0-py3-none-any.whl.metadata",
    ];
    assert_eq!(requested_files(&pypi), expected);
    // The rows are written after the files.
    until("everything is stored", || server.json(&command)["stored_before"] == 3);
    pypi.take_requests();
    let text = server.rspm_stdout(&command);
    assert!(pypi.take_requests().is_empty(), "what is known and stored is not requested again");
    assert!(text.contains("0 files (0 bytes) stored for 2 packages; 3 files were stored before."), "{text}");

    pypi.set_unavailable(true);
    assert_eq!(get(&server, "/py/latest/simple/one/").status, 200);
    let wheel = format!("/py/latest/packages/{}/{}", hex(&one.wheel()), one.wheel_name());
    assert_eq!(server.get(&wheel).body, one.wheel());
    assert_eq!(server.get(&format!("{wheel}.metadata")).body, one.metadata().into_bytes());
    let trail = server.rspm_stdout("audit list");
    assert!(trail.contains("start job") && trail.contains("prefetch:pypi"), "{trail}");
}

#[test]
fn problems_of_single_packages_are_listed_and_the_others_are_stored() {
    let pypi = index();
    pypi.add("three", "three-1.0.tar.gz", b"declared", "2021-01-01T00:00:00Z");
    pypi.edit("three", "three-1.0.tar.gz", |file| file.sent = Some(b"replaced".to_vec()));
    let server = synced(&pypi);
    let command = write(&server, "requirements.txt", "none\none>9\nthree\ntwo\n");
    let output = server.rspm(&format!("{command} -o json"));
    assert_eq!(output.code, 1, "{}", output.err);
    let result: Value = serde_json::from_str(&output.out).expect("JSON");
    let problems = result["problems"].as_array().expect("problems");
    for part in
        ["'none': the index has no project", "there is no file of 'one>9'", "'three-1.0.tar.gz': ", "SHA-256"]
    {
        assert!(problems.iter().any(|problem| problem.as_str().unwrap().contains(part)), "{part}: {result}");
        assert!(output.err.contains(part), "{part}: {}", output.err);
    }
    assert_eq!((problems.len(), &result["files"]), (3, &json!(1)), "{result}");
    let two = packages(&result).pop().expect("a row");
    assert_eq!(two, ("two".to_owned(), json!(["1.0"]), 1), "the newest that is not yanked");
    assert!(result["message"].as_str().unwrap().ends_with("3 problems."), "{result}");
}

#[test]
fn lock_files_and_targets_select_files() {
    let pypi = index();
    let compiled = "one-2.0-cp312-cp312-win_amd64.whl";
    pypi.add("one", compiled, b"compiled", "2021-01-01T00:00:00Z");
    let server = synced(&pypi);
    let sdist = hex(Package::new("one", "2.0").sdist_name().as_bytes());
    let lock = format!(
        "version = 1\n[[package]]\nname = \"one\"\nversion = \"2.0\"\n\
         source = {{ registry = \"https://pypi.org/simple\" }}\n\
         sdist = {{ url = \"https://example.org/one-2.0.tar.gz\", hash = \"sha256:{sdist}\" }}\n\
         [[package]]\nname = \"own\"\nversion = \"0\"\nsource = {{ editable = \".\" }}\n"
    );
    let command = write(&server, "uv.lock", &lock);
    let run = |flags: &str| {
        let output = server.rspm(&format!("{command} {flags} -o json"));
        assert!(output.code == 0 && output.err.contains("'own' is left out"), "{}", output.err);
        serde_json::from_str::<Value>(&output.out).expect("JSON")
    };
    let pages = run("--pages-only");
    assert_eq!((&pages["files"], &pages["pages_only"]), (&json!(0), &json!(true)), "{pages}");
    assert_eq!(pypi.take_requests(), ["/simple/one/"]);
    assert_eq!(pages["notices"].as_array().map(Vec::len), Some(1), "{pages}");

    run("--strict");
    assert_eq!(requested_files(&pypi), ["one-2.0.tar.gz"]);
    run("--pythons=3.11 --platforms=manylinux_2_28_x86_64");
    assert!(!requested_files(&pypi).contains(&compiled.to_owned()));
    run("");
    assert!(requested_files(&pypi).contains(&compiled.to_owned()));
}

#[test]
fn requirements_whose_markers_exclude_the_targets_are_left_out() {
    let pypi = index();
    let server = synced(&pypi);
    let command =
        write(&server, "requirements.txt", "one; python_version >= '3.9'\ntwo; python_version < '3.9'\n");
    let names = |flags: &str| {
        let output = server.rspm(&format!("{command} --dry-run {flags} -o json"));
        assert_eq!(output.code, 0, "{}", output.err);
        let result: Value = serde_json::from_str(&output.out).expect("JSON");
        let names: Vec<String> = packages(&result).into_iter().map(|(name, ..)| name).collect();
        (names.join(" "), result["notices"].as_array().expect("notices").len())
    };
    assert_eq!(names("--pythons=3.12"), ("one".to_owned(), 1));
    assert_eq!(names("--pythons=3.8,3.12"), ("one two".to_owned(), 0));
    assert_eq!(names(""), ("one two".to_owned(), 1), "markers are ignored, with a notice");
}

#[test]
fn files_that_every_repository_blocks_are_left_out() {
    let pypi = index();
    let server = synced(&pypi);
    server.rspm_stdout("create blocklist-rule --repo=py --package-name=one --version=>=2.0");
    let command = write(&server, "requirements.txt", "one\n");
    let versions = |server: &Server| packages(&server.json(&format!("{command} --dry-run")))[0].1.clone();
    assert_eq!(versions(&server), json!(["1.0"]));
    server.rspm_stdout("create repo --name=other --type=python");
    server.rspm_stdout("subscribe --repo=other --source=pypi");
    assert_eq!(versions(&server), json!(["2.0"]), "the other repository serves it");
}

#[test]
fn what_cannot_be_prefetched_is_refused_with_the_reason() {
    let pypi = index();
    let server = start(&pypi, "");
    let command = write(&server, "requirements.txt", "one\n");
    let refusal = |line: &str| {
        let output = server.rspm(line);
        assert_eq!(output.code, 1, "{line}: {}", output.out);
        output.err
    };
    assert!(refusal(&command).contains("rspm sync --type=pypi"), "{}", refusal(&command));
    server.sync_of("pypi").expect("an index");
    let other_source = refusal(&command.replace("--source=pypi", "--source=cran"));
    assert!(other_source.contains("only files of the source 'pypi'"), "{other_source}");
    let python = refusal(&format!("{command} --pythons=three"));
    assert!(python.contains("'three' is not a minor version of Python"), "{python}");
    let invalid = refusal(&write(&server, "requirements.txt", "one\ntwo=>1\n"));
    assert!(invalid.contains("requirements.txt: line 2"), "{invalid}");
    assert!(refusal("prefetch --source=pypi --file-in=/nowhere.txt").contains("/nowhere.txt"));
}
