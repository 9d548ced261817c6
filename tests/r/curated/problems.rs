//! Definitions that are refused: the reason, the exit code, and that nothing changes.

use super::{Curated, start};

const END: &str = "; change the line, or choose another --snapshot";

/// Asserts that a plan and a commit are refused with this text, which `results` end: that of the plan, that of the commit.
fn assert_refused_with(curated: &Curated, definition: &[u8], expected: &str, results: [&str; 2]) {
    let before = curated.server.json("info --source=subset");
    for (commit, result) in ["", " --commit"].into_iter().zip(results) {
        let output = curated.update(definition, &format!("--snapshot=2025-10-14{commit}"));
        let text = String::from_utf8_lossy(definition).chars().take(80).collect::<String>();
        let expected = format!("{expected}\n{result}");
        assert_eq!((output.code, output.err), (1, expected), "{text}");
        assert!(!output.out.contains("--snapshot="), "no flags for a commit: {}", output.out);
    }
    assert_eq!(curated.server.json("info --source=subset"), before);
}

/// Asserts that a definition cannot be read.
fn assert_refused(curated: &Curated, definition: &[u8], expected: &str) {
    assert_refused_with(curated, definition, expected, [""; 2]);
}

/// Asserts that a definition has a problem.
fn assert_problem(curated: &Curated, definition: &str, problem: &str) {
    let results = ["The plan cannot be committed.\n", "Nothing was changed.\n"];
    assert_refused_with(curated, definition.as_bytes(), &format!("Error: {problem}"), results);
}

#[test]
fn what_cannot_be_selected_is_refused_with_line_reason_and_remedy() {
    let curated = start();
    curated.commit("app\n", "2025-10-12");
    let listed = curated.listed("latest");
    for (definition, problem) in [
        ("app\nringl\n", "line 2: there is no package 'ringl' (did you mean 'ring1'?) at 2025-10-14"),
        ("LIB\n", "line 1: there is no package 'LIB' (did you mean 'lib'?) at 2025-10-14"),
        ("zzzzzz\n", "line 1: there is no package 'zzzzzz' at 2025-10-14"),
        ("lib >=3\n", "line 1: no version of 'lib' is >=3; there are 2.0, 1.5, 1.0 at 2025-10-14"),
        (
            "lib ==1.0\napp\nlib ==1.5\n",
            "line 1 and packages.txt, line 3: no version of 'lib' is ==1.0, ==1.5; there are 2.0, 1.5, 1.0 at 2025-10-14",
        ),
    ] {
        assert_problem(&curated, definition, &format!("packages.txt, {problem}{END}"));
    }
    for (definition, problem) in [
        (
            "app\ntight\n",
            "no version of 'lib' at 2025-10-14 meets all requirements: app requires >=1.5, tight requires <=1.0; there are \
             2.0, 1.5, 1.0",
        ),
        (
            "app ==2.0\nlib ==1.0\n",
            "no version of 'lib' at 2025-10-14 meets all requirements: app requires >=1.5, packages.txt, line 2 requires \
             ==1.0; there are 2.0, 1.5, 1.0",
        ),
        (
            "broken\n",
            "broken requires 'nothere', which is not in CRAN at 2025-10-14; subscribe a source that has it and add \
             --allow-missing, or remove what needs it from the definition: broken",
        ),
    ] {
        assert_problem(&curated, definition, problem);
    }
    assert_eq!(curated.listed("latest"), listed);
    let output = curated.update("ringl\n", "--snapshot=1");
    let problem = "line 1: there is no package 'ringl' (did you mean 'ring1'?) at transaction 1;";
    assert!(output.code == 1 && output.err.contains(problem), "{output:?}");
}

