//! `rspm create|edit|delete name-guard`: refusals and their reasons.

use serde_json::json;

use crate::support::server::Server;
use crate::support::tarball::Tarball;

#[test]
fn guards_are_refused_with_the_reason() {
    let server = Server::start();
    server.rspm_stdout("create source --name=internal");
    server.rspm_stdout("create source --name=second");
    server.rspm_stdout("create source --name=wheels --type=local-python");
    let rule = |pattern: &str, title: &str, rule: &str| {
        format!(
            "'{pattern}' is neither the name of {title} nor a prefix and '*': a name has {rule}, and at most 128 characters"
        )
    };
    let r =
        |pattern: &str| rule(pattern, "an R package", "letters, digits and dots, and begins with a letter");
    let python = |pattern: &str| {
        rule(
            pattern,
            "a Python package",
            "letters, digits, '.', '_' and '-', and begins with a letter or digit",
        )
    };
    let every = |pattern: &str| {
        format!("'{pattern}' would guard every name; write a prefix before '*', as in 'acme.*'")
    };
    let star = |pattern: &str| {
        format!("'{pattern}' is neither a name nor a prefix: '*' is allowed only at the end, as in 'acme.*'")
    };
    let long = "a".repeat(129);
    for (name, source, expected) in [
        ("", "internal", every("")),
        ("*", "internal", every("*")),
        ("~*~", "internal", every(" * ")),
        ("**", "internal", star("**")),
        ("a*b", "internal", star("a*b")),
        ("*acme", "internal", star("*acme")),
        ("acme.[ab]", "internal", r("acme.[ab]")),
        ("^acme$", "internal", r("^acme$")),
        ("acme.+", "internal", r("acme.+")),
        ("acme?", "internal", r("acme?")),
        ("1acme", "internal", r("1acme")),
        ("acme_db", "internal", r("acme_db")),
        ("a/b", "internal", r("a/b")),
        (&long, "internal", r(&long[..80])),
        ("-acme*", "wheels", python("-acme*")),
        ("acme|x", "wheels", python("acme|x")),
        ("*", "wheels", every("*")),
        ("acme", "interna", "there is no source 'interna'; did you mean 'internal'?".to_owned()),
    ] {
        let refused = server.refused(&format!("create name-guard --name={name} --source={source}"));
        assert_eq!(refused, expected, "{name} of {source}");
    }
    let unknown = server.refused("create name-guard --name=acme --source=nothing.like.it");
    assert!(unknown.starts_with("there is no source 'nothing.like.it'"), "{unknown}");
    let refused = server.refused("create name-guard --name=acme --source=internal --language=python");
    assert_eq!(refused, "the source 'internal' has packages of R, not of Python");
    let description = "x".repeat(501);
    let refused = server
        .refused(&format!("create name-guard --name=acme --source=internal --description={description}"));
    assert_eq!(refused, "the description must be one line of at most 500 characters");
    assert_eq!(
        server.rspm_stdout("list name-guards"),
        "There is no name guard. Create one: rspm create name-guard\n"
    );

    server.rspm_stdout("create name-guard --name=acme.* --source=internal");
    let conflict = |pattern: &str| {
        format!(
            "'{pattern}' and name guard 1 ('acme.*' of the source 'internal') have names in common; change that guard, or \
             choose another pattern"
        )
    };
    for (pattern, source) in
        [("acme.*", "internal"), ("acme.db", "second"), ("acme*", "second"), ("acme.d*", "second")]
    {
        for flag in ["", "--dry-run"] {
            let refused =
                server.refused(&format!("create name-guard --name={pattern} --source={source} {flag}"));
            assert_eq!(refused, conflict(pattern), "{source} {flag}");
        }
    }
    // A part of the names for the same source, another language, and names that are not in common.
    for (pattern, source) in
        [("acme.db", "internal"), ("acme.*", "wheels"), ("Acme.*", "second"), ("acme", "second")]
    {
        server.rspm_stdout(&format!("create name-guard --name={pattern} --source={source}"));
    }
    let guards = server.json("list name-guards");
    let wheels =
        guards.as_array().expect("a list").iter().find(|row| row["source"] == "wheels").expect("a guard");
    assert_eq!((&wheels["name"], &wheels["language"]), (&json!("acme-*"), &json!("python")));

    let changed = server.rspm_stdout("edit name-guard --id=5 --name=beta.*");
    assert_eq!(
        changed,
        "Changed name guard 5: only the source second provides 'beta.*'.\nNo repository lists a package differently.\n"
    );
    assert_eq!(
        server.rspm_stdout("edit name-guard --id=5 --source=internal --dry-run"),
        "Only the source internal would provide 'beta.*'.\nNo repository would list a package differently.\n\
         Nothing was changed: --dry-run\n"
    );
    assert_eq!(
        server.rspm_stdout("edit name-guard --id=5 --description=second"),
        "Changed name guard 5: only the source second provides 'beta.*'.\n"
    );
    assert_eq!(server.refused("edit name-guard --id=5 --name=acme.d* --dry-run"), conflict("acme.d*"));
    let answer = server.admin("DELETE", "/name-guards/5?dry_run=yes", &json!({}));
    assert!(answer.status == 400 && answer.text().contains("dry_run is true or false"), "{}", answer.text());
    assert_eq!(server.refused("edit name-guard --id=5 --name=acme.d*"), conflict("acme.d*"));
    assert_eq!(
        server.refused("edit name-guard --id=5 --source=wheels"),
        "the source 'wheels' has packages of Python; the guard is of another language: create a new one"
    );
    assert_eq!(
        server.refused("edit name-guard --id=5"),
        "nothing to change: give a new name, source or description"
    );
    assert_eq!(server.refused("edit name-guard --id=5 --name=*"), every("*"));
    for command in [
        "edit name-guard --id=99 --name=x.*",
        "delete name-guard --id=99",
        "delete name-guard --id=99 --dry-run",
    ] {
        assert_eq!(server.refused(command), "there is no name guard 99; rspm list name-guards shows all");
    }
    server.add("internal", &Tarball::new("ours", "1.0"));
    let refused = server.refused("edit name-guard --id=6 --source=second");
    assert!(
        refused.starts_with("name guard 6 was created by the first upload of 'ours': its name and source"),
        "{refused}"
    );
}

#[test]
fn a_guard_of_a_deleted_source_states_that_it_was_deleted() {
    let server = Server::start();
    server.rspm_stdout("create source --name=old");
    server.rspm_stdout("create source --name=7");
    for (name, source) in [("acme.*", "old"), ("ours", "7")] {
        server.rspm_stdout(&format!("create name-guard --name={name} --source={source}"));
    }
    let id = server.json("info --source=old")["id"].clone();
    server.rspm_stdout("delete source --name=old --with-packages");
    let listed = server.rspm_stdout("list name-guards");
    let columns = |name: &str| -> String {
        let line = listed.lines().find(|line| line.contains(name)).expect("a row");
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join("|")
    };
    assert!(columns("acme.*").starts_with(&format!("1|acme.*|r|deleted source {id}|created|")), "{listed}");
    assert!(columns("ours").starts_with("2|ours|r|7|created|"), "{listed}");
    let json = server.json("list name-guards");
    assert_eq!((&json[0]["source"], &json[0]["source_deleted"]), (&json!(id.to_string()), &json!(true)));
    assert_eq!((&json[1]["source"], json[1].get("source_deleted")), (&json!("7"), None));
    let audited = server.rspm_stdout("audit names --format=csv");
    assert!(audited.contains(&format!(",acme.*,deleted source {id},")), "{audited}");
}
