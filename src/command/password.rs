//! `tributary password`: makes the SCRAM-SHA-256 verifier that a role's `password` holds.
//!
//! The password itself is never an argument, because every account of a machine can read command lines.

use std::borrow::Cow;
use std::io::{self, BufRead, IsTerminal, Read as _, Write};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::{CommandError, Outcome};
use crate::options::Secret;

/// Iterations of PostgreSQL's own verifiers, and the least that RFC 7677 allows.
const ITERATIONS_DEFAULT: u32 = 4096;
const ITERATIONS_MAX: i64 = 10_000_000;
/// Longest password that is read, in bytes; PostgreSQL's clients stop at the same length.
const PASSWORD_BYTES_MAX: u64 = 1024;
/// Letters and digits of a password that is made: 24 of 57 characters are 139 bits.
const MADE_CHARACTERS: usize = 24;
const ALPHABET: &[u8] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Reads one line from the terminal without echo. A shell does it, so that the terminal is put right again also when the
/// prompt is interrupted: our own process has no handler for that.
const READ_HIDDEN: &str = r#"
set -e
saved=$(stty -g)
trap 'stty "$saved"' EXIT
trap 'exit 130' INT TERM HUP
stty -echo
IFS= read -r line
printf '%s' "$line"
"#;

/// Arguments of `tributary password`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Make a random password; it is printed to standard error, once.
    #[arg(long)]
    generate: bool,
    /// How often the password is hashed: more is slower to guess and slower to log in with.
    #[arg(long, default_value_t = ITERATIONS_DEFAULT, value_parser = clap::value_parser!(u32).range(ITERATIONS_DEFAULT as i64..=ITERATIONS_MAX))]
    iterations: u32,
}

/// Prints a verifier for a password that is typed twice, read from standard input, or made.
///
/// # Errors
/// The two passwords differ, it is empty or too long, or the terminal cannot be used.
pub fn run(arguments: &Arguments, output: &mut dyn Write) -> Result<Outcome, CommandError> {
    let password = if arguments.generate {
        let made = make_password();
        writeln!(io::stderr(), "Password (shown only now): {}", made.expose())?;
        made
    } else if io::stdin().is_terminal() {
        let typed = type_hidden("Password: ")?;
        if typed.expose() != type_hidden("Again: ")?.expose() {
            return Err(CommandError::Refused("the two passwords differ".to_owned()));
        }
        typed
    } else {
        read_line(&mut io::stdin().lock())?
    };
    if password.expose().is_empty() {
        return Err(CommandError::Refused("the password is empty; --generate makes one".to_owned()));
    }
    let verifier = make_verifier(password.expose(), &rand::random::<[u8; 16]>(), arguments.iterations);
    writeln!(output, "{verifier}")?;
    Ok(Outcome::Success)
}

/// A random password of letters and digits that cannot be taken for one another.
pub fn make_password() -> Secret {
    use rand::Rng as _;
    let mut random = rand::rng();
    let characters = (0..MADE_CHARACTERS).filter_map(|_| ALPHABET.get(random.random_range(0..ALPHABET.len())));
    Secret::new(characters.map(|&byte| char::from(byte)).collect::<String>())
}

/// A verifier with a random salt and the default number of iterations.
pub fn fresh_verifier(password: &Secret) -> String {
    make_verifier(password.expose(), &rand::random::<[u8; 16]>(), ITERATIONS_DEFAULT)
}

