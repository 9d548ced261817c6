//! The versions that rules withheld from a repository at the instant of a promotion. They stay withheld in the promoted
//! state, also after changes of rules and advisories.

use std::io::{Read, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::rule::{BadRule, Criteria, Rule};
use base::model::ids::PackageId;
use base::model::rule_effect::RuleEffect;
use base::model::time::Timestamp;

/// Maximum length of the decompressed text of a set, in bytes: 16 million versions.
const MAX_TEXT: u64 = 256 << 20;

/// The withheld releases of R packages, or files of Python packages.
#[derive(Clone, Debug)]
pub struct Withheld {
    /// The packages with the withheld releases or files, sorted.
    items: Vec<(i64, i64)>,
    /// Stands for the rules that withheld them.
    rule: Arc<Rule>,
}

impl Withheld {
    /// Reads the text that [`encode`] returned, of the promotion at an instant.
    pub fn decode(text: &[u8], promoted_at: Timestamp) -> Result<Withheld, BadRule> {
        let mut numbers = Vec::new();
        DeflateDecoder::new(text).take(MAX_TEXT).read_to_end(&mut numbers).map_err(|error| {
            BadRule(format!("the withheld versions of a promotion cannot be read: {error}"))
        })?;
        let (numbers, rest) = numbers.as_chunks::<8>();
        let (pairs, last) = numbers.as_chunks::<2>();
        if !rest.is_empty() || !last.is_empty() {
            return Err(BadRule("the withheld versions of a promotion are incomplete".to_owned()));
        }
        let mut previous = (0_i64, 0_i64);
        let items = pairs.iter().map(|[package, item]| {
            let difference = (i64::from_le_bytes(*package), i64::from_le_bytes(*item));
            previous = (previous.0.wrapping_add(difference.0), previous.1.wrapping_add(difference.1));
            previous
        });
        let rule = Rule {
            id: 0,
            priority: 0,
            effect: RuleEffect::Block,
            criteria: Criteria::default(),
            description: format!(
                "the promotion of the state of {promoted_at}, when a rule withheld this version; only another promotion lists it"
            ),
        };
        let mut items: Vec<(i64, i64)> = items.collect();
        items.sort_unstable();
        Ok(Withheld { items, rule: Arc::new(rule) })
    }

    /// Returns whether a release or file of the package is withheld.
    pub fn has_package(&self, package: PackageId) -> bool {
        let index = self.items.partition_point(|(other, _)| *other < package.0);
        self.items.get(index).is_some_and(|(other, _)| *other == package.0)
    }

    /// Returns the rule that withholds a release or file with this id; `None` if it is not withheld.
    pub fn rule_of(&self, package: PackageId, item: i64) -> Option<&Arc<Rule>> {
        self.items.binary_search(&(package.0, item)).is_ok().then_some(&self.rule)
    }
}

/// Returns the text of a set for the database; empty for an empty set.
pub fn encode(mut items: Vec<(PackageId, i64)>) -> Vec<u8> {
    items.sort_unstable_by_key(|(package, item)| (package.0, *item));
    items.dedup();
    if items.is_empty() {
        return Vec::new();
    }
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    let mut previous = (0_i64, 0_i64);
    for (package, item) in items {
        // Differences of sorted numbers compress to about two bytes for each version.
        let difference = (package.0.wrapping_sub(previous.0), item.wrapping_sub(previous.1));
        previous = (package.0, item);
        for number in [difference.0, difference.1] {
            encoder.write_all(&number.to_le_bytes()).expect("writing to a Vec cannot fail");
        }
    }
    encoder.finish().expect("writing to a Vec cannot fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn withheld_versions_are_read_as_they_were_written() {
        let all = [(7, 3), (2, 9), (7, 1), (2, 9), (i64::MAX, 1), (3, i64::MAX)];
        let text = encode(all.iter().map(|(package, item)| (PackageId(*package), *item)).collect());
        let read = Withheld::decode(&text, Timestamp(0)).expect("its own text");
        for (package, item) in all {
            let rule = read.rule_of(PackageId(package), item).expect("withheld");
            assert!(rule.description.contains("1970-01-01"), "{}", rule.description);
            assert!(read.has_package(PackageId(package)));
        }
        assert!(read.rule_of(PackageId(7), 2).is_none() && read.rule_of(PackageId(9), 3).is_none());
        assert!(!read.has_package(PackageId(1)) && !read.has_package(PackageId(8)));
        assert_eq!(encode(Vec::new()), b"");
        let many: Vec<(PackageId, i64)> = (0..100_000).map(|id| (PackageId(id / 6), 50 + 3 * id)).collect();
        assert!(encode(many).len() < 100_000, "a promotion of all of CRAN");
    }

    #[test]
    fn malformed_texts_are_refused() {
        let text = encode(vec![(PackageId(1), 2), (PackageId(3), 4)]);
        assert!(Withheld::decode(&text[..text.len() - 3], Timestamp(0)).is_err(), "cut off");
        assert!(Withheld::decode(b"no compressed text", Timestamp(0)).is_err());
        assert!(Withheld::decode(b"", Timestamp(0)).is_err());
    }
}
