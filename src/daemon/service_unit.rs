//! The unit of the service as systemd has loaded it: user, sandbox and environment, from `systemctl show`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base::config::DEFAULT_FILE;

const UNIT: &str = "rstudio-pm.service";

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ServiceUnit {
    /// `User=`; empty for root.
    pub(super) user: String,
    /// `Group=`; empty for that of the user.
    pub(super) group: String,
    /// Whether `/home`, `/root` and `/run/user` are empty except for bound paths (`ProtectHome=tmpfs`).
    pub(super) hides_homes: bool,
    /// Whether the service has a private `/tmp` and `/var/tmp` (`PrivateTmp=`).
    pub(super) has_private_tmp: bool,
    command: String,
    /// ID of the process, 0 if the service does not run.
    pid: u32,
    environment: Vec<(String, String)>,
    environment_files: Vec<PathBuf>,
}

impl ServiceUnit {
    /// Returns the unit if systemd runs, and has one that starts the server with this configuration file.
    pub(super) fn find(gcfg: &Path) -> Option<ServiceUnit> {
        ServiceUnit::load().filter(|unit| unit.uses(gcfg))
    }

    /// Returns the loaded unit; `None` without systemd.
    fn load() -> Option<ServiceUnit> {
        let properties =
            "LoadState,User,Group,ProtectHome,PrivateTmp,ExecStart,MainPID,Environment,EnvironmentFiles";
        let output = Command::new("systemctl")
            .args(["show", "--no-pager", "--property", properties, UNIT])
            .stderr(Stdio::null())
            .output()
            .ok()?;
        ServiceUnit::parse(&String::from_utf8_lossy(&output.stdout))
    }

    /// Parses the output of `systemctl show`; `None` if no such unit is loaded.
    fn parse(output: &str) -> Option<ServiceUnit> {
        let mut unit = ServiceUnit::default();
        let mut is_loaded = false;
        for (name, value) in output.lines().filter_map(|line| line.split_once('=')) {
            match name {
                "LoadState" => is_loaded = value == "loaded",
                "User" => value.clone_into(&mut unit.user),
                "Group" => value.clone_into(&mut unit.group),
                "ProtectHome" => unit.hides_homes = value == "tmpfs",
                "PrivateTmp" => unit.has_private_tmp = !matches!(value, "no" | ""),
                "ExecStart" => value.clone_into(&mut unit.command),
                "MainPID" => unit.pid = value.parse().unwrap_or(0),
                "Environment" => {
                    let words = split_words(value);
                    unit.environment = words.iter().filter_map(|word| assignment(word)).collect();
                }
                // `/etc/default/x (ignore_errors=yes)`, a line for each file.
                "EnvironmentFiles" | "EnvironmentFile" => {
                    let file = value.rsplit_once(" (ignore_errors=").map_or(value, |(file, _)| file);
                    unit.environment_files
                        .extend(Some(PathBuf::from(file)).filter(|file| file.is_absolute()));
                }
                _ => {}
            }
        }
        is_loaded.then_some(unit)
    }

    /// Returns whether the command line names this configuration file, or names none and this is the default file.
    fn uses(&self, gcfg: &Path) -> bool {
        let words: Vec<&str> = self.command.split_whitespace().collect();
        let config_argument = words.iter().enumerate().find_map(|(index, word)| match *word {
            "--config" => words.get(index + 1).copied(),
            word => word.strip_prefix("--config="),
        });
        Path::new(config_argument.unwrap_or(DEFAULT_FILE)) == gcfg
    }

    /// Returns the variables of the running service, else those of the next start, and errors of environment files.
    pub(super) fn variables(&self) -> (Vec<(String, String)>, Vec<String>) {
        if self.pid != 0
            && let Ok(environ) = std::fs::read(format!("/proc/{}/environ", self.pid))
        {
            let lines = environ.split(|byte| *byte == 0).map(String::from_utf8_lossy);
            return (lines.filter_map(|line| assignment(&line)).collect(), Vec::new());
        }
        let (mut variables, mut errors) = (self.environment.clone(), Vec::new());
        for file in &self.environment_files {
            match std::fs::read_to_string(file) {
                // A later value replaces an earlier one.
                Ok(text) => {
                    let file_variables = environment_file(&text);
                    variables.retain(|(name, _)| !file_variables.iter().any(|(later, _)| later == name));
                    variables.extend(file_variables);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => errors.push(format!("{}: {error}", file.display())),
            }
        }
        (variables, errors)
    }
}

/// Returns whether a unit or drop-in of the administrator sets variables, unknown because systemd does not run.
pub(super) fn has_unknown_variables() -> bool {
    let root = Path::new("/");
    let administrators_unit = root.join("etc/systemd/system").join(UNIT);
    let sets_variables =
        |path: PathBuf| std::fs::read_to_string(path).is_ok_and(|text| text.contains("\nEnvironment"));
    ServiceUnit::load().is_none()
        && generator::drop_ins(root).into_values().chain([administrators_unit]).any(sets_variables)
}

fn assignment(text: &str) -> Option<(String, String)> {
    text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
}

fn split_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, after) = word(rest, char::is_whitespace);
        words.push(word);
        rest = after.trim_start();
    }
    words
}

