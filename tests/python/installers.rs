//! The verdicts about generated metadata and wheels, compared with those of pip, of its validator, and of uv.

use std::collections::BTreeSet;
use std::io::{Cursor, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rstudio_pm::python::archive::{WHEEL_LIMITS, wheel};
use rstudio_pm::python::metadata::validity;
use serde_json::{Value, json};
use sha2::Digest;

use super::clients::{program, text};
use crate::support::zip::zip;

/// A generator of the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }

    fn one<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

/// Asks pip.
fn pip(function: &str, input: &[Value]) -> Vec<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/installers.py");
    let mut command = Command::new(program("pip-newest", "python"));
    command.args([script, function]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("Python");
    let input = serde_json::to_vec(input).expect("JSON");
    child.stdin.take().expect("a pipe").write_all(&input).expect("read");
    let output = child.wait_with_output().expect("Python ends");
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A verdict of this server.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    Notices(String),
    Refused(String),
}

impl Verdict {
    fn of(result: Result<Vec<String>, String>) -> Verdict {
        match result {
            Ok(notices) if notices.is_empty() => Verdict::Accepted,
            Ok(notices) => Verdict::Notices(notices.join("; ")),
            Err(error) => Verdict::Refused(error),
        }
    }
}

const VERSIONS: [&str; 12] =
    ["1.0", "1.1", "1.2", "2.0", "2.1", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7"];
/// Fields with valid and other values.
const FIELDS: [(&str, &[&str]); 17] = [
    (
        "Requires-Python",
        &[
            ">=3.8",
            ">=3.8,<4",
            ">=3.8.*",
            "three",
            "",
            "==3.9.*",
            "!=3.0.*,>=2.7",
            "~=3",
            "~=3.9",
            "(>=3)",
            ">=3,",
            "===3",
            "==three",
            ">=3 <4",
        ],
    ),
    ("Provides-Extra", &["a", "a_b", "a b!", "", "-a", "é", "A.B"]),
    ("Dynamic", &["Summary", "requires-dist", "Name", "Nonsense", "", "Metadata-Version", "License-File"]),
    (
        "Import-Name",
        &["a", "a.b", "1bad!", "a; private", "a;private", "a; public", "", "class", "a..b", "_x1", "é"],
    ),
    ("Import-Namespace", &["a", "a.b", "1bad!", "a ; private", "x-y"]),
    (
        "License-File",
        &["LICENSE", "../x", "a/LICENSE", "/x", "a\\b", "*.txt", "a//b", "./a", "a/", "C:/x", "C:x", "a..b"],
    ),
    ("Summary", &["one", "one\n two", "one\u{2028}two", "one\u{b}two", ""]),
    (
        "Description-Content-Type",
        &[
            "text/markdown",
            "text/x-rst; charset=UTF-8",
            "text/html",
            "",
            "TEXT/PLAIN",
            "text/markdown; variant=GFM",
            "text/markdown; variant=x",
            "text/plain; charset=latin-1",
            "text/plain; variant=x",
            "markdown",
            "text/markdown; charset=utf-8; variant=CommonMark",
        ],
    ),
    (
        "License-Expression",
        &["MIT", "mit or apache-2.0", "free", "MIT WITH x", "(MIT)", "MIT AND", "LicenseRef-x"],
    ),
    ("Project-URL", &["a, https://e.org", "b, https://e.org", "https://e.org", ", https://e.org"]),
    ("Keywords", &["a,b", "a b", ""]),
    ("Classifier", &["A :: B", "anything"]),
    ("Requires-External", &["C", "libpng (>=1.5)", "x y z"]),
    ("Provides-Dist", &["a", "a (1.0)", "! x"]),
    ("Author-email", &["a@b", "x"]),
    ("X-Other", &["a"]),
    ("Platform", &["UNKNOWN", "any"]),
];

fn requirement(numbers: &mut Numbers) -> String {
    let name = numbers.one(&["foo", "foo", "foo-bar", "Foo.Bar_1", "-foo", "foo-", "foo bar", "", "é"]);
    let extras = numbers.one(&["", "", "", "[x]", "[x, y]", "[]", "[x", "[x,]", "[x y]", " [x]"]);
    let mut versions = String::new();
    for number in 0..numbers.below(4) {
        if number > 0 {
            versions.push_str(numbers.one(&[",", ",", ", ", " , ", " ", ",,"]));
        }
        versions
            .push_str(numbers.one(&[">=", "<", "==", "!=", "~=", "===", "<=", ">", ">>", "= ", "", "=>"]));
        versions.push_str(numbers.one(&["", "", " "]));
        versions
            .push_str(numbers.one(&[
                "1.0", "1.0", "2", "1.0.*", "2004d", "1.0+x", "1.0rc1", "v1", "1!2", "x", "1.0.dev1",
            ]));
    }
    if numbers.below(4) == 0 {
        versions = numbers
            .one(&["(V)", " (V)", "(V", "V)", "@ https://e.org/f.whl", "@", "( V )"])
            .replace('V', &versions);
    }
    let marker = numbers.one(&[
        "",
        "",
        "",
        "; python_version < '3'",
        "; extra == 'x'",
        ";os_name=='nt' and (extra == \"a\" or extra == 'b')",
        ";",
        "; x",
        "; python_version",
        "; python_version < 3",
        "; 'a' in sys_platform",
        "; os_name not in 'nt'",
        "; (extra == 'x'",
        "; extra == 'x' and",
    ]);
    format!("{name}{extras}{}{versions}{marker}", numbers.one(&["", "", " "]))
}

#[test]
fn metadata_is_valid_if_the_validator_of_pypi_accepts_it() {
    let mut numbers = Numbers(20_261_127);
    let mut texts = Vec::new();
    for number in 0..1_500 {
        let mut text = format!("Metadata-Version: {}\nName: odd\nVersion: 1.0\n", numbers.one(&VERSIONS));
        if number % 3 == 0 {
            // Half of these are about one requirement.
            text = text.replace(&text[..21], "Metadata-Version: 2.1");
            text.push_str(&format!("Requires-Dist: {}\n", requirement(&mut numbers)));
        } else {
            for _ in 0..numbers.below(3) {
                let (name, values) = FIELDS[numbers.below(FIELDS.len())];
                text.push_str(&format!("{name}: {}\n", numbers.one(values)));
            }
        }
        text.push_str(numbers.one(&["", "", "\nText.\n"]));
        texts.push(text);
    }
    let expected = pip("metadata", &texts.iter().map(|text| json!(text)).collect::<Vec<_>>());
    let (mut counts, mut differences) = ([0, 0, 0], Vec::new());
    for (text, is_valid) in texts.iter().zip(expected) {
        let verdict = Verdict::of(validity::check(text.as_bytes()).map_err(|error| error.to_string()));
        counts[match &verdict {
            Verdict::Accepted => 0,
            Verdict::Notices(_) => 1,
            Verdict::Refused(_) => 2,
        }] += 1;
        if (verdict == Verdict::Accepted) != (is_valid == json!(true)) {
            differences.push(format!("{text:?}: {verdict:?}"));
        }
    }
    assert!(differences.is_empty(), "{} of {}:\n{}", differences.len(), texts.len(), differences.join("\n"));
    assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
}

/// A generated wheel.
struct Wheel {
    name: String,
    members: Vec<(String, String)>,
}

const SCRIPT_NAMES: [&str; 40] = [
    "run",
    "run",
    "smc++",
    ",docker",
    "run@dev",
    "do!",
    "~x",
    "x%y",
    "a:b",
    "x#y",
    "f(x)",
    "größe",
    "-x",
    "...",
    "my tool",
    "a/b",
    "a\\b",
    "..",
    ".",
    "[x",
    "x[1]",
    ";x",
    "python",
    "python3",
    "python3.11",
    "python3.13t",
    "pythonw",
    "pypy3",
    "graalpy",
    "python.py",
    "PYTHON",
    "idle",
    "activate",
    "python-config",
    "",
    "x=y",
    "pydoc",
    "a;b",
    "$x",
    "python.bat",
];
const REFERENCES: [&str; 20] = [
    "M:f",
    "M:f",
    "M.a:f.b",
    "M:f [x]",
    "M:f[x,y]",
    "M:f [a-b]",
    "M",
    "M:",
    "M.a-b:f",
    "M : f",
    "M:f [x,a-b]",
    "M:f []",
    "M:f # c",
    "M:f()",
    "",
    "M..a:f",
    ".M:f",
    "M:f x",
    "M:f [x=1]",
    "1M:1f",
];
const DATA_PATHS: [&str; 17] = [
    "N-1.0.data/scripts/run",
    "N-1.0.data/data/etc/x",
    "N-1.0.data/purelib/x.py",
    "N-1.0.data/headers/x.h",
    "N-1.0.data/scripts/d/x",
    "N-1.0.data/bogus/x",
    "N-1.0.data/x",
    "N-1.0.data/Scripts/x",
    "x.data/scripts/run",
    "x.data",
    "N-1.0.0.data/scripts/run",
    "N.data/a",
    "N-1.0.data/scripts/python",
    "N-1.0.data/scripts/python3.11",
    "N-1.0.data/data/bin/python",
    "N/x.data/a",
    "N-1.0.data/scripts/",
];
const ENTRY_POINTS: [&str; 12] = [
    "[console_scripts]\nx = M:f\n",
    "[gui_scripts]\nx = M:f\n",
    "\u{feff}[console_scripts]\nx = M:f\n",
    "x = M:f\n",
    "[a]\nb\n",
    "[console_scripts]\ny =\n    M:f\n",
    "[console_scripts]\nx = M:f\nx = M:f\n",
    "[console_scripts]\nx: M:f\n",
    "[a]\nb = c d\n",
    "[console_scripts]\r\nx = M:f\r\n",
    "[console_scripts]\nx = M:f\n y = M:f\n",
    "# c\n\n[console_scripts]\n# x\n",
];

fn generate(number: usize, numbers: &mut Numbers) -> Wheel {
    let name = format!("w{number:03}");
    let info = format!("{name}-1.0.dist-info");
    let wheel_file = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let mut members = vec![
        (format!("{name}/__init__.py"), "def f(): pass\n".to_owned()),
        (format!("{info}/METADATA"), format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")),
        (format!("{info}/WHEEL"), wheel_file.to_owned()),
    ];
    let entry_points = match numbers.below(4) {
        0 => None,
        1 => Some(numbers.one(&ENTRY_POINTS).to_owned()),
        2 => Some(format!("[console_scripts]\n{} = M:f\n", numbers.one(&SCRIPT_NAMES))),
        _ => Some(format!("[gui_scripts]\nx = {}\n", numbers.one(&REFERENCES))),
    };
    members.extend(entry_points.map(|text| (format!("{info}/entry_points.txt"), text.replace('M', &name))));
    if members.len() == 3 || numbers.below(6) == 0 {
        let path = numbers.one(&DATA_PATHS).replace('N', &name);
        let text = if path.ends_with('/') { "" } else { "#!python\n" };
        members.push((path, text.to_owned()));
    }
    let files = members.iter().filter(|(path, _)| !path.ends_with('/'));
    let row = |(path, text): &(String, String)| {
        format!(
            "{path},sha256={},{}\n",
            BASE64_URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(text)),
            text.len()
        )
    };
    let record: String = files.map(row).collect();
    members.push((format!("{info}/RECORD"), format!("{record}{info}/RECORD,,\n")));
    Wheel { name, members }
}

/// Installs wheels with uv into a new folder; returns the names of the scripts, or the error.
fn uv(folder: &Path, wheels: &[&Path]) -> Result<BTreeSet<String>, String> {
    let mut command = Command::new(program("uv", "uv"));
    command.args([
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--offline",
        "--no-config",
        "--no-cache",
        "--target",
    ]);
    command.arg(folder).arg("--python").arg(program("pip-newest", "python")).args(wheels);
    let output = command.output().expect("uv");
    if !output.status.success() {
        return Err(text(&output));
    }
    let entries = std::fs::read_dir(folder.join("bin")).into_iter().flatten();
    Ok(entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect())
}

#[test]
fn wheels_without_notices_are_installed_alike_and_others_are_not() {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = temporary.path();
    let mut numbers = Numbers(7);
    let mut wheels = Vec::new();
    for number in 0..250 {
        let Wheel { name, members } = generate(number, &mut numbers);
        let file = format!("{name}-1.0-py3-none-any.whl");
        let bytes = zip(&members);
        let path = folder.join(&file);
        std::fs::write(&path, &bytes).expect("written");
        let read = wheel::read(&mut Cursor::new(bytes), &file, WHEEL_LIMITS);
        wheels.push((
            name,
            path,
            Verdict::of(read.map(|wheel| wheel.notices).map_err(|error| error.to_string())),
        ));
    }
    let input: Vec<Value> = wheels
        .iter()
        .map(|(name, path, _)| json!({ "name": name, "wheel": path, "folder": folder.join(format!("pip-{name}")) }))
        .collect();
    for item in &input {
        std::fs::create_dir(item["folder"].as_str().expect("a path")).expect("created");
    }
    let by_pip = pip("install", &input);
    let (mut differences, mut counts) = (Vec::new(), [0, 0, 0]);
    for ((name, path, verdict), by_pip) in wheels.iter().zip(by_pip) {
        let pip_scripts = by_pip["scripts"].as_array().map(|scripts| {
            scripts.iter().map(|script| script.as_str().expect("a name").to_owned()).collect::<BTreeSet<_>>()
        });
        let by_uv = uv(&folder.join(format!("uv-{name}")), &[path]);
        let is_installed_alike = pip_scripts.is_some() && by_uv.as_ref().ok() == pip_scripts.as_ref();
        counts[match verdict {
            Verdict::Accepted => 0,
            Verdict::Notices(_) => 1,
            Verdict::Refused(_) => 2,
        }] += 1;
        // Names that are no file names on Windows, and interpreters of other versions than that of the test.
        let is_refused_on_purpose = matches!(verdict, Verdict::Refused(error) if error.contains('\\'));
        // pip installs nothing of a file that it cannot read.
        let is_without_effect =
            matches!(verdict, Verdict::Notices(text) if text.contains("entry_points.txt"));
        if (*verdict == Verdict::Accepted) != is_installed_alike
            && !(is_installed_alike && (is_refused_on_purpose || is_without_effect))
        {
            differences.push(format!("{name}: {verdict:?}; pip: {by_pip}; uv: {by_uv:?}"));
        }
    }
    assert!(differences.is_empty(), "{}:\n{}", differences.len(), differences.join("\n"));
    assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
    let accepted: Vec<&Path> = wheels
        .iter()
        .filter(|(_, _, verdict)| *verdict == Verdict::Accepted)
        .map(|(_, path, _)| path.as_path())
        .collect();
    uv(&folder.join("uv-all"), &accepted).expect("installs all");
}
