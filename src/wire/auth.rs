//! Who the peer is: SCRAM-SHA-256, with channel binding over TLS, or `trust` on loopback when configured.
//!
//! Fails closed: every way out but one ends the connection. A role that does not exist, or has no verifier, goes through the
//! same exchange with a made-up verifier, so that a peer cannot tell it from a wrong password.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use pgwire::api::auth::sasl::scram::{ScramSecret, ScramServerAuth};
use pgwire::error::PgWireError;
use pgwire::messages::startup::Authentication;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use super::Settings;
use super::error::protocol_violation;
use super::startup::{Channel, Refusal};
use crate::error::{Diagnosis, sqlstate};
use crate::session::role::{Role, Roles, Verifier};

const SCRAM: &str = "SCRAM-SHA-256";
const SCRAM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Who wants in.
pub(super) struct Candidate<'a> {
    /// The name in the startup packet.
    pub(super) user: &'a str,
    /// Whether the peer's address is a loopback one.
    pub(super) loopback: bool,
    /// SCRAM bound to the certificate, when the connection is under TLS and the certificate can be bound to.
    pub(super) binding: Option<&'a ScramServerAuth>,
}

/// Proves the candidate's identity; `AuthenticationOk` is left to the caller, who may still refuse.
///
/// # Errors
/// 28P01 for a wrong password or an unknown role alike, 28000 where `trust` meets an unknown role, 08P01.
pub(super) async fn authenticate(channel: &mut Channel, settings: &Settings, candidate: Candidate<'_>) -> Result<(), Refusal> {
    let roles = settings.roles.load_full();
    if settings.trust && candidate.loopback {
        return match roles.get(candidate.user) {
            Some(_) => Ok(()),
            None => {
                let message = format!("role \"{}\" does not exist", candidate.user);
                Err(Diagnosis::new(sqlstate::INVALID_AUTHORIZATION, message).into())
            }
        };
    }
    scram(channel, settings, &roles, candidate).await
}

async fn scram(channel: &mut Channel, settings: &Settings, roles: &Roles, candidate: Candidate<'_>) -> Result<(), Refusal> {
    let max = settings.limits.startup_message_max;
    // `-PLUS` without TLS would be refused by libpq as an attack.
    let mechanisms: &[&str] = if candidate.binding.is_some() { &[SCRAM_PLUS, SCRAM] } else { &[SCRAM] };
    channel.put(&Authentication::SASL(mechanisms.iter().map(|&name| name.to_owned()).collect()))?;
    channel.flush().await?;

    let first = read_response(channel, max).await?;
    let (mechanism, client_first) = initial_response(&first)?;
    check_mechanism(mechanism, client_first, mechanisms)?;

    let known = roles.get(candidate.user).and_then(|role| role.verifier.as_ref()).and_then(secret_of);
    let doomed = known.is_none();
    let secret = known.unwrap_or_else(|| made_up(settings.mock_seed.expose().as_bytes(), roles, candidate.user));
    let plain = ScramServerAuth::new();
    let server = candidate.binding.unwrap_or(&plain);
    let (server_first, exchange) =
        server.on_client_first_message_with_secret(client_first, secret).map_err(|error| failed(&error, candidate.user))?;
    channel.put(&Authentication::SASLContinue(server_first.into()))?;
    channel.flush().await?;

    let client_final = read_response(channel, max).await?;
    let server_final = exchange.on_client_final_message(&client_final).map_err(|error| failed(&error, candidate.user))?;
    if doomed {
        return Err(wrong_password(candidate.user).into());
    }
    channel.put(&Authentication::SASLFinal(server_final.into()))?;
    Ok(())
}

/// Reads a message of type `p`; every other type ends the connection, so nothing can be slipped in before authentication.
async fn read_response(channel: &mut Channel, max: usize) -> Result<Vec<u8>, Refusal> {
    let socket = channel.socket();
    let kind = socket.read_u8().await?;
    if kind != b'p' {
        return Err(protocol_violation(format!("expected SASL response, got message type {kind}")).into());
    }
    let length = usize::try_from(socket.read_u32().await?).unwrap_or(usize::MAX);
    if !(4..=max).contains(&length) {
        return Err(protocol_violation("invalid length of authentication message").into());
    }
    let mut body = vec![0; length - 4];
    socket.read_exact(&mut body).await?;
    Ok(body)
}

/// `SASLInitialResponse`: the mechanism's name with its NUL, a length, the client-first message.
fn initial_response(body: &[u8]) -> Result<(&str, &[u8]), Diagnosis> {
    let malformed = || protocol_violation("malformed SASL initial response");
    let end = body.iter().position(|byte| *byte == 0).ok_or_else(malformed)?;
    let (name, rest) = body.split_at_checked(end).ok_or_else(malformed)?;
    let (length, first) = rest.get(1..).and_then(<[u8]>::split_first_chunk::<4>).ok_or_else(malformed)?;
    let name = std::str::from_utf8(name).ok().ok_or_else(malformed)?;
    if usize::try_from(i32::from_be_bytes(*length)) != Ok(first.len()) {
        return Err(malformed());
    }
    Ok((name, first))
}

/// The chosen mechanism must be one we offered and agree with the channel-binding flag; `pgwire` looks at the flag alone.
fn check_mechanism(mechanism: &str, client_first: &[u8], offered: &[&str]) -> Result<(), Diagnosis> {
    if !offered.contains(&mechanism) {
        return Err(protocol_violation("client selected an invalid SASL authentication mechanism"));
    }
    if client_first.starts_with(b"p") != (mechanism == SCRAM_PLUS) {
        return Err(protocol_violation("malformed SCRAM message")
            .with_detail("The channel-binding flag does not fit the chosen mechanism."));
    }
    Ok(())
}

