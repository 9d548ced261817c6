//! Decides which settings of a changed file a running server applies. Pure.
//!
//! A property is applied if it is marked reloadable, is set in the new file or the environment, and has changed. A
//! property that is no longer set keeps its value, as does a property that is not marked.

use super::merged::{Setting, Settings};
use super::table::{Effect, Property, Section};
use super::validate::{self, Environment};
use super::{ConfigError, Loaded};

#[derive(Clone, Debug)]
pub struct Reload {
    /// The running settings with the new values of [`Reload::applied`], and the warnings of the file.
    pub loaded: Loaded,
    /// Properties whose new value applies now.
    pub applied: Vec<PropertyChange>,
    /// Properties that are no longer set: until a restart they keep `from`, then the default `to` applies.
    pub ignored: Vec<PropertyChange>,
    /// Properties that changed in the file and need a restart.
    pub restart: Vec<PropertyChange>,
}

/// A changed property, safe to print: secrets are `***`, URLs lack user and password; values are joined by `, `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyChange {
    /// `CRAN.URL`, `FileStorage.cache.Location`.
    pub property: String,
    /// The previous value, set or default; may be empty.
    pub from: String,
    /// The new value: that of the file, or the default if the file does not set the property; may be empty.
    pub to: String,
}

impl Reload {
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.ignored.is_empty() && self.restart.is_empty()
    }

    /// Returns whether a change of the property is applied. `property` has the form of [`PropertyChange::property`].
    pub fn applies(&self, property: &str) -> bool {
        self.applied.iter().any(|change| change.property == property)
    }
}

/// Compares the running configuration with the file (and the environment).
///
/// # Errors
/// The running and the new settings contradict each other, for example if `HTTPS.Key` is empty while the listener
/// that needs it remains until a restart. Nothing is changed in this case.
pub fn reload(current: &Loaded, file: &Loaded) -> Result<Reload, ConfigError> {
    let mut settings = current.settings.clone();
    let (mut applied, mut ignored, mut restart) = (Vec::new(), Vec::new(), Vec::new());
    for setting in file.settings.iter() {
        let change = change(&current.settings, &file.settings, setting);
        if setting.property.is_reloadable {
            settings.replace(setting.clone());
            applied.extend(change);
        } else if has_effect(setting.property) {
            restart.extend(change);
        }
    }
    for setting in current.settings.iter().filter(|setting| find(&file.settings, setting).is_none()) {
        if has_effect(setting.property) {
            ignored.extend(change(&current.settings, &file.settings, setting));
        }
    }
    let environment = Environment::of(&file.config);
    let mut loaded = validate::from_settings(settings, Vec::new(), Vec::new(), environment)?;
    loaded.warnings.clone_from(&file.warnings);
    Ok(Reload { loaded, applied, ignored, restart })
}

/// Returns whether a property has an effect. A change of a property without effect needs no restart.
fn has_effect(property: &Property) -> bool {
    matches!(property.effect, Effect::Since(_))
}

fn find<'a>(settings: &'a Settings, setting: &Setting) -> Option<&'a Setting> {
    settings.get(setting.section.name, setting.sub.as_deref(), setting.property.name)
}

fn change(current: &Settings, file: &Settings, setting: &Setting) -> Option<PropertyChange> {
    let (section, sub, property) = (setting.section, setting.sub.as_deref(), setting.property);
    let (old_values, new_values) =
        (current.effective_values(section, sub, property), file.effective_values(section, sub, property));
    let text = |values: &[String]| {
        let text: Vec<String> = values.iter().map(|value| printable(property, value)).collect();
        text.join(", ")
    };
    (old_values != new_values).then(|| PropertyChange {
        property: name(section, sub, property),
        from: text(&old_values),
        to: text(&new_values),
    })
}

/// Formats a value for printing; an unset secret is empty, not `***`.
fn printable(property: &Property, value: &str) -> String {
    if value.is_empty() { String::new() } else { property.kind.printable(value) }
}

