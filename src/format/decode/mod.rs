//! From the parameter values of `Bind` to scalars of the engine.
//!
//! The declared or inferred Postgres type decides how bytes are read, and its carrier is what comes out: a value never
//! changes type on the way, and is refused when it does not fit.
//!
//! **Invariants:** no byte of outside input is indexed; lengths are checked before use.
#![deny(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::indexing_slicing)]

mod binary;

use datafusion::scalar::ScalarValue;

use crate::error::{Diagnosis, sqlstate};
use crate::format::{DisplaySettings, Format, scalar};
use crate::pgtype::PgType;

/// Reads one parameter. `bytes` is `None` for NULL; the result has the type [`PgType::carrier`] names.
///
/// # Errors
/// 22P02, 22003, 22007, 22008 for text that is no such value, 22P03 for malformed binary, 22021 for text that is not
/// UTF-8 or holds a zero byte, 0A000 for values the carrier cannot hold.
pub fn parameter(
    pg_type: PgType,
    format: Format,
    bytes: Option<&[u8]>,
    display: &DisplaySettings,
) -> Result<ScalarValue, Diagnosis> {
    let Some(bytes) = bytes else { return scalar::null(pg_type) };
    match format {
        Format::Text => scalar::read(pg_type, text(bytes)?, display),
        Format::Binary => binary::read(pg_type, bytes, display),
    }
}

/// The bytes as text, if Postgres would store them.
fn text(bytes: &[u8]) -> Result<&str, Diagnosis> {
    let refuse = |at: usize| {
        let shown: Vec<String> = bytes.iter().skip(at).take(1).map(|byte| format!("0x{byte:02x}")).collect();
        let message = format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" "));
        Diagnosis::new(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, message)
    };
    let text = std::str::from_utf8(bytes).map_err(|error| refuse(error.valid_up_to()))?;
    match text.bytes().position(|byte| byte == 0) {
        Some(at) => Err(refuse(at)),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests;
