//! Policies (C2SP tlog-policy): the logs that a reader trusts, and the witnesses whose cosignatures it demands.

use std::ops::RangeInclusive;

use super::note::{Checkpoint, KeyType, Note, Statement, VerifierKey};
use super::{TlogError, fail, quoted};

/// Maximum size of a policy in bytes.
const MAX_POLICY_SIZE: usize = 256 << 10;

#[derive(Clone, Debug)]
pub struct Policy {
    logs: Vec<VerifierKey>,
    /// Witnesses and groups, each after the members that it has.
    cosigners: Vec<Cosigner>,
    /// The position of the quorum in `cosigners`; `None` for `quorum none`.
    quorum: Option<usize>,
    /// The times, in seconds since the epoch, of cosignatures that count; `None` for all.
    times: Option<RangeInclusive<u64>>,
}

#[derive(Clone, Debug)]
struct Cosigner {
    name: String,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    Witness(VerifierKey),
    /// The least number of members that have to agree, and the positions of all.
    Group(usize, Vec<usize>),
}

/// A checkpoint that satisfies a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedCheckpoint {
    pub checkpoint: Checkpoint,
    /// All cosignatures by witnesses of the policy, in its order.
    pub cosignatures: Vec<Cosignature>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// The name of the witness in the policy.
    pub witness: String,
    /// In seconds since the epoch.
    pub time: u64,
}

impl Policy {
    /// Parses a policy. An error names line and value. Texts other than UTF-8 cannot be passed, and no log is an error
    /// of [`Policy::check`].
    pub fn parse(text: &str) -> Result<Policy, TlogError> {
        if text.len() > MAX_POLICY_SIZE {
            return fail(format!("policy: {} bytes, more than {MAX_POLICY_SIZE}", text.len()));
        }
        let mut policy = Policy { logs: Vec::new(), cosigners: Vec::new(), quorum: None, times: None };
        let mut has_quorum = false;
        for (line, number) in text.split('\n').zip(1..) {
            let added = policy.add(line, &mut has_quorum);
            added.map_err(|e| e.at(format_args!("policy: line {number}")))?;
        }
        if has_quorum { Ok(policy) } else { fail("policy: no line 'quorum NAME' or 'quorum none'") }
    }

    /// Returns whether the policy accepts checkpoints without cosignatures: only the log itself then states that it
    /// shows all readers the same entries.
    pub fn needs_no_witness(&self) -> bool {
        self.quorum.is_none()
    }

    /// Counts only cosignatures of these times, in seconds since the epoch: a log that shows an old state is refused, and one
    /// whose witness had a clock that was ahead.
    pub fn require_times(&mut self, times: RangeInclusive<u64>) {
        self.times = Some(times);
    }

    fn counts(&self, time: u64) -> bool {
        self.times.as_ref().is_none_or(|times| times.contains(&time))
    }

