//! A configuration with all paths below one directory, for tests and examples.

use std::path::Path;

use super::{Config, ConfigError, Loaded, parse};

impl Config {
    /// Returns a valid configuration with every path below `dir` (absolute; nothing is created), HTTP and
    /// metrics on loopback ports that the system chooses, and `additions` (gcfg text, may be empty) appended.
    ///
    /// # Errors
    /// `additions` is invalid.
    pub fn example(dir: &Path, additions: &str) -> Result<Loaded, ConfigError> {
        parse("example.gcfg", format!("{}{additions}", Config::example_text(dir)).as_bytes(), [])
    }

    /// Returns the text of [`Config::example`], to be written to a file.
    pub fn example_text(dir: &Path) -> String {
        let location = |name: &str| {
            let path = dir.join(name).to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{path}\"")
        };
        format!(
            "[Server]\nDataDir = {}\nTempDir = {}\nAccessLog = {}\nSockFileDir = {}\n\
             [HTTP]\nListen = 127.0.0.1:0\n[Metrics]\nListen = 127.0.0.1:0\n\
             [Logging]\nSystemLog = {}\n",
            location("data"),
            location("tmp"),
            location("log/access.log"),
            location("run"),
            location("log/server.log"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_paths_are_below_the_directory_and_lines_can_be_added() {
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
