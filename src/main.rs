//! `kubectl-rollback`, the program: reads its arguments, runs the command, exits with its code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // kube is built without a default TLS provider; the first one installed wins, and this is the only one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let lookup = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let code = runtime.block_on(kubectl_rollback::commands::run(std::env::args_os().collect(), lookup));
    // A thread that waits for a line on stdin must not keep us.
    runtime.shutdown_background();
    ExitCode::from(code)
}
