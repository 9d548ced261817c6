//! Files generated from the programs: manual pages, the file of defaults, the levels of the schema, and the reference
//! pages and tables of the documentation.

use std::fmt::Write;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use rstudio_pm::config::rows::SECTIONS;
use rstudio_pm::config::table::{Effect, Property, Section, Subsection};
use rstudio_pm::{cli, config, daemon, db, downloader, http};

/// Compares a file of the checkout with its expected content; with UPDATE_DOCS=1 writes it instead.
fn assert_file(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, expected).unwrap();
    }
    let current = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(current == expected, "{path} is out of date; regenerate it with `make docs`");
}

/// As [`assert_file`], for the part of a page that is marked as generated from `source`.
fn assert_part(path: &str, source: &str, expected: &str) {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let begin = format!("<!-- generated from {source}: begin -->\n\n");
    let end = "\n<!-- generated: end -->";
    let (before, rest) = page.split_once(&begin).expect("the page marks where the generated part begins");
    let (_, after) = rest.split_once(end).expect("the page marks where the generated part ends");
    assert_file(path, &format!("{before}{begin}{expected}{end}{after}"));
}

#[test]
fn the_page_of_the_configuration() {
    assert_part("docs/admin/configuration.md", "crates/base/src/config/rows.rs", &config::reference::text());
}

#[test]
fn the_page_of_files() {
    assert_part("docs/admin/files.md", "src/daemon/files/table.rs", &daemon::files::reference::text());
}

#[test]
fn the_page_of_rspm() {
    assert_file("docs/admin/rspm.md", &cli::reference::text());
}

#[test]
fn the_description_of_the_admin_api() {
    let document = serde_json::to_string_pretty(&http::api::admin::openapi::document()).unwrap();
    assert_file("docs/api/admin.json", &format!("{document}\n"));
}

#[test]
fn the_description_of_the_public_api() {
    let document = serde_json::to_string_pretty(&http::api::public::openapi::document()).unwrap();
    assert_file("docs/api/public.json", &format!("{document}\n"));
}

/// Text of a manual page: no control lines, no escapes, no typographic dashes.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let lines = text.lines().map(|line| match line.chars().next() {
        Some('.' | '\'') => format!("\\&{line}"),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Text with `words` in backquotes set in bold.
fn marked(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts.map(|(i, part)| if i % 2 == 1 { format!("\\fB{}\\fR", roff(part)) } else { roff(part) }).collect()
}

fn title(name: &str, section: &str, what: &str) -> String {
    format!(".TH {name} {section} \"\" \"rstudio\\-pm\"\n.SH NAME\n{} \\- {}\n", roff(name), roff(what))
}

const FILES: &str = ".SH FILES\n\
    .TP\n\\fI/etc/rstudio\\-pm/rstudio\\-pm.gcfg\\fR\nThe configuration, see\n.BR rstudio\\-pm.gcfg (5).\n\
    .TP\n\\fI/var/lib/rstudio\\-pm\\fR\nPackages and metadata.\n\
    .TP\n\\fI/var/log/rstudio/rstudio\\-pm\\fR\nServer log and access log.\n\
    .TP\n\\fI/run/rstudio\\-pm/rstudio\\-pm.sock\\fR\nThe socket to which\n.BR rspm (1)\nconnects.\n";

/// One part of the page of clap_mangen.
fn part(render: fn(&Man, &mut dyn std::io::Write) -> std::io::Result<()>, command: &Command) -> String {
    let mut out = Vec::new();
    render(&Man::new(command.clone()), &mut out).unwrap();
    // The preamble of each part defines an apostrophe.
    let text = String::from_utf8(out).unwrap();
    text.lines()
        .filter(|l| !l.starts_with(".ie ") && !l.starts_with(".el "))
        .map(|l| format!("{}\n", l.replace("\\*(Aq", "\\(aq")))
        .collect()
}

/// The synopsis of a program without commands. That of clap_mangen lacks the values of flags.
fn synopsis(command: &Command) -> String {
    let mut command = command.clone();
    command.build();
    let mut page = format!(".SH SYNOPSIS\n\\fB{}\\fR", roff(command.get_name()));
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
        let short = arg.get_short().map(|short| format!("\\fB\\-{short}\\fR|")).unwrap_or_default();
        let _ = write!(page, " [{short}\\fB\\-\\-{}\\fR", roff(arg.get_long().expect("a flag")));
        if arg.get_action().takes_values() {
            for value in arg.get_value_names().expect("a flag with a value") {
                let _ = write!(page, " \\fI{}\\fR", roff(value));
            }
        }
        page.push(']');
    }
    page + "\n"
}

