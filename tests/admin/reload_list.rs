//! The tests of reloads by section and property: every reloadable property must have a test. A reload does not change
//! other properties.

use rstudio_pm::config::rows::SECTIONS;
use rstudio_pm::config::table::{Effect, Property};

use super::{
    property_authentication as authentication, property_bundle as bundle, property_history as history,
    property_local_python as local_python, property_open_id_connect as sign_in, property_pypi as pypi,
    reload_bioconductor as bioconductor, reload_cran as cran, reload_federation as federation,
    reload_https as https, reload_logging as logging, reload_platforms as platforms, reload_proxy as proxy,
    reload_server as server, reload_sysreqs as sysreqs, reload_vulnerabilities as vulnerabilities,
};
use crate::support::server::Server;

/// Section, property, and the test that changes it while the server runs and checks the effect.
#[rustfmt::skip]
const TESTS: &[(&str, &str, fn())] = &[
    ("Server", "Address", server::address_changes_the_prefix),
    ("Server", "Contact", server::contact_applies_to_the_next_requests),
    ("Server", "TrustedProxy", server::trusted_proxy_applies_to_the_next_requests),
    ("Server", "ConnectionsPerAddress", server::connections_per_address_limits_the_next_connections),
    ("Server", "AccessLog", server::access_log_moves_without_losing_a_line),
    ("Server", "AccessLogFormat", server::access_log_format_changes_between_two_lines),
    ("Server", "ServiceLog", server::service_log_moves_without_losing_a_line),
    ("Server", "DrainDelay", server::drain_delay_applies_to_the_next_stop),
    ("Server", "PackageRewriteCompressionLevel", server::package_rewrite_compression_level_changes_the_next_package),
    ("Server", "PackageRewriteBufferSize", server::package_rewrite_buffer_size_changes_the_next_package),
    ("Server", "AutomaticNameGuard", server::automatic_name_guard_applies_to_the_next_requests),
    ("Server", "ContentTypeSniffing", server::content_type_sniffing_removes_the_header),
    ("HTTPS", "Certificate", https::certificate_is_used_for_new_connections),
    ("HTTPS", "Key", https::key_is_read_from_another_file),
    ("HTTPS", "Permanent", https::permanent_sends_the_header),
    ("HTTPS", "MinimumTLS", https::minimum_tls_refuses_older_clients_on_new_connections),
    ("CRAN", "URL", cran::url_is_the_mirror_of_the_next_sync),
    ("CRAN", "BinaryURL", cran::binary_url_is_the_binary_server_of_the_next_sync),
    ("CRAN", "SyncSchedule", cran::sync_schedule_replaces_the_time_of_the_next_sync),
    ("CRAN", "VerifyPolicy", bundle::verify_policy_demands_a_proof_of_the_index),
    ("Bundle", "Key", bundle::key_must_have_signed_the_directories_of_packages),
    ("Bundle", "URL", bundle::url_names_the_addresses_that_must_be_signed),
    ("SystemRequirements", "URL", sysreqs::url_is_the_origin_of_the_next_sync),
    ("SystemRequirements", "SyncSchedule", sysreqs::sync_schedule_replaces_the_time_of_the_next_sync),
    ("Vulnerabilities", "URL", vulnerabilities::url_is_the_origin_of_the_next_sync),
    ("Vulnerabilities", "SyncSchedule", vulnerabilities::sync_schedule_replaces_the_time_of_the_next_sync),
    ("Platforms", "RVersion", platforms::r_version_is_reported),
    ("Distribution", "Alias", platforms::alias_adds_a_name),
    ("Distribution", "Display", platforms::display_is_reported),
    ("Distribution", "OS", platforms::os_is_reported),
    ("Distribution", "System", platforms::system_is_reported),
    ("Distribution", "Release", platforms::release_is_reported),
    ("Distribution", "Architecture", platforms::architecture_is_reported),
    ("Distribution", "SystemRequirements", platforms::system_requirements_are_reported),
    ("Distribution", "Hidden", platforms::hidden_is_reported),
    ("Distribution", "RVersion", platforms::r_version_of_a_distribution_is_reported),
    ("Distribution", "ForceRVersion", platforms::force_r_version_is_reported),
    ("MacOS", "Arm64", platforms::directories_of_macos_are_reported),
    ("MacOS", "Intel", platforms::directories_of_macos_are_reported),
    ("Bioconductor", "URL", bioconductor::url_is_the_mirror_of_the_next_sync),
    ("Bioconductor", "SyncSchedule", bioconductor::sync_schedule_replaces_the_time_of_the_next_sync),
    ("PyPI", "URL", pypi::url_is_the_index_of_the_next_sync),
    ("PyPI", "FileHosts", pypi::file_hosts_apply_to_the_next_files),
    ("PyPI", "SyncSchedule", pypi::sync_schedule_replaces_the_time_of_the_next_sync),
    ("PyPI", "Follow", pypi::follow_applies_to_the_next_sync),
    ("LocalPython", "MaxUploadSize", local_python::max_upload_size_applies_to_the_next_upload),
    ("LocalPython", "Strict", local_python::strict_applies_to_the_next_file),
    ("History", "Public", history::public_decides_whether_anonymous_clients_read_the_log),
    ("History", "Witness", history::witness_is_asked_by_a_log_that_its_witness_for_names),
    ("History", "WitnessFor", history::witness_is_asked_by_a_log_that_its_witness_for_names),
    ("History", "TimestampURL", history::timestamp_url_gets_the_digest_of_a_checkpoint),
    ("Logging", "SystemLog", logging::system_log_moves_to_its_new_destinations_between_two_lines),
    ("Logging", "SystemLogLevel", logging::system_log_level_decides_which_of_the_next_lines_are_written),
    ("Logging", "SystemLogFormat", logging::system_log_format_changes_between_two_lines),
    ("Logging", "AuditLog", logging::audit_log_moves_without_losing_a_row),
    ("Debug", "Log", logging::debug_log_replaces_the_active_regions),
    ("Authentication", "APITokenAuth", authentication::api_token_auth_applies_to_the_next_requests),
    ("Authentication", "NewReposAuthByDefault",
        authentication::new_repos_auth_by_default_applies_to_the_next_repository),
    ("Authentication", "MaxTokenLifetime", authentication::max_token_lifetime_applies_to_the_next_token),
    ("Authentication", "RequireAuthForUI", authentication::require_auth_for_ui_applies_to_pages_and_lists),
    ("Authentication", "DeviceAuthType", sign_in::device_auth_type_decides_who_issues_the_codes),
    ("Authentication", "Lifetime", sign_in::lifetime_is_the_maximum_duration_of_a_session),
    ("Authentication", "Inactivity", sign_in::inactivity_ends_sessions_that_are_not_used),
    ("Authentication", "CookieSweepDuration",
        sign_in::cookie_sweep_duration_is_the_interval_of_removals_from_the_database),
    ("OpenIDConnect", "Issuer", sign_in::the_settings_of_a_provider_apply_to_the_next_sign_in),
    ("OpenIDConnect", "ClientId", sign_in::the_settings_of_a_provider_apply_to_the_next_sign_in),
    ("OpenIDConnect", "ClientSecret", sign_in::the_settings_of_a_provider_apply_to_the_next_sign_in),
    ("OpenIDConnect", "ClientSecretFile", sign_in::the_settings_of_a_provider_apply_to_the_next_sign_in),
    ("OpenIDConnect", "Logging", sign_in::the_settings_of_a_provider_apply_to_the_next_sign_in),
    ("OpenIDConnect", "Scope", sign_in::the_settings_of_a_provider_apply_to_the_next_sign_in),
    ("OpenIDConnect", "CustomScope", sign_in::the_settings_of_a_provider_apply_to_the_next_sign_in),
    ("OpenIDConnect", "NoAutoGroupsScope", sign_in::the_settings_of_a_provider_apply_to_the_next_sign_in),
    ("OpenIDConnect", "GroupsClaim", sign_in::the_settings_of_a_provider_apply_to_the_next_sign_in),
    ("OpenIDConnect", "GroupsSeparator", sign_in::the_settings_of_a_provider_apply_to_the_next_sign_in),
    ("OpenIDConnect", "RoleClaim", sign_in::the_settings_of_a_provider_apply_to_the_next_sign_in),
    ("OpenIDConnect", "RolesSeparator", sign_in::the_settings_of_a_provider_apply_to_the_next_sign_in),
    ("OpenIDConnect", "UniqueIdClaim", sign_in::the_settings_of_a_provider_apply_to_the_next_sign_in),
    ("OpenIDConnect", "UsernameClaim", sign_in::the_settings_of_a_provider_apply_to_the_next_sign_in),
    ("OpenIDConnect", "TokenLifetime", sign_in::the_settings_of_a_provider_apply_to_the_next_sign_in),
    ("OpenIDConnect", "RequireLogin", sign_in::the_settings_of_a_provider_apply_to_the_next_sign_in),
    ("OpenIDConnect", "MaxAuthenticationAge", sign_in::the_settings_of_a_provider_apply_to_the_next_sign_in),
    ("OpenIDConnect", "DisablePKCE", sign_in::the_settings_of_a_provider_apply_to_the_next_sign_in),
    ("OpenIDConnect", "EnableDevicePKCE", sign_in::the_settings_of_a_provider_apply_to_the_next_sign_in),
    ("GroupToScopeMapping", "Scope", sign_in::the_settings_of_a_provider_apply_to_the_next_sign_in),
    ("IdentityFederation", "Issuer", federation::the_properties_of_a_section_apply_to_the_next_exchange),
    ("IdentityFederation", "Audience", federation::the_properties_of_a_section_apply_to_the_next_exchange),
    ("IdentityFederation", "Subject", federation::the_properties_of_a_section_apply_to_the_next_exchange),
    ("IdentityFederation", "AuthorizedParty", federation::the_properties_of_a_section_apply_to_the_next_exchange),
    ("IdentityFederation", "Claim", federation::the_properties_of_a_section_apply_to_the_next_exchange),
    ("IdentityFederation", "Scope", federation::the_properties_of_a_section_apply_to_the_next_exchange),
    ("IdentityFederation", "UniqueIdClaim", federation::the_properties_of_a_section_apply_to_the_next_exchange),
    ("IdentityFederation", "UsernameClaim", federation::the_properties_of_a_section_apply_to_the_next_exchange),
    ("IdentityFederation", "TokenLifetime", federation::the_properties_of_a_section_apply_to_the_next_exchange),
    ("IdentityFederation", "Logging", federation::the_properties_of_a_section_apply_to_the_next_exchange),
    ("Bootstrap", "PublicKey", federation::the_public_key_applies_to_the_next_bootstrap_request),
    ("Proxy", "URL", proxy::url_is_the_proxy_of_the_next_requests),
    ("Proxy", "User", proxy::user_and_password_are_sent_with_the_next_requests),
    ("Proxy", "Password", proxy::user_and_password_are_sent_with_the_next_requests),
];

