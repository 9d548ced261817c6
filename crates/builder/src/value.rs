//! Rules for values of requests that become arguments, paths or patterns of commands.

/// Checks the full name of a reference, by the rules of `git check-ref-format` that matter for arguments and patterns.
pub(super) fn reference(name: &str) -> Result<(), String> {
    let is_allowed = |c: char| !c.is_control() && !" ~^:?*[\\".contains(c);
    let is_full_name = name == "HEAD" || name.starts_with("refs/");
    if !is_full_name
        || name.len() > 1024
        || !name.chars().all(is_allowed)
        || name.contains("..")
        || name.contains("@{")
    {
        return Err(format!("'{}' is not the full name of a reference", name.escape_debug()));
    }
    Ok(())
}

/// Checks that a commit is 40 or 64 hexadecimal digits in lower case.
pub(super) fn commit(text: &str) -> Result<(), String> {
    let is_hexadecimal = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if is_hexadecimal && (text.len() == 40 || text.len() == 64) {
        return Ok(());
    }
    Err("it must have 40 or 64 hexadecimal digits".to_owned())
}

/// Checks that a directory of a tree is a relative path without patterns; empty for the root.
pub(super) fn directory(path: &str) -> Result<(), String> {
    let is_valid_name = |name: &str| {
        !name.is_empty()
            && name != "."
            && name != ".."
            && !name.starts_with(['-', '!', '#'])
            && !name.eq_ignore_ascii_case(".git")
            && !name.chars().any(|c| c.is_control() || "\\*?[]".contains(c))
    };
    if path.is_empty() || (path.len() <= 4096 && path.split('/').all(is_valid_name)) {
        return Ok(());
    }
    Err(format!("'{}' is not a relative path", path.escape_debug()))
}

/// Checks that a path, if given, is absolute and does not contain `..`.
pub(super) fn absolute(path: Option<&str>) -> Result<(), String> {
    match path {
        Some(path)
            if !path.starts_with('/')
                || path.len() > 4096
                || path.chars().any(char::is_control)
                || path.split('/').any(|name| name == "..") =>
        {
            Err(format!("'{}' is not an absolute path", path.escape_debug()))
        }
        _ => Ok(()),
    }
}

/// Checks the name and version of an R package, parts of paths and arguments, and its requirements, which R evaluates.
pub(super) fn r_package(name: &str, version: &str, requirements: &[String]) -> Result<(), String> {
    let is_name = name.len() <= 255
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    let is_version = |text: &str| {
        text.len() <= 255
            && text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '-')
    };
    let is_requirement = |text: &String| {
        text.split_once(' ').is_some_and(|(operator, version)| {
            matches!(operator, "==" | "!=" | ">" | ">=" | "<" | "<=") && is_version(version)
        })
    };
    if is_name && is_version(version) && requirements.iter().all(is_requirement) {
        return Ok(());
    }
    Err(format!("'{}' is not a package with a version", name.escape_debug()))
}
