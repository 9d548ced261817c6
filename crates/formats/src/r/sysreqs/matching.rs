//! Finds the rules whose patterns match a text, and the packages they require on a system.

use std::collections::BTreeMap;

use regex::bytes::{RegexSet, RegexSetBuilder};

use super::system::OsRelease;
use super::{Action, BadRuleBase, Block, RuleBase, SystemConstraint};

/// Maximum number of patterns; real rule bases have far fewer.
const MAX_PATTERNS: usize = 20_000;
/// Maximum length of a pattern in bytes; real patterns are far shorter.
const MAX_PATTERN_LEN: usize = 2_000;
/// Maximum size of the compiled patterns in bytes.
const MAX_COMPILED_SIZE: usize = 32 << 20;

#[derive(Clone, Debug)]
pub struct Rules {
    base: RuleBase,
    names: Vec<String>,
    set: RegexSet,
    /// The rule of each pattern, as an index into `names`.
    pattern_rules: Vec<usize>,
    invalid_patterns: Vec<String>,
}

/// A rule that applies, and its requirements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchedRule<'a> {
    pub rule: &'a str,
    /// Packages of the operating system.
    pub packages: &'a [String],
    pub pre_install: &'a [Action],
    pub post_install: &'a [Action],
}

impl Rules {
    /// Compiles the patterns; invalid ones for this regex engine are skipped: see [`Rules::invalid_patterns`].
    ///
    /// # Errors
    /// Too many patterns, or no valid one.
    pub fn new(base: RuleBase) -> Result<Rules, BadRuleBase> {
        let names: Vec<String> = base.rules.keys().cloned().collect();
        let rules = base.rules.values().enumerate();
        let patterns: Vec<(usize, &str)> =
            rules.flat_map(|(index, rule)| rule.patterns.iter().map(move |p| (index, p.as_str()))).collect();
        if patterns.len() > MAX_PATTERNS {
            return Err(BadRuleBase::new("rules/", format!("there are more than {MAX_PATTERNS} patterns")));
        }
        let mut invalid_patterns = Vec::new();
        let mut valid_patterns = patterns.clone();
        let set = match compile(&valid_patterns) {
            Ok(set) => set,
            // Compiles the patterns one by one to find the invalid ones.
            Err(_) => {
                valid_patterns.retain(|&(rule, pattern)| match compile(&[(rule, pattern)]) {
                    Ok(_) => true,
                    Err(reason) => {
                        invalid_patterns.push(format!("rule {}: {reason}", names[rule]));
                        false
                    }
                });
                compile(&valid_patterns).map_err(|reason| BadRuleBase::new("rules/", reason))?
            }
        };
        if valid_patterns.is_empty() {
            return Err(BadRuleBase::new("rules/", "no pattern is valid"));
        }
        let pattern_rules = valid_patterns.into_iter().map(|(rule, _)| rule).collect();
        Ok(Rules { base, names, set, pattern_rules, invalid_patterns })
    }

    pub fn base(&self) -> &RuleBase {
        &self.base
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Always returns false, because [`Rules::new`] requires a rule.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns the invalid patterns, each with its rule and the reason.
    pub fn invalid_patterns(&self) -> &[String] {
        &self.invalid_patterns
    }

    /// Returns the names of the rules that match a text, in order, for any system.
    pub fn matching_rules(&self, text: &str) -> impl Iterator<Item = &str> {
        self.matching_indexes(text).into_iter().map(|index| self.names[index].as_str())
    }

    /// Returns the requirements of a `SystemRequirements` text on a system, by rule.
    pub fn requirements(&self, text: &str, system: &OsRelease) -> Vec<MatchedRule<'_>> {
        let matched_rule = |index: usize| {
            let name = self.names[index].as_str();
            let block =
                self.base.rules.get(name)?.dependencies.iter().find(|block| applies_to(block, system))?;
            Some(MatchedRule {
                rule: name,
                packages: &block.packages,
                pre_install: &block.pre_install,
                post_install: &block.post_install,
            })
        };
        self.matching_indexes(text).into_iter().filter_map(matched_rule).collect()
    }

    /// Returns the system to look up in the rules. If the rules have only minor releases of a release (`15.6` for
    /// `15`), this is the newest of them; otherwise the system itself.
    pub fn resolve_system(&self, system: &OsRelease) -> OsRelease {
        let rows = || {
            let is_of_distribution =
                |row: &&super::SystemRow| row.distribution.as_deref() == Some(&system.distribution);
            self.base.systems.iter().filter(is_of_distribution).flat_map(|row| &row.versions)
        };
        if rows().any(|version| *version == system.release) {
            return system.clone();
        }
        let minor_number = |version: &&String| {
            let rest = version.strip_prefix(system.release.as_str())?.strip_prefix('.')?;
            rest.parse::<u32>().ok()
        };
        let newest_version = rows().filter_map(|version| minor_number(&version).map(|n| (n, version))).max();
        match newest_version {
            Some((_, version)) => OsRelease::new(&system.distribution, version),
            None => system.clone(),
        }
    }