    fn add(&mut self, line: &str, has_quorum: &mut bool) -> Result<(), TlogError> {
        if line.contains(|c: char| c.is_ascii_control() && c != '\t') {
            return fail(format!("control character in {}", quoted(line)));
        }
        let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            ["log", key] | ["log", key, _] => {
                let key = new_key(key, KeyType::Note, self.logs.iter())?;
                self.logs.push(key);
            }
            ["witness", name, key] | ["witness", name, key, _] => {
                let keys = self.cosigners.iter().filter_map(|cosigner| match &cosigner.rule {
                    Rule::Witness(key) => Some(key),
                    Rule::Group(..) => None,
                });
                let key = new_key(key, KeyType::Cosignature, keys)?;
                self.define(name, Rule::Witness(key))?;
            }
            ["group", name, count, members @ ..] if !members.is_empty() => {
                let threshold = match *count {
                    "all" => Some(members.len()),
                    "any" => Some(1),
                    count => (1..=members.len()).find(|number| number.to_string() == count),
                };
                let wrong = || format!("group {name}: {} is not all, any or 1 to its size", quoted(count));
                let threshold = threshold.ok_or_else(|| TlogError(wrong()))?;
                self.define(name, Rule::Group(threshold, self.members(members)?))?;
            }
            ["quorum", _] if *has_quorum => return fail("a second quorum"),
            ["quorum", name] => {
                self.quorum = if *name == "none" { None } else { Some(self.position(name)?) };
                *has_quorum = true;
            }
            _ => {
                let forms = "log KEY, witness NAME KEY, group NAME COUNT NAME…, quorum NAME";
                return fail(format!("{} is none of: {forms}", quoted(line)));
            }
        }
        Ok(())
    }

    fn define(&mut self, name: &str, rule: Rule) -> Result<(), TlogError> {
        if name == "none" || self.position(name).is_ok() {
            return fail(format!("the name {} is used already", quoted(name)));
        }
        self.cosigners.push(Cosigner { name: name.to_owned(), rule });
        Ok(())
    }

    fn position(&self, name: &str) -> Result<usize, TlogError> {
        let position = self.cosigners.iter().position(|cosigner| cosigner.name == name);
        position.ok_or_else(|| TlogError(format!("no witness or group {} above this line", quoted(name))))
    }

    /// Returns the positions of the members of a new group. A witness in two groups would count twice.
    fn members(&self, names: &[&str]) -> Result<Vec<usize>, TlogError> {
        let mut positions = Vec::new();
        for name in names {
            let position = self.position(name)?;
            let mut rules = self.cosigners.iter().map(|cosigner| &cosigner.rule);
            let is_member = rules.any(|rule| matches!(rule, Rule::Group(_, of) if of.contains(&position)));
            if is_member || positions.contains(&position) {
                return fail(format!("{} is a member of a group already", quoted(name)));
            }
            positions.push(position);
        }
        Ok(positions)
    }

    /// Verifies that a note is a checkpoint that its log signed and the quorum cosigned. A wrong or second signature by
    /// any key of the policy is an error; signatures by other keys are ignored.
    pub fn check(&self, note: &Note) -> Result<TrustedCheckpoint, TlogError> {
        let checkpoint: Checkpoint = note.text().parse()?;
        let mut is_signed = false;
        for log in &self.logs {
            is_signed |= note.verify(log)?.is_some() && log.name() == checkpoint.origin;
        }
        if !is_signed {
            let origin = quoted(&checkpoint.origin);
            return fail(format!("no signature by a key of the policy whose name is the origin {origin}"));
        }
        let (mut cosignatures, mut agree) = (Vec::new(), Vec::new());
        for Cosigner { name, rule } in &self.cosigners {
            agree.push(match rule {
                Rule::Witness(key) => match note.verify(key)? {
                    Some(Statement::Cosigned(time)) => {
                        cosignatures.push(Cosignature { witness: name.clone(), time });
                        self.counts(time)
                    }
                    Some(Statement::Signed) | None => false,
                },
                Rule::Group(threshold, members) => {
                    members.iter().filter(|member| agree.get(**member) == Some(&true)).count() >= *threshold
                }
            });
        }
        match self.quorum.and_then(|quorum| self.cosigners.get(quorum).zip(agree.get(quorum))) {
            Some((quorum, false)) => {
                let of_age = cosignatures.iter().filter(|c| self.counts(c.time));
                let witnesses = of_age.map(|c| c.witness.as_str()).collect::<Vec<_>>().join(", ");
                fail(format!("the cosignatures [{witnesses}] are not the quorum '{}'", quorum.name))
            }
            None if self.times.is_some() => {
                fail("the policy requires no witness, so nothing states the age of the checkpoint")
            }
            Some((_, true)) | None => Ok(TrustedCheckpoint { checkpoint, cosignatures }),
        }
    }
}

