//! Existing configurations of administrators are read without errors and without unknown names.

use rstudio_pm::config::{ClassLocation, Loaded, ProblemCategory, parse};
use rstudio_pm::model::kind::StorageClass;

/// Parses `text`; fails on an error or an unknown name.
fn parse_clean(text: &str) -> Loaded {
    let loaded =
        parse("rstudio-pm.gcfg", text.as_bytes(), []).unwrap_or_else(|error| panic!("{text}\n{error}"));
    assert_eq!(
        loaded.warnings.iter().find(|warning| warning.category == ProblemCategory::Name),
        None,
        "{text}"
    );
    loaded
}

#[test]
fn a_data_directory_on_a_network_disk_with_the_database_beside_it() {
    let text = "; /etc/rstudio-pm/rstudio-pm.gcfg\n\n[Server]\nDataDir = /mnt/rstudio-pm\n\n[SQLite]\nDir = /var/lib/rstudio-pm/db\n";
    let config = parse_clean(text).config;
    assert_eq!(config.server.data_dir, std::path::Path::new("/mnt/rstudio-pm"));
    assert_eq!(config.sqlite.dir, std::path::Path::new("/var/lib/rstudio-pm/db"));
}

#[test]
fn a_quoted_service_log() {
    let config = parse_clean("[Server]\nServiceLog = \"/var/log/rstudio-pm.service.log\"\n").config;
    assert_eq!(
        config.server.service_log.as_deref(),
        Some(std::path::Path::new("/var/log/rstudio-pm.service.log"))
    );
}

#[test]
fn five_classes_in_directories_of_their_own() {
    let classes = ["cache", "launcher", "metrics", "packages", "binaries"];
    let section = |class| format!("[FileStorage \"{class}\"]\nLocation = /mnt/rstudio-pm-{class}\n\n");
    let config = parse_clean(&classes.map(section).concat()).config;
    for (class, directory_of) in [
        (StorageClass::Cache, "cache"),
        (StorageClass::Binaries, "binaries"),
        (StorageClass::Cran, "packages"),
        (StorageClass::Pypi, "packages"),
    ] {
        let ClassLocation::File(directory) = config.storage.location(class) else {
            panic!("{class:?} is not on disk")
        };
        assert_eq!(directory.location, std::path::Path::new(&format!("/mnt/rstudio-pm-{directory_of}")));
    }
}

#[test]
fn all_classes_on_s3_with_an_override() {
    let text = "; /etc/rstudio-pm/rstudio-pm.gcfg\n\n[Storage]\nCache = s3\nLauncher = s3\nMetrics = s3\nPackages = s3\n\
        Binaries = s3\n\n; Default S3 settings.\n[S3Storage]\nBucket = your-s3-bucket\n\n[S3Storage \"packages\"]\n\
        Bucket = another-s3-bucket\nPrefix = rspm-packages\nProfile = dev-rspm\nRegion = us-west-1\nEnableSharedConfig = true\n";
    let loaded = parse_clean(text);
    let ClassLocation::S3(packages) = loaded.config.storage.location(StorageClass::Packages) else {
        panic!("the class is not on S3")
    };
    assert_eq!((packages.bucket.as_str(), packages.prefix.as_str()), ("another-s3-bucket", "rspm-packages"));
    assert_eq!(
        (packages.profile.as_deref(), packages.region.as_deref()),
        (Some("dev-rspm"), Some("us-west-1"))
    );
    assert!(packages.enable_shared_config);
    let ClassLocation::S3(cache) = loaded.config.storage.location(StorageClass::Cache) else {
        panic!("the class is not on S3")
    };
    assert_eq!((cache.bucket.as_str(), cache.enable_shared_config), ("your-s3-bucket", false));
    assert_eq!(loaded.warnings, []);
}

#[test]
fn the_settings_of_local_packages() {
    for (level, size, bytes) in [("6", "32KB", 32 << 10), ("1", "2MB", 2 << 20)] {
        let text = format!(
            "[Server]\n; Decreasing the level costs space.\nPackageRewriteCompressionLevel = {level}\n\
             PackageRewriteBufferSize = {size}\n"
        );
        let server = &parse_clean(&text).config.server;
        assert_eq!(server.package_rewrite_compression_level.to_string(), level);
        assert_eq!(server.package_rewrite_buffer_size, bytes);
    }
}

#[test]
fn a_listener_alone() {
    assert_eq!(parse_clean("[HTTP]\nListen = :4242\n").warnings, []);
}

#[test]
fn several_servers_with_postgres_and_s3() {
    let text = "[Database]\nProvider = postgres\n[Postgres]\nURL = postgres://user@host:5432/rstudio_pm\n\
        UsageDataURL = postgres://user@host:5432/rstudio_pm_usage\n[Storage]\nDefault = s3\n[S3Storage]\n\
        Bucket = my-bucket\nRegion = us-east-1\n";
    let loaded = parse_clean(text);
    assert_eq!(loaded.warnings, []);
}

#[test]
fn a_server_without_internet() {
    let config =
        parse_clean("[CRAN]\nURL = file:///mnt/rspm-data\n[Bioconductor]\nURL = file:///mnt/rspm-data\n")
            .config;
    assert_eq!(&*config.cran.url, "file:///mnt/rspm-data");
}

#[test]
fn sections_of_later_features_and_of_older_versions() {
    parse_clean(
        "[Http]\nListen = :4242\n[HttpRedirect]\nListen =\n[Licensing]\nLicenseType = remote\n[Launcher]\n\
         ServerUser = rstudio-pm\nAdminGroup = rstudio-pm\n[Git]\nPollInterval = 5m\nBuildRetries = 3\n\
         AllowUnsandboxedGitBuilds = true\n[Metrics]\nEnabled = true\nListen = :2112\n[Debug]\nLog = git\nLog = sync\n\
         [Authentication]\nAPITokenAuth = true\nLifetime = 30d\n[OpenIDConnect]\nCustomScope = a\nCustomScope = b\n\
         [IdentityFederation \"k8s\"]\nIssuer = https://kube\nAudience = sts.amazonaws.com\n\
         Subject = \"system:serviceaccount:ns:.*-connect\"\nScope = repos:read:*\nUniqueIdClaim = sub\n\
         UsernameClaim = sub\nTokenLifetime = 1h\n[Repos]\nCRAN = cran\n\
         [Server]\nRVersion = /opt/R/4.2\nRVersion = /opt/R/4.3\nLauncherDir = /x\nUsageDataEnabled = off\n\
         [StorageAlerts]\nUIMessageType = none\n[StorageAudit]\nEnabled = no\n[Bootstrap]\nPublicKey = /run/key.pub\n",
    );
}

#[test]
fn an_identity_provider_and_the_issuer_of_a_cluster() {
    let text = "[Server]\nAddress = https://packages.example\n[OpenIDConnect]\nIssuer = https://id.example/realm?a=b\n\
                ClientId = x\nScope = repos:read:*\n[IdentityFederation \"k8s\"]\nIssuer = https://kube\n\
                Audience = sts.amazonaws.com\nSubject = \"system:serviceaccount:ns:.*-connect\"\n\
                Scope = repos:read:*\n";
    let config = parse_clean(text).config;
    let subject = config.federations[0].subject.as_ref().expect("set");
    assert!(subject.matches("system:serviceaccount:ns:main-connect"));
    assert!(!subject.matches("system:serviceaccount:other:main-connect"));
}
