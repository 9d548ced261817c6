//! The rows of `[OpenIDConnect]` and `[GroupToScopeMapping "…"]`.

use super::property;
use crate::config::address::UrlPurpose;
use crate::config::table::Kind::*;
use crate::config::table::Property;

/// The properties of `[OpenIDConnect]`, in the order of the reference page.
#[rustfmt::skip]
pub(super) const PROPERTIES: &[Property] = &[
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
