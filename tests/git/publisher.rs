//! Builders of a client on another machine, whose token permits changes of one source.

use std::process::Command;

use super::git_server::GitServer;
use super::{listed_version, repository, server};
use crate::support::rspm::RspmOutput;
use crate::support::server::Server;

/// Runs `rspm` with a token, without the configuration of the server.
fn remote(server: &Server, token: &str, line: &str) -> RspmOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rspm"));
    command.args(line.split(' ')).current_dir(server.dir()).env("NO_PROXY", "*");
    command.env("PACKAGEMANAGER_ADDRESS", server.url("")).env("PACKAGEMANAGER_TOKEN", token);
    command.output().expect("rspm runs").into()
}

#[test]
fn a_publisher_manages_builders_of_its_source_without_credentials() {
    let server = server("PollInterval = 1h");
    server.rspm_stdout("create source --name=other --type=git");
    server.rspm_stdout("import https-credential --name=ci --username=ci --password=any");
    let token = "create token --scope=sources:write --sources=dev --description=ci --user=ci --quiet";
    let token = server.rspm_stdout(token).trim().to_owned();
    let run = |line: &str| remote(&server, &token, line);
    let succeed = |line: &str| {
        let output = run(line);
        assert_eq!(output.code, 0, "{line}: {}{}", output.out, output.err);
        output.out
    };
    let repository = repository("1.0");
    let git = GitServer::start(repository.path().parent().unwrap().to_owned(), "", "");
    let name = repository.path().file_name().unwrap().to_str().unwrap();
    let url = git.url(&format!("{name}/.git"));
    succeed(&format!("create git-builder --source=dev --url={url}"));
    assert_eq!(listed_version(&server).as_deref(), Some("1.0"));
    assert!(succeed("list git-builders --source=dev").contains("tested"));
    assert!(succeed("list git-builds --source=dev --name=tested").contains("published"));
    succeed("edit git-builder --source=dev --name=tested --clone-depth=0");
    succeed("run git-builder --source=dev --name=tested");

    let (local, used) = (repository.url(), "only administrators may use credentials");
    let machine = "only administrators may use repositories on the server's machine";
    let other = "lacks the scope sources:write for the source 'other'";
    let refuse = |line: &str, words: &str| {
        let output = run(line);
        assert_eq!((output.code, output.out.as_str()), (1, ""), "{line}: {}", output.err);
        assert!(output.err.contains(words), "{line}: {}", output.err);
    };
    for (line, words) in [
        (format!("create git-builder --source=dev --url={url} --credential=ci"), used),
        (format!("create git-builder --source=dev --url={local}"), machine),
        (format!("create git-builder --source=other --url={url}"), other),
        ("edit git-builder --source=dev --name=tested --new-credential=ci".to_owned(), used),
        (format!("edit git-builder --source=dev --name=tested --new-url={local}"), machine),
        ("list git-builders --source=other".to_owned(), other),
        ("list git-builds --source=other".to_owned(), other),
        ("list git-builders".to_owned(), "lacks the scope global:admin"),
        ("list git-builds".to_owned(), "lacks the scope global:admin"),
        ("list git-credentials".to_owned(), "lacks the scope global:admin"),
    ] {
        refuse(&line, words);
    }
    let refused = server.json("audit list --outcome=refused --actor=ci").to_string();
    assert!(
        refused.contains(used) && refused.contains(machine) && refused.contains("sources/other"),
        "{refused}"
    );

    // A builder with a credential of an administrator, whose URL would be that of another private repository.
    server.rspm_stdout("edit git-builder --source=dev --name=tested --new-credential=ci");
    refuse(&format!("edit git-builder --source=dev --name=tested --new-url={url}x"), used);
    refuse("edit git-builder --source=dev --name=tested --remove-credential", used);
    let row = &server.json("list git-builders --source=dev")[0];
    assert_eq!((&row["url"], &row["credential"]), (&url.into(), &"ci".into()), "unchanged");
    succeed("delete git-builder --source=dev --name=tested");
}
