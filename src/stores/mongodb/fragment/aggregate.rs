//! Groups: arguments first, so that each is computed once per document, then `$group`, then what PostgreSQL makes of it.
//!
//! The server's `$sum` of nothing is 0, and without documents there is no group at all. `$max` of nothing is null, which tells
//! a sum of nothing apart; `$facet` gives a document also of no group. Values that count once are grouped by first.

use mongodb::bson::{Bson, Document, doc};

use super::call::{self, DIGITS_MAX};
use super::cell::{Cell, Kind, Value, all_of, either, is_not_null};
use super::expression::value;
use super::relation::{Rows, Writer, read_all};
use super::truth::{float_key, holds, is_present, of_float_key};
use super::{decimal, raise};
use crate::pgtype::PgType;
use crate::stores::fragment::{Aggregate, AggregateCall, Expression, Refusal, Relation};

/// One accumulator of a group.
struct Accumulator {
    /// `$sum`, `$max`, `$min`
    operator: &'static str,
    /// Its argument.
    operand: Bson,
}

/// The arguments of a group's accumulators, each computed once.
#[derive(Default)]
struct Arguments(Vec<Bson>);

impl Arguments {
    /// The path of an argument after its projection.
    fn path(&mut self, argument: Bson) -> Bson {
        let place = self.0.iter().position(|known| *known == argument).unwrap_or_else(|| {
            self.0.push(argument);
            self.0.len() - 1
        });
        Bson::String(format!("$x{place}"))
    }
}

/// What a call needs of its group, and what it makes of it.
struct Planned {
    accumulators: Vec<Accumulator>,
    /// The result, of `$a<first>`, `$a<first + 1>` …
    result: Box<dyn Fn(usize) -> Value>,
}

impl Writer<'_> {
    /// Rows without repetitions.
    pub(super) fn distinct(&self, input: &Relation) -> Result<Rows, Refusal> {
        let mut rows = read_all(self.rows(input)?)?;
        let cells = std::mem::take(&mut rows.cells);
        let mut key = Document::new();
        let columns: Vec<Cell> = cells
            .into_iter()
            .enumerate()
            .filter_map(|(place, cell)| match cell {
                Cell::Raw(_) => None,
                Cell::Value(value) => {
                    key.insert(format!("g{place}"), value.bson);
                    let bson = Bson::String(format!("$_id.g{place}"));
                    Some(Cell::Value(Value { bson, ..value }))
                }
            })
            .collect();
        rows.stages.push(doc! { "$group": { "_id": key } });
        rows.project(columns, Vec::new());
        Ok(rows)
    }

    /// Groups and their calls.
    pub(super) fn aggregate(&self, input: &Relation, groups: &[Expression], calls: &[AggregateCall]) -> Result<Rows, Refusal> {
        let mut rows = self.rows(input)?;
        let keys = groups.iter().map(|group| value(group, &rows.cells)).collect::<Result<Vec<_>, _>>()?;
        let once = once(calls, &rows.cells)?;
        let mut arguments = Arguments::default();
        let mut planned = Vec::with_capacity(calls.len());
        for call in calls {
            planned.push(plan(call, &rows.cells, &mut arguments).map_err(|rule| Refusal::new(call.aggregate.name(), rule))?);
        }
        let planned = planned.into_iter().collect::<Result<Vec<_>, Refusal>>()?;
        let mut stage: Vec<(String, Bson)> =
            keys.iter().enumerate().map(|(place, key)| (format!("g{place}"), key.bson.clone())).collect();
        stage.extend(once.map(|value| ("d".to_owned(), value.bson)));
        let counts_once = stage.len() > keys.len();
        stage.extend(arguments.0.into_iter().enumerate().map(|(place, argument)| (format!("x{place}"), argument)));
        if !stage.is_empty() {
            rows.project(Vec::new(), stage);
        }
        group(&mut rows.stages, keys.len(), counts_once, &planned, calls);
        if groups.is_empty() {
            rows.stages.push(doc! { "$facet": { "r": [{ "$limit": 1_i64 }] } });
            rows.stages.push(doc! { "$replaceWith": { "$ifNull": [{ "$arrayElemAt": ["$r", 0_i32] }, {}] } });
            rows.always_rows = true;
        }
        let mut columns: Vec<Cell> = keys
            .into_iter()
            .enumerate()
            .map(|(place, key)| Cell::Value(Value { bson: Bson::String(format!("$_id.g{place}")), ..key }))
            .collect();
        let mut first = 0;
        for call in &planned {
            columns.push(Cell::Value((call.result)(first)));
            first += call.accumulators.len();
        }
        rows.project(columns, Vec::new());
        Ok(rows)
    }
}

