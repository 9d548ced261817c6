//! Enumerations with a word for each value, which the tables, the command line and the API have for it.

use super::text::phrase;

/// A word that names no value of an enumeration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{word}' is not a {noun}; use {words}")]
pub struct UnknownWord {
    /// The beginning of the word.
    word: String,
    noun: &'static str,
    words: String,
}

impl UnknownWord {
    /// The error for a word that is none of `words`, which name values of `noun`.
    pub fn new(word: &str, noun: &'static str, words: &[&str]) -> UnknownWord {
        UnknownWord { word: word.chars().take(40).collect(), noun, words: phrase(words, "or") }
    }
}

/// Declares an enumeration and the word of each value: `ALL`, `WORDS`, `as_str` and `parse` as associated items, and `Display`. With
/// `else "noun"`, `FromStr` has the error [`UnknownWord`] for that noun, and the value is its word in JSON; with
/// `else "noun" in any case`, it ignores the case of letters. The values after `prepared` exist in debug builds only, for
/// tests; they are understood, but not in `WORDS`, from which people choose.
#[macro_export]
macro_rules! words {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $Name:ident {
            $($(#[$value_attribute:meta])* $Value:ident = $word:literal,)+
        }
        $(prepared { $($Prepared:ident = $prepared:literal,)+ })?
        $(else $noun:literal $(in $any:ident case)?)?
    ) => {
        $(#[$attribute])*
        $visibility enum $Name {
            $($(#[$value_attribute])* $Value,)+
            $($(#[cfg(debug_assertions)] $Prepared,)+)?
        }

        #[allow(dead_code, reason = "not every enumeration is listed and parsed")]
        impl $Name {
            $visibility const ALL: [$Name; [$($word,)+ $($(#[cfg(debug_assertions)] $prepared,)+)?].len()] =
                [$($Name::$Value,)+ $($(#[cfg(debug_assertions)] $Name::$Prepared,)+)?];
            $visibility const WORDS: [&'static str; [$($word),+].len()] = [$($word),+];

            $visibility const fn as_str(self) -> &'static str {
                match self {
                    $($Name::$Value => $word,)+
                    $($(#[cfg(debug_assertions)] $Name::$Prepared => $prepared,)+)?
                }
            }

            /// Returns whether people choose from a list that contains the value.
            $visibility fn is_listed(self) -> bool {
                $Name::WORDS.contains(&self.as_str())
            }

            $visibility fn parse(word: &str) -> Option<$Name> {
                $Name::ALL.into_iter().find(|value| value.as_str() == word)
            }
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        $(impl std::str::FromStr for $Name {
            type Err = $crate::model::words::UnknownWord;

            fn from_str(word: &str) -> Result<$Name, $crate::model::words::UnknownWord> {
                let value = $Name::parse(word);
                $(
                    let $any = $Name::ALL.into_iter().find(|value| value.as_str().eq_ignore_ascii_case(word));
                    let value = value.or($any);
                )?
                value.ok_or_else(|| $crate::model::words::UnknownWord::new(word, $noun, &$Name::WORDS))
            }
        }

        impl $crate::model::serde::Serialize for $Name {
            fn serialize<S: $crate::model::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> $crate::model::serde::Deserialize<'de> for $Name {
            fn deserialize<D: $crate::model::serde::Deserializer<'de>>(deserializer: D) -> Result<$Name, D::Error> {
                let word = <String as $crate::model::serde::Deserialize>::deserialize(deserializer)?;
                word.parse::<$Name>().map_err(<D::Error as $crate::model::serde::de::Error>::custom)
            }
        })?
    };
}

#[cfg(test)]
mod tests {
    words! {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Colour {
            Red = "red",
            DarkBlue = "dark-blue",
            Green = "green",
        }
        prepared { Violet = "violet", }
        else "colour"
    }

    words! {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Shape {
            Circle = "Circle",
        }
        else "shape" in any case
    }

    #[test]
    fn the_case_of_letters_is_ignored_only_if_declared() {
        for text in ["Circle", "circle", "CIRCLE"] {
            assert_eq!(text.parse(), Ok(Shape::Circle));
        }
        assert!("RED".parse::<Colour>().is_err() && "circles".parse::<Shape>().is_err());
    }

    #[test]
    fn a_value_is_parsed_from_its_word_and_others_are_refused_with_all_words() {
        for value in Colour::ALL {
            assert_eq!(value.to_string().parse(), Ok(value));
            let json = serde_json::to_string(&value).expect("JSON");
            assert_eq!(serde_json::from_str::<Colour>(&json).expect("a word"), value);
        }
        let error = format!("Red{}", "d".repeat(100)).parse::<Colour>().expect_err("unknown").to_string();
        assert_eq!(error, format!("'Red{}' is not a colour; use red, dark-blue or green", "d".repeat(37)));
        assert!(Colour::ALL.contains(&Colour::Violet) && !Colour::Violet.is_listed());
    }
}
