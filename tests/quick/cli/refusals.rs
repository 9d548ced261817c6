//! Refused commands, with the message that names the remedy.

use super::{add, files, path_flag, team};
use crate::support::rspm::rspm_without_server;
use crate::support::tarball::Tarball;

#[test]
fn unknown_names_are_reported_with_the_nearest_name() {
    let server = team();
    add(&server, "team", &[Tarball::new("alpha", "1.0"), Tarball::new("alpha", "1.1")]);
    let file = path_flag(&files(&server, &[Tarball::new("beta", "1.0")]));
    for line in [
        format!("add --source=teem {file}"),
        "edit source --name=teem --new-name=x".to_owned(),
        "delete source --name=teem".to_owned(),
        "info --source=teem".to_owned(),
        "list packages --source=teem".to_owned(),
        "list repos --source=teem".to_owned(),
        "remove package --name=alpha@all --source=teem".to_owned(),
        "subscribe --repo=prod --source=teem".to_owned(),
    ] {
        assert_eq!(server.refused(&line), "there is no source 'teem'; did you mean 'team'?", "{line}");
    }
    for line in [
        "edit repo --name=prdo --hide",
        "delete repo --name=prdo",
        "info --repo=prdo",
        "list packages --repo=prdo",
        "list sources --repo=prdo",
        "subscribe --repo=prdo --source=team",
        "unsubscribe --repo=prdo --source=team",
        "reorder --repo=prdo --sources=team",
    ] {
        assert_eq!(server.refused(line), "there is no repository 'prdo'; did you mean 'prod'?", "{line}");
    }
    assert_eq!(server.refused("info --source=xyz"), "there is no source 'xyz'; rspm list sources shows all");
    for (name, expected) in [
        ("alpha", "'alpha' does not select what to remove: use alpha@current, alpha@all or alpha@<version>"),
        ("alpha@", "'alpha' does not select what to remove: use alpha@current, alpha@all or alpha@<version>"),
        ("alpha@9.9", "the source 'team' has no alpha 9.9; it has 1.1, 1.0"),
        ("alhpa@all", "the source 'team' has no package 'alhpa'; rspm list packages --source=team shows all"),
    ] {
        assert_eq!(server.refused(&format!("remove package --name={name} --source=team")), expected);
    }
}

#[test]
fn existing_objects_are_reported_with_the_flag_that_accepts_them() {
    let server = team();
    assert_eq!(
        server.refused("create source --name=team"),
        "the source 'team' exists already; choose another name, or use --succeed-on-existing"
    );
    assert_eq!(
        server.refused("create repo --name=prod"),
        "the repository 'prod' exists already; choose another name, or use --succeed-on-existing"
    );
    let second_refusal = server.refused("subscribe --repo=prod --source=team");
    assert!(second_refusal.contains("--succeed-on-existing"), "{second_refusal}");
    let alpha = files(&server, &[Tarball::new("alpha", "1.0")]);
    server.rspm_stdout(&format!("add --source=team {}", path_flag(&alpha)));
    assert_eq!(
        server.refused(&format!("add --source=team {}", path_flag(&alpha))),
        "alpha 1.0 is in the source 'team' already; use --replace to replace it with this file, or \
         --succeed-on-existing to leave it"
    );
}

#[test]
fn a_source_in_use_and_a_built_in_source_are_not_changed() {
    let server = team();
    assert_eq!(
        server.refused("delete source --name=team"),
        "the source 'team' is subscribed to by 'prod'; first run: rspm unsubscribe --repo=prod --source=team"
    );
    assert_eq!(
        server.refused("delete source --name=cran"),
        "'cran' is a built-in source and cannot be deleted; unsubscribe the repositories that should not offer it"
    );
    let file = path_flag(&files(&server, &[Tarball::new("alpha", "1.0")]));
    assert_eq!(
        server.refused(&format!("add --source=cran {file}")),
        "only local sources can be changed by hand; 'cran' is built in and filled by rspm sync --type=cran"
    );
    server.refused("remove package --name=alpha@all --source=cran");
}

#[test]
fn names_types_and_orders_are_checked() {
    let server = team();
    let rule =
        "cannot be a name: use 1 to 128 letters, digits, '.', '_' or '-', beginning with a letter or a digit";
    assert_eq!(server.refused("create repo --name=__api__"), format!("'__api__' {rule}"));
    assert_eq!(server.refused("create source --name=a~b"), format!("'a b' {rule}"));
    let error = server.refused("create source --name=x --type=cran-snapshot");
    assert!(error.contains("was not synced yet; run: rspm sync --type=cran"), "{error}");
    let error = server.refused("create source --name=x --type=pypi");
    assert!(error.starts_with("the source of type pypi is built in: there is one, named 'pypi'"), "{error}");
    let error = server.refused("create source --name=x --type=locl");
    assert!(error.starts_with("'locl' is not a source type; use cran, "), "{error}");
    assert_eq!(
        server.refused("sync --type=local"),
        "this version cannot sync sources of type local; it supports cran, bioconductor and pypi"
    );
    server.rspm_stdout("subscribe --repo=prod --source=cran");
    assert_eq!(
        server.refused("reorder --repo=prod --sources=team"),
        "the order must name every subscribed source; missing: cran"
    );
}

#[test]
fn wrong_usage_is_exit_code_2_with_the_usage() {
    for line in [
        "",
        "frobnicate",
        "create repo",
        "info",
        "info --repo=a --source=b",
        "edit repo --name=prod",
        "add --source=team",
        "add --source=team --path=a --replace --succeed-on-existing",
        "list packages --repo=prod --count=0",
        "list -o yaml",
    ] {
        let output = rspm_without_server(line);
        assert_eq!((output.code, output.out.as_str()), (2, ""), "rspm {line}: {}", output.err);
        assert!(
            output.err.contains("Usage:") || output.err.contains("try '--help'"),
            "rspm {line}: {}",
            output.err
        );
    }
}

#[test]
fn errors_with_json_output_are_the_same_text_on_standard_error_only() {
    let server = team();
    let text = server.rspm("info --repo=prdo");
    let json = server.rspm("info --repo=prdo -o json");
    assert_eq!((json.code, json.out.as_str()), (1, ""));
    assert_eq!(json.err, "Error: there is no repository 'prdo'; did you mean 'prod'?\n");
    assert_eq!((json.code, json.err), (text.code, text.err));
}