    /// Returns the distinct indexes of the rules that match a text, in order.
    fn matching_indexes(&self, text: &str) -> Vec<usize> {
        let line = text.replace(['\n', '\r'], " ");
        let matches = self.set.matches(line.as_bytes());
        let indexes: BTreeMap<usize, ()> =
            matches.iter().map(|pattern| (self.pattern_rules[pattern], ())).collect();
        indexes.into_keys().collect()
    }
}

/// Compiles patterns, each with its rule.
///
/// SECURITY: patterns and texts are untrusted. This engine takes linear time in the length of the text for any pattern.
fn compile(patterns: &[(usize, &str)]) -> Result<RegexSet, String> {
    if let Some((_, pattern)) = patterns.iter().find(|(_, pattern)| pattern.len() > MAX_PATTERN_LEN) {
        return Err(format!("a pattern of {} bytes is too long", pattern.len()));
    }
    // Letters and word boundaries are ASCII only, as the authors of the rules assume.
    let set = RegexSetBuilder::new(patterns.iter().map(|(_, pattern)| pattern))
        .case_insensitive(true)
        .unicode(false)
        .size_limit(MAX_COMPILED_SIZE)
        .build();
    set.map_err(|error| error.to_string())
}

fn applies_to(block: &Block, system: &OsRelease) -> bool {
    block.constraints.iter().any(|constraint| matches_system(constraint, system))
}

fn matches_system(constraint: &SystemConstraint, system: &OsRelease) -> bool {
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
        let base =
            RuleBase::from_document(format!("{{\"rules\":{{{text}}},\"systems\":{systems}}}").as_bytes());
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

    fn requirements_text(rules: &Rules, text: &str, distribution: &str, release: &str) -> String {
        let requirements = rules.requirements(text, &OsRelease::new(distribution, release));
        let line = |rule: &MatchedRule<'_>| format!("{}: {}", rule.rule, rule.packages.join(" "));
        requirements.iter().map(line).collect::<Vec<String>>().join("; ")
    }

    #[test]
    fn the_first_block_for_a_system_is_used_and_rules_are_sorted_by_name() {
        let rules = gdal();
        assert_eq!(
            requirements_text(&rules, "GDAL (>= 2.0.1) and zlib", "ubuntu", "22.04"),
            "Zlib: z; gdal: libgdal-dev gdal-bin"
        );
        assert_eq!(requirements_text(&rules, "libGDAL", "ubuntu", "16.04"), "gdal: old");
        assert_eq!(rules.requirements("gdal", &OsRelease::new("ubuntu", "16.04"))[0].pre_install.len(), 1);
        assert_eq!(requirements_text(&rules, "gdal and zlib", "alpine", "3.20"), "Zlib: z");
        assert_eq!(
            requirements_text(&rules, "libgdal2, xgdal", "ubuntu", "22.04"),
            "",
            "words, not parts of words"
        );
        assert_eq!(
            rules.matching_rules("gdal\nlibgdal ZLIB").collect::<Vec<_>>(),
            ["Zlib", "gdal"],
            "each once"
        );
    }

    #[test]
    fn a_line_break_is_a_blank() {
        let rules = rules(r#""make":{"patterns":["gnu make"],"dependencies":[]}"#);
        assert_eq!(rules.matching_rules("needs GNU\nmake").count(), 1);
    }

    #[test]
    fn a_pattern_of_another_engine_is_skipped_and_reported() {
        let rules = rules(
            r#""a":{"patterns":["(?<!x)a","plain"],"dependencies":[]},"b":{"patterns":["b("],"dependencies":[]}"#,
        );
        assert_eq!(rules.matching_rules("plain a b(").collect::<Vec<_>>(), ["a"]);
        assert_eq!(rules.invalid_patterns().len(), 2);
        assert!(rules.invalid_patterns()[1].starts_with("rule b: "), "{:?}", rules.invalid_patterns());
    }

    #[test]
    fn a_major_release_is_resolved_to_its_newest_minor_release() {
        let rules = gdal();
        let resolved_release = |release| rules.resolve_system(&OsRelease::new("opensuse", release)).release;
        assert_eq!(
            (
                resolved_release("15").as_str(),
                resolved_release("15.5").as_str(),
                resolved_release("42").as_str()
            ),
            ("15.10", "15.5", "42")
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_matched_without_panic(text in "\\PC{0,200}") {
            let _ = gdal().requirements(&text, &OsRelease::new("ubuntu", "22.04"));
        }
    }
}
