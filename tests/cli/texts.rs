//! The text output and the JSON of every command.

use serde_json::{Value, json};

use super::{add, path_flag, team, timeless};
use crate::support::server::Server;
use crate::support::tarball::Tarball;

/// The JSON with every time as `<time>`.
fn timeless_json(value: &Value) -> Value {
    serde_json::from_str(&timeless(&value.to_string())).expect("JSON")
}

#[test]
fn sources_are_created_renamed_and_deleted() {
    let server = Server::start();
    assert_eq!(server.rspm_stdout("create source --name=demo"), "Source 'demo':\n  Type:  Local\n");
    assert_eq!(
        server.rspm_stdout("create source --name=demo --type=local --succeed-on-existing"),
        "Source 'demo':\n  Type:  Local\n"
    );
    assert_eq!(
        server.rspm_stdout("edit source --name=demo --new-name=team"),
        "Source 'team':\n  Type:  Local\n"
    );
    assert_eq!(server.rspm_stdout("delete source --name=team"), "Deleted source 'team'.\n");
}

#[test]
fn sources_in_json() {
    let server = Server::start();
    let expected = json!({ "id": 4, "name": "demo", "type": "local", "type_label": "Local", "created": "<time>",
        "packages": 0, "last_transaction": null });
    assert_eq!(timeless_json(&server.json("create source --name=demo")), expected);
    let source = server.json("edit source --name=demo --new-name=team");
    assert_eq!((&source["name"], &source["id"]), (&json!("team"), &json!(4)));
    assert_eq!(server.json("delete source --name=team"), json!({ "deleted": "team" }));
}

#[test]
fn repositories_are_created_changed_and_deleted() {
    let server = Server::start();
    assert_eq!(
        server.rspm_stdout("create repo --name=demo --description=demo~package~repo"),
        "Repository: demo - demo package repo - R\n"
    );
    assert_eq!(server.rspm_stdout("create repo --name=bare"), "Repository: bare - R\n");
    assert_eq!(server.rspm_stdout("create repo --name=bare --succeed-on-existing"), "Repository: bare - R\n");
    assert_eq!(
        server.rspm_stdout("edit repo --name=demo --new-name=prod --description=ours"),
        "Repository: prod - ours - R\n"
    );
    assert_eq!(server.rspm_stdout("edit repo --name=prod --hide"), "Repository: prod - ours - R - hidden\n");
    assert_eq!(server.rspm_stdout("edit repo --name=prod --hide=false"), "Repository: prod - ours - R\n");
    assert_eq!(server.rspm_stdout("edit repo --name=prod --clear-description"), "Repository: prod - R\n");
    assert_eq!(server.rspm_stdout("delete repo --name=prod"), "Deleted repository 'prod'.\n");
}

#[test]
fn repositories_in_json() {
    let server = Server::start();
    let expected = json!({ "id": 1, "name": "demo", "type": "R", "description": "", "hidden": false,
        "authenticated": false, "changes": "any", "created": "<time>", "sources": [], "url": "/demo/latest" });
    assert_eq!(timeless_json(&server.json("create repo --name=demo")), expected);
    assert_eq!(server.json("edit repo --name=demo --hide")["hidden"], true);
    assert_eq!(server.json("delete repo --name=demo"), json!({ "deleted": "demo" }));
}

#[test]
fn subscriptions_are_printed_as_an_ordered_list() {
    let server = Server::start();
    server.rspm_stdout("create source --name=team");
    server.rspm_stdout("create repo --name=prod");
    assert_eq!(
        server.rspm_stdout("subscribe --repo=prod --source=team"),
        "Repository: prod\nSources:\n--team (Local)\n"
    );
    assert_eq!(
        server.rspm_stdout("subscribe --repo=prod --source=cran"),
        "Repository: prod\nSources:\n--team (Local)\n--cran (CRAN)\n"
    );
    assert_eq!(
        server.rspm_stdout("subscribe --repo=prod --source=cran --succeed-on-existing"),
        "Repository: prod\nSources:\n--team (Local)\n--cran (CRAN)\n"
    );
    assert_eq!(
        server.rspm_stdout("reorder --repo=prod --sources=cran,team"),
        "Repository: prod\nSources:\n--cran (CRAN)\n--team (Local)\n"
    );
    assert_eq!(
        server.rspm_stdout("reorder --repo=prod --sources=team --sources=cran"),
        "Repository: prod\nSources:\n--team (Local)\n--cran (CRAN)\n"
    );
    let sources = |value: &Value| value["sources"].to_string();
    let sources_with_cran = r#"[{"name":"cran","type_label":"CRAN"},{"name":"team","type_label":"Local"}]"#;
    assert_eq!(sources(&server.json("reorder --repo=prod --sources=cran,team")), sources_with_cran);
    assert_eq!(
        server.rspm_stdout("unsubscribe --repo=prod --source=cran"),
        "Repository: prod\nSources:\n--team (Local)\n"
    );
    assert_eq!(sources(&server.json("unsubscribe --repo=prod --source=team")), "[]");
    let source_list = r#"[{"name":"team","type_label":"Local"}]"#;
    assert_eq!(sources(&server.json("subscribe --repo=prod --source=team")), source_list);
}