fn name(section: &Section, sub: Option<&str>, property: &Property) -> String {
    match sub {
        Some(sub) => format!("{}.{sub}.{}", section.name, property.name),
        None => format!("{}.{}", section.name, property.name),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{LogDestination, parse};

    fn loaded(text: &str) -> Loaded {
        parse("f", text.as_bytes(), []).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn reload_texts(running: &str, file: &str) -> Reload {
        reload(&loaded(running), &loaded(file)).expect("no contradiction")
    }

    fn lines(changes: &[PropertyChange]) -> Vec<String> {
        changes.iter().map(|c| format!("{}: {} -> {}", c.property, c.from, c.to)).collect()
    }

    #[test]
    fn a_reloadable_property_that_changed_is_applied() {
        let reload = reload_texts("[CRAN]\nURL = https://a\n", "[CRAN]\nURL = https://b\n");
        assert_eq!(lines(&reload.applied), ["CRAN.URL: https://a -> https://b"]);
        assert_eq!(&*reload.loaded.config.cran.url, "https://b");
        assert!(reload.applies("CRAN.URL") && reload.ignored.is_empty() && reload.restart.is_empty());
    }

    #[test]
    fn a_new_line_is_applied_and_a_line_with_the_default_is_not_a_change() {
        let reload = reload_texts("", "[CRAN]\nSyncSchedule = 1 2 * * *\n[Logging]\nSystemLogLevel = INFO\n");
        assert_eq!(lines(&reload.applied), ["CRAN.SyncSchedule: 0 0 * * * -> 1 2 * * *"]);
    }

    #[test]
    fn a_removed_line_keeps_its_value_and_is_reported() {
        let running = loaded("[CRAN]\nURL = https://a\n[HTTP]\nListen = :80\n");
        let first = reload(&running, &loaded("")).expect("valid");
        assert_eq!(
            lines(&first.ignored),
            ["CRAN.URL: https://a -> https://cloud.r-project.org", "HTTP.Listen: :80 -> :4242"]
        );
        assert!(first.applied.is_empty() && first.restart.is_empty());
        assert_eq!(&*first.loaded.config.cran.url, "https://a");
        // The change is reported again at the next reload, because it still needs a restart.
        let second = reload(&first.loaded, &loaded("")).expect("valid");
        assert_eq!(second.ignored, first.ignored);
    }

    #[test]
    fn a_change_that_is_not_reloadable_is_reported_until_the_restart() {
        let running = loaded("");
        let file = loaded("[Server]\nDataDir = /d\n[FileStorage \"cache\"]\nLocation = /c\n");
        let first = reload(&running, &file).expect("valid");
        let expected = [
            "Server.DataDir: /var/lib/rstudio-pm -> /d",
            "FileStorage.cache.Location: /var/lib/rstudio-pm/cache -> /c",
        ];
        assert_eq!(lines(&first.restart), expected);
        assert_eq!(first.loaded.config.server.data_dir, std::path::Path::new("/var/lib/rstudio-pm"));
        assert_eq!(lines(&reload(&first.loaded, &file).expect("valid").restart), expected);
    }

    #[test]
    fn properties_without_effect_need_no_restart() {
        assert!(reload_texts("", "[Repos]\nCRAN = cran\n").is_empty());
        assert!(reload_texts("[Repos]\nCRAN = cran\n", "").is_empty());
    }

    #[test]
    fn a_change_of_a_secret_is_reported_without_the_secret() {
        let reload = reload_texts(
            "[CRAN]\nURL = https://u:hunter2@h\n[Proxy]\nPassword = hunter2\n",
            "[CRAN]\nURL = https://u:hunter3@h\n[Proxy]\nPassword = hunter3\n[Postgres]\nPassword = hunter3\n",
        );
        assert_eq!(
            lines(&reload.applied),
            ["CRAN.URL: https://***@h -> https://***@h", "Proxy.Password: *** -> ***"]
        );
        assert_eq!(lines(&reload.restart), ["Postgres.Password:  -> ***"]);
        assert!(!format!("{reload:?}").contains("hunter"));
    }

    #[test]
    fn several_values_are_one_change() {
        let reload = reload_texts("", "[Logging]\nSystemLog = STDERR\nSystemLog = /a.log\n");
        assert_eq!(
            lines(&reload.applied),
            ["Logging.SystemLog: STDOUT, /var/log/rstudio/rstudio-pm/rstudio-pm.log -> STDERR, /a.log"]
        );
        let system_log = &reload.loaded.config.logging.system_log;
        assert_eq!(system_log, &[LogDestination::Stderr, LogDestination::File("/a.log".into())]);
    }

    #[test]
    fn inconsistent_values_change_nothing() {
        let running = loaded("[HTTPS]\nListen = :443\nCertificate = /c\nKey = /k\n");
        let error = reload(&running, &loaded("[HTTPS]\nKey =\n")).expect_err("the listener needs its key");
        assert!(error.to_string().contains("[HTTPS] Key"), "{error}");
    }

    #[test]
    fn an_empty_value_is_not_a_removed_line() {
        let reload = reload_texts("[Server]\nAddress = https://h\n", "[Server]\nAddress =\n");
        assert_eq!(lines(&reload.applied), ["Server.Address: https://h -> "]);
        assert_eq!(reload.loaded.config.server.address, None);
    }

    #[test]
    fn an_empty_scope_withdraws_the_permissions_of_a_group_and_of_an_issuer() {
        const PERMITTED: &str = "[Server]\nAddress = https://h\n[OpenIDConnect]\nIssuer = https://i\nClientId = c\n\
            Scope = repos:read:*\n[GroupToScopeMapping \"a\"]\nScope = global:admin\n\
            [IdentityFederation \"b\"]\nIssuer = https://i\nAudience = x\nSubject = y\nScope = global:admin\n";
        let count = |text: &str| {
            let config = reload_texts(PERMITTED, text).loaded.config;
            let groups = &config.open_id_connect.as_ref().expect("configured").groups;
            let federations = &config.federations;
            groups.iter().map(|group| group.scopes.len()).sum::<usize>()
                + federations.iter().map(|section| section.scopes.len()).sum::<usize>()
        };
        assert_eq!(count(PERMITTED), 2);
        assert_eq!(count(&PERMITTED.replace("Scope = global:admin\n", "")), 2, "removed lines");
        assert_eq!(count(&PERMITTED.replace("Scope = global:admin\n", "Scope =\n")), 0);
    }

    #[test]
    fn warnings_are_those_of_the_file() {
        let reload = reload_texts("[Sever]\n", "[CRNA]\n");
        assert_eq!(reload.loaded.warnings.len(), 1);
        assert!(reload.loaded.warnings[0].to_string().contains("[CRNA]"));
    }

    /// Lines that are valid in any selection.
    const LINES: [&str; 16] = [
        "[CRAN]\nURL = https://a\n",
        "[CRAN]\nURL = file:///b\n",
        "[CRAN]\nSyncSchedule = 5 4 * * 0\n",
        "[Proxy]\nURL = p:3128\n",
        "[Proxy]\nPassword = w\n",
        "[Logging]\nSystemLogLevel = debug\n",
        "[Logging]\nSystemLog = STDERR\n",
        "[Logging]\nSystemLog = /a.log\n",
        "[Server]\nAddress = https://h/rspm\n",
        "[Server]\nDataDir = /d\n",
        "[Server]\nPackageRewriteCompressionLevel = 1\n",
        "[HTTP]\nListen = :80\n",
        "[HTTPS]\nPermanent = yes\n",
        "[FileStorage \"cache\"]\nLocation = /c\n",
        "[S3Storage]\nBucket = b\n",
        "[Repos]\nCRAN = cran\n",
    ];

    /// Returns a strategy for files: any selection of some lines.
    fn files() -> impl Strategy<Value = String> {
        proptest::sample::subsequence(LINES.to_vec(), 0..LINES.len()).prop_map(|lines| lines.concat())
    }

    proptest! {
        #[test]
        fn an_unchanged_file_is_not_a_change(text in files()) {
            let reload = reload_texts(&text, &text);
            prop_assert!(reload.is_empty(), "{reload:?}");
        }

        #[test]
        fn a_second_reload_applies_nothing(running in files(), file in files()) {
            let first = reload_texts(&running, &file);
            let second = reload(&first.loaded, &loaded(&file)).expect("valid");
            prop_assert!(second.applied.is_empty(), "{second:?}");
            prop_assert_eq!(second.ignored, first.ignored);
            prop_assert_eq!(second.restart, first.restart);
            prop_assert_eq!(format!("{:?}", second.loaded.config), format!("{:?}", first.loaded.config));
        }

        #[test]
        fn removed_lines_keep_their_values(running in files()) {
            let changes = reload_texts(&running, "");
            prop_assert!(changes.applied.is_empty() && changes.restart.is_empty());
            prop_assert_eq!(format!("{:?}", changes.loaded.config), format!("{:?}", loaded(&running).config));
        }

        #[test]
        fn only_properties_marked_in_the_table_are_applied(running in files(), file in files()) {
            for change in reload_texts(&running, &file).applied {
                let (section, property) = change.property.split_once('.').expect("has a section");
                let row = crate::config::lookup::section(section).and_then(|s| s.property(property));
                prop_assert!(row.is_some_and(|row| row.is_reloadable), "{change:?}");
            }
        }
    }
}