fn leaves(command: &Command, path: &str, out: &mut Vec<(String, Command)>) {
    let mut subcommands: Vec<&Command> = command.get_subcommands().collect();
    subcommands.sort_by_key(|sub| sub.get_display_order());
    for sub in subcommands.into_iter().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()) {
        let path = format!("{path} {}", sub.get_name());
        // A command with optional subcommands, such as `rspm add`, is a command as well.
        if !sub.is_subcommand_required_set() {
            out.push((path.clone(), sub.clone()));
        }
        leaves(sub, &path, out);
    }
}

/// Appends the options and commands of a program with subcommands; returns the number of commands.
fn commands(page: &mut String, root: &Command, name: &str) -> usize {
    page.push_str(&part(|man, out| man.render_options_section(out), root));
    page.push_str(".SH COMMANDS\n");
    let mut commands = Vec::new();
    leaves(root, name, &mut commands);
    for (path, command) in &commands {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = write!(page, ".SS {}\n{}.\n", roff(path), roff(&about));
        let own = command.clone().mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg });
        if own.get_arguments().any(|arg| !arg.is_hide_set() && arg.get_id() != "help") {
            page.push_str(
                &part(|man, out| man.render_options_section(out), &own).replace(".SH OPTIONS\n", ""),
            );
        }
    }
    commands.len()
}

/// Collects every command of a tree that can be run, with its full name, without hidden ones, which are former names.
fn runnable(command: &Command, path: &str, found: &mut Vec<(String, Command)>) {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()) {
        let path = format!("{path} {}", sub.get_name());
        let alone = sub.clone().no_binary_name(true).try_get_matches_from([] as [&str; 0]);
        let needs_more = alone.is_err_and(|error| {
            matches!(
                error.kind(),
                ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            )
        });
        if !needs_more {
            found.push((path.clone(), sub.clone()));
        }
        runnable(sub, &path, found);
    }
}

#[test]
fn every_command_and_flag_of_rspm_is_in_its_page_and_in_its_manual() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let (page, manual) = (read("docs/admin/rspm.md"), read("docs/man/rspm.1").replace('\\', ""));
    let mut all = Vec::new();
    runnable(&cli::args::Cli::command(), "rspm", &mut all);
    let names: Vec<&str> = all.iter().map(|(path, _)| path.as_str()).collect();
    assert!(
        names.contains(&"rspm add") && names.contains(&"rspm list") && names.contains(&"rspm add binary")
    );
    assert!(!names.contains(&"rspm create"), "{names:?}");
    for (path, command) in &all {
        for (text, heading, next) in
            [(&page, format!("\n## {path}\n"), "\n## "), (&manual, format!("\n.SS {path}\n"), "\n.S")]
        {
            let (_, part) = text.split_once(&heading).unwrap_or_else(|| panic!("no {heading}"));
            let part = part.split_once(next).map_or(part, |(part, _)| part);
            for flag in
                command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(|arg| arg.get_long())
            {
                assert!(part.contains(&format!("--{flag}")), "{path}: no --{flag} in\n{part}");
            }
        }
    }
}

const EXAMPLES: &str = ".SH EXAMPLES\n";

/// Appends command lines with their purpose, as a section of a manual page.
fn examples(page: &mut String, all: &[(&str, &[&str])]) {
    page.push_str(EXAMPLES);
    for (index, (what, lines)) in all.iter().enumerate() {
        let paragraph = if index == 0 { "" } else { ".PP\n" };
        let (what, lines) = (roff(what), roff(&lines.join("\n")));
        let _ = write!(page, "{paragraph}{what}\n.PP\n.nf\n.RS\n{lines}\n.RE\n.fi\n");
    }
}

#[test]
fn every_manual_page_has_examples_and_references() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/man");
    for entry in std::fs::read_dir(pages).unwrap().flatten() {
        let page = std::fs::read_to_string(entry.path()).unwrap();
        for section in [EXAMPLES, ".SH SEE ALSO\n"] {
            assert!(page.contains(section), "{}: no {section}", entry.path().display());
        }
    }
}

