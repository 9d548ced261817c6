//! Paths of the files of a definition of a curated source. A file may include others, by paths relative to itself.

/// Converts the path of a file that `file` includes to a path relative to the directory of the main file:
/// `../common.txt` in `a/b.txt` becomes `common.txt`. A path above that directory begins with `..`; an absolute path is
/// unchanged.
pub fn included_path(file: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let directory = file.rsplit_once('/').map_or("", |(directory, _)| directory);
    let prefix = if file.starts_with('/') { "/" } else { "" };
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("{prefix}{}", parts.join("/"))
}

/// Returns the paths in the lines `-r path` and `-c path` of a requirements file, as written.
pub fn included_files(text: &str) -> Vec<String> {
    const OPTIONS: [&str; 4] = ["--requirement", "--constraint", "-r", "-c"];
    let path = |line: &str| {
        let line = line.trim();
        let line = line.split_once(" #").map_or(line, |(line, _)| line);
        let rest = OPTIONS.iter().find_map(|option| line.strip_prefix(option))?;
        let rest = rest.trim_start();
        let path = rest.strip_prefix('=').unwrap_or(rest).trim();
        (!path.is_empty()).then(|| path.to_owned())
    };
    text.trim_start_matches('\u{feff}').lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_file_that_names_them() {
        for (file, path, expected) in [
            ("requirements.txt", "other.txt", "other.txt"),
            ("a/b.txt", "../common.txt", "common.txt"),
            ("a/b.txt", "./c/../d.txt", "a/d.txt"),
            ("b.txt", "../up.txt", "../up.txt"),
            ("../b.txt", "../up.txt", "../../up.txt"),
            ("b.txt", "/etc/c.txt", "/etc/c.txt"),
            ("/etc/c.txt", "d.txt", "/etc/d.txt"),
        ] {
            assert_eq!(included_path(file, path), expected, "{file} {path}");
        }
    }

    #[test]
    fn included_files_are_found_in_every_spelling() {
        let text =
            "requests\n-r a.txt\n  -cb.txt\n--requirement=c.txt # why\n--constraint d.txt\n# -r e.txt\n-r\n";
        assert_eq!(included_files(text), ["a.txt", "b.txt", "c.txt", "d.txt"]);
    }
}
