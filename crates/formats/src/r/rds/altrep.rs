//! Expands R's compact forms of vectors (ALTREP, only in format version 3), as far as they consist only of data.

use super::item::{Data, Item, Pair, Strings};

/// A compact form of package `base` that can be expanded without running R code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CompactForm {
    /// Integers that ascend or descend by one.
    IntegerSequence,
    /// Doubles that ascend or descend by one.
    RealSequence,
    /// Strings that are stored as the integers from which they are converted.
    DeferredString,
    /// A vector with metadata about its sort order.
    Wrapper,
}

impl CompactForm {
    /// Parses the class name and package of an ALTREP item; `None` for other classes.
    pub(super) fn parse(info: &Item) -> Option<CompactForm> {
        let Data::Pairs(nodes) = &info.data else { return None };
        let [Pair { value: class, .. }, Pair { value: package, .. }, ..] = &nodes[..] else { return None };
        let (Data::Symbol(class), Data::Symbol(package)) = (&class.data, &package.data) else { return None };
        match (&**package, &**class) {
            ("base", "compact_intseq") => Some(CompactForm::IntegerSequence),
            ("base", "compact_realseq") => Some(CompactForm::RealSequence),
            ("base", "deferred_string") => Some(CompactForm::DeferredString),
            (
                "base",
                "wrap_integer" | "wrap_real" | "wrap_logical" | "wrap_string" | "wrap_raw" | "wrap_complex"
                | "wrap_list",
            ) => Some(CompactForm::Wrapper),
            _ => None,
        }
    }

    /// Returns the number of elements that the expansion adds, which are not in the stream; 0 for a malformed state.
    pub(super) fn expanded_len(self, state: &Item) -> usize {
        match self {
            CompactForm::IntegerSequence | CompactForm::RealSequence => {
                sequence(state).map_or(0, |(n, _, _)| n)
            }
            CompactForm::DeferredString => match wrapped_vector(state).map(|item| &item.data) {
                Some(Data::Integer(numbers)) => numbers.len(),
                _ => 0,
            },
            CompactForm::Wrapper => 0,
        }
    }

    /// Expands a state to its vector; `None` if the state does not have this form.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "the length is at most i32::MAX, and integers are checked to fit i32"
    )]
    pub(super) fn expand(self, state: Item) -> Option<Item> {
        match self {
            CompactForm::IntegerSequence => {
                let (n, start, step) = sequence(&state)?;
                let is_integral = start.fract() == 0.0;
                let last_value = start + step * (n.saturating_sub(1) as f64);
                let fits_i32 = |x: f64| x > f64::from(i32::MIN) && x <= f64::from(i32::MAX);
                if !is_integral || !fits_i32(start) || !fits_i32(last_value) {
                    return None;
                }
                let numbers = (0..n).map(|i| (start + step * i as f64) as i32).collect();
                Some(Item::new(Data::Integer(numbers)))
            }
            CompactForm::RealSequence => {
                let (n, start, step) = sequence(&state)?;
                Some(Item::new(Data::Real((0..n).map(|i| start + step * i as f64).collect())))
            }
            CompactForm::DeferredString => {
                // Doubles, which no index has, would need R's formatting with 15 significant digits.
                let Data::Integer(numbers) = &wrapped_vector(&state)?.data else { return None };
                let mut strings = Strings::default();
                for number in numbers {
                    let text = (*number != super::item::NA_INT).then(|| number.to_string());
                    strings.push(text.as_deref()).ok()?;
                }
                Some(Item::new(Data::Text(strings)))
            }
            CompactForm::Wrapper => match state.data {
                Data::Pairs(nodes) if nodes.len() == 2 => nodes.into_iter().next().map(|node| node.value),
                Data::List(items) if items.len() == 2 => items.into_iter().next(),
                _ => None,
            },
        }
    }
}

/// Returns length, start and step of a sequence.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "n is checked to be in 0..=i32::MAX"
)]
fn sequence(state: &Item) -> Option<(usize, f64, f64)> {
    let Data::Real(numbers) = &state.data else { return None };
    let &[n, start, step] = &numbers[..] else { return None };
    let is_length = (0.0..=f64::from(i32::MAX)).contains(&n) && n.fract() == 0.0;
    (is_length && start.is_finite() && step.abs() == 1.0).then_some((n as usize, start, step))
}

/// Returns the vector in a state: the first element of a dotted pair or of a list of two elements.
fn wrapped_vector(state: &Item) -> Option<&Item> {
    match &state.data {
        Data::Pairs(nodes) if nodes.len() == 2 => nodes.first().map(|node| &node.value),
        Data::List(items) if items.len() == 2 => items.first(),
        _ => None,
    }
}