#[test]
fn man_page_of_rspm() {
    let mut root = cli::args::Cli::command();
    root.build();
    let mut page = title("rspm", "1", "manage a running package server");
    page.push_str(".SH SYNOPSIS\n\\fBrspm\\fR [\\fIOPTIONS\\fR] \\fICOMMAND\\fR\n");
    page.push_str(".SH DESCRIPTION\nAdministers the server of this machine over its socket, as root or as a member of the server's group; with \\-\\-address and a token, a server on another machine.\n");
    assert!(commands(&mut page, &root, "rspm") > 15);
    page.push_str(
        ".SH EXIT STATUS\n.TP\n0\ndone\n.TP\n1\nrefused or failed; standard error gives the reason and what to do\n\
         .TP\n2\nwrong usage, or a command of Posit Package Manager that is not in this version\n\
         .TP\n3\nserver not reachable\n\
         .TP\n4\nbackup made, verified or restored, but files are missing (\\fBrspm backup\\fR)\n\
         .TP\n5\nthe server differs from the files (\\fBrspm apply \\-\\-expect\\-no\\-changes\\fR)\n",
    );
    examples(
        &mut page,
        &[
            (
                "A repository with packages of your own before all of CRAN:",
                &[
                    "rspm create source --name=team",
                    "rspm add --source=team --path=greeting_1.0.0.tar.gz",
                    "rspm create repo --name=prod",
                    "rspm subscribe --repo=prod --source=team",
                    "rspm sync",
                    "rspm subscribe --repo=prod --source=cran",
                ],
            ),
            (
                "Plan and publish selected packages of CRAN with their dependencies as of a day:",
                &[
                    "rspm create source --name=subset --type=curated-cran",
                    "rspm update --source=subset --file-in=packages.txt --snapshot=2026-11-20",
                    "rspm update --source=subset --file-in=packages.txt --snapshot=2026-11-20 --commit",
                ],
            ),
            (
                "Explain which package or binary a client gets:",
                &["rspm explain prod ggplot2 --distribution=noble"],
            ),
            ("After a change of the configuration:", &["rspm check-config && rspm hup"]),
            (
                "Make a backup, test it, and remove old ones:",
                &[
                    "rspm backup create --to=/srv/backups",
                    "rspm backup test --from=/srv/backups",
                    "rspm backup prune --from=/srv/backups --keep-daily=7",
                ],
            ),
            (
                "Stop serving, for example to move the files of the server, and continue:",
                &["rspm offline --timeout=5m", "rspm online"],
            ),
        ],
    );
    page.push_str(FILES);
    page.push_str(
        ".SH SEE ALSO\n.BR rstudio\\-pm (8),\n.BR rstudio\\-pm\\-migrate (8),\n.BR rstudio\\-pm.gcfg (5)\n",
    );
    assert_file("docs/man/rspm.1", &page);
}

#[test]
fn man_page_of_the_downloader() {
    let mut root = downloader::args::Cli::command();
    root.build();
    let name = "rspm-offline-downloader";
    let mut page = title(name, "1", "fill a directory for package servers without internet, and check it");
    let _ = write!(page, ".SH SYNOPSIS\n\\fB{}\\fR [\\fIOPTIONS\\fR] \\fICOMMAND\\fR\n", roff(name));
    page.push_str(
        ".SH DESCRIPTION\nDownloads packages and their metadata into a directory from which a package server without \
         internet serves them. A repeated run fetches only new files; an interrupted run is resumed.\n",
    );
    assert!(commands(&mut page, &root, name) >= 3);
    page.push_str(
        ".SH EXIT STATUS\n.TP\n0\ncomplete; for \\fBget\\fR also if the packages are complete, but the rules for system \
         requirements could not be fetched (the last line says so)\n.TP\n1\nfailed, or files are missing; for \
         \\fBget\\fR also if \\fB\\-\\-requirements\\-url\\fR is given and the rules could not be fetched\n\
         .TP\n2\nwrong usage\n.TP\n3\ndamaged files were found\n\
         .SH ENVIRONMENT\n.TP\nHTTPS_PROXY, HTTP_PROXY, NO_PROXY\nused if \\fB\\-\\-outbound\\-proxy\\fR is not given\n\
",
    );
    examples(
        &mut page,
        &[
            (
                "All of CRAN, and advisories about its packages:",
                &[
                    "rspm-offline-downloader get cran --destination /srv/rspm-data",
                    "rspm-offline-downloader get vulns --destination /srv/rspm-data",
                    "rspm-offline-downloader validate cran --destination /srv/rspm-data --packages",
                ],
            ),
            (
                "Only files published since the last copy to the server:",
                &["rspm-offline-downloader get cran --destination /mnt/stick --starting-snapshot 2026-11-01"],
            ),
        ],
    );
    page.push_str(".SH SEE ALSO\n.BR rstudio\\-pm (8),\n.BR rspm (1)\n");
    assert_file("docs/man/rspm-offline-downloader.1", &page);
}

