//! Texts that are generated from the table of properties: the reference in `docs/admin/configuration.md`, one table per
//! section, and `rstudio-pm.gcfg.defaults`, with every property and its default, commented out.

use std::fmt::Write;

use super::address::UrlPurpose;
use super::lookup::plain_default;
use super::rows::SECTIONS;
use super::table::{Effect, Kind, Property, Section, Subsection};
use crate::model::kind::StorageClass;

/// Returns the reference in Markdown: the sections, then the list of reloadable properties.
pub fn text() -> String {
    let mut out = String::new();
    let mut reloadable = Vec::new();
    for section in SECTIONS {
        let sub = match section.sub {
            Subsection::Never => "",
            Subsection::Class => " \"class\"",
            Subsection::ClassOrNone => " [\"class\"]",
            Subsection::Free => " \"name\"",
        };
        let _ = write!(out, "### `[{}{sub}]`\n\n{}\n\n", section.name, section.sentence);
        out.push_str(
            "| property | type | default | reload | effect | meaning |\n|---|---|---|---|---|---|\n",
        );
        for property in section.properties {
            row(&mut out, property);
            if property.is_reloadable {
                reloadable.push(format!("`{}.{}`", section.name, property.name));
            }
        }
        out.push('\n');
    }
    let _ = write!(out, "### Properties that a reload applies\n\n{}\n", reloadable.join(", "));
    out
}

fn row(out: &mut String, property: &Property) {
    let default = match property.default {
        "" => "unset".to_owned(),
        "{TMPDIR}" => "`$TMPDIR` or `/tmp`".to_owned(),
        text => text
            .split(", ")
            .map(|value| format!("`{}`", placeholder_form(value)))
            .collect::<Vec<_>>()
            .join(" and "),
    };
    let effect = match property.effect {
        Effect::Since(version) => format!("since {version}"),
        Effect::NotYet => "none yet".to_owned(),
        Effect::Obsolete => "none (obsolete)".to_owned(),
    };
    let repeatable = if property.is_multi { ", repeatable" } else { "" };
    let reload = if property.is_reloadable { "yes" } else { "restart" };
    let _ = writeln!(
        out,
        "| `{}` | {}{repeatable} | {default} | {reload} | {effect} | {} |",
        property.name,
        kind(property.kind),
        property.sentence.replace('|', "\\|"),
    );
}

/// Formats `{Server.DataDir}/db` as `<Server.DataDir>/db`.
fn placeholder_form(default: &str) -> String {
    default.replace('{', "<").replace('}', ">")
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Boolean => "boolean".to_owned(),
        Kind::Integer(min, i64::MAX) => format!("integer from {min}"),
        Kind::Integer(min, max) => format!("integer {min} to {max}"),
        Kind::Decimal => "decimal".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Secret => "secret".to_owned(),
        Kind::Path => "absolute path".to_owned(),
        Kind::BackupPlace => "absolute path or `s3://bucket/prefix`".to_owned(),
        Kind::Witness => "name, key, URL".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::Size(..) => "size".to_owned(),
        Kind::Schedule => "schedule".to_owned(),
        Kind::Listen => "address".to_owned(),
        Kind::Network => "IP address or network".to_owned(),
        Kind::Host => "host or host:port".to_owned(),
        Kind::Url(UrlPurpose::Proxy) => "`host:port` or URL".to_owned(),
        Kind::Url(
            UrlPurpose::Server
            | UrlPurpose::Mirror
            | UrlPurpose::Binaries
            | UrlPurpose::S3
            | UrlPurpose::Postgres
            | UrlPurpose::Web
            | UrlPurpose::Witness,
        ) => "URL".to_owned(),
        Kind::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Kind::LogDestination => "`STDOUT`, `STDERR` or path".to_owned(),
    }
}

/// Returns `rstudio-pm.gcfg.defaults`. Comments begin with `; `, properties, for programs to uncomment, with `;`.
pub fn defaults_text() -> String {
    let mut out = String::from(
        "; Every section and property of rstudio-pm.gcfg with its default.\n\
         ; This file is not read: copy the lines that you change to /etc/rstudio-pm/rstudio-pm.gcfg.\n",
    );
    for section in SECTIONS {
        let classes = StorageClass::WORDS;
        match section.sub {
            Subsection::Never | Subsection::ClassOrNone => write_section(&mut out, section, None),
            Subsection::Class => {
                classes.iter().for_each(|class| write_section(&mut out, section, Some(class)))
            }
            Subsection::Free => write_section(&mut out, section, Some("name")),
        }
    }
    out
}

fn write_section(out: &mut String, section: &Section, sub: Option<&str>) {
    let heading = super::merged::heading(section.name, sub);
    let _ = write!(out, "\n; {}\n{heading}\n", section.sentence);
    for property in section.properties {
        let effect = match property.effect {
            Effect::Since(_) => "",
            Effect::NotYet => " (No effect yet.)",
            Effect::Obsolete => " (No effect.)",
        };
        let _ = writeln!(out, "; {}{effect}", property.sentence);
        let default = plain_default(property, sub.unwrap_or_default());
        for value in default.split(", ") {
            let space = if value.is_empty() { "" } else { " " };
            let _ = writeln!(out, ";{} ={space}{value}", property.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ProblemCategory, parse};

    fn config(text: &str) -> String {
        let loaded = parse("rstudio-pm.gcfg.defaults", text.as_bytes(), []).expect("valid");
        let unexpected = loaded.warnings.iter().find(|warning| warning.category != ProblemCategory::Effect);
        assert_eq!(unexpected, None);
        format!("{:#?}", loaded.config)
    }

    #[test]
    fn the_file_with_all_lines_commented_out_has_the_defaults() {
        assert_eq!(config(&defaults_text()), config(""));
        assert_eq!(parse("f", defaults_text().as_bytes(), []).expect("valid").warnings, []);
    }

    #[test]
    fn the_file_with_the_default_lines_uncommented_has_the_defaults() {
        let mut setting_count = 0;
        let line = |line: &str| match line.strip_prefix(';').filter(|rest| !rest.starts_with(' ')) {
            Some(setting) if !setting.ends_with('=') => {
                setting_count += 1;
                setting.to_owned()
            }
            _ => line.to_owned(),
        };
        let text: Vec<String> = defaults_text().lines().map(line).collect();
        assert!(setting_count > 50, "{setting_count}");
        assert_eq!(config(&text.join("\n")), config(""));
    }

    #[test]
    fn each_property_occurs_once_or_once_for_each_class() {
        let text = defaults_text();
        for section in SECTIONS {
            assert!(text.contains(&format!("\n[{}", section.name)), "{}", section.name);
        }
        assert_eq!(text.matches("\n;Location = /var/lib/rstudio-pm/").count(), 9);
    }
}
