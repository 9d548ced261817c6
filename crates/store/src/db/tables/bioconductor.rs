//! The `config.yaml` of Bioconductor's mirror, which lists the versions of Bioconductor.

use super::{Conn, DbError};

/// Returns the text of `config.yaml`; `None` before the first sync.
pub fn config(c: &mut dyn Conn) -> Result<Option<String>, DbError> {
    const CONFIG: &str = "SELECT config FROM bioconductor WHERE id = 1";
    c.first(CONFIG, &[])
}

/// Replaces the text of `config.yaml`. Call `clock::bump_catalog` afterwards.
pub fn set_config(c: &mut dyn Conn, config: &str) -> Result<(), DbError> {
    const SET_CONFIG: &str = "INSERT INTO bioconductor (id, config) VALUES (1, $1) \
        ON CONFLICT (id) DO UPDATE SET config = excluded.config";
    c.execute(SET_CONFIG, &[config.into()]).map(drop)
}
