//! Requirements files of pip: requirements with digests, comments, continued lines, and references to other files.
//! Options for installers and those that name an index are ignored, packages at addresses and in directories are skipped;
//! other options are errors with the line number.

use std::fmt;

use super::requirement::{BadRequirement, Requirement, VersionsOrUrl};
use base::model::definition_file::{decode_text, logical_lines, split_option, without_comment};
use base::model::digest::Sha256;
use base::model::errors::ErrorList;

/// Maximum size of a file, in bytes.
const MAX_FILE: usize = 16 << 20;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequirementsFile {
    /// The entries, in the order of the file.
    pub entries: Vec<Entry>,
    /// Ignored options, which have no meaning for a repository, with their line numbers.
    pub ignored: Vec<(usize, String)>,
    /// Packages at addresses and in directories.
    pub skipped: Vec<SkippedLine>,
}

/// An entry, with the number of its first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A requirement of a project by name.
    Requirement {
        line: usize,
        /// The text without options.
        text: String,
        requirement: Requirement,
        /// `--hash=sha256:…`; empty for any file.
        sha256: Vec<Sha256>,
    },
    /// `-r file` or `-c file`, relative to this file.
    File {
        line: usize,
        path: String,
        /// Whether the file contains constraints (`-c`), which only restrict versions of packages required elsewhere.
        is_constraint: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequirements {
    #[error("the file has {0} bytes, more than the {MAX_FILE} allowed")]
    TooLarge(usize),
    #[error("the file is not UTF-8 text; save it as UTF-8")]
    NotUtf8,
    #[error("line {line}: a quotation mark or a backslash of the options '{text}' has no counterpart")]
    Quote { line: usize, text: String },
    /// A variable of the environment, which only the machine of an installer has.
    #[error("line {line}: '{text}' has a variable of the environment; write its value")]
    Variable { line: usize, text: String },
    #[error("line {line}: {error}")]
    Requirement {
        line: usize,
        #[source]
        error: BadRequirement,
    },
    #[error("line {line}: the option '{option}' is not supported here; remove it")]
    Option { line: usize, option: String },
    /// Only digests of algorithms other than SHA-256.
    #[error(
        "line {line}: '{text}' has digests, but none of SHA-256, which is required; add --hash=sha256: and 64 hexadecimal \
         digits"
    )]
    OtherHash { line: usize, text: String },
    #[error("line {line}: '{text}' is not a digest; write --hash=sha256: and 64 hexadecimal digits")]
    Hash { line: usize, text: String },
}

/// The requirements of a file that name a project of an index, without their options, and the other lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedRequirements {
    /// The requirement of each line that names a project, in the order of the file.
    pub requirements: Vec<Requirement>,
    /// The other lines, in the order of the file.
    pub skipped: Vec<SkippedLine>,
}

/// A line that names no project of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedLine {
    pub line: usize,
    pub kind: SkippedKind,
    /// The name of the option or project; may be empty. Values and addresses are left out: they may contain passwords.
    pub name: String,
}

impl fmt::Display for SkippedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() { "the package" } else { &format!("'{}'", self.name) };
        write!(f, "{name} is left out: it names a URL or a path")
    }
}

/// The content of a skipped line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkippedKind {
    /// An option of pip, such as `--index-url`.
    Option,
    /// A reference to another file: `-r`, `-c`.
    File,
    /// A package at an address or in a directory: `name @ https://…`, `./folder`, `-e folder`.
    Address,
}

/// Ignored options without a value.
const FLAGS: [&str; 4] = ["--require-hashes", "--pre", "--prefer-binary", "--no-index"];
/// Ignored options with a value, which concern installers.
const INSTALLER_OPTIONS: [&str; 5] =
    ["--no-binary", "--only-binary", "--use-feature", "--config-settings", "-C"];
/// Ignored options with a value, which name the index of an installer, as pip-compile and uv write them.
const INDEX_OPTIONS: [&str; 7] =
    ["--index-url", "-i", "--pypi-url", "--extra-index-url", "--trusted-host", "--find-links", "-f"];

/// Returns true for an ignored option that names where an installer gets packages.
pub fn names_an_index(option: &str) -> bool {
    INDEX_OPTIONS.contains(&option) || option == "--no-index"
}

