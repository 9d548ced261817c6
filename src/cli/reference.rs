//! The page `docs/admin/rspm.md`, made from the grammar itself.

use std::fmt::Write;

use clap::{Command, CommandFactory};

use super::absent::TABLE;
use super::args::Cli;

/// The page: every command with its flags, in the order of `rspm --help`.
#[must_use]
pub fn text() -> String {
    let mut page = String::from(
        "# rspm\n\nThe command line talks to the server over its unix socket, so it runs on the server's machine, as root or as a member of the server's group. \
         `--config FILE` names the server's configuration when it is not the default one; `-o json` prints one JSON value instead of sentences and tables.\n\n\
         | exit code | meaning |\n|---|---|\n| 0 | done |\n| 1 | refused or failed; standard error says why and what to do |\n\
         | 2 | wrong usage, or a command of the original that is not in this version |\n| 3 | no server to talk to |\n\n\
         This page is generated: `make docs` writes it again.\n",
    );
    let mut root = Cli::command().term_width(100);
    root.build();
    globals(&root, &mut page);
    commands(&root, "rspm", &mut page);
    page.push_str(
        "\n## What is not in this version\n\nThese commands and flags of the original end with exit code 2, a sentence and the page to read.\n\n\
         | command | instead | page |\n|---|---|---|\n",
    );
    for rows in TABLE.chunk_by(|a, b| (a.sentence, a.page) == (b.sentence, b.page)) {
        let names: Vec<String> = rows.iter().map(|row| format!("`{row}`")).collect();
        let (sentence, file) = (rows[0].sentence, rows[0].page.trim_start_matches("docs/"));
        let _ = writeln!(page, "| {} | {sentence} | [{file}](../{file}) |", names.join(", "));
    }
    page
}

fn globals(root: &Command, page: &mut String) {
    page.push_str("\n## Flags of every command\n\n| flag | meaning | default |\n|---|---|---|\n");
    root.get_arguments().filter(|arg| arg.is_global_set()).for_each(|arg| page.push_str(&row(arg)));
}

fn commands(command: &Command, path: &str, page: &mut String) {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let path = format!("{path} {}", sub.get_name());
        // What has subcommands and needs none, such as `add`, is a command as well.
        if !sub.is_subcommand_required_set() {
            section(sub, &path, page);
        }
        commands(sub, &path, page);
    }
}

fn section(command: &Command, path: &str, page: &mut String) {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    // Writing to a String cannot fail.
    let _ = write!(page, "\n## {path}\n\n{about}.\n");
    let own = |arg: &&clap::Arg| !arg.is_hide_set() && !arg.is_global_set() && arg.get_id() != "help";
    let rows: Vec<String> = command.get_arguments().filter(own).map(row).collect();
    if !rows.is_empty() {
        let _ = write!(page, "\n| flag | meaning | default |\n|---|---|---|\n{}", rows.concat());
    }
}

fn row(arg: &clap::Arg) -> String {
    let flag = match arg.get_long() {
        Some(long) => format!("--{long}"),
        None => arg.get_id().to_string(),
    };
    let takes = arg.get_num_args().is_some_and(|n| n.takes_values());
    let value = match arg.get_value_names().and_then(|names| names.first()) {
        Some(name) if takes && arg.get_long().is_some() => format!("={name}"),
        _ => String::new(),
    };
    let choices: Vec<String> = arg.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect();
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let help = if choices.is_empty() || !takes { help } else { format!("{help} ({})", choices.join(", ")) };
    let default = match arg.get_default_values() {
        _ if !takes => String::new(),
        [first, ..] if !first.is_empty() => format!("`{}`", first.to_string_lossy()),
        _ if arg.is_required_set() => "required".to_owned(),
        _ => String::new(),
    };
    format!("| `{flag}{value}` | {help} | {default} |\n")
}
