//! The program `migrate`: copies the database to the other provider.

fn main() -> std::process::ExitCode {
    rstudio_pm::daemon::migrate::main()
}