fn has_value(option: &str) -> bool {
    INSTALLER_OPTIONS.contains(&option) || INDEX_OPTIONS.contains(&option)
}

pub fn parse(bytes: &[u8]) -> Result<RequirementsFile, BadRequirements> {
    let (file, errors) = read(bytes);
    errors.into_first().map_or(Ok(file), Err)
}

/// Reads the bytes of a requirements file: the valid entries, and the errors of the others.
pub fn read(bytes: &[u8]) -> (RequirementsFile, ErrorList<BadRequirements>) {
    let (mut file, mut errors) = (RequirementsFile::default(), ErrorList::default());
    let lines = match content_lines(bytes) {
        Ok(lines) => lines,
        Err(error) => return (file, ErrorList::from(error)),
    };
    for (line, text) in lines {
        let result = if text.starts_with('-') {
            option(line, &text, &mut file)
        } else {
            requirement(line, &text, &mut file)
        };
        if let Err(error) = result {
            errors.push(error);
        }
    }
    (file, errors)
}

/// Parses the bytes of a requirements file, and skips all lines that name no project of an index, and all options.
///
/// # Errors
/// The first line that is neither a requirement, an address nor an option.
pub fn parse_named(bytes: &[u8]) -> Result<NamedRequirements, BadRequirements> {
    let mut file = NamedRequirements::default();
    for (line, text) in content_lines(bytes)? {
        if text.starts_with('-') {
            let (option, _) = split_option(&text);
            let kind = match option {
                "-r" | "--requirement" | "-c" | "--constraint" => SkippedKind::File,
                "-e" | "--editable" => SkippedKind::Address,
                _ => SkippedKind::Option,
            };
            file.skipped.push(SkippedLine { line, kind, name: option.chars().take(80).collect() });
            continue;
        }
        match package_line(line, split_at_options(&text).0)? {
            PackageLine::Named(requirement) => file.requirements.push(requirement),
            PackageLine::AtAddress(skipped) => file.skipped.push(skipped),
        }
    }
    Ok(file)
}

/// A line without its options.
enum PackageLine {
    Named(Requirement),
    /// A package at an address, which is skipped.
    AtAddress(SkippedLine),
}

fn package_line(line: usize, text: &str) -> Result<PackageLine, BadRequirements> {
    let at_address =
        |name: String| PackageLine::AtAddress(SkippedLine { line, kind: SkippedKind::Address, name });
    match Requirement::parse(text) {
        Ok(Requirement { name, constraint: VersionsOrUrl::Url(_), .. }) => Ok(at_address(name.to_string())),
        // The file name of an archive has the form of a name, too.
        Ok(_) | Err(_) if is_address(text) => Ok(at_address(String::new())),
        Ok(requirement) => Ok(PackageLine::Named(requirement)),
        Err(error) => Err(BadRequirements::Requirement { line, error }),
    }
}

/// Returns the lines of a file without comments, joined where a line continues the previous one, with the numbers of
/// their first lines. Empty lines are left out.
fn content_lines(bytes: &[u8]) -> Result<Vec<(usize, String)>, BadRequirements> {
    if bytes.len() > MAX_FILE {
        return Err(BadRequirements::TooLarge(bytes.len()));
    }
    let text = decode_text(bytes).map_err(|_| BadRequirements::NotUtf8)?;
    let lines = logical_lines(&text).into_iter();
    let content = lines.map(|(line, text)| (line, without_comment(&text).trim().to_owned()));
    Ok(content.filter(|(_, text)| !text.is_empty()).collect())
}

/// Splits a requirement from its options: as pip, at the first word that begins with a hyphen.
fn split_at_options(text: &str) -> (&str, &str) {
    let next = text.char_indices().skip(1).map(|(at, c)| (at, c == '-'));
    let mut pairs = text.chars().zip(next);
    let option = pairs.find(|(c, (_, is_hyphen))| c.is_whitespace() && *is_hyphen);
    option.map_or((text, ""), |(_, (at, _))| (text[..at].trim_end(), &text[at..]))
}

