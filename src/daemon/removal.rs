//! `--removal-commands`: prints the commands that remove data outside the default directories, for a purge of
//! the package. Storage classes are listed where the server would open them, with the variables of its unit.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

use super::configuration;
use super::files::table::logs;
use super::service_unit::{ServiceUnit, has_unknown_variables};
use base::config::{self, ClassLocation, Config, ConfigError, Provider, S3Location, without_userinfo};
use base::model::kind::StorageClass;
use base::model::text::shell_word;
use store::storage::Key;

/// Directories that the scripts of the distribution packages remove.
const DEFAULT_DIRECTORIES: [&str; 2] = ["/var/lib/rstudio-pm", "/var/log/rstudio/rstudio-pm"];

/// Prints the commands for the configuration in `file`, or for the valid part of it.
pub(super) fn print(file: &Path) {
    let (variables, errors) = ServiceUnit::find(file).map(|unit| unit.variables()).unwrap_or_default();
    for error in &errors {
        println!(
            "  # could not read the variables of the service, which may name other directories: {error}"
        );
    }
    if has_unknown_variables() {
        println!(
            "  # the unit of the service sets variables that only systemd can print, and that may name other directories: \
             systemctl show -p Environment,EnvironmentFiles rstudio-pm"
        );
    }
    let is_property = |(name, _): &(String, String)| name.starts_with("PACKAGEMANAGER_");
    let variables: Vec<_> = variables.into_iter().filter(is_property).collect();
    let config = match configuration::load_with(file, variables) {
        Ok(loaded) => loaded.config,
        Err(ConfigError::Unreadable { .. }) => return,
        Err(error) => {
            eprintln!("{error}\nThe configuration is not valid: data may remain in other directories, too.");
            let text = config::read(file).unwrap_or_default();
            config::parse_valid_part(&file.display().to_string(), &text).0.into()
        }
    };
    let is_root_owned = |path: &Path| path.metadata().is_ok_and(|metadata| metadata.uid() == 0);
    for line in commands(&config, is_root_owned) {
        println!("  {line}");
    }
}

/// Returns one line per location: a command, or a comment if a command could remove data of other programs.
fn commands(config: &Config, is_root_owned: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut listed_paths: Vec<PathBuf> = DEFAULT_DIRECTORIES.iter().map(PathBuf::from).collect();
    for (path, owner) in directories(config) {
        if listed_paths.iter().any(|parent| path.starts_with(parent)) {
            continue;
        }
        let quoted_path = shell_word(&path.display().to_string());
        // The server's user cannot write into a directory of root, so its content is not only the server's.
        lines.push(match is_root_owned(&path) {
            true => {
                format!("# {owner}: {quoted_path} belongs to root; check its content before you remove it")
            }
            false => format!("rm -rf {quoted_path}    # {owner}"),
        });
        listed_paths.push(path);
    }
    for (class_location, classes) in buckets(config) {
        lines.push(bucket(class_location, &classes));
    }
    for log in logs(config).filter(|log| !listed_paths.iter().any(|parent| log.starts_with(parent))) {
        let quoted_path = shell_word(&log.display().to_string());
        // The file and its rotated versions, but no file of another program with the same name prefix.
        lines.push(format!("rm -f {quoted_path} {quoted_path}[.-][0-9]*"));
    }
    if config.database.provider == Provider::Postgres {
        let urls = config.postgres.url.iter().chain(&config.postgres.usage_data_url);
        let mut databases: Vec<String> = urls.map(|url| database(&url.0)).collect();
        databases.dedup();
        lines.extend(databases);
    }
    lines
}

/// The data directories, with the property or the storage classes that each belongs to.
fn directories(config: &Config) -> Vec<(PathBuf, String)> {
    let mut directories = vec![(config.server.data_dir.clone(), "Server.DataDir".to_owned())];
    if config.database.provider == Provider::Sqlite {
        directories.push((config.sqlite.dir.clone(), "SQLite.Dir".to_owned()));
    }
    let mut class_directories: Vec<(PathBuf, Vec<StorageClass>)> = Vec::new();
    for class in StorageClass::ALL {
        let ClassLocation::File(class_location) = config.storage.location(class) else { continue };
        match class_directories.iter_mut().find(|(location, _)| *location == class_location.location) {
            Some((_, classes)) => classes.push(class),
            None => class_directories.push((class_location.location.clone(), vec![class])),
        }
    }
    directories
        .extend(class_directories.into_iter().map(|(location, classes)| (location, class_names(&classes))));
    directories
}

/// Locations in buckets, with the storage classes that share each.
fn buckets(config: &Config) -> Vec<(&S3Location, Vec<StorageClass>)> {
    let mut locations: Vec<(&S3Location, Vec<StorageClass>)> = Vec::new();
    for class in StorageClass::ALL {
        let ClassLocation::S3(class_location) = config.storage.location(class) else { continue };
        let is_same = |other: &S3Location| {
            (&other.bucket, &other.prefix, &other.endpoint)
                == (&class_location.bucket, &class_location.prefix, &class_location.endpoint)
        };
        match locations.iter_mut().find(|(other, _)| is_same(other)) {
            Some((_, classes)) => classes.push(class),
            None => locations.push((class_location, vec![class])),
        }
    }
    locations
}

