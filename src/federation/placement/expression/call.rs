//! Calls: own functions with decided types, the few of the engine that stay, fields of documents.

use arrow::datatypes::DataType;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::{HigherOrderFunction, Like, ScalarFunction};
use datafusion::scalar::ScalarValue;

use super::super::functions::{function, is_settled_cast};
use super::{Answer, Translator, convert, given};
use crate::federation::semantics::functions::LIKE;
use crate::federation::semantics::resolve::lazy;
use crate::federation::semantics::typed::TypedFunction;
use crate::federation::semantics::{is_string, numeric_rank};
use crate::pgtype::{PgField, PgType};
use crate::stores::fragment::{DateField, Expression, Function, Node, Refusal};

/// The rule for what the allow-list does not hold.
const UNLISTED: &str = "it is not among the functions that stores may run";

impl Translator<'_> {
    pub(super) fn call(&self, expr: &Expr, call: &ScalarFunction) -> Answer {
        if let Some(own) = TypedFunction::called_by(expr) {
            return self.own(own, call);
        }
        let function = match call.func.name() {
            "get_field" => return self.field(call),
            "coalesce" | "nvl" => Function::Coalesce,
            "greatest" => Function::Greatest,
            "least" => Function::Least,
            name => return Err(Refusal::new(name, UNLISTED)),
        };
        let pg_type = self.type_of(expr)?;
        self.choice(function, pg_type, call.args.iter())
    }

    /// A function that gives one of its arguments, which have one type.
    fn choice<'e>(&self, function: Function, pg_type: PgType, arguments: impl Iterator<Item = &'e Expr>) -> Answer {
        let arguments = arguments.map(|argument| given(self.expression(argument)?, pg_type)).collect::<Result<Vec<_>, _>>()?;
        Ok(Expression::new(pg_type, Node::Call { function, arguments }))
    }

    pub(super) fn lazy_coalesce(&self, expr: &Expr, call: &HigherOrderFunction) -> Answer {
        let Some(parts) = lazy::parts(call) else { return Err(Refusal::new(call.func.name(), UNLISTED)) };
        let pg_type = self.type_of(expr)?;
        self.choice(Function::Coalesce, pg_type, parts.into_iter())
    }

    fn own(&self, own: &TypedFunction, call: &ScalarFunction) -> Answer {
        let name = call.func.name();
        let declared: Vec<PgType> = own.arguments().iter().map(|typed| typed.pg_type).collect();
        if own.returns().labels.is_some() || own.arguments().iter().any(|typed| typed.labels.is_some()) {
            return Err(Refusal::new(name, "labels are texts here, and ordered by their places"));
        }
        let returns = PgType::with_typmod(own.returns().pg_type.oid, own.returns().pg_type.typmod);
        match (name, call.args.as_slice()) {
            // A change of carrier, and a mark for the optimiser.
            ("wide_numeric" | "or_null", [argument]) => self.expression(argument),
            ("pg_cast" | "pg_convert", [argument]) => settled(self.expression(argument)?, returns, name == "pg_cast"),
            ("extract" | "date_part" | "date_trunc", [field, moment]) => self.moment(name, field, moment, &declared, returns),
            ("greatest", arguments) => self.choice(Function::Greatest, returns, arguments.iter()),
            ("least", arguments) => self.choice(Function::Least, returns, arguments.iter()),
            ("null_if", [left, right]) if declared.first().map(|t| t.oid) == declared.get(1).map(|t| t.oid) => {
                let arguments = vec![self.expression(left)?, self.expression(right)?];
                Ok(Expression::new(returns, Node::Call { function: Function::NullIf, arguments }))
            }
            (name, [subject, pattern]) if LIKE.contains(&name) => self.matched(name == LIKE[1], subject, pattern),
            (name, arguments) => {
                let Some(function) = function(name, &declared) else { return Err(Refusal::new(name, UNLISTED)) };
                let arguments =
                    arguments.iter().zip(&declared).map(|(argument, declared)| read(self.expression(argument)?, *declared));
                Ok(Expression::new(returns, Node::Call { function, arguments: arguments.collect::<Result<_, _>>()? }))
            }
        }
    }

    /// LIKE with a pattern that is computed.
    fn matched(&self, negated: bool, subject: &Expr, pattern: &Expr) -> Answer {
        if matches!(pattern, Expr::Literal(..)) {
            return Err(Refusal::new("LIKE", "its pattern ends in the middle of an escape"));
        }
        self.like(&Like::new(negated, Box::new(subject.clone()), Box::new(pattern.clone()), None, false))
    }

    /// A part of a moment, or the moment cut to it. Moments with a zone are taken apart in the session's, which stores do not
    /// know; what passed since 1970 is the same in all.
    fn moment(&self, name: &str, field: &Expr, moment: &Expr, declared: &[PgType], returns: PgType) -> Answer {
        let word = match field {
            Expr::Literal(ScalarValue::Utf8(Some(word)), _) => DateField::of_word(word),
            _ => None,
        };
        let Some(field) = word else { return Err(Refusal::new(name, "its field is not a plain constant")) };
        let function = match name {
            "extract" => Function::Extract(field),
            "date_part" => Function::DatePart(field),
            _ => Function::DateTrunc(field),
        };
        let read_as = declared.get(1).copied().unwrap_or(PgType::UNKNOWN);
        let is_settled = match read_as.oid {
            1082 | 1083 | 1114 => true,
            1184 => field == DateField::Epoch && name != "date_trunc",
            _ => false,
        };
        if !is_settled {
            return Err(Refusal::new(format!("{name} of {read_as}"), "it depends on the session's time zone"));
        }
        let argument = read(self.expression(moment)?, read_as)?;
        Ok(Expression::new(returns, Node::Call { function, arguments: vec![argument] }))
    }

    /// `(document).name`, through as many levels as there are names.
    fn field(&self, call: &ScalarFunction) -> Answer {
        let Some((document, names)) = call.args.split_first() else { return Err(Refusal::new("get_field", UNLISTED)) };
        let mut carrier = self.scope.carrier_of(document);
        let mut found = self.expression(document)?;
        for name in names {
            let (Expr::Literal(ScalarValue::Utf8(Some(name)), _), Some(DataType::Struct(fields))) = (name, &carrier) else {
                return Err(Refusal::new("a field", "its name is not a constant"));
            };
            let Some(field) = fields.iter().find(|field| field.name() == name) else {
                return Err(Refusal::new("a field", "it is not known"));
            };
            found = Expression::new(field.pg_type(), Node::Field { operand: Box::new(found), name: name.clone() });
            carrier = Some(field.data_type().clone());
        }
        Ok(found)
    }
}

