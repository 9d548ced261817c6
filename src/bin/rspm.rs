//! The program `rspm`: the command line of the package server.

fn main() -> std::process::ExitCode {
    cli::main()
}
