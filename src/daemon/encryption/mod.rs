//! Creates and rotates the encryption key of the server, and compares it with the database.

pub(super) mod check;
pub(in crate::daemon) mod compare;
mod create;
mod error;
mod rotate;

use super::args::Args;
use error::KeyCommandError;

/// Runs the command for the key in the arguments, which `rspm encrypt` passes; `None` if they contain no command.
pub(super) fn run(args: &Args) -> Option<Result<(), KeyCommandError>> {
    match &args.rotate_key {
        Some(new_key_file) => Some(rotate::run(&args.config, new_key_file, args.key_lost)),
        None => args.create_key.then(|| create::run(&args.config)),
    }
}
