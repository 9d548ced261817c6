//! Commands and flags of Posit Package Manager that this version lacks, each with a replacement and a documentation
//! page; and its license commands, which scripts may run.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

use super::error::CliError;
use super::output::print_part;
use base::model::documentation::Page;

/// A command, or a flag of one.
#[derive(Debug)]
pub(super) struct Unsupported {
    pub(super) words: &'static [&'static str],
    /// The flag without dashes; empty if the whole command is not supported.
    pub(super) flag: &'static str,
    /// The missing function and its alternative.
    pub(super) sentence: &'static str,
    /// The page of the documentation.
    pub(super) page: Page,
}

const SCHEDULE: &str = "schedules are properties of the configuration: CRAN.SyncSchedule, Bioconductor.SyncSchedule; \
                        rspm status shows them";
const AIR_GAP: &str = "rspm-offline-downloader fetches the packages for servers without internet";
const BIOCONDUCTOR: &str = "the source bioconductor contains all versions of Bioconductor; name the version when \
                            you subscribe or sync: --version";
const GIT_URL: &str =
    "packages are built from git by builders: rspm create git-builder --source=NAME --url=URL";

const fn command(words: &'static [&'static str], sentence: &'static str, page: Page) -> Unsupported {
    Unsupported { words, flag: "", sentence, page }
}

const fn flag(
    words: &'static [&'static str],
    flag: &'static str,
    sentence: &'static str,
    page: Page,
) -> Unsupported {
    Unsupported { words, flag, sentence, page }
}

/// All rows, in the order of the documentation.
pub(super) static TABLE: &[Unsupported] = &[
    flag(&["create", "source"], "version", BIOCONDUCTOR, Page::BIOCONDUCTOR),
    flag(&["sync"], "source", BIOCONDUCTOR, Page::BIOCONDUCTOR),
    flag(&["add"], "git-url", GIT_URL, Page::GIT),
    command(&["schedule"], SCHEDULE, Page::CONFIGURATION),
    command(&["air-gap"], AIR_GAP, Page::AIR_GAPPED),
];

/// Global flags whose next argument is a value, not a word of a command.
const FLAGS_WITH_VALUE: [&str; 6] = ["-c", "--config", "-o", "--output-format", "-a", "--address"];

/// Returns the row that matches a command line, if there is one; `args` does not contain the name of the program.
pub(super) fn find(args: &[String]) -> Option<&'static Unsupported> {
    let mut words: Vec<&str> = Vec::new();
    let mut rest = args.iter().map(String::as_str);
    while let Some(arg) = rest.next() {
        match arg {
            _ if FLAGS_WITH_VALUE.contains(&arg) => {
                rest.next();
            }
            _ if arg.starts_with('-') => {}
            "help" if words.is_empty() => {}
            // Values of flags may follow the command's words; rows are compared as prefixes.
            word => words.push(word),
        }
    }
    let has_flag = |flag: &str| {
        let flags = args.iter().filter_map(|arg| arg.strip_prefix("--"));
        flags.map(|arg| arg.split_once('=').map_or(arg, |(name, _)| name)).any(|name| name == flag)
    };
    TABLE.iter().find(|row| words.starts_with(row.words) && (row.flag.is_empty() || has_flag(row.flag)))
}

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rspm {}", self.words.join(" "))?;
        if !self.flag.is_empty() {
            write!(f, " --{}", self.flag)?;
        }
        Ok(())
    }
}

/// Arguments of `license`.
#[derive(Debug, Args)]
pub struct License {
    /// Any command of the license-manager of Posit Package Manager, with any flags
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Prints that no license is needed.
pub(super) fn license() -> Result<ExitCode, CliError> {
    let text = "No license is needed: this server is free software, and all of its features are enabled.\n";
    print_part(text).map_err(CliError::Output)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn no_row_is_about_an_existing_command_and_every_page_exists() {
        let root = Cli::command();
        for row in TABLE {
            let mut command = Some(&root);
            for word in row.words {
                command = command.and_then(|command| command.find_subcommand(word));
            }
            match (command, row.flag) {
                (None, "") => {}
                (Some(command), flag) if !flag.is_empty() => {
                    let exists = command.get_arguments().any(|arg| arg.get_long() == Some(flag));
                    assert!(!exists, "{row} exists");
                }
                (Some(_), _) => panic!("{row} exists"),
                (None, _) => panic!("{row}: there is no such command"),
            }
            let page =
                std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(row.page.file());
            assert!(page.is_file(), "{row}: there is no {}", row.page);
        }
    }

    #[test]
    fn a_command_line_finds_its_row_with_flags_in_any_position() {
        let row = |line: &str| {
            let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
            find(&args).map(ToString::to_string)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(row("schedule --type=sweep"), some("rspm schedule"));
        assert_eq!(row("-c /x/rstudio-pm.gcfg air-gap -o json"), some("rspm air-gap"));
        assert_eq!(row("help air-gap"), some("rspm air-gap"));
        assert_eq!(row("create source --name x --type=curated-cran --snapshot 2024-04-17"), None);
        assert_eq!(row("create source --name=snapshot"), None);
        assert_eq!(row("sync --type=x --source=y"), some("rspm sync --source"));
        assert_eq!(row("frobnicate"), None);
    }
}
