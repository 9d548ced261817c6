//! Identifiers of SPDX for the field `License` of R packages (Writing R Extensions, 1.1.2). Names and versions are from
//! R's own table, `share/licenses/license.db`. Versions that only SPDX has are recognized by their identifier.

use std::cmp::Ordering;

use base::model::license::{Licenses, identifier};

/// Maximum length of a field, in bytes; a longer one has no identifiers.
const MAX_FIELD: usize = 4096;
/// Maximum number of conditions of a version range.
const MAX_CONDITIONS: usize = 8;

struct Family {
    /// Its names, in lower case.
    names: &'static [&'static str],
    /// Versions, ascending, with their identifiers, for GNU licenses without `-only` and `-or-later`.
    versions: &'static [(&'static str, &'static str)],
    is_gnu: bool,
}

const FAMILIES: &[Family] = &[
    Family {
        names: &["gpl", "gnu general public license", "gnu gpl"],
        versions: &[("2", "GPL-2.0"), ("3", "GPL-3.0")],
        is_gnu: true,
    },
    Family {
        names: &["lgpl", "gnu lesser general public license", "gnu library general public license"],
        versions: &[("2", "LGPL-2.0"), ("2.1", "LGPL-2.1"), ("3", "LGPL-3.0")],
        is_gnu: true,
    },
    Family {
        names: &["agpl", "gnu affero general public license"],
        versions: &[("3", "AGPL-3.0")],
        is_gnu: true,
    },
    Family {
        names: &["apache license", "apache"],
        versions: &[("1.1", "Apache-1.1"), ("2", "Apache-2.0")],
        is_gnu: false,
    },
    Family {
        names: &["artistic license", "artistic"],
        versions: &[("1", "Artistic-1.0"), ("2", "Artistic-2.0")],
        is_gnu: false,
    },
    Family { names: &["cecill"], versions: &[("2", "CECILL-2.0")], is_gnu: false },
    Family {
        names: &["mozilla public license", "mpl"],
        versions: &[("1", "MPL-1.0"), ("1.1", "MPL-1.1"), ("2", "MPL-2.0")],
        is_gnu: false,
    },
    Family { names: &["common public license", "cpl"], versions: &[("1", "CPL-1.0")], is_gnu: false },
    Family { names: &["eclipse public license", "epl"], versions: &[("1", "EPL-1.0")], is_gnu: false },
    Family { names: &["lucent public license", "lucent"], versions: &[("1.02", "LPL-1.02")], is_gnu: false },
    // Version 1.2 is not in R's table, but packages name it.
    Family {
        names: &["european union public license", "eupl"],
        versions: &[("1.1", "EUPL-1.1"), ("1.2", "EUPL-1.2")],
        is_gnu: false,
    },
    Family { names: &["boost software license", "bsl"], versions: &[("1", "BSL-1.0")], is_gnu: false },
];

/// Names of licenses without versions, in lower case.
const NAMES: &[(&str, &str)] = &[
    ("mit", "MIT"),
    ("mit license", "MIT"),
    ("bsd", "BSD-3-Clause"),
    ("modified bsd license", "BSD-3-Clause"),
    ("bsd_3_clause", "BSD-3-Clause"),
    ("bsd 3-clause license", "BSD-3-Clause"),
    ("bsd_2_clause", "BSD-2-Clause"),
    ("bsd 2-clause license", "BSD-2-Clause"),
    ("freebsd", "BSD-2-Clause"),
    ("freebsd license", "BSD-2-Clause"),
    ("cc0", "CC0-1.0"),
    ("zlib", "Zlib"),
    ("zlib license", "Zlib"),
    ("creative commons attribution 4.0 international license", "CC-BY-4.0"),
    ("creative commons attribution-sharealike 4.0 international license", "CC-BY-SA-4.0"),
    ("creative commons attribution-noncommercial 4.0 international license", "CC-BY-NC-4.0"),
    ("creative commons attribution-noncommercial-sharealike 4.0 international license", "CC-BY-NC-SA-4.0"),
    ("creative commons attribution-noncommercial-noderivs 4.0 international license", "CC-BY-NC-ND-4.0"),
];

/// Returns the licenses of a `License` field: alternatives separated by `|`, with a version in the name or a range in
/// parentheses; `+ file LICENSE` is ignored. `file LICENSE`, `Unlimited`, `ACM` and others have no identifier.
pub fn licenses(field: &str) -> Licenses {
    if field.len() > MAX_FIELD {
        return Licenses::default();
    }
    let alternatives = field.split('|').map(str::trim).filter(|text| !text.is_empty());
    Licenses::of_alternatives(alternatives.flat_map(|text| {
        let ids = alternative(text);
        if ids.is_empty() { vec![None] } else { ids.into_iter().map(Some).collect() }
    }))
}

