//! Characters that are not displayed, or that change how other characters are displayed: controls of terminals, and
//! directions of text. SECURITY: names and messages may be an attacker's.

/// Returns true for control characters, and for characters that override the direction of text.
pub fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns true for Unicode's category Cf, format characters, which are invisible or change the display of others.
pub fn is_format(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{110bd}'
            | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0001}'
            | '\u{e0020}'..='\u{e007f}'
    )
}

/// Returns true for the characters that a terminal does not display as such: control and format characters, and
/// separators of lines and paragraphs. False for the joiners U+200C and U+200D, which scripts and emoji need.
fn is_hidden_on_terminal(c: char) -> bool {
    let is_joiner = matches!(c, '\u{200c}' | '\u{200d}');
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || is_format(c) && !is_joiner
}

/// Replaces hidden characters by their code point: `⟨U+202E⟩`. Keeps line feeds and tabs; CRLF becomes a line feed.
pub fn visible(text: &str, is_hidden: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.replace("\r\n", "\n").chars() {
        match c {
            '\n' | '\t' => out.push(c),
            c if is_hidden(c) => out.push_str(&format!("⟨U+{:04X}⟩", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// Returns a text for a terminal with hidden characters replaced ([`visible`]).
pub fn for_terminal(text: &str) -> String {
    visible(text, is_hidden_on_terminal)
}

/// [`for_terminal`] for a text with styles of this program: bold, underlined and colored text (`ESC [ … m`). Of other
/// sequences the ESC is replaced, also of those that hide text.
pub fn styled_for_terminal(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut out = for_terminal(parts.next().unwrap_or_default());
    for part in parts {
        match part.split_once('m') {
            Some((style @ ("0" | "1" | "4" | "31" | "32" | "33"), rest)) => {
                out.push_str(&format!("\u{1b}[{style}m{}", for_terminal(rest)));
            }
            _ => out.push_str(&for_terminal(&format!("\u{1b}[{part}"))),
        }
    }
    out
}

/// Returns JSON with the hidden characters of its strings in the form `\u202e`, which is the same value.
pub fn in_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' => out.push(c),
            c if is_hidden_on_terminal(c) => {
                let mut units = [0; 2];
                c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_shown_by_their_code_points() {
        let text = "a\u{202e}b\u{2028}\u{9b}31m\u{85}\u{7f}\r\u{200b}\u{feff}\u{e0041}\u{61c}c\r\n\td";
        let expected =
            "a⟨U+202E⟩b⟨U+2028⟩⟨U+009B⟩31m⟨U+0085⟩⟨U+007F⟩⟨U+000D⟩⟨U+200B⟩⟨U+FEFF⟩⟨U+E0041⟩⟨U+061C⟩c\n\td";
        assert_eq!(for_terminal(text), expected);
        for text in ["ä ö 名前 👩\u{200d}🔬 می\u{200c}خواهم", "a\nb\tc", ""] {
            assert_eq!(for_terminal(text), text);
            assert_eq!(styled_for_terminal(text), text);
        }
    }

    #[test]
    fn only_styles_of_this_program_reach_the_terminal() {
        let styled = "\u{1b}[1mName\u{1b}[0m \u{1b}[1m\u{1b}[31mError:\u{1b}[0m a";
        assert_eq!(styled_for_terminal(styled), styled);
        for (sequence, expected) in [
            ("\u{1b}[8mhidden", "⟨U+001B⟩[8mhidden"),
            ("\u{1b}[2J", "⟨U+001B⟩[2J"),
            ("\u{1b}[1;8mx", "⟨U+001B⟩[1;8mx"),
            ("\u{1b}]0;x\u{7}", "⟨U+001B⟩]0;x⟨U+0007⟩"),
            ("\u{1b}[\u{1b}[1ma", "⟨U+001B⟩[\u{1b}[1ma"),
            ("\u{1b}", "⟨U+001B⟩"),
        ] {
            assert_eq!(styled_for_terminal(sequence), expected);
        }
    }

    #[test]
    fn json_keeps_its_value() {
        let value = serde_json::json!({ "a\u{202e}": ["\u{9b}\u{2028}\u{e0041}", "ä\n\u{1b}"] });
        let text = in_json(&serde_json::to_string_pretty(&value).expect("JSON"));
        assert!(text.contains(r"\u202e") && text.contains(r"\u009b\u2028\udb40\udc41"), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), value);
    }
}
