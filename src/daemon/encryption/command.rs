//! The commands about the encryption key, which `rspm encrypt` runs.

use super::error::KeyCommandError;
use super::{create, rotate};
use crate::daemon::args::Args;

/// Runs the command that the arguments name, if there is one.
pub(in crate::daemon) fn run(args: &Args) -> Option<Result<(), KeyCommandError>> {
    match &args.rotate_key {
        Some(new) => Some(rotate::run(&args.config, new, args.key_lost)),
        None => args.create_key.then(|| create::run(&args.config)),
    }
}
