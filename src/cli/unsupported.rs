//! Commands and flags of the original that this version lacks, each with a replacement and a documentation page.

/// A command, or a flag of one.
#[derive(Debug)]
pub(super) struct Unsupported {
    /// The command's words.
    pub(super) words: &'static [&'static str],
    /// The flag without dashes; empty when the whole command is absent.
    pub(super) flag: &'static str,
    /// What is missing, and what to do instead.
    pub(super) sentence: &'static str,
    /// Path of the documentation page.
    pub(super) page: &'static str,
}

const REPOSITORIES: &str = "docs/admin/repositories.md";
const CONFIGURATION: &str = "docs/admin/configuration.md";
const VULNERABILITIES: &str = "docs/admin/vulnerabilities.md";
const COMPATIBILITY: &str = "docs/compatibility.md";

const CURATED: &str = "curated sources and CRAN snapshots are not in this version; a date in the URL of a repository \
                       (/prod/2026-11-20) freezes its contents";
const CLEAR: &str =
    "synced packages cannot be cleared in this version; unsubscribe the repositories from the source";
const FIXED_URL: &str = "fixed URLs cannot be created in this version; write a date or a transaction id in place of \
                         latest in the URL of a repository";
const GIT: &str =
    "packages are not built from git in this version; build them with R CMD build, then: rspm add";
const BLOCKING: &str =
    "packages cannot be blocked in this version; known vulnerabilities are shown with each package";
const LICENSES: &str =
    "there are no license rules in this version; POST /__api__/filter/packages selects packages by license";
const METADATA: &str = "packages have no custom metadata in this version";
const TOKENS: &str = "there are no tokens and logins in this version; rspm connects to the local server, as \
                      root or as a member of the server's group";
const VERIFY: &str =
    "there are no tokens to verify in this version; to check that the server responds: rspm status";
const AREAS: &str = "debug logging cannot be limited to single areas in this version; for all areas: rspm config log --level=DEBUG";
const EVICT: &str = "stored files cannot be evicted by hand in this version; the server removes unreferenced files \
                     every night";
const SCHEDULE: &str = "schedules are properties of the configuration: CRAN.SyncSchedule, Bioconductor.SyncSchedule; \
                        rspm status shows them";
const AIR_GAP: &str = "rspm-offline-downloader fetches the packages for servers without internet";
const BIOCONDUCTOR: &str = "the source bioconductor holds all versions of Bioconductor; name the version when \
                            you subscribe or sync: --version";
const LOCAL_ONLY: &str = "rspm add takes package files, --path or --file-in; it does not select packages of CRAN in this \
                          version";
const ACCESS: &str =
    "there is no access control in this version, and every repository is public; leave the flag out";

const fn command(words: &'static [&'static str], sentence: &'static str, page: &'static str) -> Unsupported {
    Unsupported { words, flag: "", sentence, page }
}

const fn flag(
    words: &'static [&'static str],
    flag: &'static str,
    sentence: &'static str,
    page: &'static str,
) -> Unsupported {
    Unsupported { words, flag, sentence, page }
}

