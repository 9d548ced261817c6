//! The shipped units compared with the program: names, timeouts, and values that systemd accepts.

use std::path::{Path, PathBuf};

fn file(path: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn value<'a>(unit: &'a str, key: &str) -> &'a str {
    let value = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("{key}= is not in {unit}"))
}

#[test]
fn the_templates_are_those_the_generator_instantiates() {
    let parsed = rstudio_pm::config::parse(
        "f",
        b"[HTTPS]\nListen = :443\nCertificate = /c\nKey = /k\n[HTTP]\nListen = :80\n[HTTPRedirect]\nListen = :81\n",
        [],
    );
    let settings = rstudio_pm::daemon::units::ServiceSettings { enabled: true, ..Default::default() };
    let (files, rejected) = rstudio_pm::daemon::units::files(&parsed.unwrap().config, &settings);
    assert_eq!(rejected, Vec::<String>::new());
    let mut links = 0;
    for file in files {
        if let rstudio_pm::daemon::units::Content::Link(target) = file.content {
            let template = Path::new(&target).file_name().unwrap().to_str().unwrap().to_owned();
            let unit = self::file(&format!("units/{template}"));
            let kind = template.strip_prefix("rstudio-pm-").unwrap().strip_suffix("@.socket").unwrap();
            assert_eq!(value(&unit, "FileDescriptorName"), kind);
            assert_eq!(value(&unit, "Service"), "rstudio-pm.service");
            links += 1;
        }
    }
    assert_eq!(links, 5);
}

#[test]
fn the_service_is_of_a_type_that_every_systemd_knows() {
    let unit = file("units/rstudio-pm.service");
    assert_eq!(value(&unit, "Type"), "notify", "notify-reload is read as simple by systemd 252");
    assert!(
        !unit.lines().any(|line| line.starts_with("RuntimeDirectory=")),
        "it would remove the admin socket"
    );
    assert!(!unit.lines().any(|line| line.starts_with("PrivateUsers=")), "it would hide the caller's uid");
    assert_eq!(value(&unit, "CapabilityBoundingSet"), "CAP_NET_BIND_SERVICE", "for an old setcap");
}

#[test]
fn the_drain_ends_before_systemd_kills() {
    let unit = file("units/rstudio-pm.service");
    let stop: u64 = value(&unit, "TimeoutStopSec").parse().unwrap();
    let drain = rstudio_pm::http::Limits::default().drain_timeout;
    assert!(drain.as_secs() + 5 <= stop, "a drain of {drain:?} and TimeoutStopSec={stop}");
}

/// Every command of the backup units is one that `rspm` has.
#[test]
fn the_backup_units_run_commands_of_rspm() {
    use clap::Parser;
    let mut count = 0;
    for name in ["rstudio-pm-backup", "rstudio-pm-backup-test"] {
        let unit = file(&format!("units/{name}.service"));
        for line in unit.lines().filter_map(|line| line.strip_prefix("ExecStart=/opt/rstudio-pm/bin/")) {
            let parsed = rstudio_pm::cli::args::Cli::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {:?}", parsed.err().map(|e| e.to_string()));
            count += 1;
        }
        assert_eq!(value(&file(&format!("units/{name}.timer")), "WantedBy"), "timers.target");
    }
    assert_eq!(count, 4);
}
