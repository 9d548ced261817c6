//! The rows of `[OpenIDConnect]`, `[GroupToScopeMapping "…"]` and `[IdentityFederation "…"]`.

use super::property;
use crate::config::address::UrlPurpose;
use crate::config::table::Kind::*;
use crate::config::table::Property;

/// The properties of `[OpenIDConnect]`, in the order of the reference page.
#[rustfmt::skip]
pub(super) const OPEN_ID_CONNECT: &[Property] = &[
    property("Issuer", Url(UrlPurpose::Web), "",
      "URL of the provider, exactly as in its discovery document, including a slash at the end. `http://` is accepted only for loopback addresses.").reloadable(),
    property("ClientId", Text, "",
      "Client ID of this server at the provider.").reloadable(),
    property("ClientSecret", Secret, "",
      "Client secret of this server at the provider; a public client has none.").reloadable(),
    property("ClientSecretFile", Path, "",
      "File with the client secret, which may be the output of `rspm encrypt`; read at each sign-in. White space at its ends is ignored.").reloadable(),
    property("Logging", Boolean, "false",
      "Whether the log has a line about each sign-in: the user, the groups and the scopes.").reloadable(),
    property("Scope", Text, "",
      "Permission of every user who signs in: `repos:read:name`, `repos:promote:name`, `sources:write:name`, `blocklist:read`, `blocklist:admin`, `metadata:admin` or `global:admin`; several names are separated by commas, `*` means all.").multi().reloadable(),
    property("CustomScope", Text, "",
      "Further scopes to request from the provider, besides `openid profile email` and `groups`; separated by spaces.").multi().reloadable(),
    property("NoAutoGroupsScope", Boolean, "false",
      "Whether the scope `groups` is omitted from requests to the provider.").reloadable(),
    property("GroupsClaim", Text, "groups",
      "Claim with the groups of a user: a list, or a string that `GroupsSeparator` separates.").reloadable(),
    property("GroupsSeparator", Text, ",",
      "Separator of groups in a claim that is a string.").reloadable(),
    property("RoleClaim", Text, "",
      "Claim with permissions of the user, in the form of `Scope`: a list, or a string that `RolesSeparator` separates. Other values in it are ignored.").reloadable(),
    property("RolesSeparator", Text, " ",
      "Separator of permissions in a claim that is a string.").reloadable(),
    property("UniqueIdClaim", Text, "sub",
      "Claim that identifies a user, together with the issuer.").reloadable(),
    property("UsernameClaim", Text, "preferred_username",
      "Claim with the user's name, for display, the audit trail and `rspm revoke token --user`; if it is missing, `UniqueIdClaim` is used.").reloadable(),
    property("TokenLifetime", Duration, "1h",
      "Lifetime of the access token that a device gets for a sign-in, from one second to 30 days.").reloadable(),
    property("RequireLogin", Boolean, "false",
      "Whether the provider asks for the password at each sign-in, even if the browser has a session there.").reloadable(),
    property("MaxAuthenticationAge", Duration, "0s",
      "Maximum age of the authentication at the provider: an older one is repeated. `0s` means no limit.").reloadable(),
    property("DisablePKCE", Boolean, "false",
      "Turns PKCE off for sign-ins of browsers, for providers that refuse it.").reloadable(),
    property("EnableDevicePKCE", Boolean, "false",
      "Whether a device's sign-in without PKCE is refused; PKCE is verified whenever a device uses it.").reloadable(),
];

/// The properties of `[GroupToScopeMapping "…"]`.
#[rustfmt::skip]
pub(super) const MAPPING: &[Property] = &[
    property("Scope", Text, "",
      "Permission of the members: `repos:read:name`, `repos:promote:name`, `sources:write:name`, `blocklist:read`, `blocklist:admin`, `metadata:admin` or `global:admin`; several names are separated by commas, `*` means all.").multi().reloadable(),
];

/// The properties of `[IdentityFederation "…"]`, in the order of the reference page.
#[rustfmt::skip]
pub(super) const IDENTITY_FEDERATION: &[Property] = &[
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
