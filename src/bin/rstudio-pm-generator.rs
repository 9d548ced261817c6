//! The systemd generator. It is a separate small program without other files, because systemd runs it early at boot.

fn main() -> std::process::ExitCode {
    generator::main()
}
