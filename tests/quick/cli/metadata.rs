//! Metadata of packages: set one by one and from files, listed, deleted, and shown by the public API and on pages.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{add, team};
use crate::support::http;
use crate::support::server::Server;
use crate::support::tarball::Tarball;

/// A server with two versions of `alpha` in the repository `prod`.
fn server() -> Server {
    let server = team();
    add(&server, "team", &[Tarball::new("alpha", "1.0"), Tarball::new("alpha", "1.1")]);
    server
}

/// The metadata of a version of `alpha`, as an object.
fn metadata(server: &Server, version: &str) -> Value {
    let package = server.get(&format!("/__api__/repos/prod/packages/alpha?version={version}")).json();
    let rows = package["metadata"].as_array().expect("rows").iter();
    rows.map(|row| (row["key"].as_str().expect("a key").to_owned(), row["value"].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn file(server: &Server, name: &str, text: &str) -> String {
    let path = server.dir().join(name);
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

#[test]
fn the_more_specific_value_is_in_the_api_and_on_the_page() {
    let server = server();
    assert_eq!(server.rspm_stdout("list metadata"), "No metadata.\n");
    assert_eq!(metadata(&server, "1.1"), json!({}));
    assert_eq!(
        server.rspm_stdout("create metadata --package-name=alpha --key=status --value=approved"),
        "Metadata 1 was created: status = approved for alpha\n"
    );
    assert_eq!(
        server.rspm_stdout(
            "create metadata --package-name=alpha --version=1.0 --repo=prod --source=team --key=status --value=<b>old"
        ),
        "Metadata 2 was created: status = <b>old for alpha 1.0, source team, repository prod\n"
    );
    server.rspm_stdout("create repo --name=other");
    server.rspm_stdout("create metadata --package-name=alpha --repo=other --key=owner --value=nobody");
    assert_eq!(metadata(&server, "1.1"), json!({"status": "approved"}));
    assert_eq!(metadata(&server, "1.0"), json!({"status": "<b>old"}));
    let page = server.get("/prod/latest/web/packages/alpha/?version=1.0").text();
    assert!(page.contains("Status: <strong>&lt;b&gt;old</strong>") && !page.contains("<b>old"), "{page}");
    let body = json!({"repo": "prod", "names": ["alpha==1.0"], "metadata": true}).to_string();
    let row = http::request("POST", &server.url("/__api__/filter/packages"), &[], body.as_bytes()).json();
    assert_eq!(row["metadata"], json!([{"key": "status", "value": "<b>old"}]));
    let rows = server.json("list metadata --package-name=alpha --repo=prod");
    assert_eq!(rows.as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&rows[0]["id"], &rows[0]["version"], &rows[0]["source"]),
        (&json!(2), &json!("1.0"), &json!("team"))
    );
    server.rspm_stdout("delete repo --name=other");
    assert_eq!(
        server.json("list metadata").as_array().map(Vec::len),
        Some(2),
        "its rows were deleted with the repository"
    );
    assert_eq!(
        server.rspm_stdout("delete metadata --id=2,1"),
        "Metadata 2 was deleted: status for alpha 1.0, source team, repository prod\n\
         Metadata 1 was deleted: status for alpha\n"
    );
    assert_eq!(metadata(&server, "1.0"), json!({}));
    let actions: Vec<Value> = server
        .rspm_stdout("audit export")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|row| row["object_kind"] == "metadata")
        .map(|row| json!([row["action"], row["object"], row["detail"]]))
        .collect();
    assert_eq!(
        actions[1],
        json!([
            "create metadata",
            "alpha status",
            "version 1.0; source team; repository prod; value: <b>old"
        ])
    );
    assert_eq!(actions.len(), 5, "{actions:?}");
}

#[test]
fn an_existing_key_is_left_or_updated_only_with_a_flag() {
    let server = server();
    let command = "create metadata --package-name=alpha --key=status --value";
    server.rspm_stdout(&format!("{command}=a"));
    let message = server.refused(&format!("{command}=b"));
    assert_eq!(
        message,
        "the key 'status' of 'alpha' exists already, with the id 1; use --update-existing to replace the value, or \
         --succeed-on-existing to leave it"
    );
    assert_eq!(
        server.rspm_stdout(&format!("{command}=b --succeed-on-existing")),
        "Metadata 1 exists already: status = a for alpha\n"
    );
    assert_eq!(
        server.rspm_stdout(&format!("{command}=b --update-existing")),
        "Metadata 1 was updated: status = b for alpha\n"
    );
    assert_eq!(metadata(&server, "1.1"), json!({"status": "b"}));
}

#[test]
fn spellings_of_a_python_project_are_one_package() {
    let server = server();
    let create = |name: &str| format!("create metadata --package-name={name} --key=status --value=approved");
    // No R package has such a name.
    assert_eq!(
        server.rspm_stdout(&create("Odd_Name")),
        "Metadata 1 was created: status = approved for odd-name\n"
    );
    let message = server.refused(&create("odd-name"));
    assert!(
        message.starts_with("the key 'status' of 'odd-name' exists already, with the id 1;"),
        "{message}"
    );
    // These are two R packages.
    server.rspm_stdout(&create("Flask"));
    for flags in ["", " --update-existing"] {
        assert_eq!(
            server.refused(&format!("{}{flags}", create("flask"))),
            "the key 'status' of 'flask' cannot be set: the Python project 'flask' has it already, as 'Flask' with the \
             id 2; limit one of the two values with --source or --repo"
        );
    }
    let message = server.refused(&create("odd.name"));
    assert!(
        message.contains("the Python project 'odd-name' has it already, as 'odd-name' with the id 1"),
        "{message}"
    );
    server.rspm_stdout(&format!("{} --source=team", create("flask")));
    let rows = r#"[{"package_name": "New_Name", "key": "a", "value": "1"},
        {"package_name": "new.name", "key": "a", "value": "2"}]"#;
    let path = file(&server, "rows.json", rows);
    let message = server.refused(&format!("create bulk-metadata --fail-all --path={path}"));
    assert!(message.contains("record 2: the key 'a' of 'new.name' is repeated"), "{message}");
    assert_eq!(server.json("list metadata").as_array().map(Vec::len), Some(3));
}

#[test]
fn bad_values_are_refused_with_the_reason() {
    let server = server();
    for (flags, words) in [
        ("--package-name=al/pha --key=a --value=b", "'al/pha' is not the name of a package"),
        ("--package-name=alpha --key=a=b --value=b", "a key of 'alpha' is refused"),
        ("--package-name=alpha --key= --value=b", "a key of 'alpha' is refused"),
        ("--package-name=alpha --key=a --value=b --source=teem", "did you mean 'team'"),
        ("--package-name=alpha --key=a --value=b --repo=nothing", "there is no repository 'nothing'"),
        ("--package-name=a-b --key=a --value=b --repo=prod", "'a-b' is not the name of a package"),
        ("--package-name=alpha --key=a --value=b --source=pypi --repo=prod", "a different language"),
    ] {
        let message = server.refused(&format!("create metadata {flags}"));
        assert!(message.contains(words), "{flags}: {message}");
    }
    let long = format!("create metadata --package-name=alpha --key=a --value={}", "x".repeat(4097));
    assert!(server.refused(&long).contains("at most 4096 bytes"));
    assert!(server.refused("delete metadata --id=7").contains("there is no metadata with the id 7"));
    assert!(server.refused("delete metadata --id=x").contains("neither a number nor all"));
    assert_eq!(server.rspm("create metadata --package-name=alpha --key=a").code, 2);
    assert_eq!(server.json("list metadata"), json!([]));
}

#[test]
fn wrong_types_unknown_keys_and_short_lines_are_reported_by_their_number() {
    let server = server();
    let records = json!([
        { "package_name": "alpha", "key": "status", "value": "approved" },
        { "package_name": "alpha", "key": "count", "value": 5 },
        { "package_name": "alpha", "key": "note" },
        { "package_name": "alpha", "key": "other", "value": "x", "versoin": "1.0" },
        ["alpha"],
        { "package_name": "alpha", "key": "b", "value": "y", "version": "1.0" }
    ]);
    let reasons = [
        "record 2: 'value': invalid type: integer `5`, expected a string",
        "record 3: missing field `value`",
        "record 4: unknown field `versoin`, expected one of `id`, `package_name`",
        "record 5: it is not a JSON object",
    ];
    let path = file(&server, "values.json", &records.to_string());
    let message = server.refused(&format!("create bulk-metadata --path={path} --fail-all"));
    assert!(reasons.iter().all(|reason| message.contains(reason)), "{message}");
    assert_eq!(server.json("list metadata"), json!([]), "nothing was set");
    let output = server.rspm(&format!("create bulk-metadata --path={path}"));
    assert_eq!((output.code, output.out.as_str()), (1, "2 created, 0 updated, 0 unchanged, 4 refused\n"));
    assert!(reasons.iter().all(|reason| output.err.contains(reason)), "{}", output.err);
    assert_eq!(metadata(&server, "1.0"), json!({"status": "approved", "b": "y"}));

    server.rspm_stdout("delete metadata --id=all");
    let csv = "package_name,key,value\nalpha,short\nal pha,key,x\nalpha,status,approved\nalpha,a,b,c\n";
    let csv = file(&server, "values.csv", csv);
    let lines =
        ["record 1: line 2: 2 fields, but line 1 has 3", "record 4: line 5: 4 fields, but line 1 has 3"];
    let message = server.refused(&format!("create bulk-metadata --csv-in={csv} --fail-all"));
    assert_eq!(message, lines.join("\n"));
    let output = server.rspm(&format!("create bulk-metadata --csv-in={csv} -o json"));
    let result: serde_json::Value = serde_json::from_str(&output.out).expect("JSON");
    let refused: Vec<_> =
        result["refused"].as_array().expect("rows").iter().map(|row| &row["index"]).collect();
    assert_eq!(refused, [&json!(0), &json!(1), &json!(3)], "{result}");
    assert!(output.err.contains("record 2: 'al pha' is not the name of a package"), "{}", output.err);
    assert!(lines.iter().all(|line| output.err.contains(line)), "{}", output.err);
    assert_eq!(metadata(&server, "1.0"), json!({"status": "approved"}));
}

#[test]
fn a_repeated_key_is_refused_and_the_only_value_of_a_file_has_a_number() {
    let server = server();
    let twice = r#"[{"package_name": "alpha", "key": "a", "value": "1", "value": "2"}]"#;
    let path = file(&server, "values.json", twice);
    let output = server.rspm(&format!("create bulk-metadata --path={path}"));
    assert_eq!((output.code, output.out.as_str()), (1, "0 created, 0 updated, 0 unchanged, 1 refused\n"));
    assert_eq!(output.err, "Error: record 1: the key 'value' is repeated\n");
    let wrong = file(&server, "values.csv", "package_name,key,value\nal pha,status,x\n");
    for (flags, reason) in [
        (format!("--path={path}"), "record 1: the key 'value' is repeated"),
        (format!("--csv-in={wrong}"), "record 1: 'al pha' is not the name of a package"),
    ] {
        assert_eq!(server.refused(&format!("create bulk-metadata {flags} --fail-all")), reason);
    }
    let message = server.refused("create metadata --package-name=al~pha --key=status --value=x");
    assert_eq!(message, "'al pha' is not the name of a package");
    let value = json!([{ "package_name": "alpha", "key": "status", "value": "x", "repo": "nothing" }]);
    let path = file(&server, "values.json", &value.to_string());
    let message = server.refused(&format!("create bulk-metadata --path={path} --fail-all"));
    assert!(message.starts_with("record 1: there is no repository 'nothing'"), "{message}");
    assert_eq!(server.json("list metadata"), json!([]));
}

#[test]
fn a_file_sets_many_values_and_bad_ones_are_reported_by_their_number() {
    let server = server();
    let csv = "package_name,key,value,version\r\nalpha,status,approved,\r\nal pha,status,x,\r\nalpha,note,\"a, \"\"b\"\"\",1.0\r\n";
    let csv = file(&server, "values.csv", csv);
    let message = server.refused(&format!("create bulk-metadata --csv-in={csv} --fail-all"));
    assert_eq!(message, "record 2: 'al pha' is not the name of a package");
    assert_eq!(server.json("list metadata"), json!([]), "nothing was set");
    let output = server.rspm(&format!("create bulk-metadata --csv-in={csv}"));
    assert_eq!((output.code, output.out.as_str()), (1, "2 created, 0 updated, 0 unchanged, 1 refused\n"));
    assert!(output.err.contains("record 2: 'al pha' is not the name of a package"), "{}", output.err);
    assert_eq!(metadata(&server, "1.0"), json!({"status": "approved", "note": "a, \"b\""}));
    let example = server.rspm_stdout("create bulk-metadata --show-example");
    let example = file(&server, "example.json", &example);
    server.rspm_stdout(&format!("create bulk-metadata --path={example} --fail-all"));
    let listed = file(&server, "listed.json", &server.rspm_stdout("list metadata -o json"));
    assert_eq!(
        server.rspm_stdout(&format!("create bulk-metadata --path={listed} --update-existing")),
        "0 created, 0 updated, 4 unchanged, 0 refused\n"
    );
    let message = server.refused(&format!("create bulk-metadata --path={csv}"));
    assert!(
        message.contains("values.csv: expected value at line 1") && message.contains("--show-example"),
        "{message}"
    );
    let mut command = server.rspm_command("create bulk-metadata");
    let mut child: std::process::Child =
        Command::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped())).expect("rspm runs");
    let twice = br#"[{"package_name": "beta", "key": "a", "value": "1"}, {"package_name": "beta", "key": "a", "value": "2"}]"#;
    child.stdin.take().expect("a pipe").write_all(twice).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1 created, 0 updated, 0 unchanged, 1 refused\n");
    server.rspm_stdout("delete metadata --id=all");
    assert_eq!(server.rspm_stdout("delete metadata --id=all"), "There was no metadata.\n");
}
