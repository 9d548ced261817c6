//! `config.yaml`: the versions of Bioconductor and of R that belong together. Clients parse it line by line with
//! regular expressions, not as YAML (BiocManager's `R/version.R`, pkgcache's `R/bioc.R`). It is parsed in the same way
//! here, and written so that all clients can parse it.

use std::fmt::Write;

use super::{BioconductorVersion, VersionName};
use crate::r::version::RMinor;
use base::model::time::Day;

/// The versions of Bioconductor as a mirror declares them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub release: BioconductorVersion,
    pub devel: BioconductorVersion,
    /// Every version, oldest first, including release and devel.
    versions: Vec<VersionRow>,
}

/// A row of the table of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRow {
    pub version: BioconductorVersion,
    pub r: RMinor,
    /// The day on which the version became the release; `None` for devel, and if the day is unknown.
    pub release_day: Option<Day>,
    /// The day of the version's last build, after which its packages no longer change.
    pub last_build_day: Option<Day>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadConfig {
    #[error("is an HTML page, not a config.yaml")]
    Html,
    #[error("has no line that begins with {0}")]
    MissingLine(&'static str),
    #[error("has {0} as the release or devel version, but not in r_ver_for_bioc_ver")]
    Unmapped(BioconductorVersion),
}

/// The line before the map of R versions. It is not indented.
const R_VERSIONS: &str = "r_ver_for_bioc_ver:";

impl Config {
    /// Parses a `config.yaml`. Malformed rows are ignored; invalid UTF-8 is replaced, since no relevant row has any.
    pub fn parse(bytes: &[u8]) -> Result<Config, BadConfig> {
        let text = String::from_utf8_lossy(bytes);
        if text.trim_start_matches('\u{feff}').trim_start().starts_with('<') {
            return Err(BadConfig::Html);
        }
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let scalar = |key: &'static str, display: &'static str| {
            let value = lines.iter().find_map(|line| line.strip_prefix(key));
            value.and_then(|value| unquote(value).parse().ok()).ok_or(BadConfig::MissingLine(display))
        };
        let release: BioconductorVersion = scalar("release_version:", "release_version: \"")?;
        let devel: BioconductorVersion = scalar("devel_version:", "devel_version: \"")?;
        let dates = |key: &str| -> Vec<(BioconductorVersion, Day)> {
            let rows = map_rows(&lines, key);
            rows.filter_map(|(version, date)| Some((version.parse().ok()?, parse_us_date(date)?))).collect()
        };
        let (release_days, last_build_days) = (dates("release_dates:"), dates("release_last_built_dates:"));
        let day_of = |dates: &[(BioconductorVersion, Day)], version| {
            dates.iter().find(|(other, _)| *other == version).map(|(_, day)| *day)
        };
        let mut versions: Vec<VersionRow> = map_rows(&lines, R_VERSIONS)
            .filter_map(|(version, r)| {
                let version = version.parse().ok()?;
                let r = RMinor::parse(r)?;
                Some(VersionRow {
                    version,
                    r,
                    release_day: day_of(&release_days, version),
                    last_build_day: day_of(&last_build_days, version),
                })
            })
            .collect();
        versions.sort_by_key(|row| row.version);
        versions.dedup_by_key(|row| row.version);
        if versions.is_empty() {
            return Err(BadConfig::MissingLine(R_VERSIONS));
        }
        let config = Config { release, devel, versions };
        match [release, devel].into_iter().find(|version| config.get(*version).is_none()) {
            Some(unmapped) => Err(BadConfig::Unmapped(unmapped)),
            None => Ok(config),
        }
    }

    pub fn get(&self, version: BioconductorVersion) -> Option<&VersionRow> {
        self.versions.iter().find(|row| row.version == version)
    }

    pub fn version(&self, name: VersionName) -> BioconductorVersion {
        match name {
            VersionName::Exact(version) => version,
            VersionName::Release => self.release,
            VersionName::Devel => self.devel,
        }
    }

    /// Returns every version, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &VersionRow> {
        self.versions.iter().rev()
    }

    /// Returns the status in BiocManager's terms: `release`, `devel` or `out-of-date`.
    pub fn status(&self, version: BioconductorVersion) -> &'static str {
        if version == self.release {
            "release"
        } else if version >= self.devel {
            "devel"
        } else {
            "out-of-date"
        }
    }

    /// Returns the day after which a version's packages no longer change: of its last build, or else the release day of
    /// the next version. `None` for release and devel, which are still built, and if both are unknown.
    pub fn last_update(&self, version: BioconductorVersion) -> Option<Day> {
        if version >= self.release {
            return None;
        }
        let last_build_day = self.get(version).and_then(|row| row.last_build_day);
        last_build_day.or_else(|| self.successor_release_day(version))
    }

    /// Returns the release day of the next version, from which on a version's CRAN packages are fixed.
    pub fn successor_release_day(&self, version: BioconductorVersion) -> Option<Day> {
        if version >= self.release {
            return None;
        }
        self.versions.iter().find(|row| row.version > version).and_then(|row| row.release_day)
    }

    /// Returns the configuration as of a day, so that a version is not the release before its release day. If dates are
    /// missing, returns the current configuration.
    pub fn as_of(&self, day: Day) -> Config {
        let is_released = |row: &&VersionRow| row.release_day.is_some_and(|release_day| release_day <= day);
        let older_rows = self.versions.iter().filter(|row| row.version < self.release);
        let release = match self
            .get(self.release)
            .filter(|row| row.release_day.is_none_or(|release_day| release_day <= day))
        {
            Some(row) => row.version,
            None => older_rows.rev().find(is_released).map_or(self.release, |row| row.version),
        };
        if release == self.release {
            return self.clone();
        }
        let successor = self.versions.iter().find(|row| row.version > release);
        let devel = successor.map_or(self.devel, |row| row.version);
        let mut versions = self.versions.clone();
        versions.retain(|row| row.version <= devel);
        for row in &mut versions {
            row.release_day = row.release_day.filter(|release_day| *release_day <= day);
            row.last_build_day = row.last_build_day.filter(|last_build_day| *last_build_day <= day);
        }
        Config { release, devel, versions }
    }

    /// Renders a `config.yaml` that all clients can parse; the inverse of [`Config::parse`].
    pub fn render(&self) -> String {
        let mut out = String::from("# Versions of Bioconductor, for BiocManager, pak and renv.\n");
        let r_version = |version| self.get(version).map(|row| format!("{}.0", row.r)).unwrap_or_default();
        let scalars = [
            ("release_version", self.release.to_string()),
            ("devel_version", self.devel.to_string()),
            ("r_version_associated_with_release", r_version(self.release)),
            ("r_version_associated_with_devel", r_version(self.devel)),
        ];
        for (key, value) in scalars {
            let _ = writeln!(out, "{key}: \"{value}\"");
        }
        out.push_str(R_VERSIONS);
        out.push('\n');
        for row in &self.versions {
            let _ = writeln!(out, "  \"{}\": \"{}\"", row.version, row.r);
        }
        self.render_dates(&mut out, "release_dates:", |row| row.release_day);
        self.render_dates(&mut out, "release_last_built_dates:", |row| row.last_build_day);
        // pkgcache requires a line after each map.
        out.push_str("end_of_maps: \"true\"\n");
        out
    }

    fn render_dates(&self, out: &mut String, header: &str, date: fn(&VersionRow) -> Option<Day>) {
        let _ = writeln!(out, "{header}");
        for row in &self.versions {
            if let Some(day) = date(row) {
                let _ = writeln!(out, "  \"{}\": \"{}\"", row.version, us_date(day));
            }
        }
    }
}

