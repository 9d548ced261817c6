//! The last of the three forms of a configuration: validates merged settings to a [`Config`], or all errors.

use std::path::PathBuf;
use std::sync::Arc;

use super::key_file::EncryptionKey;
use super::merged::{Settings, merge};
use super::parsed_file::ParsedFile;
use super::problem::{ConfigError, Problem};
use super::reader::Reader;
use super::{
    Authentication, Bioconductor, Bootstrap, Bundle, Config, Cran, Database, Federation, Git, History,
    IndexConfig, Loaded, LocalPython, Logging, Metrics, OpenIdConnect, Platforms, Postgres, Proxy,
    Requirements, Server, Sqlite, StorageAlerts, StorageAudit, StorageConfig, Vulnerabilities, decryption,
    environment, listen, storage,
};

/// Parses `text` (`name` is used in messages), applies the environment and validates the result. Encrypted values stay
/// encrypted. Pure.
///
/// # Errors
/// All errors, not only the first.
pub fn parse(
    name: &str,
    text: &[u8],
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, ConfigError> {
    let MergedSettings { mut settings, errors, warnings } = MergedSettings::read(name, text, env);
    decryption::mark_encrypted(&mut settings);
    from_settings(settings, errors, warnings, Environment::default())
}

/// The settings of a file and the environment, before their values are decrypted and checked.
pub(super) struct MergedSettings {
    pub(super) settings: Settings,
    pub(super) errors: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

impl MergedSettings {
    pub(super) fn read(
        name: &str,
        text: &[u8],
        env: impl IntoIterator<Item = (String, String)>,
    ) -> MergedSettings {
        let parsed_file = ParsedFile::read(name, text);
        let (mut settings, mut warnings) = merge(&parsed_file);
        warnings.extend(environment::apply(&mut settings, env));
        MergedSettings { settings, errors: parsed_file.errors, warnings }
    }
}

/// What a [`Config`] has beside its settings. A reload takes it from the file that was read last.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    pub(super) file: Option<PathBuf>,
    pub(super) encryption_key: Option<Arc<EncryptionKey>>,
}

impl Environment {
    pub(super) fn of(config: &Config) -> Environment {
        Environment { file: config.file.clone(), encryption_key: config.encryption_key.clone() }
    }
}

/// Builds a [`Config`]: checks each setting, and the settings for contradictions.
pub(super) fn from_settings(
    settings: Settings,
    mut errors: Vec<Problem>,
    mut warnings: Vec<Problem>,
    environment: Environment,
) -> Result<Loaded, ConfigError> {
    let mut reader = Reader::new(&settings);
    reader.check_all();
    // After an invalid line, errors about missing or contradictory settings may be wrong and are omitted.
    let is_complete = errors.is_empty();
    errors.append(&mut reader.errors);
    let config = config(&mut reader, environment);
    if is_complete {
        errors.append(&mut reader.errors);
    }
    warnings.append(&mut reader.warnings);
    if errors.is_empty() {
        Ok(Loaded { config: Arc::new(config), settings, warnings })
    } else {
        Err(ConfigError::Invalid { errors, warnings })
    }
}

/// Returns the valid part of a text: an invalid property has its default, and an invalid listener is unset. For callers
/// that must work with an invalid file; never for serving.
pub fn parse_valid_part(name: &str, text: &[u8]) -> (Config, Vec<Problem>) {
    let parsed_file = ParsedFile::read(name, text);
    let (settings, _) = merge(&parsed_file);
    let mut reader = Reader::new(&settings);
    reader.check_all();
    let config = config(&mut reader, Environment::default());
    let errors = parsed_file.errors.into_iter().chain(reader.errors).collect();
    (config, errors)
}

fn config(reader: &mut Reader<'_>, environment: Environment) -> Config {
    let server = Server::read(reader);
    let (http, https, http_redirect) = listen::read(reader);
    let metrics = Metrics::read(reader, &http, &https, &http_redirect);
    let database = Database::read(reader);
    let cran = Cran::read(reader);
    let open_id_connect = OpenIdConnect::read(reader, server.address.as_deref());
    Config {
        storage: StorageConfig {
            locations: storage::read(reader),
            backups: storage::backup_connection(reader),
            spool_dir: server.temp_dir.clone(),
        },
        server,
        http,
        https,
        http_redirect,
        sqlite: Sqlite::read(reader),
        postgres: Postgres::read(reader, database.provider),
        database,
        requirements: Requirements::read(reader, &cran.url),
        vulnerabilities: Vulnerabilities::read(reader, &cran.url),
        bundle: Bundle::read(reader),
        cran,
        bioconductor: Bioconductor::read(reader),
        indexes: IndexConfig::read_all(reader),
        local_python: LocalPython::read(reader),
        git: Git::read(reader),
        history: History::read(reader),
        platforms: Platforms::shared(reader),
        metrics,
        storage_audit: StorageAudit::read(reader),
        storage_alerts: StorageAlerts::read(reader),
        authentication: Authentication::read(reader),
        open_id_connect: open_id_connect.map(Arc::new),
        federations: Federation::read_all(reader).into(),
        bootstrap: Bootstrap::read(reader),
        logging: Logging::read(reader),
        proxy: Proxy::read(reader),
        file: environment.file,
        encryption_key: environment.encryption_key,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::{
        AccessLogFormat, ClassLocation, Listen, LogDestination, LogFormat, LogLevel, MinimumTls,
        ProblemCategory, Provider, S3Location,
    };
    use crate::model::kind::StorageClass;
    use proptest::prelude::*;

    fn parse_valid(text: &str) -> Loaded {
        match parse("f", text.as_bytes(), []) {
            Ok(loaded) => loaded,
            Err(error) => panic!("{text}: {error}"),
        }
    }

    fn parse_errors(text: &str) -> Vec<String> {
        let error = parse("f", text.as_bytes(), []).expect_err(text);
        error.to_string().lines().map(str::to_owned).collect()
    }

    fn only_error(text: &str) -> String {
        let lines = parse_errors(text);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].clone()
    }

    fn warnings_of(text: &str) -> Vec<String> {
        parse_valid(text).warnings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_valid_values_of_an_invalid_file_are_returned() {
        let (config, errors) =
            parse_valid_part("f", b"[HTTP]\nListen = :80\n[Server\nDataDir = /x\n[SQLite]\nDir = db\n");
        assert_eq!(config.http.listen, Some(Listen { host: String::new(), port: 80 }));
        assert_eq!(config.sqlite.dir, Path::new("/var/lib/rstudio-pm/db"));
        assert_eq!(errors.len(), 2, "{errors:?}");
        let (config, errors) = parse_valid_part("f", b"[HTTP]\nListen = x\n");
        assert_eq!((config.http.listen.clone(), errors.is_empty()), (None, false));
    }

    #[test]
    fn an_empty_file_has_the_defaults() {
        let loaded = parse_valid("");
        let config = &loaded.config;
        assert_eq!(loaded.warnings, []);
        assert_eq!(config.server.data_dir, Path::new("/var/lib/rstudio-pm"));
        assert_eq!(config.server.temp_dir, Path::new("/tmp"));
        assert_eq!(config.server.package_rewrite_compression_level, 6);
        assert_eq!(config.server.package_rewrite_buffer_size, 32 * 1024);
        assert_eq!(config.server.access_log_format, AccessLogFormat::Combined);
        assert_eq!(config.http.listen, Some(Listen { host: String::new(), port: 4242 }));
        assert_eq!(config.https.minimum_tls, MinimumTls::Tls12);
        assert_eq!(config.database.provider, Provider::Sqlite);
        assert_eq!(config.sqlite.dir, Path::new("/var/lib/rstudio-pm/db"));
        assert_eq!(&*config.cran.url, "https://cloud.r-project.org");
        assert_eq!(config.cran.sync_schedule, "0 0 * * *");
        let log = LogDestination::File("/var/log/rstudio/rstudio-pm/rstudio-pm.log".into());
        assert_eq!(config.logging.system_log, [LogDestination::Stdout, log]);
        assert_eq!((config.logging.level, config.logging.format), (LogLevel::Info, LogFormat::Text));
        for class in StorageClass::ALL {
            let location = Path::new("/var/lib/rstudio-pm").join(class.as_str());
            assert_eq!(
                config.storage.location(class),
                &ClassLocation::File(crate::config::DirectoryLocation { location })
            );
        }
    }

    #[test]
    fn every_property_with_effect_is_read() {
        let loaded = parse_valid(
            "[Server]\nAddress = https://h/rspm/\nDataDir = /d\nTempDir = /t\nAccessLog = /a.log\n\
             AccessLogFormat = Common\nServiceLog = /s.log\nSockFileDir = /run/x\n\
             PackageRewriteCompressionLevel = 1\nPackageRewriteBufferSize = 2MB\nContentTypeSniffing = on\n\
             [HTTP]\nListen = 127.0.0.1:80\n[HTTPS]\nListen = [::1]:443\nCertificate = /c\nKey = /k\nPermanent = yes\n\
             MinimumTLS = 1.3\n[HTTPRedirect]\nListen = :81\n[Database]\nProvider = Postgres\nConnectionTimeout = 5s\n\
             [SQLite]\nDir = /db\n[Postgres]\nURL = postgres://u@h/d\nPassword = \"p;w\"\n\
             [CRAN]\nURL = file:///m\nSyncSchedule = 5 4 * * 0\n\
             [Logging]\nSystemLog = stderr\nSystemLogLevel = debug\nSystemLogFormat = json\n\
             [Proxy]\nURL = p:3128\nUser = u\nPassword = w\n",
        );
        let config = &loaded.config;
        let server = &config.server;
        assert_eq!(server.address.as_deref(), Some("https://h/rspm"));
        assert_eq!(server.access_log_format, AccessLogFormat::Common);
        assert_eq!(server.service_log.as_deref(), Some(Path::new("/s.log")));
        assert_eq!(
            (server.package_rewrite_compression_level, server.package_rewrite_buffer_size),
            (1, 2 << 20)
        );
        assert!(server.content_type_sniffing && config.https.permanent);
        assert_eq!(config.https.listen.as_ref().map(ToString::to_string).as_deref(), Some("[::1]:443"));
        assert_eq!(config.http.listen.as_ref().map(ToString::to_string).as_deref(), Some("127.0.0.1:80"));
        assert_eq!(config.https.minimum_tls, MinimumTls::Tls13);
        assert_eq!(config.http_redirect.listen.as_ref().map(|listen| listen.port), Some(81));
        assert_eq!(
            (config.database.provider, config.database.connection_timeout),
            (Provider::Postgres, Duration::from_secs(5))
        );
        assert_eq!(config.sqlite.dir, Path::new("/db"));
        assert_eq!(config.postgres.password.as_ref().map(|secret| secret.0.as_str()), Some("p;w"));
        assert_eq!((&*config.cran.url, config.cran.sync_schedule.as_str()), ("file:///m", "5 4 * * 0"));
        assert_eq!(config.logging.system_log, [LogDestination::Stderr]);
        assert_eq!((config.logging.level, config.logging.format), (LogLevel::Debug, LogFormat::Json));
        assert_eq!(config.proxy.url.as_ref().map(|secret| secret.0.as_str()), Some("p:3128"));
        assert_eq!(config.storage.spool_dir, Path::new("/t"));
    }

    #[test]
    fn all_errors_are_reported_with_position_and_value() {
        let text = "[Server]\nDataDir = data\nPackageRewriteBufferSize = big\n[HTTP]\nListen = 80\n";
        assert_eq!(
            parse_errors(text),
            [
                "f:2:11: [Server] DataDir = \"data\": must be an absolute path (one that begins with /)",
                "f:3:28: [Server] PackageRewriteBufferSize = \"big\": is not a size; write for example 512, 32KB or 2MB \
                 (1 KB is 1024 bytes)",
                "f:5:10: [HTTP] Listen = \"80\": must have a colon before the port: write :80",
            ]
        );
    }

    #[test]
    fn a_compression_level_of_0_is_an_error() {
        assert!(
            only_error("[Server]\nPackageRewriteCompressionLevel = 0\n").ends_with("must be between 1 and 9")
        );
    }

    #[test]
    fn a_compression_level_of_10_is_an_error() {
        assert!(
            only_error("[Server]\nPackageRewriteCompressionLevel = 10\n")
                .ends_with("must be between 1 and 9")
        );
    }

    #[test]
    fn a_buffer_size_of_0_is_an_error() {
        assert!(only_error("[Server]\nPackageRewriteBufferSize = 0\n").contains("must be between 1 and"));
    }

    #[test]
    fn http_and_https_on_one_port_is_an_error() {
        let text = "[HTTP]\nListen = 127.0.0.1:443\n[HTTPS]\nListen = :443\nCertificate = /c\nKey = /k\n";
        assert!(only_error(text).contains("HTTP.Listen and HTTPS.Listen using same value"));
    }

    #[test]
    fn a_redirect_on_the_port_of_a_listener_is_an_error() {
        let text = "[HTTPS]\nListen = :443\nCertificate = /c\nKey = /k\n[HTTPRedirect]\nListen = :443\n";
        assert!(only_error(text).contains("HTTPS.Listen and HTTPRedirect.Listen using same value"));
    }

    #[test]
    fn a_configuration_without_a_listener_is_an_error() {
        assert!(
            only_error("[HTTP]\nListen =\n").contains("set at least one of HTTP.Listen and HTTPS.Listen")
        );
    }

    #[test]
    fn https_alone_has_no_plain_listener() {
        let text = "[HTTPS]\nListen = :443\nCertificate = /c\nKey = /k\n";
        assert_eq!(parse_valid(text).config.http.listen, None);
        assert!(parse_valid(&format!("[HTTP]\nListen = :80\n{text}")).config.http.listen.is_some());
        assert_eq!(parse_valid(&format!("[HTTP]\nListen =\n{text}")).config.http.listen, None);
    }

    #[test]
    fn https_without_certificate_or_key_is_an_error() {
        let lines = parse_errors("[HTTPS]\nListen = :443\n");
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("[HTTPS] Certificate: must be set"), "{lines:?}");
        assert!(
            only_error("[HTTPS]\nListen = :443\nCertificate = /c\n").starts_with("[HTTPS] Key: must be set")
        );
    }

    #[test]
    fn a_redirect_without_https_is_an_error() {
        assert!(only_error("[HTTPRedirect]\nListen = :80\n").contains("needs HTTPS.Listen"));
    }

    #[test]
    fn old_tls_versions_act_as_1_2_with_a_warning() {
        for old in ["1.0", "1.1"] {
            let text = format!("[HTTPS]\nMinimumTLS = {old}\n");
            assert_eq!(parse_valid(&text).config.https.minimum_tls, MinimumTls::Tls12);
            assert!(warnings_of(&text)[0].contains("the oldest version accepted is 1.2"));
        }
        assert!(only_error("[HTTPS]\nMinimumTLS = 1.4\n").contains("must be one of 1.0, 1.1, 1.2, 1.3"));
    }

    #[test]
    fn a_temp_dir_inside_the_data_dir_is_an_error() {
        let line = only_error("[Server]\nDataDir = /d\nTempDir = /d/x/../tmp\n");
        assert!(line.starts_with("f:3:11: [Server] TempDir"), "{line}");
        assert!(line.contains("must not be inside Server.DataDir, /d"), "{line}");
        parse_valid("[Server]\nDataDir = /tmp/d\nTempDir = /tmp\n");
        parse_valid("[Server]\nDataDir = /d\nTempDir = /data\n");
    }

    #[test]
    fn the_default_temp_dir_is_that_of_the_environment() {
        let env = [("TMPDIR".to_owned(), "/scratch".to_owned())];
        assert_eq!(
            parse("f", b"", env.clone()).expect("valid").config.server.temp_dir,
            Path::new("/scratch")
        );
        let text = b"[Server]\nTempDir = /t\n";
        assert_eq!(parse("f", text, env).expect("valid").config.server.temp_dir, Path::new("/t"));
    }

    #[test]
    fn postgres_without_a_url_is_an_error() {
        assert!(only_error("[Database]\nProvider = postgres\n").starts_with("[Postgres] URL: must be set"));
    }

    #[test]
    fn a_misspelt_provider_gets_a_suggestion() {
        assert!(only_error("[Database]\nProvider = postgress\n").ends_with("did you mean postgres?"));
    }

    #[test]
    fn an_empty_value_of_a_property_with_a_default_is_an_error() {
        let line = only_error("[Server]\nDataDir =\n");
        assert!(
            line.ends_with("has no value; remove the line to use the default, /var/lib/rstudio-pm"),
            "{line}"
        );
        assert_eq!(parse_valid("[Server]\nServiceLog =\nAddress =\n").config.server.service_log, None);
    }

    #[test]
    fn a_cron_schedule_with_weekday_7_is_an_error() {
        assert!(only_error("[CRAN]\nSyncSchedule = 0 0 * * 7\n").contains("0 (Sunday) to 6"));
    }

    #[test]
    fn a_mirror_that_is_not_a_url_is_an_error() {
        assert!(only_error("[CRAN]\nURL = ftp://x\n").contains("must begin with https://"));
    }

    #[test]
    fn an_error_contains_no_secret() {
        let lines =
            parse_errors("[Proxy]\nURL = ftp://u:hunter2@h\n[Postgres]\nURL = mysql://u:hunter2@h/d\n");
        assert!(lines.iter().all(|line| !line.contains("hunter2") && line.contains("***")), "{lines:?}");
        let loaded = parse_valid(
            "[Proxy]\nURL = http://u:hunter2@h\nPassword = hunter2\n[Postgres]\nPassword = hunter2\n\
                           [CRAN]\nURL = https://u:hunter2@h/\n[Manifest]\nPassword = hunter2\n",
        );
        assert!(!format!("{loaded:?}").contains("hunter2"), "{loaded:?}");
    }

    #[test]
    fn a_wrong_value_of_a_property_without_effect_is_a_warning() {
        let lines = warnings_of("[Manifest]\nURL = many\n");
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("[Manifest] URL = \"many\": "));
        assert!(lines[1].ends_with("[Manifest] URL: is not supported in this version"));
    }

    #[test]
    fn a_broken_line_causes_no_error_about_its_missing_value() {
        assert_eq!(parse_errors("[Storage]\nDefault = s3\n[S3Storage]\nBucket my-bucket\n").len(), 1);
    }

    #[test]
    fn an_invalid_file_has_warnings_besides_errors() {
        let error = parse("f", b"[Sever]\n[HTTP]\nListen = x\n", []).expect_err("x is no address");
        let ConfigError::Invalid { errors, warnings } = error else { panic!("{error}") };
        assert_eq!((errors.len(), warnings.len()), (1, 1));
        assert_eq!(
            (errors[0].category, warnings[0].category),
            (ProblemCategory::Syntax, ProblemCategory::Name)
        );
    }

    fn s3(bucket: &str) -> S3Location {
        S3Location { bucket: bucket.to_owned(), ..S3Location::default() }
    }

    #[test]
    fn a_class_section_overrides_the_section_without_a_class_property_by_property() {
        let loaded = parse_valid(
            "[Storage]\nDefault = S3\nCache = file\n[S3Storage]\nBucket = b\nRegion = r\nEndpoint = http://h:1/\n\
             S3ForcePathStyle = true\n[S3Storage \"binaries\"]\nPrefix = /p/q/\nRegion = s\nPathStyle = false\n",
        );
        let class_location = |class| loaded.config.storage.location(class);
        let unnamed = S3Location {
            region: Some("r".to_owned()),
            endpoint: Some("http://h:1".to_owned()),
            path_style: true,
            ..s3("b")
        };
        assert_eq!(class_location(StorageClass::Metrics), &ClassLocation::S3(unnamed.clone()));
        let own = S3Location {
            prefix: "p/q".to_owned(),
            region: Some("s".to_owned()),
            path_style: false,
            ..unnamed
        };
        assert_eq!(class_location(StorageClass::Binaries), &ClassLocation::S3(own));
        assert!(matches!(class_location(StorageClass::Cache), ClassLocation::File(_)));
    }

    #[test]
    fn cran_bioconductor_and_pypi_use_the_location_of_packages_unless_set() {
        let loaded = parse_valid(
            "[Storage]\nPackages = s3\nPyPI = file\n[S3Storage \"packages\"]\nBucket = p\n\
             [S3Storage \"cran\"]\nPrefix = c\n[FileStorage \"packages\"]\nLocation = /mnt/p\n",
        );
        let class_location = |class| loaded.config.storage.location(class).clone();
        assert_eq!(
            class_location(StorageClass::Cran),
            ClassLocation::S3(S3Location { prefix: "c".to_owned(), ..s3("p") })
        );
        assert_eq!(class_location(StorageClass::Bioconductor), ClassLocation::S3(s3("p")));
        assert_eq!(
            class_location(StorageClass::Pypi),
            ClassLocation::File(crate::config::DirectoryLocation { location: "/mnt/p".into() })
        );
        assert_eq!(loaded.warnings, []);
    }

    #[test]
    fn s3_without_a_bucket_is_an_error_that_names_the_classes() {
        let line = only_error("[Storage]\nPackages = s3\n[S3Storage \"cran\"]\nBucket = c\n");
        let expected = "[S3Storage] Bucket: must be set: the storage of packages, bioconductor, pypi is s3";
        assert_eq!(line, expected);
    }

    #[test]
    fn an_unused_location_is_a_warning() {
        let lines = warnings_of(
            "[Storage]\nCache = s3\n[S3Storage]\nBucket = b\n[FileStorage \"cache\"]\nLocation = /c\n\
             [S3Storage \"metrics\"]\nBucket = m\n",
        );
        assert_eq!(
            lines,
            [
                "f:6:12: [FileStorage \"cache\"] Location = \"/c\": has no effect: Storage.Cache is s3",
                "f:8:10: [S3Storage \"metrics\"] Bucket = \"m\": has no effect: Storage.Metrics is file",
            ]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_validated_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse("f", &bytes, []);
        }

        #[test]
        fn any_value_of_any_property_is_validated_without_a_panic(
            pick in any::<prop::sample::Index>(),
            value in "[0-9a-zA-Z.:/@ *-]{0,24}",
        ) {
            let rows: Vec<_> = crate::config::rows::SECTIONS
                .iter()
                .flat_map(|section| section.properties.iter().map(move |property| (section, property)))
                .collect();
            let (section, property) = pick.get(&rows);
            let sub = if section.sub == crate::config::table::Subsection::Never { "" } else { " \"cran\"" };
            let text = format!("[{}{sub}]\n{} = \"{value}\"\n", section.name, property.name);
            match parse("f", text.as_bytes(), []) {
                Ok(_) | Err(ConfigError::Invalid { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}