/// All rows, in the order of the documentation.
pub(super) static TABLE: &[Unsupported] = &[
    command(&["update"], CURATED, REPOSITORIES),
    flag(&["create", "source"], "snapshot", CURATED, REPOSITORIES),
    flag(&["create", "source"], "include", CURATED, REPOSITORIES),
    flag(&["create", "source"], "version", BIOCONDUCTOR, "docs/admin/bioconductor.md"),
    flag(&["sync"], "source", BIOCONDUCTOR, "docs/admin/bioconductor.md"),
    flag(&["add"], "packages", LOCAL_ONLY, REPOSITORIES),
    flag(&["add"], "snapshot", LOCAL_ONLY, REPOSITORIES),
    flag(&["add"], "commit", LOCAL_ONLY, REPOSITORIES),
    flag(&["add"], "csv-out", LOCAL_ONLY, REPOSITORIES),
    flag(&["add"], "include-suggests", LOCAL_ONLY, REPOSITORIES),
    flag(&["add"], "dryrun", LOCAL_ONLY, REPOSITORIES),
    flag(&["add"], "transaction-id", LOCAL_ONLY, REPOSITORIES),
    command(&["clear"], CLEAR, REPOSITORIES),
    command(&["url"], FIXED_URL, REPOSITORIES),
    flag(&["create", "repo"], "authenticated", ACCESS, CONFIGURATION),
    flag(&["edit", "repo"], "authenticated", ACCESS, CONFIGURATION),
    command(&["create", "git-builder"], GIT, REPOSITORIES),
    command(&["edit", "git-builder"], GIT, REPOSITORIES),
    command(&["delete", "git-builder"], GIT, REPOSITORIES),
    command(&["run"], GIT, REPOSITORIES),
    command(&["rerun"], GIT, REPOSITORIES),
    command(&["list", "git-builders"], GIT, REPOSITORIES),
    command(&["list", "git-builds"], GIT, REPOSITORIES),
    command(&["list", "git-credentials"], GIT, REPOSITORIES),
    command(&["import"], GIT, REPOSITORIES),
    command(&["create", "ssh-key"], GIT, REPOSITORIES),
    command(&["edit", "ssh-key"], GIT, REPOSITORIES),
    command(&["edit", "https-credential"], GIT, REPOSITORIES),
    command(&["delete", "git-credential"], GIT, REPOSITORIES),
    command(&["delete", "ssh-key"], GIT, REPOSITORIES),
    flag(&["logs"], "transaction-id", GIT, REPOSITORIES),
    command(&["create", "blocklist-rule"], BLOCKING, VULNERABILITIES),
    command(&["create", "bulk-blocklist-rules"], BLOCKING, VULNERABILITIES),
    command(&["edit", "blocklist-rule"], BLOCKING, VULNERABILITIES),
    command(&["delete", "blocklist-rule"], BLOCKING, VULNERABILITIES),
    command(&["list", "blocklist-rules"], BLOCKING, VULNERABILITIES),
    command(&["test"], BLOCKING, VULNERABILITIES),
    command(&["list", "license-types"], LICENSES, "docs/api/README.md"),
    command(&["create", "metadata"], METADATA, COMPATIBILITY),
    command(&["create", "bulk-metadata"], METADATA, COMPATIBILITY),
    command(&["list", "metadata"], METADATA, COMPATIBILITY),
    command(&["delete", "metadata"], METADATA, COMPATIBILITY),
    command(&["create", "token"], TOKENS, CONFIGURATION),
    command(&["list", "tokens"], TOKENS, CONFIGURATION),
    command(&["revoke"], TOKENS, CONFIGURATION),
    command(&["login"], TOKENS, CONFIGURATION),
    command(&["bootstrap"], TOKENS, CONFIGURATION),
    command(&["verify"], VERIFY, CONFIGURATION),
    command(&["config", "debug"], AREAS, "docs/logging.md"),
    command(&["evict"], EVICT, "docs/admin/operations.md"),
    command(&["schedule"], SCHEDULE, CONFIGURATION),
    command(&["air-gap"], AIR_GAP, "docs/admin/air-gapped.md"),
];

/// Global flags whose next argument is a value, not a word of a command.
const FLAGS_WITH_VALUE: [&str; 6] = ["-c", "--config", "-o", "--output-format", "-a", "--address"];

/// Returns the row that matches a command line; `args` lacks the program's name.
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::Cli;

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
            let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(row.page);
            assert!(page.is_file(), "{row}: there is no {}", row.page);
        }
    }

    #[test]
    fn a_command_line_finds_its_row_with_flags_in_any_position() {
        let row = |line: &str| {
            let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
            find(&args).map(ToString::to_string)
        };
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(row("evict --type=sweep"), is("rspm evict"));
        assert_eq!(row("-c /x/rstudio-pm.gcfg list -o json tokens"), is("rspm list tokens"));
        assert_eq!(row("help config debug"), is("rspm config debug"));
        assert_eq!(
            row("create source --name x --type=curated-cran --snapshot 2024-04-17"),
            is("rspm create source --snapshot")
        );
        assert_eq!(row("create source --name=snapshot"), None);
        assert_eq!(row("edit repo --name=x --authenticated=true"), is("rspm edit repo --authenticated"));
        assert_eq!(row("frobnicate"), None);
    }
}
