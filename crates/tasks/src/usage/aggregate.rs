//! The stored form of the counts of a past day: one line per package, compressed. Pure.

use std::fmt::Write;

use store::db::download::PackageCount;

/// Maximum decompressed size of a day in bytes.
const MAX_SIZE: usize = 64 << 20;

/// Renders the counts of a day: lines with language, source, package and count, separated by tabs, in a Zstandard
/// frame. Equal counts give equal bytes.
pub(super) fn render(counts: &[PackageCount]) -> Vec<u8> {
    let mut sorted_counts: Vec<&PackageCount> = counts.iter().collect();
    sorted_counts.sort_unstable();
    let mut text = String::new();
    for PackageCount { language, source, package, count } in sorted_counts {
        let _ = writeln!(text, "{language}\t{source}\t{package}\t{count}");
    }
    zstd::bulk::compress(text.as_bytes(), 3).unwrap_or_default()
}

/// Parses the output of [`render`]; `None` if it is damaged.
pub(super) fn parse(bytes: &[u8]) -> Option<Vec<PackageCount>> {
    let text = String::from_utf8(zstd::bulk::decompress(bytes, MAX_SIZE).ok()?).ok()?;
    let parse_line = |line: &str| {
        let mut parts = line.split('\t');
        let mut part = || parts.next().map(str::to_owned);
        let (language, source, package) = (part()?, part()?, part()?);
        let count = part()?.parse().ok()?;
        Some(PackageCount { language, source, package, count })
    };
    text.lines().map(parse_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package_count(package: &str, count: i64) -> PackageCount {
        PackageCount {
            language: "r".to_owned(),
            source: "cran".to_owned(),
            package: package.to_owned(),
            count,
        }
    }

    #[test]
    fn a_day_is_read_back_in_any_order() {
        let day = [package_count("a", 3), package_count("b", 1)];
        let bytes = render(&day);
        assert_eq!(parse(&bytes).expect("undamaged"), day);
        assert_eq!(render(&[day[1].clone(), day[0].clone()]), bytes);
        assert_eq!(parse(&render(&[])), Some(Vec::new()));
    }

    #[test]
    fn damage_is_detected() {
        let bytes = render(&[package_count("a", 3)]);
        assert_eq!(parse(&bytes[..bytes.len() - 1]), None);
        assert_eq!(parse(b"r\tcran\ta\t3\n"), None);
        let other = zstd::bulk::compress(b"r\tcran\ta\n", 3).expect("compressed");
        assert_eq!(parse(&other), None);
    }
}
