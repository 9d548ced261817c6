//! Groups advisories about the same vulnerability, because databases copy from each other under their own ids.

use std::collections::HashMap;

/// Groups items that share a name, directly or through other items. An item is given by its names. Returns the sorted
/// item indexes of each group.
pub(super) fn group_by_shared_name<'a, N: IntoIterator<Item = &'a str>>(
    items: impl IntoIterator<Item = N>,
) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut group_of: HashMap<&str, usize> = HashMap::new();
    for (index, names) in items.into_iter().enumerate() {
        let names: Vec<&str> = names.into_iter().collect();
        let mut existing_groups: Vec<usize> =
            names.iter().filter_map(|name| group_of.get(name).copied()).collect();
        existing_groups.sort_unstable();
        existing_groups.dedup();
        let target = existing_groups.first().copied().unwrap_or_else(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[target].push(index);
        // An item with names from several groups joins these groups.
        for other in existing_groups.into_iter().skip(1) {
            let members = std::mem::take(&mut groups[other]);
            groups[target].extend(members);
            group_of.values_mut().filter(|group| **group == other).for_each(|group| *group = target);
        }
        group_of.extend(names.into_iter().map(|name| (name, target)));
    }
    groups.retain(|group| !group.is_empty());
    groups.iter_mut().for_each(|group| group.sort_unstable());
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn items_that_share_a_name_are_one_group() {
        let group =
            |items: &[&[&'static str]]| group_by_shared_name(items.iter().map(|names| names.iter().copied()));
        assert_eq!(group(&[&["A", "CVE-1"], &["B"], &["G", "CVE-1"]]), [vec![0, 2], vec![1]]);
        assert_eq!(
            group(&[&["A"], &["B"], &["C", "A", "B"]]),
            [vec![0, 1, 2]],
            "a third item joins two groups"
        );
        assert_eq!(group(&[&["A", "B"], &["B", "A"]]), [vec![0, 1]]);
        assert_eq!(group(&[]), Vec::<Vec<usize>>::new());
    }

    proptest! {
        #[test]
        fn groups_are_the_connected_components(items in proptest::collection::vec(proptest::collection::vec(0_usize..8, 0..4), 0..8)) {
            const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
            let groups = group_by_shared_name(items.iter().map(|names| names.iter().map(|n| NAMES[*n])));
            let mut members: Vec<usize> = groups.concat();
            members.sort_unstable();
            prop_assert_eq!(members, (0..items.len()).collect::<Vec<_>>(), "each once");
            // Propagates the lowest number until nothing changes.
            let mut label: Vec<usize> = (0..items.len()).collect();
            for _ in 0..items.len() {
                for a in 0..items.len() {
                    for b in 0..items.len() {
                        if items[a].iter().any(|name| items[b].contains(name)) {
                            let smallest = label[a].min(label[b]);
                            (label[a], label[b]) = (smallest, smallest);
                        }
                    }
                }
            }
            for group in &groups {
                prop_assert!(group.iter().all(|index| label[*index] == label[group[0]]));
            }
            let mut firsts: Vec<usize> = groups.iter().map(|group| label[group[0]]).collect();
            let count = firsts.len();
            firsts.sort_unstable();
            firsts.dedup();
            prop_assert_eq!(firsts.len(), count, "no two groups belong together");
        }
    }
}
