//! Environment markers of requirements: `python_version < "3.9" and extra == "test"` (PyPA: dependency specifiers).
//! Only `extra` is evaluated here, because a server has no environment; the module `environment` evaluates the others.

use super::name::normalize;

const MAX_DEPTH: u32 = 64;

/// Variables of the environment; those with dots and `python_implementation` occur only in old metadata.
const VARIABLES: [&str; 20] = [
    "python_version",
    "python_full_version",
    "os_name",
    "sys_platform",
    "platform_release",
    "platform_system",
    "platform_version",
    "platform_machine",
    "platform_python_implementation",
    "implementation_name",
    "implementation_version",
    "extra",
    "extras",
    "dependency_groups",
    "os.name",
    "sys.platform",
    "platform.version",
    "platform.machine",
    "platform.python_implementation",
    "python_implementation",
];

/// Operators, longer ones first.
const OPERATORS: [&str; 8] = ["===", "~=", "==", "!=", "<=", ">=", "<", ">"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    Any(Vec<Marker>),
    All(Vec<Marker>),
    /// A comparison: the left operand, `==`, `in`, `not in` or another operator, the right operand.
    Compare(Operand, &'static str, Operand),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    Variable(&'static str),
    Text(Box<str>),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{rest}' is not an environment marker; write for example python_version < \"3.9\"")]
pub struct BadMarker {
    rest: String,
}

impl Marker {
    /// Parses a whole marker.
    ///
    /// # Errors
    /// [`BadMarker`], which contains the text that follows the error.
    pub fn parse(text: &str) -> Result<Marker, BadMarker> {
        let mut input = MarkerInput { rest: text, depth: 0 };
        let marker = input.any()?;
        input.skip_blanks();
        if input.rest.is_empty() { Ok(marker) } else { Err(input.error()) }
    }

    /// Returns whether the marker may be true in some environment when these extras (normalized names) are requested.
    pub fn may_apply(&self, extras: &[String]) -> bool {
        match self {
            Marker::Any(markers) => markers.iter().any(|marker| marker.may_apply(extras)),
            Marker::All(markers) => markers.iter().all(|marker| marker.may_apply(extras)),
            Marker::Compare(..) => self.extra_comparison(extras).unwrap_or(true),
        }
    }

    /// Returns the value of a comparison with `extra` when these extras are requested; `None` for other markers.
    pub(super) fn extra_comparison(&self, extras: &[String]) -> Option<bool> {
        match self {
            Marker::Compare(Operand::Variable("extra"), operator, Operand::Text(text))
            | Marker::Compare(Operand::Text(text), operator, Operand::Variable("extra")) => {
                Some(match *operator {
                    "==" => extras.contains(&normalize(text)),
                    "!=" => !extras.contains(&normalize(text)),
                    _ => true,
                })
            }
            Marker::Any(_) | Marker::All(_) | Marker::Compare(..) => None,
        }
    }
}

struct MarkerInput<'a> {
    rest: &'a str,
    depth: u32,
}

impl MarkerInput<'_> {
    fn error(&self) -> BadMarker {
        BadMarker { rest: self.rest.chars().take(80).collect() }
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    /// Consumes a word, unless a letter, digit, `_` or `.` follows it; returns true if it was consumed.
    fn word(&mut self, word: &str) -> bool {
        self.skip_blanks();
        let rest = self.rest.strip_prefix(word);
        let rest =
            rest.filter(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.')));
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn any(&mut self) -> Result<Marker, BadMarker> {
        let mut markers = vec![self.all()?];
        while self.word("or") {
            markers.push(self.all()?);
        }
        Ok(if markers.len() == 1 { markers.remove(0) } else { Marker::Any(markers) })
    }

    fn all(&mut self) -> Result<Marker, BadMarker> {
        let mut markers = vec![self.comparison()?];
        while self.word("and") {
            markers.push(self.comparison()?);
        }
        Ok(if markers.len() == 1 { markers.remove(0) } else { Marker::All(markers) })
    }

    fn comparison(&mut self) -> Result<Marker, BadMarker> {
        self.skip_blanks();
        if let Some(rest) = self.rest.strip_prefix('(') {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(self.error());
            }
            self.rest = rest;
            let marker = self.any()?;
            self.skip_blanks();
            self.rest = self.rest.strip_prefix(')').ok_or_else(|| self.error())?;
            self.depth -= 1;
            return Ok(marker);
        }
        Ok(Marker::Compare(self.operand()?, self.operator()?, self.operand()?))
    }

    fn operand(&mut self) -> Result<Operand, BadMarker> {
        self.skip_blanks();
        if let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            let (text, rest) = self.rest[1..].split_once(quote).ok_or_else(|| self.error())?;
            self.rest = rest;
            return Ok(Operand::Text(text.into()));
        }
        let name = VARIABLES.into_iter().find(|name| self.word(name));
        name.map(Operand::Variable).ok_or_else(|| self.error())
    }

    fn operator(&mut self) -> Result<&'static str, BadMarker> {
        self.skip_blanks();
        if let Some(operator) = OPERATORS.into_iter().find(|operator| self.rest.starts_with(operator)) {
            self.rest = &self.rest[operator.len()..];
            return Ok(operator);
        }
        if self.word("in") {
            return Ok("in");
        }
        if self.word("not") && self.word("in") { Ok("not in") } else { Err(self.error()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn markers_are_parsed_with_their_precedence() {
        let marker = Marker::parse("os_name=='a' or (python_version<\"3\" and 'x' not in sys_platform)")
            .expect("valid");
        let Marker::Any(parts) = &marker else { panic!("{marker:?}") };
        let variable = Operand::Variable;
        let text = |text: &str| Operand::Text(text.into());
        assert_eq!(parts[0], Marker::Compare(variable("os_name"), "==", text("a")));
        let Marker::All(parts) = &parts[1] else { panic!("{marker:?}") };
        assert_eq!(parts[1], Marker::Compare(text("x"), "not in", variable("sys_platform")));
    }

    #[test]
    fn extras_decide_whether_a_marker_may_apply() {
        let applies = |text: &str, extras: &[&str]| {
            let extras: Vec<String> = extras.iter().map(|extra| (*extra).to_owned()).collect();
            Marker::parse(text).expect(text).may_apply(&extras)
        };
        assert!(applies("python_version < '2'", &[]));
        assert!(!applies("extra == 'test'", &[]) && applies("extra == 'Test_x'", &["test-x"]));
        assert!(!applies("python_version > '3' and extra == 'a'", &["b"]));
        assert!(applies("extra == 'a' or \"b\" == extra", &["b"]));
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in [
            "",
            "os_name",
            "os_name ==",
            "os_name == a",
            "python = '3'",
            "os_name == 'a",
            "os_name == 'a' and",
            "os_name == 'a' xor os_name == 'b'",
            "(os_name == 'a'",
            "os_name == 'a')",
            "os_names == 'a'",
            "os_name not 'a'",
            &"(".repeat(1000),
        ] {
            assert!(Marker::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(os_name|extra|==|in|not|and|or|'|\"|\\(|\\)| |é){0,20}") {
            if let Ok(marker) = Marker::parse(&text) {
                let _ = marker.may_apply(&[]);
            }
        }
    }
}
