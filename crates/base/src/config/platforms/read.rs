//! Reads [`Platforms`] from the embedded table and the sections of `rstudio-pm.gcfg`, and reports errors.

use std::sync::LazyLock;

use super::{Distribution, MacFolders, Os, Platforms, SharedPlatforms};
use crate::config::merged::{Settings, merge};
use crate::config::parsed_file::ParsedFile;
use crate::config::problem::{ProblemCategory, did_you_mean, nearest};
use crate::config::reader::Reader;
use crate::config::table::{Property, Section};
use crate::config::{lookup, value};

static EMBEDDED_TABLE: LazyLock<Settings> = LazyLock::new(|| {
    let file = ParsedFile::read("the embedded platform table", include_bytes!("table.gcfg"));
    let (settings, problems) = merge(&file);
    assert!(
        file.errors.is_empty() && problems.is_empty(),
        "the embedded platform table: {:?} {problems:?}",
        file.errors
    );
    settings
});

const DISTRIBUTION: &str = "Distribution";
const MACOS: &str = "MacOS";
const PLATFORMS: &str = "Platforms";
/// Maximum length of a distribution's name in bytes: it is a part of URLs and of labels.
const MAX_NAME_LENGTH: usize = 40;

impl Platforms {
    /// Reads the sections of the file; without any, the embedded table at the first use.
    pub(in crate::config) fn shared(reader: &mut Reader<'_>) -> SharedPlatforms {
        let mut sections = reader.settings.iter().map(|setting| setting.section.name);
        let is_changed = sections.any(|name| [DISTRIBUTION, MACOS, PLATFORMS].contains(&name));
        if is_changed { Platforms::read(reader).into() } else { SharedPlatforms::default() }
    }

    pub(super) fn embedded() -> Platforms {
        Platforms::read(&mut Reader::new(&Settings::default()))
    }

    /// Reads the embedded table, overridden by the sections of the file.
    fn read(reader: &mut Reader<'_>) -> Platforms {
        let mut platforms = Platforms {
            distributions: names(reader, DISTRIBUTION)
                .iter()
                .map(|name| distribution(reader, name))
                .collect(),
            r_versions: r_versions(reader),
            macos: names(reader, MACOS).iter().map(|name| folders(reader, name)).collect(),
        };
        resolve_aliases(reader, &mut platforms.distributions);
        platforms
    }
}

/// Returns the non-empty values of a property: from the file, otherwise from the embedded table.
fn texts(reader: &Reader<'_>, section: &str, sub: Option<&str>, name: &str) -> Vec<String> {
    let non_empty = |settings: &Settings| -> Vec<String> {
        let values = settings.get(section, sub, name).map(|setting| setting.values.as_slice());
        let texts = values.unwrap_or_default().iter().map(|value| value.text.clone());
        texts.filter(|text| !text.is_empty()).collect()
    };
    let texts = non_empty(reader.settings);
    if texts.is_empty() { non_empty(&EMBEDDED_TABLE) } else { texts }
}

fn text(reader: &Reader<'_>, section: &str, sub: &str, name: &str) -> Option<String> {
    texts(reader, section, Some(sub), name).pop()
}

fn flag(reader: &Reader<'_>, sub: &str, name: &str) -> bool {
    text(reader, DISTRIBUTION, sub, name).is_some_and(|text| value::boolean(&text) == Ok(true))
}

fn section(name: &str) -> &'static Section {
    lookup::section(name).expect("the sections of platforms are in the table")
}

/// Returns the names of a section's subsections with values, those of the embedded table first.
fn names(reader: &Reader<'_>, name: &str) -> Vec<String> {
    let (section, mut names) = (section(name), Vec::<String>::new());
    for settings in [&*EMBEDDED_TABLE, reader.settings] {
        let non_empty = settings.iter().filter(|setting| {
            std::ptr::eq(setting.section, section)
                && setting.values.iter().any(|value| !value.text.is_empty())
        });
        for sub in non_empty.filter_map(|setting| setting.sub.as_deref()) {
            if !names.iter().any(|name| name == sub) {
                names.push(sub.to_owned());
            }
        }
    }
    names
}

