//! The tests of properties by section and property: every property of the supported sections must have a test.

use rstudio_pm::config;
use rstudio_pm::config::rows::SECTIONS;
use rstudio_pm::config::table::{Effect, Kind, Subsection};

use super::{
    property_authentication as authentication, property_bioconductor as bioconductor,
    property_bundle as bundle, property_cran as cran, property_database as database, property_git as git,
    property_history as history, property_listen as listen, property_local_python as local_python,
    property_logging as logging, property_metrics as metrics, property_open_id_connect as sign_in,
    property_proxy as proxy, property_pypi as pypi, property_s3 as s3, property_server as server,
    property_storage as storage, property_sysreqs as sysreqs, property_usage as usage,
    property_vulnerabilities as vulnerabilities, reload_federation as federation,
};
use crate::support::server::Builder;

/// The sections whose properties all have an effect or are declared without one.
const SUPPORTED_SECTIONS: &[&str] = &[
    "Server",
    "HTTP",
    "HTTPS",
    "HTTPRedirect",
    "Database",
    "SQLite",
    "Postgres",
    "Storage",
    "FileStorage",
    "S3Storage",
    "CRAN",
    "Bundle",
    "SystemRequirements",
    "Bioconductor",
    "PyPI",
    "LocalPython",
    "Git",
    "History",
    "Vulnerabilities",
    "Metrics",
    "StorageAudit",
    "StorageAlerts",
    "Logging",
    "Debug",
    "Authentication",
    "IdentityFederation",
    "Bootstrap",
    "Proxy",
];