#[test]
fn packages_are_added_and_removed() {
    let server = team();
    let files = super::files(&server, &[Tarball::new("alpha", "1.0"), Tarball::new("beta", "0.1")]);
    let paths: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let flag = path_flag(&files);
    assert_eq!(
        server.rspm_stdout(&format!("add --source=team {flag}")),
        format!("Added package '{}'.\nAdded package '{}'.\n", paths[0], paths[1])
    );
    assert_eq!(
        server.rspm_stdout(&format!("add --source=team --path={} --succeed-on-existing", paths[0])),
        format!("alpha 1.0 is already in source 'team'; '{}' was not added.\n", paths[0])
    );
    assert_eq!(
        server.rspm_stdout(&format!("add --source=team --path={} --replace", paths[0])),
        format!("alpha 1.0 is already in source 'team' with the same bytes as '{}'.\n", paths[0])
    );
    let changed_package = Tarball::new("alpha", "1.0").with("R/g.R", "g <- 1\n");
    let files = super::files(&server, &[changed_package]);
    assert_eq!(
        server.rspm_stdout(&format!("add --source=team {} --replace", path_flag(&files))),
        format!("Replaced alpha 1.0 by '{}'.\n", paths[0])
    );
    assert_eq!(
        server.rspm_stdout("remove package --name=alpha@all --source=team --comment=no~more"),
        "Removed alpha 1.0 from source 'team'.\n"
    );
    let result = server.json(&format!("add --source=team --path={}", paths[0]));
    let package = &result["packages"][0];
    assert_eq!(
        (&package["name"], &package["version"], &package["outcome"], &package["file"]),
        (&json!("alpha"), &json!("1.0"), &json!("added"), &json!("alpha_1.0.tar.gz"))
    );
    assert_eq!(package["sha256"].as_str().map(str::len), Some(64));
    assert!(result["transaction"].is_i64() && package["size"].is_u64(), "{result}");
    let result = server.json("remove package --name=alpha@1.0 --source=team");
    assert_eq!(result, json!({ "name": "alpha", "versions": ["1.0"] }));
}

#[test]
fn lists_are_tables() {
    let server = Server::start();
    let empty_lists = "Repositories\nThere is no repository yet. Create one: rspm create repo --name=NAME\n\nSources\n\
        Name          Type          Packages  Last change\ncran          CRAN          0\n\
        bioconductor  Bioconductor  0\npypi          PyPI          0\n";
    assert_eq!(server.rspm_stdout("list"), empty_lists);
    server.rspm_stdout("create source --name=team");
    server.rspm_stdout("create repo --name=prod --description=for~everybody");
    server.rspm_stdout("create repo --name=own");
    server.rspm_stdout("subscribe --repo=prod --source=team");
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    server.rspm_stdout("edit repo --name=own --hide");
    add(&server, "team", &[Tarball::new("alpha", "1.0"), Tarball::new("beta", "0.1")]);
    assert_eq!(
        server.rspm_stdout("list repos"),
        "Name  Type  Sources     Description\nprod  R     team, cran  for everybody\nown   R                                hidden\n"
    );
    assert_eq!(
        server.rspm_stdout("list repos --source=cran"),
        "Name  Type  Sources     Description\nprod  R     team, cran  for everybody\n"
    );
    assert_eq!(
        timeless(&server.rspm_stdout("list sources --repo=prod")),
        "Name  Type   Packages  Last change\ncran  CRAN   0\nteam  Local  2         <time>\n"
    );
    assert_eq!(
        timeless(&server.rspm_stdout("list sources --type=local")),
        "Name  Type   Packages  Last change\nteam  Local  2         <time>\n"
    );
    let packages = "Name   Version  Source  Published\nalpha  1.0      team    <day>\nbeta   0.1      team    <day>\n\n2 of 2\n";
    assert_eq!(timeless(&server.rspm_stdout("list packages --repo=prod")), packages);
    assert_eq!(timeless(&server.rspm_stdout("list packages --source=team")), packages);
    assert_eq!(
        timeless(&server.rspm_stdout("list packages --source=team --count=1 --page=2")),
        "Name  Version  Source  Published\nbeta  0.1      team    <day>\n\n1 of 2\n"
    );
    assert_eq!(server.rspm_stdout("list packages --repo=prod --search=zzz"), "No packages.\n");
    assert_eq!(
        server.rspm_stdout("list packages --repo=prod --page=9"),
        "Page 9 is past the end: there are 2 packages.\n"
    );
}

