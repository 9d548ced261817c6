//! Environment variables that override the file: `PACKAGEMANAGER_<SECTION>[_<SUBSECTION>]_<PROPERTY>`; with `_FILE` at its
//! end, a variable has the path of a file with a secret, for example of a systemd credential.

use std::fs::File;
use std::io::{Error, Read};

use super::lookup;
use super::merged::{Settings, Value, unknown_property, unknown_section};
use super::problem::{Origin, Problem, ProblemCategory};
use super::table::{Kind, Property, Section, Subsection};

const PREFIX: &str = "PACKAGEMANAGER_";

/// Names after the prefix that are not properties: the text of the encryption key, and variables of clients.
const RESERVED_NAMES: [&str; 5] =
    ["ENCRYPTION_KEY", "ADDRESS", "TOKEN", "SSO_TOKEN_FILE", "IDENTITY_TOKEN_FILE"];

/// Applies the environment. A variable replaces all values of its property; the values of a multi property are
/// separated by commas. Returns a problem for each unknown variable.
pub(super) fn apply(
    settings: &mut Settings,
    env: impl IntoIterator<Item = (String, String)>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut variables: Vec<(String, String)> = env.into_iter().collect();
    variables.sort();
    for (variable, text) in variables {
        if variable == "TMPDIR" && text.starts_with('/') {
            settings.temp_dir = Some(text);
            continue;
        }
        let Some(rest) = variable.strip_prefix(PREFIX).filter(|rest| !RESERVED_NAMES.contains(rest)) else {
            continue;
        };
        match resolve(settings, rest) {
            Ok((section, sub, property)) => {
                settings.clear(section, sub.as_deref(), property);
                let values: Vec<&str> =
                    if property.is_multi { text.split(',').map(str::trim).collect() } else { vec![&text] };
                for value in values {
                    let value = Value::plain(value.to_owned(), Origin::Environment(variable.clone()));
                    settings.add(section, sub.clone(), property, value);
                }
            }
            Err(message) => problems.push(Problem {
                category: ProblemCategory::Name,
                origin: Origin::Environment(variable.clone()),
                section: None,
                property: None,
                value: None,
                message,
            }),
        }
    }
    problems
}

/// Returns a subsection name as spelled in a variable: upper case, with `_` for all characters but letters and
/// digits.
fn variable_spelling(sub: &str) -> String {
    sub.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// Returns the property that a variable sets, if its value may be a secret.
pub(super) fn secret_property(variable: &str) -> Option<&'static Property> {
    let rest = variable.strip_prefix(PREFIX).filter(|rest| !RESERVED_NAMES.contains(rest))?;
    let (_, _, property) = resolve(&Settings::default(), rest).ok()?;
    matches!(property.kind, Kind::Secret | Kind::Url(_)).then_some(property)
}

/// A section, a subsection name, and a property.
type PropertyPath = (&'static Section, Option<String>, &'static Property);

/// Returns the property that a variable sets; `rest` is the name of the variable after the prefix. An error is the
/// message about an unknown name.
fn resolve(settings: &Settings, rest: &str) -> Result<PropertyPath, String> {
    let (section, rest) = rest.split_once('_').unwrap_or((rest, ""));
    let section = lookup::section(section).ok_or_else(|| unknown_section(section))?;
    let (sub, property) = match rest.rsplit_once('_') {
        Some((sub, property)) => (Some(sub), property),
        None => (None, rest),
    };
    let sub = match (section.sub, sub) {
        (Subsection::Free, Some(sub)) => {
            let spelling = sub.to_ascii_uppercase();
            let configured_name = settings
                .subsections(section)
                .find(|name| variable_spelling(name) == spelling)
                .map(str::to_owned);
            Some(configured_name.unwrap_or_else(|| sub.to_ascii_lowercase()))
        }
        (Subsection::Never | Subsection::Class | Subsection::ClassOrNone, _) | (Subsection::Free, None) => {
            section.subsection(sub)?
        }
    };
    let property = section.property(property).ok_or_else(|| unknown_property(section, property))?;
    Ok((section, sub, property))
}

