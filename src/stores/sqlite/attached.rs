//! How the tables of a file are called on a connection that has attached it beside its own.
//!
//! A table of any file is known as one of `main`, because that is what it is on a connection of its own. What is sent to a branch that
//! shares the connection of another file names the same tables under the name of the attached one; nothing else of it changes.

use std::sync::{Arc, Mutex, PoisonError};

use super::super::connector::Scan;
use super::super::edit::{Delete, DeleteRows, Edit, Insert, Update, UpdateRows};
use super::super::fragment::{Expression, Fragment, Node, Relation, Tables};
use super::super::schema::{Table, TableId};

/// The name of an attached file.
#[derive(Debug)]
pub(super) struct Naming {
    schema: String,
    /// The last table that was asked for, under both names: edits of one statement are many of one table.
    last: Mutex<Option<(Arc<Table>, Arc<Table>)>>,
}

impl Naming {
    pub(super) fn new(schema: String) -> Self {
        Self { schema, last: Mutex::default() }
    }

    /// The table of the attached file.
    pub(super) fn table(&self, table: &Arc<Table>) -> Arc<Table> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, named)) = last.as_ref()
            && Arc::ptr_eq(known, table)
        {
            return Arc::clone(named);
        }
        let named = Arc::new(Table { id: self.id(&table.id), ..Table::clone(table) });
        *last = Some((Arc::clone(table), Arc::clone(&named)));
        named
    }

    /// The same read of the attached file.
    pub(super) fn scan(&self, scan: &Scan) -> Scan {
        Scan { table: self.id(&scan.table), ..scan.clone() }
    }

    /// The tables that a fragment reads there.
    pub(super) fn tables(&self, tables: &Tables) -> Tables {
        tables.iter().map(|(id, table)| (self.id(id), Arc::new(Table { id: self.id(id), ..Table::clone(table) }))).collect()
    }

    /// The same part of a plan over the attached file.
    pub(super) fn fragment(&self, fragment: &Fragment) -> Fragment {
        let mut fragment = fragment.clone();
        self.rename(&mut fragment.root);
        fragment
    }

    /// The same edit of the attached file.
    pub(super) fn edit(&self, edit: &Edit) -> Edit {
        let mut edit = edit.clone();
        match &mut edit {
            Edit::Insert(Insert { table, .. })
            | Edit::UpdateRows(UpdateRows { table, .. })
            | Edit::DeleteRows(DeleteRows { table, .. }) => *table = self.table(table),
            Edit::Update(Update { table, relation, tables, .. }) | Edit::Delete(Delete { table, relation, tables, .. }) => {
                *table = self.table(table);
                *tables = self.tables(tables);
                self.rename(relation);
            }
        }
        edit
    }

    fn id(&self, id: &TableId) -> TableId {
        TableId { namespace: self.schema.clone(), name: id.name.clone() }
    }

    fn rename(&self, relation: &mut Relation) {
        match relation {
            Relation::Table(scan) => scan.table = self.id(&scan.table),
            Relation::Values { .. } => {}
            Relation::Filter { input, condition } => {
                self.rename(input);
                self.rename_within(condition);
            }
            Relation::Project { input, expressions } => {
                self.rename(input);
                self.rename_in_all(expressions);
            }
            Relation::Join { left, right, condition, kind: _ } => {
                self.rename(left);
                self.rename(right);
                self.rename_in_all(condition);
            }
            Relation::Aggregate { input, groups, calls } => {
                self.rename(input);
                self.rename_in_all(groups);
                for call in calls {
                    self.rename_in_all(call.argument.iter_mut().chain(&mut call.filter));
                }
            }
            Relation::Sort { input, keys, .. } => {
                self.rename(input);
                self.rename_in_all(keys.iter_mut().map(|key| &mut key.expression));
            }
            Relation::Distinct { input } | Relation::Limit { input, .. } => self.rename(input),
            Relation::Union { inputs } => inputs.iter_mut().for_each(|input| self.rename(input)),
            Relation::Window { input, calls } => {
                self.rename(input);
                for call in calls {
                    let keys = call.order_by.iter_mut().map(|key| &mut key.expression);
                    self.rename_in_all(call.arguments.iter_mut().chain(&mut call.partition_by).chain(keys));
                }
            }
        }
    }

    fn rename_in_all<'e>(&self, expressions: impl IntoIterator<Item = &'e mut Expression>) {
        expressions.into_iter().for_each(|expression| self.rename_within(expression));
    }

    /// Subqueries read tables too.
    fn rename_within(&self, expression: &mut Expression) {
        if let Node::Subquery(relation) = &mut expression.node {
            self.rename(relation);
        }
        self.rename_in_all(expression.operands_mut());
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::RecordBatch;
    use arrow::datatypes::Schema;

    use super::super::super::connector::StoreName;
    use super::super::super::fragment::{Aggregate, AggregateCall, JoinKind, SortKey, WindowCall, WindowFunction};
    use super::super::super::schema::TableKind;
    use super::*;
    use crate::pgtype::PgType;

    fn id(namespace: &str, name: &str) -> TableId {
        TableId { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn table(name: &str) -> Arc<Table> {
        Arc::new(Table {
            id: id("main", name),
            kind: TableKind::Table,
            schema: Table::arrow_schema(&[]),
            columns: Vec::new(),
            primary_key: None,
            unique_keys: Vec::new(),
            foreign_keys: Vec::new(),
            checks: Vec::new(),
            indexes: Vec::new(),
            comment: None,
            row_estimate: None,
            division: None,
        })
    }

    fn scan(name: &str) -> Scan {
        Scan { store: StoreName::new("b"), table: id("main", name), columns: Vec::new(), filter: Vec::new(), limit: None }
    }

    fn read(name: &str) -> Box<Relation> {
        Box::new(Relation::Table(scan(name)))
    }

    /// An expression that reads a table.
    fn asking(name: &str) -> Expression {
        let subquery = Expression::new(PgType::INT8, Node::Subquery(read(name)));
        Expression::condition(Node::Not(Box::new(Expression::new(PgType::BOOL, Node::Cast(Box::new(subquery))))))
    }

    /// The tables that a relation reads, in order.
    fn named(relation: &Relation) -> Vec<String> {
        let mut names = Vec::new();
        relation.visit(&mut |relation| {
            if let Relation::Table(scan) = relation {
                names.push(format!("{}.{}", scan.table.namespace, scan.table.name));
            }
        });
        names.sort();
        names
    }

    #[test]
    fn every_table_of_a_part_of_a_plan_is_that_of_the_attached_file() {
        let join = Relation::Join { left: read("a"), right: read("b"), kind: JoinKind::Inner, condition: Some(asking("c")) };
        let filter = Relation::Filter { input: Box::new(join), condition: asking("d") };
        let call = AggregateCall {
            aggregate: Aggregate::Count,
            argument: Some(asking("e")),
            distinct: false,
            filter: Some(asking("f")),
            pg_type: PgType::INT8,
        };
        let groups = Relation::Aggregate { input: Box::new(filter), groups: vec![asking("g")], calls: vec![call] };
        let key = |name: &str| SortKey { expression: asking(name), descending: false, nulls_first: false };
        let sorted = Relation::Sort { input: Box::new(groups), keys: vec![key("h")], offset: 0, limit: Some(1) };
        let window = WindowCall {
            function: WindowFunction::Lag,
            arguments: vec![asking("i")],
            partition_by: vec![asking("j")],
            order_by: vec![key("k")],
            frame: None,
            pg_type: PgType::INT8,
        };
        let windowed = Relation::Window { input: Box::new(sorted), calls: vec![window] };
        let projected = Relation::Project { input: Box::new(windowed), expressions: vec![asking("l")] };
        let limited = Relation::Limit { input: Box::new(projected), offset: 0, limit: None };
        let distinct = Relation::Distinct { input: read("m") };
        let values = Relation::Values { types: Vec::new(), rows: Vec::new() };
        let union = Relation::Union { inputs: vec![limited, distinct, values] };
        let naming = Naming::new("s3".to_owned());
        let moved = naming.fragment(&Fragment::new(StoreName::new("b"), union.clone()));
        let expected: Vec<String> = ('a'..='m').map(|name| format!("s3.{name}")).collect();
        assert_eq!(named(&moved.root), expected);
        assert!(named(&union).iter().all(|name| name.starts_with("main.")), "the plan itself stays as it was");
        let tables = naming.tables(&Tables::from([(id("main", "a"), table("a"))]));
        assert!(tables.iter().all(|(name, table)| *name == id("s3", "a") && table.id == *name));
    }

    #[test]
    fn every_form_of_an_edit_names_the_attached_file() {
        let (store, rows) = (StoreName::new("b"), RecordBatch::new_empty(Arc::new(Schema::empty())));
        let (t, tables) = (table("t"), Tables::from([(id("main", "t"), table("t"))]));
        let naming = Naming::new("s1".to_owned());
        let insert = Insert {
            store: store.clone(),
            table: t.clone(),
            columns: Vec::new(),
            rows: rows.clone(),
            conflict: None,
            paths: Vec::new(),
            returning: Vec::new(),
        };
        let delete =
            DeleteRows { store: store.clone(), table: t.clone(), key: Vec::new(), rows: rows.clone(), returning: Vec::new() };
        let (key, set) = (Vec::new(), Vec::new());
        let update =
            UpdateRows { store: store.clone(), table: t.clone(), key, set, rows, paths: Vec::new(), returning: Vec::new() };
        for edit in [Edit::Insert(insert), Edit::DeleteRows(delete), Edit::UpdateRows(update)] {
            let moved = naming.edit(&edit);
            assert_eq!((moved.table().id.clone(), moved.verb(), moved.store()), (id("s1", "t"), edit.verb(), &store));
            assert_eq!(edit.table().id.namespace, "main");
        }
        let relation = *read("t");
        let whole = Delete { store, table: t.clone(), relation, tables, returning: Vec::new() };
        let Edit::Delete(moved) = naming.edit(&Edit::Delete(whole)) else { panic!("another form") };
        assert_eq!(named(&moved.relation), ["s1.t"]);
        assert_eq!((moved.table.id.clone(), moved.tables.keys().next()), (id("s1", "t"), Some(&id("s1", "t"))));
        // One table is renamed once.
        assert!(Arc::ptr_eq(&naming.table(&t), &naming.table(&t)));
        assert_eq!(naming.scan(&scan("u")).table, id("s1", "u"));
    }
}