/// An argument as the type that a function reads it as.
fn read(argument: Expression, declared: PgType) -> Answer {
    let (from, to) = (argument.pg_type, PgType::with_typmod(declared.oid, -1));
    if from.oid == to.oid {
        return Ok(argument);
    }
    if matches!(argument.node, Node::Literal(None)) {
        return Ok(Expression::new(to, Node::Literal(None)));
    }
    match (numeric_rank(from), numeric_rank(to)) {
        (Some(low), Some(high)) if low <= high => convert(argument, to),
        (None, None) if is_string(from) && to.oid == PgType::TEXT.oid && from.oid != PgType::BPCHAR.oid => convert(argument, to),
        (None, None) if (from.oid, to.oid) == (1082, 1114) => convert(argument, to),
        _ => Err(Refusal::new(format!("an argument of type {from}"), "it is read as another type")),
    }
}

/// A cast that is the same under every setting.
pub(super) fn settled(inner: Expression, to: PgType, asked: bool) -> Answer {
    if matches!(inner.node, Node::Literal(None)) {
        return Ok(Expression::new(to, Node::Literal(None)));
    }
    if is_settled_cast(inner.pg_type, to, asked) {
        return Ok(Expression::new(to, Node::Cast(Box::new(inner))));
    }
    Err(Refusal::new(
        format!("a cast from {} to {to}", inner.pg_type),
        "it depends on settings of the session, or has no store-neutral form",
    ))
}
