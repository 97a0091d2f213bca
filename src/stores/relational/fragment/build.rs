//! Relations become blocks.

use super::super::super::connector::Scan;
use super::super::super::fragment::{
    Aggregate, AggregateCall, Expression, JoinKind, Node, Relation, Shape, SortKey, WindowCall, shapes,
};
use super::super::super::predicate::Comparison;
use super::super::sql::Unwritable;
use super::block::{Block, Condition, Source, Term};
use super::check::conjuncts;
use super::pen::Pen;

/// A computed term that is larger than this, in nodes of expressions, is not written twice: its block becomes a derived table.
const REPEATED_MAX: usize = 200;

impl Pen<'_> {
    /// The block of a relation.
    pub(super) fn block(&mut self, relation: &Relation) -> Result<Block, Unwritable> {
        if let Some(number) = self.shared(relation) {
            let alias = self.alias();
            return Ok(self.over(Source::Shared { number, alias }, alias, shapes(relation, self.tables)));
        }
        match relation {
            Relation::Table(scan) => self.stored(scan),
            Relation::Values { types, rows } => {
                let alias = self.alias();
                let from = Source::Values { types: types.clone(), rows: rows.clone(), alias };
                Ok(self.over(from, alias, shapes(relation, self.tables)))
            }
            Relation::Filter { input, condition } => self.filter(input, condition),
            Relation::Project { input, expressions } => self.project(input, expressions),
            Relation::Join { left, right, kind, condition } => self.join([left, right], *kind, condition.as_ref()),
            Relation::Aggregate { input, groups, calls } => self.aggregate(input, groups, calls),
            Relation::Distinct { input } => {
                let mut block = self.block(input)?;
                if block.is_limited() {
                    block = self.wrap(block);
                }
                block.order.clear();
                block.distinct = true;
                Ok(block)
            }
            Relation::Sort { input, keys, offset, limit } => self.sort(input, keys, *offset, *limit),
            Relation::Limit { input, offset, limit } => {
                let mut block = self.block(input)?;
                if block.is_limited() {
                    block = self.wrap_in_order(block);
                }
                (block.offset, block.limit) = (*offset, *limit);
                Ok(block)
            }
            Relation::Union { inputs } => self.union(relation, inputs),
            Relation::Window { input, calls } => self.window(input, calls),
        }
    }

    fn stored(&mut self, scan: &Scan) -> Result<Block, Unwritable> {
        let alias = self.alias();
        let known = shapes(&Relation::Table(scan.clone()), self.tables);
        let table = || scan.table.clone();
        let conditions =
            scan.filter.iter().map(|predicate| Condition::Stored { table: table(), alias, predicate: predicate.clone() });
        let check = self.phrasing.checks(&scan.table).then(|| Condition::Checked { table: table(), alias });
        let output = scan.columns.iter().zip(known);
        Ok(Block {
            from: vec![Source::Table { table: table(), alias }],
            conditions: conditions.chain(check).collect(),
            output: output
                .map(|(column, shape)| self.add(Term::Stored { alias, table: table(), column: *column }, shape))
                .collect(),
            limit: scan.limit,
            ..Block::default()
        })
    }

    fn filter(&mut self, input: &Relation, condition: &Expression) -> Result<Block, Unwritable> {
        let mut block = self.block(input)?;
        let grouped = block.groups.as_ref().is_some_and(|groups| !groups.is_empty());
        let fits = block.is_plain() || grouped && !block.has_windows && !block.distinct && !block.is_limited();
        let unread = |term: &Term| match term {
            Term::Group(key) => {
                let pg_type = self.shape_of(*key).pg_type;
                !self.phrasing.having_reads(&Expression::column(*key, pg_type), self)
            }
            _ => false,
        };
        let mut read = columns(condition).into_iter().filter_map(|column| block.output.get(column));
        let is_unread = grouped && read.any(|term| self.reaches(*term, &unread));
        if !fits || is_unread || self.is_heavy(&block, [condition]) {
            block = self.wrap(block);
        }
        let condition = over(condition, &block.output);
        for part in conjuncts(&condition) {
            if block.groups.is_some() {
                block.having.push(part.clone());
            } else {
                block.conditions.push(Condition::Term(part.clone()));
            }
        }
        Ok(block)
    }

    fn project(&mut self, input: &Relation, expressions: &[Expression]) -> Result<Block, Unwritable> {
        let mut block = self.block(input)?;
        let plain = expressions.iter().all(|expression| matches!(expression.node, Node::Column(_)));
        // What is computed of rows that a limit leaves out could fail.
        if block.distinct || block.is_limited() && !plain || self.is_heavy(&block, expressions) {
            block = self.wrap_in_order(block);
        }
        let mut output = self.compute(expressions, &block.output);
        // Without groups it is the aggregates alone that make one row of many.
        let is_global = block.groups.as_ref().is_some_and(Vec::is_empty);
        if is_global && !output.iter().any(|term| self.reaches(*term, &|term| matches!(term, Term::Aggregate(_)))) {
            block = self.wrap_in_order(block);
            output = self.compute(expressions, &block.output);
        }
        block.output = output;
        Ok(block)
    }

    fn compute(&mut self, expressions: &[Expression], output: &[usize]) -> Vec<usize> {
        expressions.iter().map(|expression| self.computed(over(expression, output))).collect()
    }

    fn join(&mut self, sides: [&Relation; 2], kind: JoinKind, condition: Option<&Expression>) -> Result<Block, Unwritable> {
        let [mut left, mut right] = [self.block(sides[0])?, self.block(sides[1])?];
        for block in [&mut left, &mut right] {
            block.forget_order();
            if !block.is_plain() || block.output.iter().any(|term| self.weight_of(*term) > REPEATED_MAX) {
                *block = self.wrap(std::mem::take(block));
            }
        }
        match kind {
            JoinKind::Inner => {
                let both = joined(&left, &right);
                left.conditions.append(&mut right.conditions);
                left.conditions.extend(parts(condition, &both));
                left.from.append(&mut right.from);
                left.output = both;
                Ok(left)
            }
            JoinKind::Semi | JoinKind::Anti => {
                let condition = condition.map(|condition| over(condition, &joined(&left, &right)));
                let negated = kind == JoinKind::Anti;
                let exists = self.exists(&left, right, condition.as_ref(), negated);
                left.conditions.push(exists);
                Ok(left)
            }
            JoinKind::Left => Ok(self.outer(left, right, condition, false)),
            JoinKind::Right => {
                let count = left.output.len();
                let swapped = condition.map(|condition| {
                    let mut condition = condition.clone();
                    let others = right.output.len();
                    condition.renumber(&|ordinal| if ordinal < count { ordinal + others } else { ordinal - count });
                    condition
                });
                let others = right.output.len();
                let mut block = self.outer(right, left, swapped.as_ref(), false);
                block.output.rotate_left(others);
                Ok(block)
            }
            JoinKind::Full => Ok(self.outer(left, right, condition, true)),
        }
    }

    /// LEFT or FULL JOIN of plain blocks.
    fn outer(&mut self, mut left: Block, mut right: Block, condition: Option<&Expression>, full: bool) -> Block {
        // What a side without a pair lacks is NULL: columns only, because an expression over NULLs need not be.
        if !self.has_columns_only(&right)
            || right
                .conditions
                .iter()
                .any(|part| !matches!(part, Condition::Term(_) | Condition::Stored { .. } | Condition::Checked { .. }))
        {
            right = self.wrap(right);
        }
        if full {
            for block in [&mut left, &mut right] {
                if !block.conditions.is_empty() || !self.has_columns_only(block) {
                    *block = self.wrap(std::mem::take(block));
                }
            }
        }
        let output = joined(&left, &right);
        let mut on = right.conditions;
        on.extend(parts(condition, &output));
        for term in &right.output {
            self.make_nullable(*term);
        }
        if full {
            left.output.iter().for_each(|term| self.make_nullable(*term));
        }
        let from = Source::Outer { left: left.from, right: right.from, full, condition: on };
        Block { from: vec![from], conditions: left.conditions, output, ..Block::default() }
    }

    /// A semi join or anti join as a condition on the left side.
    fn exists(&mut self, left: &Block, mut right: Block, condition: Option<&Expression>, negated: bool) -> Condition {
        let output = std::mem::take(&mut right.output);
        let within = |expression: &Expression, terms: &[usize]| columns(expression).iter().all(|term| terms.contains(term));
        let (mut subjects, mut keys, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        let mut separable = true;
        for part in condition.into_iter().flat_map(conjuncts) {
            match &part.node {
                Node::Compare { op: Comparison::Equal, left: a, right: b } if within(a, &left.output) && within(b, &output) => {
                    subjects.push(a.as_ref().clone());
                    keys.push(b.as_ref().clone());
                }
                Node::Compare { op: Comparison::Equal, left: a, right: b } if within(b, &left.output) && within(a, &output) => {
                    subjects.push(b.as_ref().clone());
                    keys.push(a.as_ref().clone());
                }
                _ => {
                    separable &= within(part, &output);
                    rest.push(part.clone());
                }
            }
        }
        let known = |side: &[Expression]| -> Vec<Shape> { side.iter().map(|key| self.shape(key)).collect() };
        let prefers_in = self.phrasing.prefers_in(&known(&subjects), &known(&keys));
        // NOT IN over several columns has no form for rows that are NULL in some of them.
        let expressible = separable && (subjects.len() == 1 || subjects.len() > 1 && !negated);
        if !expressible || !prefers_in {
            right.conditions.extend(condition.into_iter().flat_map(conjuncts).cloned().map(Condition::Term));
            return Condition::Exists { block: Box::new(right), negated };
        }
        right.conditions.extend(rest.into_iter().map(Condition::Term));
        if negated {
            let never_null = |key: &Expression| Node::IsNull { operand: Box::new(key.clone()), negated: true };
            right.conditions.extend(keys.iter().map(|key| Condition::Term(Expression::condition(never_null(key)))));
        }
        right.output = keys.into_iter().map(|key| self.computed(key)).collect();
        Condition::Among { subjects, block: Box::new(right), negated }
    }

    fn aggregate(&mut self, input: &Relation, groups: &[Expression], calls: &[AggregateCall]) -> Result<Block, Unwritable> {
        let mut block = self.block(input)?;
        block.forget_order();
        let expressions = calls.iter().flat_map(|call| call.argument.iter().chain(&call.filter));
        if !block.is_plain() || self.is_heavy(&block, groups.iter().chain(expressions)) {
            block = self.wrap(block);
        }
        let mut keys = self.compute(groups, &block.output);
        // A key that is written twice may carry two parameters, which no store knows to be equal.
        if keys.iter().any(|key| !self.is_column(*key)) {
            let count = block.output.len();
            block.output.append(&mut keys);
            block = self.wrap(block);
            keys = block.output.split_off(count);
        }
        let input = std::mem::take(&mut block.output);
        for key in &keys {
            let shape = self.shape_of(*key);
            block.output.push(self.add(Term::Group(*key), shape));
        }
        for call in calls {
            let mut call = call.clone();
            for expression in call.argument.iter_mut().chain(&mut call.filter) {
                *expression = over(expression, &input);
            }
            let collation = call.argument.as_ref().map(|argument| self.shape(argument).collation).unwrap_or_default();
            let nullable = !matches!(call.aggregate, Aggregate::CountRows | Aggregate::Count);
            let shape = Shape { pg_type: call.pg_type, nullable, collation, origin: None };
            block.output.push(self.add(Term::Aggregate(call), shape));
        }
        block.groups = Some(keys);
        Ok(block)
    }

    fn sort(&mut self, input: &Relation, keys: &[SortKey], offset: u64, limit: Option<u64>) -> Result<Block, Unwritable> {
        let mut block = self.block(input)?;
        if block.distinct || block.is_limited() || self.is_heavy(&block, keys.iter().map(|key| &key.expression)) {
            block = self.wrap(block);
        }
        let ordered = keys.iter().map(|key| SortKey { expression: over(&key.expression, &block.output), ..key.clone() });
        // A constant orders nothing, and a server may read a number as the place of a column.
        block.order = ordered.filter(|key| !self.is_constant(&key.expression)).collect();
        (block.offset, block.limit) = (offset, limit);
        Ok(block)
    }

    fn union(&mut self, relation: &Relation, inputs: &[Relation]) -> Result<Block, Unwritable> {
        let mut blocks = Vec::with_capacity(inputs.len());
        for input in inputs {
            let mut block = self.block(input)?;
            if block.is_limited() {
                block = self.wrap(block);
            }
            block.order.clear();
            blocks.push(block);
        }
        let alias = self.alias();
        Ok(self.over(Source::Union { blocks, alias }, alias, shapes(relation, self.tables)))
    }

    fn window(&mut self, input: &Relation, calls: &[WindowCall]) -> Result<Block, Unwritable> {
        let mut block = self.block(input)?;
        block.forget_order();
        let is_window = |term: &Term| matches!(term, Term::Window(_));
        let expressions: Vec<&Expression> = calls.iter().flat_map(of_window).collect();
        let used =
            expressions.iter().flat_map(|expression| columns(expression)).filter_map(|column| block.output.get(column).copied());
        let used: Vec<usize> = used.collect();
        let nested = used.iter().any(|term| self.reaches(*term, &is_window));
        if block.distinct || block.is_limited() || nested || self.is_heavy(&block, expressions) {
            block = self.wrap(block);
        }
        let mut added = Vec::with_capacity(calls.len());
        for call in calls {
            let mut call = call.clone();
            let keys = call.order_by.iter_mut().map(|key| &mut key.expression);
            for expression in call.arguments.iter_mut().chain(&mut call.partition_by).chain(keys) {
                *expression = over(expression, &block.output);
            }
            let collation = call.arguments.first().map(|argument| self.shape(argument).collation).unwrap_or_default();
            let shape = Shape { pg_type: call.pg_type, nullable: true, collation, origin: None };
            added.push(self.add(Term::Window(call), shape));
        }
        block.output.append(&mut added);
        block.has_windows = true;
        Ok(block)
    }

    /// A block whose rows are those of `from`, whose columns have these shapes.
    fn over(&mut self, from: Source, alias: usize, known: Vec<Shape>) -> Block {
        let output = known.into_iter().enumerate().map(|(place, shape)| self.add(Term::Made { alias, place }, shape)).collect();
        Block { from: vec![from], output, ..Block::default() }
    }

    /// The block as a derived table; its order is kept only as far as it decides which rows there are.
    pub(super) fn wrap(&mut self, mut block: Block) -> Block {
        block.forget_order();
        let alias = self.alias();
        let known = block.output.iter().map(|term| self.shape_of(*term)).collect();
        self.over(Source::Derived { block: Box::new(block), alias }, alias, known)
    }

    /// The block as a derived table, in the same order.
    pub(super) fn wrap_in_order(&mut self, mut block: Block) -> Block {
        let count = block.output.len();
        let order = block.order.clone();
        for key in &order {
            let term = self.computed(key.expression.clone());
            block.output.push(term);
        }
        let mut outer = self.wrap(block);
        let keys = outer.output.split_off(count);
        outer.order = (order.into_iter().zip(keys))
            .map(|(key, term)| SortKey { expression: Expression::column(term, key.expression.pg_type), ..key })
            .collect();
        outer
    }

    /// Whether the expressions, over the output of the block, would repeat something large.
    fn is_heavy<'e>(&self, block: &Block, expressions: impl IntoIterator<Item = &'e Expression>) -> bool {
        let used = expressions.into_iter().flat_map(columns).filter_map(|column| block.output.get(column));
        used.map(|term| self.weight_of(*term)).sum::<usize>() > REPEATED_MAX
            && block.output.iter().any(|term| self.weight_of(*term) > 1)
    }

    fn has_columns_only(&self, block: &Block) -> bool {
        block.output.iter().all(|term| self.is_column(*term))
    }

    fn is_column(&self, term: usize) -> bool {
        matches!(self.term(term).as_deref(), Some(Term::Stored { .. } | Term::Made { .. }))
    }

    fn is_constant(&self, expression: &Expression) -> bool {
        match expression.node {
            Node::Literal(_) => true,
            Node::Column(term) => matches!(self.term(term).as_deref(), Some(Term::Computed(inner)) if self.is_constant(inner)),
            _ => false,
        }
    }

    /// Whether a term is, or is computed from, one that `wanted` knows.
    fn reaches(&self, term: usize, wanted: &dyn Fn(&Term) -> bool) -> bool {
        let Some(found) = self.term(term) else { return false };
        if wanted(&found) {
            return true;
        }
        let below: Vec<usize> = match found.as_ref() {
            Term::Stored { .. } | Term::Made { .. } => Vec::new(),
            Term::Computed(expression) => columns(expression),
            Term::Group(key) => vec![*key],
            Term::Aggregate(call) => call.argument.iter().chain(&call.filter).flat_map(columns).collect(),
            Term::Window(call) => of_window(call).flat_map(columns).collect(),
        };
        below.into_iter().any(|term| self.reaches(term, wanted))
    }
}

/// The expression over the terms that a block gives.
fn over(expression: &Expression, output: &[usize]) -> Expression {
    let mut expression = expression.clone();
    expression.renumber(&|ordinal| output.get(ordinal).copied().unwrap_or(usize::MAX));
    expression
}

fn joined(left: &Block, right: &Block) -> Vec<usize> {
    left.output.iter().chain(&right.output).copied().collect()
}

fn parts(condition: Option<&Expression>, output: &[usize]) -> Vec<Condition> {
    let condition = condition.map(|condition| over(condition, output));
    condition.iter().flat_map(conjuncts).cloned().map(Condition::Term).collect()
}

/// The columns of an expression; one that occurs twice is there twice.
fn columns(expression: &Expression) -> Vec<usize> {
    let mut found = Vec::new();
    expression.visit(&mut |inner| {
        if let Node::Column(ordinal) = inner.node {
            found.push(ordinal);
        }
    });
    found
}

fn of_window(call: &WindowCall) -> impl Iterator<Item = &Expression> {
    call.arguments.iter().chain(&call.partition_by).chain(call.order_by.iter().map(|key| &key.expression))
}
