//! Python packages from git: source distributions and wheels, built by the module `build` of the system.

use super::{builder_with, builds, wait_for, wait_for_build};
use crate::builder::repository::Repository;
use crate::support::python::form;
use crate::support::server::Server;

const BACKEND: &str =
    "[build-system]\nrequires = [\"setuptools\", \"wheel\"]\nbuild-backend = \"setuptools.build_meta\"\n";

fn server(gcfg: &str) -> Server {
    let server = builder_with(gcfg).start();
    server.rspm_stdout("create source --name=py --type=git-python");
    server.rspm_stdout("create repo --name=py --type=python");
    server.rspm_stdout("subscribe --repo=py --source=py");
    server
}

fn package(repository: &Repository, version: &str) {
    let project = format!("{BACKEND}[project]\nname = \"Tested.Package\"\nversion = \"{version}\"\n");
    repository.write("pyproject.toml", &project);
    repository.write("tested_package/__init__.py", "ANSWER = 42\n");
}

/// The names of the files that the repository lists for the project.
fn files(server: &Server) -> Vec<String> {
    let page = server.get("/py/latest/simple/tested-package/").text();
    let names = regex::Regex::new(">([^<>]+\\.(?:tar\\.gz|whl))</a>").unwrap();
    let mut names: Vec<String> = names.captures_iter(&page).map(|found| found[1].to_owned()).collect();
    names.sort();
    names
}

#[test]
fn commits_of_a_python_package_are_built_as_source_distribution_and_wheel() {
    let server = server("PollInterval = 1s");
    let repository = Repository::new();
    package(&repository, "1.0");
    repository.commit();
    let create = format!("create git-builder --source=py --url={}", repository.url());
    let refused = server.rspm(&create);
    assert!(refused.code == 1 && refused.err.contains("--name is required"), "{}", refused.err);
    let created = server.rspm(&format!("{create} --name=Tested.Package"));
    assert_eq!(created.code, 0, "{}\n{}", created.out, created.err);
    for part in
        ["- tested-package\n", "== Python 3", "== python -m build --wheel", "Published tested-package 1.0"]
    {
        assert!(created.out.contains(part), "{part}: {}", created.out);
    }
    let listed = files(&server);
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert!(listed.iter().any(|name| name.ends_with("-1.0-py3-none-any.whl")), "{listed:?}");
    assert!(listed.iter().any(|name| name.ends_with("-1.0.tar.gz")), "{listed:?}");

    package(&repository, "1.1");
    let commit = repository.commit();
    let build = wait_for_build(&server, "commit", &commit, "published");
    assert_eq!(build["version"], "1.1");
    assert_eq!(files(&server).len(), 4);

    // The name is bound to the builder.
    let other = format!("{BACKEND}[project]\nname = \"other\"\nversion = \"2.0\"\n");
    repository.write("pyproject.toml", &other);
    let commit = repository.commit();
    let build = wait_for_build(&server, "commit", &commit, "failed");
    let reason = build["reason"].as_str().unwrap();
    assert!(
        reason.contains("contains the package 'other', and this builder builds 'tested-package'"),
        "{reason}"
    );

    let directory = server.dir().join("tested_package-9.tar.gz");
    std::fs::write(&directory, "x").unwrap();
    let added = server.rspm(&format!("add --source=py --path={}", directory.display()));
    assert_eq!(added.code, 1, "{}", added.out);
    // Clients such as twine are refused before they send the file.
    let token = form::token(&server, "--scope=sources:write --sources=*");
    let uploaded = form::send(&server, "/upload/pypi/py", Some(&token), b"");
    assert!(uploaded.status == 400 && uploaded.text().contains("are built from git"), "{}", uploaded.text());
    let additions = server.json("audit list --action=add --object=py");
    let files = |row: &serde_json::Value| row["detail"].as_str().is_some_and(|text| text.contains(".tar.gz"));
    assert!(additions.as_array().expect("a list").iter().any(files), "{additions}");
}

#[test]
fn a_missing_build_backend_is_named() {
    let server = server("PollInterval = 1h");
    let repository = Repository::new();
    let backend =
        "[build-system]\nrequires = [\"no-such-backend>=1\"]\nbuild-backend = \"no_such_backend\"\n";
    repository.write("pyproject.toml", &format!("{backend}[project]\nname = \"x\"\nversion = \"1\"\n"));
    repository.commit();
    let create = format!("create git-builder --source=py --name=x --url={}", repository.url());
    let failed = server.rspm(&create);
    assert_eq!(failed.code, 1);
    assert!(failed.err.contains("are not installed: no_such_backend;"), "{}\n{}", failed.out, failed.err);
    assert_eq!(builds(&server)[0]["attempt"], 1, "it is not repeated");
}

