//! Plans the renames, compressions and removals of a rotation from the file names in the log's directory. Pure.
//!
//! `a.log` becomes `a.log.1`, `a.log.1` becomes `a.log.2`, and so on up to the maximum number. A compression of
//! `a.log.2` writes `a.log.2.gz.tmp`, renames the plain file to `a.log.2.gz.old` and the compressed file to
//! `a.log.2.gz`, and removes `a.log.2.gz.old`. After an interruption at any point, the names of the files
//! determine the remaining steps.

use std::collections::BTreeSet;

/// The rotated files that are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// All but the newest (server, service and audit log).
    AllButNewest,
    All,
}

impl Scheme {
    /// The lowest number that is compressed.
    fn first_compressed_number(self) -> u32 {
        match self {
            Scheme::AllButNewest => 2,
            Scheme::All => 1,
        }
    }
}

/// A change in the directory, with names relative to it. The target of a step does not exist when it is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotationStep {
    Rename {
        from: String,
        to: String,
    },
    /// Replace a file by its compressed form `<from>.gz`.
    Compress {
        from: String,
    },
    Remove(String),
}

/// The steps, in order. The steps in `compressions` require that no process writes to the renamed files any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Steps that complete an interrupted rotation or remove old files, and the renames, that of the log last.
    pub renames: Vec<RotationStep>,
    pub compressions: Vec<RotationStep>,
}

/// Temporary name of the compressed file during a compression.
pub(super) fn temporary_name(plain: &str) -> String {
    format!("{plain}.gz.tmp")
}

/// Name of the plain file while the compressed one replaces it.
pub(super) fn replaced_name(plain: &str) -> String {
    format!("{plain}.gz.old")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    number: u32,
    is_compressed: bool,
}

impl Slot {
    fn name(self, log: &str) -> String {
        let suffix = if self.is_compressed { ".gz" } else { "" };
        format!("{log}.{}{suffix}", self.number)
    }

    /// Parses a suffix of a rotated file, after the log's name and a dot: `1`, `2.gz`. `None` for other suffixes.
    fn parse(suffix: &str, max_number: u32) -> Option<Slot> {
        let (number, is_compressed) =
            suffix.strip_suffix(".gz").map_or((suffix, false), |number| (number, true));
        let is_decimal = number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0');
        let number = number.parse().ok().filter(|number| is_decimal && (1..=max_number).contains(number))?;
        Some(Slot { number, is_compressed })
    }
}

/// Returns whether rotations of `log` use the name `name`.
pub fn is_rotation_of(log: &str, name: &str, max_number: u32) -> bool {
    let suffix = name.strip_prefix(log).and_then(|suffix| suffix.strip_prefix('.'));
    suffix.is_some_and(|suffix| {
        let suffix = suffix.strip_suffix(".tmp").or_else(|| suffix.strip_suffix(".old")).unwrap_or(suffix);
        Slot::parse(suffix, max_number).is_some()
    })
}