#[test]
fn lines_and_files_that_cannot_be_read_are_refused_with_their_position() {
    let curated = start();
    curated.commit("app\n", "2025-10-12");
    let refused = |definition: &[u8], reason: &str| {
        assert_refused(&curated, definition, &format!("Error: packages.txt{reason}"));
    };
    refused(b"app\n\nstats\n", ", line 3: 'stats' is part of R and in no repository; remove the line");
    refused(
        b"lib 1.0\n",
        ", line 1: '1.0' is not a constraint; write one of ==, >=, <=, >, <, != and a version",
    );
    refused(b"lib ==x\n", ", line 1: 'x' is not a version of an R package, such as 1.0 or 0.9-2");
    curated.file("more.txt", "lib\n");
    refused(b"app\n-r more.txt\n", ", line 2: '-r' is an option of pip; write one package on each line");
    refused(
        b"app [sugests]\n",
        ", line 1: 'sugests' is not a kind of dependency; write imports, depends, linking-to, suggests or enhances, \
         separated by commas, or none or all",
    );
    refused(
        b"app @ https://example.org/app.tar.gz\n",
        ", line 1: an address of a package cannot be selected; write the name of a package of CRAN, or add the file to a \
         local source",
    );
    refused(
        b"caf\xc3\xa9\n",
        ", line 1: 'caf\u{e9}' is not the name of an R package: two or more ASCII letters, digits and dots, beginning with a \
         letter",
    );
    let empty = ": no line names a package; write one package on each line, such as: ggplot2 >=3.4.0";
    refused(b"", empty);
    refused(b"# nothing\n\n", empty);
    let mut long = b"app\n".to_vec();
    long.resize(4 + (1 << 20), b'a');
    refused(&long, ", line 2: the line has 1048576 bytes, more than the 4096 allowed");
    refused(&[b'\n'; 1 << 20], empty);
    refused(
        b"base\napp\n-e .\nstats\n",
        ", line 1: 'base' is part of R and in no repository; remove the line\n\
         packages.txt, line 3: '-e' is an option of pip; write one package on each line\n\
         packages.txt, line 4: 'stats' is part of R and in no repository; remove the line",
    );

    let path = curated.server.dir().join("packages.txt");
    let reason = "the bytes after position 7 are not UTF-8; save the file as UTF-8";
    assert_refused(&curated, b"app # r\xe9sum\xe9\n", &format!("Error: {}: {reason}", path.display()));
    let refused =
        curated.server.refused("update --source=subset --file-in=/nonexistent --snapshot=2025-10-12");
    assert_eq!(refused, "could not read /nonexistent: No such file or directory (os error 2)");
}

#[test]
fn cycles_repeated_lines_and_requirements_on_r_are_no_problems() {
    let curated = start();
    curated.commit("ring1\nring2\nring1\nring1\nfuture\n", "2025-10-14");
    assert_eq!(curated.listed("latest"), ["future 1.0", "ring1 1.0", "ring2 1.0"]);
    let record = curated.server.get("/prod/latest/src/contrib/PACKAGES").text();
    assert!(record.contains("Depends: R (>= 99), future\nImports: stats\n"), "{record}");
}

#[test]
fn days_and_sources_without_a_state_are_refused() {
    let curated = start();
    let refused = |flags: &str| curated.server.refused(&format!("update --source=subset {flags}"));
    let file = curated.file("packages.txt", "app\n");
    let file = format!("--file-in={}", file.display());
    assert_eq!(
        refused(&format!("{file} --snapshot=2025-10-01")),
        "this server has no state of CRAN at --snapshot=2025-10-01; the first one is 2025-10-09 (rspm backfill reads earlier \
         states)"
    );
    assert!(
        refused(&format!("{file} --snapshot=2999-01-01"))
            .starts_with("--snapshot=2999-01-01 is in the future")
    );
    assert!(refused(&format!("{file} --snapshot=99999")).starts_with("there is no transaction 99999"));
    assert_eq!(
        refused("--snapshot=2025-10-12"),
        "the source 'subset' has no definition yet; name a file with one package on each line, or a lock file: rspm update \
         --source=subset --file-in=packages.txt"
    );
    assert_eq!(
        refused(&format!("{file} --snapshot=2025-10-12 --strict")),
        "--strict is for Python packages: lock files of R have no digests"
    );
    assert_eq!(
        refused(&format!("{file} --include=sugests")),
        "'sugests' is not a kind of dependency; write imports, depends, linking-to, suggests or enhances, separated by \
         commas, or none or all"
    );
    assert_eq!(
        refused(&format!("{file} --snapshot=2025-10-12 --commit --csv-out=/nonexistent/plan.csv")),
        "could not write /nonexistent/plan.csv: No such file or directory (os error 2)"
    );
    assert_eq!(curated.server.json("info --source=subset")["packages"], 0);
    curated.server.rspm_stdout("create source --name=team");
    let refused = curated.server.refused(&format!("update --source=team {file}"));
    assert_eq!(
        refused,
        "the source 'team' is of type local, and only sources of type curated-cran and curated-pypi have a definition; create \
         one with: rspm create source --name=NAME --type=curated-cran"
    );
}
