//! Finds the rules whose patterns match a text, and the packages they require on a system.

use std::collections::BTreeMap;

use regex::bytes::{RegexSet, RegexSetBuilder};

use super::base::{Action, BadBase, Base, Block, Constraint};
use super::system::System;

/// Largest number of patterns, and largest length of a pattern in bytes: far above real ones, far below harmful ones.
const PATTERNS: usize = 20_000;
const LONGEST: usize = 2_000;
/// Largest size of the compiled patterns in bytes.
const COMPILED: usize = 32 << 20;

/// A compiled rule base.
#[derive(Clone, Debug)]
pub struct Rules {
    base: Base,
    names: Vec<String>,
    set: RegexSet,
    /// The rule of each pattern, as an index into `names`.
    rule_of: Vec<usize>,
    left_out: Vec<String>,
}

/// A rule that applies, and its requirements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need<'a> {
    /// The rule.
    pub rule: &'a str,
    /// Packages of the operating system.
    pub packages: &'a [String],
    /// Actions before the installation.
    pub pre_install: &'a [Action],
    /// Actions after the installation.
    pub post_install: &'a [Action],
}

impl Rules {
    /// Compiles the patterns. Those that are not valid for this regex engine are left out and listed in
    /// [`Rules::left_out`].
    ///
    /// # Errors
    /// Too many patterns, or no valid one.
    pub fn new(base: Base) -> Result<Rules, BadBase> {
        let names: Vec<String> = base.rules.keys().cloned().collect();
        let all = base.rules.values().enumerate();
        let all: Vec<(usize, &str)> =
            all.flat_map(|(rule, one)| one.patterns.iter().map(move |p| (rule, p.as_str()))).collect();
        if all.len() > PATTERNS {
            return Err(BadBase::new("rules/", format!("there are more than {PATTERNS} patterns")));
        }
        let mut left_out = Vec::new();
        let mut used = all.clone();
        let set = match compile(&used) {
            Ok(set) => set,
            // Compiles them one by one to find the invalid ones.
            Err(_) => {
                used.retain(|&(rule, pattern)| match compile(&[(rule, pattern)]) {
                    Ok(_) => true,
                    Err(reason) => {
                        left_out.push(format!("rule {}: {reason}", names[rule]));
                        false
                    }
                });
                compile(&used).map_err(|reason| BadBase::new("rules/", reason))?
            }
        };
        if used.is_empty() {
            return Err(BadBase::new("rules/", "no pattern is valid"));
        }
        let rule_of = used.into_iter().map(|(rule, _)| rule).collect();
        Ok(Rules { base, names, set, rule_of, left_out })
    }

    /// The rule base that was compiled.
    #[must_use]
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// The number of rules.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Always false: [`Rules::new`] requires a rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The invalid patterns, each with its rule and the reason.
    #[must_use]
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The names of the rules that match a text, in order, for any system.
    pub fn fired(&self, text: &str) -> impl Iterator<Item = &str> {
        self.matching(text).into_iter().map(|place| self.names[place].as_str())
    }

    /// The requirements of a `SystemRequirements` text on a system, by rule.
    #[must_use]
    pub fn needs(&self, text: &str, system: &System) -> Vec<Need<'_>> {
        let need = |place: usize| {
            let name = self.names[place].as_str();
            let block = self.base.rules.get(name)?.dependencies.iter().find(|block| is_for(block, system))?;
            Some(Need {
                rule: name,
                packages: &block.packages,
                pre_install: &block.pre_install,
                post_install: &block.post_install,
            })
        };
        self.matching(text).into_iter().filter_map(need).collect()
    }

    /// Returns the system to look up in the rules. If they have only minor versions of its release (`15.5` and `15.6`,
    /// not `15`), this is the newest of those.
    #[must_use]
    pub fn settle(&self, system: &System) -> System {
        let rows = || {
            let of = |row: &&super::base::Systems| row.distribution.as_deref() == Some(&system.distribution);
            self.base.systems.iter().filter(of).flat_map(|row| &row.versions)
        };
        if rows().any(|version| *version == system.release) {
            return system.clone();
        }
        let part = |version: &&String| {
            let rest = version.strip_prefix(system.release.as_str())?.strip_prefix('.')?;
            rest.parse::<u32>().ok()
        };
        let newest = rows().filter_map(|version| part(&version).map(|n| (n, version))).max();
        match newest {
            Some((_, version)) => System::new(&system.distribution, version),
            None => system.clone(),
        }
    }

    /// The distinct indexes of the rules that match a text, in order.
    fn matching(&self, text: &str) -> Vec<usize> {
        let line = text.replace(['\n', '\r'], " ");
        let places: BTreeMap<usize, ()> =
            self.set.matches(line.as_bytes()).iter().map(|pattern| (self.rule_of[pattern], ())).collect();
        places.into_keys().collect()
    }
}

