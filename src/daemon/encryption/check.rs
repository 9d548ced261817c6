//! The part of `--check-config` about the encryption key and secrets.

use super::compare::KeyMismatch;
use base::config::table::Kind;
use base::config::{Check, Config, Loaded, ValueForm, Verdict, client_secret, key_file};
use store::db::Db;

/// The checks of the key and of plain secrets; each is omitted if it has no findings.
pub(in crate::daemon) fn run(loaded: &Loaded) -> impl Iterator<Item = Check> {
    key(loaded).into_iter().chain(plain_secrets(loaded))
}

fn key(loaded: &Loaded) -> Option<Check> {
    let config = &*loaded.config;
    let path = &config.server.encryption_key_path;
    let state = Db::database_state(config);
    let database_key = state.as_ref().ok().and_then(|state| state.encryption_key);
    let (mut verdict, mut findings) = (Verdict::Info, Vec::new());
    findings.push(match (&config.encryption_key, database_key) {
        (None, None) => return None,
        (None, Some(database_key)) => format!(
            "there is no encryption key at {}, but the database uses the key {database_key}; copy it from another \
             server or restore it from a backup",
            path.display()
        ),
        (Some(key), None) if state.is_ok() => format!("{key}; recorded in the database at the next start"),
        (Some(key), None) => format!("{key}; the database does not answer, so it was not compared"),
        (Some(key), Some(database_key)) if key.key.fingerprint() == database_key => {
            format!("{key}, the key of this database")
        }
        (Some(key), Some(database_key)) => {
            let new_key = key_file::read(&key_file::new_path(path)).ok().flatten();
            let new_key = new_key.filter(|new_key| new_key.key.fingerprint() == database_key && key.source.is_file());
            match new_key {
                Some(new_key) => format!("a rotation was interrupted; the next start completes it with {new_key}"),
                None => {
                    verdict = Verdict::Fail;
                    KeyMismatch::OtherKey { key: key.to_string(), database_key }.to_string()
                }
            }
        }
    });
    let old_path = key_file::old_path(path);
    let mut with_old_key = loaded
        .settings
        .encrypted_values()
        .filter(|(_, form)| *form == ValueForm::DecryptedWithOld)
        .peekable();
    if with_old_key.peek().is_some() {
        findings.extend(with_old_key.map(|(place, _)| {
            format!("{place}: is encrypted with the previous key; replace it by the output of: rspm encrypt")
        }));
    } else if old_path.exists() {
        findings.push(format!("no value needs the previous key; remove it: rm '{}'", old_path.display()));
    }
    Some(Check { title: "Encryption key", verdict, findings })
}

fn plain_secrets(loaded: &Loaded) -> Option<Check> {
    let mut findings = Vec::new();
    for setting in loaded.settings.iter() {
        let is_secret = |text: &str| match setting.property.kind {
            Kind::Secret => !text.is_empty(),
            Kind::Url(_) => has_password(text),
            _ => false,
        };
        for value in
            setting.values.iter().filter(|value| value.form == ValueForm::Plain && is_secret(&value.text))
        {
            findings.push(format!(
                "{}: {}.{} is a secret in plain text; write the output of rspm encrypt instead",
                value.origin, setting.section.name, setting.property.name
            ));
        }
    }
    findings.extend(plain_client_secret(&loaded.config));
    (!findings.is_empty()).then_some(Check {
        title: "Secrets in plain text",
        verdict: Verdict::Info,
        findings,
    })
}

/// The file with the client secret of sign-in, if plain text. The check of sign-in reports a file that cannot be read.
fn plain_client_secret(config: &Config) -> Option<String> {
    let settings = config.open_id_connect.as_ref().filter(|settings| settings.client_secret.is_none())?;
    let path = settings.client_secret_file.as_ref()?;
    let secret = client_secret::read(path, config).ok()?;
    (secret.form == ValueForm::Plain).then(|| {
        format!(
            "{}: contains the secret OpenIDConnect.ClientSecret in plain text; write the output of rspm encrypt instead",
            path.display()
        )
    })
}

/// Returns whether a URL contains a password: before its host, or as a parameter.
fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let before_host = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':'));
    let parameter = url.split(['?', '&']).skip(1).find_map(|pair| pair.strip_prefix("password="));
    before_host
        .map(|(_, password)| password)
        .into_iter()
        .chain(parameter)
        .any(|password| !password.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_with_a_password_is_recognized() {
        for url in [
            "postgres://u:secret@h/d",
            "postgresql://u:p@h1,h2:5432/d?sslmode=require",
            "postgres://h/d?user=u&password=secret",
            "http://a:b@proxy.example:3128",
        ] {
            assert!(has_password(url), "{url}");
        }
        for url in
            ["postgres://u@h/d", "postgres://u:@h/d", "https://h/a:b@c", "postgres://h/d?password=", "", "@:"]
        {
            assert!(!has_password(url), "{url}");
        }
    }
}
