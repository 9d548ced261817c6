//! Logs that follow the rules of an auditor, and logs that violate them.

use super::*;
use crate::tlog::note::Checkpoint;
use crate::tlog::policy::Cosignature;

const OPEN: &str = "rspm-log/1 open\ndatabase d\nhistory h1\n";

fn publish(transaction: u64, time: &str, kind: &str, lines: &str) -> String {
    format!("rspm-log/1 publish\nhistory h1\ntransaction {transaction}\ntime {time}\nkind {kind}\n{lines}")
}

fn of(transaction: u64, lines: &str) -> String {
    publish(transaction, "2026-11-20T12:00:00Z", "add", lines)
}

fn tree(seq: i64) -> String {
    format!("tree team default {seq} 1 {}\n", "00".repeat(32))
}

fn view(snapshot: &str) -> String {
    let root = "00".repeat(32);
    format!(
        "rspm-log/1 view\nrepository prod\nsnapshot {snapshot}\ndocument src/contrib/PACKAGES\nrecords 1\n\
         root {root}\nrules none\n"
    )
}

fn files(md5: &str, sha256: &str) -> String {
    format!("rspm-log/1 files\nfile cran a_1.tar.gz 9 {md5} {}\n", sha256.repeat(32))
}

/// A checkpoint of the first entries, with cosignatures of these times.
fn known(entries: &[String], times: &[&str]) -> KnownCheckpoint {
    let cosignatures = times.iter().map(|time| {
        let time = time.parse::<Timestamp>().expect("a time").seconds();
        Cosignature { witness: "w".to_owned(), time: u64::try_from(time).expect("after 1970") }
    });
    let checkpoint = Checkpoint { origin: "o".to_owned(), root: Root::of(entries) };
    let trusted = TrustedCheckpoint { checkpoint, cosignatures: cosignatures.collect() };
    KnownCheckpoint { place: format!("checkpoint {}", entries.len()), trusted }
}

fn audit(known: Vec<KnownCheckpoint>, entries: &[String]) -> Report {
    let mut auditor = Auditor::new(known);
    entries.iter().for_each(|entry| auditor.push(entry.as_bytes()));
    assert_eq!(auditor.root(), Root::of(entries));
    auditor.finish()
}

/// Number, rule and severity of each finding in a log that begins with `open`.
fn findings(entries: &[String]) -> Vec<String> {
    let entries = [&[OPEN.to_owned()], entries].concat();
    let report = audit(Vec::new(), &entries);
    assert_eq!(report.is_violated, report.findings.iter().any(|found| found.is_violation));
    let text = |found: &Finding| {
        format!("{} {:?}{}", found.entry, found.rule, if found.is_violation { "" } else { " remark" })
    };
    report.findings.iter().map(text).collect()
}

#[test]
fn entries_that_cannot_be_read_or_are_at_a_wrong_place_are_found() {
    for (entry, expected) in [
        ("garbage".to_owned(), "1 A2"),
        ("rspm-log/1 later\nkey value\n".to_owned(), "1 A2 remark"),
        (view("2026-11-20") + "more x\n", "1 A2 remark"),
        (view("2026-11-20").replace("records 1", "records 01"), "1 A2"),
        (view("2026-11-20").replace("root 00", "root 0"), "1 A2"),
        (view("2026-11-2"), "1 A2"),
        (view("latest"), "1 A2"),
        (view("2026-11-20").replace("rules none\n", ""), "1 A2"),
        (of(1, &tree(1).replace(" 1 1 ", " 1 ")), "1 A2"),
        (of(1, "audit 7 00\n"), "1 A2"),
        (publish(1, "yesterday", "add", ""), "1 A2"),
        (files("00", "0"), "1 A2"),
        (OPEN.to_owned(), "1 A2"),
    ] {
        assert_eq!(findings(std::slice::from_ref(&entry)), [expected], "{entry}");
    }
    assert_eq!(audit(Vec::new(), &[view("2026-11-20")]).findings.len(), 1);
    let many = vec!["x".to_owned(); 1500];
    let report = audit(Vec::new(), &many);
    assert_eq!((report.findings.len(), report.omitted, report.is_violated), (1000, 500, true));
    let text = report.findings[300].to_string();
    assert!(text.starts_with("entry 300, A2: ") && text.ends_with("[tile/entries/001, member 44]"), "{text}");
}

