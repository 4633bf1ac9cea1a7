//! The gateway's own program, started in a directory that is gone with the command.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A gateway and its directory.
pub(super) struct Gateway {
    path: PathBuf,
    /// Whether the directory is one of this command's own.
    own: bool,
}

impl Gateway {
    /// A directory for this command of ours.
    pub(super) fn new(command: &str) -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("loadgen-{command}-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path, own: true })
    }

    /// A directory of the caller's, which stays.
    pub(super) fn within(path: &Path) -> Self {
        Self { path: path.to_owned(), own: false }
    }

    /// So many tokens, each of a user of its own.
    pub(super) fn tokens(&self, program: &Path, count: usize) -> Result<Vec<String>, String> {
        self.token(program, &["--user", "load", "--count", &count.to_string()])
    }

    /// The token of a service that may do everything.
    pub(super) fn service_token(&self, program: &Path) -> Result<String, String> {
        let tokens = self.token(program, &["--user", "reader", "--role", "service"])?;
        tokens.into_iter().next().ok_or_else(|| format!("{} token: no token", program.display()))
    }

    fn token(&self, program: &Path, arguments: &[&str]) -> Result<Vec<String>, String> {
        let mut command = Command::new(program);
        command.arg("token").args(arguments).args(["--ttl", "24h", "--data"]).arg(&self.path);
        let output = command.stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
        if !output.status.success() {
            return Err(format!("{} token: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }

    /// The command that starts it, with further arguments.
    pub(super) fn serve(&self, program: &Path, address: &str, more: &str) -> String {
        let (program, data) = (quoted(program), quoted(&self.path));
        format!("{program} serve --listen {address} --data {data} --limits unlimited {more}").trim_end().to_owned()
    }
}

/// A path as a shell takes it for one word.
pub(super) fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if self.own {
            // What cannot be removed is left to the system's cleaning of its temporary directory.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
