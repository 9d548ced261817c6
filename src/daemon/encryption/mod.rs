//! Creates and rotates the encryption key of the server, and compares it with the database.

pub(super) mod check;
pub(in crate::daemon) mod compare;
mod error;
mod rotate;

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::daemon::args::ServerArgs;
use crate::daemon::configuration;
use crate::daemon::local_command::note;
use crate::daemon::service_user::ServiceUser;
use base::config::{Config, ValueForm, key_file};
use error::KeyCommandError;
use store::db::Db;

/// Runs the command for the key in the arguments, which `rspm encrypt` passes; `None` if they contain no command.
pub(super) fn run(args: &ServerArgs) -> Option<Result<(), KeyCommandError>> {
    match &args.rotate_key {
        Some(new_key_file) => Some(rotate::run(&args.config, new_key_file, args.key_lost)),
        None => args.create_key.then(|| create(&args.config)),
    }
}

/// Creates the file of the key for `rspm encrypt`, owned by the user of the server. Does nothing if a key exists.
fn create(file: &Path) -> Result<(), KeyCommandError> {
    let loaded = configuration::load_encrypted(file)?;
    let config = &*loaded.config;
    let path = &config.server.encryption_key_path;
    let display_path = path.display().to_string();
    let variables: Vec<_> = configuration::variables().collect();
    ServiceUser::find(file).run(|| {
        if key_file::KeyEnvironment::from_variables(&variables).find(path)?.is_some() {
            return Ok(());
        }
        let encrypted_values =
            loaded.settings.encrypted_values().filter(|(_, form)| *form == ValueForm::Encrypted);
        let values: Vec<String> = encrypted_values.map(|(place, _)| place).collect();
        if !values.is_empty() {
            return Err(KeyCommandError::EncryptedValues { path: display_path, values });
        }
        match Db::database_state(config) {
            Ok(state) => {
                if let Some(database_key) = state.encryption_key {
                    return Err(KeyCommandError::DatabaseKey { database_key, path: display_path });
                }
            }
            // The value to encrypt may be the password of the database. The server compares the key when it starts.
            Err(error) => note(format!("Warning: could not compare the new key with the database: {error}")),
        }
        create_file(config, path)
    })?
}

fn create_file(config: &Config, path: &Path) -> Result<(), KeyCommandError> {
    let create_error = || KeyCommandError::file(format!("create the encryption key {}", path.display()));
    if let Some(parent) = path.parent().filter(|parent| parent.starts_with(&config.server.data_dir)) {
        let result = DirBuilder::new().recursive(true).mode(0o700).create(parent);
        result.map_err(create_error())?;
    }
    let key = key_file::random().map_err(create_error())?;
    match key_file::create(path, &key) {
        Ok(()) => note(format!("Created the encryption key {} ({}).", path.display(), key.fingerprint())),
        // Another process has created it.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(create_error()(error)),
    }
    Ok(())
}
