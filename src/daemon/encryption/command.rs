//! The commands for the encryption key, which `rspm encrypt` executes.

use super::error::KeyCommandError;
use super::{create, rotate};
use crate::daemon::args::Args;

/// Runs the command in the arguments; `None` if they contain no command.
pub(in crate::daemon) fn run(args: &Args) -> Option<Result<(), KeyCommandError>> {
    match &args.rotate_key {
        Some(new_key_file) => Some(rotate::run(&args.config, new_key_file, args.key_lost)),
        None => args.create_key.then(|| create::run(&args.config)),
    }
}