/// The value that is counted or added once, when a call asks for it; there can be one of a kind.
fn once(calls: &[AggregateCall], cells: &[Cell]) -> Result<Option<Value>, Refusal> {
    let mut found: Option<&AggregateCall> = None;
    for call in calls.iter().filter(|call| is_once(call)) {
        match found {
            Some(known) if known.argument != call.argument || known.filter != call.filter => {
                return Err(Refusal::new(call.aggregate.name(), "MongoDB groups by one argument of DISTINCT at a time"));
            }
            _ => found = Some(call),
        }
    }
    let Some(AggregateCall { argument: Some(argument), filter, .. }) = found else { return Ok(None) };
    let value = value(argument, cells)?;
    Ok(Some(match filter {
        None => value,
        Some(filter) => {
            let bson = either(holds(filter, true, cells)?, value.bson, Bson::Null);
            Value { bson, nullable: true, ..value }
        }
    }))
}

/// Whether repeated values matter to a call, and must not.
fn is_once(call: &AggregateCall) -> bool {
    call.distinct && matches!(call.aggregate, Aggregate::Count | Aggregate::Sum)
}

/// The `$group` stages: one, or two when values count once.
fn group(stages: &mut Vec<Document>, keys: usize, counts_once: bool, planned: &[Planned], calls: &[AggregateCall]) {
    let key = |path: &str| -> Document {
        (0..keys).map(|place| (format!("g{place}"), Bson::String(format!("{path}g{place}")))).collect()
    };
    let all = |operand: &dyn Fn(usize, &Accumulator, bool) -> Option<Bson>| -> Document {
        let mut place = 0;
        let mut fields = Document::new();
        for (call, of) in planned.iter().zip(calls) {
            for accumulator in &call.accumulators {
                let found = operand(place, accumulator, is_once(of));
                fields.extend(found.map(|operand| (format!("a{place}"), Bson::Document(doc! { accumulator.operator: operand }))));
                place += 1;
            }
        }
        fields
    };
    let id = |fields: Document| if fields.is_empty() { Bson::Null } else { Bson::Document(fields) };
    if !counts_once {
        let mut stage = doc! { "_id": id(key("$")) };
        stage.extend(all(&|_, accumulator, _| Some(accumulator.operand.clone())));
        stages.push(doc! { "$group": stage });
        return;
    }
    let mut inner = key("$");
    inner.insert("d", "$d");
    let mut stage = doc! { "_id": inner };
    stage.extend(all(&|_, accumulator, once| (!once).then(|| accumulator.operand.clone())));
    stages.push(doc! { "$group": stage });
    let mut stage = doc! { "_id": id(key("$_id.")) };
    // Counts and sums of parts are added; the least of the least is the least.
    stage.extend(all(&|place, accumulator, once| {
        Some(if once { accumulator.operand.clone() } else { Bson::String(format!("$a{place}")) })
    }));
    stages.push(doc! { "$group": stage });
}

type Plan = Result<Result<Planned, Refusal>, &'static str>;

