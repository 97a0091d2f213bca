//! Aggregates whose types or values differ between PostgreSQL and the engine.
//!
//! [`NamedAggregate`] holds a call until `resolve` knows the argument's type; [`TypedAggregate`] computes those that the
//! engine's own aggregates cannot: exact sums and averages, deviations, extremes and distinct values by typed order. Percentiles are
//! in `percentile`, what is computed of pairs in `regression`; [`OrderedAggregate`] collects values in an order of its own.

mod accumulate;
mod collect;
mod exact;
mod extreme;
mod float;
mod moving;
mod ordered;
mod percentile;
mod regression;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::all_default_aggregate_functions;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility};

use crate::pgtype::PgType;

use super::floats;
use super::overload::numeric_rank;
use super::typed::Typed;
use accumulate::RowAccumulator;
use collect::DistinctValues;
use exact::GroupedSums;
use extreme::{End, ExtremeAccumulator, FloatExtremes};
use float::{GroupedFloats, MovingFloats};
use moving::MovingSum;

pub(super) use collect::Order;
pub(super) use ordered::{Collected, OrderedAggregate};
pub(super) use percentile::Percentile;
pub(super) use regression::{Regression, Statistic};

const NAMES: &[&str] = &[
    "sum",
    "avg",
    "min",
    "max",
    "stddev",
    "stddev_samp",
    "stddev_pop",
    "variance",
    "var_samp",
    "var_pop",
    "bool_and",
    "bool_or",
    "every",
    "string_agg",
];

/// All aggregate functions to register.
pub fn aggregates() -> Vec<Arc<AggregateUDF>> {
    let named = NAMES.iter().chain(regression::NAMES).map(|name| AggregateUDF::new_from_impl(NamedAggregate::new(name)));
    named.chain([AggregateUDF::new_from_impl(Percentile::new(false))]).map(Arc::new).collect()
}

/// Aggregates that a pass over the syntax tree writes as others.
const REWRITTEN: &[&str] = &["json_agg", "jsonb_agg", "json_object_agg", "jsonb_object_agg"];

static KNOWN: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let engine = all_default_aggregate_functions();
    let engine = engine.iter().flat_map(|function| [vec![function.name().to_owned()], function.aliases().to_vec()].concat());
    engine.chain(NAMES.iter().chain(REWRITTEN).map(|name| (*name).to_owned())).collect()
});

/// Whether a folded name is that of an aggregate.
pub fn is_known(name: &str) -> bool {
    KNOWN.contains(name)
}

/// An aggregate call whose argument type is not decided yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct NamedAggregate {
    name: &'static str,
    signature: Signature,
}

impl NamedAggregate {
    fn new(name: &'static str) -> Self {
        Self { name, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn guess(&self, argument: Option<&Field>) -> Typed {
        if let Some(statistic) = Statistic::of_name(self.name) {
            return statistic.returns().into();
        }
        let typed = argument.map_or(PgType::TEXT.into(), Typed::of_field);
        let rank = numeric_rank(typed.pg_type);
        let pg_type = match (self.name, rank) {
            ("min" | "max", _) => return typed,
            ("bool_and" | "bool_or" | "every", _) => PgType::BOOL,
            ("string_agg", _) => PgType::TEXT,
            ("sum", Some(0 | 1)) => PgType::INT8,
            ("sum", Some(2 | 3)) => PgType::NUMERIC,
            ("sum", Some(4)) => PgType::FLOAT4,
            (_, Some(0..=3)) => PgType::NUMERIC,
            (_, Some(_)) => PgType::FLOAT8,
            _ => return typed.without_modifier(),
        };
        pg_type.into()
    }
}

impl AggregateUDFImpl for NamedAggregate {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let field = arguments.first().map(|data_type| Field::new("", data_type.clone(), true));
        Ok(self.guess(field.as_ref()).pg_type.carrier())
    }

    fn return_field(&self, arguments: &[FieldRef]) -> Result<FieldRef> {
        let typed = self.guess(arguments.first().map(AsRef::as_ref));
        let carrier = match (self.name, arguments.first()) {
            ("min" | "max", Some(field)) => field.data_type().clone(),
            _ => typed.pg_type.carrier(),
        };
        Ok(typed.field(self.name, carrier))
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arguments.to_vec())
    }

    fn accumulator(&self, _arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Err(DataFusionError::Internal(format!("call of {} was never resolved", self.name)))
    }
}

/// What an aggregate computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Sum,
    /// `sum(real)`, which adds in single precision.
    SumReal,
    Average,
    Least,
    Greatest,
    /// The first float of a group of equal ones.
    First,
    SampleDeviation,
    PopulationDeviation,
    SampleVariance,
    PopulationVariance,
    /// `array_agg(DISTINCT …)`
    Distinct(Order),
}

impl Kind {
    /// The kind of a deviation or variance by its name.
    pub(super) fn of_deviation(name: &str) -> Option<Self> {
        Some(match name {
            "stddev" | "stddev_samp" => Self::SampleDeviation,
            "stddev_pop" => Self::PopulationDeviation,
            "variance" | "var_samp" => Self::SampleVariance,
            "var_pop" => Self::PopulationVariance,
            _ => return None,
        })
    }

