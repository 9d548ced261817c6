//! Every reloadable property has a test of its own that sends HUP: the list, held against the table; and what is not
//! reloadable stays.

use rstudio_pm::config::rows::SECTIONS;
use rstudio_pm::config::table::{Effect, Property};

use super::{
    reload_bioconductor as bioconductor, reload_cran as cran, reload_https as https,
    reload_logging as logging, reload_platforms as platforms, reload_proxy as proxy, reload_server as server,
    reload_sysreqs as sysreqs, reload_vulnerabilities as vulnerabilities,
};
use crate::support::server::Server;

/// Section, property, and the test that changes it while the server runs, and looks.
#[rustfmt::skip]
const TESTED: &[(&str, &str, fn())] = &[
    ("Server", "Address", server::address_is_another_prefix),
    ("Server", "TrustedProxy", server::trusted_proxy_is_believed_from_then_on),
    ("Server", "ConnectionsPerAddress", server::connections_per_address_limits_the_next_connections),
    ("Server", "AccessLog", server::access_log_moves_and_no_line_is_lost),
    ("Server", "AccessLogFormat", server::access_log_format_changes_from_one_line_to_the_next),
    ("Server", "ServiceLog", server::service_log_moves_and_no_line_is_lost),
    ("Server", "PackageRewriteCompressionLevel", server::package_rewrite_compression_level_changes_the_next_package),
    ("Server", "PackageRewriteBufferSize", server::package_rewrite_buffer_size_changes_the_next_package),
    ("Server", "ContentTypeSniffing", server::content_type_sniffing_takes_the_header_away),
    ("HTTPS", "Certificate", https::certificate_is_another_for_new_connections),
    ("HTTPS", "Key", https::key_is_read_from_another_file),
    ("HTTPS", "Permanent", https::permanent_sends_the_header),
    ("HTTPS", "MinimumTLS", https::minimum_tls_refuses_older_clients_from_then_on),
    ("CRAN", "URL", cran::url_is_the_mirror_of_the_next_sync),
    ("CRAN", "BinaryURL", cran::binary_url_is_read_by_the_next_sync),
    ("CRAN", "SyncSchedule", cran::sync_schedule_does_not_wait_for_the_old_time),
    ("SystemRequirements", "URL", sysreqs::url_is_where_the_next_look_goes),
    ("SystemRequirements", "SyncSchedule", sysreqs::sync_schedule_does_not_wait_for_the_old_time),
    ("Vulnerabilities", "URL", vulnerabilities::url_is_where_the_next_look_goes),
    ("Vulnerabilities", "SyncSchedule", vulnerabilities::sync_schedule_does_not_wait_for_the_old_time),
    ("Platforms", "RVersion", platforms::r_version_is_told),
    ("Distribution", "Alias", platforms::alias_is_another_name),
    ("Distribution", "Display", platforms::display_is_told),
    ("Distribution", "OS", platforms::os_is_told),
    ("Distribution", "System", platforms::system_is_told),
    ("Distribution", "Release", platforms::release_is_told),
    ("Distribution", "Architecture", platforms::architecture_is_told),
    ("Distribution", "SystemRequirements", platforms::system_requirements_are_told),
    ("Distribution", "Hidden", platforms::hidden_is_told),
    ("Distribution", "RVersion", platforms::r_version_of_a_distribution_is_told),
    ("Distribution", "ForceRVersion", platforms::force_r_version_is_told),
    ("MacOS", "Arm64", platforms::folders_of_macos_are_told),
    ("MacOS", "Intel", platforms::folders_of_macos_are_told),
    ("Bioconductor", "URL", bioconductor::url_is_the_mirror_of_the_next_sync),
    ("Bioconductor", "SyncSchedule", bioconductor::sync_schedule_does_not_wait_for_the_old_time),
    ("Logging", "SystemLog", logging::system_log_goes_to_its_new_places_from_one_line_to_the_next),
    ("Logging", "SystemLogLevel", logging::system_log_level_says_which_lines_are_written_from_then_on),
    ("Logging", "SystemLogFormat", logging::system_log_format_changes_from_one_line_to_the_next),
    ("Proxy", "URL", proxy::url_is_asked_from_then_on),
    ("Proxy", "User", proxy::user_and_password_are_told_from_then_on),
    ("Proxy", "Password", proxy::user_and_password_are_told_from_then_on),
];

fn rows(wanted: impl Fn(&Property) -> bool) -> Vec<(&'static str, &'static str)> {
    let all = SECTIONS.iter().flat_map(|section| section.properties.iter().map(move |p| (section, p)));
    all.filter(|(_, property)| wanted(property)).map(|(section, p)| (section.name, p.name)).collect()
}

#[test]
fn every_reloadable_property_with_effect_has_its_own_test() {
    let table = rows(|p| p.reloadable && matches!(p.effect, Effect::Since(_)));
    let tested: Vec<_> = TESTED.iter().map(|&(section, property, _)| (section, property)).collect();
    assert_eq!(tested, table, "a property of the table without a test here, or the other way round");
}

#[test]
fn the_properties_that_must_be_reloadable_are() {
    let marked = rows(|p| p.reloadable);
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
        assert!(marked.contains(&(section, property)), "{name}");
    }
    for (section, property) in rows(|p| p.name == "SyncSchedule") {
        assert!(marked.contains(&(section, property)), "{section}.{property}");
    }
}

#[test]
fn a_property_without_effect_is_taken_over_all_the_same() {
    let server = Server::start();
    server.hup_applies(
        "[PyPI]\nSyncSchedule = 1 1 * * *",
        &["PyPI.SyncSchedule is '1 1 * * *' now, was '0 1 * * *'"],
    );
}

#[test]
fn a_line_that_is_gone_keeps_its_value_and_what_needs_a_restart_is_told() {
    let server = Server::start();
    let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    let without: Vec<&str> = gcfg.lines().filter(|line| !line.starts_with("AccessLog")).collect();
    let text = format!("{}\n[FileStorage \"cache\"]\nLocation = /nowhere\n", without.join("\n"));
    let said = server.hup_with(&text).join("\n");
    let kept = server.dir().join("access.log").display().to_string();
    assert!(
        said.contains(&format!("Server.AccessLog is no longer set and stays '{kept}' until a restart")),
        "{said}"
    );
    assert!(said.contains("FileStorage.cache.Location = '/nowhere' needs a restart"), "{said}");
    assert!(said.contains("configuration reloaded; 0 applied"), "{said}");
    server.get("/still");
    crate::support::fixtures::until("the log is still written", || {
        std::fs::read_to_string(server.dir().join("access.log")).is_ok_and(|log| log.contains("/still"))
    });
}

#[test]
fn a_bad_file_changes_nothing_and_says_where() {
    let server = Server::start();
    let said = server.hup_refused("[Server]\nContentTypeSniffing = true\n[HTTP]\nListen = nowhere");
    assert!(said.contains("[HTTP] Listen = \"nowhere\"") && said.contains("Nothing was changed."), "{said}");
    assert_eq!(server.get("/__ping__").header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn no_secret_is_said_by_a_reload() {
    let server = Server::start();
    let said = server.hup("[Proxy]\nURL = http://u:hunter2@127.0.0.1:9\nPassword = hunter2").join("\n");
    assert!(said.contains("Proxy.Password is '***' now"), "{said}");
    assert!(
        said.contains("Proxy.URL is 'http://***@127.0.0.1:9' now") && !said.contains("hunter2"),
        "{said}"
    );
}