/// The line for a location in a bucket. Never removes a whole bucket: it may contain objects of other programs.
fn bucket(class_location: &S3Location, classes: &[StorageClass]) -> String {
    let S3Location { bucket, prefix, profile, region, endpoint, .. } = class_location;
    if prefix.is_empty() {
        let directories: Vec<String> = classes
            .iter()
            .flat_map(|class| Key::directories(*class))
            .map(|key| format!("{}/", key.directory()))
            .collect();
        return format!(
            "# {}: the bucket s3://{bucket} is used without a prefix; the server's objects are below {}: check for \
             other objects there before you remove them",
            class_names(classes),
            directories.join(", ")
        );
    }
    let mut line = String::from("aws s3 rm --recursive");
    for (option, value) in [("--endpoint-url", endpoint), ("--profile", profile), ("--region", region)] {
        if let Some(value) = value {
            let _ = write!(line, " {option} {}", shell_word(value));
        }
    }
    // With a trailing slash, so that `pm` does not match `pm-backup`.
    let _ =
        write!(line, " {}    # {}", shell_word(&format!("s3://{bucket}/{prefix}/")), class_names(classes));
    line
}

/// `dropdb 'name'    # of postgres://***@host/name`
fn database(url: &str) -> String {
    let url = without_userinfo(url);
    let url = url.split('?').next().unwrap_or_default();
    let name =
        percent_decode_str(url.rsplit('/').next().unwrap_or_default()).decode_utf8_lossy().into_owned();
    format!("dropdb {}    # of {url}", shell_word(&name))
}

/// `storage class packages`, `storage classes cran, pypi`.
fn class_names(classes: &[StorageClass]) -> String {
    let names: Vec<&str> = classes.iter().map(|class| class.as_str()).collect();
    format!("storage class{} {}", if names.len() == 1 { "" } else { "es" }, names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(gcfg: &str) -> Vec<String> {
        let loaded = config::parse("f", gcfg.as_bytes(), []).expect("valid");
        commands(&loaded.config, |path| path == Path::new("/srv"))
    }

    #[test]
    fn the_default_paths_need_no_command() {
        assert_eq!(lines(""), Vec::<String>::new());
    }

    #[test]
    fn an_inherited_prefix_bounds_the_command_and_a_class_with_only_a_prefix_is_listed() {
        let output = lines(
            "[Storage]\nDefault = s3\n[S3Storage]\nBucket = a\nPrefix = pm\nRegion = r\n\
             [S3Storage \"packages\"]\nBucket = corp-shared\n[S3Storage \"cache\"]\nPrefix = other\n",
        );
        let begins = |start: &str| output.iter().any(|line| line.starts_with(start));
        let rm = "aws s3 rm --recursive --region 'r' 's3://";
        assert!(begins(&format!("{rm}corp-shared/pm/'    # storage classes packages, cran")), "{output:#?}");
        assert!(begins(&format!("{rm}a/other/'    # storage class cache")), "{output:#?}");
        assert!(begins(&format!("{rm}a/pm/'    # storage classes launcher, metrics, ")), "{output:#?}");
        assert_eq!(output.len(), 3);
    }

    #[test]
    fn an_unused_bucket_is_not_listed() {
        assert_eq!(lines("[S3Storage]\nBucket = b1\n"), Vec::<String>::new());
    }

    #[test]
    fn a_bucket_without_a_prefix_gets_no_command() {
        let output = lines("[Storage]\nPackages = s3\n[S3Storage \"packages\"]\nBucket = b1\nRegion = r\n");
        assert!(!output.iter().any(|line| line.starts_with("aws")), "{output:#?}");
        assert!(output.iter().any(|line| line.starts_with('#') && line.contains("readmes/")), "{output:#?}");
    }

    #[test]
    fn directories_are_listed_once_and_quoted_and_those_of_root_get_no_command() {
        let output = lines(
            "[Server]\nDataDir = /mnt/pm\nServiceLog = /var/log/pm.service.log\n[SQLite]\nDir = /mnt/pm/db\n\
             [FileStorage \"cache\"]\nLocation = \"/mnt/it's; here\"\n[FileStorage \"metrics\"]\nLocation = /srv\n",
        );
        assert_eq!(
            output,
            [
                "rm -rf '/mnt/pm'    # Server.DataDir",
                r"rm -rf '/mnt/it'\''s; here'    # storage class cache",
                "# storage class metrics: '/srv' belongs to root; check its content before you remove it",
                "rm -f '/var/log/pm.service.log' '/var/log/pm.service.log'[.-][0-9]*",
            ]
        );
    }

    #[test]
    fn a_database_is_named_without_its_password_and_only_when_it_is_in_use() {
        let url = "[Postgres]\nURL = \"postgres://u:secret@db/pm?sslmode=disable\"\n";
        assert_eq!(lines(url), Vec::<String>::new());
        let output = lines(&format!("[Database]\nProvider = postgres\n{url}"));
        assert_eq!(output, ["dropdb 'pm'    # of postgres://***@db/pm"]);
    }
}