    fn is_deviation(self) -> bool {
        matches!(self, Self::SampleDeviation | Self::PopulationDeviation | Self::SampleVariance | Self::PopulationVariance)
    }

    /// The end of the order that an extreme is.
    fn end(self) -> Option<End> {
        match self {
            Self::Least => Some(End::Least),
            Self::Greatest => Some(End::Greatest),
            Self::First => Some(End::First),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sum | Self::SumReal => "sum",
            Self::Average => "avg",
            Self::Least => "min",
            Self::Greatest => "max",
            Self::First => "first_value",
            Self::SampleDeviation => "stddev",
            Self::PopulationDeviation => "stddev_pop",
            Self::SampleVariance => "variance",
            Self::PopulationVariance => "var_pop",
            Self::Distinct(_) => "array_agg",
        }
    }
}

/// An aggregate with decided types.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TypedAggregate {
    kind: Kind,
    reads: Typed,
    returns: Typed,
    carrier: DataType,
    distinct: bool,
    signature: Signature,
}

impl TypedAggregate {
    pub(super) fn new(kind: Kind, reads: Typed, returns: Typed, distinct: bool) -> Self {
        let carrier = returns.pg_type.carrier();
        Self { kind, reads, returns, carrier, distinct, signature: Signature::user_defined(Volatility::Immutable) }
    }

    pub(super) fn with_carrier(mut self, carrier: DataType) -> Self {
        self.carrier = carrier;
        self
    }
}

/// What an aggregate is by its name in SQL, and whether it drops repeated values by itself; both for those with decided types
/// and for the engine's own.
pub(in super::super) fn meaning(function: &AggregateUDF) -> (&str, bool) {
    match function.inner().downcast_ref::<TypedAggregate>() {
        Some(typed) => (typed.kind.name(), typed.distinct),
        None => (function.name(), false),
    }
}

impl AggregateUDFImpl for TypedAggregate {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.carrier.clone())
    }

    fn return_field(&self, _arguments: &[FieldRef]) -> Result<FieldRef> {
        Ok(self.returns.field(self.kind.name(), self.carrier.clone()))
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arguments.to_vec())
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let input = match arguments.expr_fields.first() {
            Some(field) => field.data_type().clone(),
            None => self.carrier.clone(),
        };
        if let Kind::Distinct(order) = self.kind {
            return Ok(Box::new(DistinctValues::new(self.reads.clone(), input, order)));
        }
        if let Some(end) = self.kind.end() {
            return Ok(Box::new(ExtremeAccumulator::new(end, self.reads.clone(), self.carrier.clone(), false)));
        }
        Ok(Box::new(RowAccumulator::new(self.kind, self.reads.clone(), self.carrier.clone(), input, self.distinct)))
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let (kind, reads, carrier) = (self.kind, self.reads.clone(), self.carrier.clone());
        match (kind.end(), reads.pg_type.oid) {
            (Some(end), _) => Ok(Box::new(ExtremeAccumulator::new(end, reads, carrier, true))),
            _ if self.distinct || matches!(kind, Kind::Distinct(_)) => self.accumulator(arguments),
            (None, 1186) => self.accumulator(arguments),
            (None, 700 | 701) => Ok(Box::new(MovingFloats::new(kind, carrier))),
            (None, _) => Ok(Box::new(MovingSum::new(kind, reads, carrier))),
        }
    }

    fn groups_accumulator_supported(&self, _arguments: AccumulatorArgs<'_>) -> bool {
        let is_float = floats::is_float(self.reads.pg_type);
        match self.kind {
            Kind::Distinct(_) => false,
            _ if self.distinct => false,
            Kind::Sum | Kind::Average => self.reads.pg_type.oid != PgType::INTERVAL.oid,
            _ => is_float,
        }
    }

    fn create_groups_accumulator(&self, _arguments: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        match self.kind.end() {
            Some(end) if floats::is_float(self.reads.pg_type) => Ok(Box::new(FloatExtremes::new(end, self.carrier.clone()))),
            None if floats::is_float(self.reads.pg_type) => Ok(Box::new(GroupedFloats::new(self.kind, self.carrier.clone()))),
            None if matches!(self.kind, Kind::Sum | Kind::Average) => {
                Ok(Box::new(GroupedSums::new(self.kind, self.reads.clone(), self.carrier.clone())))
            }
            _ => Err(DataFusionError::Internal(format!("{} has no accumulator of groups", self.kind.name()))),
        }
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let input = match arguments.input_fields.first() {
            Some(field) => field.data_type().clone(),
            None => self.carrier.clone(),
        };
        let types = match self.kind.end() {
            Some(_) => vec![input],
            None => accumulate::state_types(self.kind, &self.reads, &input, self.distinct),
        };
        Ok(types
            .into_iter()
            .enumerate()
            .map(|(index, data_type)| {
                Arc::new(Field::new(format_state_name(arguments.name, &format!("part{index}")), data_type, true))
            })
            .collect())
    }
}
