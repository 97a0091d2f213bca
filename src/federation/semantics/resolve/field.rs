//! `address->>'city'` over a document that travels as a struct reads the field itself, which stores can filter by.
//!
//! The value is that of the same operator over the document's `json` text; `->` gives `json`, and goes through that text
//! (`semantics/document`), because a field that is null there is `null` and not NULL.

use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::functions::core::get_field;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, lit};
use datafusion::scalar::ScalarValue;

use crate::error::Diagnosis;
use crate::format;
use crate::pgtype::PgType;

use super::super::datum::Datum;
use super::super::functions::json::{make, take};
use super::super::typed::{Call, Kernel, Typed, TypedFunction};
use super::{Resolver, Scope};

impl Resolver<'_> {
    /// `left ->> right` or `left #>> right` as the field it reads; `None` when it is not known to be one.
    pub(super) fn field_text(&self, name: &str, left: &Expr, right: &Expr, scope: &Scope<'_>) -> Result<Option<Expr>> {
        let Some(steps) = steps(name, right) else { return Ok(None) };
        let Some((mut field, mut typed)) = self.document(left, scope)? else { return Ok(None) };
        for step in steps {
            match self.child(field, &step, scope)? {
                Some(child) => (field, typed) = child,
                None => return Ok(None),
            }
        }
        if typed.pg_type == PgType::TEXT && scope.carrier_of(&field)? == DataType::Utf8 {
            return Ok(Some(field));
        }
        let function = TypedFunction::new("json_field_text", vec![typed], PgType::TEXT.into(), Kernel::Strict(text));
        Ok(Some(function.call(vec![field])))
    }

    /// The struct that an expression is, also where it stands below `->`.
    fn document(&self, expr: &Expr, scope: &Scope<'_>) -> Result<Option<(Expr, Typed)>> {
        if let DataType::Struct(_) = scope.carrier_of(expr)? {
            return Ok(Some((expr.clone(), scope.type_of(expr)?)));
        }
        let Expr::ScalarFunction(call) = expr else { return Ok(None) };
        let is_arrow = call.func.name() == "operator ->" && call.func.inner().downcast_ref::<TypedFunction>().is_some();
        let [left, right] = call.args.as_slice() else { return Ok(None) };
        let Some(steps) = steps("operator ->>", right).filter(|_| is_arrow) else { return Ok(None) };
        match (self.document(left, scope)?, steps.as_slice()) {
            (Some((inner, _)), [step]) => self.child(inner, step, scope),
            _ => Ok(None),
        }
    }

    fn child(&self, document: Expr, name: &str, scope: &Scope<'_>) -> Result<Option<(Expr, Typed)>> {
        let DataType::Struct(fields) = scope.carrier_of(&document)? else { return Ok(None) };
        let Some(field) = fields.iter().find(|field| field.name() == name) else { return Ok(None) };
        let arguments = vec![document, lit(ScalarValue::from(name.to_owned()))];
        Ok(Some((Expr::ScalarFunction(ScalarFunction::new_udf(get_field(), arguments)), Typed::of_field(field))))
    }
}

/// The literal steps of a path.
fn steps(name: &str, right: &Expr) -> Option<Vec<String>> {
    let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = right else { return None };
    match name {
        "operator ->>" => Some(vec![text.clone()]),
        "operator #>>" => format::array::read(text).ok()?.into_iter().collect(),
        _ => None,
    }
}

/// A field's value as `->>` shows it.
fn text<'a>(call: &Call<'_>, a: &[Datum<'a>]) -> Result<Datum<'a>, Diagnosis> {
    let typed = call.arguments.first().cloned().unwrap_or_else(|| PgType::TEXT.into());
    let mut out = Vec::new();
    make::write(&typed, &a[0], &call.session.display, &mut out)?;
    take::text(Some(std::str::from_utf8(&out).unwrap_or_default()))
}
