//! `[IdentityFederation "…"]`: the tokens of other issuers that are exchanged for tokens of this server.

use std::time::Duration;

use super::pattern::Pattern;
use super::problem::ProblemCategory;
use super::reader::Reader;
use super::{open_id_connect, value};
use crate::access::NamedScope;
use crate::model::loopback::is_loopback_host;

const SECTION: &str = "IdentityFederation";
/// A section must set at least one of these properties; other sections are ignored.
const REQUIRED: [&str; 6] = ["Issuer", "Audience", "Subject", "AuthorizedParty", "Claim", "Scope"];
/// Issuers whose tokens anyone can obtain, for any audience.
const SHARED_ISSUERS: [&str; 6] = [
    "https://token.actions.githubusercontent.com",
    "https://gitlab.com",
    "https://accounts.google.com",
    "https://agent.buildkite.com",
    "https://app.terraform.io",
    "https://api.bitbucket.org",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Federation {
    /// The name in the header of the section.
    pub name: String,
    /// The claim `iss`, byte for byte.
    pub issuer: String,
    /// A text that the claim `aud` contains.
    pub audience: String,
    /// The pattern of the claim `sub`; `None` if every subject is accepted.
    pub subject: Option<Pattern>,
    /// The claim `azp` or `appid`; `None` if every party is accepted.
    pub authorized_party: Option<String>,
    pub claims: Vec<Claim>,
    /// The scopes that an issued token has.
    pub scopes: Vec<NamedScope>,
    /// The claim that identifies the client.
    pub unique_id_claim: String,
    /// The claim with the name of the client.
    pub username_claim: String,
    pub token_lifetime: Duration,
    /// Whether the log has a line about each exchange.
    pub logging: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub name: String,
    /// The expression that its value, or one of its values, must match.
    pub pattern: Pattern,
}

impl Federation {
    /// Reads all sections, in the order of the file. A section with none of the properties in [`REQUIRED`] is
    /// omitted.
    pub(super) fn read_all(reader: &mut Reader<'_>) -> Vec<Federation> {
        let mut names = reader.subsections(SECTION);
        names.retain(|name| {
            REQUIRED.iter().any(|property| reader.is_non_empty(SECTION, Some(name.as_str()), property))
        });
        names.iter().map(|name| Federation::read(reader, name)).collect()
    }

    fn read(reader: &mut Reader<'_>, name: &str) -> Federation {
        let issuer = required_text(
            reader,
            name,
            "Issuer",
            "must be the issuer of the tokens: the text of their claim iss",
        );
        let audience = required_text(
            reader,
            name,
            "Audience",
            "is required, because tokens that were made for other services would be accepted otherwise; set the \
             audience that clients request",
        );
        if let Some(host) = issuer.strip_prefix("http://").map(host)
            && !is_loopback_host(host)
        {
            let message = "must begin with https://, because the keys of the issuer are fetched from there";
            reader.error(ProblemCategory::Settings, SECTION, Some(name), "Issuer", message);
        }
        let subject =
            reader.text_in(SECTION, name, "Subject").and_then(|text| pattern(reader, name, "Subject", &text));
        let claims: Vec<Claim> = reader
            .texts_in(SECTION, name, "Claim")
            .iter()
            .filter_map(|text| claim(reader, name, text))
            .collect();
        let authorized_party = reader.text_in(SECTION, name, "AuthorizedParty");
        let is_unrestricted = reader.text_in(SECTION, name, "Subject").is_none()
            && authorized_party.is_none()
            && claims.is_empty();
        if is_unrestricted && !issuer.is_empty() {
            report_unrestricted(reader, name, &issuer);
        }
        let token_lifetime = open_id_connect::token_lifetime(reader, SECTION, Some(name));
        Federation {
            name: name.to_owned(),
            audience,
            subject,
            authorized_party,
            claims,
            scopes: scopes(reader, name),
            unique_id_claim: reader.value_in(SECTION, Some(name), "UniqueIdClaim", non_empty),
            username_claim: reader.value_in(SECTION, Some(name), "UsernameClaim", non_empty),
            token_lifetime,
            logging: reader.value_in(SECTION, Some(name), "Logging", value::boolean),
            issuer,
        }
    }
}

fn non_empty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// Returns the value of a property that a section must have. If it is missing, reports an error with this message
/// and returns an empty text.
fn required_text(reader: &mut Reader<'_>, name: &str, property: &str, message: &str) -> String {
    reader.text_in(SECTION, name, property).unwrap_or_else(|| {
        reader.error(ProblemCategory::Settings, SECTION, Some(name), property, message);
        String::new()
    })
}

fn pattern(reader: &mut Reader<'_>, name: &str, property: &str, text: &str) -> Option<Pattern> {
    Pattern::new(text)
        .map_err(|message| reader.error(ProblemCategory::Syntax, SECTION, Some(name), property, &message))
        .ok()
}

/// Reads `name = regular expression`.
fn claim(reader: &mut Reader<'_>, section: &str, text: &str) -> Option<Claim> {
    let Some((name, expression)) = text.split_once('=').filter(|(name, _)| !name.trim().is_empty()) else {
        let message = "is not a claim; write \"name = regular expression\", in quotes";
        reader.error(ProblemCategory::Syntax, SECTION, Some(section), "Claim", message);
        return None;
    };
    let pattern = pattern(reader, section, "Claim", expression.trim())?;
    Some(Claim { name: name.trim().to_owned(), pattern })
}

fn scopes(reader: &mut Reader<'_>, name: &str) -> Vec<NamedScope> {
    let texts = reader.texts_in(SECTION, name, "Scope");
    let scopes = open_id_connect::scopes(reader, SECTION, Some(name), &texts);
    if texts.is_empty() {
        let message = "is not set, so that the section grants nothing; add for example Scope = repos:read:*";
        reader.warning(ProblemCategory::Effect, SECTION, Some(name), "Scope", message);
    }
    scopes
}

/// Reports a section that accepts every token of an issuer for its audience.
fn report_unrestricted(reader: &mut Reader<'_>, name: &str, issuer: &str) {
    if SHARED_ISSUERS.contains(&issuer.trim_end_matches('/')) {
        let message = "is required for this issuer, from which everybody can obtain a token: set Subject, AuthorizedParty or \
                       Claim";
        reader.error(ProblemCategory::Settings, SECTION, Some(name), "Subject", message);
    } else {
        let message = "is not set: every token of the issuer for this audience gets the scopes; set Subject, AuthorizedParty or \
                       Claim";
        reader.warning(ProblemCategory::Effect, SECTION, Some(name), "Subject", message);
    }
}

/// Returns the host of a URL after its scheme.
fn host(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.strip_prefix('[') {
        Some(inner) => inner.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Names, ScopeKind};
    use crate::config::parse;

    fn read(lines: &str) -> Result<(Federation, Vec<String>), Vec<String>> {
        let text = format!("[IdentityFederation \"ci\"]\n{lines}");
        match parse("f", text.as_bytes(), []) {
            Ok(loaded) => {
                let warnings = loaded.warnings.iter().map(ToString::to_string).collect();
                Ok((loaded.config.federations[0].clone(), warnings))
            }
            Err(error) => Err(error.to_string().lines().map(str::to_owned).collect()),
        }
    }

    const ISSUER: &str = "Issuer = https://token.actions.githubusercontent.com\n";

    #[test]
    fn a_section_is_read_with_its_defaults() {
        let lines = format!(
            "{ISSUER}Audience = packages\nSubject = repo:org/name:.*\nClaim = \"repository_owner_id = 12|13\"\n\
             Scope = sources:write:team, repos:read:*\nScope = repos:read:a\n"
        );
        let (section, warnings) = read(&lines).expect("valid");
        assert_eq!(warnings, [""; 0]);
        assert_eq!(
            (section.name.as_str(), section.issuer.as_str(), section.audience.as_str()),
            ("ci", "https://token.actions.githubusercontent.com", "packages")
        );
        assert!(section.subject.expect("set").matches("repo:org/name:ref"));
        assert_eq!(section.claims.len(), 1);
        assert_eq!(section.claims[0].name, "repository_owner_id");
        assert!(section.claims[0].pattern.matches("13") && !section.claims[0].pattern.matches("123"));
        assert_eq!(section.scopes.len(), 3);
        assert_eq!(section.scopes[1], NamedScope { kind: ScopeKind::ReposRead, objects: Names::All });
        assert_eq!((section.unique_id_claim.as_str(), section.username_claim.as_str()), ("sub", "sub"));
        assert_eq!((section.token_lifetime, section.logging), (Duration::from_secs(3_600), false));
    }

    #[test]
    fn an_issuer_keeps_its_slash() {
        let lines =
            "Issuer = https://sts.windows.net/tenant/\nAudience = a\nSubject = x\nScope = repos:read:*\n";
        assert_eq!(read(lines).expect("valid").0.issuer, "https://sts.windows.net/tenant/");
    }

    #[test]
    fn errors_name_section_and_property() {
        let error = |lines: &str| {
            let errors = read(lines).expect_err(lines);
            assert_eq!(errors.len(), 1, "{errors:?}");
            errors[0].clone()
        };
        let valid = "Audience = a\nSubject = s\nScope = repos:read:*\n";
        let missing = error(&format!("{ISSUER}Subject = s\nScope = repos:read:*\n"));
        assert!(missing.contains("[IdentityFederation \"ci\"] Audience: is required"), "{missing}");
        assert!(error(valid).contains("[IdentityFederation \"ci\"] Issuer"));
        assert!(error(&format!("Issuer = http://id.example\n{valid}")).contains("https://"));
        assert!(
            error(&format!("{ISSUER}Audience = a\nSubject = (\nScope = repos:read:*\n"))
                .contains("regular expression")
        );
        assert!(
            error(&format!("{ISSUER}{valid}Claim = ref\n")).contains("[IdentityFederation \"ci\"] Claim")
        );
        assert!(error(&format!("{ISSUER}{valid}Scope = repos:write:*\n")).contains("is not a scope"));
        assert!(error(&format!("{ISSUER}{valid}Scope = repos:read\n")).contains("needs its objects"));
        assert!(error(&format!("{ISSUER}{valid}TokenLifetime = 31d\n")).contains("between 1s and 30d"));
        let everybody = error(&format!("{ISSUER}Audience = a\nScope = repos:read:*\n"));
        assert!(everybody.contains("everybody"), "{everybody}");
    }

    #[test]
    fn a_section_for_every_token_of_an_issuer_is_a_warning() {
        let (_, warnings) =
            read("Issuer = http://127.0.0.1:8080\nAudience = a\nScope = repos:read:*\n").expect("valid");
        assert!(warnings.len() == 1 && warnings[0].contains("Subject"), "{warnings:?}");
    }
}