#[test]
fn man_page_of_the_server() {
    let command = daemon::args::ServerArgs::command();
    let mut page = title("rstudio-pm", "8", "package server for R, Bioconductor and Python");
    page.push_str(&synopsis(&command));
    page.push_str(
        ".SH DESCRIPTION\nServes package repositories over HTTP. systemd starts it and opens the sockets that \
         the configuration names. After a change of an address or a path there, run\n.PP\n.RS\n\
         systemctl restart rstudio\\-pm\n.RE\n",
    );
    page.push_str(&part(|man, out| man.render_options_section(out), &command));
    page.push_str(
        ".SH EXIT STATUS\n.TP\n0\nstopped on request\n.TP\n1\ncannot start, or a check failed\n.TP\n2\nwrong usage\n\
         .SH SIGNALS\n.TP\nTERM, INT\nfinish running requests, then exit\n\
         .TP\nHUP\napply changed reloadable properties of the configuration and reopen the log files\n\
         .TP\nUSR1\nreopen the log files, after a rotation\n\
         .TP\nUSR2\nstart the installed program and hand the sockets over to it; finish running requests\n",
    );
    examples(
        &mut page,
        &[
            ("Check the configuration without starting the server:", &["rstudio-pm --check-config"]),
            (
                "Run in the foreground with another configuration and user:",
                &["rstudio-pm --config /tmp/test.gcfg --user nobody"],
            ),
            ("Show its state and its log:", &["systemctl status rstudio-pm", "journalctl -u rstudio-pm"]),
        ],
    );
    page.push_str(FILES);
    page.push_str(
        ".SH SEE ALSO\n.BR rspm (1),\n.BR rspm\\-offline\\-downloader (1),\n.BR rstudio\\-pm\\-migrate (8),\n\
         .BR rstudio\\-pm.gcfg (5),\n.BR systemctl (1),\n.BR systemd.socket (5),\n.BR systemd.generator (7)\n.PP\nUnits:\n\
         .IR rstudio\\-pm.service ,\n.IR rstudio\\-pm\\-http@.socket ,\n.IR rstudio\\-pm\\-https@.socket ,\n\
         .IR rstudio\\-pm\\-redirect@.socket ,\n.IR rstudio\\-pm\\-metrics@.socket ,\n\
         .IR rstudio\\-pm\\-admin@.socket ,\n.IR rstudio\\-pm\\-fetch.socket ,\n\
         .IR rstudio\\-pm\\-build.socket ,\n.IR rstudio\\-pm\\-backup.timer ,\n\
         .IR rstudio\\-pm\\-backup\\-test.timer .\n",
    );
    assert_file("docs/man/rstudio-pm.8", &page);
}

#[test]
fn man_page_of_migrate() {
    let command = daemon::migrate::MigrateArgs::command();
    let mut page =
        title("rstudio-pm-migrate", "8", "copy the database of a package server to another provider");
    page.push_str(&synopsis(&command));
    page.push_str(
        ".SH DESCRIPTION\nThe program /opt/rstudio\\-pm/bin/migrate, also\n.B rspm migrate,\ncopies the database of a \
         stopped server from SQLite to PostgreSQL, or from PostgreSQL to SQLite. Both are configured in the same file. \
         The other database must be blank. It stays blank until the copy has been compared with the copied \
         database and is committed. Run it as root or as the user of the server.\n",
    );
    page.push_str(&part(|man, out| man.render_options_section(out), &command));
    page.push_str(
        ".SH EXIT STATUS\n.TP\n0\ndone; with \\fB\\-\\-dry\\-run\\fR a migration is possible\n.TP\n1\nrefused or failed; \
         nothing was changed\n.TP\n2\nwrong usage\n",
    );
    examples(
        &mut page,
        &[(
            "From SQLite to PostgreSQL, after Postgres.URL was added to the configuration:",
            &[
                "systemctl stop rstudio-pm",
                "/opt/rstudio-pm/bin/migrate --dry-run",
                "/opt/rstudio-pm/bin/migrate",
                "sed -i 's/^Provider = sqlite/Provider = postgres/' /etc/rstudio-pm/rstudio-pm.gcfg",
                "systemctl start rstudio-pm",
            ],
        )],
    );
    page.push_str(FILES);
    page.push_str(".SH SEE ALSO\n.BR rstudio\\-pm (8),\n.BR rspm (1),\n.BR rstudio\\-pm.gcfg (5)\n");
    assert_file("docs/man/rstudio-pm-migrate.8", &page);
}

