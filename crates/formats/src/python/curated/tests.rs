//! Tests of definitions and plans.

use std::collections::BTreeMap;

use super::plan::{BaseFile, BaseProject, Plan, RowState, plan};
use super::rule::ProjectRule;
use super::{
    MAX_SKIPPED, NamedFile, PythonDefinition, ReadOptions, constraints, read, read_for, requirements,
};
use crate::python::name;
use crate::python::selection::environments;
use crate::python::version::Pep440Version;
use base::model::digest::Sha256;
use base::model::project_name::ProjectName;

fn name(text: &str) -> ProjectName {
    name::parse(text).expect(text)
}

fn definition(files: &[(&str, &str)]) -> PythonDefinition {
    let files: Vec<NamedFile<'_>> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    read(&files, ReadOptions::default()).expect("a definition")
}

fn refusal(files: &[(&str, &str)], strict: bool) -> String {
    let files: Vec<NamedFile<'_>> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    read(&files, ReadOptions { strict }).expect_err("refused").to_string()
}

#[test]
fn all_files_of_a_definition_are_read() {
    let definition = definition(&[
        ("a/r.txt", "one\n"),
        ("limits.txt", "two<2\nthree<3\n"),
        ("b/r.txt", "two\n-c ../limits.txt\n"),
        ("c.txt", "-r d.txt\nfour\n"),
        ("d.txt", "-r c.txt\nfive\n"),
    ]);
    let names: Vec<&str> = definition.rules.keys().map(ProjectName::as_str).collect();
    assert_eq!(names, ["five", "four", "one", "two"]);
    assert!(!definition.rules[&name("two")].allows_all());
    assert_eq!(definition.constraints.keys().map(ProjectName::as_str).collect::<Vec<_>>(), ["three"]);
    assert_eq!(definition.origins[&name("four")], "c.txt, line 2");
    let refused = refusal(&[("a.txt", "one\n"), ("b.txt", "two==\n")], false);
    assert!(refused.starts_with("b.txt: "), "{refused}");
}

