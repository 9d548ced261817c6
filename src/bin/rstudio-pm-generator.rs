//! The systemd generator. It is a separate program, because it runs at boot: it is small, and needs only its own file.

fn main() -> std::process::ExitCode {
    rstudio_pm::daemon::generator::main()
}
