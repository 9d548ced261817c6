//! Parses the log paths and includes of a logrotate configuration, see logrotate.conf(5). Pure.
//!
//! The file of the package is not enough: an administrator may name log files in other files (docs/logging.md), and no log
//! file may be rotated by two programs.

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogrotateFile {
    /// Paths with wildcards, as written.
    pub patterns: Vec<String>,
    pub includes: Vec<String>,
}

/// Suffixes of files that are skipped in an included directory.
const SKIPPED_SUFFIXES: [&str; 16] = [
    ".rpmsave",
    ".rpmorig",
    "~",
    ",v",
    ".disabled",
    ".dpkg-old",
    ".dpkg-dist",
    ".dpkg-new",
    ".dpkg-bak",
    ".dpkg-del",
    ".cfsaved",
    ".ucf-old",
    ".ucf-dist",
    ".ucf-new",
    ".rpmnew",
    ".swp",
];

/// Returns whether logrotate skips this name in an included directory.
pub fn is_taboo(name: &str) -> bool {
    SKIPPED_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// Directives that begin a script.
const SCRIPTS: [&str; 5] = ["prerotate", "postrotate", "firstaction", "lastaction", "preremove"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Outside of blocks: paths and global settings.
    TopLevel,
    Block,
    /// In a script with arbitrary text, within a block or outside of it.
    Script {
        in_block: bool,
    },
}

/// Parses any text; invalid parts yield no paths.
pub fn parse(text: &str) -> LogrotateFile {
    let mut file = LogrotateFile::default();
    let mut position = Position::TopLevel;
    for line in text.lines() {
        let mut rest = line.trim();
        while !rest.is_empty() && !rest.starts_with('#') {
            let word = rest.split_whitespace().next().unwrap_or_default();
            match position {
                Position::Script { in_block } => {
                    if word == "endscript" {
                        position = if in_block { Position::Block } else { Position::TopLevel };
                    }
                    rest = "";
                }
                Position::Block | Position::TopLevel if SCRIPTS.contains(&word) => {
                    position = Position::Script { in_block: position == Position::Block };
                    rest = "";
                }
                Position::Block => match rest.find('}') {
                    Some(at) => {
                        position = Position::TopLevel;
                        rest = rest[at + 1..].trim_start();
                    }
                    None => rest = "",
                },
                Position::TopLevel if word == "include" => {
                    file.includes.extend(paths(rest["include".len()..].trim()).0);
                    rest = "";
                }
                Position::TopLevel => {
                    let is_path = rest.starts_with(['/', '"', '\'', '~', '*', '{']) || rest.contains('{');
                    let (patterns, body) = if is_path { paths(rest) } else { (Vec::new(), None) };
                    file.patterns.extend(patterns);
                    rest = match body {
                        Some(after) => {
                            position = Position::Block;
                            after.trim_start()
                        }
                        None => "",
                    };
                }
            }
        }
    }
    file
}

/// The words, quoted or not, up to an opening brace, and the text after it.
fn paths(text: &str) -> (Vec<String>, Option<&str>) {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            (c, Some(quote_char)) if c == quote_char => quote = None,
            (c, Some(_)) => word.push(c),
            ('"' | '\'', None) => quote = Some(c),
            // A backslash remains part of the pattern, except before blanks and quotes.
            ('\\', None) => match chars.next() {
                Some((_, next)) if next.is_whitespace() || matches!(next, '"' | '\'') => word.push(next),
                Some((_, next)) => word.extend(['\\', next]),
                None => word.push('\\'),
            },
            ('{', None) => {
                words.extend((!word.is_empty()).then_some(word));
                return (words, Some(&text[at + 1..]));
            }
            (c, None) if c.is_whitespace() => {
                words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
            }
            (c, None) => word.push(c),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    (words, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_logrotate_file_of_the_package_names_its_logs() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../logrotate/rstudio-pm"));
        let file = parse(text);
        assert_eq!(file.includes, [""; 0]);
        assert_eq!(
            file.patterns,
            [
                "/var/log/rstudio/rstudio-pm/rstudio-pm.log",
                "/var/log/rstudio/rstudio-pm/rstudio-pm.service.log",
                "/var/log/rstudio-pm.log",
                "/var/log/rstudio-pm.service.log",
                "/var/log/rstudio/rstudio-pm/rstudio-pm.access.log",
                "/var/log/rstudio-pm.access.log",
            ]
        );
    }

    #[test]
    fn all_forms_of_a_block_are_read_and_scripts_are_skipped() {
        let file = parse(
            r#"# see "man logrotate" for details {
weekly
rotate 4
create
include /etc/logrotate.d
/a/*.log
"/b c/d.log" '/e' { daily
    postrotate
        /not/this { }
    endscript
}
/f\ g/[h-i]?.log{ compress }
/j {
    # }
    /not/a/path
    lastaction
}
    endscript
} /k
{
}
   include /l
"#,
        );
        assert_eq!(file.patterns, ["/a/*.log", "/b c/d.log", "/e", "/f g/[h-i]?.log", "/j", "/k"]);
        assert_eq!(file.includes, ["/etc/logrotate.d", "/l"]);
    }

    #[test]
    fn backup_files_are_not_configurations() {
        assert!(is_taboo("rstudio-pm.dpkg-old") && is_taboo("x~") && is_taboo("x.rpmsave"));
        assert!(!is_taboo("rstudio-pm"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "[a-z/{}#'\"\\\\ \n*]{0,80}|\\PC{0,60}") {
            let _ = parse(&text);
        }
    }
}
