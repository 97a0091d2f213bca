//! `CALL`: procedures of the server itself.

use datafusion::sql::sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value};

use crate::error::{Diagnosis, sqlstate};
use crate::session::Session;
use crate::session::output::Execution;
use crate::session::statement::setting_name;
use crate::stores::StoreName;

/// `CALL tributary.refresh('store')`
pub(super) async fn run(session: &mut Session, function: &Function) -> Result<Execution, Diagnosis> {
    let name = setting_name(&function.name);
    match name.as_str() {
        "tributary.refresh" => refresh(session, &texts(function)?).await?,
        _ => return Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, format!("procedure {name} does not exist"))),
    }
    Ok(Execution::Done("CALL".to_owned()))
}

async fn refresh(session: &mut Session, arguments: &[String]) -> Result<(), Diagnosis> {
    // Asked of the roles as they are now: a reload may have changed them.
    let superuser = session.shared.roles.load().get(&session.role).is_some_and(|role| role.superuser);
    if !superuser {
        return Err(Diagnosis::new(sqlstate::INSUFFICIENT_PRIVILEGE, "permission denied for procedure tributary.refresh")
            .with_hint("Only a role with superuser = true may call it."));
    }
    match arguments {
        [store] => session.shared.catalog.refresh(&StoreName::new(store)).await,
        _ => Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, "tributary.refresh takes one argument, the name of a store")),
    }
}

fn texts(function: &Function) -> Result<Vec<String>, Diagnosis> {
    let FunctionArguments::List(list) = &function.args else { return Ok(Vec::new()) };
    let texts = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    });
    let collected: Option<Vec<String>> = texts.collect();
    collected.ok_or_else(|| Diagnosis::new(sqlstate::FEATURE_NOT_SUPPORTED, "procedures take text constants only"))
}
