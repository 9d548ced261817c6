//! Groups advisories about the same vulnerability: databases copy from each other under ids of their own.

use std::collections::HashMap;

/// Groups items that share a name, directly or through others. Each item is given as its names; returns the sorted
/// indexes of each group, ordered by the first of each.
pub(super) fn group_by_shared_name<'a, N: IntoIterator<Item = &'a str>>(
    named: impl IntoIterator<Item = N>,
) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    // The group of each name.
    let mut of: HashMap<&str, usize> = HashMap::new();
    for (place, names) in named.into_iter().enumerate() {
        let names: Vec<&str> = names.into_iter().collect();
        let mut met: Vec<usize> = names.iter().filter_map(|name| of.get(name).copied()).collect();
        met.sort_unstable();
        met.dedup();
        let into = met.first().copied().unwrap_or_else(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[into].push(place);
        // An item with names of several groups joins them.
        for other in met.into_iter().skip(1) {
            let moved = std::mem::take(&mut groups[other]);
            groups[into].extend(moved);
            of.values_mut().filter(|group| **group == other).for_each(|group| *group = into);
        }
        of.extend(names.into_iter().map(|name| (name, into)));
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
        let of =
            |named: &[&[&'static str]]| group_by_shared_name(named.iter().map(|names| names.iter().copied()));
        assert_eq!(of(&[&["A", "CVE-1"], &["B"], &["G", "CVE-1"]]), [vec![0, 2], vec![1]]);
        assert_eq!(of(&[&["A"], &["B"], &["C", "A", "B"]]), [vec![0, 1, 2]], "a third item joins two groups");
        assert_eq!(of(&[&["A", "B"], &["B", "A"]]), [vec![0, 1]]);
        assert_eq!(of(&[]), Vec::<Vec<usize>>::new());
    }

    proptest! {
        #[test]
        fn groups_are_the_connected_components(named in proptest::collection::vec(proptest::collection::vec(0_usize..8, 0..4), 0..8)) {
            const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
            let found = group_by_shared_name(named.iter().map(|names| names.iter().map(|n| NAMES[*n])));
            let mut seen: Vec<usize> = found.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..named.len()).collect::<Vec<_>>(), "each once");
            // Propagates the least number until nothing changes.
            let mut label: Vec<usize> = (0..named.len()).collect();
            for _ in 0..named.len() {
                for a in 0..named.len() {
                    for b in 0..named.len() {
                        if named[a].iter().any(|name| named[b].contains(name)) {
                            let least = label[a].min(label[b]);
                            (label[a], label[b]) = (least, least);
                        }
                    }
                }
            }
            for group in &found {
                prop_assert!(group.iter().all(|place| label[*place] == label[group[0]]));
            }
            let mut firsts: Vec<usize> = found.iter().map(|group| label[group[0]]).collect();
            let all = firsts.len();
            firsts.sort_unstable();
            firsts.dedup();
            prop_assert_eq!(firsts.len(), all, "no two groups belong together");
        }
    }
}