const SUFFIX: &str = "_FILE";
/// Maximum number of bytes that are read; longer than any password or URL.
const MAX_LENGTH: u64 = 64 << 10;

/// Replaces variables that name a file with its contents, without a final line feed: only of passwords and URLs, which
/// may contain a password. Errors name the variable and the file.
pub(super) fn read_secret_files(
    env: impl IntoIterator<Item = (String, String)>,
) -> (Vec<(String, String)>, Vec<Problem>) {
    let (mut variables, mut errors) = (Vec::new(), Vec::new());
    for (variable, value) in env {
        let stem = variable.strip_suffix(SUFFIX).and_then(|stem| Some((stem, secret_property(stem)?)));
        let Some((stem, property)) = stem else {
            variables.push((variable, value));
            continue;
        };
        match contents(&value) {
            Ok(text) => variables.push((stem.to_owned(), text)),
            Err(error) => errors.push(Problem {
                category: ProblemCategory::Path,
                origin: Origin::Environment(variable.clone()),
                section: None,
                property: Some(property.name.to_owned()),
                value: Some(value),
                message: format!("cannot read the file with the value: {error}"),
            }),
        }
    }
    (variables, errors)
}

fn contents(path: &str) -> Result<String, Error> {
    let mut text = String::new();
    File::open(path)?.take(MAX_LENGTH).read_to_string(&mut text)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::merged::merge;
    use crate::config::parsed_file::ParsedFile;

    fn apply_to(text: &str, variables: &[(&str, &str)]) -> (Settings, Vec<String>) {
        let (mut settings, _) = merge(&ParsedFile::read("f", text.as_bytes()));
        let env = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let problems = apply(&mut settings, env);
        (settings, problems.iter().map(Problem::to_string).collect())
    }

    #[test]
    fn a_variable_overrides_the_file_and_is_the_origin() {
        let (settings, problems) = apply_to(
            "[Postgres]\nPassword = a\n",
            &[("PACKAGEMANAGER_POSTGRES_PASSWORD", "b"), ("HOME", "/")],
        );
        assert_eq!(problems, [""; 0]);
        let setting = settings.get("Postgres", None, "Password").expect("set");
        let origin = Origin::Environment("PACKAGEMANAGER_POSTGRES_PASSWORD".to_owned());
        assert_eq!(setting.values, [Value::plain("b".to_owned(), origin)]);
    }

    #[test]
    fn subsection_names_are_between_section_and_property() {
        let (settings, problems) = apply_to(
            "[IdentityFederation \"my-k8s.x\"]\n",
            &[
                ("PACKAGEMANAGER_FILESTORAGE_CACHE_LOCATION", "/c"),
                ("PACKAGEMANAGER_S3STORAGE_BUCKET", "all"),
                ("PACKAGEMANAGER_S3STORAGE_PACKAGES_BUCKET", "one"),
                ("PACKAGEMANAGER_IDENTITYFEDERATION_MY_K8S_AUDIENCE", "a"),
            ],
        );
        assert_eq!(problems, [""; 0]);
        let text = |section, sub, property| {
            settings.get(section, sub, property).map(|setting| setting.values[0].text.as_str())
        };
        assert_eq!(text("FileStorage", Some("cache"), "Location"), Some("/c"));
        assert_eq!(text("S3Storage", None, "Bucket"), Some("all"));
        assert_eq!(text("S3Storage", Some("packages"), "Bucket"), Some("one"));
        assert_eq!(text("IdentityFederation", Some("my_k8s"), "Audience"), Some("a"));
    }

    #[test]
    fn a_variable_matches_a_subsection_of_the_file() {
        let (settings, _) = apply_to(
            "[IdentityFederation \"my-k8s.x\"]\nIssuer = https://i\n",
            &[("PACKAGEMANAGER_IDENTITYFEDERATION_MY_K8S_X_AUDIENCE", "a")],
        );
        assert!(settings.get("IdentityFederation", Some("my-k8s.x"), "Audience").is_some());
    }

    #[test]
    fn values_of_multi_properties_are_separated_by_commas_and_replace_those_of_the_file() {
        let (settings, _) = apply_to(
            "[Logging]\nSystemLog = /x.log\n",
            &[("PACKAGEMANAGER_LOGGING_SYSTEMLOG", "STDERR, /y.log")],
        );
        let setting = settings.get("Logging", None, "SystemLog").expect("set");
        assert_eq!(setting.values.iter().map(|v| v.text.as_str()).collect::<Vec<_>>(), ["STDERR", "/y.log"]);
    }

    #[test]
    fn variables_of_clients_and_of_the_key_are_not_properties() {
        let variables: Vec<_> =
            RESERVED_NAMES.iter().map(|name| (format!("{PREFIX}{name}"), "x".to_owned())).collect();
        let mut settings = Settings::default();
        assert_eq!(apply(&mut settings, variables), []);
        assert_eq!(settings.iter().count(), 0);
    }

    #[test]
    fn an_unknown_variable_is_reported_with_the_nearest_name() {
        let (_, problems) = apply_to(
            "",
            &[
                ("PACKAGEMANAGER_SERVER_DATADRI", "/x"),
                ("PACKAGEMANAGER_SEVER_DATADIR", "/x"),
                ("PACKAGEMANAGER_FILESTORAGE_CASHE_LOCATION", "/x"),
                ("PACKAGEMANAGER_", "x"),
            ],
        );
        assert_eq!(problems.len(), 4);
        assert!(problems.iter().all(|line| line.starts_with("environment PACKAGEMANAGER_")));
        assert!(problems.iter().any(|line| line.ends_with("did you mean `DataDir`?")), "{problems:?}");
        assert!(problems.iter().any(|line| line.ends_with("did you mean `cache`?")), "{problems:?}");
        assert!(problems.iter().any(|line| line.ends_with("did you mean `[Server]`?")), "{problems:?}");
    }

    fn read_variables(variables: &[(&str, &str)]) -> (Vec<(String, String)>, Vec<String>) {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let (env, errors) = read_secret_files(owned);
        (env, errors.iter().map(Problem::to_string).collect())
    }

    #[test]
    fn a_password_is_read_from_a_file_without_its_line_feed() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("password");
        for text in ["s3 cret", "s3 cret\n", "s3 cret\r\n"] {
            std::fs::write(&file, text).expect("written");
            let path = file.display().to_string();
            let (env, errors) =
                read_variables(&[("PACKAGEMANAGER_POSTGRES_PASSWORD_FILE", &path), ("HOME", "/")]);
            assert_eq!(errors, [""; 0]);
            let password = ("PACKAGEMANAGER_POSTGRES_PASSWORD".to_owned(), "s3 cret".to_owned());
            assert_eq!(env, [password, ("HOME".to_owned(), "/".to_owned())]);
        }
    }

    #[test]
    fn a_file_that_is_missing_is_an_error_with_its_path() {
        let (env, errors) = read_variables(&[("PACKAGEMANAGER_PROXY_URL_FILE", "/nonexistent/url")]);
        assert!(env.is_empty());
        let expected = "environment PACKAGEMANAGER_PROXY_URL_FILE: URL = \"/nonexistent/url\": cannot read the file with the value";
        assert!(errors.len() == 1 && errors[0].starts_with(expected), "{errors:?}");
    }

    #[test]
    fn variables_of_other_properties_and_of_clients_are_unchanged() {
        for name in [
            "PACKAGEMANAGER_HTTP_LISTEN_FILE",
            "PACKAGEMANAGER_SSO_TOKEN_FILE",
            "PACKAGEMANAGER_IDENTITY_TOKEN_FILE",
            "SSL_CERT_FILE",
        ] {
            let (env, errors) = read_variables(&[(name, "/nonexistent/x")]);
            assert_eq!((env, errors), (vec![(name.to_owned(), "/nonexistent/x".to_owned())], Vec::new()));
        }
    }
}