fn failed(error: &PgWireError, user: &str) -> Diagnosis {
    match error {
        PgWireError::InvalidPassword(_) => wrong_password(user),
        _ => protocol_violation("malformed SCRAM message"),
    }
}

fn wrong_password(user: &str) -> Diagnosis {
    Diagnosis::new(sqlstate::INVALID_PASSWORD, format!("password authentication failed for user \"{user}\""))
}

fn secret_of(verifier: &Verifier) -> Option<ScramSecret> {
    let (parameters, keys) = verifier.expose().strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
    let (iterations, salt) = parameters.split_once(':')?;
    let (stored_key, server_key) = keys.split_once(':')?;
    Some(ScramSecret::Verifier {
        salt: STANDARD.decode(salt).ok()?,
        iterations: iterations.parse().ok()?,
        stored_key: STANDARD.decode(stored_key).ok()?,
        server_key: STANDARD.decode(server_key).ok()?,
    })
}

/// A verifier for a role that has none: always the same for one name, and shaped (iterations, length of the salt) like that
/// of some role that exists.
fn made_up(seed: &[u8], roles: &Roles, user: &str) -> ScramSecret {
    let digest = |label: &str| -> Vec<u8> {
        let keyed = Hmac::<Sha256>::new_from_slice(seed)
            .map(|mac| mac.chain_update(label).chain_update([0]).chain_update(user).finalize().into_bytes().to_vec());
        // HMAC takes keys of every length; the other arm only keeps the exchange going.
        keyed.unwrap_or_else(|_length| Sha256::digest(user).to_vec())
    };
    let shapes: Vec<(usize, usize)> = roles
        .values()
        .filter_map(|role: &Role| role.verifier.as_ref().and_then(secret_of))
        .filter_map(|secret| match secret {
            ScramSecret::Verifier { salt, iterations, .. } => Some((iterations, salt.len())),
            ScramSecret::SaltedPassword { .. } => None,
        })
        .collect();
    let pick = digest("shape").first().map_or(0, |byte| usize::from(*byte));
    let (iterations, salt_len) = shapes.get(pick.checked_rem(shapes.len()).unwrap_or(0)).copied().unwrap_or((4096, 16));
    let salt = digest("salt").into_iter().cycle().take(salt_len).collect();
    ScramSecret::Verifier { salt, iterations, stored_key: digest("stored key"), server_key: digest("server key") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initial_responses_must_hold_what_they_announce() {
        assert_eq!(initial_response(b"SCRAM-SHA-256\0\0\0\0\x03n,,").unwrap(), (SCRAM, b"n,,".as_slice()));
        let rows: &[&[u8]] = &[
            b"SCRAM-SHA-256\0\0\0\0\x04n,,",
            b"SCRAM-SHA-256\0\0\0\0\x02n,,",
            b"SCRAM-SHA-256\0\xff\xff\xff\xff",
            b"SCRAM-SHA-256\0\0\0",
            b"SCRAM-SHA-256",
            b"\xff\0\0\0\0\0",
            b"",
        ];
        for body in rows {
            let refused = initial_response(body).unwrap_err();
            assert_eq!(refused.sqlstate, "08P01", "{:?}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn mechanism_and_flag_must_agree() {
        let rows = [
            (SCRAM, "n,,n=,r=x", true),
            (SCRAM, "y,,n=,r=x", true),
            (SCRAM, "p=tls-server-end-point,,n=,r=x", false),
            (SCRAM_PLUS, "p=tls-server-end-point,,n=,r=x", true),
            (SCRAM_PLUS, "n,,n=,r=x", false),
            ("PLAIN", "n,,n=,r=x", false),
        ];
        for (mechanism, first, expected) in rows {
            let accepted = check_mechanism(mechanism, first.as_bytes(), &[SCRAM_PLUS, SCRAM]).is_ok();
            assert_eq!(accepted, expected, "{mechanism} {first}");
        }
        assert!(check_mechanism(SCRAM_PLUS, b"p=tls-server-end-point,,n=,r=x", &[SCRAM]).is_err());
    }

    #[test]
    fn made_up_verifiers_are_stable_and_shaped_like_real_ones() {
        let text = format!("SCRAM-SHA-256$5000:{0}${1}:{1}", STANDARD.encode([7; 12]), STANDARD.encode([1; 32]));
        let role = Role { name: "ann".to_owned(), verifier: Verifier::parse(&text), superuser: false, read_only: false };
        let roles = Roles::from([("ann".to_owned(), role)]);
        let shape = |seed: &[u8], roles: &Roles, user: &str| match made_up(seed, roles, user) {
            ScramSecret::Verifier { salt, iterations, stored_key, .. } => (salt, iterations, stored_key.len()),
            ScramSecret::SaltedPassword { .. } => panic!("not a verifier"),
        };
        let (salt, iterations, key_len) = shape(b"seed", &roles, "bob");
        assert_eq!((salt.len(), iterations, key_len), (12, 5000, 32));
        assert_eq!(shape(b"seed", &roles, "bob").0, salt);
        assert_ne!(shape(b"seed", &roles, "eve").0, salt);
        assert_ne!(shape(b"other", &roles, "bob").0, salt);
        assert_eq!(shape(b"seed", &Roles::new(), "bob").1, 4096);
    }
}
