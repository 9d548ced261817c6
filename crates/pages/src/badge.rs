//! The badge of a package: a picture of one line for pages of others, such as the README of a project.

use maud::html;

use super::feed::plain;
use base::model::text::one_line;

/// Maximum number of characters of each part.
const MAX_TEXT: usize = 40;
/// Height, in pixels, as all lengths.
const HEIGHT: usize = 20;
/// Space before and after a text.
const SPACE: usize = 6;

/// The background of the value; white text has a contrast of at least 4.5 on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Bad,
    Unknown,
}

impl Tone {
    fn color(self) -> &'static str {
        match self {
            Tone::Plain => "#0b5fa5",
            Tone::Good => "#1b6e3c",
            Tone::Bad => "#b3261e",
            Tone::Unknown => "#55606b",
        }
    }
}

/// Returns a badge as a document of SVG, with a label and a value.
pub fn badge(label: &str, value: &str, tone: Tone) -> String {
    let shown = |text: &str| one_line(&plain(text), MAX_TEXT);
    let (label, value) = (shown(label), shown(value));
    let (left, right) = (length(&label) + 2 * SPACE, length(&value) + 2 * SPACE);
    let text = format!("{label}: {value}");
    let document = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(left + right) height=(HEIGHT) role="img" aria-label=(text)
            font-family="Verdana, DejaVu Sans, sans-serif" font-size="11" fill="#ffffff" {
            title { (text) }
            rect width=(left) height=(HEIGHT) fill="#1a2027" {}
            rect x=(left) width=(right) height=(HEIGHT) fill=(tone.color()) {}
            @for (x, text) in [(left / 2, &label), (left + right / 2, &value)] {
                text x=(x) y="14" text-anchor="middle" { (text) }
            }
        }
    };
    document.into_string()
}

/// Returns about the length of a text in Verdana of 11 pixels.
fn length(text: &str) -> usize {
    let width = |c: char| match c {
        'f' | 'i' | 'j' | 'l' | 'r' | 't' | '.' | ',' | ':' | ' ' | '-' | '(' | ')' => 4,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 10,
        'A'..='Z' => 8,
        c if c.is_ascii() => 7,
        _ => 11,
    };
    text.chars().map(width).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badge_is_a_small_document_with_escaped_texts() {
        let svg = badge("ggplot2", "4.0.1", Tone::Plain);
        for part in [
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"96\" height=\"20\" role=\"img\" aria-label=\"ggplot2: 4.0.1\"",
            "<title>ggplot2: 4.0.1</title>",
            "fill=\"#0b5fa5\"",
            ">4.0.1</text></svg>",
        ] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        let hostile = "</title><script>alert(1)</script>\u{202e}\u{0}\u{ffff}\"'&";
        let svg = badge(hostile, &hostile.repeat(100), Tone::Bad);
        assert!(!svg.contains("<script") && svg.matches("</title>").count() == 1, "{svg}");
        assert!(!svg.contains(['\u{202e}', '\u{0}', '\u{ffff}']) && svg.len() <= 1_500, "{svg}");
    }
}
