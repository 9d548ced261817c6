//! The types of the table of sections and properties. Its rows are in [`super::rows`], the lookup by name is in
//! [`super::lookup`].
//!
//! The table defines the defaults, `rstudio-pm.gcfg.defaults`, the reference page, the list of reloadable properties
//! and the check for unknown names.

use super::address::{self, UrlPurpose};
use super::backup_place::BackupPlace;
use super::problem::{did_you_mean, nearest};
use super::witness::Witness;
use super::{binaries, value};
use crate::model::kind::StorageClass;

#[derive(Debug)]
pub struct Section {
    /// The name as documented; matched case-insensitively.
    pub name: &'static str,
    /// Whether its header has a subsection name.
    pub sub: Subsection,
    pub sentence: &'static str,
    pub properties: &'static [Property],
}

/// The kind of subsection name (the quoted part of a section header) that a section accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subsection {
    Never,
    Class,
    /// A storage class, or none for the settings of all classes.
    ClassOrNone,
    /// A name that the administrator chooses.
    Free,
}

/// One property: a row of the table.
#[derive(Debug)]
pub struct Property {
    /// The name as documented; matched case-insensitively.
    pub name: &'static str,
    pub kind: Kind,
    /// The default as written in a file; empty if unset. It may begin with `{Section.Property}`, `{TMPDIR}` or contain
    /// `{class}`; several values of a multi property are separated by `, `.
    pub default: &'static str,
    /// Whether a repeated property adds a value instead of replacing the previous one.
    pub is_multi: bool,
    /// Whether a reload applies a changed value.
    pub is_reloadable: bool,
    pub effect: Effect,
    pub sentence: &'static str,
}

/// Whether a property has an effect in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The property has an effect since this version of the server.
    Since(&'static str),
    /// The property is parsed and checked, but not supported in this version.
    NotYet,
    /// The property is accepted for compatibility with older versions and will never have an effect.
    Obsolete,
}

/// The type of a property's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// true, yes, on, 1; false, no, off, 0.
    Boolean,
    /// A whole number between two bounds.
    Integer(i64, i64),
    /// `3.14`, `7.`, `.217`.
    Decimal,
    Text,
    /// Any text, or one that `rspm encrypt` encrypted; never printed.
    Secret,
    Path,
    /// An absolute path, or `s3://bucket/prefix`.
    BackupPlace,
    /// `NAME KEY URL` of a witness of the log.
    Witness,
    /// `1m15s`, `30d`; a bare number is nanoseconds.
    Duration,
    /// `32KB`, between two bounds in bytes.
    Size(u64, u64),
    /// Five cron fields, UTC.
    Schedule,
    /// `:port` or `host:port`.
    Listen,
    /// An IP address or network: `10.0.0.0/8`.
    Network,
    /// A host, or a host with a port: `files.example.org:8080`.
    Host,
    Url(UrlPurpose),
    /// One of these words, ignoring case.
    Choice(&'static [&'static str]),
    /// `STDOUT`, `STDERR` or an absolute path.
    LogDestination,
}

impl Kind {
    pub fn may_be_encrypted(self) -> bool {
        matches!(self, Kind::Secret | Kind::Url(UrlPurpose::Postgres))
    }

    /// Checks that `text` is of this type; the error is a clause that follows the value.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        match self {
            Kind::Boolean => value::boolean(text).map(drop),
            Kind::Integer(min, max) => value::integer(text, min, max).map(drop),
            Kind::Decimal => value::decimal(text).map(drop),
            Kind::Text | Kind::Secret => Ok(()),
            Kind::Path => value::path(text).map(drop),
            Kind::BackupPlace => text.parse::<BackupPlace>().map(drop),
            Kind::Witness => Witness::parse(text).map(drop),
            Kind::Duration => value::duration(text).map(drop),
            Kind::Size(min, max) => value::size(text, min, max).map(drop),
            Kind::Schedule => value::cron(text).map(drop),
            Kind::Listen => value::listen(text).map(drop),
            Kind::Network => value::network(text).map(drop),
            Kind::Host => value::host(text).map(drop),
            Kind::Url(UrlPurpose::Binaries) => binaries::parse(text).map(drop),
            Kind::Url(purpose) => address::url(text, purpose).map(drop),
            Kind::Choice(words) => value::choice(text, words).map(drop),
            Kind::LogDestination => value::log_destination(text).map(drop),
        }
    }

    /// Returns a value in a form that is safe to print.
    pub fn printable(self, text: &str) -> String {
        match self {
            Kind::Secret | Kind::Url(UrlPurpose::Postgres) => "***".to_owned(),
            Kind::Url(_) | Kind::Witness => address::without_userinfo(text),
            Kind::Boolean
            | Kind::Integer(..)
            | Kind::Decimal
            | Kind::Text
            | Kind::Path
            | Kind::BackupPlace
            | Kind::Duration
            | Kind::Size(..)
            | Kind::Schedule
            | Kind::Listen
            | Kind::Network
            | Kind::Host
            | Kind::Choice(_)
            | Kind::LogDestination => text.to_owned(),
        }
    }
}

impl Section {
    /// Returns the property named `name`, ignoring case.
    pub fn property(&self, name: &str) -> Option<&'static Property> {
        self.properties.iter().find(|property| property.name.eq_ignore_ascii_case(name))
    }

    /// Returns the subsection name in its canonical spelling, or the reason why it is invalid.
    pub(super) fn subsection(&self, sub: Option<&str>) -> Result<Option<String>, String> {
        let class = |name: &str| {
            let classes = StorageClass::WORDS;
            match classes.iter().find(|class| class.eq_ignore_ascii_case(name)) {
                Some(class) => Ok(Some((*class).to_owned())),
                None => {
                    let suggestion = nearest(name, classes.into_iter());
                    let hint = suggestion
                        .map_or_else(|| format!("the classes are {}", classes.join(", ")), did_you_mean);
                    Err(format!("unknown storage class {name:?}; {hint}"))
                }
            }
        };
        match (self.sub, sub) {
            (Subsection::Never | Subsection::ClassOrNone, None) => Ok(None),
            (Subsection::Never, Some(_)) => {
                Err(format!("accepts no subsection name; write `[{}]`", self.name))
            }
            (Subsection::Class, None) => {
                Err(format!("needs a storage class; write `[{} \"packages\"]`", self.name))
            }
            (Subsection::Class | Subsection::ClassOrNone, Some(name)) => class(name),
            (Subsection::Free, None) => Err(format!("needs a name; write `[{} \"name\"]`", self.name)),
            (Subsection::Free, Some(name)) => Ok(Some(name.to_owned())),
        }
    }
}
