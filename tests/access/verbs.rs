//! Every command of `rspm` with a server on another machine, over HTTPS with a token.

use std::collections::BTreeSet;
use std::process::Command;

use clap::CommandFactory;

use super::token;
use crate::support::rspm::RspmOutput;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::tls;

/// What a command does with the address of another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Succeeds over the network.
    Remote,
    /// Reaches the handler of the server, which refuses these arguments: the object does not exist, or the server lacks
    /// what the command needs.
    Answered,
    /// Is refused, because it controls the process of the server.
    Machine,
    /// Uses no server, or stores files of the user.
    Own,
}

use Use::{Answered, Machine, Own, Remote};

/// Each command, with its flags. Rows with the same command continue each other.
const ROWS: &[(&str, &str, Use)] = &[
    ("create source", "--name=team", Remote),
    ("create source", "--name=py --type=local-python", Remote),
    ("create repo", "--name=prod --authenticated", Remote),
    ("create repo", "--name=pyrepo --type=python", Remote),
    ("subscribe", "--repo=prod --source=team", Remote),
    ("subscribe", "--repo=prod --source=cran", Remote),
    ("reorder", "--repo=prod --sources=cran,team", Remote),
    ("unsubscribe", "--repo=prod --source=cran", Remote),
    ("add", "--source=team --path=alpha_1.0.tar.gz,beta_1.0.tar.gz", Remote),
    ("import list", "list.ndjson --source=team", Remote),
    ("add binary", "--source=team --path=alpha_1.0.tar.gz --distribution=noble", Answered),
    ("list", "", Remote),
    ("list repos", "--source=team", Remote),
    ("list sources", "--repo=prod", Remote),
    ("list packages", "--repo=prod", Remote),
    ("list binaries", "--source=team --name=alpha", Remote),
    ("list distributions", "", Remote),
    ("list bioconductor versions", "", Remote),
    ("info", "--repo=prod", Remote),
    ("explain", "prod alpha", Remote),
    ("remove package", "--source=team --name=beta@all", Remote),
    ("remove binary", "--source=team --name=alpha --version=1.0 --platform=4.5-noble", Answered),
    ("yank", "--source=py --name=none@1.0", Answered),
    ("unyank", "--source=py --name=none@1.0", Answered),
    ("update", "--source=team --file-in=list", Answered),
    ("edit source", "--name=team --new-name=crew", Remote),
    ("edit repo", "--name=prod --hide", Remote),
    ("create git-builder", "--source=crew --url=https://host.invalid/x", Answered),
    ("edit git-builder", "--source=crew --name=x --clone-depth=0", Answered),
    ("delete git-builder", "--source=crew --name=x", Answered),
    ("run git-builder", "--source=crew --name=x", Answered),
    ("rerun git-builder", "--source=crew --name=x", Answered),
    ("list git-builders", "", Remote),
    ("list git-builds", "", Remote),
    ("logs", "--transaction-id=1", Answered),
    ("logs reopen", "", Machine),
    ("import https-credential", "--name=ci --username=u --password=p", Remote),
    ("edit https-credential", "--name=ci --username=v", Remote),
    ("import ssh-key", "--name=key --path=key", Remote),
    ("create ssh-key", "--name=key --path=key --succeed-on-existing", Remote),
    ("edit ssh-key", "--name=key --path=key", Remote),
    ("delete ssh-key", "--name=key", Remote),
    ("list git-credentials", "", Remote),
    ("delete git-credential", "--type=https --name=ci", Remote),
    ("create token", "--scope=repos:read --repos=prod --description=x --quiet", Remote),
    ("list tokens", "--expired=no", Remote),
    ("revoke token", "--user=nobody", Remote),
    ("verify", "", Remote),
    ("audit list", "", Remote),
    ("audit verify", "", Remote),
    ("audit export", "", Remote),
    ("storage list", "", Remote),
    ("storage adopt", "", Remote),
    ("storage sweep", "--no-wait", Remote),
    ("storage restore", "", Remote),
    ("url create", "--repo=prod --lock", Remote),
    ("list storage", "", Remote),
    ("list blocked", "--since=2026-01-01", Remote),
    ("clear", "--type=cran", Answered),
    ("prefetch", "--source=pypi --file-in=list", Answered),
    ("evict", "--dry-run", Remote),
    ("scrub", "--quick --no-wait", Remote),
    ("list license-types", "--current", Remote),
    ("create metadata", "--package-name=alpha --key=a --value=b", Remote),
    ("create bulk-metadata", "--csv-in=metadata.csv", Remote),
    ("list metadata", "--package-name=alpha", Remote),
    ("delete metadata", "--id=1", Remote),
    ("promote", "--from=nothing --to=prod --plan", Answered),
    ("list promotions", "", Remote),
    ("create blocklist-rule", "--package-name=beta", Remote),
    ("create bulk-blocklist-rules", "--path=rules.json", Remote),
    ("edit blocklist-rule", "--id=1 --priority=5", Remote),
    ("list blocklist-rules", "", Remote),
    ("test blocklist-rules", "--repo=prod --package-name=alpha", Remote),
    ("delete blocklist-rule", "--id=all", Remote),
    ("create name-guard", "--name=gamma.* --source=crew", Remote),
    ("list name-guards", "", Remote),
    ("edit name-guard", "--id=1 --description=x", Remote),
    ("audit names", "", Remote),
    ("delete name-guard", "--id=1", Remote),
    ("repair clock", "--today=2020-01-01 --dry-run", Answered),
    ("backup create", "--to={dir}/backups", Remote),
    ("sync", "--type=sysreqs --no-wait", Remote),
    ("backfill", "--stop", Remote),
    ("status", "", Remote),
    ("hup", "", Remote),
    ("config log", "--level=INFO", Remote),
    ("config debug logger activate", "sync", Remote),
    ("config debug logger deactivate", "sync", Remote),
    ("config debug logger show", "--show-disabled", Remote),
    ("online", "", Machine),
    ("offline", "", Machine),
    ("cluster nodes", "", Machine),
    ("cluster online", "--nodes=*", Machine),
    ("cluster offline", "--nodes=*", Machine),
    ("export state", "", Remote),
    ("apply", "site.toml --plan", Remote),
    ("history init", "--origin=example.org/log", Remote),
    ("history status", "", Remote),
    ("history checkpoint", "", Remote),
    ("history rotate-key", "", Remote),
    ("history export", "--to=/nowhere/copy", Answered),
    ("history recover", "", Answered),
    ("delete repo", "--name=prod", Remote),
    ("delete source", "--name=crew --with-packages", Remote),
    ("export files", "", Own),
    ("history verify", "", Own),
    ("history audit", "", Own),
    ("history prove", "", Own),
    ("history cosign", "", Own),
    ("import from-cran", "", Own),
    ("import from-devpi", "", Own),
    ("import from-folder", "", Own),
    ("import from-git", "", Own),
    ("import from-index", "", Own),
    ("import from-snapshots", "", Own),
    ("backup list", "", Own),
    ("backup verify", "", Own),
    ("backup test", "", Own),
    ("backup restore", "", Own),
    ("backup prune", "", Own),
    ("bootstrap keys", "", Own),
    ("bootstrap signature", "", Own),
    ("bootstrap token", "", Own),
    ("login", "", Own),
    ("login sso", "", Own),
    ("logout", "", Own),
    ("check-config", "", Own),
    ("encrypt", "", Own),
    ("encrypt generate", "", Own),
    ("encrypt rotate", "", Own),
    ("license", "", Own),
    ("migrate", "", Own),
    ("completion", "", Own),
];

