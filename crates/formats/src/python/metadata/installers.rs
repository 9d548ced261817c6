//! Requirements that the specifications allow, and that pip or uv cannot read, or that they read differently.

use url::Url;

use super::Metadata;
use super::validity::excerpt;
use crate::python::marker::{Marker, Operand};
use crate::python::requirement::{Requirement, VersionsOrUrl};
use crate::python::specifier::Specifiers;

/// The ends of the files that uv installs from the address of a server.
const ARCHIVES: [&str; 13] = [
    ".whl",
    ".zip",
    ".tar",
    ".tgz",
    ".tbz",
    ".tlz",
    ".txz",
    ".tar.gz",
    ".tar.bz2",
    ".tar.xz",
    ".tar.lz",
    ".tar.lzma",
    ".tar.zst",
];

/// Returns the fields of valid metadata because of which an installer fails, or installs other packages than another one.
pub fn defects(metadata: &Metadata) -> Vec<String> {
    let message = |field: &str, text: &str, reason: &str| {
        format!("the metadata has the field {field}: {}: {reason}", excerpt(text))
    };
    let requirements = metadata.requires_dist.iter();
    let defects =
        requirements.filter_map(|text| Some(message("Requires-Dist", text, requirement_defect(text)?)));
    let python = metadata.requires_python.iter();
    defects
        .chain(python.filter_map(|text| Some(message("Requires-Python", text, python_defect(text)?))))
        .collect()
}

fn requirement_defect(text: &str) -> Option<&'static str> {
    let requirement = Requirement::parse(text).ok()?;
    let defect = match &requirement.constraint {
        VersionsOrUrl::Url(url) if !is_address(url) => {
            Some("uv reads only addresses of archives and of repositories")
        }
        VersionsOrUrl::Url(_) => None,
        VersionsOrUrl::Versions(versions) if is_empty_list(versions) => {
            Some("uv does not read empty parentheses")
        }
        VersionsOrUrl::Versions(versions) => arbitrary_defect(versions),
    };
    defect.or_else(|| marker_defect(requirement.marker.as_ref()?))
}

fn python_defect(text: &str) -> Option<&'static str> {
    let versions = Specifiers::lenient(text)?;
    // The last clause may be empty.
    let clauses = text.rsplit_once(',').map_or("x", |(clauses, _)| clauses);
    if clauses.split(',').any(|clause| clause.trim().is_empty()) {
        return Some("uv does not read empty clauses");
    }
    arbitrary_defect(&versions)
}

fn is_empty_list(versions: &Specifiers) -> bool {
    versions.is_empty() && !versions.as_str().is_empty()
}

fn arbitrary_defect(versions: &Specifiers) -> Option<&'static str> {
    versions.has_arbitrary_text().then_some("uv reads only versions after ===")
}

/// Returns true for a URL that both installers accept. uv replaces variables of the environment, pip does not. uv takes a
/// scheme with capitals and `file:` without a slash for a relative path.
fn is_address(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    if !text.starts_with(url.scheme()) {
        return false;
    }
    let is_archive = || ARCHIVES.iter().any(|end| url.path().to_ascii_lowercase().ends_with(end));
    let is_known = match url.scheme() {
        "http" | "https" => is_archive(),
        "file" => text.starts_with("file:/") && url.host_str().is_none(),
        scheme => matches!(scheme, "git+https" | "git+http" | "git+ssh" | "git+file"),
    };
    is_known && !text.contains("${")
}

/// pip looks the right operand up as a variable unless the left one is a variable; then it is a text. uv ignores comparisons
/// of two texts or two variables. Outside of lock files, sets of extras and groups have no value.
fn marker_defect(marker: &Marker) -> Option<&'static str> {
    match marker {
        Marker::Any(markers) | Marker::All(markers) => markers.iter().find_map(marker_defect),
        Marker::Compare(Operand::Variable("extras" | "dependency_groups"), ..)
        | Marker::Compare(.., Operand::Variable("extras" | "dependency_groups")) => {
            Some("pip ends with an error, because extras and dependency_groups are for lock files")
        }
        Marker::Compare(Operand::Text(_), _, Operand::Text(_)) => {
            Some("pip ends with an error, because the marker compares two texts")
        }
        Marker::Compare(Operand::Variable(_), _, Operand::Variable(_)) => {
            Some("uv ignores a comparison of two variables, pip does not")
        }
        Marker::Compare(_, "===", _) => Some("uv does not read === in a marker"),
        Marker::Compare(left, "~=", right) if !is_compatible_release(left, right) => {
            Some("pip ends with an error, because ~= compares a version with one of several numbers")
        }
        Marker::Compare(..) => None,
    }
}

