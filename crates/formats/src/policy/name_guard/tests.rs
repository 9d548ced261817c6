//! Tests of patterns, comparison keys and the order of guards.

use proptest::prelude::*;

use super::*;

fn r(text: &str) -> NamePattern {
    NamePattern::parse(text, Language::R).expect("a pattern")
}

fn guard(id: i64, pattern: NamePattern, source: i64, is_automatic: bool) -> Arc<NameGuard> {
    Arc::new(NameGuard {
        id,
        language: Language::R,
        pattern,
        source: SourceId(source),
        is_automatic,
        has_overlap: is_automatic,
        description: String::new(),
    })
}

#[test]
fn a_pattern_is_a_name_or_the_beginning_of_names() {
    assert_eq!(r("acme.*"), NamePattern::Prefix("acme.".to_owned()));
    assert_eq!(r(" acme "), NamePattern::Exact("acme".to_owned()));
    for bad in [
        "", "*", " * ", "**", "a*b", "*a", "a**", "a", "1a", "a_b", "a-b", "a.", "a?", "[a]", "é*", "a/b",
        "a\nb",
    ] {
        assert!(NamePattern::parse(bad, Language::R).is_err(), "{bad}");
    }
    let python = |text: &str| NamePattern::parse(text, Language::Python).map(|pattern| pattern.to_string());
    assert_eq!(python("Acme_Tools.*"), Ok("acme-tools-*".to_owned()));
    assert_eq!(python("ACME__x"), Ok("acme-x".to_owned()));
    for bad in ["*", "-*", ".a", "a-", "a b", "a*b", "\u{212a}ey"] {
        assert!(python(bad).is_err(), "{bad}");
    }
    assert!(NamePattern::parse(&"a".repeat(129), Language::R).is_err());
    assert!(NamePattern::parse("*", Language::R).expect_err("all names").0.contains("every name"));
}

#[test]
fn a_pattern_precedes_an_automatic_guard_and_the_longest_prefix_a_shorter_one() {
    let guards = NameGuards::new([
        guard(1, r("acme.db"), 5, true),
        guard(2, r("acme.*"), 6, false),
        guard(3, r("acme.db.*"), 7, false),
        guard(4, r("acme.db.x"), 8, false),
        guard(5, r("own"), 5, true),
    ]);
    let source = |name: &str| guards.find(Language::R, name).map(|guard| guard.source.0);
    assert_eq!(source("acme.db"), Some(6));
    assert_eq!(source("acme.db.y"), Some(7));
    assert_eq!(source("acme.db.x"), Some(8));
    assert_eq!((source("own"), source("Own"), source("acme")), (Some(5), None, None));
    assert!(guards.find(Language::Python, "own").is_none());
    assert!(guards.without_automatic().find(Language::R, "own").is_none());
}

#[test]
fn automatic_guards_hide_mirrors_and_only_after_an_overlap() {
    let automatic = guard(1, r("own"), 5, true);
    assert!(automatic.hides(SourceId(1), false) && !automatic.hides(SourceId(6), true));
    let pattern = guard(2, r("own"), 5, false);
    assert!(pattern.hides(SourceId(6), true) && !pattern.hides(SourceId(5), true));
    let idle = Arc::new(NameGuard { has_overlap: false, ..(*automatic).clone() });
    let sources = [(SourceId(1), false), (SourceId(5), true)];
    assert!(NameGuards::new([idle]).select(Language::R, &sources, true).is_empty());
    let active = NameGuards::new([automatic]);
    assert!(!active.select(Language::R, &sources, true).is_empty());
    assert!(active.select(Language::R, &sources, false).is_empty());
    assert!(active.select(Language::R, &sources[1..], true).is_empty(), "no mirror");
}

#[test]
fn a_set_with_more_guards_equals_the_set_of_all_of_them() {
    let name = |number: i64| NamePattern::Exact(format!("own{number}"));
    let of = |number: i64| match number % 400 {
        0 => guard(number, r(&format!("own{number}.*")), 6, false),
        1 => guard(number, name(number / 2), 7, false),
        2 => guard(number, name(number), 5, true),
        _ => Arc::new(NameGuard { has_overlap: false, ..(*guard(number, name(number), 5, true)).clone() }),
    };
    let mut set = NameGuards::new((0..1000).map(of));
    for number in 1000..2000 {
        let before = set.clone();
        set = set.with([of(number)]);
        assert!(!of(number).is_idle() || set != before);
    }
    let all = NameGuards::new((0..2000).map(of));
    assert_eq!(set, all);
    for number in 0..2000 {
        let name = format!("own{number}");
        assert_eq!(set.find(Language::R, &name), all.find(Language::R, &name), "{name}");
        assert!(set.find(Language::R, &name).is_some() || number % 400 < 2, "{name}");
        assert!(set.find(Language::Python, &name).is_none());
    }
    let sources = [(SourceId(1), false)];
    assert_eq!(set.select(Language::R, &sources, true).active().count(), 15, "the idle ones hide nothing");
    assert_eq!(set.without_automatic().active().count(), 10);
}

proptest! {
    #[test]
    fn text_of_any_form_is_refused_or_matches_what_it_states(text in "\\PC{0,12}", name in "[a-zA-Z][a-zA-Z0-9.]{0,8}") {
        for language in Language::ALL {
            if let Ok(pattern) = NamePattern::parse(&text, language) {
                let again = NamePattern::parse(&pattern.to_string(), language);
                prop_assert_eq!(again.as_ref(), Ok(&pattern));
                prop_assert!(!pattern.stem().is_empty());
                prop_assert_eq!(pattern.matches(&name), pattern.overlaps(&NamePattern::Exact(name.clone())));
            }
        }
    }

    #[test]
    fn a_prefix_matches_exactly_the_names_that_begin_with_it(prefix in "[a-z][a-z.]{0,3}", name in "[a-z][a-z.]{0,5}") {
        let pattern = NamePattern::parse(&format!("{prefix}*"), Language::R).expect("a pattern");
        prop_assert_eq!(pattern.matches(&name), name.starts_with(&prefix));
    }

    #[test]
    fn spellings_of_a_python_name_are_one_name(parts in prop::collection::vec("[a-zA-Z0-9]{1,4}", 1..4), seps in prop::collection::vec("[._-]{1,3}", 3)) {
        let mut spelled = parts[0].clone();
        for (part, sep) in parts[1..].iter().zip(&seps) {
            spelled.push_str(sep);
            spelled.push_str(part);
        }
        let expected = NamePattern::Exact(parts.join("-").to_lowercase());
        prop_assert_eq!(NamePattern::parse(&spelled, Language::Python), Ok(expected));
    }

    #[test]
    fn folding_ignores_case_and_separators_only(name in "[a-zA-Z][a-zA-Z0-9._]{0,10}") {
        let key = comparison_key(&name);
        prop_assert_eq!(comparison_key(&name.to_uppercase()), key.clone());
        prop_assert_eq!(comparison_key(&name.replace('.', "_")), key.clone());
        prop_assert_eq!(comparison_key(&key), key.clone());
        prop_assert_eq!(key.len(), name.chars().filter(char::is_ascii_alphanumeric).count());
    }

    #[test]
    fn patterns_that_overlap_share_a_name(a in "[a-z]{1,3}", b in "[a-z]{1,3}") {
        let prefixes = (NamePattern::Prefix(a.clone()), NamePattern::Prefix(b.clone()));
        let longer = if a.len() > b.len() { &a } else { &b };
        let shared = prefixes.0.matches(longer) && prefixes.1.matches(longer);
        prop_assert_eq!(prefixes.0.overlaps(&prefixes.1), shared);
    }
}
