//! The rows of `[OpenIDConnect]` and `[GroupToScopeMapping "…"]`.

use super::p;
use crate::config::address::UrlPurpose;
use crate::config::table::Kind::*;
use crate::config::table::Property;

/// The properties of `[OpenIDConnect]`, in the order of the reference page.
#[rustfmt::skip]
pub(super) const PROPERTIES: &[Property] = &[
    p("Issuer", Url(UrlPurpose::Web), "",
      "URL of the provider, exactly as in its discovery document, including a slash at the end. `http://` is accepted only for loopback addresses.").reloadable(),
    p("ClientId", Text, "",
      "Client ID of this server at the provider.").reloadable(),
    p("ClientSecret", Secret, "",
      "Client secret of this server at the provider; a public client has none.").reloadable(),
    p("ClientSecretFile", Path, "",
      "File with the client secret, which may be the output of `rspm encrypt`; read at each sign-in. White space at its ends is ignored.").reloadable(),
    p("Logging", Boolean, "false",
      "Whether the log has a line about each sign-in: the user, the groups and the scopes.").reloadable(),
    p("Scope", Text, "",
      "Permission of every user who signs in: `repos:read:name`, `repos:promote:name`, `sources:write:name`, `blocklist:read`, `blocklist:admin`, `metadata:admin` or `global:admin`; several names are separated by commas, `*` stands for all.").multi().reloadable(),
    p("CustomScope", Text, "",
      "Further scopes to request from the provider, besides `openid profile email` and `groups`; separated by spaces.").multi().reloadable(),
    p("NoAutoGroupsScope", Boolean, "false",
      "Whether the scope `groups` is omitted from requests to the provider.").reloadable(),
    p("GroupsClaim", Text, "groups",
      "Claim with the groups of a user: a list, or a string that `GroupsSeparator` separates.").reloadable(),
    p("GroupsSeparator", Text, ",",
      "Separator of groups in a claim that is a string.").reloadable(),
    p("RoleClaim", Text, "",
      "Claim with permissions of the user, in the form of `Scope`: a list, or a string that `RolesSeparator` separates. Other values in it are ignored.").reloadable(),
    p("RolesSeparator", Text, " ",
      "Separator of permissions in a claim that is a string.").reloadable(),
    p("UniqueIdClaim", Text, "sub",
      "Claim that identifies a user, together with the issuer.").reloadable(),
    p("UsernameClaim", Text, "preferred_username",
      "Claim with the user's name, for display, the audit trail and `rspm revoke token --user`; that of `UniqueIdClaim` in its absence.").reloadable(),
    p("TokenLifetime", Duration, "1h",
      "Lifetime of the access token that a device gets for a sign-in, from one second to 30 days.").reloadable(),
    p("RequireLogin", Boolean, "false",
      "Whether the provider asks for the password at each sign-in, even if the browser has a session there.").reloadable(),
    p("MaxAuthenticationAge", Duration, "0s",
      "Maximum age of the authentication at the provider: an older one is repeated. `0s` means no limit.").reloadable(),
    p("DisablePKCE", Boolean, "false",
      "Turns PKCE off for sign-ins of browsers, for providers that refuse it.").reloadable(),
    p("EnableDevicePKCE", Boolean, "false",
      "Whether a device's sign-in without PKCE is refused; PKCE is verified whenever a device uses it.").reloadable(),
];

/// The properties of `[GroupToScopeMapping "…"]`.
#[rustfmt::skip]
pub(super) const MAPPING: &[Property] = &[
    p("Scope", Text, "",
      "Permission of the members: `repos:read:name`, `repos:promote:name`, `sources:write:name`, `blocklist:read`, `blocklist:admin`, `metadata:admin` or `global:admin`; several names are separated by commas, `*` stands for all.").multi().reloadable(),
];