/// Parses the lines `NAME=value` of a file for `EnvironmentFile=`; a value may be quoted. `#` and `;` begin comments.
fn environment_file(text: &str) -> Vec<(String, String)> {
    let mut assignments = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let line = rest.lines().next().unwrap_or_default();
        match line.split_once('=').filter(|_| !line.starts_with(['#', ';'])) {
            None => rest = &rest[line.len()..],
            Some((name, _)) => {
                let value = rest[name.len() + 1..].trim_start_matches([' ', '\t']);
                let (value, after) = word(value, |c| c == '\n');
                assignments.push((name.trim().to_owned(), value.trim_end().to_owned()));
                rest = after;
            }
        }
        rest = rest.trim_start();
    }
    assignments
}

/// Reads a word up to the first unquoted character that `is_end`; the rest begins with that character.
fn word(text: &str, is_end: fn(char) -> bool) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((index, c)) = chars.next() {
        match (quote, c) {
            (None, c) if is_end(c) => return (word, &text[index..]),
            (None, '$') if text[index + 1..].starts_with('\'') => {
                // `$'…'` has escape sequences, as in double quotes.
                chars.next();
                quote = Some('$');
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some('$'), '\'') => quote = None,
            (Some(open), c) if c == open && c != '$' => quote = None,
            (None | Some('"' | '$'), '\\') => match chars.next() {
                // A backslash at the end of a line continues the line.
                Some((_, '\n')) => {}
                Some((_, 'n')) => word.push('\n'),
                Some((_, 't')) => word.push('\t'),
                Some((_, escaped)) => word.push(escaped),
                None => {}
            },
            (_, c) => word.push(c),
        }
    }
    (word, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "ExecStart={ path=/opt/rstudio-pm/bin/rstudio-pm ; argv[]=/opt/rstudio-pm/bin/rstudio-pm --config \
        /etc/rstudio-pm/rstudio-pm.gcfg ; ignore_errors=no ; start_time=[n/a] ; pid=0 }\n\
        Environment=PACKAGEMANAGER_A=1 \"PACKAGEMANAGER_B=a \\\"b\\\" c\"\n\
        EnvironmentFiles=/etc/default/a b (ignore_errors=yes)\nEnvironmentFiles=/etc/default/c (ignore_errors=no)\n\
        User=deploy\nGroup=\nProtectHome=tmpfs\nPrivateTmp=yes\nMainPID=0\nLoadState=loaded\n";

    #[test]
    fn the_output_of_systemctl_is_parsed() {
        let unit = ServiceUnit::parse(OUTPUT).expect("loaded");
        assert_eq!((unit.user.as_str(), unit.group.as_str(), unit.pid), ("deploy", "", 0));
        assert!(unit.hides_homes && unit.has_private_tmp);
        assert_eq!(
            unit.environment,
            [("PACKAGEMANAGER_A", "1"), ("PACKAGEMANAGER_B", "a \"b\" c")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(unit.environment_files, [Path::new("/etc/default/a b"), Path::new("/etc/default/c")]);
        assert!(unit.uses(Path::new(DEFAULT_FILE)) && !unit.uses(Path::new("/etc/other.gcfg")));
        assert!(ServiceUnit { command: "rstudio-pm".to_owned(), ..unit }.uses(Path::new(DEFAULT_FILE)));
    }

    #[test]
    fn a_unit_that_is_not_loaded_is_ignored() {
        assert_eq!(ServiceUnit::parse("LoadState=not-found\nUser=\n"), None);
        assert_eq!(ServiceUnit::parse(""), None);
    }

    #[test]
    fn a_list_is_split_into_its_quoted_words() {
        assert_eq!(
            split_words(r#"A=1  "B=a \"b\" c" 'C=\x' $'D=it\'s' E=\$"#),
            ["A=1", "B=a \"b\" c", "C=\\x", "D=it's", "E=$"]
        );
        assert_eq!(split_words("  "), [""; 0]);
    }

    #[test]
    fn assignments_of_a_file_are_read() {
        let text =
            "# comment=1\n; other=2\n\nA = plain text \nB=\"a b\"\nC='it is'\nD=one\\\n two\nnothing\nE=";
        let assignments = environment_file(text);
        let assignments: Vec<_> =
            assignments.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            assignments,
            [("A", "plain text"), ("B", "a b"), ("C", "it is"), ("D", "one two"), ("E", "")]
        );
    }
}