fn section(page: &mut String, section: &Section) {
    let sub = match section.sub {
        Subsection::Never => "",
        Subsection::Class => " \"class\"",
        Subsection::ClassOrNone => " [\"class\"]",
        Subsection::Free => " \"name\"",
    };
    let _ = write!(page, ".SS [{}{}]\n{}\n", section.name, roff(sub), marked(section.sentence));
    section.properties.iter().for_each(|property| row(page, property));
}

fn row(page: &mut String, property: &Property) {
    let default = match property.default {
        "" => "none".to_owned(),
        text => text.replace('{', "<").replace('}', ">"),
    };
    let _ = write!(
        page,
        ".TP\n\\fB{}\\fR\n{} Default: {}.",
        property.name,
        marked(property.sentence),
        roff(&default)
    );
    if property.is_reloadable {
        page.push_str(" A reload applies it.");
    }
    if property.is_multi {
        page.push_str(" May be repeated.");
    }
    page.push_str(match property.effect {
        Effect::Since(_) => "\n",
        Effect::NotYet => " It has no effect yet.\n",
        Effect::Obsolete => " It has no effect.\n",
    });
}

#[test]
fn man_page_of_the_configuration() {
    let mut page = title("rstudio-pm.gcfg", "5", "configuration of the package server");
    page.push_str(
        ".SH DESCRIPTION\nSections in brackets, in them lines \\fIName\\fR = \\fIvalue\\fR. Names are case-insensitive. \
         A comment runs from ; or # to the end of its line. Values with ; or # or with leading or trailing blanks are \
         written in double quotes. The last value of a property is used, unless it may be repeated.\n.PP\n\
         .B rspm check\\-config\nreports errors.\n.PP\n\
         Addresses to listen on are :4242, 10.0.0.1:443 or [::1]:8443. Durations are 500ms, 1m15s or 30d; sizes \
         are 32KB or 2MB; schedules are five fields as in\n.BR crontab (5),\nin UTC.\n.SH SECTIONS\n",
    );
    SECTIONS.iter().for_each(|each| section(&mut page, each));
    page.push_str(
        ".SH ENVIRONMENT\n.TP\nPACKAGEMANAGER_\\fISECTION\\fR_\\fIPROPERTY\\fR\noverrides the file. systemd opens \
         the sockets and reads only the file: set addresses there.\n",
    );
    examples(
        &mut page,
        &[
            (
                "Another port, another mirror, and packages on a separate disk:",
                &[
                    "[HTTP]",
                    "Listen = :80",
                    "",
                    "[CRAN]",
                    "URL = https://cran.example.org",
                    "",
                    "[FileStorage \"packages\"]",
                    "Location = /mnt/packages",
                ],
            ),
            (
                "A server without internet, with a directory of rspm-offline-downloader:",
                &[
                    "[CRAN]",
                    "URL = file:///srv/rspm-data",
                    "",
                    "[Bioconductor]",
                    "URL = file:///srv/rspm-data",
                ],
            ),
        ],
    );
    page.push_str(FILES);
    page.push_str(".SH SEE ALSO\n.BR rstudio\\-pm (8),\n.BR rspm (1)\n");
    assert_file("docs/man/rstudio-pm.gcfg.5", &page);
}

#[test]
fn the_defaults_file() {
    assert_file("etc/rstudio-pm.gcfg.defaults", &config::reference::defaults_text());
}

#[test]
fn the_shipped_configuration_is_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/rstudio-pm.gcfg");
    let text = std::fs::read(path).unwrap();
    let shipped = config::parse("rstudio-pm.gcfg", &text, []).unwrap();
    let defaults = config::parse("rstudio-pm.gcfg", b"", []).unwrap();
    assert_eq!(shipped.warnings, []);
    assert_eq!(format!("{:?}", shipped.config), format!("{:?}", defaults.config));
}

/// The package scripts refuse a downgrade by these two numbers, before any change.
#[test]
fn the_levels_of_the_schema() {
    let all = db::migrate::MIGRATIONS;
    let highest_number = all.last().map_or(0, |m| m.number);
    let needed = all.iter().filter(|m| !m.expand_only).map(|m| m.number).max().unwrap_or(0);
    assert_file(
        "etc/schema",
        &format!(
            "# Levels of the database schema: the newest that this version knows, and the minimum a program must know to \
             use it.\nknown={highest_number}\nneeded={needed}\n"
        ),
    );
}
