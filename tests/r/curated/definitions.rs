//! What definitions select: constraints, extras, kinds of dependencies, lock files.

use super::{Curated, changes, start};

/// The packages of a plan at 2025-10-14 of a source without packages.
fn selected_packages(curated: &Curated, definition: &str, flags: &str) -> Vec<String> {
    let output = curated.update(definition, &format!("--snapshot=2025-10-14 {flags} -o json"));
    assert_eq!(output.code, 0, "{definition}: {}", output.err);
    let plan: serde_json::Value = serde_json::from_str(&output.out).expect("JSON");
    let rows = changes(&plan);
    rows.iter().map(|row| row.strip_suffix(" added").expect("an added package").to_owned()).collect()
}

#[test]
fn constraints_select_the_highest_version_that_all_lines_and_dependents_allow() {
    let curated = start();
    for (definition, expected) in [
        ("lib", &["lib 2.0"][..]),
        ("lib <2", &["lib 1.5"]),
        ("lib >=1.0, <1.5", &["lib 1.0"]),
        ("lib (<= 1.5)", &["lib 1.5"]),
        ("lib@1.0", &["lib 1.0"]),
        ("lib != 2.0", &["lib 1.5"]),
        ("lib >1.0\nlib <2.0", &["lib 1.5"]),
        ("app <2", &["app 1.0", "hdr 1.0", "lib 2.0", "util 1.0"]),
        ("strict", &["app 2.0", "hdr 1.0", "lib 1.5", "strict 1.0", "util 1.0"]),
        ("tight\nutil", &["lib 1.0", "tight 1.0", "util 1.0"]),
    ] {
        assert_eq!(selected_packages(&curated, definition, ""), expected, "{definition}");
    }
}

#[test]
fn the_kinds_of_dependencies_are_those_of_the_source_and_of_the_line() {
    let curated = start();
    let strong = ["app 2.0", "hdr 1.0", "lib 2.0", "util 1.0"];
    let suggests = ["app 2.0", "deep 1.0", "extra 1.0", "hdr 1.0", "lib 2.0", "util 1.0"];
    let all = ["app 2.0", "bonus 1.0", "deep 1.0", "extra 1.0", "hdr 1.0", "lib 2.0", "util 1.0"];
    for (definition, flags, expected) in [
        ("app", "", &strong[..]),
        ("app [suggests]", "", &suggests),
        ("app\napp [Suggests, enhances]", "", &all),
        ("app", "--include=all", &all),
        ("app", "--include=imports,depends,linking-to,suggests", &suggests),
        ("app", "--include=none", &["app 2.0"]),
        ("app", "--include=imports", &["app 2.0", "lib 2.0", "util 1.0"]),
        ("app", "--include=suggests", &["app 2.0", "extra 1.0"]),
        ("app [linking-to]", "--include=none", &["app 2.0", "hdr 1.0"]),
    ] {
        assert_eq!(selected_packages(&curated, definition, flags), expected, "{definition} {flags}");
    }
    let output = curated.update("app [suggests]\n", "--snapshot=2025-10-14");
    assert_eq!(output.err, "1 dependency is not in CRAN at 2025-10-14 and was omitted: absent\n");

    let added = curated.server.rspm(
        "add --source=subset --packages=app --include-suggests --include=imports,depends --snapshot=2025-10-14 --commit",
    );
    assert_eq!(added.code, 0, "{added:?}");
    assert_eq!(curated.listed("latest"), ["app 2.0", "deep 1.0", "extra 1.0", "lib 2.0", "util 1.0"]);
    let definition = curated.server.json("info --source=subset")["definition"].clone();
    assert_eq!(
        (&definition["include"], &definition["files"][0]["text"]),
        (&"imports,depends".into(), &"app [suggests]\n".into())
    );
    // The kinds of the source stay until an update names others.
    let kept = curated.server.rspm("add --source=subset --packages=other --snapshot=2025-10-14 --commit");
    assert_eq!(kept.code, 0, "{kept:?}");
    assert_eq!(curated.server.json("info --source=subset")["definition"]["include"], "imports,depends");
    let missing = curated
        .server
        .rspm("add --source=subset --packages=broken --allow-missing --snapshot=2025-10-14 --commit");
    assert!(missing.code == 0 && missing.err.contains("and were omitted: absent, nothere"), "{missing:?}");
}

#[test]
fn lock_files_pin_their_versions() {
    let curated = start();
    let renv = r#"{"R": {"Version": "4.3.1"}, "Packages": {
        "app": {"Package": "app", "Version": "2.0", "Source": "Repository"},
        "lib": {"Package": "lib", "Version": "1.5", "Source": "Repository"},
        "mine": {"Package": "mine", "Version": "0.1", "Source": "GitHub"}}}"#;
    let lock = curated.file("renv.lock", renv);
    let flags = format!("update --source=subset --file-in={} --snapshot=2025-10-14", lock.display());
    let plan = curated.server.rspm(&flags);
    let omitted = "renv.lock: 1 package that is not from a repository was omitted: mine\n";
    assert_eq!((plan.code, plan.err.as_str()), (0, omitted), "{}", plan.out);
    assert_eq!(curated.server.rspm(&format!("{flags} --commit")).code, 0);
    assert_eq!(curated.listed("latest"), ["app 2.0", "hdr 1.0", "lib 1.5", "util 1.0"]);
    let definition = curated.server.json("info --source=subset")["definition"].clone();
    assert_eq!(definition["files"][0]["text"], renv, "as the administrator wrote it");
    // Pins that CRAN has, and that do not fit together.
    let lock = curated.file("renv.lock", renv.replace(r#""1.5""#, r#""1.0""#));
    let refused = curated
        .server
        .rspm(&format!("update --source=subset --file-in={} --snapshot=2025-10-14 --commit", lock.display()));
    let reason = "no version of 'lib' at 2025-10-14 meets all requirements: app requires >=1.5, renv.lock requires ==1.0";
    assert!(refused.code == 1 && refused.err.contains(reason), "{refused:?}");
    let rv = "version = 1\n[[packages]]\nname = \"lib\"\nversion = \"1.0\"\nsource = { repository = \"https://cran.example.org\" }\n";
    assert_eq!(selected_after_clear(&curated, rv), ["lib 1.0"]);
}

/// The packages of a plan that stay or are added.
fn selected_after_clear(curated: &Curated, definition: &str) -> Vec<String> {
    let output = curated.update(definition, "--snapshot=2025-10-14 -o json");
    assert_eq!(output.code, 0, "{}", output.err);
    let plan: serde_json::Value = serde_json::from_str(&output.out).expect("JSON");
    let rows = changes(&plan);
    let names = rows
        .iter()
        .filter(|row| !row.ends_with(" removed"))
        .map(|row| row.rsplit_once(' ').map(|(package, _)| package.to_owned()).expect("a change"));
    names.collect()
}
