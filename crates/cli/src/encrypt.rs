//! `rspm encrypt`: encrypts values for the configuration, and creates and replaces the key. Needs no running server.

use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::client::{ParseMode, config_in};
use super::error::CliError;
use super::input::{ask_hidden, piped_secret};
use super::output::{Output, note};
use super::programs::{exec, is_key, program_command, server_variables, start_error};
use base::config::key_file::{self, EncryptionKey, KeyEnvironment};

/// Maximum length of the values on standard input, in bytes.
const MAX_INPUT: u64 = 1 << 20;
const PROMPT: &str = "Encryption: Enter the plain text value below.\n";

/// Arguments of `encrypt`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Encrypt {
    /// Command for the key; without one, a value is encrypted.
    #[command(subcommand)]
    pub command: Option<KeyCommand>,
    /// The value, visible in the process list (default: prompt or standard input)
    #[arg(value_name = "VALUE")]
    pub value: Option<String>,
}

/// `rspm encrypt …`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Create a key file at a path other than the default, or for another server
    Generate(Generate),
    /// Replace the server's key while the server is stopped
    Rotate(Rotate),
}

#[derive(Debug, Args)]
pub struct Generate {
    /// The file to create; it must not exist
    #[arg(long, value_name = "FILE")]
    pub file_out: PathBuf,
}

#[derive(Debug, Args)]
pub struct Rotate {
    /// File with the new key, from `rspm encrypt generate`
    #[arg(long, value_name = "FILE")]
    pub new_key: PathBuf,
    /// Delete the encrypted values of the database, whose key is lost, instead of re-encrypting them
    #[arg(long)]
    pub key_lost: bool,
}

pub fn run(config: Option<&Path>, output: &Output, args: Encrypt) -> Result<ExitCode, CliError> {
    match args.command {
        Some(KeyCommand::Generate(Generate { file_out })) => generate(&file_out)?,
        Some(KeyCommand::Rotate(Rotate { new_key, key_lost })) => return rotate(config, &new_key, key_lost),
        None => encrypt(config, output, args.value)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn generate(file: &Path) -> Result<(), CliError> {
    let local_error = |source| CliError::Local { operation: format!("create {}", file.display()), source };
    let key = key_file::random().map_err(local_error)?;
    key_file::create(file, &key).map_err(local_error)?;
    note(format!("Created the encryption key {} ({}).", file.display(), key.fingerprint()));
    Ok(())
}

/// Replaces this process with `rstudio-pm --rotate-key`.
fn rotate(config: Option<&Path>, new_key: &Path, key_lost: bool) -> Result<ExitCode, CliError> {
    let mut command = program_command("rstudio-pm", config);
    command.arg("--rotate-key").arg(new_key).args(key_lost.then_some("--key-lost"));
    Err(exec(command))
}

fn encrypt(config: Option<&Path>, output: &Output, value: Option<String>) -> Result<(), CliError> {
    let existing_key = find_key(config)?;
    let values = values(value)?;
    let key = match existing_key {
        Some(key) => key,
        None => {
            create_key(config)?;
            find_key(config)?.ok_or_else(|| CliError::refused("the new encryption key cannot be found"))?
        }
    };
    let ciphertexts =
        values.iter().map(|value| key_file::encrypt(&key.key, value)).collect::<Result<Vec<_>, _>>();
    let ciphertexts = ciphertexts
        .map_err(|source| CliError::Local { operation: "encrypt the value".to_owned(), source })?;
    output.print(&ciphertexts, || ciphertexts.join("\n"))
}

/// Finds the key of the server. The caller's variables for the key have precedence; if there are none, those of the
/// running server are used.
fn find_key(config: Option<&Path>) -> Result<Option<EncryptionKey>, CliError> {
    let text = |text: std::ffi::OsString| text.into_string().ok();
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
    let mut env: Vec<(String, String)> = variables.collect();
    if !env.iter().any(|(name, _)| is_key(name.as_bytes())) {
        let server = server_variables(config, is_key).into_iter();
        env.extend(server.filter_map(|(name, value)| Some((text(name)?, text(value)?))));
    }
    // The configuration may be invalid because it lacks the value that is about to be encrypted.
    let config = config_in(config, env.iter().cloned(), ParseMode::Lenient)?;
    let key = KeyEnvironment::from_variables(&env).find(&config.server.encryption_key_path);
    key.map_err(|error| CliError::refused(error.to_string()))
}

/// Creates the key through the daemon, which refuses if values of the configuration or the database have another key.
fn create_key(config: Option<&Path>) -> Result<(), CliError> {
    let mut command = program_command("rstudio-pm", config);
    let status = command.arg("--create-key").status();
    let status = status.map_err(|source| start_error(&command, source))?;
    if status.success() { Ok(()) } else { Err(CliError::refused("could not create the encryption key")) }
}

/// Returns the values to encrypt: the argument, the line typed into the terminal, or the lines of standard input.
fn values(argument: Option<String>) -> Result<Vec<Zeroizing<String>>, CliError> {
    let values = match argument {
        Some(value) => {
            note(
                "Warning: other users can see the value in the process list; omit it for a prompt, or pass it on \
                 standard input",
            );
            vec![Zeroizing::new(value)]
        }
        None if stdin().is_terminal() => vec![ask_hidden(PROMPT, "value")?],
        None => {
            let text = piped_secret("value", MAX_INPUT)?;
            text.lines().map(|line| Zeroizing::new(line.to_owned())).collect()
        }
    };
    match values.iter().position(|value| value.is_empty()) {
        _ if values.is_empty() => Err(CliError::refused("there is no value on standard input")),
        Some(index) => {
            Err(CliError::refused(format!("value {} is empty; an empty value is not encrypted", index + 1)))
        }
        None => Ok(values),
    }
}
