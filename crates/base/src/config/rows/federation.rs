//! The rows of `[IdentityFederation "…"]`.

use super::property;
use crate::config::address::UrlPurpose;
use crate::config::table::Kind::*;
use crate::config::table::Property;

/// The properties, in the order of the reference page.
#[rustfmt::skip]
pub(super) const PROPERTIES: &[Property] = &[
    property("Issuer", Url(UrlPurpose::Web), "",
      "URL of the issuer, exactly as in the claim `iss`; required. Its keys are found through `/.well-known/openid-configuration` below it. It may be an address inside the organization; `http://` is accepted only for loopback addresses.").reloadable(),
    property("Audience", Text, "",
      "Audience that its tokens must have; required, because tokens for other services would be accepted otherwise.").reloadable(),
    property("Subject", Text, "",
      "Regular expression that the whole claim `sub`, the subject, must match, such as `repo:org/name:ref:refs/heads/main`. If unset, every subject is accepted.").reloadable(),
    property("AuthorizedParty", Text, "",
      "Authorized party that its tokens must have: the claim `azp`, or `appid` if there is none. If unset, every party is accepted.").reloadable(),
    property("Claim", Text, "",
      "Another claim that its tokens must have: `name = regular expression` for the whole text, in quotes: `\"ref_protected = true\"`. A list must contain a value that matches.").multi().reloadable(),
    property("Scope", Text, "",
      "Permission granted: `repos:read:name`, `repos:promote:name`, `sources:write:name`, `blocklist:read`, `blocklist:admin`, `metadata:admin` or `global:admin`; several names are separated by commas, `*` means all.").multi().reloadable(),
    property("UniqueIdClaim", Text, "sub",
      "Claim that identifies the client, together with the issuer.").reloadable(),
    property("UsernameClaim", Text, "sub",
      "Claim with the client's name, for the audit trail and lists of tokens; if it is missing, `UniqueIdClaim` is used.").reloadable(),
    property("TokenLifetime", Duration, "1h",
      "Lifetime of a token issued by an exchange, from one second to 30 days; it does not depend on that of the issuer's token.").reloadable(),
    property("Logging", Boolean, "false",
      "Whether the log has a line about each exchange: the sections, the GUID of the issued token and the client. Refusals are always logged, with the reason for each section.").reloadable(),
    property("CustomScope", Text, "",
      "Additional permissions.").multi().not_yet(),
    property("NoAutoGroupsScope", Boolean, "false",
      "Whether the groups scope is omitted from requests.").not_yet(),
    property("GroupsClaim", Text, "",
      "Claim with the groups.").not_yet(),
    property("GroupsSeparator", Text, "",
      "Separator of groups in the claim.").not_yet(),
    property("RoleClaim", Text, "",
      "Claim with the roles.").not_yet(),
    property("RolesSeparator", Text, "",
      "Separator of roles in the claim.").not_yet(),
];
