//! The logical node of a part that a store runs whole, and the planner that makes its physical one.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::DFSchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use super::exec::FragmentExec;
use crate::federation::semantics::sets::SetPlanner;
use crate::pgtype::{PgField, PgType};
use crate::stores::{Fragment, Tables};

/// The order of a part's rows by one of its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) place: usize,
    pub(super) descending: bool,
    pub(super) nulls_first: bool,
}

/// A part of the plan that one store runs.
#[derive(Debug, Clone)]
pub(super) struct RemoteFragment {
    part: Arc<Part>,
    /// The columns of the node that it stands for.
    schema: DFSchemaRef,
}

/// What all copies of a node share.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) fragment: Fragment,
    pub(super) tables: Tables,
    /// What the store will be asked.
    pub(super) described: String,
    /// What the store is to send: every column with its right type.
    pub(super) sent: SchemaRef,
    pub(super) order: Vec<Order>,
    pub(super) rows: Option<u64>,
}

impl RemoteFragment {
    /// A part with the columns of `schema`, which the store has as `types`.
    pub(super) fn new(
        (fragment, tables): (Fragment, Tables),
        described: String,
        (schema, types): (DFSchemaRef, Vec<PgType>),
        (order, rows): (Vec<Order>, Option<u64>),
    ) -> Self {
        let marked = |(field, pg_type): (&FieldRef, PgType)| field.as_ref().clone().with_pg_type(pg_type);
        let mut fields: Vec<Field> = schema.fields().iter().zip(types).map(marked).collect();
        if fields.is_empty() {
            // Only the number of rows counts; they travel with a constant.
            fields.push(Field::new("row", DataType::Int32, false).with_pg_type(PgType::INT4));
        }
        let sent = Arc::new(Schema::new(fields));
        Self { part: Arc::new(Part { fragment, tables, described, sent, order, rows }), schema }
    }

    /// This node as a plan.
    pub(super) fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }
}

// Two parts are one when one was made of the other: relations hold floats, which have no equality to rely on.
impl PartialEq for RemoteFragment {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.part, &other.part) && self.schema == other.schema
    }
}

impl Eq for RemoteFragment {}

impl Hash for RemoteFragment {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.part).hash(state);
    }
}

impl PartialOrd for RemoteFragment {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for RemoteFragment {
    fn name(&self) -> &str {
        "RemoteFragment"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteFragment: {}", self.part.fragment.store)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        if exprs.is_empty() && inputs.is_empty() {
            return Ok(self.clone());
        }
        Err(DataFusionError::Internal("a part of a plan that a store runs has no inputs".to_owned()))
    }
}

/// The engine's own physical planner, which also knows the nodes of this engine: parts that stores run, and sets.
#[derive(Debug)]
pub struct PlacementPlanner;

#[async_trait]
impl QueryPlanner for PlacementPlanner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(SetPlanner), Arc::new(Self)]);
        planner.create_physical_plan(plan, session).await
    }
}

#[async_trait]
impl ExtensionPlanner for PlacementPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        _physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _planning: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<RemoteFragment>() else { return Ok(None) };
        let schema = Arc::clone(node.schema.inner());
        Ok(Some(Arc::new(FragmentExec::new(Arc::clone(&node.part), schema))))
    }
}
