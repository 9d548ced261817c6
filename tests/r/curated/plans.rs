//! Plans and commits: their output in all forms, and what they change.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{changes, start, transaction};
use crate::support::server::Server;

const LAST: &str =
    "To complete this operation, execute this command with the --commit and --snapshot=2025-10-12 flags.\n";

const PLAN: &str = "\
Name  Version  Change  Why         License  Compiled  Size  Advisories  Published
app   1.0      added   root        MIT      no        SIZE              2025-10-10
hdr   1.0      added   app > hdr   MIT      no        SIZE              2025-10-09
lib   1.5      added   app > lib   MIT      no        SIZE              2025-10-11
util  1.0      added   app > util  MIT      no        SIZE              2025-10-09

4 added, 0 updated, 0 downgraded, 0 removed, 0 kept; selected from CRAN as of 2025-10-11 23:59:59 UTC
";

/// Replaces the sizes of files, which depend on the compressor.
fn without_sizes(table: &str) -> String {
    let line = |line: &str| match line.find("MIT      no        ") {
        Some(start) => {
            let (head, tail) = line.split_at(start + "MIT      no        ".len());
            let digits = tail.find(' ').unwrap_or(tail.len());
            format!("{head}{:4}{}\n", "SIZE", &tail[digits.max(3) + usize::from(digits < 4)..])
        }
        None => format!("{line}\n"),
    };
    table.lines().map(line).collect()
}

