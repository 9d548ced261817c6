//! Suggests a known name for a misspelled one.

/// Formats the question `did you mean X?`.
pub(super) fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}

/// Returns the known name with the smallest edit distance to `name`, if it is similar enough.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    // The comparison is quadratic, and no known name is that long.
    if name.len() > 64 {
        return None;
    }
    let distance = |candidate: &str| strsim::damerau_levenshtein(&name, &candidate.to_ascii_lowercase());
    let (distance, nearest_name) =
        candidates.map(|candidate| (distance(candidate), candidate)).min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + nearest_name.len() / 4).then_some(nearest_name)
}