/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>` (RFC 5802 section 3, RFC 5803). A password that SASLprep
/// refuses is taken as it is, which is what PostgreSQL does.
fn make_verifier(password: &str, salt: &[u8], iterations: u32) -> String {
    let prepared = stringprep::saslprep(password).unwrap_or(Cow::Borrowed(password));
    let salted = salted_password(prepared.as_bytes(), salt, iterations);
    let stored_key = Sha256::digest(hash(&salted, b"Client Key"));
    let server_key = hash(&salted, b"Server Key");
    let (salt, stored_key, server_key) = (STANDARD.encode(salt), STANDARD.encode(stored_key), STANDARD.encode(server_key));
    format!("SCRAM-SHA-256${iterations}:{salt}${stored_key}:{server_key}")
}

/// `Hi(password, salt, i)`: PBKDF2 with HMAC-SHA-256 and one block of output.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
    let mut block = hash_parts(password, &[salt, &1_u32.to_be_bytes()]);
    let mut salted = block;
    for _ in 1..iterations {
        block = hash(password, &block);
        for (into, from) in salted.iter_mut().zip(block) {
            *into ^= from;
        }
    }
    salted
}

fn hash(key: &[u8], text: &[u8]) -> [u8; 32] {
    hash_parts(key, &[text])
}

fn hash_parts(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of every length, so there is no error to handle; an empty result would not verify anything.
    let Ok(mut mac) = <Hmac<Sha256> as Mac>::new_from_slice(key) else { return [0; 32] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn type_hidden(prompt: &str) -> Result<Secret, CommandError> {
    let mut told = io::stderr();
    write!(told, "{prompt}")?;
    told.flush()?;
    let typed = Command::new("/bin/sh").args(["-c", READ_HIDDEN]).stdin(Stdio::inherit()).stderr(Stdio::null()).output()?;
    writeln!(told)?;
    if !typed.status.success() {
        return Err(CommandError::Refused("the terminal does not let a password be typed unseen; pipe it in".to_owned()));
    }
    read_line(&mut typed.stdout.as_slice())
}

fn read_line(input: &mut dyn BufRead) -> Result<Secret, CommandError> {
    let mut line = String::new();
    input.take(PASSWORD_BYTES_MAX + 2).read_line(&mut line)?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.len() as u64 > PASSWORD_BYTES_MAX {
        return Err(CommandError::Refused(format!("the password is longer than {PASSWORD_BYTES_MAX} bytes")));
    }
    Ok(Secret::new(password))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::role::Verifier;

    #[test]
    fn a_verifier_has_the_keys_of_the_published_example() {
        // RFC 7677, section 3: the server signature is HMAC(ServerKey, AuthMessage), and the client proof is
        // ClientKey XOR HMAC(StoredKey, AuthMessage).
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = make_verifier("pencil", &salt, 4096);
        assert!(Verifier::parse(&verifier).is_some());
        let keys = verifier.rsplit('$').next().unwrap();
        let (stored, server) = keys.split_once(':').unwrap();
        let message = b"n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signature = hash(&STANDARD.decode(server).unwrap(), message);
        assert_eq!(STANDARD.encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let stored = STANDARD.decode(stored).unwrap();
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let client_key: Vec<u8> = proof.iter().zip(hash(&stored, message)).map(|(a, b)| a ^ b).collect();
        assert_eq!(Sha256::digest(client_key).as_slice(), stored);
    }

    #[test]
    fn passwords_are_prepared_as_their_clients_prepare_them() {
        let rows = [("I\u{ad}X", "IX", true), ("\u{2168}", "IX", true), ("a", "A", false), ("\u{7}", "", false)];
        for (one, other, expected) in rows {
            let same = make_verifier(one, b"salt", 1) == make_verifier(other, b"salt", 1);
            assert_eq!(same, expected, "{one:?} {other:?}");
        }
    }

    #[test]
    fn one_line_is_read() {
        let read = |text: &str| read_line(&mut text.as_bytes()).map(|secret| secret.expose().to_owned());
        assert_eq!(read(" a b \r\nnext").unwrap(), " a b ");
        assert_eq!(read("no line end").unwrap(), "no line end");
        assert_eq!(read(&format!("{}\n", "x".repeat(1024))).unwrap().len(), 1024);
        assert!(read(&"x".repeat(1025)).is_err());
    }

    #[test]
    fn made_passwords_differ_and_have_their_length() {
        let (one, other) = (make_password(), make_password());
        assert_ne!(one.expose(), other.expose());
        assert_eq!(one.expose().len(), MADE_CHARACTERS);
        assert_ne!(fresh_verifier(&one), fresh_verifier(&one));
    }
}