/// Returns whether a line is an address, a path or the name of an archive, not the name of a project.
fn is_address(text: &str) -> bool {
    let first = text.split(|c: char| c.is_whitespace() || c == ';').next().unwrap_or_default();
    let is_archive = |ending: &&str| first.to_ascii_lowercase().ends_with(*ending);
    // A slash in a version is a mistake.
    let is_path = first.split_once('/').is_some_and(|(start, _)| !start.contains(['<', '>', '=', '!']));
    is_path
        || first.starts_with(['.', '~'])
        || first.starts_with("file:")
        || [".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"].iter().any(is_archive)
}

fn option(line: usize, text: &str, file: &mut RequirementsFile) -> Result<(), BadRequirements> {
    let (name, value) = split_option(text);
    match name {
        "-r" | "--requirement" | "-c" | "--constraint" if !value.is_empty() => {
            check_variables(line, value)?;
            let is_constraint = matches!(name, "-c" | "--constraint");
            file.entries.push(Entry::File { line, path: value.to_owned(), is_constraint });
        }
        "-e" | "--editable" if !value.is_empty() => {
            file.skipped.push(SkippedLine { line, kind: SkippedKind::Address, name: name.to_owned() });
        }
        name if FLAGS.contains(&name) || has_value(name) => file.ignored.push((line, name.to_owned())),
        name => return Err(BadRequirements::Option { line, option: name.chars().take(80).collect() }),
    }
    Ok(())
}

fn requirement(line: usize, text: &str, file: &mut RequirementsFile) -> Result<(), BadRequirements> {
    let (text, options) = split_at_options(text);
    let excerpt = || text.chars().take(120).collect::<String>();
    let package = package_line(line, text);
    if let Ok(PackageLine::AtAddress(skipped)) = package {
        file.skipped.push(skipped);
        return Ok(());
    }
    // A variable or an option may be the reason why a requirement is not valid.
    check_variables(line, text)?;
    let words = shlex::split(options)
        .ok_or_else(|| BadRequirements::Quote { line, text: options.chars().take(120).collect() })?;
    let (mut sha256, mut has_others) = (Vec::new(), false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, value) = split_option(word);
        if FLAGS.contains(&name) {
            file.ignored.push((line, name.to_owned()));
            continue;
        }
        // In `--hash value`, the value is the next word.
        let value = if value.is_empty() && (name == "--hash" || has_value(name)) {
            words.next().map_or("", |word| word.as_str())
        } else {
            value
        };
        match name {
            "--hash" => {
                check_variables(line, value)?;
                let digest = digest(line, value)?;
                has_others |= digest.is_none();
                sha256.extend(digest);
            }
            name if has_value(name) => file.ignored.push((line, name.to_owned())),
            name => return Err(BadRequirements::Option { line, option: name.chars().take(80).collect() }),
        }
    }
    if sha256.is_empty() && has_others {
        return Err(BadRequirements::OtherHash { line, text: excerpt() });
    }
    if let PackageLine::Named(requirement) = package? {
        file.entries.push(Entry::Requirement { line, text: text.to_owned(), requirement, sha256 });
    }
    Ok(())
}

/// Refuses `${NAME}`, which pip replaces by the value of a variable of the environment.
fn check_variables(line: usize, text: &str) -> Result<(), BadRequirements> {
    match text.find("${") {
        Some(_) => Err(BadRequirements::Variable { line, text: text.chars().take(120).collect() }),
        None => Ok(()),
    }
}

