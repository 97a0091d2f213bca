//! `CALL`: procedures of the server itself.

use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value};

use super::{Bound, cached, compensate, emit, resolve};
use crate::error::{Diagnosis, sentence, sqlstate};
use crate::pgtype::PgType;
use crate::session::Session;
use crate::session::output::Execution;
use crate::session::statement::emit::is_it;
use crate::session::statement::setting_name;
use crate::stores::StoreName;
use crate::telemetry::audit::Event;

/// Most parameters of a call.
const PARAMETERS_MAX: usize = 16;

/// `CALL tributary.refresh('store')` and the like.
pub(super) async fn run(session: &mut Session, text: &str, function: &Function, bound: Bound<'_>) -> Result<Execution, Diagnosis> {
    let name = setting_name(&function.name);
    let arguments = texts(function, bound)?;
    match name.as_str() {
        "tributary.refresh" => refresh(session, &given(&name, arguments)?).await?,
        "tributary.emit" => Box::pin(emit::call(session, (text, bound), arguments)).await?,
        "tributary.compensate" => compensate::run(session, &given(&name, arguments)?)?,
        "tributary.restart_feed" => restart_feed(session, &given(&name, arguments)?)?,
        "tributary.reload_cache" => cached::reload(session, &given(&name, arguments)?)?,
        "tributary.resolve" => Box::pin(resolve::run(session, &given(&name, arguments)?)).await?,
        _ => return Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, format!("procedure {name} does not exist"))),
    }
    Ok(Execution::Done("CALL".to_owned()))
}

/// Whether a procedure writes in the transaction of its session.
pub(super) fn is_write(function: &Function) -> bool {
    is_it(function)
}

/// Whether a procedure is waited for once it runs: it writes, or decides over what was written. The others read, or begin something.
pub(super) fn is_waited_for(function: &Function) -> bool {
    let is_beside = ["tributary.refresh", "tributary.restart_feed", "tributary.reload_cache"];
    !is_beside.contains(&setting_name(&function.name).as_str())
}

/// Has the feed of a store begin again that waits for somebody.
fn restart_feed(session: &Session, arguments: &[String]) -> Result<(), Diagnosis> {
    check_superuser(session, "tributary.restart_feed")?;
    let [store] = arguments else {
        return Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, "tributary.restart_feed takes one argument, the name of a store"));
    };
    let name = StoreName::new(store);
    if !session.shared.catalog.snapshot().connectors.contains_key(&name) {
        return Err(Diagnosis::new(sqlstate::UNDEFINED_OBJECT, format!("store \"{store}\" does not exist")));
    }
    session.shared.feeds.restart(&name).map_err(|why| {
        let told = Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, format!("store \"{store}\" has no feed"));
        let told = told.with_detail(sentence(&why.reason));
        match why.mend {
            Some(mend) => told.with_hint(mend),
            None => told,
        }
    })
}

/// Reads what a store has once more. Everybody sees other tables then, so it is told of, as is who was refused.
async fn refresh(session: &mut Session, arguments: &[String]) -> Result<(), Diagnosis> {
    let refreshed = match (check_superuser(session, "tributary.refresh"), arguments) {
        (Err(refused), _) => Err(refused),
        (Ok(()), [store]) => session.shared.catalog.refresh(&StoreName::new(store)).await,
        (Ok(()), _) => {
            let message = "tributary.refresh takes one argument, the name of a store";
            return Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, message));
        }
    };
    let event = Event::new("refresh").by(&session.role).process(session.process_id).with("store", arguments.join(", "));
    let event = match &refreshed {
        Ok(()) => event.done(),
        Err(error) => event.failed(&error.sqlstate),
    };
    session.shared.commitment.audit.tell(event).await;
    refreshed
}

/// Whether the session may call what concerns others.
pub(super) fn check_superuser(session: &Session, procedure: &str) -> Result<(), Diagnosis> {
    // Asked of the roles as they are now: a reload may have changed them.
    if session.shared.roles.load().get(&session.role).is_some_and(|role| role.superuser) {
        return Ok(());
    }
    Err(Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, format!("permission denied for procedure {procedure}"))
        .with_hint("Only a role with superuser = true may call it."))
}

/// Whether the session may call what writes.
pub(super) fn check_writes(session: &Session, procedure: &str) -> Result<(), Diagnosis> {
    let read_only_block = match &session.block {
        Some(block) => block.modes.read_only,
        None => session.settings.is_on("default_transaction_read_only"),
    };
    if read_only_block {
        let message = format!("cannot execute {procedure} in a read-only transaction");
        return Err(Diagnosis::new(sqlstate::READ_ONLY_SQL_TRANSACTION, message));
    }
    if session.shared.roles.load().get(&session.role).is_none_or(|role| role.read_only) {
        return Err(Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, format!("permission denied for procedure {procedure}"))
            .with_detail("The role only reads: read_only in tributary.toml."));
    }
    Ok(())
}

/// Arguments none of which is NULL.
fn given(name: &str, arguments: Vec<Option<String>>) -> Result<Vec<String>, Diagnosis> {
    let all: Option<Vec<String>> = arguments.into_iter().collect();
    all.ok_or_else(|| Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, format!("an argument of {name} is NULL")))
}

/// The arguments of a call, text constants and parameters.
pub(super) fn texts(function: &Function, bound: Bound<'_>) -> Result<Vec<Option<String>>, Diagnosis> {
    let FunctionArguments::List(list) = &function.args else { return Ok(Vec::new()) };
    list.args.iter().map(|argument| text_of(argument, bound)).collect()
}

