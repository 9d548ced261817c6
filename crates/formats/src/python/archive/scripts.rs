//! The scripts of a wheel: those that installers write for the entry points in `entry_points.txt` (PyPA: entry points
//! specification), and the names that no script may have.

use std::collections::HashSet;

use super::{MAX_NAME, PackageError, excerpt, notice};
use crate::python::metadata::validity::is_line_boundary;

/// The programs that a virtual environment begins with.
const INTERPRETERS: [&str; 3] = ["python", "pypy", "graalpy"];

/// Returns an error for the name of an interpreter, such as `python3.13t` or `PYTHON.exe`: pip replaces the interpreter of
/// the environment by the script, and uv refuses the wheel.
pub(super) fn check_name(name: &str) -> Result<(), PackageError> {
    let lower = name.to_lowercase();
    let stem = [".exe", ".py"].iter().find_map(|suffix| lower.strip_suffix(suffix)).unwrap_or(&lower);
    let rest = INTERPRETERS.iter().find_map(|interpreter| stem.strip_prefix(interpreter));
    let is_interpreter = rest.is_some_and(|rest| {
        let rest = rest.strip_prefix('w').unwrap_or(rest).trim_end_matches(['w', 't', 'd', 'm', 'u']);
        let (major, minor) = rest.split_once('.').unwrap_or((rest, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        rest.is_empty() || (major.len() == 1 && is_number(major) && is_number(minor))
    });
    if is_interpreter { Err(PackageError::Interpreter(excerpt(name))) } else { Ok(()) }
}

/// Checks `entry_points.txt`. Texts that pip and uv read differently, or one of them not at all, are notices. Fails
/// with the name of a script that cannot be a file name, or that is the name of an interpreter.
pub(super) fn check_entry_points(bytes: &[u8], notices: &mut Vec<String>) -> Result<(), PackageError> {
    let text = String::from_utf8_lossy(bytes);
    let mut defect = |line: &str, reason: &str| {
        notice(notices, || format!("entry_points.txt, '{}': {reason}", excerpt(line)));
    };
    if matches!(text, std::borrow::Cow::Owned(_)) {
        defect("", "the file is not UTF-8");
    }
    let text_without_mark = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if text_without_mark.len() < text.len() {
        defect("U+FEFF", "pip and uv do not read a file with a byte order mark");
    }
    // uv, which reads INI files, ends lines only there.
    if text.contains(|c: char| is_line_boundary(c) && !matches!(c, '\n' | '\r')) {
        defect("", "pip and uv end lines at different characters");
    }
    let (mut section, mut sections, mut names) = (None, HashSet::new(), HashSet::new());
    for line in text_without_mark.split(is_line_boundary) {
        let is_indented = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = Some(name.trim());
            names.clear();
            if !sections.insert(name) {
                defect(line, "the section occurs twice");
            }
            if name.trim().is_empty() || name.contains(['[', ']']) || name.trim() == "DEFAULT" {
                defect(line, "pip and uv read the name of the section differently");
            }
            continue;
        }
        let is_script = matches!(section, Some("console_scripts" | "gui_scripts"));
        let Some((name, value)) = line.split_once('=') else {
            defect(line, "the line has no name and value, so that pip and uv end with an error");
            continue;
        };
        let Some(section) = section else {
            defect(line, "the line belongs to no section");
            continue;
        };
        let name = name.trim();
        if !names.insert(name) {
            defect(line, &format!("the name occurs twice in [{section}]"));
        }
        if !is_script {
            if name.is_empty() {
                defect(line, "the line has no name, so that uv ends with an error");
            }
            continue;
        }
        check_script(name)?;
        if (is_indented && names.len() > 1) || name.starts_with(';') || name.contains(char::is_whitespace) {
            defect(line, "pip and uv install scripts of different names");
        }
        if !is_object_reference(value.trim()) {
            defect(line, "the value is not module:function, so that pip or uv ends with an error");
        }
    }
    Ok(())
}

/// Checks the name of a script, which installers use as a file name.
fn check_script(name: &str) -> Result<(), PackageError> {
    let is_part =
        !name.is_empty() && !name.contains(|c: char| c.is_control() || matches!(c, '/' | '\\' | '[' | ']'));
    if !is_part || name.len() > MAX_NAME || matches!(name, "." | "..") {
        return Err(PackageError::EntryPoint(excerpt(name)));
    }
    // pip takes the last word.
    check_name(name)?;
    check_name(name.split_whitespace().next_back().unwrap_or_default().trim_start_matches(';'))
}

/// Returns true for `module:attribute [extra]` as both pip and uv read it.
fn is_object_reference(value: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_');
    let is_path = |path: &str| path.split('.').all(is_word);
    let (reference, extras) = match value.split_once('[') {
        Some((reference, extras)) => (reference.trim_end(), extras.strip_suffix(']')),
        None => (value, Some("x")),
    };
    // pip reads a hyphen in the first extra only.
    let is_extra = |(at, extra): (usize, &str)| {
        let extra = extra.trim();
        is_word(&if at == 0 { extra.replace('-', "_") } else { extra.to_owned() })
    };
    reference.split_once(':').is_some_and(|(module, attribute)| is_path(module) && is_path(attribute))
        && extras.is_some_and(|extras| extras.split(',').enumerate().all(is_extra))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Vec<String>, String> {
        let mut notices = Vec::new();
        check_entry_points(text.as_bytes(), &mut notices).map_err(|error| error.to_string())?;
        Ok(notices)
    }

    #[test]
    fn interpreters_are_not_replaced() {
        for name in [
            "python",
            "python3",
            "python3.11",
            "python3.13t",
            "python2.7",
            "pythonw",
            "PYTHON",
            "Python.PY",
            "python.exe",
            "pythonw3.exe",
            "pypy3",
            "pypy3.10",
            "graalpy",
            "python3w",
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
        for name in [
            "pip",
            "activate",
            "python-config",
            "python3-config",
            "py",
            "pydoc",
            "pythonx",
            "ipython",
            "bpython",
            "python.bat",
        ] {
            assert!(check_name(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn names_of_scripts_are_file_names() {
        for name in [
            "smc++", ",docker", "run@dev", "do!", "~x", "x%y", "a:b", "x#y", "f(x)", "größe", "a.b-c_1",
            "...",
        ] {
            for section in ["console_scripts", "gui_scripts"] {
                assert_eq!(check(&format!("[{section}]\n{name} = m:f\n")), Ok(Vec::new()), "{name}");
            }
        }
        for name in
            ["a/b", "a\\b", "", ".", "..", "[x", "x[1]", "x]", "a\u{1}b", "python", "a python", ";python"]
        {
            assert!(check(&format!("[gui_scripts]\n{name} = m:f\n")).is_err(), "{name}");
        }
        assert_eq!(
            check("[other]\nc++/x y = m:f\n# a/b = c\n\n[console_scripts]\n# x/y = z\n"),
            Ok(Vec::new())
        );
        assert_eq!(check(&format!("[console_scripts]\n{} = m:f\n", "a".repeat(255))), Ok(Vec::new()));
        for long in ["a".repeat(256), "é".repeat(128)] {
            let error = check(&format!("[console_scripts]\n{long} = m:f\n")).expect_err("too long");
            assert!(error.contains("of at most 255 bytes"), "{error}");
        }
        assert!(
            check("[console_scripts]\nx = m:f\u{2028}python = m:f\n").is_err(),
            "Python ends a line here"
        );
    }

    #[test]
    fn texts_that_an_installer_cannot_read_are_stated() {
        for (text, reason) in [
            ("\u{feff}[console_scripts]\nz = m:f\n", "pip and uv do not read a file with a byte order mark"),
            ("z = m:f\n", "the line belongs to no section"),
            ("[a]\nb\n", "the line has no name and value"),
            ("[console_scripts]\ny =\n", "the value is not module:function"),
            ("[console_scripts]\nx = m\n", "the value is not module:function"),
            ("[console_scripts]\nx = m.a-b:f\n", "the value is not module:function"),
            ("[console_scripts]\nx=y = m:f\n", "the value is not module:function"),
            ("[console_scripts]\nx = m:f [a,b-c]\n", "the value is not module:function"),
            ("[console_scripts]\nmy tool = m:f\n", "pip and uv install scripts of different names"),
            ("[console_scripts]\n;x = m:f\n", "pip and uv install scripts of different names"),
            ("[console_scripts]\nx = m:f\n y = m:f\n", "pip and uv install scripts of different names"),
            ("[console_scripts]\nx = m:f\nx = m:f\n", "the name occurs twice in [console_scripts]"),
            ("[a]\n[a]\n", "the section occurs twice"),
            ("[DEFAULT]\nz = m:f\n[console_scripts]\nx = m:f\n", "the name of the section differently"),
            ("[ DEFAULT ]\n", "the name of the section differently"),
            ("[console_scripts]]\nx = m:f\n", "the name of the section differently"),
            ("[[console_scripts]]\nx = m:f\n", "the name of the section differently"),
            ("[]\nx = m:f\n", "the name of the section differently"),
            ("[ ]\n", "the name of the section differently"),
            ("[a]\n= z\n", "the line has no name"),
            ("[console_scripts]\nx = m:f\u{b}y = m:f\n", "end lines at different characters"),
            ("[console_scripts]\nx = m:f\u{1c}y = m:f\n", "end lines at different characters"),
            ("[console_scripts]\nx = m:f\u{85}y = m:f\n", "end lines at different characters"),
            ("# c\u{2028}[console_scripts]\nx = m:f\n", "end lines at different characters"),
        ] {
            let notices = check(text).expect(text);
            assert!(notices.len() == 1 && notices[0].contains(reason), "{text:?}: {notices:?}");
        }
        assert_eq!(check("[console_scripts]\r\nx = m.a:f.b [a-b, c]\r\ny=m:f[a]\r\n"), Ok(Vec::new()));
    }
}
