//! Typed parameters of queries.

use base::model::snapshot::{BadSnapshot, Snapshot};

/// A parameter of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// The lines of its description.
    pub description: &'static [&'static str],
}

/// The parameters of the query of an operation.
pub trait Parameters: Sized {
    /// All parameters.
    const PARAMETERS: &'static [Parameter];

    /// Reads the parameters; `values` returns all values of a name. The error is the reason why a value is refused.
    fn read<'a>(values: &dyn Fn(&str) -> Vec<&'a str>) -> Result<Self, String>;

    /// Returns the names and the values of the parameters that are set.
    fn pairs(&self) -> Vec<(&'static str, String)>;
}

impl Parameters for () {
    const PARAMETERS: &'static [Parameter] = &[];

    fn read<'a>(_: &dyn Fn(&str) -> Vec<&'a str>) -> Result<(), String> {
        Ok(())
    }

    fn pairs(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// The value of a parameter.
pub trait ParameterValue: Sized {
    /// Reads it from the values of a query. The error is the end of the message that begins with the name of the
    /// parameter.
    fn read(values: &[&str]) -> Result<Self, String>;

    /// Returns the value for a query; `None` if the parameter is not set.
    fn write(&self) -> Option<String>;
}

impl ParameterValue for Option<String> {
    fn read(values: &[&str]) -> Result<Option<String>, String> {
        Ok(values.first().map(|text| (*text).to_owned()))
    }

    fn write(&self) -> Option<String> {
        self.clone()
    }
}

impl ParameterValue for Option<usize> {
    fn read(values: &[&str]) -> Result<Option<usize>, String> {
        values.first().map(|text| text.parse().map_err(|_| " must be a number".to_owned())).transpose()
    }

    fn write(&self) -> Option<String> {
        self.map(|number| number.to_string())
    }
}

impl ParameterValue for Option<bool> {
    fn read(values: &[&str]) -> Result<Option<bool>, String> {
        values.first().map(|text| text.parse().map_err(|_| " must be true or false".to_owned())).transpose()
    }

    fn write(&self) -> Option<String> {
        self.map(|value| value.to_string())
    }
}

/// Several names: the parameter may be repeated, or have a list with commas; empty names are skipped.
impl ParameterValue for Vec<String> {
    fn read(values: &[&str]) -> Result<Vec<String>, String> {
        let names = values.iter().flat_map(|text| text.split(',')).map(str::trim);
        Ok(names.filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }

    fn write(&self) -> Option<String> {
        (!self.is_empty()).then(|| self.join(","))
    }
}

/// A snapshot: `latest`, a day, or the number of a transaction. Empty text is none.
impl ParameterValue for Option<Snapshot> {
    fn read(values: &[&str]) -> Result<Option<Snapshot>, String> {
        let text = values.first().filter(|text| !text.is_empty());
        text.map(|text| text.parse().map_err(|error: BadSnapshot| format!(": {error}"))).transpose()
    }

    fn write(&self) -> Option<String> {
        self.as_ref().map(ToString::to_string)
    }
}

/// The order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The lowest value first.
    Ascending,
    /// The highest value first.
    Descending,
}

/// Empty text is none.
impl ParameterValue for Option<Order> {
    fn read(values: &[&str]) -> Result<Option<Order>, String> {
        let text = values.first().map(|text| text.to_ascii_lowercase());
        match text.as_deref() {
            None | Some("") => Ok(None),
            Some("asc" | "ascending") => Ok(Some(Order::Ascending)),
            Some("desc" | "descending") => Ok(Some(Order::Descending)),
            Some(_) => Err(" must be asc or desc".to_owned()),
        }
    }

    fn write(&self) -> Option<String> {
        self.map(|order| match order {
            Order::Ascending => "asc".to_owned(),
            Order::Descending => "desc".to_owned(),
        })
    }
}

/// A flag: set by its presence, unless its value is `false`, `f`, `0`, `no` or `off`.
impl ParameterValue for bool {
    fn read(values: &[&str]) -> Result<bool, String> {
        Ok(values.first().is_some_and(|text| {
            !matches!(text.to_ascii_lowercase().as_str(), "false" | "f" | "0" | "no" | "off")
        }))
    }

    fn write(&self) -> Option<String> {
        self.then(|| "true".to_owned())
    }
}

/// Reads a parameter from its values in a query.
///
/// # Errors
/// The reason why a value is refused, with the name of the parameter.
pub fn read<T: ParameterValue>(name: &str, values: &[&str]) -> Result<T, String> {
    T::read(values).map_err(|problem| format!("the parameter {name}{problem}"))
}

/// Declares the parameters of a query: a structure with a field for each. The doc comment of a field describes the
/// parameter, also in the documents of OpenAPI. A parameter whose name is not that of its field is written `field as "name"`.
macro_rules! query {
    (
        $(#[$attribute:meta])*
        $Query:ident {
            $($(#[doc = $doc:literal])+ $(#[arg($($argument:tt)*)])? $field:ident $(as $name:literal)?: $type:ty,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $Query {
            $($(#[doc = $doc])+ $(#[arg($($argument)*)])? pub $field: $type,)+
        }

        impl $crate::query::Parameters for $Query {
            const PARAMETERS: &'static [$crate::query::Parameter] = &[$($crate::query::Parameter {
                name: $crate::query::query!(@name $field $($name)?),
                description: &[$($doc),+],
            }),+];

            fn read<'a>(values: &dyn Fn(&str) -> Vec<&'a str>) -> Result<$Query, String> {
                Ok($Query {
                    $($field: {
                        let name = $crate::query::query!(@name $field $($name)?);
                        $crate::query::read(name, &values(name))?
                    },)+
                })
            }

            fn pairs(&self) -> Vec<(&'static str, String)> {
                let pairs = [
                    $(($crate::query::query!(@name $field $($name)?), $crate::query::ParameterValue::write(&self.$field)),)+
                ];
                pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
            }
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
}
pub(crate) use query;
