//! The values of an RDS stream in memory; only data can be represented.

use std::sync::Arc;

/// R's `NA` in logical and integer vectors.
pub const NA_INT: i32 = i32::MIN;

/// A value and its attributes (`names`, `class`, `dim` …).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    pub data: Data,
    /// Attributes in the order of the stream.
    pub attributes: Vec<(Arc<str>, Item)>,
}

/// A value. Code, environments and pointers cannot be represented.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Data {
    #[default]
    Null,
    Symbol(Arc<str>),
    Pairs(Vec<Pair>),
    /// 0, 1 or [`NA_INT`].
    Logical(Vec<i32>),
    /// Integers; [`NA_INT`] is `NA`.
    Integer(Vec<i32>),
    /// Doubles; any NaN is `NA`.
    Real(Vec<f64>),
    Complex(Vec<[f64; 2]>),
    /// Strings, in UTF-8.
    Text(Strings),
    List(Vec<Item>),
    Raw(Vec<u8>),
}

/// A node of a pairlist. The tail of a dotted pair is stored as a further node without a tag.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pair {
    pub tag: Option<Arc<str>>,
    pub value: Item,
}

impl Item {
    pub fn new(data: Data) -> Item {
        Item { data, attributes: Vec::new() }
    }

    pub fn attribute(&self, name: &str) -> Option<&Item> {
        self.attributes.iter().find(|(tag, _)| &**tag == name).map(|(_, value)| value)
    }

    pub fn text(&self) -> Option<&Strings> {
        match &self.data {
            Data::Text(strings) => Some(strings),
            _ => None,
        }
    }

    /// Returns whether the attribute `class` contains this class.
    pub fn has_class(&self, class: &str) -> bool {
        self.attribute("class").and_then(Item::text).is_some_and(|c| c.iter().any(|c| c == Some(class)))
    }

    /// Returns the element of a list that has this name in `names`.
    pub fn element(&self, name: &str) -> Option<&Item> {
        let Data::List(elements) = &self.data else { return None };
        let names = self.attribute("names")?.text()?;
        elements.get(names.iter().position(|n| n == Some(name))?)
    }
}

/// A character vector in contiguous memory. Each string uses four bytes in addition to its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    text: String,
    /// The end of each string in `text`; the highest bit marks `NA`.
    ends: Vec<u32>,
}

const NA_BIT: u32 = 1 << 31;

/// The text of a vector exceeds 2 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TextTooLong;

impl Strings {
    /// Appends a string or `NA`.
    pub(super) fn push(&mut self, value: Option<&str>) -> Result<(), TextTooLong> {
        self.text.push_str(value.unwrap_or(""));
        let end = u32::try_from(self.text.len()).ok().filter(|end| end & NA_BIT == 0).ok_or(TextTooLong)?;
        self.ends.push(if value.is_some() { end } else { end | NA_BIT });
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the string at an index; `None` for `NA` and beyond the end.
    pub fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        if end & NA_BIT != 0 {
            return None;
        }
        let start = if index == 0 { 0 } else { self.ends[index - 1] & !NA_BIT };
        self.text.get(start as usize..end as usize)
    }

    /// Returns all strings in order, `None` for `NA`.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        (0..self.len()).map(|index| self.get(index))
    }
}