/// SECURITY: this engine takes time linear in the text for any pattern; both are untrusted.
fn compile(patterns: &[(usize, &str)]) -> Result<RegexSet, String> {
    if let Some((_, long)) = patterns.iter().find(|(_, pattern)| pattern.len() > LONGEST) {
        return Err(format!("a pattern of {} bytes is too long", long.len()));
    }
    // Letters and word boundaries are those of ASCII, as the authors of the rules assume.
    let built = RegexSetBuilder::new(patterns.iter().map(|(_, pattern)| pattern))
        .case_insensitive(true)
        .unicode(false)
        .size_limit(COMPILED)
        .build();
    built.map_err(|error| error.to_string())
}

fn is_for(block: &Block, system: &System) -> bool {
    block.constraints.iter().any(|constraint| fits(constraint, system))
}

fn fits(constraint: &Constraint, system: &System) -> bool {
    constraint.os == "linux"
        && constraint.distribution.as_ref().is_none_or(|name| *name == system.distribution)
        && constraint.versions.as_ref().is_none_or(|versions| versions.contains(&system.release))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Rules {
        let systems = r#"[{"os":"linux","distribution":"ubuntu","versions":["16.04","22.04"]},
            {"os":"linux","distribution":"opensuse","versions":["15.6","15.10","15.5"]},{"os":"windows"}]"#;
        let base = Base::from_document(format!("{{\"rules\":{{{text}}},\"systems\":{systems}}}").as_bytes());
        Rules::new(base.expect("a base")).expect("rules")
    }

    fn gdal() -> Rules {
        rules(
            r#""gdal":{"patterns":["\\bgdal\\b","\\blibgdal\\b"],"dependencies":[
                {"packages":["old"],"pre_install":[{"command":"add"}],
                 "constraints":[{"os":"linux","distribution":"ubuntu","versions":["16.04"]}]},
                {"packages":["libgdal-dev","gdal-bin"],"constraints":[{"os":"linux","distribution":"ubuntu"}]},
                {"packages":["mingw"],"constraints":[{"os":"windows"}]}]},
               "Zlib":{"patterns":["zlib"],"dependencies":[
                {"packages":["z"],"constraints":[{"os":"linux"}]}]}"#,
        )
    }

    fn told(rules: &Rules, text: &str, distribution: &str, release: &str) -> String {
        let needs = rules.needs(text, &System::new(distribution, release));
        let needs: Vec<String> =
            needs.iter().map(|need| format!("{}: {}", need.rule, need.packages.join(" "))).collect();
        needs.join("; ")
    }

    #[test]
    fn the_first_block_for_a_system_counts_and_rules_come_by_name() {
        let rules = gdal();
        assert_eq!(
            told(&rules, "GDAL (>= 2.0.1) and zlib", "ubuntu", "22.04"),
            "Zlib: z; gdal: libgdal-dev gdal-bin"
        );
        assert_eq!(told(&rules, "libGDAL", "ubuntu", "16.04"), "gdal: old");
        assert_eq!(rules.needs("gdal", &System::new("ubuntu", "16.04"))[0].pre_install.len(), 1);
        assert_eq!(told(&rules, "gdal and zlib", "alpine", "3.20"), "Zlib: z");
        assert_eq!(told(&rules, "libgdal2, xgdal", "ubuntu", "22.04"), "", "words, not parts of words");
        assert_eq!(rules.fired("gdal\nlibgdal ZLIB").collect::<Vec<_>>(), ["Zlib", "gdal"], "each once");
    }

    #[test]
    fn a_line_break_is_a_blank() {
        let rules = rules(r#""make":{"patterns":["gnu make"],"dependencies":[]}"#);
        assert_eq!(rules.fired("needs GNU\nmake").count(), 1);
    }

    #[test]
    fn a_pattern_of_another_engine_is_left_out_and_told() {
        let rules = rules(
            r#""a":{"patterns":["(?<!x)a","plain"],"dependencies":[]},"b":{"patterns":["b("],"dependencies":[]}"#,
        );
        assert_eq!(rules.fired("plain a b(").collect::<Vec<_>>(), ["a"]);
        assert_eq!(rules.left_out().len(), 2);
        assert!(rules.left_out()[1].starts_with("rule b: "), "{:?}", rules.left_out());
    }

    #[test]
    fn a_release_without_parts_is_the_newest_of_its_parts() {
        let rules = gdal();
        let settled = |release| rules.settle(&System::new("opensuse", release)).release;
        assert_eq!(
            (settled("15").as_str(), settled("15.5").as_str(), settled("42").as_str()),
            ("15.10", "15.5", "42")
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_matched_without_panic(text in "\\PC{0,200}") {
            let _ = gdal().needs(&text, &System::new("ubuntu", "22.04"));
        }
    }
}
