//! `~/.ppm/tokens.toml`: the tokens that `rspm login` stores, in the form that pak and other clients of Posit Package
//! Manager read and write.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, Value};
use zeroize::Zeroizing;

use super::error::CliError;

/// Maximum size of the file, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// Returns the path of the file: the value of `PACKAGEMANAGER_SSO_TOKEN_FILE`, otherwise `.ppm/tokens.toml` in the
/// home directory; `None` if the home directory is not known.
pub(super) fn path() -> Option<PathBuf> {
    match std::env::var_os("PACKAGEMANAGER_SSO_TOKEN_FILE").filter(|path| !path.is_empty()) {
        Some(path) => Some(PathBuf::from(path)),
        None => Some(std::env::home_dir()?.join(".ppm").join("tokens.toml")),
    }
}

/// Returns the token of an address, if one is stored. Fails if other users may read the file, or it cannot be read.
pub(super) fn find(path: &Path, address: &str) -> Result<Option<Zeroizing<String>>, CliError> {
    let Some(text) = read(path)? else { return Ok(None) };
    Ok(token(&parse(path, &text)?, address).map(|token| Zeroizing::new(token.to_owned())))
}

/// Stores the token of an address, and replaces an earlier one. Other entries, comments and unknown keys do not
/// change.
pub(super) fn store(path: &Path, address: &str, token: &str, auth_type: &str) -> Result<(), CliError> {
    let text = read(path)?.unwrap_or_default();
    let mut document = parse(path, &text)?;
    set(&mut document, address, token, auth_type).map_err(|problem| invalid(path, &problem))?;
    write(path, &Zeroizing::new(document.to_string()))
}

/// Removes the tokens of an address; returns whether there were any.
pub(super) fn remove_tokens(path: &Path, address: &str) -> Result<bool, CliError> {
    let Some(text) = read(path)? else { return Ok(false) };
    let mut document = parse(path, &text)?;
    let is_changed = remove(&mut document, address);
    if is_changed {
        write(path, &Zeroizing::new(document.to_string()))?;
    }
    Ok(is_changed)
}

/// Returns whether two addresses are equal as text, apart from slashes at the end.
fn is_same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

fn has_address(table: &Table, key: &str, address: &str) -> bool {
    table.get(key).and_then(Item::as_str).is_some_and(|own| is_same(own, address))
}

/// The names of the arrays of tables, each with the key of the address in its tables. Early clients wrote
/// `[[connection]]`.
const ARRAYS: [(&str, &str); 2] = [("connections", "address"), ("connection", "url")];

fn token<'a>(document: &'a DocumentMut, address: &str) -> Option<&'a str> {
    ARRAYS.iter().find_map(|(name, key)| {
        let tables = document.get(name)?.as_array_of_tables()?;
        let token = tables.iter().find(|table| has_address(table, key, address))?.get("token")?.as_str()?;
        (!token.is_empty()).then_some(token)
    })
}

fn set(document: &mut DocumentMut, address: &str, token: &str, auth_type: &str) -> Result<(), String> {
    let connections = document
        .entry("connections")
        .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()))
        .as_array_of_tables_mut()
        .ok_or("connections is not an array of tables ([[connections]])")?;
    let fields = [("token", token), ("auth_type", auth_type)];
    if let Some(table) = connections.iter_mut().find(|table| has_address(table, "address", address)) {
        fields.into_iter().for_each(|(key, text)| set_text(table, key, text));
        return Ok(());
    }
    let mut table = Table::new();
    table.insert("address", toml_edit::value(address.trim_end_matches('/')));
    for (key, text) in fields {
        table.insert(key, toml_edit::value(text));
    }
    connections.push(table);
    Ok(())
}

/// Sets a text, and preserves the comment on its line.
fn set_text(table: &mut Table, key: &str, text: &str) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(value) => {
            let decor = value.decor().clone();
            *value = Value::from(text);
            *value.decor_mut() = decor;
        }
        None => {
            table.insert(key, toml_edit::value(text));
        }
    }
}

fn remove(document: &mut DocumentMut, address: &str) -> bool {
    let mut is_changed = false;
    for (name, key) in ARRAYS {
        let Some(tables) = document.get_mut(name).and_then(Item::as_array_of_tables_mut) else { continue };
        let count = tables.len();
        tables.retain(|table| !has_address(table, key, address));
        is_changed |= tables.len() < count;
    }
    is_changed
}

/// Parses the file. SECURITY: the message of the parser quotes lines, which may contain a token.
fn parse(path: &Path, text: &str) -> Result<DocumentMut, CliError> {
    text.parse().map_err(|error: toml_edit::TomlError| {
        let line =
            error.span().and_then(|span| text.get(..span.start)).map(|text| text.lines().count().max(1));
        let place = line.map(|line| format!(" (line {line})")).unwrap_or_default();
        invalid(path, &format!("it is not valid TOML{place}"))
    })
}