#[test]
fn requirements_for_other_environments_are_left_out() {
    let text = "one\ntwo; python_version < '3.9'\nthree; sys_platform == 'win32'\n\
        four; extra == 'x' and python_version >= '3.9'\nfive; platform_release > '1'\n-c limits.txt\n";
    let limits = "one<2; python_version < '3.9'\nfour<4; python_version > '3'\n";
    let files: [NamedFile<'_>; 2] = [("r.txt", text.as_bytes()), ("limits.txt", limits.as_bytes())];
    let targets = |pythons: &[&str]| {
        let pythons: Vec<String> = pythons.iter().map(|text| (*text).to_owned()).collect();
        environments(&pythons, &["manylinux_2_28_x86_64".to_owned()]).expect("targets")
    };
    let definition = read_for(&files, ReadOptions::default(), &targets(&["3.12"])).expect("a definition");
    let names: Vec<&str> = definition.rules.keys().map(ProjectName::as_str).collect();
    assert_eq!(names, ["five", "four", "one"]);
    assert!(definition.rules[&name("one")].allows_all() && !definition.rules[&name("four")].allows_all());
    let notice = "r.txt, line 2: 3 requirements are left out; the environment markers exclude the requested versions of \
        Python and platforms";
    assert_eq!(definition.notices, [notice]);
    let either = read_for(&files, ReadOptions::default(), &targets(&["3.12", "3.8"])).expect("a definition");
    assert_eq!((either.rules.len(), either.rules[&name("one")].allows_all()), (4, false));
    let all = read(&files, ReadOptions::default()).expect("a definition");
    assert_eq!(all.rules.len(), 5, "without environments, markers are ignored");

    let lock = "version = 1\n[[package]]\nname = \"one\"\nversion = \"1\"\n\
        source = { registry = \"https://pypi.org/simple\" }\n\
        resolution-markers = [\"python_full_version < '3.9'\", \"sys_platform == 'win32'\"]\n\
        sdist = { url = \"https://example.org/one-1.tar.gz\", hash = \"sha256:\" }\n";
    let lock = lock.replace("sha256:", &format!("sha256:{}", "0a".repeat(32)));
    let lock: [NamedFile<'_>; 1] = [("uv.lock", lock.as_bytes())];
    let error = read_for(&lock, ReadOptions::default(), &targets(&["3.12"])).expect_err("nothing is left");
    assert!(error.to_string().contains("exclude the requested versions of Python"), "{error}");
    assert_eq!(
        read_for(&lock, ReadOptions::default(), &targets(&["3.8"])).expect("it applies").rules.len(),
        1
    );
}

fn file(version: &str, digest: u8) -> BaseFile {
    BaseFile { version: Pep440Version::lenient(version), sha256: Sha256([digest; 32]) }
}

#[test]
fn a_nul_character_is_refused_with_its_line() {
    for (files, origin) in [
        (&[("requirements.txt", "odd\neven==1\0\n")][..], "requirements.txt, line 2: "),
        (&[("requirements.txt", "odd\n-r a.txt"), ("a.txt", "# \0")][..], "a.txt, line 1: "),
        (&[("a\0.txt", "odd\n")][..], "the file name 'a\\0.txt': "),
    ] {
        let refusal = refusal(files, false);
        assert!(refusal.starts_with(origin) && refusal.contains("NUL"), "{refusal}");
    }
}

#[test]
fn lines_of_one_package_are_alternatives_and_constraints_restrict_each() {
    let definition = definition(&[
        (
            "requirements.txt",
            "Odd>=1,<2\nodd==3 --hash=sha256:0303030303030303030303030303030303030303030303030303030303030303\n\
          even[x] ; os_name == 'nt'\n-r more/a.txt\n-c limits.txt\n",
        ),
        ("more/a.txt", "last\n-c ../limits.txt\n"),
        ("limits.txt", "odd!=1.5\nunused==1\nlast<9\n"),
    ]);
    let names: Vec<&str> = definition.rules.keys().map(ProjectName::as_str).collect();
    assert_eq!(names, ["even", "last", "odd"], "a constraints file adds no package");
    let odd = &definition.rules[&name("odd")];
    for (version, digest, is_allowed) in
        [("1.0", 1, true), ("1.5", 1, false), ("2.0", 1, false), ("3", 3, true), ("3.0", 1, false)]
    {
        assert_eq!(
            odd.allows(&Pep440Version::lenient(version), Sha256([digest; 32])),
            is_allowed,
            "{version}"
        );
    }
    assert_eq!(ProjectRule::parse(&odd.to_string()).as_ref(), Ok(odd), "the stored text is the rule");
    assert!(definition.rules[&name("even")].allows_all());
    assert_eq!(definition.rules[&name("last")].to_string(), "<9");
    assert_eq!(definition.origins[&name("last")], "more/a.txt, line 1");
    assert_eq!(definition.notices.len(), 1, "{:?}", definition.notices);
    let extras: Vec<&str> = definition.extras[&name("even")].iter().map(ProjectName::as_str).collect();
    assert_eq!((extras, definition.extras.len()), (vec!["x"], 1));
    assert_eq!(constraints(&definition), "unused==1\n", "the others are a part of the rules");
    let text = format!("-c c.txt\n{}", requirements(&definition));
    let limits = constraints(&definition);
    let again = read(&[("x", text.as_bytes()), ("c.txt", limits.as_bytes())], ReadOptions::default());
    let again = again.expect("valid");
    assert_eq!(again.rules, definition.rules, "{text}");
    assert_eq!((again.extras, again.constraints), (definition.extras, definition.constraints), "{text}");
}

#[test]
fn a_lock_file_allows_its_versions_and_if_strict_its_files() {
    let digest = "01".repeat(32);
    let lock = format!(
        "version = 1\n[[package]]\nname = \"odd\"\nversion = \"1.0\"\n\
         source = {{ registry = \"https://pypi.org/simple\" }}\n\
         sdist = {{ url = \"https://example.org/odd-1.0.tar.gz\", hash = \"sha256:{digest}\" }}\n\
         [[package]]\nname = \"own\"\nversion = \"0\"\nsource = {{ editable = \".\" }}\n"
    );
    let files: [NamedFile<'_>; 1] = [("uv.lock", lock.as_bytes())];
    for (strict, other_is_allowed) in [(false, true), (true, false)] {
        let definition = read(&files, ReadOptions { strict }).expect("a lock file");
        let rule = &definition.rules[&name("odd")];
        assert!(rule.allows(&Pep440Version::lenient("1.0"), Sha256([1; 32])));
        assert_eq!(rule.allows(&Pep440Version::lenient("1.0"), Sha256([2; 32])), other_is_allowed);
        assert!(!rule.allows(&Pep440Version::lenient("1.1"), Sha256([1; 32])));
        assert!(!definition.rules.contains_key(&name("own")));
        assert_eq!(definition.notices.len(), 1, "{:?}", definition.notices);
    }
}

#[test]
fn a_defect_is_refused_with_file_line_value_and_remedy() {
    let pdm = "[metadata]\nlock_version = \"4.5.0\"\n[[package]]\nname = \"odd\"\nversion = \"1.0\"\n";
    for (files, strict, reason) in [
        (&[("r.txt", "odd\nodd=>1\n")][..], false, "r.txt: line 2: '=>1' is not a version specifier"),
        (
            &[("r.txt", "-e .\nfork @ git+https://u:secret@h/fork\n")][..],
            false,
            "r.txt names no package of the index: r.txt, line 1: '-e' is left out: it names a URL or a path; r.txt, \
             line 2: 'fork' is left out: it names a URL or a path",
        ),
        (
            &[("uv.lock", "version = 1\n[[package]]\nname = \"fork\"\nsource = { git = \"https://h\" }\n")][..],
            false,
            "uv.lock names no package of the index: uv.lock: 'fork' is left out: it is from a git repository",
        ),
        (
            &[("r.txt", "odd\n-r a.txt\n")][..],
            false,
            "r.txt, line 2: the file 'a.txt' is missing; write its lines",
        ),
        (
            &[("r.txt", "-r a.txt\n"), ("a.txt", "a b\n")][..],
            false,
            "a.txt: line 1: 'b' is not a version specifier",
        ),
        (
            &[("r.txt", "# nothing\n")][..],
            false,
            "r.txt names no package; write one requirement on each line",
        ),
        (&[("r.txt", "-c a.txt\n"), ("a.txt", "odd\n")][..], false, "r.txt names no package"),
        (
            &[("r.txt", "odd\n-c pdm.lock\n"), ("pdm.lock", pdm)][..],
            false,
            "r.txt, line 2: the constraints 'pdm.lock' are a lock file; name it with -r",
        ),
        (&[("x.lock", "[tool]\n")][..], false, "x.lock: this is not a lock file of a known format"),
        (&[("pdm.lock", pdm)][..], true, "pdm.lock (pdm.lock): the lock file has no SHA-256 of 'odd'"),
    ] {
        let text = refusal(files, strict);
        assert!(text.starts_with(reason), "{text}");
    }
}

#[test]
fn added_lines_are_restricted_by_the_current_constraints() {
    let current =
        definition(&[("r.txt", "odd[a]<3\n-c limits.txt\n"), ("limits.txt", "odd>1\neven<2\nlast!=1\n")]);
    let added = definition(&[
        ("--packages", "odd[b]==3\neven==1.0\neven>=1.5\n-c more.txt\n"),
        ("more.txt", "last<9\nfurther<2\n"),
    ]);
    let extended = super::extended(&current, added).expect("short constraints");
    assert_eq!(
        requirements(&extended),
        "even==1.0,<2\neven>=1.5,<2\nodd[a,b]<3,>1\nodd[a,b]==3\n",
        "the constraint of odd is a part of its current line"
    );
    assert_eq!(constraints(&extended), "further<2\nlast<9,!=1\n");
    assert_eq!(extended.origins[&name("odd")], "--packages, line 1");
}

fn planned(old: &str, new: &str, base: &[(&str, BaseProject)]) -> Plan {
    let old = if old.is_empty() { BTreeMap::new() } else { definition(&[("old", old)]).rules };
    let base = base.iter().map(|(text, project)| (name(text), project.clone())).collect();
    plan(&old, &definition(&[("r.txt", new)]), &base, "2024-01-31")
}

#[test]
fn a_plan_states_what_changes_with_files_and_newest_version() {
    let files =
        || BaseProject::Files(vec![file("1.0", 1), file("1.0", 2), file("2.0rc1", 3), file("2.0", 4)]);
    let base = [("odd", files()), ("even", files()), ("last", BaseProject::NotRead)];
    let plan = planned("odd<2\neven\ngone==1\n", "odd<2\neven==2.0rc1\nlast\n", &base);
    assert_eq!(plan.problems, Vec::<String>::new());
    let rows: Vec<_> = plan.rows.iter().map(|row| (row.name.as_str(), row.state, row.files)).collect();
    assert_eq!(
        rows,
        [
            ("even", RowState::Changed, Some(1)),
            ("gone", RowState::Removed, None),
            ("last", RowState::Added, None),
            ("odd", RowState::Kept, Some(2)),
        ]
    );
    assert_eq!(plan.rows[3].newest.as_deref(), Some("1.0"));
    assert_eq!((plan.rows[0].newest.as_deref(), &*plan.rows[0].constraint), (Some("2.0rc1"), "==2.0rc1"));
    assert_eq!((plan.count(RowState::Added), &*plan.rows[2].constraint), (1, "all versions"));
}

#[test]
fn a_missing_package_or_version_is_a_problem_with_the_line_and_near_versions() {
    let files = ["1.0", "1.1", "1.2", "1.3", "1.4", "2.0"].map(|version| file(version, 1));
    let files = BaseProject::Files(files.to_vec());
    let digest = "ff".repeat(32);
    for (line, project, reason) in [
        (
            "odd",
            BaseProject::Unlisted,
            "r.txt, line 1: there is no package 'odd' at 2024-01-31; correct the name",
        ),
        (
            "odd==1.2.5",
            files.clone(),
            "r.txt, line 1: there is no 'odd==1.2.5' (the closest versions are 1.1, 1.2, 1.3, 1.4) at 2024-01-31; change",
        ),
        (
            "odd>9",
            files.clone(),
            "r.txt, line 1: there is no 'odd>9' (the closest versions are 1.2, 1.3, 1.4, 2.0)",
        ),
        (
            &*format!("odd==1.0 --hash=sha256:{digest}"),
            files,
            "r.txt, line 1: no file of 'odd==1.0' has one of the digests at 2024-01-31",
        ),
        ("odd==1", BaseProject::Files(Vec::new()), "r.txt, line 1: there is no 'odd==1' (it has no files)"),
        (
            "odd==1",
            BaseProject::Unreadable("away".to_owned()),
            "r.txt, line 1: the files of 'odd' could not be read: away; try again",
        ),
    ] {
        let plan = planned("", line, &[("odd", project)]);
        let [problem] = plan.problems.as_slice() else { panic!("{plan:?}") };
        assert!(problem.starts_with(reason), "{problem}");
    }
    assert_eq!(planned("", "odd", &[("odd", BaseProject::Files(Vec::new()))]).problems, Vec::<String>::new());
}

#[test]
fn all_defects_of_all_files_are_reported() {
    let main = "odd\n-e .\n--global-option=x\n-r a.txt\n-r missing.txt\nodd=>1\n";
    let text = refusal(&[("r.txt", main), ("a.txt", "a b\n-c lock.txt\n"), ("lock.txt", "a = 1\n")], false);
    let begins = [
        "r.txt: line 3: the option '--global-option'",
        "r.txt: line 6: '=>1' is not a version specifier",
        "a.txt: line 1: 'b' is not a version specifier",
        "a.txt, line 2: the constraints 'lock.txt' are a lock file",
        "r.txt, line 5: the file 'missing.txt' is missing",
    ];
    assert_eq!(text.lines().count(), begins.len(), "{text}");
    for (line, begin) in text.lines().zip(begins) {
        assert!(line.starts_with(begin), "{begin}: {line}");
    }
    let many = "--global-option=x\n".repeat(30);
    let many = refusal(&[("r.txt", many.as_str())], false);
    assert!(many.lines().count() == 21 && many.ends_with("\nand 10 more"), "{many}");
}

#[test]
fn many_files_and_many_lines_of_one_package_are_refused() {
    let names: Vec<String> = (0..200).map(|number| format!("{number}.txt")).collect();
    let files: Vec<NamedFile<'_>> = names.iter().map(|name| (name.as_str(), &b"odd"[..])).collect();
    let error = read(&files, ReadOptions::default()).expect_err("refused").to_string();
    assert!(error.starts_with("the definition has 200 files, more than the 100 allowed"), "{error}");
    let lines: String = (0..2000).map(|number| format!("odd=={number}\n")).collect();
    let text = refusal(&[("r.txt", lines.as_str())], false);
    assert!(
        text.starts_with("r.txt, line 1001: 'odd' has more than 1000 different lines or digests"),
        "{text}"
    );
}

#[test]
fn constraints_that_would_be_copied_to_many_lines_are_refused() {
    let lines: String = (0..1000).map(|number| format!("odd=={number}\n")).collect();
    let digests: String = (0..1000).map(|number| format!(" --hash=sha256:{number:064x}")).collect();
    let constraint = format!("odd{digests}\n");
    let main = format!("{lines}-c c.txt\n");
    let text = refusal(&[("r.txt", main.as_str()), ("c.txt", constraint.as_str())], false);
    assert_eq!(
        text,
        "c.txt, line 1: the constraints are too long; write one line for each package, with its versions"
    );
    let definition = definition(&[("r.txt", "odd==1\nodd==2\n-c c.txt\n"), ("c.txt", constraint.as_str())]);
    assert_eq!(definition.rules[&name("odd")].alternatives().len(), 2);
}

#[test]
fn packages_at_addresses_are_left_out_with_notices() {
    let text = "git+https://u:secret@h/x@1#egg=x\nodd==1.0\n-e .\n./w/own-1.0-py3-none-any.whl --hash=sha256:00\n\
                mine @ https://h/mine.whl ; os_name == 'nt'\n";
    let definition = read(&[("r.txt", text.as_bytes())], ReadOptions::default()).expect("valid");
    assert_eq!(definition.rules.len(), 1);
    let lines = [(1, "the package"), (3, "'-e'"), (4, "the package"), (5, "'mine'")];
    let notice = |(line, name)| format!("r.txt, line {line}: {name} is left out: it names a URL or a path");
    assert_eq!(definition.notices, lines.map(notice));
    let many = "./x\n".repeat(MAX_SKIPPED + 2);
    let errors = read(&[("r.txt", many.as_bytes())], ReadOptions::default()).expect_err("no package");
    assert!(errors.to_string().ends_with("; and 2 more"), "{errors}");
}
