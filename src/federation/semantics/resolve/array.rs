//! Operators and functions over arrays whose operands tell each other's types: an untyped literal or parameter beside an array
//! is an array of the same elements, or such an element.
//!
//! What the containment operators and the element functions compute is in `functions/array`; putting arrays together is the
//! engine's own, over one carrier.

use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::functions_nested::expr_fn::{array_append, array_concat, array_prepend};
use datafusion::logical_expr::Expr;

use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

use super::super::cast;
use super::super::functions::{self, ArrayFunction};
use super::super::operators::{missing, plain};
use super::super::overload::{ANYARRAY, common_type};
use super::super::typed::{Kernel, Typed, TypedFunction};
use super::convert::{Asked, Operand, widen};
use super::{Resolver, Scope};

/// What an operand stands for beside arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Array,
    Element,
}

/// Whether an operator with this name looks into arrays when one operand is an array.
fn is_containment(name: &str) -> bool {
    matches!(name, "operator @>" | "operator <@" | "operator &&")
}

fn is_array(typed: &Typed) -> bool {
    typed.pg_type.element().is_some()
}

fn element_of(typed: &Typed) -> Option<Typed> {
    Some(Typed { pg_type: typed.pg_type.element()?, labels: typed.labels.clone() })
}

fn array_of(element: &Typed) -> Option<Typed> {
    // Arrays of arrays have the type of their innermost elements' array.
    let pg_type = element.pg_type.array().or_else(|| element.pg_type.element().map(|_| element.pg_type))?;
    Some(Typed { pg_type, labels: element.labels.clone() })
}

/// 42725 as PostgreSQL words it for operators.
fn ambiguous(sign: &str, left: &Typed, right: &Typed) -> Diagnosis {
    Diagnosis::new("42725", format!("operator is not unique: {} {sign} {}", plain(left), plain(right)))
        .with_hint("Could not choose a best candidate operator. You might need to add explicit type casts.")
}

/// The error of a call whose literals tell no element type.
pub(super) fn undetermined() -> Diagnosis {
    Diagnosis::new(sqlstate::DATATYPE_MISMATCH, "could not determine polymorphic type because input has type unknown")
}

