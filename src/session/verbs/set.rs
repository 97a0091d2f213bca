//! `SET` and `RESET`.

use datafusion::sql::sqlparser::ast::{
    ContextModifier, Expr, Set, SetSessionAuthorizationParamKind, TransactionAccessMode, TransactionIsolationLevel,
    TransactionMode, UnaryOperator, Value,
};

use super::transaction::{apply_modes, set_deferrable, set_modes};
use crate::catalog::keyword::quote_identifier;
use crate::error::{Diagnosis, sqlstate};
use crate::session::Session;
use crate::session::output::Execution;
use crate::session::settings::TOKEN;
use crate::session::statement::{fold, setting_name};

/// `SET …`
pub(super) fn run(session: &mut Session, set: &Set) -> Result<Execution, Diagnosis> {
    session.facts = None;
    match set {
        Set::SingleAssignment { scope, variable, values, .. } => {
            let local = *scope == Some(ContextModifier::Local);
            assign(session, &setting_name(variable), values, local)?;
        }
        Set::SetTimeZone { local, value } => assign(session, "timezone", std::slice::from_ref(value), *local)?,
        Set::SetNames { charset_name, .. } => session.settings.set("client_encoding", Some(&charset_name.value), false)?,
        Set::SetNamesDefault {} => session.settings.set("client_encoding", None, false)?,
        Set::SetTransaction { modes, snapshot: None, session: false } => {
            set_modes(session, modes)?;
        }
        Set::SetTransaction { modes, snapshot: None, session: true } => characteristics(session, modes)?,
        Set::SetRole { context_modifier, role_name } => {
            let local = *context_modifier == Some(ContextModifier::Local);
            let role = role_name.as_ref().map_or_else(|| "none".to_owned(), fold);
            set_role(session, &role, local)?;
        }
        Set::SetSessionAuthorization(asked) => {
            if matches!(&asked.kind, SetSessionAuthorizationParamKind::User(name) if fold(name) != session.role) {
                let message = "permission denied to set session authorization";
                return Err(Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, message));
            }
            session.settings.set("role", None, false)?;
        }
        other => return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("{other} is not supported"))),
    }
    Ok(Execution::Done("SET".to_owned()))
}

/// Only the session's own role can be taken: there is no membership yet.
///
/// # Errors
/// 42501
pub(in crate::session) fn check_role(own: &str, asked: &str) -> Result<(), Diagnosis> {
    if asked == "none" || asked == own {
        return Ok(());
    }
    Err(Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, format!("permission denied to set role \"{asked}\"")))
}

fn set_role(session: &mut Session, role: &str, local: bool) -> Result<(), Diagnosis> {
    check_role(&session.role, role)?;
    check_local(session, local);
    session.settings.set("role", Some(role), local)
}

fn check_local(session: &mut Session, local: bool) {
    if local && session.block.is_none() {
        session.warn(sqlstate::NO_ACTIVE_SQL_TRANSACTION, "SET LOCAL can only be used in transaction blocks");
    }
}

fn assign(session: &mut Session, name: &str, values: &[Expr], local: bool) -> Result<(), Diagnosis> {
    check_local(session, local);
    let words: Option<Vec<String>> = values.iter().map(|value| word(value, name == "search_path")).collect();
    let Some(words) = words else {
        return Err(Diagnosis::new(sqlstate::SYNTAX_ERROR, format!("SET {name} takes only constants")));
    };
    let is_default =
        matches!(values, [Expr::Identifier(ident)] if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"));
    if is_default {
        return session.settings.set(name, None, local);
    }
    let value = words.join(", ");
    match name {
        "transaction_isolation" | "transaction_read_only" | "transaction_deferrable" => set_mode(session, name, &value),
        "role" => {
            check_role(&session.role, &value)?;
            session.settings.set(name, Some(&value), local)
        }
        // Kept beside the settings: what is required is not taken back with a transaction.
        TOKEN => session.past.take_token(&value),
        _ => session.settings.set(name, Some(&value), local),
    }
}

/// The settings that are modes of the current transaction.
fn set_mode(session: &mut Session, name: &str, value: &str) -> Result<(), Diagnosis> {
    let invalid =
        || Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, format!("invalid value for parameter \"{name}\": \"{value}\""));
    let mode = match (name, value.to_lowercase().as_str()) {
        ("transaction_isolation", "read uncommitted") => {
            TransactionMode::IsolationLevel(TransactionIsolationLevel::ReadUncommitted)
        }
        ("transaction_isolation", "read committed") => TransactionMode::IsolationLevel(TransactionIsolationLevel::ReadCommitted),
        ("transaction_isolation", "repeatable read") => TransactionMode::IsolationLevel(TransactionIsolationLevel::RepeatableRead),
        ("transaction_isolation", "serializable") => TransactionMode::IsolationLevel(TransactionIsolationLevel::Serializable),
        ("transaction_deferrable", "on" | "true" | "yes" | "1") => return set_deferrable(session, true),
        ("transaction_deferrable", "off" | "false" | "no" | "0") => return set_deferrable(session, false),
        ("transaction_read_only", "on" | "true" | "yes" | "1") => TransactionMode::AccessMode(TransactionAccessMode::ReadOnly),
        ("transaction_read_only", "off" | "false" | "no" | "0") => TransactionMode::AccessMode(TransactionAccessMode::ReadWrite),
        _ => return Err(invalid()),
    };
    apply_modes(session, &[mode])
}

/// A constant of a SET list as text. In a path each word is one schema, so it is quoted where it must be: the list is split
/// again, and `''` is a name that no schema has.
fn word(expr: &Expr, is_path: bool) -> Option<String> {
    let shown = |text: String| if is_path { quote_identifier(&text) } else { text };
    match expr {
        Expr::Identifier(ident) => Some(shown(fold(ident))),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) | Value::EscapedStringLiteral(text) => {
                Some(shown(text.clone()))
            }
            Value::Number(text, _) => Some(text.clone()),
            Value::Boolean(truth) => Some(truth.to_string()),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => word(expr, is_path).map(|text| format!("-{text}")),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => word(expr, is_path),
        _ => None,
    }
}

/// `SET SESSION CHARACTERISTICS AS TRANSACTION …`: defaults of later transactions.
pub(super) fn characteristics(session: &mut Session, modes: &[TransactionMode]) -> Result<(), Diagnosis> {
    for mode in modes {
        match mode {
            TransactionMode::AccessMode(access) => {
                let word = if *access == TransactionAccessMode::ReadOnly { "on" } else { "off" };
                session.settings.set("default_transaction_read_only", Some(word), false)?;
            }
            TransactionMode::IsolationLevel(level) => {
                session.settings.set("default_transaction_isolation", Some(&level.to_string().to_lowercase()), false)?;
            }
        }
    }
    Ok(())
}

/// `RESET name`, `RESET ALL`
pub(super) fn reset(session: &mut Session, name: Option<&str>) -> Result<Execution, Diagnosis> {
    session.facts = None;
    match name {
        Some(name) => session.settings.set(name, None, false)?,
        None => session.settings.reset_all()?,
    }
    Ok(Execution::Done("RESET".to_owned()))
}
