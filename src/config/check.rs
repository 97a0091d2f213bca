//! Settings that are valid but weak: what `tributary check --security` lists.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{Confidential, Config, Settings, StoreConfig};

/// Fewest SCRAM iterations that are not called weak (RFC 7677, section 4).
const ITERATIONS_MIN: u32 = 4096;
/// Words of a store's `tls` option that leave the connection open to a listener or an impostor.
const WEAK_TLS_WORDS: &[&str] = &["off", "disable", "disabled", "none", "prefer", "preferred", "allow", "false"];

/// One weak setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weakness {
    /// Where it is set.
    pub path: String,
    /// What is weak about it, as a sentence.
    pub reason: String,
    /// Whether anything is to be done about it.
    pub grade: Grade,
}

/// How bad a setting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// Someone can read or do more than they should.
    Weak,
    /// Sound as long as everything else stays as it is.
    Note,
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.grade {
            Grade::Weak => "weak",
            Grade::Note => "note",
        };
        write!(f, "{word}: {}: {}", self.path, self.reason)
    }
}

/// Every weak setting of a catalog.
pub fn weaknesses(config: &Config) -> Vec<Weakness> {
    let mut found = listening(&config.settings);
    found.extend(logins(&config.settings));
    found.extend(config.stores.iter().filter_map(store_transport));
    found.extend(config.confidential.iter().filter_map(file_mode));
    found
}

fn weakness(path: impl Into<String>, reason: impl Into<String>) -> Weakness {
    Weakness { path: path.into(), reason: reason.into(), grade: Grade::Weak }
}

fn listening(settings: &Settings) -> Vec<Weakness> {
    let mut found = Vec::new();
    let beyond_loopback: Vec<_> = settings.listen.iter().filter(|address| !address.ip().is_loopback()).collect();
    for address in &beyond_loopback {
        found.push(weakness("tributary.listen", format!("{address} can be reached from other machines.")));
    }
    match &settings.tls {
        None if beyond_loopback.is_empty() => {
            let reason = "Clients cannot use TLS, which matters once other machines can connect.";
            found.push(Weakness { grade: Grade::Note, ..weakness("tributary.tls", reason) });
        }
        None => found.push(weakness("tributary.tls", "Clients cannot use TLS.")),
        Some(tls) if !tls.required && !beyond_loopback.is_empty() => {
            found.push(weakness("tributary.tls.required", "Clients may connect without TLS."));
        }
        Some(_) => {}
    }
    if let Some(http) = settings.http.filter(|address| !address.ip().is_loopback()) {
        found.push(weakness("tributary.http.listen", format!("{http} can be reached from other machines.")));
    }
    found
}

fn logins(settings: &Settings) -> Vec<Weakness> {
    let mut found = Vec::new();
    if settings.trust {
        found.push(weakness("tributary.auth.trust", "Every program on this machine can log in without a password."));
    }
    for role in settings.roles.values() {
        let iterations = role.verifier.as_ref().and_then(|verifier| iterations(verifier.expose()));
        if let Some(iterations) = iterations.filter(|count| *count < ITERATIONS_MIN) {
            let reason = format!("The verifier has {iterations} iterations; {ITERATIONS_MIN} is the least that is advised.");
            found.push(weakness(format!("tributary.roles.{}.password", role.name), reason));
        }
    }
    found
}

fn iterations(verifier: &str) -> Option<u32> {
    verifier.split('$').nth(1)?.split(':').next()?.parse().ok()
}

fn store_transport(store: &StoreConfig) -> Option<Weakness> {
    let word = store.tls.as_deref()?;
    let path = format!("stores.{}.tls", store.name);
    WEAK_TLS_WORDS.contains(&word).then(|| weakness(path, format!("\"{word}\" allows a connection to the store without TLS.")))
}

fn file_mode(confidential: &Confidential) -> Option<Weakness> {
    let mode = fs::metadata(&confidential.path).ok()?.permissions().mode() & 0o777;
    let readers = match (mode & 0o004 != 0, mode & 0o040 != 0) {
        (true, _) => "every account of this machine",
        (false, true) => "a group",
        (false, false) => return None,
    };
    let reason = format!("The file holds {} and can be read by {readers} (mode {mode:04o}).", confidential.content);
    Some(weakness(confidential.path.display().to_string(), reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(main_file: &str) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str, mode: u32| {
            let path = directory.path().join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        write("tributary.toml", main_file, 0o600);
        write("cert.pem", "", 0o644);
        write("open.key", "", 0o644);
        write("group.key", "", 0o640);
        write("closed.key", "", 0o600);
        let config = super::super::load(directory.path()).unwrap();
        let root = format!("{}/", config.directory.display());
        weaknesses(&config).iter().map(|weakness| weakness.to_string().replace(&root, "")).collect()
    }

    fn role(iterations: u32) -> String {
        let key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
        format!("[roles.ada]\npassword = \"SCRAM-SHA-256${iterations}:c2FsdHNhbHQ=${key}:{key}\"\n")
    }

    #[test]
    fn each_weak_setting_is_told_and_good_ones_are_not() {
        let tls = |key: &str| format!("tls = {{ certificate = \"cert.pem\", key = \"{key}\", required = true }}\n");
        let good = format!("{}{}", tls("closed.key"), role(4096));
        let optional = good.replace("true", "false");
        let rows = [
            (good.clone(), vec![]),
            (optional.clone(), vec![]),
            (role(4096), vec!["note: tributary.tls: Clients cannot use TLS, which matters once other machines can connect."]),
            (
                format!("listen = \"0.0.0.0:1\"\n{}", role(4096)),
                vec![
                    "weak: tributary.listen: 0.0.0.0:1 can be reached from other machines.",
                    "weak: tributary.tls: Clients cannot use TLS.",
                ],
            ),
            (
                format!("listen = \"0.0.0.0:1\"\n{good}"),
                vec!["weak: tributary.listen: 0.0.0.0:1 can be reached from other machines."],
            ),
            (
                format!("listen = \"0.0.0.0:1\"\n{optional}"),
                vec![
                    "weak: tributary.listen: 0.0.0.0:1 can be reached from other machines.",
                    "weak: tributary.tls.required: Clients may connect without TLS.",
                ],
            ),
            (
                format!("auth.trust = true\n{good}"),
                vec!["weak: tributary.auth.trust: Every program on this machine can log in without a password."],
            ),
            (
                format!("{}{}", tls("closed.key"), role(1000)),
                vec!["weak: tributary.roles.ada.password: The verifier has 1000 iterations; 4096 is the least that is advised."],
            ),
            (
                format!("{}{}", tls("open.key"), role(4096)),
                vec!["weak: open.key: The file holds a private key and can be read by every account of this machine (mode 0644)."],
            ),
            (
                format!("{}{}", tls("group.key"), role(4096)),
                vec!["weak: group.key: The file holds a private key and can be read by a group (mode 0640)."],
            ),
        ];
        for (main_file, expected) in rows {
            assert_eq!(told(&main_file), expected, "{main_file}");
        }
    }
}
