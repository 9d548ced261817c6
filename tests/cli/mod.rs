//! The real `rspm` with the real server: its output, its refusals and their reasons.

mod access;
mod backfill;
mod block_rules;
mod clear;
mod debug_regions;
mod fixed_urls;
mod hidden_characters;
mod import;
mod import_beside_life;
mod name_guards;
mod pipes;
mod promotion;
mod promotion_access;
mod retries;
mod state;
mod state_commits;
mod state_recipes;
mod syncing;
mod texts;
mod unsupported;

use crate::support::team::{add, files, path_flag, team};

/// The text with every time (`2026-10-05 12:00:00 UTC` or RFC 3339) as `<time>`, and every day as `<day>`.
fn timeless(text: &str) -> String {
    let has_shape = |text: &str, shape: &str| {
        text.len() >= shape.len()
            && text
                .bytes()
                .zip(shape.bytes())
                .all(|(b, s)| if s == b'0' { b.is_ascii_digit() } else { b == s })
    };
    let (mut out, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let length = if has_shape(rest, "0000-00-00 00:00:00 UTC") {
            out.push_str("<time>");
            23
        } else if has_shape(rest, "0000-00-00T00:00:00") {
            out.push_str("<time>");
            rest.find('Z').map_or(19, |at| at + 1)
        } else if has_shape(rest, "0000-00-00") {
            out.push_str("<day>");
            10
        } else {
            out.push(first);
            first.len_utf8()
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}
