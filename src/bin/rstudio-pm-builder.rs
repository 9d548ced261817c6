//! The program `rstudio-pm-builder`: runs one job inside a sandbox.

fn main() -> std::process::ExitCode {
    builder::main()
}
