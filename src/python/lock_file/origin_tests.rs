//! Examples of packages of other indexes, and of packages whose file states no version.

use super::tests::{read, summary};
use super::*;

/// Returns the names of the packages, then the names of those that are skipped because of their index.
fn by_index(text: &str) -> String {
    let lock = read(text);
    let packages = lock.packages.iter().map(|package| format!("{}=={}", package.name, package.version));
    let is_of_index = |skipped: &&SkippedPackage| skipped.reason.starts_with("it is from another index, ");
    let skipped = lock.skipped.iter().filter(is_of_index).map(|skipped| format!("-{}", skipped.name));
    packages.chain(skipped).collect::<Vec<_>>().join(" ")
}

#[test]
fn packages_of_other_indexes_are_skipped() {
    let uv = |packages: &[(&str, &str)]| {
        let package = |(name, registry): &(&str, &str)| {
            format!(
                "[[package]]\nname = \"{name}\"\nversion = \"1\"\nsource = {{ registry = \"{registry}\" }}\n"
            )
        };
        let packages = packages.iter().map(package).collect::<String>();
        by_index(&format!("version = 1\n{packages}"))
    };
    let (team, pypi) = ("https://u:secret@team.example.org/simple", "https://pypi.org/simple");
    assert_eq!(uv(&[("a", team), ("b", team)]), "a==1 b==1", "the only index");
    assert_eq!(uv(&[("a", team), ("b", team), ("c", pypi)]), "c==1 -a -b", "PyPI");
    assert_eq!(uv(&[("a", "../wheels"), ("b", team), ("c", team)]), "b==1 c==1 -a", "most packages");
    assert_eq!(uv(&[("a", team), ("b", "https://h/simple")]), "a==1 -b", "the first one");
    let lock = read(&format!(
        "version = 1\n[[package]]\nname = \"a\"\nversion = \"1\"\nsource = {{ registry = \"{pypi}\" }}\n\
         [[package]]\nname = \"b\"\nversion = \"1\"\nsource = {{ registry = \"{team}\" }}\n"
    ));
    assert_eq!(summary(&lock), "a 1\n(b it is from another index, https://team.example.org/simple)");

    assert_eq!(
        by_index(&format!(
            "lock-version = \"1.0\"\n[[packages]]\nname = \"a\"\nversion = \"1\"\nindex = \"{pypi}\"\n\
             [[packages]]\nname = \"b\"\nversion = \"1\"\nindex = \"{team}\"\n"
        )),
        "a==1 -b"
    );
    let pipfile = |index: &str| {
        by_index(&format!(
            r#"{{"_meta":{{"sources":[{{"name":"pypi","url":"x"}},{{"name":"team","url":"y"}}]}},
            "default":{{"a":{{"version":"==1","index":"pypi"}},"b":{{"version":"==1","index":"{index}"}},
            "c":{{"version":"==1"}}}}}}"#
        ))
    };
    assert_eq!((pipfile("team"), pipfile("pypi")), ("a==1 c==1 -b".to_owned(), "a==1 b==1 c==1".to_owned()));
    let pdm = |a: &str, b: &str| {
        by_index(&format!(
            "[metadata]\nlock_version = \"4.5.0\"\n[[package]]\nname = \"a\"\nversion = \"1\"\nfiles = [{{{a}}}]\n\
             [[package]]\nname = \"b\"\nversion = \"1\"\nfiles = [{{{b}}}]\n"
        ))
    };
    let (file, host) = ("file = \"a-1.tar.gz\"", "url = \"https://files.pythonhosted.org/x/a-1.tar.gz\"");
    let other = "url = \"https://team.example.org/b-1.tar.gz\"";
    assert_eq!(pdm(file, other), "a==1 -b");
    assert_eq!(pdm(other, host), "b==1 -a", "with the addresses of all files");
    assert_eq!(pdm(other, other), "a==1 b==1");
    let poetry = "[metadata]\ncontent-hash = \"x\"\n[[package]]\nname = \"a\"\nversion = \"1\"\n[[package]]\n\
                  name = \"b\"\nversion = \"1\"\n[package.source]\ntype = \"legacy\"\nurl = \"https://h/simple\"\n";
    assert_eq!(by_index(poetry), "a==1 -b");
}

#[test]
fn versions_and_checkouts_are_read_from_what_states_them() {
    let lock = read(
        "lock-version = \"1.0\"\n[[packages]]\nname = \"Odd.Name\"\n\
         wheels = [{ name = \"odd_name-1.0+x-py3-none-any.whl\", hashes = {} }]\n\
         [[packages]]\nname = \"even\"\nsdist = { url = \"https://h/even-2.tar.gz\", hashes = {} }\n",
    );
    assert_eq!(summary(&lock), "odd-name 1.0+x odd_name-1.0+x-py3-none-any.whl=-\neven 2 even-2.tar.gz=-");
    let error = parse(b"lock-version = \"1.0\"\n[[packages]]\nname = \"odd\"\n").expect_err("no version");
    assert_eq!(error, BadLockFile::NoVersion("odd".to_owned()));
    for system in ["hg", "svn", "bzr"] {
        let lock = read(&format!(
            r#"{{"_meta":{{}},"default":{{"own":{{"{system}":"https://h/own","ref":"00"}},"odd":{{"version":"==1"}}}}}}"#
        ));
        assert_eq!(summary(&lock), "odd 1\n(own it is from a version control system)", "{system}");
    }
}
