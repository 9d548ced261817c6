//! A form of an administrator, displayed with the equivalent command.

use maud::{Markup, html};

use super::AdministrationFrame;
use crate::text::visible;

/// The name of the field with the token of forms.
pub const TOKEN: &str = "form_token";
/// The name of the field with the action.
pub const ACTION: &str = "action";
/// The name of the field with the object of the action, on pages with several objects.
pub const OBJECT: &str = "object";
/// The name of the field that confirms an action that cannot be undone.
pub const CONFIRM: &str = "confirm";

/// A sent form that is displayed again with its values: it was refused, or, if the message is empty, changed nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RejectedForm {
    pub action: String,
    /// The object of the action; empty if there is none.
    pub object: String,
    /// The field to which the message refers.
    pub field: &'static str,
    pub message: String,
    pub values: Vec<(String, String)>,
}

impl RejectedForm {
    fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// The kind of input for a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A line of text with this maximum number of characters.
    Text(u16),
    /// A line of text with this maximum number of characters that must not be empty.
    Required(u16),
    /// One of these values, each with its label.
    Choice(Vec<(String, String)>),
    /// A box to tick, which confirms the action.
    Confirm,
    /// A box that can be ticked; its value is then `true`.
    Checkbox,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    pub label: String,
    pub kind: Kind,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    action: &'static str,
    object: String,
    button: &'static str,
    fields: Vec<Field>,
    command: String,
}

impl Field {
    pub fn is_flag(&self) -> bool {
        self.kind == Kind::Checkbox || self.kind == yes_or_no()
    }
}

impl Form {
    /// Creates a form without fields. `command` is the equivalent command.
    pub fn new(action: &'static str, button: &'static str, command: String) -> Form {
        Form { action, object: String::new(), button, fields: Vec::new(), command }
    }

    pub fn of(self, object: &str) -> Form {
        Form { object: object.to_owned(), ..self }
    }

    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    pub fn field(mut self, name: &'static str, label: &str, kind: Kind) -> Form {
        self.fields.push(Field { name, label: label.to_owned(), kind, value: String::new() });
        self
    }

    /// Adds a field with an initial value.
    pub fn filled(mut self, name: &'static str, label: &str, kind: Kind, value: &str) -> Form {
        self.fields.push(Field { name, label: label.to_owned(), kind, value: value.to_owned() });
        self
    }

    /// Renders the form with the command, or only the command on a page without forms.
    pub fn render(&self, page: &AdministrationFrame) -> Markup {
        let command = html! { small.command { code { (visible(&self.command)) } } };
        let Some(token) = &page.form_token else { return html! { p { (command) } } };
        let rejected = page.rejected.as_ref();
        let rejected =
            rejected.filter(|rejected| rejected.action == self.action && rejected.object == self.object);
        // A message about a field that the form does not have is displayed at the end of the form.
        let other = rejected.filter(|rejected| {
            !rejected.message.is_empty() && self.fields.iter().all(|field| field.name != rejected.field)
        });
        html! {
            form.fields method="post" action=(page.address()) {
                input type="hidden" name=(TOKEN) value=(token);
                input type="hidden" name=(ACTION) value=(self.action);
                @if !self.object.is_empty() { input type="hidden" name=(OBJECT) value=(self.object); }
                @for field in &self.fields { (self.field_markup(field, rejected)) }
                button { (self.button) }
                (command)
                @if let Some(rejected) = other { p.danger role="alert" { (visible(&rejected.message)) } }
            }
        }
    }

    fn field_markup(&self, field: &Field, rejected: Option<&RejectedForm>) -> Markup {
        let id = match self.object.as_str() {
            "" => format!("{}-{}", self.action, field.name),
            object => {
                let object: String =
                    object.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
                format!("{}-{object}-{}", self.action, field.name)
            }
        };
        let problem = rejected.filter(|rejected| rejected.field == field.name);
        let (described, invalid) = (problem.map(|_| format!("{id}-problem")), problem.map(|_| "true"));
        let value = rejected.and_then(|rejected| rejected.value(field.name)).unwrap_or(&field.value);
        html! {
            div {
                @match &field.kind {
                    Kind::Text(limit) | Kind::Required(limit) => {
                        label for=(id) { (field.label) }
                        input id=(id) name=(field.name) value=(value) maxlength=(limit) autocomplete="off"
                            required[matches!(field.kind, Kind::Required(_))]
                            aria-describedby=[described.as_deref()] aria-invalid=[invalid];
                    }
                    Kind::Choice(values) => {
                        label for=(id) { (field.label) }
                        select id=(id) name=(field.name) aria-describedby=[described.as_deref()] aria-invalid=[invalid] {
                            @for (choice, label) in values {
                                option value=(choice) selected[choice == value] { (label) }
                            }
                        }
                    }
                    Kind::Confirm => {
                        input type="checkbox" id=(id) name=(field.name) value="yes" required
                            aria-describedby=[described.as_deref()] aria-invalid=[invalid];
                        " " label.beside for=(id) { (field.label) }
                    }
                    Kind::Checkbox => {
                        input type="checkbox" id=(id) name=(field.name) value="true" checked[value == "true"]
                            aria-describedby=[described.as_deref()] aria-invalid=[invalid];
                        " " label.beside for=(id) { (field.label) }
                    }
                }
                @if let Some(problem) = problem {
                    p.danger id=[described.as_deref()] role="alert" { (visible(&problem.message)) }
                }
            }
        }
    }
}

/// Returns a choice of values that are their own labels.
pub fn choices<'a>(values: impl IntoIterator<Item = &'a str>) -> Kind {
    Kind::Choice(values.into_iter().map(|value| (value.to_owned(), value.to_owned())).collect())
}

/// Returns a choice of yes and no, with the values `true` and `false`.
pub fn yes_or_no() -> Kind {
    Kind::Choice([("false", "no"), ("true", "yes")].map(|(v, l)| (v.to_owned(), l.to_owned())).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::administration::AdministrationSection;
    use crate::frame::Root;

    #[test]
    fn a_refused_form_has_its_values_and_the_reason_beside_the_field() {
        let rejected = RejectedForm {
            action: "create".to_owned(),
            field: "name",
            message: "the name '<b>' is not valid".to_owned(),
            values: vec![("name".to_owned(), "<b>".to_owned())],
            ..RejectedForm::default()
        };
        let page = AdministrationFrame {
            root: Root::of_path("/__ui__/admin/sources/"),
            section: AdministrationSection::Sources,
            object: None,
            form_token: Some("t".to_owned()),
            done: None,
            rejected: Some(rejected),
        };
        let form = Form::new("create", "Create", "rspm create source --name=NAME".to_owned()).field(
            "name",
            "Name",
            Kind::Required(64),
        );
        let text = form.render(&page).into_string();
        assert!(text.contains("value=\"&lt;b&gt;\"") && text.contains("aria-invalid=\"true\""), "{text}");
        assert!(text.contains("aria-describedby=\"create-name-problem\""), "{text}");
        assert!(text.contains("id=\"create-name-problem\" role=\"alert\">the name '&lt;b&gt;'"), "{text}");
        // A form of another object does not display the message.
        let other = form.of("team").render(&page).into_string();
        assert!(!other.contains("problem") && other.contains("id=\"create-team-name\""), "{other}");
    }
}