/// What scripts extract from the output of a plan.
fn snapshot_flags(out: &str) -> String {
    let mut grep = Command::new("grep")
        .args(["-oP", r"\-\-snapshot\=\d{4}-\d{2}-\d{2}"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("grep runs");
    grep.stdin.take().expect("piped").write_all(out.as_bytes()).expect("sent");
    String::from_utf8(grep.wait_with_output().expect("grep ends").stdout).expect("text")
}

fn definition(server: &Server) -> serde_json::Value {
    server.json("info --source=subset")["definition"].clone()
}

#[test]
fn a_plan_names_its_snapshot_once_and_changes_nothing() {
    let curated = start();
    let before = definition(&curated.server);
    let plan = curated.update("app\n", "--snapshot=2025-10-12");
    assert_eq!((plan.code, plan.err.as_str()), (0, ""), "{}", plan.out);
    assert_eq!(without_sizes(&plan.out), format!("{PLAN}{LAST}"));
    assert_eq!(snapshot_flags(&plan.out), "--snapshot=2025-10-12\n");
    assert_eq!(curated.update("app\n", "--snapshot=2025-10-12 --dry-run").out, plan.out);
    let file = curated.file("names.txt", "app\n");
    for flags in ["--packages=app", &format!("--file-in={}", file.display())] {
        let added = curated.server.rspm_stdout(&format!("add --source=subset {flags} --snapshot=2025-10-12"));
        assert_eq!(added, plan.out, "{flags}");
        let dryrun = format!("add --source=subset {flags} --snapshot=2025-10-12 --dryrun");
        assert_eq!(curated.server.rspm_stdout(&dryrun), plan.out, "{flags}");
    }
    assert_eq!(definition(&curated.server), before);
    assert_eq!(curated.listed("latest"), [""; 0]);

    // The flag that a script extracts is the one that the commit needs.
    let flag = snapshot_flags(&plan.out);
    let commit = curated.update("app\n", &format!("--commit {}", flag.trim()));
    assert_eq!((commit.code, commit.err.as_str()), (0, ""), "{}", commit.out);
    let number = transaction(&commit.out);
    assert_eq!(
        without_sizes(&commit.out),
        format!("{PLAN}Source 'subset' was updated in transaction {number}.\n")
    );
    assert_eq!(snapshot_flags(&commit.out), "");
    assert_eq!(curated.listed("latest"), ["app 1.0", "hdr 1.0", "lib 1.5", "util 1.0"]);
    let again = curated.update("app\n", "--snapshot=2025-10-12 --commit");
    assert!(
        again.out.ends_with("Nothing changed: source 'subset' has this definition and snapshot.\n"),
        "{again:?}"
    );
    let usage = curated.update("app\n", "--commit");
    assert!(usage.code == 2 && usage.err.contains("--snapshot <DATE>"), "{usage:?}");
}

/// The rows of the table: name, version, change, why, license, compiled, size, advisories, published.
fn table_rows(out: &str) -> Vec<Vec<String>> {
    let mut lines = out.lines();
    let header = lines.next().expect("a header");
    let titles: Vec<&str> = header.split_whitespace().collect();
    let starts: Vec<usize> = titles.iter().map(|title| header.find(title).expect("a column")).collect();
    let cell = |line: &str, column: usize| {
        let end = starts.get(column + 1).map_or(line.len(), |end| (*end).min(line.len()));
        line.get(starts[column]..end).unwrap_or_default().trim().to_owned()
    };
    let rows = lines.take_while(|line| !line.is_empty());
    rows.map(|line| (0..starts.len()).map(|column| cell(line, column)).collect()).collect()
}

fn json_rows(plan: &serde_json::Value) -> Vec<Vec<String>> {
    let row = |package: &serde_json::Value| {
        let release = &package["release"];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let (version, previous) = (text(&release["version"]), text(&release["previous"]));
        let chain: Vec<String> = release["chain"].as_array().expect("a chain").iter().map(text).collect();
        let compiled = release["needs_compilation"].as_bool();
        let published = text(&release["published"]);
        vec![
            text(&package["name"]),
            if previous.is_empty() { version } else { format!("{previous} -> {version}") },
            text(&package["state"]),
            if chain.len() == 1 { "root".to_owned() } else { chain.join(" > ") },
            text(&release["license"]),
            compiled.map_or("", |compiled| if compiled { "yes" } else { "no" }).to_owned(),
            release["size"].as_i64().map(|size| size.to_string()).unwrap_or_default(),
            release["advisories"]
                .as_i64()
                .filter(|count| *count > 0)
                .map_or(String::new(), |n| n.to_string()),
            published.get(..10).unwrap_or_default().to_owned(),
        ]
    };
    plan["packages"].as_array().expect("packages").iter().map(row).collect()
}

fn csv_rows(csv: &str) -> Vec<Vec<String>> {
    let row = |line: &str| {
        let [name, version, previous, change, why, license, compiled, size, advisories, published, blocked] =
            line.split(',').map(str::to_owned).collect::<Vec<_>>().try_into().expect("eleven fields");
        assert_eq!(blocked, "");
        let version = if previous.is_empty() { version } else { format!("{previous} -> {version}") };
        let advisories = if advisories == "0" { String::new() } else { advisories };
        vec![name, version, change, why, license, compiled, size, advisories, published]
    };
    csv.lines().skip(1).map(row).collect()
}

#[test]
fn table_csv_and_json_have_the_same_rows() {
    let curated = start();
    curated.commit("app\nother\n", "2025-10-12");
    let csv = curated.server.dir().join("plan.csv");
    let flags = format!("--snapshot=2025-10-13 --csv-out={} --show-kept", csv.display());
    let definition = "app\nlib <2\n\nring1 # a cycle\n";
    let table = curated.update(definition, &flags);
    let json = curated.update(definition, &format!("{flags} -o json"));
    let plan: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(
        changes(&plan),
        [
            "app 2.0 updated",
            "hdr 1.0 kept",
            "lib 1.5 kept",
            "other 1.0 removed",
            "ring1 1.0 added",
            "ring2 1.0 added",
            "util 1.0 kept",
        ]
    );
    let rows = json_rows(&plan);
    assert_eq!(table_rows(&table.out), rows);
    assert_eq!(csv_rows(&std::fs::read_to_string(&csv).expect("a plan")), rows);
    let changed: Vec<_> = rows.into_iter().filter(|row| row[2] != "kept").collect();
    let table = curated.update(definition, "--snapshot=2025-10-13");
    assert_eq!(table_rows(&table.out), changed, "packages that stay are omitted");
    assert!(table.out.contains("2 added, 1 updated, 0 downgraded, 1 removed, 3 kept"), "{}", table.out);
}

#[test]
fn the_commit_of_a_day_that_is_over_is_its_plan() {
    let curated = start();
    let csv = |name: &str| curated.server.dir().join(name);
    let flags = |name: &str| format!("--snapshot=2025-10-13 --csv-out={}", csv(name).display());
    let definition = "strict\nextra\nring1 [suggests]\n";
    let plan = curated.update(definition, &flags("plan.csv"));
    assert_eq!((plan.code, plan.err.as_str()), (0, ""), "{}", plan.out);
    // A later state does not matter.
    let mut cran = super::cran();
    cran.publish(9, &super::package("lib", "3.0"));
    cran.publish(9, &super::package("extra", "3.0"));
    cran.serve(&curated.web);
    curated.server.rspm_stdout("sync");
    let commit = curated.update(definition, &format!("{} --commit", flags("commit.csv")));
    assert_eq!((commit.code, commit.err.as_str()), (0, ""), "{}", commit.out);
    let bytes = |name: &str| std::fs::read(csv(name)).expect("a file");
    assert_eq!(bytes("plan.csv"), bytes("commit.csv"));
    let expected = [
        "app 2.0",
        "deep 1.0",
        "extra 1.0",
        "hdr 1.0",
        "lib 1.5",
        "ring1 1.0",
        "ring2 1.0",
        "strict 1.0",
        "util 1.0",
    ];
    assert_eq!(curated.listed("latest"), expected);
}

#[test]
fn packages_leave_with_an_update_stay_with_add_and_are_removed_one_by_one() {
    let curated = start();
    let server = &curated.server;
    let first = curated.commit("app\nlib\n", "2025-10-12");
    let added =
        server.rspm_stdout("add --source=subset --packages=other,ring1 --snapshot=2025-10-12 --commit");
    let second = transaction(&added);
    let app = ["app 1.0", "hdr 1.0", "lib 1.5"];
    let with_added = [&app[..], &["other 1.0", "ring1 1.0", "ring2 1.0", "util 1.0"]].concat();
    assert_eq!(curated.listed("latest"), with_added);
    let text = definition(server)["files"][0]["text"].clone();
    assert_eq!(text, "app\nlib\nother\nring1\n");
    let third = curated.commit("other\n", "2025-10-14");
    assert_eq!(curated.listed("latest"), ["other 2.0"]);
    // Back to an earlier day, with the same definition.
    let back = server.rspm_stdout("update --source=subset --snapshot=2025-10-10 --commit");
    assert!(back.contains("other  2.0 -> 1.0  downgraded"), "{back}");
    assert_eq!(curated.listed("latest"), ["other 1.0"]);
    assert_eq!(curated.listed(first), [&app[..], &["util 1.0"]].concat());
    assert_eq!(curated.listed(second), with_added);
    assert_eq!(curated.listed(third), ["other 2.0"]);

    server.rspm_stdout("add --source=subset --packages=app,lib,ring1 --snapshot=2025-10-12 --commit");
    assert_eq!(
        server.rspm_stdout("remove package --source=subset --name=ring1@all"),
        "Removed ring1 1.0, ring2 1.0 from source 'subset'.\n"
    );
    assert_eq!(
        server.rspm_stdout("remove package --source=subset --name=lib@all"),
        "Removed lib from the definition of source 'subset', which still has it for other packages.\n"
    );
    assert_eq!(curated.listed("latest"), [&app[..], &["other 1.0", "util 1.0"]].concat());
    for (name, reason) in [
        (
            "lib@all",
            "the definition of the source 'subset' does not name 'lib': other packages need it; rspm info --source=subset shows the definition",
        ),
        ("zzz@all", "the source 'subset' has no package 'zzz'; rspm list packages --source=subset shows all"),
        (
            "app@1.0",
            "the source 'subset' is curated: its definition selects versions; write app@all to remove the package, or change its line and run: rspm update --source=subset --file-in=FILE",
        ),
    ] {
        assert_eq!(server.refused(&format!("remove package --source=subset --name={name}")), reason);
    }
}
