//! Metadata of packages in backups.

use serde_json::json;

use super::machines::{back_up, blank, folder, server};

#[test]
fn metadata_is_restored_into_both_databases_and_ids_continue() {
    let server = server("sqlite");
    server.rspm_stdout("create metadata --package-name=alpha --key=status --value=approved");
    server.rspm_stdout("create metadata --package-name=alpha --version=1.0 --key=note --value=x");
    let before = server.json("list metadata");
    back_up(&server);
    for provider in ["sqlite", "postgres"] {
        let mut other = blank(provider);
        other.rspm_stdout(&format!("backup restore --from {}", folder(&server).display()));
        other.launch();
        assert_eq!(other.json("list metadata"), before, "{provider}");
        let row = other.json("create metadata --package-name=beta --key=status --value=x");
        assert_eq!(row["id"], json!(3), "{provider}");
    }
}
