//! Names of persons that look the same to a reader.

/// Returns whether a character has no glyph, or changes the direction of text: names with and without it look the same.
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
            | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}'
            | '\u{110cd}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Returns whether two names are those of one person: equal but for case, blanks at their ends, invisible characters
/// and encoding (compatibility caseless match of Unicode, 3.13 D146). Letters of different scripts differ.
pub fn is_same(a: &str, b: &str) -> bool {
    let visible = |name: &str| name.chars().filter(|c| !is_invisible(*c)).collect::<String>();
    let (a, b) = (visible(a), visible(b));
    caseless::compatibility_caseless_match_str(a.trim(), b.trim())
}

/// Returns whether two names may be those of one person: [`is_same`], or one is the other with a domain, as
/// `ann@company.example` and `COMPANY\\ann` are for `ann`. The user of a machine has no domain, and the name that an identity
/// provider states has one. Names with different domains are those of two persons.
pub fn may_be_same(a: &str, b: &str) -> bool {
    let is_with_domain = |name: &str, other: &str| {
        without_domain(other).is_none() && without_domain(name).is_some_and(|name| is_same(name, other))
    };
    is_same(a, b) || is_with_domain(a, b) || is_with_domain(b, a)
}

/// Returns the name before or after a domain; `None` for a name without one.
fn without_domain(name: &str) -> Option<&str> {
    let (name, domain) =
        name.rsplit_once('@').or_else(|| name.split_once('\\').map(|(domain, name)| (name, domain)))?;
    (!is_same(name, "") && !is_same(domain, "")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_the_same_are_those_of_one_person() {
        for (a, b) in [
            ("ann", "Ann "),
            ("ann", "\u{ff41}\u{ff4e}\u{ff4e}"),
            ("ann", "ann\u{200b}"),
            ("ann", "a\u{ad}n\u{2060}n"),
            ("ann", "\u{202d}ann\u{202c}"),
            ("ren\u{e9}", "rene\u{301}"),
            ("stra\u{df}e", "STRASSE"),
            ("\u{fb01}nn", "FINN"),
            ("a\u{a0}b", "a b"),
        ] {
            assert!(is_same(a, b) && is_same(b, a), "{a} {b}");
        }
        for (a, b) in
            [("ann", "anna"), ("ann", "\u{430}nn"), ("ann", "ann@pharma.example"), ("ren\u{e9}", "rene")]
        {
            assert!(!is_same(a, b), "{a} {b}");
        }
        assert!(is_same("", " \u{200b}"), "no person");
    }

    #[test]
    fn a_name_with_a_domain_may_be_that_of_the_person_without_one() {
        for (a, b) in [
            ("ann", "ann@pharma.example"),
            ("ann", "Ann @PHARMA.example"),
            ("ann", "PHARMA\\ANN"),
            ("ann", "ANN "),
        ] {
            assert!(may_be_same(a, b) && may_be_same(b, a), "{a} {b}");
        }
        for (a, b) in [
            ("ann", "anna@pharma.example"),
            ("ann@pharma.example", "ann@other.example"),
            ("ann@pharma.example", "PHARMA\\ann"),
            ("", "@pharma.example"),
            ("ann", "ann@"),
        ] {
            assert!(!may_be_same(a, b) && !may_be_same(b, a), "{a} {b}");
        }
    }
}
