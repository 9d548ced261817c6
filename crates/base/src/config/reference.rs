//! Generates the reference in `docs/admin/configuration.md`: one table per section.

use std::fmt::Write;

use super::address::UrlPurpose;
use super::rows::SECTIONS;
use super::table::{Effect, Kind, Property, Subsection};

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
            | UrlPurpose::Web,
        ) => "URL".to_owned(),
        Kind::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Kind::LogDestination => "`STDOUT`, `STDERR` or path".to_owned(),
    }
}
