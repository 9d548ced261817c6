//! The roots of other programs; and what changes earlier states in a log, with the entry that makes an auditor accept it:
//! without that entry, each of these logs violates a rule.

use rstudio_pm::model::time::Timestamp;
use rstudio_pm::tlog::audit::{Auditor, KnownCheckpoint, Rule};
use rstudio_pm::tlog::note::Checkpoint;
use rstudio_pm::tlog::policy::{Cosignature, TrustedCheckpoint};
use rstudio_pm::tlog::tree::Root;

/// The entries of a log of the corpus, which are separated by empty lines.
fn entries(name: &str) -> Vec<String> {
    let path = format!("{}/tests/corpus/tlog_audit/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    text.split("\n\n").map(|entry| format!("{entry}\n")).collect()
}

/// The rules that entries violate, and those of remarks. With a time, a witness cosigned the first four entries then.
fn audit(entries: &[String], cosigned: Option<&str>) -> [Vec<Rule>; 2] {
    let known = cosigned.map(|time| {
        let time = time.parse::<Timestamp>().unwrap().seconds().try_into().unwrap();
        let checkpoint = Checkpoint { origin: "o".to_owned(), root: Root::of(&entries[..4]) };
        let cosignatures = vec![Cosignature { witness: "w".to_owned(), time }];
        KnownCheckpoint { place: "state".to_owned(), trusted: TrustedCheckpoint { checkpoint, cosignatures } }
    });
    let mut auditor = Auditor::new(known.into_iter().collect());
    entries.iter().for_each(|entry| auditor.push(entry.as_bytes()));
    let findings = auditor.finish().findings;
    [true, false].map(|is_violation| {
        let found = findings.iter().filter(|found| found.is_violation == is_violation);
        found.map(|found| found.rule).collect()
    })
}

#[test]
fn changes_of_the_past_are_accepted_with_their_cause_and_refused_without_it() {
    use Rule::{A3, A4, A5, A6, A9};
    let cosigned = Some("2026-11-20T13:00:00Z");
    // The log, the time of a cosignature, the rules of the remarks; the numbers of the entries that are causes, and the rules
    // that the log violates without each. A new name of a source or a repository has no entry, and needs none.
    type Cases<'a> = &'a [(&'a str, Option<&'a str>, &'a [Rule], &'a [(usize, &'a [Rule])])];
    let cases: Cases<'_> = &[
        ("backfill", None, &[A5, A5], &[(5, &[A5, A5])]),
        ("clock", None, &[A5], &[(4, &[A5])]),
        ("clock", cosigned, &[A9, A6, A5], &[(4, &[A9, A6, A5])]),
        ("rules", None, &[A5, A5], &[(4, &[A5]), (6, &[A5])]),
        ("promotion", None, &[], &[(3, &[A3]), (6, &[A3])]),
        ("renamed", None, &[], &[]),
        ("created-again", None, &[A4], &[(8, &[A3, A4])]),
        ("restore", None, &[A5], &[(5, &[A3, A3, A4, A5])]),
        ("rewind", None, &[A5], &[(5, &[A3, A4, A5])]),
    ];
    for (name, cosigned, remarks, causes) in cases {
        let entries = entries(name);
        assert_eq!(audit(&entries, *cosigned), [vec![], remarks.to_vec()], "{name}");
        for (cause, violations) in *causes {
            let mut without = entries.clone();
            let removed = without.remove(*cause);
            assert_eq!(audit(&without, *cosigned)[0], *violations, "{name} without {removed}");
        }
    }
    let replaced = |name: &str, old: &str, new: &str| {
        let entries: Vec<String> = entries(name).iter().map(|entry| entry.replace(old, new)).collect();
        audit(&entries, None)[0].clone()
    };
    assert_eq!(replaced("backfill", "kind backfill", "kind add"), [A4, A5, A5]);
    assert_eq!(replaced("created-again", "transaction 6\n", "transaction 7\n"), [A3, A3]);
    assert_eq!(replaced("renamed", "tree team - 3", "tree team - 2"), [A4, A4]);
    assert_eq!(replaced("renamed", "repository main", "repository prod"), []);
    assert_eq!(replaced("renamed", "snapshot 2026-11-22", "snapshot 2026-11-21"), [A5]);
    assert_eq!(replaced("promotion", "snapshot 4", "snapshot 2"), [A5]);
}

/// Of Go's `sumdb` and of aics-tlog, with the leaves `0`, `1`, `2`, ...
#[test]
fn roots_are_those_of_other_programs() {
    for (count, hash) in [
        (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (1, "db3426e878068d28d269b6c87172322ce5372b65756d0789001d34835f601c03"),
        (2, "cb00989d94a569c0a678ae042b63dcd4625db96440517f37a6eb7976ea24ed4b"),
        (3, "725d5230db68f557470dc35f1d8865813acd7ebb07ad152774141decbae71327"),
        (7, "a3e23b32ccb6bf96d092d165d8aa546e09829de8f03b0e8957581d1e16b92bdf"),
        (64, "391a31ee43d791bbe11932a5a2242719c18874e81cf32f0d8d3d7bf31bfca6b8"),
        (255, "32f85bcaa87d7bcd05728f09e9aeba350ba6a2f733830087f0597682848be5cb"),
        (256, "828515d033c19d8c901f37eccb8aed919667703486f8d2fff1cf7040321c5db1"),
        (257, "1eda049a4351d86f76252bd7ec0b7746ad75b7fa0316ad5f541dbda458a312c4"),
        (300, "84e13ec1e037155ae619757599b2cd21ada5a565e0fd9b3139c0c3c6c1b8ada9"),
    ] {
        assert_eq!(
            hex::encode(Root::of((0..count).map(|number: u64| number.to_string())).hash),
            hash,
            "{count}"
        );
    }
}
