//! `CALL tributary.compensate(sql)`: what undoes the writes to the store that was written to last, should the transaction end as a saga.

use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::{call, rights};
use crate::catalog::RelationBody;
use crate::error::{Diagnosis, sqlstate};
use crate::federation::ast::postgres::Postgres;
use crate::federation::dml::target;
use crate::session::Session;
use crate::session::statement::{Kind, parse};

const PROCEDURE: &str = "tributary.compensate";

/// Keeps a statement for the case that it is needed.
pub(super) fn run(session: &mut Session, arguments: &[String]) -> Result<(), Diagnosis> {
    let [sql] = arguments else {
        return Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, "tributary.compensate takes one argument, a statement"));
    };
    call::check_writes(session, PROCEDURE)?;
    let mut statements = parse(sql).map_err(|error| error.with_position(None))?;
    let (statement, others) = (statements.pop(), statements.len());
    let Some(Kind::Write(statement)) = statement.map(|parsed| parsed.kind).filter(|_| others == 0) else {
        let message = "a compensation is one INSERT, UPDATE, DELETE or MERGE";
        return Err(Diagnosis::new(sqlstate::INVALID_PARAMETER_VALUE, message));
    };
    check_parameters(sql)?;
    let setting = session.setting();
    let relation = target(&statement, &setting.snapshot, &setting.path)?;
    rights::check(session, &setting, statement.verb(), &relation)?;
    let (before, after) = session.settings.as_statements();
    let Some(block) = &mut session.block else {
        let message = format!("{PROCEDURE} can only be used in transaction blocks");
        return Err(Diagnosis::new(sqlstate::NO_ACTIVE_SQL_TRANSACTION, message));
    };
    let Some(store) = block.undone.last().cloned() else {
        let message = "the transaction has written nothing that could be undone";
        return Err(Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .with_hint("Call it behind the statements that it undoes."));
    };
    match &relation.body {
        RelationBody::Stored { store: owner, .. } if *owner == store => {}
        _ => {
            let message = format!("a compensation writes to the store that was written to last, \"{store}\"");
            return Err(Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message));
        }
    }
    // It may run at any time, in a session with settings of its own.
    let texts = before.into_iter().chain([sql.clone()]).chain(after).collect();
    let since = block.savepoints_asked();
    block.undone.told(&store, since, texts)
}

/// Nobody gives it values later.
fn check_parameters(sql: &str) -> Result<(), Diagnosis> {
    let dialect = Postgres;
    let tokens = Tokenizer::new(&dialect, sql).tokenize().unwrap_or_default();
    match tokens.iter().find(|token| matches!(token, Token::Placeholder(_))) {
        Some(parameter) => Err(Diagnosis::new(sqlstate::UNDEFINED_PARAMETER, format!("there is no parameter {parameter}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compensation_has_no_parameters() {
        assert!(check_parameters("DELETE FROM t WHERE a = '$1'").is_ok());
        assert_eq!(check_parameters("DELETE FROM t WHERE a = $1").unwrap_err().sqlstate, "42P02");
    }
}