/// Removes quotes, surrounding blanks, and a comment after ` #`.
fn unquote(value: &str) -> &str {
    let value = value.split_once(" #").map_or(value, |(value, _)| value);
    value.trim().trim_matches(['"', '\''])
}

/// Returns the keys and values of the indented lines after a header line.
fn map_rows<'a>(lines: &'a [&'a str], header: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let start = lines.iter().position(|line| unquote(line) == header).map_or(lines.len(), |index| index + 1);
    let indented_lines =
        lines.iter().skip(start).take_while(|line| line.is_empty() || line.starts_with([' ', '\t']));
    indented_lines.filter_map(|line| line.split_once(": ")).map(|(key, value)| (unquote(key), unquote(value)))
}

/// Parses `10/30/2024`, with or without leading zeros.
fn parse_us_date(text: &str) -> Option<Day> {
    let mut parts = text.split('/').map(|part| part.parse::<u16>().ok());
    let (month, day, year) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() {
        return None;
    }
    format!("{year:04}-{month:02}-{day:02}").parse().ok()
}

fn us_date(day: Day) -> String {
    let text = day.to_string();
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let number = |part: Option<&str>| part.unwrap_or_default().trim_start_matches('0').to_owned();
    format!("{}/{}/{}", number(month), number(day), year.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines as in Bioconductor's own file.
    const EXAMPLE: &str = r#"## The site's own configuration.
output_dir: output
release_version: "3.19"
devel_version: "3.20"
r_version_associated_with_release: "4.4.0"
versions:
  - "3.19"
  - "3.20"
r_ver_for_bioc_ver: # for each version
  "1.6": "2.1"
  "3.17": "4.3"
  "3.18": "4.3" # until May
  "3.19": "4.4"
  "3.20": "4.4"
release_dates:
  "1.6": "05/18/2005"
  "3.18": "10/25/2023"
  "3.19": "5/1/2024"
release_last_built_dates:
  "1.6": '05/19/2005'
  "3.17": '10/24/2023'

mirrors:
  - Germany:
    - institution: "x"
      mirror_url: https://bioc.example.org/
"#;

    fn version(text: &str) -> BioconductorVersion {
        text.parse().expect("a version")
    }

    fn date(text: &str) -> Day {
        text.parse().expect("a day")
    }

    #[test]
    fn the_required_lines_are_read() {
        let config = Config::parse(EXAMPLE.as_bytes()).expect("a config.yaml");
        assert_eq!((config.release, config.devel), (version("3.19"), version("3.20")));
        let rows: Vec<String> =
            config.newest_first().map(|row| format!("{} {}", row.version, row.r)).collect();
        assert_eq!(rows, ["3.20 4.4", "3.19 4.4", "3.18 4.3", "3.17 4.3", "1.6 2.1"]);
        assert_eq!(config.get(version("3.19")).and_then(|row| row.release_day), Some(date("2024-05-01")));
        assert_eq!(config.last_update(version("3.17")), Some(date("2023-10-24")));
        assert_eq!(
            config.last_update(version("3.18")),
            Some(date("2024-05-01")),
            "when the next was released"
        );
        assert_eq!(config.successor_release_day(version("3.17")), Some(date("2023-10-25")));
        assert_eq!(
            (config.last_update(config.release), config.successor_release_day(config.devel)),
            (None, None)
        );
        let names = [VersionName::Exact(version("1.6")), VersionName::Release, VersionName::Devel]
            .map(|n| config.version(n));
        assert_eq!(names, [version("1.6"), version("3.19"), version("3.20")]);
    }

    #[test]
    fn rendered_lines_have_the_form_that_clients_expect() {
        let text = Config::parse(EXAMPLE.as_bytes()).expect("a config.yaml").render();
        let lines: Vec<&str> = text.lines().collect();
        for line in [
            "release_version: \"3.19\"",
            "devel_version: \"3.20\"",
            "r_version_associated_with_release: \"4.4.0\"",
            "r_ver_for_bioc_ver:",
            "  \"3.20\": \"4.4\"",
            "  \"3.19\": \"5/1/2024\"",
        ] {
            assert!(lines.contains(&line), "{line}\n{text}");
        }
        let last = lines.last().expect("a line");
        assert!(!last.starts_with(' '), "a map is followed by a line at column 0");
        assert!(text.is_ascii() && !text.contains('\t'));
    }

    #[test]
    fn a_day_before_a_release_has_the_release_of_that_day() {
        let config = Config::parse(EXAMPLE.as_bytes()).expect("a config.yaml");
        assert_eq!(config.as_of(date("2024-05-01")), config);
        let earlier_config = config.as_of(date("2024-04-30"));
        assert_eq!((earlier_config.release, earlier_config.devel), (version("3.18"), version("3.19")));
        assert_eq!(earlier_config.get(version("3.20")), None, "not known on that day");
        assert_eq!(earlier_config.get(version("3.19")).expect("it was devel").release_day, None);
        assert_eq!(config.as_of(date("2023-10-20")).release, version("1.6"), "no later release has a date");
        assert_eq!(config.as_of(date("2000-01-01")), config, "no date is that early");
    }

    #[test]
    fn a_file_that_clients_could_not_read_is_refused() {
        let reason = |text: &str| Config::parse(text.as_bytes()).expect_err(text).to_string();
        assert!(reason("<!doctype html><title>x</title>").contains("HTML"));
        assert!(reason("\u{feff} <html>").contains("HTML"));
        assert!(reason("").contains("release_version"));
        assert!(
            reason(&EXAMPLE.replace("devel_version: \"3.20\"", "devel_version: soon"))
                .contains("devel_version")
        );
        assert!(reason(&EXAMPLE.replace("r_ver_for_bioc_ver", "r_versions")).contains("r_ver_for_bioc_ver"));
        assert!(
            reason(&EXAMPLE.replace("devel_version: \"3.20\"", "devel_version: \"3.21\"")).contains("3.21")
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_back_unchanged(lines in proptest::collection::vec(
            "(release_version|devel_version|r_ver_for_bioc_ver|release_dates)?: ?\"?[0-9./]{0,8}\"?( #.*)?|  \"[0-9].[0-9]{1,2}\": \"[0-9./]{3,10}\"|[^\n]{0,20}", 0..12,
        )) {
            let text = format!("release_version: \"3.1\"\ndevel_version: \"3.2\"\nr_ver_for_bioc_ver:\n  \"3.1\": \"4.1\"\n  \"3.2\": \"4.2\"\n{}", lines.join("\n"));
            if let Ok(config) = Config::parse(text.as_bytes()) {
                prop_assert_eq!(Config::parse(config.render().as_bytes()), Ok(config));
            }
        }
    }
}
