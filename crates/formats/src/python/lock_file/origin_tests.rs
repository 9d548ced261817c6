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
    assert_eq!(uv(&[("a", "https://h"), ("b", team), ("c", team)]), "b==1 c==1 -a", "most packages");
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
fn one_index_has_several_spellings() {
    let spellings = [
        "https://user:pw@Team.example.org:443/simple/",
        "https://user@team.example.org/simple",
        "HTTPS://team.example.org/simple",
    ];
    for spelling in spellings {
        assert_eq!(origin::index(spelling), "https://team.example.org/simple");
    }
    for other in ["https://team.example.org/other", "https://team.example.org:8443/simple", "http://h/simple"]
    {
        assert_ne!(origin::index(other), "https://team.example.org/simple");
    }
    let package = |name: &str, keys: &str| format!("name = \"{name}\"\nversion = \"1\"\n{keys}\n");
    let uv = |name: &str, index: &str| {
        format!("[[package]]\n{}", package(name, &format!("source = {{ registry = \"{index}\" }}")))
    };
    let of_pypi = ["https://pypi.org/simple", "https://PyPI.org/simple/", "https://pypi.python.org/simple"];
    for [a, b, c] in [spellings, of_pypi] {
        let text = format!("version = 1\n{}{}{}", uv("a", a), uv("b", b), uv("c", c));
        assert_eq!(by_index(&text), "a==1 b==1 c==1");
    }
    let poetry = |url: &str| {
        let source = format!("[package.source]\ntype = \"legacy\"\nurl = \"{url}\"");
        let (default, other) = (package("a", ""), package("b", &source));
        by_index(&format!("[metadata]\ncontent-hash = \"x\"\n[[package]]\n{default}[[package]]\n{other}"))
    };
    assert_eq!(poetry("https://pypi.org/simple/"), "a==1 b==1", "PyPI is the default");
    assert_eq!(poetry("https://h/simple/"), "a==1 -b");
    assert_eq!(
        by_index(
            r#"{"_meta":{"sources":[{"name":"one","url":"https://h/simple"},{"name":"two","url":"https://u@h/simple/"}]},
            "default":{"a":{"version":"==1","index":"two"},"b":{"version":"==1"}}}"#
        ),
        "a==1 b==1",
        "two names of one index"
    );
}

#[test]
fn packages_from_local_files_are_skipped() {
    let wheel = |address: &str| {
        format!("wheels = [{{ {address}, hashes = {{ sha256 = \"{}\" }} }}]\n", "0a".repeat(32))
    };
    let pylock = |own: &str| {
        read(&format!(
            "lock-version = \"1.0\"\n[[packages]]\nname = \"two\"\nversion = \"1\"\n{}[[packages]]\n\
             name = \"own\"\nversion = \"1.0\"\n{own}",
            wheel("url = \"https://files.pythonhosted.org/packages/two-1-py3-none-any.whl\"")
        ))
    };
    let file = "own-1.0-py3-none-any.whl";
    let reason = "own it is from a file or a directory, not from an index";
    for (own, expected) in [
        // As pip and uv write them for `--find-links`.
        (wheel(&format!("url = \"file:///srv/w/{file}\"")), reason),
        (wheel(&format!("name = \"{file}\", path = \"./w/{file}\"")), reason),
        ("sdist = { path = \"own-1.0.tar.gz\", hashes = {} }\n".to_owned(), reason),
        (wheel(&format!("url = 'C:\\w\\{file}'")), reason),
        (format!("index = \"file:///srv/w\"\n{}", wheel(&format!("path = \"{file}\""))), reason),
        ("archive = { url = \"file:///srv/own.zip\", hashes = {} }\n".to_owned(), "own it is from a URL"),
    ] {
        let lock = pylock(&own);
        assert_eq!(lock.packages.len(), 1, "{own}");
        assert!(summary(&lock).ends_with(&format!("\n({expected})")), "{own}");
    }
    let stored = format!("index = \"https://pypi.org/simple\"\n{}", wheel(&format!("path = \"{file}\"")));
    assert_eq!(pylock(&stored).packages.len(), 2, "a stored file of an index");

    let uv = |index: &str| {
        format!("[[package]]\nname = \"own\"\nversion = \"1\"\nsource = {{ registry = \"{index}\" }}\n")
    };
    for index in ["../wheels", "wheels", "file:///srv/wheels", "C:/wheels"] {
        assert_eq!(summary(&read(&format!("version = 1\n{}", uv(index)))), format!("({reason})"), "{index}");
    }
    let pdm = "[metadata]\nlock_version = \"4.5.0\"\n[[package]]\nname = \"own\"\nversion = \"1\"\n\
               files = [{url = \"file:///srv/own-1.tar.gz\"}]\n";
    assert_eq!(summary(&read(pdm)), format!("({reason})"));
}

#[test]
fn the_server_of_the_files_stands_for_an_index_that_is_not_stated() {
    let pylock = |packages: &[(&str, &str, &str)]| {
        let package = |(name, index, url): &(&str, &str, &str)| {
            let index = if index.is_empty() { String::new() } else { format!("index = \"{index}\"\n") };
            let sdist = if url.is_empty() {
                String::new()
            } else {
                format!("sdist = {{ url = \"{url}/{name}-1.tar.gz\", hashes = {{}} }}\n")
            };
            format!("[[packages]]\nname = \"{name}\"\nversion = \"1\"\n{index}{sdist}")
        };
        by_index(&format!("lock-version = \"1.0\"\n{}", packages.iter().map(package).collect::<String>()))
    };
    let (pypi, files) = ("https://pypi.org/simple", "https://files.pythonhosted.org/p");
    let (team, store) = ("https://team.example.org/simple", "https://store.example.org/p");
    assert_eq!(pylock(&[("a", "", files), ("b", "", "https://team.example.org/p")]), "a==1 -b", "as of pip");
    assert_eq!(pylock(&[("a", "", store), ("b", "", store)]), "a==1 b==1", "the only server");
    assert_eq!(pylock(&[("a", pypi, ""), ("b", "", "")]), "a==1 b==1", "nothing stated");
    assert_eq!(pylock(&[("a", pypi, files), ("b", "", files)]), "a==1 b==1");
    assert_eq!(pylock(&[("a", team, store), ("b", "", store)]), "a==1 b==1", "files of the only index");
    assert_eq!(pylock(&[("a", pypi, files), ("b", team, store), ("c", "", store)]), "a==1 -b -c");
    assert_eq!(pylock(&[("a", team, ""), ("b", "", "https://team.example.org/p")]), "a==1 b==1");
    assert_eq!(pylock(&[("a", team, ""), ("b", "", "https://h/p")]), "a==1 -b", "another server");
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
    assert_eq!(error, BadPythonLockFile::NoVersion("odd".to_owned()));
    for system in ["hg", "svn", "bzr"] {
        let lock = read(&format!(
            r#"{{"_meta":{{}},"default":{{"own":{{"{system}":"https://h/own","ref":"00"}},"odd":{{"version":"==1"}}}}}}"#
        ));
        assert_eq!(summary(&lock), "odd 1\n(own it is from a version control system)", "{system}");
    }
}
