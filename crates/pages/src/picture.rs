//! What all pictures share: their frame, scales and bars. They are inline SVG with sizes as attributes and colors by class.
//! Libraries for charts would write fixed colors, and fonts or inline styles, which the policy of the pages forbids.

use std::fmt::Write;

use maud::{Markup, html};

/// The frame of a picture, with the texts for screen readers. Lengths are in user units of SVG.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picture<'a> {
    /// Its class, with which the ids of its texts begin.
    pub(super) name: &'static str,
    pub(super) width: i64,
    pub(super) height: i64,
    pub(super) title: &'a str,
    pub(super) description: &'a str,
}

impl Picture<'_> {
    /// Renders the picture in a region that is scrolled on its own. `role` is `img`, or `group` if `content` has links.
    pub(super) fn render(&self, role: &str, content: &Markup) -> Markup {
        let Picture { name, width, height, title, description } = *self;
        let (title_id, description_id) = (format!("{name}-title"), format!("{name}-text"));
        html! {
            section.scroll.picture tabindex="0" aria-label=(title) {
                svg class=(name) viewbox={ "0 0 " (width) " " (height) } width=(width) height=(height) role=(role)
                    aria-labelledby=(title_id) aria-describedby=(description_id) {
                    title id=(title_id) { (title) }
                    desc id=(description_id) { (description) }
                    (content)
                }
            }
        }
    }
}

/// A linear scale: the values from `first` to `last` are at the places from 0 to `length`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) length: i64,
}

impl Scale {
    /// Returns the place of a value; one outside the scale is at its end.
    pub(super) fn at(&self, value: i64) -> i64 {
        let Scale { first, last, length } = *self;
        let distance = i128::from(value.clamp(first, last.max(first))) - i128::from(first);
        let span = (i128::from(last) - i128::from(first)).max(1);
        i64::try_from(distance * i128::from(length) / span).unwrap_or(length)
    }
}

/// Returns a path with a bar for each value above 0, all standing on a line at `height`; `step` is the distance of bars.
pub(super) fn bars(values: &[i64], step: i64, height: i64) -> String {
    let scale = Scale { first: 0, last: values.iter().copied().max().unwrap_or(0), length: height };
    let mut path = String::new();
    for (at, value) in (0_i64..).zip(values).filter(|(_, value)| **value > 0) {
        let (x, width, bar) = (at * step, step - 1, scale.at(*value).max(1));
        let _ = write!(path, "M{x} {height}v-{bar}h{width}v{bar}z");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_at_their_places_and_bars_as_high_as_their_values() {
        let scale = Scale { first: 10, last: 20, length: 100 };
        assert_eq!([0, 10, 13, 20, 99].map(|value| scale.at(value)), [0, 0, 30, 100, 100]);
        let all = Scale { first: i64::MIN, last: i64::MAX, length: 100 };
        assert_eq!([i64::MIN, 0, i64::MAX].map(|value| all.at(value)), [0, 50, 100]);
        assert_eq!(Scale { first: 5, last: 5, length: 100 }.at(5), 0);
        assert_eq!(bars(&[0, 1_000, 1, 500], 4, 80), "M4 80v-80h3v80zM8 80v-1h3v1zM12 80v-40h3v40z");
        assert_eq!(bars(&[], 4, 80), "");
    }

    #[test]
    fn texts_of_a_picture_are_escaped() {
        let picture =
            Picture { name: "x", width: 1, height: 2, title: "<b>\"", description: "</desc><script>" };
        let html = picture.render("img", &html! {}).into_string();
        assert!(html.contains("<title id=\"x-title\">&lt;b&gt;&quot;</title>"), "{html}");
        assert!(html.contains("&lt;/desc&gt;&lt;script&gt;") && !html.contains("<script"), "{html}");
    }
}
