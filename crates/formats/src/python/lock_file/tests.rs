//! Examples and properties of lock files in all formats.

use proptest::prelude::*;

use super::*;
use crate::python::name;

const A: &str = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";
const B: &str = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";

pub(super) fn read(text: &str) -> PythonLockFile {
    parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Returns a line per package: name, version, marker, and its files with the first two digits of digests.
pub(super) fn summary(lock: &PythonLockFile) -> String {
    let line = |package: &LockedPackage| {
        let files = package.files.iter().map(|file| {
            let digest =
                file.sha256.map_or_else(|| "-".to_owned(), |digest| digest.to_string()[..2].to_owned());
            format!(" {}={digest}", file.name.as_deref().unwrap_or("?"))
        });
        let marker = package.marker.as_ref().map(|marker| format!(" [{marker}]")).unwrap_or_default();
        format!("{} {}{marker}{}", package.name, package.version, files.collect::<String>())
    };
    let skipped = lock.skipped.iter().map(|package| format!("({} {})", package.name, package.reason));
    lock.packages.iter().map(line).chain(skipped).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_pylock_file_is_read() {
    let lock = read(&format!(
        r#"lock-version = "1.0"
created-by = "x"
[[packages]]
name = "Odd.Name"
version = "1.0+x"
marker = "os_name == 'posix'"
index = "https://index.example.org/simple/"
sdist = {{ url = "https://h/p/odd_name-1.0%2Bx.tar.gz?a=b#c", upload-time = 2026-03-19T14:22:25Z, hashes = {{ sha256 = "{A}" }} }}
wheels = [{{ name = "odd_name-1.0+x-py3-none-any.whl", path = "w.whl", size = 7, hashes = {{ md5 = "00", SHA256 = "{B}" }} }}]
[[packages]]
name = "own"
directory = {{ path = "." }}
[[packages]]
name = "fork"
vcs = {{ type = "git", url = "https://h/fork", commit-id = "00" }}
[[packages]]
name = "file"
archive = {{ url = "https://h/file.zip", hashes = {{}} }}
"#
    ));
    assert_eq!(lock.kind, PythonLockKind::Pylock);
    assert_eq!(
        summary(&lock),
        "odd-name 1.0+x [os_name == 'posix'] odd_name-1.0+x.tar.gz=0a odd_name-1.0+x-py3-none-any.whl=0b\n\
         (own it is from a directory)\n(fork it is from a version control system)\n(file it is from a URL)"
    );
    assert_eq!(lock.packages[0].files[1].size, Some(7));
}

#[test]
fn a_lock_file_of_uv_is_read() {
    let lock = read(&format!(
        r#"version = 1
revision = 5
[[package]]
name = "odd"
version = "1.0"
source = {{ registry = "https://index.example.org/simple/" }}
resolution-markers = ["python_version < '3.11'", "python_version > '3.12'"]
dependencies = [{{ name = "own" }}]
sdist = {{ url = "https://h/odd-1.0.tar.gz", hash = "sha256:{A}", size = 5, upload-time = "2026-03-19T14:22:25.026Z" }}
wheels = [{{ url = "https://h/odd-1.0-py3-none-any.whl", hash = "sha256:{B}" }}]
[[package]]
name = "own"
version = "0.1"
source = {{ virtual = "." }}
[[package]]
name = "fork"
version = "2"
source = {{ git = "https://h/fork?rev=x#00" }}
[[package]]
name = "direct"
version = "3"
source = {{ url = "https://h/direct-3.tar.gz" }}
sdist = {{ hash = "sha256:{A}" }}
"#
    ));
    assert_eq!(lock.kind, PythonLockKind::Uv);
    assert_eq!(
        summary(&lock),
        "odd 1.0 [(python_version < '3.11') or (python_version > '3.12')] odd-1.0.tar.gz=0a \
         odd-1.0-py3-none-any.whl=0b\n(own it is from a directory)\n(fork it is from a git repository)\n\
         (direct it is from a URL)"
    );
}

#[test]
fn lock_files_of_poetry_are_read() {
    let lock = read(&format!(
        r#"[[package]]
name = "odd"
version = "1.0"
files = [{{file = "odd-1.0.tar.gz", hash = "sha256:{A}"}}, {{file = "odd-1.0-py3-none-any.whl", hash = "md5:00"}}]
markers = "os_name == 'nt'"
[package.source]
type = "legacy"
url = "https://index.example.org/simple"
[[package]]
name = "even"
version = "2"
files = []
markers = {{main = "a == 'b'"}}
[package.source]
type = "legacy"
url = "https://index.example.org/simple"
[[package]]
name = "fork"
version = "2"
files = []
[package.source]
type = "git"
url = "https://h/fork"
[metadata]
lock-version = "2.1"
content-hash = "00"
"#
    ));
    assert_eq!(lock.kind, PythonLockKind::Poetry);
    assert_eq!(
        summary(&lock),
        "odd 1.0 [os_name == 'nt'] odd-1.0.tar.gz=0a odd-1.0-py3-none-any.whl=-\neven 2 [a == 'b']\n\
         (fork it is from a git repository)"
    );
    let earlier = read(&format!(
        r#"[[package]]
name = "odd"
version = "1.0"
category = "main"
[metadata]
lock-version = "1.1"
content-hash = "00"
[metadata.files]
odd = [{{file = "odd-1.0.tar.gz", hash = "sha256:{B}"}}]
"#
    ));
    assert_eq!((earlier.kind, &*summary(&earlier)), (PythonLockKind::Poetry, "odd 1.0 odd-1.0.tar.gz=0b"));
}

#[test]
fn the_versions_of_a_package_share_the_files_that_poetry_lists_once() {
    let packages = |count: usize| {
        let package = |at: usize| format!("[[package]]\nname = \"odd\"\nversion = \"1.{at}\"\n");
        (0..count).map(package).collect::<String>()
    };
    let text = |count: usize, files: &str| {
        format!("{}[metadata]\nlock-version = \"1.1\"\n[metadata.files]\nodd = [{files}]\n", packages(count))
    };
    let lock = read(&text(3, "{file = \"odd-1.0.tar.gz\"}, {}"));
    assert_eq!(lock.packages.len(), 3);
    assert_eq!(lock.packages[2].files.len(), 2);
    for package in &lock.packages {
        assert!(Arc::ptr_eq(&package.files, &lock.packages[0].files), "one list for {}", package.version);
    }
    let count = MAX_FILES / 1000 + 1;
    let error = parse(text(count, &"{},".repeat(1000)).as_bytes()).expect_err("too many files");
    assert_eq!(error, BadPythonLockFile::TooMany { count: 501_000, items: "files", limit: MAX_FILES });
    assert_eq!(
        error.to_string(),
        "the file has 501000 files, more than the 500000 allowed; lock fewer projects in one file"
    );
    let error = parse(text(MAX_PACKAGES + 1, "").as_bytes()).expect_err("too many packages");
    assert_eq!(
        error,
        BadPythonLockFile::TooMany { count: MAX_PACKAGES + 1, items: "packages", limit: MAX_PACKAGES }
    );
}

#[test]
fn a_lock_file_of_pdm_is_read() {
    let package = format!(
        r#"[[package]]
name = "odd"
version = "1.0"
marker = "os_name == 'nt'"
files = [{{file = "odd-1.0.tar.gz", hash = "sha256:{A}"}}, {{url = "https://h/odd-1.0-py3-none-any.whl", hash = "sha256:{B}"}}]
"#
    );
    let lock = read(&format!(
        r#"[metadata]
groups = ["default"]
lock_version = "4.5.0"
content_hash = "sha256:00"
{package}{package}[[package]]
name = "fork"
version = "1"
git = "https://h/fork"
revision = "00"
[[package]]
name = "own"
version = "1"
path = "./own"
"#
    ));
    assert_eq!(lock.kind, PythonLockKind::Pdm);
    assert_eq!(
        summary(&lock),
        "odd 1.0 [os_name == 'nt'] odd-1.0.tar.gz=0a odd-1.0-py3-none-any.whl=0b\n\
         (fork it is from a git repository)\n(own it is from a directory)"
    );
}

#[test]
fn a_lock_file_of_pipenv_is_read() {
    let package =
        format!(r#"{{"hashes": ["sha256:{A}"], "markers": "os_name == 'nt'", "version": "==1.0"}}"#);
    let lock = read(&format!(
        r#"{{"_meta": {{"pipfile-spec": 6, "hash": {{"sha256": "00"}}}},
        "default": {{"odd": {package}, "fork": {{"git": "https://h/fork", "ref": "00"}}}},
        "develop": {{"Odd": {package}, "even": {{"version": "==2", "extras": ["x"]}}, "own": {{"path": "."}}}}}}"#
    ));
    assert_eq!(lock.kind, PythonLockKind::Pipfile);
    assert_eq!(
        summary(&lock),
        "odd 1.0 [os_name == 'nt'] ?=0a\neven 2\n(fork it is from a git repository)\n(own it is from a directory)"
    );
}

#[test]
fn other_files_are_refused_with_the_reason() {
    let error = |text: &str| parse(text.as_bytes()).expect_err(text).to_string();
    for text in ["", "{}", "[project]\nname = 'x'\n", "flask = 1"] {
        assert_eq!(parse(text.as_bytes()), Err(BadPythonLockFile::Unknown), "{text}");
    }
    assert!(error("flask==1.0\n").starts_with("line 1: "), "a requirements file");
    assert!(error("version = 1\n[[package]]\nname = 7\n").starts_with("line 3: "));
    assert!(error("{\n\"_meta\": {},\n\"default\": []}").starts_with("line 3: "));
    assert_eq!(
        error("lock-version = '2.0'\n"),
        "the file has version 2.0 of the format of pylock.toml; version 1.0 is supported"
    );
    assert_eq!(
        error("version = 2\n"),
        "the file has version 2 of the format of uv.lock; version 1 is supported"
    );
    assert!(error(r#"{"_meta": {"pipfile-spec": 7}}"#).contains("version 6 is supported"));
    let uv =
        |keys: &str| error(&format!("version = 1\n[[package]]\nsource = {{ registry = 'r' }}\n{keys}\n"));
    assert!(uv("name = '../x'\nversion = '1'").contains("'../x' is not the name of a Python project"));
    assert!(uv("name = 'odd'").contains("the package 'odd' has no version"));
    let digest = uv("name = 'odd'\nversion = '1'\nsdist = { url = 'https://h/x', hash = 'sha256:0a' }");
    assert!(digest.contains("the package 'odd' has the digest '0a'"), "{digest}");
    assert_eq!(parse(b"\xff"), Err(BadPythonLockFile::NotUtf8));
    assert_eq!(parse(&vec![b' '; MAX_FILE + 1]), Err(BadPythonLockFile::TooLarge(MAX_FILE + 1)));
    assert!(parse(format!("a = {}", "[".repeat(100_000)).as_bytes()).is_err(), "deep nesting");
    assert!(parse(format!("{{\"_meta\": {}", "[".repeat(100_000)).as_bytes()).is_err(), "deep nesting");
}

/// A package with one source distribution.
#[derive(Clone, Debug)]
struct Model {
    name: String,
    version: String,
    digest: String,
    marker: Option<&'static str>,
}

fn models() -> impl Strategy<Value = Vec<Model>> {
    let marker = prop::option::of(prop::sample::select(vec!["os_name == 'nt'", "python_version < '3.11'"]));
    let model = ("[a-z][a-z0-9]{0,6}", "[0-9]{1,3}(\\.[0-9]{1,3}){0,2}", "[0-9a-f]{64}", marker)
        .prop_map(|(name, version, digest, marker)| Model { name, version, digest, marker });
    prop::collection::vec(model, 0..6).prop_map(|mut models| {
        models.sort_by(|a, b| a.name.cmp(&b.name));
        models.dedup_by(|a, b| a.name == b.name);
        models
    })
}

/// Writes the packages as a lock file.
fn write(kind: PythonLockKind, models: &[Model]) -> String {
    let optional = |key: &str, marker: Option<&str>| {
        marker.map(|marker| format!("{key} = \"{marker}\"\n")).unwrap_or_default()
    };
    let table = |head: &str, rest: &dyn Fn(&Model) -> String| {
        let tables = models.iter().map(|model| {
            format!("[[{head}]]\nname = \"{}\"\nversion = \"{}\"\n{}", model.name, model.version, rest(model))
        });
        tables.collect::<String>()
    };
    let file = |model: &Model| format!("{}-{}.tar.gz", model.name, model.version);
    match kind {
        PythonLockKind::Pylock => {
            let rest = |model: &Model| {
                let marker = optional("marker", model.marker);
                format!(
                    "{marker}sdist = {{ url = \"https://h/{}\", hashes = {{ sha256 = \"{}\" }} }}\n",
                    file(model),
                    model.digest
                )
            };
            format!("lock-version = \"1.0\"\n{}", table("packages", &rest))
        }
        PythonLockKind::Uv => {
            let rest = |model: &Model| {
                let marker = model.marker.map(|marker| format!("resolution-markers = [\"{marker}\"]\n"));
                format!(
                    "{}source = {{ registry = \"https://r\" }}\nsdist = {{ url = \"https://h/{}\", hash = \"sha256:{}\" }}\n",
                    marker.unwrap_or_default(),
                    file(model),
                    model.digest
                )
            };
            format!("version = 1\n{}", table("package", &rest))
        }
        PythonLockKind::Poetry | PythonLockKind::Pdm => {
            let (key, head) = if kind == PythonLockKind::Pdm {
                ("marker", "[metadata]\nlock_version = \"4.5.0\"\n")
            } else {
                ("markers", "[metadata]\nlock-version = \"2.1\"\n")
            };
            let rest = |model: &Model| {
                let marker = optional(key, model.marker);
                format!(
                    "{marker}files = [{{file = \"{}\", hash = \"sha256:{}\"}}]\n",
                    file(model),
                    model.digest
                )
            };
            format!("{head}{}", table("package", &rest))
        }
        PythonLockKind::Pipfile => {
            let packages = models.iter().map(|model| {
                let hashes = [format!("sha256:{}", model.digest)];
                let version = format!("=={}", model.version);
                let package = match model.marker {
                    Some(marker) => {
                        serde_json::json!({"hashes": hashes, "version": version, "markers": marker})
                    }
                    None => serde_json::json!({"hashes": hashes, "version": version}),
                };
                (model.name.clone(), package)
            });
            let packages: serde_json::Map<String, serde_json::Value> = packages.collect();
            serde_json::json!({"_meta": {"pipfile-spec": 6}, "default": packages}).to_string()
        }
    }
}

proptest! {
    #[test]
    fn all_formats_give_equal_packages(models in models()) {
        for kind in PythonLockKind::ALL {
            let lock = read(&write(kind, &models));
            prop_assert_eq!(lock.kind, kind);
            let expected: Vec<LockedPackage> = models
                .iter()
                .map(|model| LockedPackage {
                    name: name::parse(&model.name).expect("a name"),
                    version: model.version.clone(),
                    marker: model.marker.map(str::to_owned),
                    index: match kind {
                        PythonLockKind::Uv => Some("https://r".to_owned()),
                        PythonLockKind::Pylock => Some("https://h".to_owned()),
                        PythonLockKind::Poetry | PythonLockKind::Pdm | PythonLockKind::Pipfile => None,
                    },
                    files: [LockedFile {
                        name: (kind != PythonLockKind::Pipfile).then(|| format!("{}-{}.tar.gz", model.name, model.version)),
                        sha256: Some(model.digest.parse().expect("a digest")),
                        size: None,
                    }]
                    .into(),
                })
                .collect();
            prop_assert_eq!(&lock.packages, &expected, "{}", kind);
            prop_assert!(lock.skipped.is_empty());
        }
    }

    #[test]
    fn no_text_causes_a_panic(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "version = 1\n", "lock-version = \"1.0\"\n", "[metadata]\n", "lock_version = \"4\"\n", "[[package]]\n",
                "[[packages]]\n", "name = \"a\"\n", "version = \"1\"\n", "files = [{}]\n", "sdist = {}\n", "{", "}",
                "\"_meta\": {}", ",", "\"default\": ", "source = {}\n", "é", "\u{0}",
            ]),
            0..12,
        )
    ) {
        let _ = parse(pieces.concat().as_bytes());
    }
}
