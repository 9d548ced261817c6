//! The text of `rstudio-pm.gcfg.defaults`: every property with its default, commented out.

use std::fmt::Write;

use super::lookup::plain_default;
use super::rows::SECTIONS;
use super::table::{Effect, Section, Subsection};
use crate::model::storage_class::StorageClass;

/// Returns the text of the file. Comments begin with `; `, properties with `;` alone, so that a program can uncomment
/// them.
pub fn text() -> String {
    let mut out = String::from(
        "; Every section and property of rstudio-pm.gcfg with its default.\n\
         ; This file is not read: copy the lines that you change to /etc/rstudio-pm/rstudio-pm.gcfg.\n",
    );
    for section in SECTIONS {
        let classes = StorageClass::ALL.map(StorageClass::as_str);
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
        assert_eq!(config(&text()), config(""));
        assert_eq!(parse("f", text().as_bytes(), []).expect("valid").warnings, []);
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
        let text: Vec<String> = text().lines().map(line).collect();
        assert!(setting_count > 50, "{setting_count}");
        assert_eq!(config(&text.join("\n")), config(""));
    }

    #[test]
    fn each_property_occurs_once_or_once_for_each_class() {
        let text = text();
        for section in SECTIONS {
            assert!(text.contains(&format!("\n[{}", section.name)), "{}", section.name);
        }
        assert_eq!(text.matches("\n;Location = /var/lib/rstudio-pm/").count(), 9);
    }
}
