//! Packages and files as commands name them: `name@1.2.3`, `name@all`, `name@current`.

use super::error::CliError;

/// Splits `name@scope` into its two parts; `verb` is the verb of the error message.
pub(super) fn name_and_scope<'a>(text: &'a str, verb: &str) -> Result<(&'a str, &'a str), CliError> {
    text.split_once('@').filter(|(name, scope)| !name.is_empty() && !scope.is_empty()).ok_or_else(|| {
        CliError::refused(format!(
            "'{0}' does not select what to {verb}: use {0}@current, {0}@all or {0}@<version>",
            text.trim_end_matches('@')
        ))
    })
}