fn rows(is_included: impl Fn(&Property) -> bool) -> Vec<(&'static str, &'static str)> {
    let properties = SECTIONS.iter().flat_map(|section| section.properties.iter().map(move |p| (section, p)));
    properties
        .filter(|(_, property)| is_included(property))
        .map(|(section, p)| (section.name, p.name))
        .collect()
}

#[test]
fn every_reloadable_property_with_effect_has_its_own_test() {
    let table = rows(|p| p.is_reloadable && matches!(p.effect, Effect::Since(_)));
    let properties_with_test: Vec<_> =
        TESTS.iter().map(|&(section, property, _)| (section, property)).collect();
    assert_eq!(
        properties_with_test, table,
        "a property of the table without a test here, or the other way round"
    );
}

#[test]
fn the_properties_that_must_be_reloadable_are() {
    let reloadable_rows = rows(|p| p.is_reloadable);
    for name in [
        "Logging.SystemLog",
        "Logging.SystemLogLevel",
        "Logging.SystemLogFormat",
        "Server.AccessLog",
        "Server.AccessLogFormat",
        "Server.ServiceLog",
        "CRAN.URL",
        "Bioconductor.URL",
        "Proxy.URL",
        "Proxy.User",
        "Proxy.Password",
        "HTTPS.Certificate",
        "HTTPS.Key",
        "HTTPS.MinimumTLS",
        "HTTPS.Permanent",
        "Server.PackageRewriteCompressionLevel",
        "Server.PackageRewriteBufferSize",
    ] {
        let (section, property) = name.split_once('.').unwrap();
        assert!(reloadable_rows.contains(&(section, property)), "{name}");
    }
    for (section, property) in rows(|p| p.name == "SyncSchedule") {
        assert!(reloadable_rows.contains(&(section, property)), "{section}.{property}");
    }
}