/// Parses the digest of `--hash`; `None` for other algorithms of pip than SHA-256, whose digests pages may lack.
fn digest(line: usize, text: &str) -> Result<Option<Sha256>, BadRequirements> {
    let bad = || BadRequirements::Hash { line, text: text.chars().take(100).collect() };
    let (algorithm, hex) = text.split_once(':').ok_or_else(bad)?;
    let is_digest = |length: usize| hex.len() == length && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    match algorithm {
        "sha256" => hex.parse().map(Some).map_err(|_| bad()),
        "sha384" if is_digest(96) => Ok(None),
        "sha512" if is_digest(128) => Ok(None),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requirements_comments_and_continued_lines_are_read() {
        let text = format!(
            "\u{feff}# a comment \\\nodd==1.0 \\\n    --hash=sha256:{0} \\\n  --hash sha256:{1} \\\n  # last\n\n\
             even[x]>=2  # why\r\n-r other.txt\n-cthird.txt\n--pre\nlast ; os_name == 'a#b'\n",
            "0a".repeat(32),
            "1B".repeat(32)
        );
        let file = parse(text.as_bytes()).expect("valid");
        let Entry::Requirement { line: 2, text, sha256, .. } = &file.entries[0] else { panic!("{file:?}") };
        assert_eq!((&**text, sha256.len()), ("odd==1.0", 2));
        let Entry::Requirement { line: 7, text, requirement, .. } = &file.entries[1] else {
            panic!("{file:?}")
        };
        assert_eq!((&**text, requirement.extras.len()), ("even[x]>=2", 1));
        let file_entry =
            |line, path: &str, is_constraint| Entry::File { line, path: path.to_owned(), is_constraint };
        assert_eq!(file.entries[2..4], [file_entry(8, "other.txt", false), file_entry(9, "third.txt", true)]);
        assert_eq!(file.ignored, [(10, "--pre".to_owned())]);
        assert_eq!(file.entries.len(), 5);
    }

    #[test]
    fn options_of_installers_and_indexes_are_ignored() {
        let text = format!(
            "-i https://u:secret@h/simple\n--index-url=${{URL}}\n--extra-index-url https://h/simple\n\
             --trusted-host h\n--find-links dist\n--no-index\n\
             code==1.0 --config-settings=\"--build-option=x y\" --no-binary code -C 'a b'\n\
             other==1 --hash=sha512:{0}{0} --hash sha256:{0} --pre --hash=sha384:{0}{1}\n",
            "0a".repeat(32),
            "0a".repeat(16),
        );
        let file = parse(text.as_bytes()).expect("a file of pip-compile");
        let ignored = file.ignored.iter().map(|(line, option)| format!("{line} {option}"));
        assert_eq!(
            ignored.collect::<Vec<_>>(),
            [
                "1 -i",
                "2 --index-url",
                "3 --extra-index-url",
                "4 --trusted-host",
                "5 --find-links",
                "6 --no-index",
                "7 --config-settings",
                "7 --no-binary",
                "7 -C",
                "8 --pre",
            ]
        );
        let requirement = |entry: &Entry| match entry {
            Entry::Requirement { text, sha256, .. } => (text.clone(), sha256.len()),
            Entry::File { .. } => panic!("{entry:?}"),
        };
        let entries: Vec<_> = file.entries.iter().map(requirement).collect();
        assert_eq!(entries, [("code==1.0".to_owned(), 0), ("other==1".to_owned(), 1)]);
        assert_eq!(parse(b"a==1\rb==2\r").expect("two lines").entries.len(), 2);
    }

    #[test]
    fn everything_else_is_refused_by_line() {
        for (text, reason) in [
            ("a --global-option=x", "line 1: the option '--global-option' is not supported"),
            ("-e", "line 1: the option '-e' is not supported here; remove it"),
            ("a b", "line 1: 'b' is not a version specifier"),
            ("a==1.0/", "line 1: '==1.0/' is not a version specifier"),
            ("a --hash=md5:00", "line 1: 'md5:00' is not a digest"),
            ("a --hash=sha256:00", "line 1: 'sha256:00' is not a digest"),
            ("-r", "line 1: the option '-r' is not supported here"),
            ("a --config-settings=\"x y", "line 1: a quotation mark or a backslash"),
            ("a==${VERSION}", "line 1: 'a==${VERSION}' has a variable of the environment; write its value"),
            ("-r ${DIR}/b.txt", "line 1: '${DIR}/b.txt' has a variable"),
            ("a --hash=sha256:${HASH}", "line 1: 'sha256:${HASH}' has a variable"),
            ("a --hash=sha512:00", "line 1: 'sha512:00' is not a digest"),
            ("a --hash", "line 1: '' is not a digest"),
            ("a -x", "line 1: the option '-x' is not supported here"),
        ] {
            let error = parse(text.as_bytes()).expect_err(text).to_string();
            assert!(error.starts_with(reason), "{text}: {error}");
        }
        let sha512 = format!("a==1 --hash=sha512:{}", "0".repeat(128));
        let error = parse(sha512.as_bytes()).expect_err("no SHA-256").to_string();
        assert!(error.starts_with("line 1: 'a==1' has digests, but none of SHA-256"), "{error}");
        let (file, errors) = read(b"-x\nodd\n--global-option x\na b\n");
        assert_eq!(file.entries.len(), 1);
        let errors = errors.to_string();
        let (options, last) = errors.rsplit_once('\n').expect("several errors");
        assert_eq!(
            options,
            "line 1: the option '-x' is not supported here; remove it\n\
             line 3: the option '--global-option' is not supported here; remove it"
        );
        assert!(last.starts_with("line 4: 'b' is not a version specifier"), "{last}");
        assert_eq!(parse(b"\xff"), Err(BadRequirements::NotUtf8));
        assert_eq!(parse(&vec![b' '; MAX_FILE + 1]), Err(BadRequirements::TooLarge(MAX_FILE + 1)));
    }

    #[test]
    fn options_files_and_addresses_are_skipped_by_line() {
        let text = "--index-url https://user:secret@example.org/simple\n-r other.txt\n-c https://example.org/c.txt\n\
                    flask[async]==3.0.0 \\\n    --hash=sha256:00 \\\n    --hash=md5:00 # why\n-e ./own\n\
                    mine @ git+https://user:secret@example.org/mine\ngit+ssh://git@example.org/other.git\n\
                    ./folder\nfiles/a-1.0.whl\nb-1.0.tar.gz\nclick == 8.1 ; os_name == 'posix' -C x=y\n\
                    -f dist\n--no-binary=:all:\n--unknown\n";
        let file = parse_named(text.as_bytes()).expect("a file of pip");
        let requirement = |text: &str| Requirement::parse(text).expect(text);
        assert_eq!(
            file.requirements,
            ["flask[async]==3.0.0", "click == 8.1 ; os_name == 'posix'"].map(requirement)
        );
        let skipped = file.skipped.iter().map(|line| format!("{} {:?} {}", line.line, line.kind, line.name));
        assert_eq!(
            skipped.collect::<Vec<_>>(),
            [
                "1 Option --index-url",
                "2 File -r",
                "3 File -c",
                "7 Address -e",
                "8 Address mine",
                "9 Address ",
                "10 Address ",
                "11 Address ",
                "12 Address ",
                "14 Option -f",
                "15 Option --no-binary",
                "16 Option --unknown",
            ]
        );
        assert!(!format!("{file:?}").contains("secret"), "{file:?}");
        // The same lines are skipped where options count.
        let addresses: Vec<&str> = text
            .lines()
            .filter(|line| !["unknown", "flask", "--hash"].iter().any(|part| line.contains(part)))
            .collect();
        let lines = parse(addresses.join("\n").as_bytes()).expect("a file of pip").skipped;
        let skipped = lines.iter().map(|line| format!("{} {:?} {}", line.line, line.kind, line.name));
        assert_eq!(
            skipped.collect::<Vec<_>>(),
            ["4 Address -e", "5 Address mine", "6 Address ", "7 Address ", "8 Address ", "9 Address "]
        );
        for text in [
            "git+https://h/x@1#egg=x",
            "a @ git+https://h/${TOKEN}",
            "~/a",
            "file:x",
            "C:/a ; os_name == 'nt'",
        ] {
            let file = parse(text.as_bytes()).expect(text);
            assert_eq!((file.entries.len(), file.skipped.len()), (0, 1), "{text}");
        }
        assert_eq!(parse(b"a;platform_machine=='x/y'").expect("a marker").entries.len(), 1);
        let error = parse_named(b"flask==3.0\na b\n").expect_err("not a requirement").to_string();
        assert!(error.starts_with("line 2: 'b' is not a version specifier"), "{error}");
        assert_eq!(parse_named(b"\xff"), Err(BadRequirements::NotUtf8));
        assert_eq!(parse_named(&vec![b' '; MAX_FILE + 1]), Err(BadRequirements::TooLarge(MAX_FILE + 1)));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(a|==|1|-r|--hash=|sha256:|#| |\\\\|\\n|é|\\PC){0,30}") {
            let _ = parse(text.as_bytes());
            let _ = parse_named(text.as_bytes());
        }
    }
}