/// Returns the first property that the file sets in a subsection, as the position of errors about its name.
fn any_property(reader: &Reader<'_>, name: &str, sub: &str) -> &'static str {
    let is_set = |property: &&Property| reader.is_non_empty(name, Some(sub), property.name);
    section(name)
        .properties
        .iter()
        .find(is_set)
        .map_or(section(name).properties[0].name, |property| property.name)
}

fn distribution(reader: &mut Reader<'_>, name: &str) -> Distribution {
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_plain || name.is_empty() || name.len() > MAX_NAME_LENGTH {
        let property = any_property(reader, DISTRIBUTION, name);
        let message = format!(
            "is set for an invalid name: use 1 to {MAX_NAME_LENGTH} letters, digits and `_` (clients split URLs at `-`)"
        );
        reader.error(ProblemCategory::Settings, DISTRIBUTION, Some(name), property, &message);
    }
    let alias = text(reader, DISTRIBUTION, name, "Alias");
    let r_version = text(reader, DISTRIBUTION, name, "RVersion");
    if let Some(problem) = r_version.as_deref().and_then(|text| r_version_problem(text, true)) {
        reader.error(ProblemCategory::Syntax, DISTRIBUTION, Some(name), "RVersion", problem);
    }
    let is_forced = flag(reader, name, "ForceRVersion");
    if is_forced && r_version.is_none() && alias.is_none() {
        let message = "needs the R version that is forced; add `RVersion = 4.5`";
        reader.error(ProblemCategory::Settings, DISTRIBUTION, Some(name), "ForceRVersion", message);
    }
    let os = text(reader, DISTRIBUTION, name, "OS").and_then(|word| word.parse().ok()).unwrap_or(Os::Linux);
    let mut architectures: Vec<String> = texts(reader, DISTRIBUTION, Some(name), "Architecture");
    architectures.iter_mut().for_each(|word| word.make_ascii_lowercase());
    architectures.dedup();
    if architectures.is_empty() {
        architectures.push("x86_64".to_owned());
    }
    let rules_name = text(reader, DISTRIBUTION, name, "System");
    let rules_release = text(reader, DISTRIBUTION, name, "Release").unwrap_or_else(|| "all".to_owned());
    Distribution {
        name: name.to_owned(),
        os,
        display: text(reader, DISTRIBUTION, name, "Display").unwrap_or_else(|| name.to_owned()),
        has_status_row: alias.is_none() || rules_name.is_some(),
        rules_name: rules_name.unwrap_or_else(|| name.to_owned()),
        rules_release,
        architectures,
        has_system_requirements: flag(reader, name, "SystemRequirements"),
        is_hidden: flag(reader, name, "Hidden"),
        r_version,
        is_r_version_forced: is_forced,
        alias,
    }
}

/// Copies shared properties from distributions to their aliases; an alias without a distribution is an error.
fn resolve_aliases(reader: &mut Reader<'_>, distributions: &mut [Distribution]) {
    let targets: Vec<Distribution> =
        distributions.iter().filter(|d| d.alias.is_none() && d.os == Os::Linux).cloned().collect();
    for distribution in distributions {
        let Some(alias) = &distribution.alias else { continue };
        let Some(target) = targets.iter().find(|target| target.name == *alias) else {
            let suggestion = nearest(alias, targets.iter().map(|target| target.name.as_str()));
            let hint =
                suggestion.map_or_else(|| "`rspm list distributions` lists all".to_owned(), did_you_mean);
            let message = format!("is not a Linux distribution, or is itself an alias; {hint}");
            reader.error(
                ProblemCategory::Settings,
                DISTRIBUTION,
                Some(&distribution.name),
                "Alias",
                &message,
            );
            continue;
        };
        for property in ["OS", "Architecture", "RVersion", "ForceRVersion"] {
            if reader.is_non_empty(DISTRIBUTION, Some(&distribution.name), property) {
                let message = format!(
                    "cannot be combined with `Alias`: {alias} determines it; set it there, or remove `Alias`"
                );
                reader.error(
                    ProblemCategory::Settings,
                    DISTRIBUTION,
                    Some(&distribution.name),
                    property,
                    &message,
                );
            }
        }
        distribution.architectures.clone_from(&target.architectures);
        distribution.r_version.clone_from(&target.r_version);
        distribution.is_r_version_forced = target.is_r_version_forced;
    }
}

fn r_versions(reader: &mut Reader<'_>) -> Vec<String> {
    let versions = texts(reader, PLATFORMS, None, "RVersion");
    if let Some(problem) = versions.iter().find_map(|text| r_version_problem(text, false)) {
        reader.error(ProblemCategory::Syntax, PLATFORMS, None, "RVersion", problem);
    }
    versions
}

/// Returns the problem of an R version: valid are `4.5` and, with `allows_patch`, `4.5.1`.
fn r_version_problem(text: &str, allows_patch: bool) -> Option<&'static str> {
    let parts: Vec<&str> = text.split('.').collect();
    let number = |part: &&str| {
        let digits = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        digits && (part.len() == 1 || !part.starts_with('0'))
    };
    let is_valid = parts.iter().all(number) && (parts.len() == 2 || (allows_patch && parts.len() == 3));
    match (is_valid, allows_patch) {
        (true, _) => None,
        (false, true) => Some("is not a version of R; write it as 4.5 or 4.5.1"),
        (false, false) => Some("is not a minor version of R; write it as 4.5"),
    }
}