#[test]
fn a_property_without_effect_is_reloaded_too() {
    let server = Server::start();
    server.hup_applies(
        "[PyPI]\nSyncSchedule = 1 1 * * *",
        &["PyPI.SyncSchedule is '1 1 * * *' now, was '0 1 * * *'"],
    );
}

#[test]
fn a_removed_line_and_a_property_that_needs_a_restart_keep_their_values_and_are_reported() {
    let server = Server::start();
    let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    let other_lines: Vec<&str> = gcfg.lines().filter(|line| !line.starts_with("AccessLog")).collect();
    let text = format!("{}\n[FileStorage \"cache\"]\nLocation = /nowhere\n", other_lines.join("\n"));
    let output = server.hup_with(&text).join("\n");
    let path = server.dir().join("access.log").display().to_string();
    assert!(
        output.contains(&format!("Server.AccessLog is no longer set and stays '{path}' until a restart")),
        "{output}"
    );
    assert!(output.contains("FileStorage.cache.Location = '/nowhere' needs a restart"), "{output}");
    assert!(output.contains("configuration reloaded; 0 applied"), "{output}");
    server.get("/still");
    crate::support::fixtures::until("the log is still written", || {
        std::fs::read_to_string(server.dir().join("access.log")).is_ok_and(|log| log.contains("/still"))
    });
}

#[test]
fn an_invalid_file_is_reported_with_its_error_and_changes_nothing() {
    let server = Server::start();
    let output = server.hup_refused("[Server]\nContentTypeSniffing = true\n[HTTP]\nListen = nowhere");
    assert!(
        output.contains("[HTTP] Listen = \"nowhere\"") && output.contains("Nothing was changed."),
        "{output}"
    );
    assert_eq!(server.get("/__ping__").header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn a_reload_logs_no_secret() {
    let server = Server::start();
    let output = server.hup("[Proxy]\nURL = http://u:hunter2@127.0.0.1:9\nPassword = hunter2").join("\n");
    assert!(output.contains("Proxy.Password is '***' now"), "{output}");
    assert!(
        output.contains("Proxy.URL is 'http://***@127.0.0.1:9' now") && !output.contains("hunter2"),
        "{output}"
    );
}