#[test]
fn transactions_steps_and_audit_rows_rise() {
    let none: [&str; 0] = [];
    let audit = |row: u64| format!("audit {row} {}\n", "00".repeat(32));
    let back = "rspm-log/1 rewind\nhistory h1\nfrom 3\nto 1\n".to_owned();
    let restore = "rspm-log/1 restore\nold-history h1\nhistory h2\nfrom 3\nto 1\n".to_owned();
    let of_h2 = |transaction| of(transaction, &tree(3)).replace("history h1", "history h2");
    let backfill = |lines: &str| publish(4, "2020-01-01T00:00:00Z", "backfill", lines);
    let three = [of(1, &tree(1)), of(2, &(tree(2) + &audit(5))), of(3, &(tree(3) + &audit(5)))];
    for (more, expected) in [
        (vec![], none.as_slice()),
        (vec![of(4, &tree(4)), of(4, "part 1\n"), of(4, "part 2\n"), of(5, "")], &none),
        (vec![of(5, "")], &["4 A3"]),
        (vec![of(3, "")], &["4 A3"]),
        (vec![of(4, "part 1\n")], &["4 A3"]),
        (vec![of(4, ""), of(4, "part 2\n"), of(4, "part 2\n")], &["6 A3"]),
        (vec![back.clone(), of(2, &tree(2))], &none),
        (vec![back, of(3, "")], &["5 A3"]),
        (vec![restore.clone(), of_h2(2)], &none),
        (vec![restore, of(2, "")], &["5 A3"]),
        (vec![of_h2(4)], &["4 A3", "4 A4"]),
        (vec![of(4, &tree(2))], &["4 A4"]),
        (vec![of(4, &(tree(4) + &tree(4)))], &["4 A4"]),
        (vec![of(4, &tree(0))], &["4 A4"]),
        (vec![of(4, &tree(1))], &["4 A4 remark"]),
        (vec![backfill(&(tree(-2) + &tree(-1) + &tree(0)))], &none),
        (vec![backfill(&tree(-2)), of(5, &tree(-1)), of(6, &tree(-2))], &["6 A4"]),
        (vec![of(4, &audit(4))], &["4 A8"]),
        (vec![of(4, &audit(6))], &none),
    ] {
        let entries = [&three[..], &more].concat();
        assert_eq!(findings(&entries), expected, "{more:?}");
    }
}

#[test]
fn rows_are_those_of_the_exported_trail() {
    let (salt, digest) = (vec![7; 32], |row: u64| format!("{row:064x}"));
    let named = Sha256::digest([salt.as_slice(), digest(5).as_bytes()].concat());
    let entries = [OPEN.to_owned(), of(1, &format!("audit 5 {}\n", hex::encode(named)))];
    let trail = |rows: &[(u64, u64)], entry: u64| Trail {
        rows: rows.iter().map(|(row, of)| (*row, digest(*of))).collect(),
        salts: [(entry, salt.clone())].into(),
    };
    for (trail, expected) in [
        (trail(&[(4, 4), (5, 5), (6, 6)], 1), None),
        (trail(&[(4, 4), (5, 6)], 1), Some("row 5 of the audit trail is not the one that the log names")),
        (trail(&[(4, 4), (6, 6)], 1), Some("the audit trail lacks row 5, which the log names")),
        (trail(&[(4, 4)], 1), Some("the audit trail lacks row 5, which the log names")),
        (trail(&[(5, 5)], 2), Some("the export of the audit trail lacks the salt of this entry")),
        (trail(&[(5, 6)], 0), None),
    ] {
        let mut auditor = Auditor::new(Vec::new()).with_trail(trail);
        entries.iter().for_each(|entry| auditor.push(entry.as_bytes()));
        let report = auditor.finish();
        let found = report.findings.first().map(|found| (found.rule, found.text.as_str()));
        assert_eq!(found, expected.map(|text| (Rule::A8, text)));
    }
}

