//! A configuration with everything under one directory, for tests and for trying the server.

use std::path::Path;

use super::{Config, ConfigError, Loaded, parse};

impl Config {
    /// A valid configuration with every path under `dir` (absolute; nothing is created), HTTP and
    /// metrics on loopback ports that the system chooses, and `more` (gcfg text, may be empty) on top.
    ///
    /// # Errors
    /// What `more` does wrong.
    pub fn example(dir: &Path, more: &str) -> Result<Loaded, ConfigError> {
        parse("example.gcfg", format!("{}{more}", Config::example_text(dir)).as_bytes(), [])
    }

    /// The text behind [`Config::example`], to be written into a file.
    #[must_use]
    pub fn example_text(dir: &Path) -> String {
        let place = |name: &str| {
            let path = dir.join(name).to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{path}\"")
        };
        format!(
            "[Server]\nDataDir = {}\nTempDir = {}\nAccessLog = {}\nSockFileDir = {}\n\
             [HTTP]\nListen = 127.0.0.1:0\n[Metrics]\nListen = 127.0.0.1:0\n\
             [Logging]\nSystemLog = {}\n",
            place("data"),
            place("tmp"),
            place("log/access.log"),
            place("run"),
            place("log/server.log"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_lies_under_the_directory_and_more_comes_on_top() {
        let dir = Path::new("/a \"b\" ; c");
        let loaded = Config::example(dir, "[CRAN]\nURL = file:///m\n").expect("valid");
        let config = &loaded.config;
        assert_eq!(loaded.warnings, []);
        for path in
            [&config.server.data_dir, &config.server.temp_dir, &config.server.access_log, &config.sqlite.dir]
        {
            assert!(path.starts_with(dir), "{}", path.display());
        }
        assert_eq!(config.cran.url, "file:///m");
        assert!(Config::example(dir, "[HTTP]\nListen = x\n").is_err());
    }
}