/// Returns the identifiers of one alternative, any of which the user may choose; empty if it has none.
fn alternative(text: &str) -> Vec<String> {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_file = |rest: &str| rest.trim_start().to_ascii_lowercase().starts_with("file");
    let base =
        words.split_once('+').filter(|(_, rest)| is_file(rest)).map_or(words.as_str(), |(base, _)| base);
    let name = base.trim().to_lowercase().replace("licence", "license");
    if let Some((name, range)) = name.strip_suffix(')').and_then(|name| name.split_once('(')) {
        let conditions: Option<Vec<LicenseCondition>> =
            range.split(',').take(MAX_CONDITIONS + 1).map(LicenseCondition::parse).collect();
        let conditions = conditions.filter(|conditions| conditions.len() <= MAX_CONDITIONS);
        let family = family(name.trim());
        return family
            .zip(conditions)
            .map(|(family, conditions)| family.select(&conditions))
            .unwrap_or_default();
    }
    if let Some((_, id)) = NAMES.iter().find(|(license, _)| *license == name) {
        return vec![(*id).to_owned()];
    }
    if let Some(family) = family(&name) {
        return family.select(&[]);
    }
    if let Some((family, condition)) = split_version(&name) {
        let ids = family.select(&[condition]);
        if !ids.is_empty() {
            return ids;
        }
    }
    // Texts such as `CC BY-SA 4.0`, and SPDX identifiers.
    let id = name.strip_prefix("cc by").map(|rest| format!("cc-by{}", rest.replace(' ', "-")));
    identifier(id.as_deref().unwrap_or(&name)).map(str::to_owned).into_iter().collect()
}

fn family(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.names.contains(&name))
}

/// Splits a name with a version, such as `gpl-3`, `apache license 2.0` or `gnu general public license version 2`.
fn split_version(name: &str) -> Option<(&'static Family, LicenseCondition)> {
    let (name, version) = name.rsplit_once([' ', '-'])?;
    let name = name.trim_end().trim_end_matches(',');
    let name = name.strip_suffix("version").map_or(name, str::trim_end).trim_end_matches(',');
    Some((family(name)?, LicenseCondition { operator: LicenseOperator::Equal, version: numbers(version)? }))
}

#[derive(Clone, Copy)]
enum LicenseOperator {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

struct LicenseCondition {
    operator: LicenseOperator,
    version: Vec<u32>,
}

impl LicenseCondition {
    fn parse(text: &str) -> Option<LicenseCondition> {
        const OPERATORS: [(&str, LicenseOperator); 6] = [
            ("<=", LicenseOperator::LessOrEqual),
            (">=", LicenseOperator::GreaterOrEqual),
            ("==", LicenseOperator::Equal),
            ("!=", LicenseOperator::NotEqual),
            ("<", LicenseOperator::Less),
            (">", LicenseOperator::Greater),
        ];
        let text = text.trim();
        let operator_and_version =
            OPERATORS.into_iter().find_map(|(word, operator)| Some((operator, text.strip_prefix(word)?)));
        let (operator, version) = operator_and_version?;
        Some(LicenseCondition { operator, version: numbers(version.trim())? })
    }

    fn is_met_by(&self, version: &[u32]) -> bool {
        let order = version.cmp(self.version.as_slice());
        match self.operator {
            LicenseOperator::Less => order == Ordering::Less,
            LicenseOperator::LessOrEqual => order != Ordering::Greater,
            LicenseOperator::Equal => order == Ordering::Equal,
            LicenseOperator::NotEqual => order != Ordering::Equal,
            LicenseOperator::GreaterOrEqual => order != Ordering::Less,
            LicenseOperator::Greater => order == Ordering::Greater,
        }
    }

