//! Formats a number with its noun.

/// Returns a number with its noun, such as `1 package` or `23,144 packages`.
pub fn count_of(number: impl TryInto<u64>, singular: &str, plural: &str) -> String {
    let number = number.try_into().unwrap_or(0);
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or("")).collect();
    format!("{} {}", groups.join(","), if number == 1 { singular } else { plural })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noun_agrees_with_the_number() {
        assert_eq!(count_of(0_usize, "package", "packages"), "0 packages");
        assert_eq!(count_of(1_i64, "package", "packages"), "1 package");
        assert_eq!(count_of(23_144_u64, "package", "packages"), "23,144 packages");
    }
}