/// The commands that can be run: those without subcommands, and those whose subcommands are optional.
fn commands(command: &clap::Command, path: &str, all: &mut BTreeSet<String>) {
    let mut children = command.get_subcommands().filter(|child| child.get_name() != "help").peekable();
    if !path.is_empty() && (children.peek().is_none() || !command.is_subcommand_required_set()) {
        all.insert(path.to_owned());
    }
    for child in children {
        commands(child, format!("{path} {}", child.get_name()).trim_start(), all);
    }
}

#[test]
fn every_command_has_a_row() {
    let mut all = BTreeSet::new();
    commands(&rstudio_pm::cli::args::Cli::command(), "", &mut all);
    let rows: BTreeSet<String> = ROWS.iter().map(|(command, ..)| (*command).to_owned()).collect();
    let missing: Vec<_> = all.difference(&rows).collect();
    assert!(missing.is_empty(), "commands without a row in tests/access/verbs.rs: {missing:?}");
    let extra: Vec<_> = rows.difference(&all).collect();
    assert!(extra.is_empty(), "rows of commands that do not exist: {extra:?}");
}

/// Runs `rspm` on another machine: without the configuration of the server, with its certificate.
fn remote(server: &Server, token: &str, line: &str) -> RspmOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rspm"));
    command.args(line.split_whitespace()).current_dir(server.dir()).env("HOME", server.dir());
    command.env("PACKAGEMANAGER_ADDRESS", &server.urls()[1]).env("PACKAGEMANAGER_TOKEN", token);
    command.env("SSL_CERT_FILE", server.dir().join("server.crt")).env("NO_PROXY", "*");
    command.output().expect("rspm runs").into()
}

