//! Blocks become SQL.

use super::super::super::fragment::{Expression, Relation};
use super::super::sql::Unwritable;
use super::block::{Block, Condition, Source};
use super::pen::{Pen, shared_name, stored};
use super::shared::repeated;

/// What the rows of a SELECT are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader<'g> {
    /// The client of the store, under a condition of our own.
    Client(Option<&'g str>),
    /// Another SELECT.
    Select,
    /// `EXISTS`, which does not look at columns.
    Exists,
}

impl Pen<'_> {
    /// Writes the whole statement.
    pub(super) fn statement(&mut self, relation: &Relation, guard: Option<&str>) -> Result<(), Unwritable> {
        self.shared_relations(relation)?;
        let mut block = self.block(relation)?;
        if block.distinct {
            // What is sent may be written differently from what is compared.
            block = self.wrap_in_order(block);
        }
        self.write(&block, Reader::Client(guard))
    }

    /// Writes what the statement reads more than once.
    fn shared_relations(&mut self, relation: &Relation) -> Result<(), Unwritable> {
        let Some(kept) = self.phrasing.kept() else { return Ok(()) };
        let repeated = repeated(relation);
        for (number, relation) in repeated.iter().enumerate() {
            self.push(if number == 0 { "WITH " } else { ", " });
            self.push(&shared_name(number));
            self.push(kept);
            self.push("(");
            let block = self.block(relation)?;
            self.select(&block)?;
            self.push(")");
            self.share(relation);
        }
        self.push(if repeated.is_empty() { "" } else { " " });
        Ok(())
    }

    /// Writes a block for another one.
    pub(super) fn select(&mut self, block: &Block) -> Result<(), Unwritable> {
        self.write(block, Reader::Select)
    }

    fn write(&mut self, block: &Block, reader: Reader<'_>) -> Result<(), Unwritable> {
        self.push(if block.distinct { "SELECT DISTINCT" } else { "SELECT" });
        self.items(block, reader)?;
        if !block.from.is_empty() {
            self.push(" FROM ");
            self.sources(&block.from)?;
        }
        let guard = if let Reader::Client(guard) = reader { guard } else { None };
        self.conditions(" WHERE ", &block.conditions, guard)?;
        self.groups(block)?;
        if !block.order.is_empty() {
            self.push(" ORDER BY ");
            for (place, key) in block.order.iter().enumerate() {
                self.push(if place == 0 { "" } else { ", " });
                self.phrasing.write_sort_key(key, self)?;
            }
        }
        self.phrasing.write_limit(block.offset, block.limit, self.sql);
        Ok(())
    }

    fn items(&mut self, block: &Block, reader: Reader<'_>) -> Result<(), Unwritable> {
        if reader == Reader::Exists {
            self.push(" 1");
            return Ok(());
        }
        if block.output.is_empty() {
            let nothing = if reader == Reader::Select { " 1 AS c0" } else { self.phrasing.no_columns() };
            self.push(nothing);
            return Ok(());
        }
        for (place, term) in block.output.iter().enumerate() {
            self.push(if place == 0 { " " } else { ", " });
            let item = Expression::column(*term, self.shape_of(*term).pg_type);
            match reader {
                Reader::Client(_) => self.phrasing.write_output(&item, self)?,
                _ if block.distinct => self.phrasing.write_key(&item, self)?,
                _ => self.expression(&item)?,
            }
            self.push(" AS c");
            self.push(itoa::Buffer::new().format(place));
        }
        Ok(())
    }

    fn groups(&mut self, block: &Block) -> Result<(), Unwritable> {
        for (place, key) in block.groups.iter().flatten().enumerate() {
            self.push(if place == 0 { " GROUP BY " } else { ", " });
            let pg_type = self.shape_of(*key).pg_type;
            self.phrasing.write_key(&Expression::column(*key, pg_type), self)?;
        }
        for (place, condition) in block.having.iter().enumerate() {
            self.push(if place == 0 { " HAVING " } else { " AND " });
            self.phrasing.write_filter(condition, self)?;
        }
        Ok(())
    }

    pub(super) fn conditions(&mut self, word: &str, conditions: &[Condition], guard: Option<&str>) -> Result<(), Unwritable> {
        for (place, condition) in conditions.iter().enumerate() {
            self.push(if place == 0 { word } else { " AND " });
            self.condition(condition)?;
        }
        if let Some(guard) = guard {
            self.push(if conditions.is_empty() { word } else { " AND " });
            self.push(guard);
        }
        Ok(())
    }

    fn condition(&mut self, condition: &Condition) -> Result<(), Unwritable> {
        match condition {
            Condition::Term(expression) => self.phrasing.write_filter(expression, self),
            Condition::Stored { table, alias, predicate } => {
                let table = stored(self.tables, table)?;
                self.phrasing.write_condition(table, &self.alias_name(*alias), predicate, self.sql)
            }
            Condition::Checked { table, alias } => {
                let table = stored(self.tables, table)?;
                self.phrasing.write_check(table, &self.alias_name(*alias), self.sql)
            }
            Condition::Exists { block, negated } => {
                self.push(if *negated { "NOT EXISTS (" } else { "EXISTS (" });
                self.write(block, Reader::Exists)?;
                self.push(")");
                Ok(())
            }
            Condition::Among { subjects, block, negated } => self.among(subjects, block, *negated),
        }
    }

    /// `a IN (SELECT …)`; negated, a NULL has no pair and is kept.
    fn among(&mut self, subjects: &[Expression], block: &Block, negated: bool) -> Result<(), Unwritable> {
        if let (Some(subject), true) = (subjects.first(), negated) {
            self.push("(");
            self.expression(subject)?;
            self.push(" IS NULL OR ");
        }
        self.push(if subjects.len() > 1 { "(" } else { "" });
        self.list(subjects)?;
        self.push(if subjects.len() > 1 { ")" } else { "" });
        self.push(if negated { " NOT IN (" } else { " IN (" });
        self.select(block)?;
        self.push(if negated { "))" } else { ")" });
        Ok(())
    }

    fn sources(&mut self, items: &[Source]) -> Result<(), Unwritable> {
        for (place, item) in items.iter().enumerate() {
            if place > 0 {
                let word = self.phrasing.cross_join();
                self.push(word);
            }
            let nested = place > 0 && matches!(item, Source::Outer { .. });
            self.push(if nested { "(" } else { "" });
            self.source(item)?;
            self.push(if nested { ")" } else { "" });
        }
        Ok(())
    }

    fn source(&mut self, item: &Source) -> Result<(), Unwritable> {
        let alias = match item {
            Source::Table { table, alias } => {
                let name = self.sql.dialect().table(table);
                self.push(&name);
                *alias
            }
            Source::Values { types, rows, alias } => {
                return self.phrasing.write_values(types, rows, &self.alias_name(*alias), self.sql);
            }
            Source::Derived { block, alias } => {
                self.push("(");
                self.select(block)?;
                self.push(")");
                *alias
            }
            Source::Shared { number, alias } => {
                self.push(&shared_name(*number));
                *alias
            }
            Source::Union { blocks, alias } => {
                self.push("(");
                for (place, block) in blocks.iter().enumerate() {
                    self.push(if place == 0 { "" } else { " UNION ALL " });
                    self.select(block)?;
                }
                self.push(")");
                *alias
            }
            Source::Outer { left, right, full, condition } => return self.outer_join([left, right], *full, condition),
        };
        let name = self.alias_name(alias);
        self.push(" AS ");
        self.push(&name);
        Ok(())
    }

    fn outer_join(&mut self, [left, right]: [&[Source]; 2], full: bool, condition: &[Condition]) -> Result<(), Unwritable> {
        self.sources(left)?;
        self.push(if full { " FULL JOIN " } else { " LEFT JOIN " });
        let nested = matches!(right, [Source::Outer { .. }]) || right.len() != 1;
        self.push(if nested { "(" } else { "" });
        self.sources(right)?;
        self.push(if nested { ")" } else { "" });
        if condition.is_empty() {
            let truth = self.sql.dialect().truth(true);
            self.push(" ON ");
            self.push(truth);
        }
        self.conditions(" ON ", condition, None)
    }
}
