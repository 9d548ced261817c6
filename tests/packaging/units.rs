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
    let names = rstudio_pm::generator::units::socket_names(&parsed.unwrap().config);
    assert_eq!(names.len(), 5, "{names:?}");
    for name in names {
        let (template, _) = name.split_once('@').unwrap();
        let unit = self::file(&format!("units/{template}@.socket"));
        assert_eq!(value(&unit, "FileDescriptorName"), template.strip_prefix("rstudio-pm-").unwrap());
        assert_eq!(value(&unit, "Service"), "rstudio-pm.service");
        assert_eq!(
            value(&unit, "StopWhenUnneeded"),
            "yes",
            "a stop of a server that crashes closes its ports"
        );
    }
}

#[test]
fn the_service_is_of_a_type_that_every_systemd_supports() {
    let unit = file("units/rstudio-pm.service");
    assert_eq!(value(&unit, "Type"), "notify", "notify-reload is read as simple by systemd 252");
    assert!(
        !unit.lines().any(|line| line.starts_with("RuntimeDirectory=")),
        "it would remove the admin socket"
    );
    assert!(!unit.lines().any(|line| line.starts_with("PrivateUsers=")), "it would hide the caller's uid");
    assert_eq!(value(&unit, "CapabilityBoundingSet"), "CAP_NET_BIND_SERVICE", "for an old setcap");
}

/// The limits are those of the documentation; the units run code of others with fewer rights than the server.
#[test]
fn the_exposure_of_the_units_is_limited() {
    for (unit, tenths) in [
        ("rstudio-pm", 15),
        ("rstudio-pm-fetch@", 15),
        ("rstudio-pm-build@", 10),
        ("rstudio-pm-backup", 27),
        ("rstudio-pm-backup-test", 27),
    ] {
        let path = format!("units/{unit}.service");
        let output = std::process::Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", &format!("--threshold={tenths}"), &path])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("systemd-analyze runs; tests/setup installs it");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("Overall exposure level"), "{path}: {text}");
    }
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
        assert!(
            !unit.lines().any(|line| line.starts_with("ExecStop")),
            "TimeoutStopSec= would end it: {unit}"
        );
        let commands = unit
            .lines()
            .filter_map(|line| line.strip_prefix("ExecStart="))
            .flat_map(|line| line.split(['\'', ';', '&']))
            .filter_map(|command| command.trim().strip_prefix("/opt/rstudio-pm/bin/"));
        for line in commands {
            let parsed = rstudio_pm::cli::args::Cli::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {:?}", parsed.err().map(|e| e.to_string()));
            count += 1;
        }
        assert_eq!(value(&file(&format!("units/{name}.timer")), "WantedBy"), "timers.target");
    }
    assert_eq!(count, 4);
}

/// The builders: names in units and program agree, and the packages enable the sockets.
#[test]
fn the_sockets_of_builders_are_those_of_the_program_and_are_enabled() {
    let paths = rstudio_pm::builder::sandbox::Paths::default();
    let limits = rstudio_pm::builder::message::Limits::default();
    for (name, socket) in [("fetch", &paths.fetch_socket), ("build", &paths.build_socket)] {
        let unit = file(&format!("units/rstudio-pm-{name}.socket"));
        assert_eq!(Path::new(value(&unit, "ListenSequentialPacket")), socket);
        assert_eq!(value(&unit, "Accept"), "yes");
        let service = file(&format!("units/rstudio-pm-{name}@.service"));
        assert_eq!(value(&service, "ExecStart"), format!("{} {name}", paths.builder.display()));
        assert!(value(&service, "User").ends_with("-%i"), "a uid for each instance");
        assert!(!service.contains("[Install]"));
        assert_eq!(value(&service, "LimitFSIZE"), format!("{}G", limits.file_size >> 30));
    }
    let build = file("units/rstudio-pm-build@.service");
    assert_eq!(value(&build, "PrivateNetwork"), "yes");
    // In the slice of templates its weight would be compared with that of other builds only.
    assert_eq!(value(&build, "Slice"), "system.slice");
    // Otherwise commands would not run on idle processors only: the builder ignores that it may not set their policy.
    assert!(
        build
            .lines()
            .any(|line| line.starts_with("SystemCallFilter=") && line.ends_with(" sched_setscheduler"))
    );
    let minutes: u64 = value(&build, "RuntimeMaxSec").strip_suffix("min").unwrap().parse().unwrap();
    assert!(limits.seconds < minutes * 60, "the program reports the time limit before systemd ends it");
    for script in ["debian/postinst", "rpm/rstudio-pm.spec"] {
        let text = file(script);
        let named =
            |word: &str| text.lines().any(|line| line.contains(word) && line.contains("-build.socket"));
        assert!(text.contains(" enable ") && named("rstudio-pm-fetch.socket"), "{script}");
    }
    // A stop of the server must not stop the sockets of builders, nor must they be taken for outdated listeners.
    for script in ["units/open-sockets", "units/close-sockets"] {
        assert!(!file(script).contains("'rstudio-pm-*.socket'"), "{script}");
    }
}
