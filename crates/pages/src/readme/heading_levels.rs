//! The levels of the headings of a README on a page.

/// The level of the heading above a README.
const ABOVE: usize = 2;
/// The lowest level of HTML.
const LOWEST: usize = 6;

/// Numbers headings by their position in the text, so that the first one is directly below the heading of the page, and
/// every other one at most one level below the previous one.
#[derive(Default)]
pub(super) struct HeadingLevels {
    /// The levels in the text of the current heading and of those above it, in ascending order.
    above: Vec<usize>,
    /// The levels on the page of the elements that are open.
    open: Vec<usize>,
}

impl HeadingLevels {
    /// Returns the level on the page of a heading that begins; `level` is its level in the text.
    pub(super) fn begin(&mut self, level: usize) -> usize {
        while self.above.last().is_some_and(|above| *above >= level) {
            self.above.pop();
        }
        self.above.push(level);
        let level = (ABOVE + self.above.len()).min(LOWEST);
        self.open.push(level);
        level
    }

    /// Returns the level on the page of the heading that ends.
    pub(super) fn end(&mut self) -> usize {
        self.open.pop().unwrap_or(LOWEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(text: &[usize]) -> Vec<usize> {
        let mut levels = HeadingLevels::default();
        let level = |level: &usize| {
            let begin = levels.begin(*level);
            assert_eq!(levels.end(), begin);
            begin
        };
        text.iter().map(level).collect()
    }

    #[test]
    fn no_level_is_skipped_and_equal_levels_stay_equal() {
        for (text, page) in [
            (vec![1, 2, 3, 2, 1], vec![3, 4, 5, 4, 3]),
            (vec![2, 3, 2, 3, 2], vec![3, 4, 3, 4, 3]),
            (vec![1, 3, 3, 4, 2, 3], vec![3, 4, 4, 5, 4, 5]),
            (vec![6, 1, 6], vec![3, 3, 4]),
            (vec![1, 2, 3, 4, 5, 6], vec![3, 4, 5, 6, 6, 6]),
        ] {
            assert_eq!(levels(&text), page, "{text:?}");
        }
    }

    #[test]
    fn a_heading_in_a_heading_ends_first() {
        let mut levels = HeadingLevels::default();
        assert_eq!((levels.begin(1), levels.begin(2)), (3, 4));
        assert_eq!((levels.end(), levels.end()), (4, 3));
    }
}
