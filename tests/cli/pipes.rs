//! Every command with a closed standard output: no message and no panic.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use clap::CommandFactory;
use rstudio_pm::cli::args::Cli;
use rstudio_pm::downloader;

use super::{files, path_flag, team};
use crate::support::fixtures;
use crate::support::tarball::Tarball;

/// Collects the commands that can be run, by name.
fn collect_commands(command: &clap::Command, path: &str, commands: &mut BTreeSet<String>) {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let path = format!("{path} {}", sub.get_name()).trim_start().to_owned();
        if !sub.is_subcommand_required_set() {
            commands.insert(path.clone());
        }
        collect_commands(sub, &path, commands);
    }
}

/// Runs a command with a closed standard output; returns the exit code and standard error.
fn run_with_closed_pipe(command: &mut Command) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output =
        command.env("HOME", "/dev/null").stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).output();
    let output = output.expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn every_command_is_quiet_on_a_closed_pipe() {
    let server = team();
    fixtures::create_mirror(&server.dir().join("no-mirror"));
    let paths = files(&server, &[Tarball::new("alpha", "1.0"), Tarball::new("beta", "1.0")]);
    let add = format!("add --source=team {}", path_flag(&paths));
    let export = format!("export files --repo=none --to=/nowhere/site --address={}", server.url(""));
    // The order is such that each command finds its objects.
    let lines = [
        add.as_str(),
        "add binary --source=team --path=/nowhere.tar.gz --distribution=noble",
        "create source --name=own",
        "create repo --name=other",
        "subscribe --repo=other --source=own",
        "reorder --repo=other --sources=own",
        "edit source --name=own --new-name=mine",
        "edit repo --name=other --new-name=another",
        "list",
        "list repos",
        "list sources",
        "list packages --repo=prod",
        "list binaries --source=team --name=alpha",
        "list distributions",
        "create token --scope=global:admin --description=x",
        "list tokens",
        "revoke token --guid=x",
        "verify",
        "audit list",
        "audit verify",
        "audit export",
        "list bioconductor versions",
        "info --repo=prod",
        "explain prod alpha",
        export.as_str(),
        "sync",
        "backfill --source=cran --since=2020-01-01 --dry-run",
        "status",
        "hup",
        "cluster nodes",
        "cluster offline --nodes=*",
        "cluster online --nodes=*",
        "storage list",
        "storage adopt",
        "storage sweep",
        "storage restore",
        "scrub --quick",
        "backup create --to=/nowhere/backups",
        "backup list --from=/nowhere/backups",
        "backup verify --from=/nowhere/backups",
        "backup test --from=/nowhere/backups",
        "backup restore --from=/nowhere/backups",
        "backup prune --from=/nowhere/backups --keep-daily=1",
        "repair clock --today=2020-01-01 --dry-run",
        "config log --level=info",
        "bootstrap keys --destination=/dev/null/keys",
        "bootstrap signature --private-key-file=/nowhere/key",
        "bootstrap token --private-key-file=/nowhere/key",
        "login",
        "login sso",
        "logout",
        "logs reopen",
        "check-config",
        "migrate --dry-run",
        "encrypt s3cret",
        "encrypt generate --file-out=/nowhere/key",
        "encrypt rotate --new-key=/nowhere/key",
        "license status",
        "completion bash",
        "import list /nowhere/list.ndjson --source=team",
        "import from-folder /nowhere/packages --source=team",
        "import from-index /nowhere/packages --source=team",
        "import from-cran /nowhere/packages --source=team",
        "import from-snapshots /nowhere/packages --source=team",
        "import from-git /nowhere/packages --source=team",
        "import from-devpi /nowhere/packages --source=team",
        "import https-credential --name=x --username=u --password=p",
        "edit https-credential --name=x --username=v",
        "import ssh-key --name=y --path=/nowhere/key",
        "create ssh-key --name=y --path=/nowhere/key",
        "edit ssh-key --name=y --host=git.example.com",
        "delete ssh-key --name=y",
        "list git-credentials",
        "delete git-credential --name=x --type=https",
        "create git-builder --source=team --url=https://git.invalid/x",
        "edit git-builder --source=team --name=x --clone-depth=2",
        "run git-builder --source=team --name=x --no-wait",
        "rerun git-builder --source=team --name=x --no-wait",
        "list git-builders",
        "list git-builds",
        "logs --build-id=1",
        "delete git-builder --source=team --name=x",
        "yank --name=alpha@all --source=team",
        "unyank --name=alpha@all --source=team",
        "remove package --name=alpha@all --source=team",
        "remove binary --source=team --name=beta --version=1.0 --platform=4.5-noble",
        "create source --name=subset --type=curated-pypi",
        "update --source=subset",
        "delete source --name=subset --with-packages",
        "create metadata --package-name=alpha --key=a --value=b",
        "create bulk-metadata --csv-in=/nowhere.csv",
        "list metadata",
        "delete metadata --id=1",
        "list license-types",
        "promote --from=prod --to=another --plan",
        "list promotions",
        "create blocklist-rule --package-name=alpha",
        "create bulk-blocklist-rules --path=/nowhere.json",
        "edit blocklist-rule --id=1 --priority=5",
        "list blocklist-rules",
        "test blocklist-rules --repo=prod --package-name=alpha",
        "delete blocklist-rule --id=all",
        "create name-guard --name=gamma.* --source=mine",
        "list name-guards",
        "edit name-guard --id=1 --description=x",
        "audit names",
        "delete name-guard --id=1",
        "list blocked",
        "list storage",
        "url create --repo=prod",
        "prefetch --source=pypi --file-in=/nowhere.txt",
        "evict --dry-run",
        "clear",
        "config debug logger activate sync",
        "config debug logger deactivate sync",
        "config debug logger show",
        "unsubscribe --repo=another --source=mine",
        "delete repo --name=another",
        "delete source --name=mine --with-packages",
        "export state",
        "history init --origin=example.org/log",
        "history status",
        "history checkpoint",
        "history audit --policy=/nowhere.txt",
        "history prove --repo=prod --snapshot=2026-01-01",
        "history export --to=/nowhere/copy",
        "history recover",
        "history rotate-key",
        "history cosign",
        "history verify /nowhere.proof --policy=/nowhere.txt --repo=prod --snapshot=2026-01-01",
        "apply /nowhere.toml",
        "offline",
        "online",
    ];
    let mut expected = BTreeSet::new();
    collect_commands(&Cli::command(), "", &mut expected);
    let mut covered_commands = BTreeSet::new();
    for line in lines {
        let (code, err) = run_with_closed_pipe(&mut server.rspm_command(line));
        assert!(!err.contains("panicked") && matches!(code, Some(0 | 1)), "rspm {line}: {code:?} {err}");
        assert!(code == Some(0) || err.starts_with("Error: "), "rspm {line}: {err}");
        let command =
            expected.iter().filter(|command| format!("{line} ").starts_with(&format!("{command} ")));
        let command = command.max_by_key(|command| command.len()).expect("a command").clone();
        let help = run_with_closed_pipe(&mut server.rspm_command(&format!("{command} --help")));
        assert_eq!(help, (Some(0), String::new()), "rspm {command} --help");
        covered_commands.insert(command);
    }
    assert_eq!(
        covered_commands, expected,
        "a command without a line in this test, or a line without a command"
    );
}

#[test]
fn completions_of_both_programs_are_quiet_on_a_closed_pipe() {
    let (rspm, downloader) = (env!("CARGO_BIN_EXE_rspm"), env!("CARGO_BIN_EXE_rspm-offline-downloader"));
    assert!(downloader::args::Cli::command().find_subcommand("completion").is_some());
    for program in [rspm, downloader] {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let output = run_with_closed_pipe(Command::new(program).args(["completion", shell]));
            assert_eq!(output, (Some(0), String::new()), "{program} completion {shell}");
        }
    }
}