fn folders(reader: &mut Reader<'_>, name: &str) -> MacFolders {
    if name != "default" && r_version_problem(name, false).is_some() {
        let property = any_property(reader, MACOS, name);
        let message = "is not set for a minor version of R; write `[MacOS \"4.5\"]` or `[MacOS \"default\"]`";
        reader.error(ProblemCategory::Settings, MACOS, Some(name), property, message);
    }
    let mut folder = |property: &str| {
        let text = text(reader, MACOS, name, property)?;
        let is_plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if !is_plain || text.starts_with('.') || text.len() > MAX_NAME_LENGTH {
            let message = "is not a plain folder name; write it as big-sur-arm64";
            reader.error(ProblemCategory::Settings, MACOS, Some(name), property, message);
        }
        // R's type `mac.binary` has no folder between `macosx` and `contrib`.
        Some(if text == "contrib" { String::new() } else { text })
    };
    MacFolders { r_version: name.to_owned(), arm64: folder("Arm64"), x86_64: folder("Intel") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn platforms(text: &str) -> Platforms {
        match parse("f", text.as_bytes(), []) {
            Ok(loaded) => (*loaded.config.platforms).clone(),
            Err(error) => panic!("{text}: {error}"),
        }
    }

    fn parse_error(text: &str) -> String {
        parse("f", text.as_bytes(), []).expect_err(text).to_string()
    }

    #[test]
    fn the_embedded_table_is_valid() {
        let table = platforms("");
        assert!(table.distributions.len() > 30, "{}", table.distributions.len());
        assert_eq!(table.r_versions.first().map(String::as_str), Some("4.6"));
        for d in &table.distributions {
            assert!(!d.architectures.is_empty() && !d.display.is_empty(), "{d:?}");
            assert!(d.alias.as_deref().is_none_or(|alias| table.linux(alias).is_some()), "{d:?}");
        }
        let rows: Vec<_> = table.distributions.iter().filter(|d| d.has_status_row).collect();
        for d in &rows {
            let has_same_rules =
                |o: &&&Distribution| (&o.rules_name, &o.rules_release) == (&d.rules_name, &d.rules_release);
            let count = rows.iter().filter(has_same_rules).count();
            // The portable binaries have the names of the distribution that they are built on.
            assert!(count == 1 || d.rules_name == "centos", "{d:?}");
        }
        let four_two = table.macos.iter().find(|m| m.r_version == "4.2").expect("known");
        assert_eq!(
            (four_two.x86_64.as_deref(), four_two.arm64.as_deref()),
            (Some(""), Some("big-sur-arm64"))
        );
    }

    #[test]
    fn names_used_by_clients_resolve_to_the_distribution() {
        let table = platforms("");
        for (name, expected) in [
            ("noble", "noble"),
            ("rockylinux8", "centos8"),
            ("rhel8", "centos8"),
            ("centos9", "rhel9"),
            ("rhel1", "rhel10"),
            ("xenial", "xenial"),
        ] {
            assert_eq!(table.linux(name).map(|d| d.name.as_str()), Some(expected), "{name}");
        }
        for unknown in ["windows", "macos", "Noble", "", "warty"] {
            assert_eq!(table.linux(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn the_file_can_add_distributions_hide_them_and_force_an_r_version() {
        let table = platforms(
            "[Distribution \"fedora42\"]\nDisplay = Fedora 42\nSystem = fedora\nRelease = 42\n\
             Architecture = x86_64\nArchitecture = ARM64\n\
             [Distribution \"ours\"]\nAlias = fedora42\n\
             [Distribution \"jammy\"]\nHidden = yes\nRVersion = 4.4.2\nForceRVersion = true\n\
             [Platforms]\nRVersion = 4.7\nRVersion = 4.6\n[MacOS \"4.7\"]\nArm64 = tahoe-arm64\n",
        );
        let fedora = table.linux("ours").expect("known by its other name");
        assert_eq!(
            (fedora.name.as_str(), fedora.architectures.join(" ")),
            ("fedora42", "x86_64 arm64".into())
        );
        let jammy = table.linux("jammy").expect("known");
        assert!(jammy.is_hidden && jammy.is_r_version_forced && jammy.has_system_requirements);
        assert_eq!((jammy.r_version.as_deref(), jammy.rules_release.as_str()), (Some("4.4.2"), "22.04"));
        assert_eq!(table.r_versions, ["4.7", "4.6"]);
        assert_eq!(table.macos.last().and_then(|m| m.arm64.as_deref()), Some("tahoe-arm64"));
        assert_eq!(table.aliases("fedora42").collect::<Vec<_>>(), ["ours"]);
        assert!(
            !table.distributions.iter().any(|d| d.name == "ours" && d.has_status_row),
            "a name alone is no row"
        );
    }

    #[test]
    fn errors_have_a_line_and_a_remedy() {
        for (text, expected) in [
            ("[Distribution \"my-linux\"]\nRelease = 3\n", "f:2:11: [Distribution \"my-linux\"] Release"),
            (
                "[Distribution \"x\"]\nAlias = nobel\n",
                "f:2:9: [Distribution \"x\"] Alias = \"nobel\": is not a Linux distribution, or is itself an alias; did you mean `noble`?",
            ),
            (
                "[Distribution \"x\"]\nAlias = rhel8\n",
                "Alias = \"rhel8\": is not a Linux distribution, or is itself an alias",
            ),
            (
                "[Distribution \"x\"]\nAlias = noble\nArchitecture = arm64\n",
                "f:3:16: [Distribution \"x\"] Architecture = \"arm64\": cannot be combined with `Alias`",
            ),
            ("[Distribution \"x\"]\nArchitecture = sparc\n", "f:2:16: [Distribution \"x\"] Architecture"),
            ("[Distribution \"noble\"]\nForceRVersion = true\n", "needs the R version that is forced"),
            (
                "[Distribution \"noble\"]\nRVersion = 4\n",
                "f:2:12: [Distribution \"noble\"] RVersion = \"4\": is not a version of R",
            ),
            ("[Platforms]\nRVersion = 4.5.1\n", "is not a minor version of R"),
            ("[MacOS \"new\"]\nIntel = x\n", "write `[MacOS \"4.5\"]`"),
            ("[MacOS \"4.7\"]\nArm64 = a/b\n", "is not a plain folder name"),
        ] {
            let message = parse_error(text);
            assert!(message.contains(expected), "{text}\n{message}");
        }
    }
}