/// Section, property, and the test that changes it and checks the effect.
#[rustfmt::skip]
const TESTS: &[(&str, &str, fn())] = &[
    ("Server", "Address", server::address_is_the_base_of_printed_urls_and_its_path_a_prefix),
    ("Server", "Contact", server::contact_is_part_of_the_user_agent_of_requests_to_mirrors),
    ("Server", "TrustedProxy", server::trusted_proxy_may_declare_the_address_of_the_server),
    ("Server", "ConnectionsPerAddress", server::connections_per_address_limits_addresses_that_are_no_proxy),
    ("Server", "DataDir", server::data_dir_contains_database_and_storage),
    ("Server", "TempDir", server::temp_dir_contains_unfinished_files_of_classes_on_s3),
    ("Server", "AccessLog", server::access_log_is_written_to_that_file),
    ("Server", "AccessLogFormat", server::access_log_format_decides_whether_referer_and_agent_are_written),
    ("Server", "ServiceLog", server::service_log_is_written_to_that_file),
    ("Server", "SockFileDir", server::sock_file_dir_contains_socket_and_pid_file),
    ("Server", "DrainDelay", server::drain_delay_fails_health_checks_at_the_beginning_of_a_stop),
    ("Server", "PackageRewriteCompressionLevel",
        server::package_rewrite_compression_level_decides_the_size_of_stored_packages),
    ("Server", "PackageRewriteBufferSize",
        server::package_rewrite_buffer_size_decides_how_many_writes_an_add_takes),
    ("Server", "AutomaticNameGuard", server::automatic_name_guard_keeps_names_of_local_packages_from_mirrors),
    ("Server", "ContentTypeSniffing", server::content_type_sniffing_removes_a_header),
    ("Server", "EncryptionKeyPath", server::encryption_key_path_is_the_file_of_the_key),
    ("Server", "BackupPaths", server::backup_paths_are_the_only_folders_for_backups),
    ("Server", "UsageDataEnabled",
        usage::usage_data_enabled_decides_whether_downloads_are_counted_and_a_database_is_opened),
    ("Server", "UsageDataSchedule", usage::usage_data_schedule_runs_an_aggregation_that_was_missed_while_the_server_was_down),
    ("Server", "UsageDataRetention", usage::usage_data_retention_is_the_number_of_days_that_are_stored),
    ("Server", "RVersion", git::r_version_is_the_installation_that_builds),
    ("Server", "PythonVersion", git::python_version_is_the_installation_that_builds),
    ("HTTP", "Listen", listen::http_listen_is_the_address_that_answers),
    ("HTTPS", "Listen", listen::https_listen_is_the_address_with_tls),
    ("HTTPS", "Certificate", listen::certificate_is_presented_to_clients),
    ("HTTPS", "Key", listen::key_is_read_from_that_file),
    ("HTTPS", "Permanent", listen::permanent_sends_strict_transport_security_over_tls_only),
    ("HTTPS", "MinimumTLS", listen::minimum_tls_refuses_older_clients),
    ("HTTPRedirect", "Listen", listen::http_redirect_listen_sends_every_request_to_https),
    ("Database", "Provider", database::provider_chooses_between_a_file_and_a_server),
    ("Database", "ConnectionTimeout",
        database::connection_timeout_ends_the_wait_for_a_database_that_does_not_answer),
    ("SQLite", "Dir", database::sqlite_dir_contains_the_database_file),
    ("Postgres", "URL", database::postgres_url_search_path_chooses_the_schema),
    ("Postgres", "Password", database::postgres_password_is_used_when_the_url_contains_none),
    ("Postgres", "UsageDataURL", usage::postgres_usage_data_url_is_another_schema),
    ("Postgres", "UsageDataPassword", usage::postgres_usage_data_password_is_used_when_the_url_contains_none),
    ("Postgres", "ListenURL", database::postgres_listen_url_is_a_direct_address_for_notifications),
    ("Storage", "Default", storage::default_applies_to_every_class_that_is_not_set),
    ("Storage", "Cache", storage::storage_cache_applies_to_class_cache),
    ("Storage", "Launcher", storage::storage_launcher_applies_to_class_launcher),
    ("Storage", "Metrics", storage::storage_metrics_applies_to_class_metrics),
    ("Storage", "Packages", storage::storage_packages_applies_to_class_packages_and_those_that_default_to_it),
    ("Storage", "Binaries", storage::storage_binaries_applies_to_class_binaries),
    ("Storage", "CRAN", storage::storage_cran_applies_to_class_cran),
    ("Storage", "Bioconductor", storage::storage_bioconductor_applies_to_class_bioconductor),
    ("Storage", "PyPI", storage::storage_pypi_applies_to_class_pypi),
    ("Storage", "Persistent", storage::storage_persistent_applies_to_class_persistent),
    ("FileStorage", "Location", storage::file_storage_location_is_the_directory_of_its_class),
    ("S3Storage", "Bucket", s3::bucket_contains_the_stored_objects),
    ("S3Storage", "Prefix", s3::prefix_begins_every_key),
    ("S3Storage", "Profile", s3::profile_chooses_the_credentials),
    ("S3Storage", "Region", s3::region_is_part_of_the_signature_of_requests),
    ("S3Storage", "EnableSharedConfig", s3::enable_shared_config_reads_the_configuration_file_too),
    ("S3Storage", "Endpoint", s3::endpoint_is_the_server_that_gets_the_requests),
    ("S3Storage", "PathStyle", s3::path_style_moves_the_bucket_from_the_host_into_the_path),
    ("S3Storage", "S3ForcePathStyle", s3::s3_force_path_style_is_another_name_of_path_style_which_takes_precedence),
    ("S3Storage", "KeyID", s3::key_id_names_the_key_that_encrypts_objects),
    ("S3Storage", "DisableSSL", s3::disable_ssl_sends_requests_over_plain_http),
    ("S3Storage", "SkipValidation", s3::skip_validation_omits_the_test_of_the_bucket_at_start_and_in_the_check),
    ("CRAN", "URL", cran::url_of_a_directory_is_read_from_the_disk),
    ("CRAN", "BinaryURL", cran::binary_url_is_the_origin_of_binaries),
    ("CRAN", "SyncSchedule", cran::sync_schedule_runs_a_sync_that_was_missed_while_the_server_was_down),
    ("CRAN", "DelaySyncDuration", cran::delay_sync_duration_delays_releases_that_are_younger),
    ("CRAN", "VerifyPolicy", bundle::verify_policy_demands_a_proof_of_the_index),
    ("Bundle", "Key", bundle::key_must_have_signed_the_directories_of_packages),
    ("Bundle", "URL", bundle::url_names_the_addresses_that_must_be_signed),
    ("SystemRequirements", "URL", sysreqs::url_is_the_location_of_the_rules),
    ("SystemRequirements", "SyncSchedule", sysreqs::sync_schedule_runs_a_sync_that_was_missed_while_the_server_was_down),
    ("Vulnerabilities", "URL", vulnerabilities::url_lists_the_locations_of_the_advisories),
    ("Vulnerabilities", "SyncSchedule",
        vulnerabilities::sync_schedule_runs_a_sync_that_was_missed_while_the_server_was_down),
    ("Bioconductor", "URL", bioconductor::url_of_a_directory_is_read_from_the_disk),
    ("Bioconductor", "SyncSchedule",
        bioconductor::sync_schedule_runs_a_sync_that_was_missed_while_the_server_was_down),
    ("PyPI", "URL", pypi::url_is_the_index_with_or_without_simple),
    ("PyPI", "FileHosts", pypi::file_hosts_may_send_files),
    ("PyPI", "SyncSchedule", pypi::sync_schedule_runs_a_sync_that_was_missed_while_the_server_was_down),
    ("PyPI", "DelaySyncDuration", pypi::delay_sync_duration_hides_files_that_are_younger),
    ("PyPI", "DelayExcept", pypi::delay_except_lists_the_files_of_a_project_at_once),
    ("PyPI", "EarlierYanks", pypi::earlier_yanks_are_on_all_days_or_not),
    ("PyPI", "Unlisted", pypi::unlisted_projects_are_requested_by_name),
    ("PyPI", "Concurrency", pypi::concurrency_limits_the_requests_for_pages),
    ("PyPI", "Follow", pypi::follow_reads_pages_that_were_requested_before),
    ("LocalPython", "MaxUploadSize", local_python::max_upload_size_limits_the_files_of_clients),
    ("LocalPython", "Strict", local_python::strict_refuses_what_installers_tolerate),
    ("Git", "PollInterval", git::poll_interval_is_the_time_between_polls),
    ("Git", "BuildRetries", git::build_retries_is_the_number_of_attempts),
    ("Git", "AllowUnsandboxedGitBuilds", git::allow_unsandboxed_git_builds_permits_builds_without_a_sandbox),
    ("Git", "Sandbox", git::sandbox_is_the_only_one_that_is_tried),
    ("Git", "BuildConcurrency", git::build_concurrency_is_the_number_of_simultaneous_builds),
    ("Git", "BuildTimeout", git::build_timeout_ends_a_build),
    ("Git", "FirstTags", git::first_tags_is_the_number_of_existing_tags_that_are_built),
    ("Git", "LocalPaths", git::local_paths_are_the_only_directories_of_repositories),
    ("Git", "SubmoduleHosts", git::submodule_hosts_may_serve_submodules),
    ("Git", "HostKeyPolicy", crate::git::ssh::a_strict_policy_needs_imported_host_keys_and_a_key_is_for_its_host),
    ("Git", "RLibrary", crate::git::vignettes::a_vignette_that_needs_a_package_of_the_same_server_is_built_on_request),
    ("Git", "InstallDependencies", crate::git::vignettes::without_install_dependencies_no_package_is_installed_for_a_build),
    ("Git", "RRepository", crate::git::vignettes::packages_that_the_library_has_are_not_installed_and_a_repository_must_be_known),
    ("History", "Public", history::public_decides_whether_anonymous_clients_read_the_log),
    ("History", "ExportPath", history::export_path_has_a_copy_of_the_log),
    ("History", "Witness", history::witness_is_asked_by_a_log_that_its_witness_for_names),
    ("History", "WitnessFor", history::witness_is_asked_by_a_log_that_its_witness_for_names),
    ("History", "TimestampURL", history::timestamp_url_gets_the_digest_of_a_checkpoint),
    ("Metrics", "Enabled", metrics::metrics_enabled_decides_whether_metrics_are_served),
    ("Metrics", "Listen", metrics::metrics_listen_is_the_address_that_answers),
    ("StorageAudit", "Enabled", metrics::storage_audit_enabled_decides_whether_space_is_measured),
    ("StorageAlerts", "UIMessageType", metrics::storage_alerts_uimessagetype_decides_whether_the_api_lists_full_file_systems),
    ("Logging", "SystemLog", logging::system_log_is_written_to_each_destination),
    ("Logging", "SystemLogLevel", logging::system_log_level_decides_which_lines_are_written),
    ("Logging", "SystemLogFormat", logging::system_log_format_is_text_or_json),
    ("Logging", "AuditLog", logging::audit_log_is_a_copy_of_the_audit_trail),
    ("Debug", "Log", logging::debug_log_writes_the_debug_events_of_its_regions),
    ("Authentication", "APITokenAuth",
        authentication::api_token_auth_decides_whether_the_admin_api_is_on_the_network),
    ("Authentication", "NewReposAuthByDefault",
        authentication::new_repos_auth_by_default_decides_for_repositories_without_the_flag),
    ("Authentication", "MaxTokenLifetime", authentication::max_token_lifetime_limits_new_tokens),
    ("Authentication", "RequireAuthForUI", authentication::require_auth_for_ui_applies_to_pages_and_lists),
    ("Authentication", "DeviceAuthType", sign_in::device_auth_type_decides_who_issues_the_codes),
    ("Authentication", "Lifetime", sign_in::lifetime_is_the_maximum_duration_of_a_session),
    ("Authentication", "Inactivity", sign_in::inactivity_ends_sessions_that_are_not_used),
    ("Authentication", "CookieSweepDuration",
        sign_in::cookie_sweep_duration_is_the_interval_of_removals_from_the_database),
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
    ("Proxy", "URL", proxy::url_is_the_proxy_for_requests_to_the_mirror),
    ("Proxy", "User", proxy::user_is_sent_to_the_proxy),
    ("Proxy", "Password", proxy::password_is_sent_to_the_proxy),
];