impl Resolver<'_> {
    /// `@>`, `<@` and `&&` where an operand is an array or both are untyped; `None` when the operator is another type's.
    pub(super) fn containment(
        &self,
        (name, sign): (&str, &str),
        left: &Operand,
        right: &Operand,
        scope: &Scope<'_>,
    ) -> Result<Option<Expr>> {
        if !is_containment(name) {
            return Ok(None);
        }
        let wanted = match (left.typed.is_unknown(), right.typed.is_unknown()) {
            (true, true) => return Err(ambiguous(sign, &left.typed, &right.typed).into()),
            (true, false) => &right.typed,
            _ => &left.typed,
        };
        if !is_array(wanted) {
            return Ok(None);
        }
        let wanted = wanted.without_modifier();
        let settle = |operand: &Operand| -> Result<Operand> {
            if !operand.typed.is_unknown() {
                return Ok(operand.clone());
            }
            let expr = self.convert(operand.clone(), &wanted, Asked::Implicitly, scope)?;
            Ok(Operand { expr, typed: wanted.clone() })
        };
        let (low, high) = (settle(left)?, settle(right)?);
        let elements = (low.typed.pg_type.element(), high.typed.pg_type.element());
        let row = match elements {
            (Some(one), Some(other)) if one.oid == other.oid => {
                functions::overloads(name).iter().find(|row| row.declared(0).oid == ANYARRAY.oid)
            }
            _ => None,
        };
        let Some(row) = row else { return Err(missing(sign, &left.typed, &right.typed).into()) };
        // Labels are equal where their texts are, and a text beside them need not be a label; a literal stands for one.
        let is_literal = left.typed.is_unknown() || right.typed.is_unknown();
        let labels = wanted.labels.as_ref().filter(|_| is_literal);
        let types = [&low, &high].map(|operand| Typed { labels: labels.cloned(), ..operand.typed.without_modifier() }).to_vec();
        let function = TypedFunction::new(row.name, types, row.returns.into(), row.kernel).with_volatility(row.volatility);
        Ok(Some(function.call(vec![low.expr, high.expr])))
    }

    /// `left || right` where one is an array.
    pub(super) fn concat_arrays(&self, left: Operand, right: Operand, scope: &Scope<'_>) -> Result<Expr> {
        let role = |operand: &Operand| {
            if operand.typed.is_unknown() || is_array(&operand.typed) { Role::Array } else { Role::Element }
        };
        let roles = [role(&left), role(&right)];
        let refused = missing("||", &left.typed, &right.typed);
        let Some((operands, _)) = self.beside_arrays(vec![left, right], &roles, scope)? else { return Err(refused.into()) };
        put_together(operands, &roles)
    }

    /// A function of arrays and their elements.
    pub(super) fn array_function(&self, name: &str, how: ArrayFunction, arguments: Vec<Expr>, scope: &Scope<'_>) -> Result<Expr> {
        let operands = arguments.into_iter().map(|argument| self.operand(argument, scope)).collect::<Result<Vec<_>>>()?;
        let types: Vec<Typed> = operands.iter().map(|operand| operand.typed.clone()).collect();
        let refused = || -> Result<Expr> { Err(functions::missing_function(name, &types).into()) };
        let roles: Vec<Role> = how.arrays.iter().map(|is_array| if *is_array { Role::Array } else { Role::Element }).collect();
        if operands.len() != roles.len() {
            return refused();
        }
        let Some((operands, element)) = self.beside_arrays(operands, &roles, scope)? else { return refused() };
        let Some(kernel) = how.kernel else { return put_together(operands, &roles) };
        let Some(array) = array_of(&element) else { return refused() };
        let carrier = match operands.first() {
            Some(first) => scope.carrier_of(first)?,
            None => array.pg_type.carrier(),
        };
        let declared: Vec<Typed> =
            roles.iter().map(|role| if *role == Role::Array { array.clone() } else { element.clone() }).collect();
        Ok(match how.returns {
            Some(returns) => TypedFunction::new(how.name, declared, returns.into(), Kernel::Lenient(kernel)),
            None => TypedFunction::new(how.name, declared, array, Kernel::Lenient(kernel)).with_carrier(carrier),
        }
        .call(operands))
    }

    /// The operands in the common type of all elements, arrays as arrays of it, and that type; `None` when there is none.
    fn beside_arrays(&self, operands: Vec<Operand>, roles: &[Role], scope: &Scope<'_>) -> Result<Option<(Vec<Expr>, Typed)>> {
        let mut types = Vec::with_capacity(operands.len());
        for (operand, role) in operands.iter().zip(roles) {
            types.push(match role {
                _ if operand.typed.is_unknown() => operand.typed.clone(),
                Role::Array => match element_of(&operand.typed) {
                    Some(element) => element,
                    None => return Ok(None),
                },
                Role::Element => operand.typed.clone(),
            });
        }
        let Ok(element) = common_type(&types) else { return Ok(None) };
        let Some(array) = array_of(&element) else { return Ok(None) };
        let mut converted = Vec::with_capacity(operands.len());
        for (operand, role) in operands.into_iter().zip(roles) {
            let to = if *role == Role::Array { &array } else { &element };
            // Texts and labels of one type need no cast to stand together.
            let is_settled = !operand.typed.is_unknown() && operand.typed.pg_type.oid == to.pg_type.oid;
            converted.push(if is_settled { operand.expr } else { self.convert(operand, to, Asked::Implicitly, scope)? });
        }
        if element.pg_type.oid == PgType::NUMERIC.oid {
            converted = in_one_carrier(converted, roles, scope)?;
        }
        Ok(Some((converted, element)))
    }
}

/// `numeric` values travel in several carriers, and an array and its new elements need one that shows every value's own scale.
fn in_one_carrier(exprs: Vec<Expr>, roles: &[Role], scope: &Scope<'_>) -> Result<Vec<Expr>> {
    let mut carriers = Vec::with_capacity(exprs.len());
    for expr in &exprs {
        carriers.push(match scope.carrier_of(expr)? {
            DataType::List(item) => item.data_type().clone(),
            other => other,
        });
    }
    if carriers.windows(2).all(|pair| pair.first() == pair.last()) {
        return Ok(exprs);
    }
    let array = Typed::from(PgType { oid: NUMERICS, typmod: -1 });
    let wide = |(expr, role): (Expr, &Role)| match role {
        Role::Element => widen(expr, scope),
        Role::Array => Ok(cast::function(&array, &array, false)?.call(vec![expr])),
    };
    exprs.into_iter().zip(roles).map(wide).collect()
}

/// `numeric[]`
const NUMERICS: u32 = 1231;

/// Arrays, or an array and an element, as one array.
fn put_together(operands: Vec<Expr>, roles: &[Role]) -> Result<Expr> {
    let pair: [Expr; 2] = match operands.try_into() {
        Ok(pair) => pair,
        Err(_operands) => return Err(Diagnosis::new(sqlstate::UNDEFINED_FUNCTION, "two parts make an array").into()),
    };
    let [left, right] = pair;
    Ok(match roles {
        [Role::Array, Role::Element] => array_append(left, right),
        [Role::Element, Role::Array] => array_prepend(left, right),
        _ => array_concat(vec![left, right]),
    })
}