/// Parses a key of a type, which must not be one of the keys before it under another name.
fn new_key<'a>(
    text: &str,
    key_type: KeyType,
    mut keys: impl Iterator<Item = &'a VerifierKey>,
) -> Result<VerifierKey, TlogError> {
    let key = VerifierKey::parse_as(text, key_type)?;
    match keys.find(|other| other.public == key.public) {
        Some(other) => fail(format!("{key} is the same key as {other}")),
        None => Ok(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::note::Signer;
    use crate::tlog::tree::Root;
    use proptest::prelude::*;

    const LOG: &str = "log.example/a";

    fn signer(name: &str, seed: u8) -> Signer {
        Signer::from_seed(name, &[seed; 32]).unwrap()
    }

    fn log_key() -> String {
        signer(LOG, 1).key(KeyType::Note).to_string()
    }

    fn witness_key(seed: u8) -> String {
        signer(&format!("w{seed}.example"), seed).key(KeyType::Cosignature).to_string()
    }

    /// A policy with the witnesses `w2` to `w6`, and more lines.
    fn policy(lines: &str) -> String {
        let witnesses: String =
            (2..=6).map(|seed| format!("witness w{seed} {}\n", witness_key(seed))).collect();
        format!("# a comment\n\n \t# another\nlog {}  https://log.example\n{witnesses}{lines}\n", log_key())
    }

    fn note(origin: &str, witnesses: &[u8]) -> Note {
        let root = Root { count: 3, hash: [1; 32] };
        let text = Checkpoint { origin: origin.to_owned(), root }.to_string();
        let mut note = format!("{text}\n{}", signer(LOG, 1).sign(&text, Statement::Signed));
        for seed in witnesses {
            let statement = Statement::Cosigned(1000 + u64::from(*seed));
            note += &signer(&format!("w{seed}.example"), *seed).sign(&text, statement);
        }
        Note::parse(note.as_bytes()).unwrap()
    }

    #[test]
    fn a_quorum_of_groups_is_counted() {
        let groups = "group x 2 w2 w3 w4\ngroup y any w5 w6\ngroup all\tall x y\nquorum all";
        let policy = Policy::parse(&policy(groups)).unwrap();
        assert!(!policy.needs_no_witness());
        let times = |witnesses: &[u8]| {
            let trusted = policy.check(&note(LOG, witnesses))?;
            Ok(trusted.cosignatures.into_iter().map(|c| (c.witness, c.time)).collect::<Vec<_>>())
        };
        let expected = vec![("w2".to_owned(), 1002), ("w4".to_owned(), 1004), ("w6".to_owned(), 1006)];
        assert_eq!(times(&[6, 4, 2, 7]), Ok(expected));
        assert!(times(&[2, 3, 4, 5, 6]).is_ok());
        for few in [&[][..], &[2, 5], &[2, 3, 4], &[5, 6], &[3, 7, 6]] {
            let error: TlogError = times(few).unwrap_err();
            assert!(error.to_string().contains("are not the quorum 'all'"), "{error}");
        }
        assert!(times(&[2, 3, 5, 5]).unwrap_err().to_string().contains("second signature of w5.example"));
    }

    #[test]
    fn a_log_signs_under_its_name() {
        let none = Policy::parse(&policy("quorum none")).unwrap();
        assert!(none.needs_no_witness());
        assert_eq!(none.check(&note(LOG, &[])).unwrap().checkpoint.root.count, 3);
        let error = none.check(&note("other.example", &[])).unwrap_err().to_string();
        assert!(error.contains("'other.example'"), "{error}");
        let no_log = Policy::parse("quorum none\n").unwrap();
        assert!(no_log.check(&note(LOG, &[])).is_err());
        let one = Policy::parse(&policy("quorum w2")).unwrap();
        assert!(one.check(&note(LOG, &[2])).is_ok() && one.check(&note(LOG, &[3])).is_err());
    }

    #[test]
    fn errors_name_line_and_value() {
        let (log, witness) = (log_key(), witness_key(2));
        for (lines, expected) in [
            ("", "no line 'quorum NAME'"),
            ("quorum w9", "line 10: no witness or group 'w9'"),
            ("quorum w2\nquorum w2", "line 11: a second quorum"),
            ("quorum none\nquorum none", "line 11: a second quorum"),
            ("group g 2 w2 w9\nquorum g", "line 10: no witness or group 'w9'"),
            ("group g 1 g", "no witness or group 'g'"),
            ("group g 0 w2", "line 10: group g: '0' is not all, any or 1 to its size"),
            ("group g 3 w2 w3", "group g: '3' is not"),
            ("group g x w2", "group g: 'x' is not"),
            ("group g 01 w2", "group g: '01' is not"),
            ("group g +1 w2", "group g: '+1' is not"),
            ("group g any", "line 10: 'group g any' is none of"),
            ("group g any w2 w2", "'w2' is a member of a group already"),
            ("group g any w2\ngroup h any w2", "line 11: 'w2' is a member of a group already"),
            ("group w2 any w3", "the name 'w2' is used already"),
            ("group none any w3", "the name 'none' is used already"),
            ("group g any none", "no witness or group 'none'"),
            ("Quorum w2", "line 10: 'Quorum w2' is none of"),
            ("quorum w2 w3", "is none of"),
            ("quorum w2\r", "line 10: control character"),
            (&format!("log {log}"), "is the same key as"),
            (&format!("log {witness}"), "is of type 4 instead of 1"),
            (&format!("witness x {log}"), "is of type 1 instead of 4"),
            (&format!("witness x {witness}"), "is the same key as"),
            (&format!("witness w2 {}", witness_key(7)), "the name 'w2' is used already"),
            ("log x", "line 10: 'x' is not a key"),
            ("witness x y z z", "line 10: 'witness x y z z' is none of"),
        ] {
            let error = Policy::parse(&policy(lines)).unwrap_err().to_string();
            assert!(error.contains(expected), "{lines}: {error}");
        }
        let error = Policy::parse(&log.replacen('+', "+0", 1).replace("log.", "log log.")).unwrap_err();
        assert!(error.to_string().starts_with("policy: line 1: "), "{error}");
        assert!(Policy::parse(&" ".repeat(MAX_POLICY_SIZE + 1)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String, lines in "((log|witness|group|quorum|any|all|1|a|b)[ \n]){0,12}") {
            let _ = (Policy::parse(&text), Policy::parse(&lines), Policy::parse(&policy(&lines)));
        }
    }
}
