//! Sections `[IdentityFederation "…"]` that match a verified token of another issuer, and granted scopes. Pure.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use crate::auth::jwt::Claims;
use base::access::NamedScope;
use base::access::person::is_invisible;
use base::config::{Federation, Pattern};

/// Maximum length of a text from a token in messages, in characters.
const MAX_EXCERPT: usize = 200;
/// Maximum number of audiences in a message.
const MAX_AUDIENCES: usize = 5;

/// The result for a token that matches at least one section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The names of the sections.
    pub sections: Vec<String>,
    /// The scopes of all these sections.
    pub scopes: Vec<NamedScope>,
    /// The lifetime of the token of this server: the shortest one that the sections configure.
    pub lifetime: Duration,
    /// The id of the client at the issuer: the value of the claim that `UniqueIdClaim` of the first section names.
    pub id: String,
    /// The name of the client: the value of the claim that `UsernameClaim` of the first section names.
    pub user: String,
}

impl Match {
    /// Returns whether a scope permits changes.
    pub fn writes(&self) -> bool {
        self.scopes.iter().any(|scope| !scope.kind.is_read_only())
    }
}

/// The reason why a token matches no section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoMatch {
    issuer: String,
    audience: String,
    subject: String,
    /// The names of the sections of the issuer, each with the first claim that does not match.
    sections: Vec<(String, String)>,
}

impl NoMatch {
    /// Returns the sentence for the client, without the subject and the configuration.
    pub fn for_client(&self) -> String {
        format!(
            "no [IdentityFederation] section matches issuer {}, audience {} and the other claims of the token; the \
             server log has the reason",
            self.issuer, self.audience
        )
    }

    /// Returns the sentence for the log, with the reason for each section of the issuer.
    pub fn for_log(&self) -> String {
        let mut text = format!(
            "no [IdentityFederation] section matches issuer {}, audience {}, subject {}",
            self.issuer, self.audience, self.subject
        );
        for (section, reason) in &self.sections {
            // Writing to a string cannot fail.
            let _ = write!(text, "; {section:?}: {reason}");
        }
        text
    }
}

/// Compares the claims of a token, whose signature and times were verified, with the sections.
///
/// # Errors
/// No section matches.
pub fn find_match(sections: &[Federation], claims: &Claims) -> Result<Match, NoMatch> {
    let issuer = claims.text("iss").unwrap_or_default();
    let (mut matched, mut reasons): (Vec<&Federation>, Vec<(String, String)>) = (Vec::new(), Vec::new());
    for section in sections.iter().filter(|section| section.issuer == issuer) {
        match difference(section, claims) {
            None => matched.push(section),
            Some(reason) => reasons.push((section.name.clone(), reason)),
        }
    }
    let Some(first) = matched.first() else {
        let audiences: Vec<String> = texts(claims.get("aud")).into_iter().take(MAX_AUDIENCES).collect();
        return Err(NoMatch {
            issuer: excerpt(issuer),
            audience: excerpt(&audiences.join(" ")),
            subject: excerpt(claims.text("sub").unwrap_or_default()),
            sections: reasons,
        });
    };
    let id = text(claims, &first.unique_id_claim).unwrap_or_default();
    Ok(Match {
        sections: matched.iter().map(|section| section.name.clone()).collect(),
        scopes: matched.iter().flat_map(|section| section.scopes.iter().cloned()).collect(),
        lifetime: matched.iter().map(|section| section.token_lifetime).min().unwrap_or_default(),
        user: excerpt(&visible(&text(claims, &first.username_claim).unwrap_or_else(|| id.clone()))),
        id: excerpt(&id),
    })
}

/// Describes the first claim that does not match a section of the token's issuer; `None` if all claims match.
fn difference(section: &Federation, claims: &Claims) -> Option<String> {
    let has =
        |name: &str, pattern: &Pattern| texts(claims.get(name)).iter().any(|text| pattern.matches(text));
    // SECURITY: the comparison is exact, because another service could choose an audience with the same prefix.
    if !texts(claims.get("aud")).contains(&section.audience) {
        return Some("aud is not Audience".to_owned());
    }
    // The subject is a single text, never a list (RFC 7519, 4.1.2).
    if let Some(pattern) = &section.subject
        && !claims.text("sub").is_some_and(|subject| pattern.matches(subject))
    {
        return Some("sub does not match Subject".to_owned());
    }
    if let Some(party) = &section.authorized_party {
        let claim = claims.get("azp").or_else(|| claims.get("appid"));
        if claim.and_then(Value::as_str) != Some(party.as_str()) {
            return Some("azp is not AuthorizedParty".to_owned());
        }
    }
    let claim = section.claims.iter().find(|claim| !has(&claim.name, &claim.pattern));
    if let Some(claim) = claim {
        return Some(format!("{} does not match Claim", claim.name));
    }
    text(claims, &section.unique_id_claim)
        .is_none_or(|id| id.is_empty())
        .then(|| format!("the claim {} of UniqueIdClaim is missing", section.unique_id_claim))
}