#[test]
fn every_command_but_those_of_the_machine_works_over_https() {
    let lines = "[Server]\nBackupPaths = {dir}/backups\n[SystemRequirements]\nURL = file://{dir}/none\n\
                 [HTTPS]\nListen = 127.0.0.1:0\nCertificate = {dir}/server.crt\nKey = {dir}/server.key";
    let key = "5a".repeat(512);
    let mut server = Builder::default().env("PACKAGEMANAGER_ENCRYPTION_KEY", &key).gcfg(lines).prepare();
    tls::Pair::new().write(server.dir());
    server.launch();
    std::fs::create_dir(server.dir().join("backups")).expect("a writable directory");
    for name in ["alpha", "beta"] {
        let package = Tarball::new(name, "1.0");
        std::fs::write(server.dir().join(package.file()), package.bytes()).expect("written");
    }
    std::fs::write(server.dir().join("list"), "alpha\n").expect("written");
    let change = r#"{"op":"add","file":"alpha_1.0.tar.gz"}"#;
    std::fs::write(server.dir().join("list.ndjson"), change).expect("written");
    std::fs::write(server.dir().join("metadata.csv"), "package_name,key,value\nalpha,b,c\n")
        .expect("written");
    std::fs::write(server.dir().join("site.toml"), "format = 1\n[sources.more]\n").expect("written");
    let rules = r#"[{"package_name":"gamma"}]"#;
    std::fs::write(server.dir().join("rules.json"), rules).expect("written");
    let mut ssh = Command::new("ssh-keygen");
    ssh.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(server.dir().join("key"));
    assert!(ssh.status().expect("ssh-keygen runs").success());
    let admin = token(&server, "--scope=global:admin --user=ops");
    let mut failures = Vec::new();
    for (command, flags, place) in ROWS {
        if *place == Own {
            continue;
        }
        let line =
            format!("{command} {flags} --verbose").replace("{dir}", &server.dir().display().to_string());
        let output = remote(&server, &admin, &line);
        let requests: Vec<&str> =
            output.err.lines().filter(|line| line.contains("/__api__/admin/v1/")).collect();
        let is_refused =
            requests.iter().any(|request| request.contains(": 401") || request.contains(": 403"));
        let is_local = output.err.contains("only on the server's machine");
        let is_expected = match place {
            Remote => output.code == 0 && !is_refused,
            Answered => output.code == 1 && !is_refused,
            Machine => output.code == 1 && is_local,
            Own => true,
        };
        if !is_expected || requests.is_empty() {
            failures.push(format!("{line} ({place:?}): {} {}{}", output.code, output.out, output.err));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let trail = server.json("audit list --limit=10000");
    let rows = trail.as_array().expect("rows");
    let strangers: Vec<_> = rows
        .iter()
        .filter(|row| {
            row["action"] != "create token" && row["actor_kind"] != "token" && row["actor_kind"] != "job"
        })
        .collect();
    assert!(strangers.is_empty(), "each change has its author: {strangers:?}");
    let by_ops =
        rows.iter().filter(|row| row["actor"].as_str().is_some_and(|actor| actor.starts_with("ops (token ")));
    assert!(by_ops.count() > 20, "{trail}");
}