    /// Returns whether the condition permits all later versions.
    fn is_open(&self) -> bool {
        match self.operator {
            LicenseOperator::GreaterOrEqual | LicenseOperator::Greater | LicenseOperator::NotEqual => true,
            LicenseOperator::Less | LicenseOperator::LessOrEqual | LicenseOperator::Equal => false,
        }
    }
}

/// Returns the numbers of a version without zeros at the end, because `GPL (>= 2.0)` means version 2.
fn numbers(version: &str) -> Option<Vec<u32>> {
    let mut numbers: Vec<u32> =
        version.split(['.', '-']).map(|part| part.parse().ok()).collect::<Option<_>>()?;
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    Some(numbers)
}

impl Family {
    /// Returns the identifiers of the versions that meet all conditions. For a range of a GNU license without an upper
    /// limit, returns one identifier: the lowest version with `-or-later`.
    fn select(&self, conditions: &[LicenseCondition]) -> Vec<String> {
        let is_selected = |(version, _): &&(&str, &str)| {
            let version = numbers(version).unwrap_or_default();
            conditions.iter().all(|condition| condition.is_met_by(&version))
        };
        let ids: Vec<&str> = self.versions.iter().filter(is_selected).map(|(_, id)| *id).collect();
        let is_end = self
            .versions
            .iter()
            .map(|(_, id)| *id)
            .skip(self.versions.len() - ids.len())
            .eq(ids.iter().copied());
        match ids.first() {
            Some(lowest) if self.is_gnu && is_end && conditions.iter().all(LicenseCondition::is_open) => {
                vec![format!("{lowest}-or-later")]
            }
            _ if self.is_gnu => ids.iter().map(|id| format!("{id}-only")).collect(),
            _ => ids.iter().map(|id| (*id).to_owned()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_have_the_expressions_of_their_licenses() {
        for (field, expected) in [
            ("GPL-3", "GPL-3.0-only"),
            ("GPL-2 | GPL-3", "GPL-2.0-only OR GPL-3.0-only"),
            ("GPL (>= 2)", "GPL-2.0-or-later"),
            ("GPL", "GPL-2.0-or-later"),
            ("GPL (>= 2.0)", "GPL-2.0-or-later"),
            ("GPL (>= 2.15.1)", "GPL-3.0-or-later"),
            ("GPL (> 2)", "GPL-3.0-or-later"),
            ("GPL (== 3.0)", "GPL-3.0-only"),
            ("GPL (<= 2.0)", "GPL-2.0-only"),
            ("GPL (!= 2)", "GPL-3.0-or-later"),
            ("LGPL (>= 2.0, < 3)", "LGPL-2.0-only OR LGPL-2.1-only"),
            ("LGPL (!= 2.1)", "LGPL-2.0-only OR LGPL-3.0-only"),
            ("LGPL-2.1", "LGPL-2.1-only"),
            ("AGPL", "AGPL-3.0-or-later"),
            ("AGPL-3 | file LICENSE", "AGPL-3.0-only OR LicenseRef-Unknown"),
            ("GNU General Public License version 2", "GPL-2.0-only"),
            ("GNU Lesser General Public License", "LGPL-2.0-or-later"),
            ("GPL-2.0-or-later", "GPL-2.0-or-later"),
            ("GPL-2.0", "GPL-2.0-only"),
            ("MIT + file LICENSE", "MIT"),
            ("MIT +file LICENCE", "MIT"),
            ("MIT License + file LICENSE | Unlimited", "MIT OR LicenseRef-Unknown"),
            ("Apache License 2.0", "Apache-2.0"),
            ("Apache License Version 2.0", "Apache-2.0"),
            ("Apache License (== 2.0)", "Apache-2.0"),
            ("Apache License (>= 2)", "Apache-2.0"),
            ("Apache License", "Apache-1.1 OR Apache-2.0"),
            ("apache-2.0", "Apache-2.0"),
            ("BSD_3_clause +  file LICENSE", "BSD-3-Clause"),
            ("BSD 2-clause License + file LICENSE", "BSD-2-Clause"),
            ("FreeBSD|GPL-2", "BSD-2-Clause OR GPL-2.0-only"),
            ("Artistic-2.0", "Artistic-2.0"),
            ("Mozilla Public License Version 2.0", "MPL-2.0"),
            ("MPL (>= 1.1)", "MPL-1.1 OR MPL-2.0"),
            ("CeCILL-2", "CECILL-2.0"),
            ("CECILL-2.1", "CECILL-2.1"),
            ("EUPL (>= 1.2)", "EUPL-1.2"),
            ("Lucent Public License", "LPL-1.02"),
            ("EPL | CC BY 4.0", "EPL-1.0 OR CC-BY-4.0"),
            ("CC BY-NC-SA 4.0", "CC-BY-NC-SA-4.0"),
            ("Creative Commons Attribution 4.0 International License", "CC-BY-4.0"),
            ("CC0", "CC0-1.0"),
            ("BSL-1.0", "BSL-1.0"),
            ("Common Public Licence  Version 1.0", "CPL-1.0"),
        ] {
            assert_eq!(licenses(field).expression(), Some(expected), "{field}");
        }
    }

    #[test]
    fn other_fields_have_no_identifier() {
        for field in [
            "",
            "|",
            "Unlimited",
            "file LICENSE",
            "ACM | file LICENSE",
            "GPL (> 3)",
            "GPL (>= 3.5.0)",
            "CPL (>= 2)",
            "GPL (2)",
            "GPL (>= x)",
            "GPL (",
            "GPL ()",
            "(>= 2)",
            "GPL-99999999999999999999",
            "+ file LICENSE",
            "None",
            &"MIT |".repeat(2000),
        ] {
            let licenses = licenses(field);
            assert_eq!(
                (licenses.expression(), licenses.types()),
                (None, &["Unknown".to_owned()][..]),
                "{field}"
            );
        }
    }

    #[test]
    fn every_identifier_of_the_tables_is_one_of_spdx() {
        for (_, id) in NAMES {
            assert_eq!(identifier(id), Some(*id));
        }
        for family in FAMILIES {
            for (version, id) in family.versions {
                assert_eq!(identifier(id), Some(*id), "{version}");
                assert!(numbers(version).is_some_and(|numbers| !numbers.is_empty()));
            }
            assert!(family.names.iter().all(|name| *name == name.to_lowercase()));
        }
    }

    proptest! {
        #[test]
        fn any_text_has_types(text in "\\PC*", words in "(GPL|MIT|-|\\(|\\)|>=|<|2|3|,|\\||\\+| |file|.){0,20}") {
            for field in [text, words] {
                let licenses = licenses(&field);
                prop_assert!(!licenses.types().is_empty());
                prop_assert_eq!(licenses.expression().is_none(), licenses.types() == ["Unknown"]);
            }
        }
    }
}