fn invalid(path: &Path, problem: &str) -> CliError {
    CliError::refused(format!("cannot use {}: {problem}; correct the file, or remove it", path.display()))
}

/// Reads the file; `None` if it does not exist.
fn read(path: &Path) -> Result<Option<Zeroizing<String>>, CliError> {
    let local_error = |source| CliError::Local { operation: format!("read {}", path.display()), source };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(local_error(error)),
    };
    let mode = file.metadata().map_err(local_error)?.mode();
    // SECURITY: a user who may read the file can use its tokens; one who may write it can replace them.
    if mode & 0o077 != 0 {
        return Err(CliError::refused(format!(
            "other users may read or change {0}, which contains tokens (mode {1:04o}): chmod 600 {0}",
            path.display(),
            mode & 0o7777
        )));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_SIZE + 1).read_to_string(&mut text).map_err(local_error)?;
    if text.len() as u64 > MAX_SIZE {
        return Err(invalid(path, &format!("it has more than {MAX_SIZE} bytes")));
    }
    Ok(Some(text))
}

/// Replaces the file with one of mode 0600 that contains `text`. If the path is a link, its target is replaced.
pub(super) fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let local_error = |source| CliError::Local { operation: format!("write {}", path.display()), source };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(local_error)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = directory.join(format!(".{name}.{:016x}", rand::random::<u64>()));
    let result = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        // The mode at the creation is subject to the umask.
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)
    })();
    if result.is_err() {
        // The error of the write is reported.
        let _ = fs::remove_file(&new);
    }
    result.map_err(local_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# of the team\ntheme = \"dark\"\n\n[[connections]] # production\naddress = \"https://a.example\"\n\
                        token = \"old\" # from pak\nauth_type = \"sso\"\nextra = 1\n\n[[connection]]\nurl = \"https://b.example\"\n\
                        method = \"sso\"\ntoken = \"early\"\n";

    fn document(text: &str) -> DocumentMut {
        text.parse().expect("valid TOML")
    }

    #[test]
    fn a_token_is_found_by_its_address() {
        let document = document(TEXT);
        for (address, expected) in [
            ("https://a.example", Some("old")),
            ("https://a.example/", Some("old")),
            ("https://b.example", Some("early")),
            ("https://a.example/pm", None),
            ("http://a.example", None),
            ("", None),
        ] {
            assert_eq!(token(&document, address), expected, "{address}");
        }
    }

    #[test]
    fn a_changed_token_keeps_the_rest_of_the_file() {
        let mut document = document(TEXT);
        set(&mut document, "https://a.example/", "new", "token").expect("set");
        assert_eq!(
            document.to_string(),
            TEXT.replace("\"old\"", "\"new\"").replacen("\"sso\"", "\"token\"", 1)
        );
        set(&mut document, "https://c.example/", "third", "sso").expect("set");
        let text = document.to_string();
        let entry =
            "[[connections]]\naddress = \"https://c.example\"\ntoken = \"third\"\nauth_type = \"sso\"\n";
        assert!(text.contains(entry) && text.starts_with("# of the team"), "{text}");
        assert_eq!(token(&document, "https://c.example"), Some("third"));
    }

    #[test]
    fn a_removed_token_leaves_the_others() {
        let mut document = document(TEXT);
        assert!(!remove(&mut document, "https://c.example"));
        assert!(remove(&mut document, "https://a.example/"));
        assert_eq!(token(&document, "https://a.example"), None);
        assert_eq!(token(&document, "https://b.example"), Some("early"));
        assert!(document.to_string().contains("theme = \"dark\""));
        assert!(set(&mut document, "https://a.example", "new", "token").is_ok());
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("sub").join("tokens.toml");
        assert!(find(&path, "https://a.example").expect("no file").is_none());
        store(&path, "https://a.example", "secret", "token").expect("stored");
        let mode = |path: &Path| fs::metadata(path).expect("a file").mode() & 0o7777;
        assert_eq!((mode(&path), mode(path.parent().expect("a directory"))), (0o600, 0o700));
        assert_eq!(find(&path, "https://a.example").expect("read").expect("a token").as_str(), "secret");
        for bad in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, Permissions::from_mode(bad)).expect("changed");
            for result in [
                find(&path, "https://a.example").map(drop),
                store(&path, "https://a.example", "other", "token"),
                remove_tokens(&path, "https://a.example").map(drop),
            ] {
                let error = result.expect_err("refused").to_string();
                assert!(error.contains("chmod 600") && !error.contains("secret"), "{error}");
            }
        }
    }

    #[test]
    fn a_damaged_file_is_not_overwritten_and_not_quoted() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tokens.toml");
        for text in ["[[connections]]\ntoken = secret-without-quotes\n", "connections = \"secret\"\n"] {
            write(&path, text).expect("written");
            let error = store(&path, "https://a.example", "new", "token").expect_err("refused").to_string();
            assert!(error.contains("tokens.toml") && !error.contains("secret"), "{error}");
            assert_eq!(fs::read_to_string(&path).expect("the file"), text);
        }
    }
}
