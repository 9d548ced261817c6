//! Secrets in separate files: `PACKAGEMANAGER_<SECTION>_<PROPERTY>_FILE` contains the path of a file, for example of a
//! systemd credential.

use std::fs::File;
use std::io::{Error, Read};

use super::environment;
use super::problem::{Origin, Problem, ProblemCategory};

const SUFFIX: &str = "_FILE";
/// Maximum number of bytes that are read; longer than any password or URL.
const MAX_LENGTH: u64 = 64 << 10;

/// Replaces variables that name a file with the contents of the file, without the line feed at its end. Only
/// passwords and URLs, which may contain a password, can be read from a file. Errors name the variable and the
/// file.
pub(super) fn read(env: impl IntoIterator<Item = (String, String)>) -> (Vec<(String, String)>, Vec<Problem>) {
    let (mut variables, mut errors) = (Vec::new(), Vec::new());
    for (variable, value) in env {
        let stem =
            variable.strip_suffix(SUFFIX).and_then(|stem| Some((stem, environment::secret_property(stem)?)));
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

    fn read_variables(variables: &[(&str, &str)]) -> (Vec<(String, String)>, Vec<String>) {
        let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let (env, errors) = read(owned);
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
