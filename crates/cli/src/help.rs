//! Help template of the grammar: `rspm --help` lists the commands in groups.

use std::fmt::Write;
use std::mem::ManuallyDrop;

use clap::builder::StyledStr;
use clap::error::ErrorKind;
use clap::{Command, CommandFactory, FromArgMatches};

use super::args::Cli;

/// Groups and their commands. Commands without a group are listed in the last one.
const GROUPS: [(&str, &str); 6] = [
    ("Packages", "add update remove yank unyank sync prefetch clear backfill explain"),
    (
        "Sources and repositories",
        "create edit delete list info subscribe unsubscribe reorder promote url test",
    ),
    ("Git builders", "import run rerun logs"),
    (
        "Server",
        "status online offline hup check-config encrypt migrate config cluster storage evict scrub backup repair",
    ),
    ("Access", "login logout verify revoke audit bootstrap"),
    ("Other", "license completion help"),
];

/// Parses the arguments of this process. The grouped help, which takes longer than a request, is created only if it is
/// printed.
pub fn parse() -> Result<Cli, clap::Error> {
    try_parse().map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            command().try_get_matches().err().unwrap_or(error)
        }
        _ => error,
    })
}

/// As [`clap::Parser::try_parse`], but does not free the grammar of all commands, which would take longer than parsing.
fn try_parse() -> Result<Cli, clap::Error> {
    let mut command = ManuallyDrop::new(Cli::command());
    let mut matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// Returns the grammar of [`Cli`] with grouped help.
pub fn command() -> Command {
    let mut command = Cli::command();
    command.build();
    let heading = *command.get_styles().get_header();
    let name = *command.get_styles().get_literal();
    let is_named = |name: &str| GROUPS.iter().any(|(_, names)| names.split(' ').any(|known| known == name));
    let mut groups = String::new();
    for (index, (title, names)) in GROUPS.iter().enumerate() {
        let _ = writeln!(groups, "{heading}{title}:{heading:#}");
        let members = names.split(' ').filter_map(|name| command.find_subcommand(name));
        let others =
            command.get_subcommands().filter(|sub| index + 1 == GROUPS.len() && !is_named(sub.get_name()));
        for sub in members.chain(others).filter(|sub| !sub.is_hide_set()) {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(groups, "  {name}{:<12}{name:#}  {about}", sub.get_name());
        }
        groups.push('\n');
    }
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{heading}Options:{heading:#}\n{{options}}{{after-help}}"
    );
    Cli::command().help_template(StyledStr::from(template))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_listed_once_below_a_group() {
        let help = command().render_help().to_string();
        for (title, names) in GROUPS {
            assert!(help.contains(&format!("\n{title}:\n")), "{title}\n{help}");
            for name in names.split(' ') {
                let exists = Cli::command().find_subcommand(name).is_some();
                assert!(exists || name == "help", "a group names the command {name}, which does not exist");
            }
        }
        for sub in Cli::command().get_subcommands() {
            let line = format!("\n  {:<12}  ", sub.get_name());
            assert_eq!(help.matches(&line).count(), 1, "{}\n{help}", sub.get_name());
        }
        assert!(help.contains("--config <FILE>") && help.contains("Exit codes: 0 done"), "{help}");
    }

    #[test]
    fn flags_with_suggested_values_list_them() {
        let mut command = command();
        let mut help = |path: &[&str]| {
            let leaf =
                path.iter().fold(&mut command, |c, name| c.find_subcommand_mut(name).expect("a command"));
            leaf.render_help().to_string().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        for (path, words) in [
            (
                ["create", "source"],
                "local, local-python, git, git-python, curated-cran, cran-snapshot, curated-pypi",
            ),
            (["create", "repo"], "r, bioconductor, python"),
            (
                ["list", "sources"],
                "cran, bioconductor, pypi, local, local-python, git, git-python, curated-cran, cran-snapshot, curated-pypi",
            ),
            (["config", "log"], "TRACE, DEBUG, INFO, WARN, ERROR"),
        ] {
            let text = help(&path);
            assert!(text.contains(&format!("[possible values: {words}]")), "{path:?}\n{text}");
        }
        assert!(help(&["sync"]).contains("[possible values: CRAN, Bioconductor, PyPI, sysreqs, vulns]"));
    }
}