/// Returns whether pip can compare two operands by `~=`.
fn is_compatible_release(left: &Operand, right: &Operand) -> bool {
    const VERSIONS: [&str; 3] = ["python_version", "python_full_version", "implementation_version"];
    match (left, right) {
        (Operand::Variable(variable), Operand::Text(text)) => {
            VERSIONS.contains(variable) && format!("~={text}").parse::<Specifiers>().is_ok()
        }
        (_, Operand::Variable(variable)) => VERSIONS.contains(variable),
        (_, Operand::Text(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defects_of(fields: &str) -> Vec<String> {
        let text = format!("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n{fields}\n");
        defects(&Metadata::parse(text.as_bytes()).expect("metadata"))
    }

    #[test]
    fn fields_that_an_installer_does_not_read_are_stated() {
        for (value, reason) in [
            ("foo()", "empty parentheses"),
            ("foo ( )", "empty parentheses"),
            ("foo[a] ()", "empty parentheses"),
            ("foo===x", "after ==="),
            ("foo >=1, === 2004d", "after ==="),
            ("foo===1.0.*", "after ==="),
            ("foo @ ./x", "addresses of archives"),
            ("foo @ x", "addresses of archives"),
            ("foo @ C:\\x", "addresses of archives"),
            ("foo @ ${X}", "addresses of archives"),
            ("foo @ $X/y", "addresses of archives"),
            ("foo @ //e.org/x.whl", "addresses of archives"),
            ("foo @ e.org/x#egg=y", "addresses of archives"),
            ("foo @ https://e.org/${X}/a.whl", "addresses of archives"),
            ("foo @ https://e.org/x", "addresses of archives"),
            ("foo @ https://e.org/x ; python_version > '3'", "addresses of archives"),
            ("foo@ https://e.org/x.whl;python_version>'3'", "addresses of archives"),
            ("foo @ http://e.org:99999/x.whl", "addresses of archives"),
            ("foo @ file:x", "addresses of archives"),
            ("foo @ file:../x.whl", "addresses of archives"),
            ("foo @ file:", "addresses of archives"),
            ("foo @ file://host/x.whl", "addresses of archives"),
            ("foo @ FILE:///x", "addresses of archives"),
            ("foo @ HTTPS://e.org/x.whl", "addresses of archives"),
            ("foo @ GIT+https://e.org/x", "addresses of archives"),
            ("foo @ git+git://e.org/x", "addresses of archives"),
            ("foo; python_implementation===\"x\"", "==="),
            ("foo; extra == 'x' and python_version === '3.8'", "==="),
            ("foo; '3' === python_version", "==="),
            ("foo; os_name ~= '3.8'", "~= compares"),
            ("foo; python_version ~= '3'", "~= compares"),
            ("foo; '3.8' ~= os_name", "~= compares"),
            ("foo; '3' > '2'", "two texts"),
            ("foo; os_name == 'nt' or (extra == 'x' and 'a' in 'b')", "two texts"),
            ("foo; python_version > os_name", "two variables"),
            ("foo; 'x' in extras", "for lock files"),
            ("foo; extras == 'x'", "for lock files"),
            ("foo; 'x' not in dependency_groups", "for lock files"),
            ("foo; dependency_groups == 'x'", "for lock files"),
        ] {
            let found = defects_of(&format!("Requires-Dist: {value}"));
            assert!(found.len() == 1 && found[0].contains(reason), "{value}: {found:?}");
            assert!(found[0].starts_with("the metadata has the field Requires-Dist: "), "{found:?}");
        }
        for (value, reason) in [
            (",>=3", "empty clauses"),
            (">=2.7,,<4", "empty clauses"),
            (">=3,,", "empty clauses"),
            ("===three", "after ==="),
        ] {
            let found = defects_of(&format!("Requires-Python: {value}"));
            assert!(found.len() == 1 && found[0].contains(reason), "{value}: {found:?}");
        }
    }

    #[test]
    fn forms_that_both_installers_read_have_no_defect() {
        for value in [
            "foo",
            "foo[]",
            "foo (>=1,)",
            "foo>=1,",
            "foo===1.0",
            "foo===1.0,<2",
            "foo @ https://e.org/x.whl",
            "foo@https://user:pw@e.org/x.tar.gz",
            "foo @ https://[::1]:80/x.ZIP#egg=foo",
            "foo @ https://e.org/x.tar.gz?a=b ; extra == 'x'",
            "foo @ git+https://e.org/x@main",
            "foo @ git+ssh://git@e.org/x",
            "foo @ file:///x",
            "foo @ file:/x",
            "foo @ file://localhost/x.whl",
            "foo @ git+file:///x",
            "foo; python_version ~= '3.8'",
            "foo; '3.8' ~= python_full_version",
            "foo; '3' > python_version",
            "foo; 'linux' in platform_version",
            "foo; extra == 'x' and (os_name == 'nt' or python_version < '3')",
        ] {
            assert_eq!(defects_of(&format!("Requires-Dist: {value}")), [""; 0], "{value}");
        }
        for value in [">=3.8,", ">=3.8", ">=3.8.*", "===3", "(>=3)", ""] {
            assert_eq!(defects_of(&format!("Requires-Python: {value}")), [""; 0], "{value}");
        }
    }
}
