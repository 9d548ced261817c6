//! The base score of a CVSS vector.

/// The required base metrics of CVSS 2. Other metrics are ignored, because they depend on the time or the environment.
const BASE_METRICS_V2: &[&str] = &["AV", "AC", "Au", "C", "I", "A"];
/// The required base metrics of CVSS 3.
const BASE_METRICS_V3: &[&str] = &["AV", "AC", "PR", "UI", "S", "C", "I", "A"];
/// The required base metrics of CVSS 4.
const BASE_METRICS_V4: &[&str] = &["AV", "AC", "AT", "PR", "UI", "VC", "VI", "VA", "SC", "SI", "SA"];

/// Returns the base score, from 0.0 to 10.0, of a CVSS vector of version 2.0, 3.0, 3.1 or 4.0; `None` if the text is
/// not a vector.
pub fn base_score(vector: &str) -> Option<f64> {
    if vector.len() > 400 {
        return None;
    }
    let vector = vector.trim().trim_end_matches('/');
    let (version, metrics) = match vector.split_once('/') {
        Some((version, rest)) if version.starts_with("CVSS:") => (Some(version), rest),
        Some(_) | None => (None, vector),
    };
    let names = match version {
        None => BASE_METRICS_V2,
        Some("CVSS:3.0" | "CVSS:3.1") => BASE_METRICS_V3,
        Some("CVSS:4.0") => BASE_METRICS_V4,
        Some(_) => return None,
    };
    let find = |metric: &&str| {
        let mut values = metrics.split('/').filter(|part| part.split(':').next() == Some(metric));
        // A repeated metric is ambiguous.
        values.next().filter(|_| values.next().is_none())
    };
    let base_metrics: Vec<&str> = names.iter().map(find).collect::<Option<_>>()?;
    let text = version.into_iter().chain(base_metrics).collect::<Vec<_>>().join("/");
    let score = text.parse::<cvss::Cvss>().ok()?.score();
    // Scores have one decimal place.
    Some((score * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scores_are_those_of_the_calculators() {
        for (vector, score) in [
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
            ("CVSS:3.0/AV:L/AC:H/PR:L/UI:N/S:U/C:N/I:N/A:L", 2.5),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
            // Metrics outside the base group are ignored.
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/E:P/RL:O/RC:C", 9.8),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", 9.3),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H", 10.0),
            ("CVSS:4.0/AV:L/AC:L/AT:N/PR:L/UI:N/VC:N/VI:N/VA:L/SC:N/SI:N/SA:N/E:U", 4.8),
            ("AV:N/AC:L/Au:N/C:P/I:P/A:P", 7.5),
        ] {
            assert_eq!(base_score(vector), Some(score), "{vector}");
        }
        for bad in
            ["", "medium", "7.5", "CVSS:3.1", "CVSS:3.1/AV:N", "CVSS:9.9/AV:N/AC:L", "CVSS:4.0/AV:N/AC:L"]
        {
            assert_eq!(base_score(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(CVSS:[2345]\\.[01]/)?([A-Z][A-Za-z]?:[A-Z]/?){0,14}|.{0,40}") {
            prop_assert!(base_score(&text).is_none_or(|score| (0.0..=10.0).contains(&score)));
        }

        #[test]
        fn every_vector_of_the_fourth_version_has_a_score(
            av in "[NALP]", ac in "[LH]", at in "[NP]", pr in "[NLH]", ui in "[NPA]", rest in "[HLN]{6}",
        ) {
            let names = ["VC", "VI", "VA", "SC", "SI", "SA"];
            let rest: Vec<String> = names.iter().zip(rest.chars()).map(|(n, c)| format!("{n}:{c}")).collect();
            let text = format!("CVSS:4.0/AV:{av}/AC:{ac}/AT:{at}/PR:{pr}/UI:{ui}/{}", rest.join("/"));
            let score = base_score(&text);
            prop_assert!(score.is_some_and(|score| (0.0..=10.0).contains(&score)), "{} {:?}", text, score);
        }
    }
}
