//! Roles and their SCRAM verifiers. A role never has a plain-text password.

use std::collections::BTreeMap;
use std::fmt;

/// A role that may connect.
#[derive(Debug, Clone)]
pub struct Role {
    /// The name clients give as `user`.
    pub name: String,
    /// The verifier; `None` means that the role can only connect where `trust` applies.
    pub verifier: Option<Verifier>,
    /// Whether the role may change server-wide state (`CALL tributary.refresh`).
    pub superuser: bool,
    /// Whether the role may not write, whatever stores allow.
    pub read_only: bool,
}

/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, as `pg_authid.rolpassword` holds it (RFC 5803).
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier(String);

impl Verifier {
    /// Accepts the text when it has the form of a verifier; `command/password.rs` makes them.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("SCRAM-SHA-256$")?;
        let (parameters, keys) = rest.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        let decoded = |text: &str| base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).ok();
        let well_formed = iterations.parse::<u32>().is_ok_and(|count| count >= 1)
            && !decoded(salt)?.is_empty()
            && decoded(stored)?.len() == 32
            && decoded(server)?.len() == 32;
        well_formed.then(|| Self(text.to_owned()))
    }

    /// The verifier's text, for the SCRAM exchange only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(…)")
    }
}

/// All roles by name.
pub type Roles = BTreeMap<String, Role>;