/// Plans the rotation of `log` in a directory with these `names`, after which at most `max_number` rotated files
/// remain. If `rotate` is false, only an interrupted rotation is completed.
pub fn plan(log: &str, names: &BTreeSet<String>, scheme: Scheme, max_number: u32, rotate: bool) -> Plan {
    let mut plan = Plan::default();
    let mut slots: Vec<Slot> = Vec::new();
    let mut interrupted_slots: Vec<Slot> = Vec::new();
    for name in names {
        let Some(suffix) = name.strip_prefix(log).and_then(|suffix| suffix.strip_prefix('.')) else {
            continue;
        };
        if let Some(slot) = Slot::parse(suffix, max_number) {
            slots.push(slot);
        } else if let Some(slot) =
            suffix.strip_suffix(".gz.old").and_then(|suffix| Slot::parse(suffix, max_number))
        {
            interrupted_slots.push(slot);
        } else if suffix
            .strip_suffix(".gz.tmp")
            .is_some_and(|suffix| Slot::parse(suffix, max_number).is_some())
        {
            plan.renames.push(RotationStep::Remove(name.clone()));
        }
    }
    for slot in interrupted_slots.into_iter().filter(|slot| !slot.is_compressed) {
        let replaced_file = replaced_name(&slot.name(log));
        if slots.contains(&Slot { is_compressed: true, ..slot }) {
            plan.renames.push(RotationStep::Remove(replaced_file));
        } else if !slots.contains(&slot) {
            plan.renames.push(RotationStep::Rename { from: replaced_file, to: slot.name(log) });
            slots.push(slot);
        }
    }
    slots.sort_unstable();

    if rotate && names.contains(log) {
        // A file is renamed only if the file before it needs its number, so the renames end at the first unused number.
        let mut next_number = 1;
        let new_numbers: Vec<(Slot, u32)> = slots
            .iter()
            .map(|&slot| {
                next_number = slot.number.max(next_number + 1);
                (slot, next_number)
            })
            .collect();
        for (slot, number) in new_numbers.iter().rev() {
            if *number > max_number {
                plan.renames.push(RotationStep::Remove(slot.name(log)));
            } else if *number != slot.number {
                let to = Slot { number: *number, ..*slot }.name(log);
                plan.renames.push(RotationStep::Rename { from: slot.name(log), to });
            }
        }
        plan.renames.push(RotationStep::Rename { from: log.to_owned(), to: format!("{log}.1") });
        let remaining = new_numbers.into_iter().filter(|(_, number)| *number <= max_number);
        slots = remaining.map(|(slot, number)| Slot { number, ..slot }).collect();
        slots.insert(0, Slot { number: 1, is_compressed: false });
    }

    for slot in
        slots.iter().filter(|slot| !slot.is_compressed && slot.number >= scheme.first_compressed_number())
    {
        if !slots.contains(&Slot { is_compressed: true, ..*slot }) {
            plan.compressions.push(RotationStep::Compress { from: slot.name(log) });
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn names(all: &[&str]) -> BTreeSet<String> {
        all.iter().map(ToString::to_string).collect()
    }

    fn rename(from: &str, to: &str) -> RotationStep {
        RotationStep::Rename { from: from.to_owned(), to: to.to_owned() }
    }

    fn compress(from: &str) -> RotationStep {
        RotationStep::Compress { from: from.to_owned() }
    }

    #[test]
    fn a_server_log_keeps_its_newest_rotated_file_plain() {
        let all =
            names(&["a.log", "a.log.1", "a.log.2.gz", "a.log.10", "b.log.1", "a.log-20261120", "a.log.x"]);
        let plan = plan("a.log", &all, Scheme::AllButNewest, 3, true);
        let renames =
            [rename("a.log.2.gz", "a.log.3.gz"), rename("a.log.1", "a.log.2"), rename("a.log", "a.log.1")];
        assert_eq!(plan, Plan { renames: renames.to_vec(), compressions: vec![compress("a.log.2")] });
    }

    #[test]
    fn an_access_log_is_compressed_at_once_and_the_oldest_is_removed() {
        let all = names(&["a.log", "a.log.1.gz", "a.log.2.gz"]);
        let plan = plan("a.log", &all, Scheme::All, 2, true);
        let renames = [
            RotationStep::Remove("a.log.2.gz".to_owned()),
            rename("a.log.1.gz", "a.log.2.gz"),
            rename("a.log", "a.log.1"),
        ];
        assert_eq!(plan, Plan { renames: renames.to_vec(), compressions: vec![compress("a.log.1")] });
    }

    #[test]
    fn names_of_other_programs_are_ignored() {
        let foreign_names =
            ["a.log.0", "a.log.01", "a.log.31", "a.log.20261120", "a.log.1.xz", "a.log.1.gz.bak", "a.log."];
        let all = names(&[&["a.log"][..], &foreign_names].concat());
        let plan = plan("a.log", &all, Scheme::All, 30, true);
        assert_eq!(plan.renames, [rename("a.log", "a.log.1")]);
        assert!(foreign_names.iter().all(|name| !is_rotation_of("a.log", name, 30)));
        assert!(
            ["a.log.1", "a.log.30.gz", "a.log.2.gz.tmp"].iter().all(|name| is_rotation_of("a.log", name, 30))
        );
    }

    #[test]
    fn an_interrupted_compression_is_finished_or_undone() {
        let finish = |all: &[&str]| plan("a", &names(all), Scheme::AllButNewest, 30, false);
        assert_eq!(
            finish(&["a", "a.2", "a.2.gz.tmp"]),
            Plan {
                renames: vec![RotationStep::Remove("a.2.gz.tmp".to_owned())],
                compressions: vec![compress("a.2")]
            }
        );
        assert_eq!(
            finish(&["a", "a.2.gz.old", "a.2.gz.tmp"]),
            Plan {
                renames: vec![RotationStep::Remove("a.2.gz.tmp".to_owned()), rename("a.2.gz.old", "a.2")],
                compressions: vec![compress("a.2")]
            }
        );
        assert_eq!(
            finish(&["a", "a.2.gz.old", "a.2.gz"]).renames,
            [RotationStep::Remove("a.2.gz.old".to_owned())]
        );
        assert_eq!(finish(&["a", "a.1"]), Plan::default());
    }

    type Change = Box<dyn Fn(&mut Folder)>;

    /// A directory: file names with a number for the content.
    #[derive(Clone, Debug)]
    struct Folder(BTreeMap<String, u32>);

    impl Folder {
        fn names(&self) -> BTreeSet<String> {
            self.0.keys().cloned().collect()
        }

        fn rename(&mut self, from: &str, to: &str) {
            let content = self.0.remove(from).expect("the renamed file exists");
            assert!(self.0.insert(to.to_owned(), content).is_none(), "{to} is overwritten");
        }

        /// Executes steps with at most `budget` atomic changes; returns the rest of the budget.
        fn execute(&mut self, steps: &[RotationStep], mut budget: usize) -> usize {
            for step in steps {
                let changes: Vec<Change> = match step.clone() {
                    RotationStep::Rename { from, to } => vec![Box::new(move |f| f.rename(&from, &to))],
                    RotationStep::Remove(name) => {
                        vec![Box::new(move |f| assert!(f.0.remove(&name).is_some()))]
                    }
                    RotationStep::Compress { from } => {
                        let (temporary, replaced, gz) =
                            (temporary_name(&from), replaced_name(&from), format!("{from}.gz"));
                        let copy = {
                            let (from, temporary) = (from.clone(), temporary.clone());
                            move |f: &mut Folder| {
                                let content = f.0[&from];
                                f.0.insert(temporary.clone(), content);
                            }
                        };
                        let rename_plain = {
                            let replaced = replaced.clone();
                            move |f: &mut Folder| f.rename(&from, &replaced)
                        };
                        let rename_compressed = move |f: &mut Folder| f.rename(&temporary, &gz);
                        let remove = move |f: &mut Folder| assert!(f.0.remove(&replaced).is_some());
                        vec![
                            Box::new(copy),
                            Box::new(rename_plain),
                            Box::new(rename_compressed),
                            Box::new(remove),
                        ]
                    }
                };
                for change in changes {
                    if budget == 0 {
                        return 0;
                    }
                    budget -= 1;
                    change(self);
                }
            }
            budget
        }

        /// The contents of the log and its rotated files, newest first, without duplicates.
        fn contents(&self) -> Vec<u32> {
            let number = |name: &str| -> Option<(u32, bool)> {
                if name == "a" {
                    return Some((0, false));
                }
                let suffix = name.strip_prefix("a.")?;
                let suffix = suffix.strip_suffix(".tmp").or(suffix.strip_suffix(".old")).unwrap_or(suffix);
                Slot::parse(suffix, 5)
                    .map(|slot| (slot.number, slot.is_compressed && !name.ends_with(".old")))
            };
            let mut all: Vec<_> = self.0.iter().filter_map(|(n, c)| Some((number(n)?, *c))).collect();
            all.sort_unstable();
            let mut contents: Vec<u32> = all.into_iter().map(|(_, content)| content).collect();
            contents.dedup();
            contents
        }
    }

    /// Generates directories with any set of the log and its rotated files, such as other programs or interrupted
    /// rotations leave, without the temporary names of an interrupted compression.
    fn folder() -> impl Strategy<Value = Folder> {
        let suffixes = ["", ".1", ".1.gz", ".2", ".2.gz", ".3", ".3.gz", ".4", ".4.gz", ".5", ".5.gz"];
        proptest::sample::subsequence(suffixes.to_vec(), 0..=suffixes.len()).prop_map(|suffixes| {
            Folder(
                suffixes.iter().zip(0..).map(|(suffix, content)| (format!("a{suffix}"), content)).collect(),
            )
        })
    }

    /// Like `folder`, with at most one file for each number.
    fn own_folder() -> impl Strategy<Value = Folder> {
        folder().prop_map(|mut folder| {
            for number in 1..=5 {
                if folder.0.contains_key(&format!("a.{number}")) {
                    folder.0.remove(&format!("a.{number}.gz"));
                }
            }
            folder
        })
    }

    fn scheme() -> impl Strategy<Value = Scheme> {
        prop_oneof![Just(Scheme::All), Just(Scheme::AllButNewest)]
    }

    proptest! {
        #[test]
        fn a_rotation_overwrites_nothing_keeps_the_order_and_removes_only_the_oldest(
            mut folder in folder(), scheme in scheme(),
        ) {
            let (before, has_log) = (folder.contents(), folder.0.contains_key("a"));
            let form_count = |n: &u32| {
                let has = |suffix: &str| folder.0.contains_key(&format!("a.{n}{suffix}"));
                has("") as usize + has(".gz") as usize
            };
            let two_form_count = (1..=5).filter(|n| form_count(n) == 2).count();
            let is_full = (1..=5).all(|n| form_count(&n) > 0);
            let plan = plan("a", &folder.names(), scheme, 5, true);
            folder.execute(&plan.renames, usize::MAX);
            folder.execute(&plan.compressions, usize::MAX);
            let after = folder.contents();
            prop_assert!(!folder.0.contains_key("a"));
            prop_assert!(before.starts_with(&after), "{:?} {:?}", before, after);
            // This server never leaves two files with the same number; a new file may cause the removal of the oldest.
            let removed_count = before.len() - after.len();
            prop_assert!(removed_count <= two_form_count + usize::from(has_log && is_full), "{:?}", folder);
            for name in folder.names() {
                prop_assert!(!name.contains(".gz."), "{}", name);
            }
            prop_assert!(!has_log || folder.0.contains_key("a.1") || folder.0.contains_key("a.1.gz"));
        }

        #[test]
        fn an_interrupted_rotation_is_finished_by_the_next_without_loss(
            mut folder in own_folder(), scheme in scheme(), budgets in proptest::collection::vec(0_usize..12, 0..4),
        ) {
            let before = folder.contents();
            for budget in budgets {
                let plan = plan("a", &folder.names(), scheme, 5, true);
                let remaining = folder.execute(&plan.renames, budget);
                folder.execute(&plan.compressions, remaining);
                let after = folder.contents();
                prop_assert!(before.starts_with(&after), "{:?} {:?} {:?}", before, after, folder);
                prop_assert!(before.len() - after.len() <= usize::from(before.len() == 6), "{:?}", folder);
            }
            let plan = plan("a", &folder.names(), scheme, 5, false);
            folder.execute(&plan.renames, usize::MAX);
            folder.execute(&plan.compressions, usize::MAX);
            prop_assert!(before.starts_with(&folder.contents()));
            let remaining = super::plan("a", &folder.names(), scheme, 5, false);
            prop_assert_eq!(remaining, Plan::default());
        }
    }
}