#[test]
fn lists_in_json() {
    let server = team();
    add(&server, "team", &[Tarball::new("alpha", "1.0")]);
    let list = server.json("list");
    assert_eq!(list["repos"], server.json("list repos"));
    assert_eq!(list["sources"], server.json("list sources"));
    assert_eq!(server.json("list sources --type=local")[0]["packages"], 1);
    assert_eq!(server.json("list repos --source=pypi"), json!([]));
    let page = timeless_json(&server.json("list packages --repo=prod"));
    let row = json!({ "name": "alpha", "version": "1.0", "source": "team", "published": "<time>" });
    assert_eq!(page, json!({ "total": 1, "page": 1, "packages": [row] }));
}

#[test]
fn one_source_and_one_repository_are_described() {
    let server = Server::start();
    server.rspm_stdout("create source --name=team");
    server.rspm_stdout("create repo --name=prod --description=for~everybody");
    server.rspm_stdout("subscribe --repo=prod --source=team");
    assert_eq!(
        timeless(&server.rspm_stdout("info --repo=prod")),
        "Repository:   prod\nType:         R\nDescription:  for everybody\nHidden:       no\nCreated:      <time>\n\
         Sources:      team (Local)\nURL:          /prod/latest\n"
    );
    assert_eq!(
        timeless(&server.rspm_stdout("info --source=team")),
        "Source:            team\nType:              Local\nCreated:           <time>\nPackages:          0\n\
         Last transaction:  none yet\n"
    );
    add(&server, "team", &[Tarball::new("alpha", "1.0"), Tarball::new("alpha", "1.1")]);
    let output = timeless(&server.rspm_stdout("info --source=team"));
    assert!(output.ends_with("at <time> (1 added, 0 updated, 1 archived, 0 removed)\n"), "{output}");
    let output = server.rspm_stdout("info --source=cran");
    assert!(output.contains("\nCreated:           with the server\n"), "{output}");
    assert_eq!(server.json("info --repo=prod")["sources"][0]["name"], "team");
    assert_eq!(server.json("info --source=team")["last_transaction"]["added"], 1);
}

#[test]
fn a_sync_is_one_sentence_or_a_finished_job() {
    let mirror = crate::support::data::path("cran-mirror");
    let server = crate::support::server::Builder::default()
        .gcfg(&format!("[CRAN]\nURL = file://{}", mirror.display()))
        .start();
    let output = server.rspm_stdout("sync");
    let rest = output.strip_prefix("cran was synced (transaction ").expect("a sentence");
    let (number, rest) = rest.split_once(')').expect("a number");
    assert!(number.parse::<u32>().is_ok(), "{output}");
    let counts = crate::support::data::cran().added_message();
    assert_eq!(rest, format!(": {counts}, 0 updated, 0 removed, 0 releases archived\n"));
    assert_eq!(server.rspm_stdout("sync --type=CRAN --quiet"), "cran is up to date; nothing changed\n");
    let job = timeless_json(&server.json("sync --wait"));
    assert_eq!(
        (&job["status"], &job["key"], &job["attached"]),
        (&json!("done"), &json!("sync:cran"), &json!(false))
    );
    let message = server.rspm_stdout("sync --no-wait");
    assert!(message.starts_with("The sync of CRAN runs as job "), "{message}");
}

#[test]
fn check_config_prints_the_output_of_the_daemon() {
    let server = Server::start();
    let output = server.rspm("check-config");
    let daemon_output = std::process::Command::new(env!("CARGO_BIN_EXE_rstudio-pm"))
        .args(["--check-config", "--config"])
        .arg(server.config_file())
        .output()
        .expect("it runs");
    assert_eq!(output.out, String::from_utf8_lossy(&daemon_output.stdout));
    assert_eq!(Some(output.code), daemon_output.status.code());
    assert!(output.out.contains("[PASS]"), "{}", output.out);
    let json = server.rspm("check-config -o json");
    assert!(serde_json::from_str::<Value>(&json.out).is_ok(), "{}", json.out);
}

#[test]
fn completions_help_and_version_need_no_server() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = crate::support::rspm::rspm_without_server(&format!("completion {shell}"));
        assert!(output.code == 0 && output.out.contains("rspm"), "{shell}");
    }
    let help = crate::support::rspm::rspm_without_server("--help");
    assert!(help.code == 0 && help.out.contains("Exit codes: 0 done"), "{}", help.out);
    let version = crate::support::rspm::rspm_without_server("--version");
    assert_eq!(version.out, format!("rspm {}\n", env!("CARGO_PKG_VERSION")));
}