#[test]
fn every_property_with_effect_has_its_own_test() {
    let mut rows = Vec::new();
    for section in SECTIONS {
        for property in section.properties {
            match property.effect {
                Effect::Since(_) => rows.push((section.name, property.name)),
                Effect::NotYet | Effect::Obsolete => {}
            }
        }
    }
    let supported_rows: Vec<_> =
        rows.iter().copied().filter(|(section, _)| SUPPORTED_SECTIONS.contains(section)).collect();
    let properties_with_test: Vec<_> =
        TESTS.iter().map(|&(section, property, _)| (section, property)).collect();
    assert_eq!(
        properties_with_test, supported_rows,
        "a property of the table without a test here, or the other way round"
    );
    for section in SUPPORTED_SECTIONS {
        assert!(SECTIONS.iter().any(|row| row.name == *section), "[{section}] is not in the table");
    }
}

/// Returns a valid value of the type of a property.
fn valid_value(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean => "true",
        Kind::Integer(..) | Kind::Decimal => "3",
        Kind::Text | Kind::Secret => "word",
        Kind::Path | Kind::BackupPlace => "/nonexistent/path",
        Kind::Duration => "5m",
        Kind::Size(..) => "32KB",
        Kind::Schedule => "0 0 * * *",
        Kind::Listen => "127.0.0.1:0",
        Kind::Network => "192.0.2.0/24",
        Kind::Host => "files.example.org",
        Kind::Url(rstudio_pm::config::address::UrlPurpose::Postgres) => "postgres://u@h/d",
        Kind::Witness => "name key https://h.example",
        Kind::Url(_) => "https://h.example",
        Kind::Choice(choices) => choices[0],
        Kind::LogDestination => "STDERR",
    }
}