fn text_of(argument: &FunctionArg, bound: Bound<'_>) -> Result<Option<String>, Diagnosis> {
    let Some(value) = plain(argument) else {
        return Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "procedures take text constants and parameters only"));
    };
    match value {
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Ok(Some(text.clone())),
        Value::DollarQuotedString(text) => Ok(Some(text.value.clone())),
        Value::Null => Ok(None),
        Value::Placeholder(name) => {
            let values = bound.map(|(_, values)| values).unwrap_or_default();
            let place = number(name).and_then(|number| number.checked_sub(1));
            match place.and_then(|place| values.get(place)) {
                Some(ScalarValue::Utf8(text)) => Ok(text.clone()),
                Some(_) => Err(Diagnosis::new(sqlstate::DATATYPE_MISMATCH, "procedures take texts only")),
                None => Err(Diagnosis::new(sqlstate::UNDEFINED_PARAMETER, format!("there is no parameter {name}"))),
            }
        }
        _ => Err(Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "procedures take text constants and parameters only")),
    }
}

/// The constant or parameter that an argument is, whatever it is cast to: it is taken as text.
fn plain(argument: &FunctionArg) -> Option<&Value> {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument else { return None };
    let mut expr = expr;
    loop {
        match expr {
            Expr::Value(value) => return Some(&value.value),
            Expr::Cast { expr: inner, .. } | Expr::Nested(inner) => expr = inner,
            _ => return None,
        }
    }
}

/// The number of `$1`.
fn number(name: &str) -> Option<usize> {
    name.strip_prefix('$').and_then(|digits| digits.parse().ok())
}

/// The types of the parameters of a call: texts, unless the client has said otherwise of one that is carried as its text.
pub(super) fn parameters(function: &Function, told: &[u32]) -> Result<Vec<PgType>, Diagnosis> {
    let FunctionArguments::List(list) = &function.args else { return Ok(Vec::new()) };
    let numbers = list.args.iter().filter_map(plain).filter_map(|value| match value {
        Value::Placeholder(name) => number(name),
        _ => None,
    });
    let count = numbers.max().unwrap_or(0);
    if count > PARAMETERS_MAX {
        return Err(Diagnosis::new(sqlstate::UNDEFINED_PARAMETER, format!("there is no parameter ${count}")));
    }
    (0..count).map(|place| text_type(told, place)).collect()
}

/// The type of a parameter that is taken as its text, by its place.
pub(super) fn text_type(told: &[u32], place: usize) -> Result<PgType, Diagnosis> {
    match told.get(place).copied().unwrap_or(0) {
        0 | UNKNOWN => Ok(PgType::TEXT),
        oid => {
            let pg_type = PgType::with_typmod(oid, -1);
            let is_text = pg_type.carrier() == PgType::TEXT.carrier();
            is_text.then_some(pg_type).ok_or_else(|| Diagnosis::new(sqlstate::DATATYPE_MISMATCH, "procedures take texts only"))
        }
    }
}

/// `pg_type.oid` of what a client has given no type.
const UNKNOWN: u32 = 705;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::statement::{Kind, parse};

    fn function(text: &str) -> Function {
        match parse(text).unwrap().remove(0).kind {
            Kind::Call(function) | Kind::Emit(function) => *function,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn arguments_are_text_constants_and_parameters() {
        let arguments = |text: &str| texts(&function(text), None).map_err(|error| error.sqlstate);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(arguments("CALL tributary.refresh('a')"), Ok(vec![some("a")]));
        assert_eq!(
            arguments("SELECT tributary.emit('a', NULL, '{\"b\": 1}'::json)"),
            Ok(vec![some("a"), None, some("{\"b\": 1}")])
        );
        assert_eq!(arguments("CALL tributary.compensate($x$DELETE FROM t$x$)"), Ok(vec![some("DELETE FROM t")]));
        assert_eq!(arguments("CALL tributary.refresh(1)"), Err("0A000".to_owned()));
        assert_eq!(arguments("CALL tributary.refresh(a)"), Err("0A000".to_owned()));
        assert_eq!(arguments("CALL tributary.refresh($1)"), Err("42P02".to_owned()));
    }

    #[test]
    fn parameters_are_texts() {
        let types = |text: &str, told: &[u32]| parameters(&function(text), told).map_err(|error| error.sqlstate);
        let json = PgType::with_typmod(114, -1);
        assert_eq!(types("CALL tributary.refresh('a')", &[]), Ok(Vec::new()));
        let call = "CALL tributary.emit($1, $2, $3::jsonb)";
        assert_eq!(types(call, &[]), Ok(vec![PgType::TEXT; 3]));
        assert_eq!(types(call, &[0, 705, 114]), Ok(vec![PgType::TEXT, PgType::TEXT, json]));
        assert_eq!(types(call, &[23]), Err("42804".to_owned()));
        assert_eq!(types("CALL tributary.refresh($99)", &[]), Err("42P02".to_owned()));
    }

    #[test]
    fn what_decides_or_writes_is_waited_for() {
        let waited = |text: &str| (is_waited_for(&function(text)), is_write(&function(text)));
        assert_eq!(waited("CALL tributary.refresh('a')"), (false, false));
        assert_eq!(waited("CALL tributary.restart_feed('a')"), (false, false));
        assert_eq!(waited("CALL tributary.reload_cache('a.b')"), (false, false));
        assert_eq!(waited("CALL tributary.emit('a', 'b', 'c')"), (true, true));
        assert_eq!(waited("CALL tributary.resolve('a', 'b')"), (true, false));
    }
}