fn plan(call: &AggregateCall, cells: &[Cell], arguments: &mut Arguments) -> Plan {
    let filter = match call.filter.as_ref().map(|filter| holds(filter, true, cells)).transpose() {
        Ok(filter) => filter,
        Err(refusal) => return Ok(Err(refusal)),
    };
    match (call.aggregate, &call.argument) {
        (Aggregate::CountRows, _) => Ok(Ok(count(filter.unwrap_or(Bson::Boolean(true)), arguments))),
        (Aggregate::Count, Some(_)) if call.distinct => {
            let found = either(is_not_null(&Bson::String("$_id.d".to_owned())), Bson::Int64(1), Bson::Int64(0));
            Ok(Ok(counted(found)))
        }
        (Aggregate::Count, Some(argument)) => {
            Ok(is_present(argument, cells).map(|present| count(all_of(filter.into_iter().chain([present]).collect()), arguments)))
        }
        (Aggregate::Average, _) => Err("averages are divided here"),
        (_, None) => Err("the aggregate has no argument"),
        (aggregate, Some(argument)) => {
            let value = match value(argument, cells) {
                Ok(value) => value,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let value = match filter {
                None => value,
                Some(filter) => Value { bson: either(filter, value.bson, Bson::Null), nullable: true, ..value },
            };
            match aggregate {
                Aggregate::Sum => sum(call, argument.pg_type, value, arguments),
                _ => extreme(aggregate, value, arguments),
            }
            .map(Ok)
        }
    }
}

/// How many rows fulfil a condition.
fn count(condition: Bson, arguments: &mut Arguments) -> Planned {
    if condition == Bson::Boolean(true) {
        return counted(Bson::Int64(1));
    }
    counted(arguments.path(either(condition, Bson::Int64(1), Bson::Int64(0))))
}

fn counted(operand: Bson) -> Planned {
    let result = |first: usize| Value {
        // Without any document the field is missing.
        bson: Bson::Document(doc! { "$ifNull": [format!("$a{first}"), Bson::Int64(0)] }),
        kind: Kind::Int,
        nullable: false,
    };
    Planned { accumulators: vec![Accumulator { operator: "$sum", operand }], result: Box::new(result) }
}

/// Sums of `bigint` are `numeric`: 10^34 / 2^63 is more rows than there are. Of decimals, the sum of their sizes tells whether
/// every sum on the way had its digits.
fn sum(call: &AggregateCall, of: PgType, value: Value, arguments: &mut Arguments) -> Result<Planned, &'static str> {
    let once = is_once(call);
    let mut place = |argument: Bson, of_once: Bson| if once { of_once } else { arguments.path(argument) };
    let once_value = Bson::String("$_id.d".to_owned());
    let null = |first: usize, sum: Bson| either(is_not_null(&found(first + 1)), sum, Bson::Null);
    match (value.kind, call.pg_type) {
        (Kind::Int, PgType::INT8) if of != PgType::INT8 => {
            let operand = place(value.bson, once_value);
            let result = move |first: usize| Value { bson: null(first, path(first)), kind: Kind::Int, nullable: true };
            Ok(Planned { accumulators: sum_and_most(operand.clone(), operand), result: Box::new(result) })
        }
        (Kind::Int, PgType::NUMERIC) => {
            let wide = |bson: Bson| Bson::Document(doc! { "$toDecimal": bson });
            let operand = place(wide(value.bson), wide(once_value));
            let result =
                move |first: usize| Value { bson: null(first, path(first)), kind: Kind::Decimal { scale: 0 }, nullable: true };
            Ok(Planned { accumulators: sum_and_most(operand.clone(), operand), result: Box::new(result) })
        }
        (Kind::Decimal { scale }, PgType { oid: 1700, .. }) => {
            let operand = place(value.bson, once_value);
            let mut accumulators = sum_and_most(operand.clone(), operand.clone());
            accumulators.push(Accumulator { operator: "$sum", operand: Bson::Document(doc! { "$abs": operand }) });
            // A tenth less than the digits allow, because this sum may itself be rounded.
            let end = decimal(1, DIGITS_MAX - 1 - i32::from(scale)).filter(|_| scale <= 20).ok_or(super::expression::DIGITS)?;
            let result = move |first: usize| {
                let fits = Bson::Document(doc! { "$lt": [path(first + 2), &end] });
                let sum = either(fits, path(first), raise::beyond(call::WIDE, path(first)));
                Value { bson: null(first, sum), kind: Kind::Decimal { scale }, nullable: true }
            };
            Ok(Planned { accumulators, result: Box::new(result) })
        }
        (Kind::Float, _) => Err("MongoDB adds floats with a compensation that PostgreSQL does not have"),
        _ => Err("the sum is computed here"),
    }
}

fn path(place: usize) -> Bson {
    Bson::String(format!("$a{place}"))
}

/// What was accumulated, or null: without any document the field is missing, which `$ne` tells from null.
fn found(place: usize) -> Bson {
    Bson::Document(doc! { "$ifNull": [path(place), Bson::Null] })
}

/// A sum, and something that is null when there was nothing to add.
fn sum_and_most(operand: Bson, same: Bson) -> Vec<Accumulator> {
    vec![Accumulator { operator: "$sum", operand }, Accumulator { operator: "$max", operand: same }]
}

/// The server's order within one kind is PostgreSQL's; of floats through their keys. False is below true.
fn extreme(aggregate: Aggregate, value: Value, arguments: &mut Arguments) -> Result<Planned, &'static str> {
    let operator = match aggregate {
        Aggregate::Minimum | Aggregate::BoolAnd => "$min",
        _ => "$max",
    };
    let boolean = matches!(aggregate, Aggregate::BoolAnd | Aggregate::BoolOr);
    if boolean != (value.kind == Kind::Bool) || value.kind == Kind::Uuid {
        return Err("PostgreSQL has no such aggregate");
    }
    let kind = value.kind;
    let key = if kind == Kind::Float { float_key(&value.bson) } else { value.bson };
    let operand = arguments.path(key);
    let result = move |first: usize| {
        let found = found(first);
        let bson = if kind == Kind::Float { of_float_key(&found) } else { found };
        Value { bson, kind, nullable: true }
    };
    Ok(Planned { accumulators: vec![Accumulator { operator, operand }], result: Box::new(result) })
}