#[test]
fn every_property_without_effect_is_reported_at_start_and_in_the_check() {
    let mut gcfg = String::from("[CRAN]\nURL = https://cran.invalid\n");
    let mut expected = Vec::new();
    for section in SECTIONS {
        let sub = match section.sub {
            Subsection::Never | Subsection::ClassOrNone => "",
            Subsection::Class | Subsection::Free => " \"packages\"",
        };
        gcfg.push_str(&format!("[{}{sub}]\n", section.name));
        for property in section.properties {
            let text = match property.effect {
                Effect::Since(_) => continue,
                Effect::NotYet => "is not supported in this version",
                Effect::Obsolete => "no longer has an effect; remove it",
            };
            gcfg.push_str(&format!("{} = {}\n", property.name, valid_value(property.kind)));
            expected.push(format!("[{}{sub}] {}: {text}", section.name, property.name));
        }
    }
    let server = Builder::default().gcfg(&gcfg).prepare();
    let (result, findings) = server.check_result("Properties without effect");
    assert_eq!((result.as_str(), findings.len()), ("info", expected.len()), "{findings:#?}");
    for (finding, expected) in findings.iter().zip(&expected) {
        assert!(finding.ends_with(expected), "{finding}\n{expected}");
        assert!(finding.starts_with(&format!("{}:", server.config_file().display())), "{finding}");
    }
    let (code, text) = server.check_config();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("[INFO] Properties without effect"), "{text}");

    let server = Builder::default().gcfg(&gcfg).start();
    let log = server.log_lines();
    for expected in &expected {
        let has_warning = log.iter().any(|line| line.contains("WARN") && line.contains(expected.as_str()));
        assert!(has_warning, "{expected}:\n{}", log.join("\n"));
    }
}

#[test]
fn a_restriction_that_cannot_be_parsed_is_refused() {
    let variable = ("PACKAGEMANAGER_AUTHENTICATION_REQUIREAUTHFORUI".to_owned(), "some".to_owned());
    let error = config::parse("f", b"", [variable]).expect_err("variables are checked too").to_string();
    assert!(error.starts_with("environment PACKAGEMANAGER_AUTHENTICATION_REQUIREAUTHFORUI: "), "{error}");
    let error = config::parse("f", b"[Authentication]\nRequireAuthForUI = maybe\n", []);
    assert!(error.is_err(), "a value that cannot be parsed may be meant to restrict access");
}