/// Returns the texts of a claim: its value, or the elements of a list. Numbers and booleans are converted to text.
fn texts(claim: Option<&Value>) -> Vec<String> {
    match claim {
        Some(Value::Array(values)) => values.iter().filter_map(scalar).collect(),
        Some(value) => scalar(value).into_iter().collect(),
        None => Vec::new(),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn text(claims: &Claims, name: &str) -> Option<String> {
    claims.get(name).and_then(scalar)
}

/// Truncates a text of a token, replaces its control characters and trims it, for messages and rows. `rspm revoke token
/// --user` trims the name of a user in the same way. Returns a name without the characters that a reader cannot see.
fn visible(name: &str) -> String {
    name.chars().filter(|c| c.is_control() || !is_invisible(*c)).collect()
}

fn excerpt(text: &str) -> String {
    let text = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(MAX_EXCERPT);
    text.collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use base::access::{Names, ScopeKind};
    use base::config::parse;

    fn sections(text: &str) -> Vec<Federation> {
        match parse("f", text.as_bytes(), []) {
            Ok(loaded) => loaded.config.federations.to_vec(),
            Err(error) => panic!("{error}"),
        }
    }

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    fn claims(value: Value) -> Claims {
        Claims::new(map(value))
    }

    fn names(sections: &[Federation], value: Value) -> Vec<String> {
        find_match(sections, &claims(value)).map(|found| found.sections).unwrap_or_default()
    }

    #[test]
    fn a_job_of_github_actions_is_matched_by_its_subject_and_claims() {
        let sections = sections(
            "[IdentityFederation \"gh\"]\nIssuer = https://token.actions.githubusercontent.com\nAudience = packages\n\
             Subject = repo:org/name:ref:refs/heads/main\nClaim = \"repository_owner_id = 42\"\n\
             Claim = \"event_name = push|release\"\nScope = sources:write:team\n",
        );
        let token = |change: &dyn Fn(&mut Map<String, Value>)| {
            let mut claims = map(json!({
                "iss": "https://token.actions.githubusercontent.com", "aud": "packages", "jti": "1",
                "sub": "repo:org/name:ref:refs/heads/main", "repository_owner_id": "42", "event_name": "push",
                "job_workflow_ref": "org/name/.github/workflows/publish.yml@refs/heads/main", "exp": 1, "iat": 1,
            }));
            change(&mut claims);
            find_match(&sections, &Claims::new(claims))
        };
        let found = token(&|_| {}).expect("matches");
        assert_eq!(
            (found.sections.as_slice(), found.user.as_str()),
            (&["gh".to_owned()][..], "repo:org/name:ref:refs/heads/main")
        );
        assert!(found.writes());
        for (name, value) in [
            ("iss", json!("https://token.actions.githubusercontent.com/")),
            ("iss", Value::Null),
            ("aud", json!("packages2")),
            ("aud", json!(["other"])),
            ("aud", json!({"packages": true})),
            ("sub", json!("repo:org/name:ref:refs/heads/main2")),
            ("sub", json!("repo:org/name:pull_request")),
            ("sub", json!(["repo:org/name:ref:refs/heads/main"])),
            ("repository_owner_id", json!("43")),
            ("repository_owner_id", json!([])),
            ("event_name", json!("pull_request_target")),
        ] {
            assert!(
                token(&|claims| drop(claims.insert(name.to_owned(), value.clone()))).is_err(),
                "{name} {value}"
            );
            assert!(token(&|claims| drop(claims.remove(name))).is_err(), "no {name}");
        }
        let number = token(&|claims| drop(claims.insert("repository_owner_id".to_owned(), json!(42))));
        assert!(number.is_ok(), "a number is its text");
    }

    #[test]
    fn gitlab_and_kubernetes_are_matched() {
        let sections = sections(
            "[IdentityFederation \"gitlab\"]\nIssuer = https://gitlab.example\nAudience = https://packages.example\n\
             Subject = \"project_path:group/.*:ref_type:branch:ref:main\"\nClaim = \"ref_protected = true\"\n\
             Scope = sources:write:*\nUsernameClaim = project_path\n\
             [IdentityFederation \"k8s\"]\nIssuer = https://kubernetes.default.svc.cluster.local\n\
             Audience = sts.amazonaws.com\nSubject = system:serviceaccount:ns:.*-connect\nScope = repos:read:*\n",
        );
        let gitlab = json!({
            "iss": "https://gitlab.example", "aud": "https://packages.example", "ref_protected": "true",
            "sub": "project_path:group/project:ref_type:branch:ref:main", "project_path": "group/project",
        });
        let found = find_match(&sections, &claims(gitlab)).expect("matches");
        assert_eq!((found.sections, found.user.as_str()), (vec!["gitlab".to_owned()], "group/project"));
        let kubernetes = json!({
            "iss": "https://kubernetes.default.svc.cluster.local", "aud": ["x", "sts.amazonaws.com"],
            "sub": "system:serviceaccount:ns:main-connect", "kubernetes.io": {"namespace": "ns"},
        });
        let found = find_match(&sections, &claims(kubernetes)).expect("matches");
        assert_eq!(found.sections, ["k8s"]);
        assert!(!found.writes());
        assert_eq!(found.scopes, [NamedScope { kind: ScopeKind::ReposRead, objects: Names::All }]);
        assert!(
            names(
                &sections,
                json!({
                    "iss": "https://kubernetes.default.svc.cluster.local", "aud": ["sts.amazonaws.com"],
                    "sub": "system:serviceaccount:ns2:main-connect",
                })
            )
            .is_empty()
        );
    }

    #[test]
    fn entra_version_1_and_2_and_google_are_matched() {
        let sections = sections(
            "[IdentityFederation \"v1\"]\nIssuer = https://sts.windows.net/t/\nAudience = api://packages\n\
             AuthorizedParty = app\nClaim = \"tid = t\"\nUniqueIdClaim = oid\nUsernameClaim = oid\n\
             Scope = repos:read:*\n\
             [IdentityFederation \"v2\"]\nIssuer = https://login.microsoftonline.com/t/v2.0\nAudience = 1234\n\
             AuthorizedParty = app\nUniqueIdClaim = oid\nScope = repos:read:*\n\
             [IdentityFederation \"google\"]\nIssuer = https://accounts.google.com\nAudience = packages\n\
             Claim = email = ci@project.iam.gserviceaccount.com\nClaim = email_verified = true\nUsernameClaim = email\n\
             Scope = repos:read:*\n",
        );
        let v1 = json!({
            "iss": "https://sts.windows.net/t/", "aud": "api://packages", "appid": "app", "tid": "t",
            "oid": "o", "sub": "s",
        });
        let v2 = json!({
            "iss": "https://login.microsoftonline.com/t/v2.0", "aud": "1234", "azp": "app", "oid": "o", "sub": "s",
        });
        assert_eq!(find_match(&sections, &claims(v1.clone())).expect("v1").id, "o");
        assert_eq!(names(&sections, v2), ["v2"]);
        let mut other = map(v1);
        other.insert("azp".to_owned(), json!("other"));
        assert!(find_match(&sections, &Claims::new(other)).is_err(), "azp precedes appid");
        let google = json!({
            "iss": "https://accounts.google.com", "aud": "packages", "azp": "11", "sub": "117",
            "email": "ci@project.iam.gserviceaccount.com", "email_verified": true,
        });
        let found = find_match(&sections, &claims(google)).expect("google");
        assert_eq!((found.id.as_str(), found.user.as_str()), ("117", "ci@project.iam.gserviceaccount.com"));
    }

    #[test]
    fn all_matching_sections_grant_their_scopes_for_the_shortest_lifetime() {
        let section = |name: &str, rest: &str| {
            format!("[IdentityFederation \"{name}\"]\nIssuer = https://i\nAudience = a\n{rest}\n")
        };
        let sections = sections(&format!(
            "{}{}{}",
            section("a", "Subject = s.*\nScope = repos:read:x\nTokenLifetime = 2h"),
            section("b", "Subject = .*1\nScope = sources:write:y global:admin\nTokenLifetime = 10m"),
            section("c", "Subject = other\nScope = repos:read:*"),
        ));
        let found = find_match(&sections, &claims(json!({"iss": "https://i", "aud": "a", "sub": "s1"})))
            .expect("two");
        assert_eq!(
            (found.sections.len(), found.scopes.len(), found.lifetime),
            (2, 3, Duration::from_secs(600))
        );
        assert_eq!(names(&sections, json!({"iss": "https://i", "aud": "a", "sub": "s2"})), ["a"]);
    }

    #[test]
    fn the_reason_names_issuer_and_audience_to_the_client_and_the_rest_to_the_log() {
        let sections = sections(
            "[IdentityFederation \"ci\"]\nIssuer = https://i\nAudience = a\nSubject = secret-pattern\n\
             Scope = repos:read:*\n",
        );
        let error = find_match(&sections, &claims(json!({"iss": "https://i", "aud": "a", "sub": "me\nyou"})))
            .expect_err("differs");
        let (client, log) = (error.for_client(), error.for_log());
        assert!(client.contains("issuer https://i, audience a") && !client.contains("you"), "{client}");
        assert!(
            log.contains("subject me\u{fffd}you") && log.contains("\"ci\": sub does not match Subject"),
            "{log}"
        );
        let long = "x".repeat(100_000);
        let error = find_match(&sections, &claims(json!({"iss": long, "aud": vec!["y"; 10_000], "sub": 5})))
            .expect_err("differs");
        assert!(error.for_log().len() < 2_000);
    }

    #[test]
    fn a_token_without_the_claim_of_its_identity_is_refused() {
        let sections = sections(
            "[IdentityFederation \"ci\"]\nIssuer = https://i\nAudience = a\nSubject = s\nUniqueIdClaim = oid\n\
             Scope = repos:read:*\n",
        );
        for value in [
            json!({"iss": "https://i", "aud": "a", "sub": "s"}),
            json!({"iss": "https://i", "aud": "a", "sub": "s", "oid": ""}),
        ] {
            let error = find_match(&sections, &claims(value)).expect_err("no identity");
            assert!(error.for_log().contains("UniqueIdClaim"));
        }
    }
}
