//! The user of a sign-in: name, identity, groups and scopes, from the claims of the provider. Pure.

use crate::auth::jwt::{Claims, Invalid};
use crate::auth::named_grant::named_grant;
use crate::catalog::Catalog;
use base::access::person::is_invisible;
use base::access::{Grant, NamedScope, named_scopes};
use base::config::OpenIdConnect;

/// Maximum number of groups and roles that are read.
const MAX_GROUPS: usize = 1_000;
/// Maximum length of a user name and of an identity, in characters.
const MAX_NAME: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// The name for display, without control characters.
    pub user: String,
    /// The identity at the issuer.
    pub unique_id: String,
    pub groups: Vec<String>,
    pub grant: Grant,
    /// Names in the configured scopes that no repository or source has.
    pub unknown_names: Vec<String>,
    /// Whether the provider omitted the groups, because of their number (`_claim_names`, OpenID Connect Core 5.6.2).
    pub are_groups_omitted: bool,
}

impl SignedIn {
    /// Reads the claims of a verified token.
    ///
    /// # Errors
    /// The claim that identifies the user is missing or empty.
    pub fn new(settings: &OpenIdConnect, catalog: &Catalog, claims: &Claims) -> Result<SignedIn, Invalid> {
        let unique_id = claims
            .text(&settings.unique_id_claim)
            .filter(|id| !id.is_empty() && id.chars().count() <= MAX_NAME)
            .ok_or(Invalid::Missing("UniqueIdClaim"))?;
        let name = claims.text(&settings.username_claim).filter(|name| !name.trim().is_empty());
        let user: String =
            name.unwrap_or(unique_id).chars().filter(|c| !is_invisible(*c)).take(MAX_NAME).collect();
        // `rspm revoke token --user` trims the name too.
        let user = user.trim().to_owned();
        let groups = list(claims, &settings.groups_claim, &settings.groups_separator);
        let mut scopes: Vec<NamedScope> = settings.scopes.clone();
        for mapping in &settings.groups {
            if groups.contains(&mapping.group) {
                scopes.extend(mapping.scopes.iter().cloned());
            }
        }
        if let Some(claim) = &settings.role_claim {
            let roles = list(claims, claim, &settings.roles_separator);
            scopes.extend(roles.iter().flat_map(|role| named_scopes(role)).flatten());
        }
        let (grant, unknown_names) = named_grant(catalog, &scopes);
        let distributed = claims.get("_claim_names").and_then(|names| names.get(&settings.groups_claim));
        Ok(SignedIn {
            user,
            unique_id: unique_id.to_owned(),
            are_groups_omitted: groups.is_empty() && distributed.is_some(),
            groups,
            grant,
            unknown_names,
        })
    }

    pub fn has_no_scope(&self) -> bool {
        self.grant.scopes().is_empty()
    }
}

/// Returns the elements of a claim that is a list, or a text with separators.
fn list(claims: &Claims, claim: &str, separator: &str) -> Vec<String> {
    let is_text = claims.text(claim).is_some();
    let texts = claims.texts(claim);
    let parts: Vec<&str> = match texts.as_slice() {
        [text] if is_text && !separator.is_empty() => text.split(separator).map(str::trim).collect(),
        _ => texts,
    };
    parts.into_iter().filter(|part| !part.is_empty()).take(MAX_GROUPS).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: &serde_json::Value) -> Claims {
        Claims::new(value.as_object().expect("an object").clone())
    }

    #[test]
    fn groups_are_a_list_or_a_text_or_absent() {
        for (value, separator, expected) in [
            (json!({"g": ["a b", "c,d", 7]}), ",", vec!["a b", "c,d"]),
            (json!({"g": "a b, c"}), ",", vec!["a b", "c"]),
            (json!({"g": "a b"}), " ", vec!["a", "b"]),
            (json!({"g": "a b"}), "", vec!["a b"]),
            (json!({"g": ""}), ",", vec![]),
            (json!({"g": {"a": 1}}), ",", vec![]),
            (json!({}), ",", vec![]),
        ] {
            assert_eq!(list(&claims(&value), "g", separator), expected, "{value}");
        }
        let many: Vec<String> = (0..5_000).map(|n| n.to_string()).collect();
        assert_eq!(list(&claims(&json!({"g": many})), "g", ",").len(), MAX_GROUPS);
    }
}