#[test]
fn tags_and_a_wheel_that_cannot_be_built() {
    let server = server("PollInterval = 1h");
    let repository = Repository::new();
    // The wheel, unlike the source distribution, runs the compiler command.
    repository.write(
        "setup.py",
        "import sys\nfrom setuptools import setup\nif 'bdist_wheel' in sys.argv: sys.exit('no wheel')\n\
         setup(name='tested-package', version='3.0', py_modules=[])\n",
    );
    repository.commit();
    repository.git(&["tag", "v3.0"]);
    let url = repository.url();
    let created = server.rspm(&format!(
        "create git-builder --source=py --name=tested-package --build-trigger=tags --url={url}"
    ));
    assert_eq!(created.code, 0, "{}\n{}", created.out, created.err);
    assert!(created.out.contains("only the source distribution is published"), "{}", created.out);
    wait_for("the tag is listed", || (files(&server).len() == 1).then_some(()));
}

#[test]
fn other_files_of_a_version_are_replaced_with_it_and_by_tags_only_on_request() {
    let server = server("PollInterval = 1h");
    let repository = Repository::new();
    let setup = "from setuptools import setup\nsetup(name='tested-package', version='3.0', py_modules=[])\n";
    repository.write("setup.py", setup);
    repository.commit();
    let create = format!("create git-builder --source=py --name=tested-package --url={}", repository.url());
    let created = server.rspm(&create);
    assert_eq!(created.code, 0, "{}\n{}", created.out, created.err);
    assert_eq!(files(&server).len(), 2);
    // The wheel has the code of the first commit.
    repository.write(
        "setup.py",
        &format!("import sys\nif 'bdist_wheel' in sys.argv: sys.exit('no wheel')\n{setup}"),
    );
    repository.commit();
    let run = server.rspm("run git-builder --source=py --name=tested-package");
    assert_eq!(run.code, 0, "{}\n{}", run.out, run.err);
    let listed = files(&server);
    assert!(listed.len() == 1 && listed[0].ends_with("-3.0.tar.gz"), "{listed:?}");

    server.rspm_stdout("create source --name=tags --type=git-python");
    let url = repository.url();
    repository.git(&["tag", "v3.0"]);
    let created = server.rspm(&format!(
        "create git-builder --source=tags --name=tested-package --build-trigger=tags --url={url}"
    ));
    assert_eq!(created.code, 0, "{}\n{}", created.out, created.err);
    repository.write("setup.py", setup);
    repository.commit();
    repository.git(&["tag", "again-3.0"]);
    let refused = server.rspm("run git-builder --source=tags --name=tested-package");
    assert_eq!(refused.code, 1, "{}", refused.out);
    let way_out = "rspm rerun git-builder --source=tags --name=tested-package --tag=again-3.0 --replace";
    assert!(refused.err.contains(way_out), "{}", refused.err);
}

#[test]
fn a_build_of_a_distribution_that_exists_replaces_it_and_by_tags_only_on_request() {
    let server = server("PollInterval = 1h");
    let repository = Repository::new();
    let tag = |version: &str| {
        package(&repository, version);
        repository.commit();
        repository.git(&["tag", &format!("v{version}")]);
    };
    tag("1.0");
    let flags = format!("--source=py --name=tested-package --build-trigger=tags --url={}", repository.url());
    let created = server.rspm(&format!("create git-builder {flags}"));
    assert_eq!(created.code, 0, "{}\n{}", created.out, created.err);
    let first = files(&server);
    assert_eq!(first.len(), 2, "{first:?}");
    // The same version in another spelling: its files have other names and stand for the same distributions.
    tag("1.0.0");
    let refused = server.rspm("run git-builder --source=py --name=tested-package");
    assert_eq!(refused.code, 1, "{}", refused.out);
    for part in ["1.0.0", "rspm rerun git-builder --source=py --name=tested-package --tag=v1.0.0 --replace"] {
        assert!(refused.err.contains(part), "{part}: {}", refused.err);
    }
    assert_eq!(files(&server), first, "nothing is lost");
    let rerun = server.rspm("rerun git-builder --source=py --name=tested-package --tag=v1.0.0 --replace");
    assert_eq!(rerun.code, 0, "{}\n{}", rerun.out, rerun.err);
    wait_for("the files are replaced", || {
        let listed = files(&server);
        let is_new = |name: &String| name.contains("-1.0.0-") || name.ends_with("-1.0.0.tar.gz");
        (listed.len() == 2 && listed.iter().all(is_new)).then_some(())
    });
}

#[test]
fn a_version_from_git_is_that_of_the_history_and_not_of_the_only_fetched_commit() {
    let server = server("PollInterval = 1h");
    let repository = Repository::new();
    let setup = r#"
# As versioneer does.
import subprocess
from setuptools import setup

def describe():
    command = ["git", "describe", "--tags", "--long", "--dirty"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

tag, distance, commit = describe().split("-")
setup(name="tested-package", version=tag[1:] + ".post" + distance, py_modules=[])
"#;
    repository.write("setup.py", setup);
    repository.commit();
    repository.git(&["tag", "v1.2"]);
    for text in ["one", "two"] {
        repository.write("README", text);
        repository.commit();
    }
    let line = format!("create git-builder --source=py --name=tested-package --url={}", repository.url());
    let created = server.rspm(&line);
    assert_eq!(created.code, 0, "{}\n{}", created.out, created.err);
    assert!(created.out.contains("Published tested-package 1.2.post2"), "{}", created.out);
    let listed = files(&server);
    assert_eq!(listed.len(), 2, "both files have the same version: {listed:?}");
}