#[test]
fn a_second_state_of_a_day_needs_a_cause() {
    let (day, next) = (view("2026-11-20"), view("2026-11-21"));
    let causes = [
        "rspm-log/1 rules\nrules 00\n".to_owned(),
        "rspm-log/1 clock\ntransaction 1\nold a\nnew b\n".to_owned(),
        "rspm-log/1 rewind\nhistory h1\nfrom 2\nto 1\n".to_owned(),
        "rspm-log/1 restore\nold-history h1\nhistory h2\nfrom 2\nto 1\n".to_owned(),
        publish(1, "2020-01-01T00:00:00Z", "backfill", ""),
        publish(1, "2020-01-01T00:00:00Z", "import", ""),
    ];
    for cause in causes {
        let second = |findings: Vec<String>| {
            findings.into_iter().filter(|found| found.contains("A5")).collect::<Vec<_>>()
        };
        let with = [day.clone(), next.clone(), cause.clone(), day.clone()];
        assert_eq!(second(findings(&with)), ["4 A5 remark"], "{cause}");
        let before = [cause.clone(), day.clone(), next.clone(), day.clone()];
        assert_eq!(second(findings(&before)), ["4 A5"], "{cause}");
        let twice = [day.clone(), cause, day.clone(), day.clone()];
        assert_eq!(second(findings(&twice)), ["3 A5 remark", "4 A5"]);
    }
    assert_eq!(findings(&[day.clone(), of(1, ""), day.clone()]), ["3 A5"]);
    assert_eq!(findings(&[view("84"), view("84")]), ["2 A5"]);
    let others = [day.clone(), day.replace("prod", "test"), day.replace("src/", "packages/3.20/src/")];
    assert!(findings(&others).is_empty());
}

#[test]
fn the_bytes_of_a_file_never_change() {
    assert!(findings(&[files("aa", "00"), files("aa", "00"), files("bb", "11")]).is_empty());
    assert_eq!(findings(&[files("aa", "00"), files("bb", "11"), files("aa", "11")]), ["3 A7"]);
    assert_eq!(findings(&[files("-", "00"), files("-", "11")]), ["2 A7 remark"]);
}

#[test]
fn every_known_checkpoint_is_one_of_the_log() {
    let entries = [OPEN.to_owned(), of(1, ""), of(2, ""), of(3, "")];
    let good: Vec<_> = (0..=4).map(|size| known(&entries[..size], &[])).collect();
    assert!(audit(good, &entries).findings.is_empty());
    let other = [entries[0].clone(), of(1, "late before-the-log\n")];
    let report = audit(vec![known(&entries, &[]), known(&other, &[])], &entries);
    assert_eq!((report.findings.len(), report.findings[0].rule, report.is_violated), (1, Rule::A1, true));
    let report = audit(vec![known(&entries, &[])], &entries[..3]);
    assert!(report.findings[0].text.contains("checkpoint 4 is a checkpoint of 4 entries"), "{report:?}");
    assert!(report.is_violated);
}

#[test]
fn times_are_those_between_two_cosignatures() {
    let at = |time: &str, lines: &str| publish(1, time, "add", lines);
    let clock = "rspm-log/1 clock\ntransaction 1\nold a\nnew b\n".to_owned();
    let (before, after) = ("2026-11-20T10:00:00Z", "2026-11-21T00:30:00Z");
    for (entries, expected) in [
        (vec![at("2026-11-20T12:00:00Z", "")], ""),
        (vec![at("2026-11-20T09:30:00Z", "")], ""),
        (vec![at("2026-11-21T01:00:00Z", "")], ""),
        (vec![at("2026-11-20T08:59:00Z", "")], "A9 late"),
        (vec![at("2026-11-20T08:59:00Z", "late before-the-log\n")], ""),
        (vec![publish(1, "2020-01-01T00:00:00Z", "backfill", "")], ""),
        (vec![at("2026-11-21T01:31:00Z", "")], "A9 early"),
        (vec![at("2026-11-21T01:31:00Z", ""), clock.clone()], "remark A9 early"),
        (vec![view("2026-11-20")], ""),
        (vec![view("2026-11-21")], "A6 the day"),
        (vec![view("2026-11-21"), clock.clone()], "remark A6 the day"),
        (vec![view("2025-11-21")], "A9 late"),
        (vec![view("2025-11-21") + "late yes\n"], ""),
        (vec![clock, view("2025-11-21")], "remark A9 late"),
    ] {
        let entries = [vec![OPEN.to_owned()], entries].concat();
        let checkpoints = vec![
            known(&entries, &["2026-11-21T00:10:00Z", after]),
            known(&entries[..1], &[before, "2026-11-20T10:20:00Z"]),
        ];
        let findings: Vec<String> = audit(checkpoints, &entries)
            .findings
            .iter()
            .map(|found| {
                let kind = if found.is_violation { "" } else { "remark " };
                format!("{kind}{:?} {}", found.rule, found.text)
            })
            .collect();
        let is_expected = match expected {
            "" => findings.is_empty(),
            expected => findings.len() == 1 && findings[0].starts_with(expected),
        };
        assert!(is_expected, "{entries:?}: {findings:?}");
    }
}
