//! The parts of plans that every store is offered: each node over each kind of column, and what it can be told apart by.

use std::sync::Arc;

use tributary::pgtype::PgType;
use tributary::stores::fragment::{
    Aggregate, AggregateCall, Bound, DateField, Expression, Frame, FrameUnit, Function, JoinKind, Node, Relation, SortKey,
    WindowCall, WindowFunction,
};
use tributary::stores::predicate::Comparison;
use tributary::stores::value::Value;
use tributary::stores::{Connector, Scan, Table};

use super::super::oracle::OPERATORS;
use super::super::sample::{PATTERNS, TEXTS};
use super::super::world::Kind;
use super::Side;

/// A relation with a name that is the same for all stores.
pub struct Plan {
    pub name: String,
    pub relation: Relation,
    /// Whether its rows have one order only.
    pub ordered: bool,
}

/// All plans over the tables of one side.
pub fn all(side: &Side, kinds: &[Kind]) -> Vec<Plan> {
    let mut plans = Maker { side, plans: Vec::new() };
    for kind in kinds {
        plans.of_any(*kind);
    }
    plans.of_numbers(kinds);
    plans.of_texts();
    if kinds.contains(&Kind::Date) {
        plans.of_moments(kinds);
    }
    plans.of_shapes();
    plans.plans
}

/// All rows of a table, through a projection.
pub fn unfiltered(connector: &Arc<dyn Connector>, table: &Arc<Table>) -> Relation {
    let columns: Vec<usize> = (0..table.columns.len()).collect();
    let expressions = columns.iter().map(|ordinal| Expression::column(*ordinal, table.columns[*ordinal].pg_type())).collect();
    let scan = Scan { store: connector.name().clone(), table: table.id.clone(), columns, filter: vec![], limit: None };
    Relation::Project { input: Box::new(Relation::Table(scan)), expressions }
}

/// A join that reads a column of both tables.
pub fn of_column(side: &Side, kind: Kind) -> Relation {
    let maker = Maker { side, plans: Vec::new() };
    join(maker.table(0, &[None, Some(kind)]), maker.table(1, &[None, Some(kind)]), JoinKind::Inner, {
        let pg_type = maker.pg_type(kind);
        equal(Expression::column(1, pg_type), Expression::column(3, pg_type))
    })
}

const KEY: PgType = PgType::INT8;

fn key(ordinal: usize) -> Expression {
    Expression::column(ordinal, KEY)
}

fn literal(pg_type: PgType, value: Value) -> Expression {
    Expression::new(PgType::with_typmod(pg_type.oid, -1), Node::Literal(Some(value)))
}

fn number(value: i64) -> Expression {
    literal(PgType::INT8, Value::Int(value))
}

fn count_of(value: i64) -> Expression {
    literal(PgType::INT4, Value::Int(value))
}

fn text(content: &str) -> Expression {
    literal(PgType::TEXT, Value::Text(content.to_owned()))
}

fn compare(op: Comparison, left: Expression, right: Expression) -> Expression {
    Expression::condition(Node::Compare { op, left: Box::new(left), right: Box::new(right) })
}

fn equal(left: Expression, right: Expression) -> Expression {
    compare(Comparison::Equal, left, right)
}

fn is_null(operand: Expression, negated: bool) -> Expression {
    Expression::condition(Node::IsNull { operand: Box::new(operand), negated })
}

fn call(function: Function, of: PgType, arguments: Vec<Expression>) -> Expression {
    Expression::new(of, Node::Call { function, arguments })
}

fn cast(to: PgType, operand: Expression) -> Expression {
    Expression::new(to, Node::Cast(Box::new(operand)))
}

fn join(left: Relation, right: Relation, kind: JoinKind, condition: Expression) -> Relation {
    Relation::Join { left: Box::new(left), right: Box::new(right), kind, condition: Some(condition) }
}

fn project(input: Relation, expressions: Vec<Expression>) -> Relation {
    Relation::Project { input: Box::new(input), expressions }
}

fn filter(input: Relation, condition: Expression) -> Relation {
    Relation::Filter { input: Box::new(input), condition }
}

fn group(input: Relation, groups: Vec<Expression>, calls: Vec<AggregateCall>) -> Relation {
    Relation::Aggregate { input: Box::new(input), groups, calls }
}

fn aggregate(aggregate: Aggregate, argument: Option<Expression>, pg_type: PgType) -> AggregateCall {
    AggregateCall { aggregate, argument, distinct: false, filter: None, pg_type }
}

fn count() -> AggregateCall {
    aggregate(Aggregate::CountRows, None, PgType::INT8)
}

fn sorted(expression: Expression, descending: bool, nulls_first: bool) -> SortKey {
    SortKey { expression, descending, nulls_first }
}

fn top(input: Relation, keys: Vec<SortKey>, offset: u64, limit: Option<u64>) -> Relation {
    Relation::Sort { input: Box::new(input), keys, offset, limit }
}

struct Maker<'s> {
    side: &'s Side,
    plans: Vec<Plan>,
}

impl Maker<'_> {
    fn add(&mut self, name: impl Into<String>, relation: Relation) {
        self.plans.push(Plan { name: name.into(), relation, ordered: false });
    }

    fn add_ordered(&mut self, name: impl Into<String>, relation: Relation) {
        self.plans.push(Plan { name: name.into(), relation, ordered: true });
    }

    fn pg_type(&self, kind: Kind) -> PgType {
        self.side.tables[0].columns[self.side.ordinal(Some(kind))].pg_type()
    }

    /// Columns of one of the tables; no kind is the key.
    fn table(&self, place: usize, columns: &[Option<Kind>]) -> Relation {
        Relation::Table(Scan {
            store: self.side.store().name().clone(),
            table: self.side.tables[place].id.clone(),
            columns: columns.iter().map(|kind| self.side.ordinal(*kind)).collect(),
            filter: vec![],
            limit: None,
        })
    }

    /// The key and a column of the first table.
    fn with_key(&self, kind: Kind) -> Relation {
        self.table(0, &[None, Some(kind)])
    }

    /// What can be asked of values of every kind.
    fn of_any(&mut self, kind: Kind) {
        let pg_type = self.pg_type(kind);
        let plain = PgType::with_typmod(pg_type.oid, -1);
        let at = |ordinal: usize| Expression::column(ordinal, pg_type);
        let both = || [self.table(0, &[None, Some(kind)]), self.table(1, &[None, Some(kind)])];
        let mut made = Vec::new();
        for op in OPERATORS {
            let [left, right] = both();
            made.push((format!("join {op:?}"), join(left, right, JoinKind::Inner, compare(op, at(1), at(3)))));
        }
        for join_kind in [JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::Semi, JoinKind::Anti] {
            let [left, right] = both();
            made.push((format!("join {join_kind:?}"), join(left, right, join_kind, equal(at(1), at(3)))));
        }
        let [left, right] = both();
        let condition = Expression::condition(Node::Distinct { left: Box::new(at(1)), right: Box::new(at(3)), negated: true });
        made.push(("join IsNotDistinct".to_owned(), join(left, right, JoinKind::Inner, condition)));
        let grouped = |groups| group(self.with_key(kind), groups, vec![count(), aggregate(Aggregate::Minimum, Some(key(0)), KEY)]);
        made.push(("group".to_owned(), grouped(vec![at(1)])));
        made.push(("distinct".to_owned(), Relation::Distinct { input: Box::new(project(self.with_key(kind), vec![at(1)])) }));
        let distinct = AggregateCall { distinct: true, ..aggregate(Aggregate::Count, Some(at(1)), PgType::INT8) };
        made.push((
            "count".to_owned(),
            group(self.with_key(kind), vec![], vec![aggregate(Aggregate::Count, Some(at(1)), KEY), count()]),
        ));
        made.push(("count distinct".to_owned(), group(self.with_key(kind), vec![], vec![distinct])));
        for extreme in [Aggregate::Minimum, Aggregate::Maximum] {
            made.push((format!("{extreme:?}"), group(self.with_key(kind), vec![], vec![aggregate(extreme, Some(at(1)), plain)])));
        }
        let inputs = vec![self.table(0, &[Some(kind)]), self.table(1, &[Some(kind)])];
        made.push(("union".to_owned(), group(Relation::Union { inputs }, vec![at(0)], vec![count()])));
        made.push(("coalesce".to_owned(), {
            let first = Expression::new(plain, Node::Literal(None));
            project(self.with_key(kind), vec![key(0), call(Function::Coalesce, pg_type, vec![first, at(1)])])
        }));
        made.push(("case".to_owned(), {
            let branches = vec![(is_null(at(1), false), at(1)), (compare(Comparison::Less, key(0), number(4)), at(1))];
            project(self.with_key(kind), vec![key(0), Expression::new(pg_type, Node::Case { branches, otherwise: None })])
        }));
        let window = WindowCall {
            function: WindowFunction::RowNumber,
            arguments: vec![],
            partition_by: vec![at(1)],
            order_by: vec![sorted(key(0), true, false)],
            frame: None,
            pg_type: PgType::INT8,
        };
        made.push(("window".to_owned(), Relation::Window { input: Box::new(self.with_key(kind)), calls: vec![window] }));
        for (name, relation) in made {
            self.add(format!("{name} of {kind:?}"), relation);
        }
        for (descending, nulls_first) in [(false, false), (false, true), (true, false), (true, true)] {
            let keys = vec![sorted(at(1), descending, nulls_first), sorted(key(0), false, false)];
            let name = format!("sort of {kind:?} descending {descending} nulls first {nulls_first}");
            self.add_ordered(name.clone(), project(top(self.with_key(kind), keys.clone(), 0, None), vec![key(0)]));
            self.add_ordered(format!("top {name}"), top(self.with_key(kind), keys, 1, Some(4)));
        }
    }

    fn of_numbers(&mut self, kinds: &[Kind]) {
        let small = |maker: &Self, kind| filter(maker.with_key(kind), compare(Comparison::Less, key(0), number(6)));
        for kind in [Kind::Int, Kind::Float, Kind::Decimal].into_iter().filter(|kind| kinds.contains(kind)) {
            let pg_type = PgType::with_typmod(self.pg_type(kind).oid, -1);
            let at = || Expression::column(1, pg_type);
            let one = || match kind {
                Kind::Float => literal(pg_type, Value::Float(2.0)),
                Kind::Decimal => literal(pg_type, Value::Decimal { unscaled: 20, scale: 1 }),
                _ => literal(pg_type, Value::Int(2)),
            };
            for function in [Function::Add, Function::Subtract, Function::Multiply, Function::Divide, Function::Modulo] {
                let computed = || call(function, pg_type, vec![at(), one()]);
                self.add(format!("{function:?} of {kind:?}"), project(small(self, kind), vec![key(0), computed()]));
                // The whole pool overflows somewhere.
                self.add(format!("{function:?} of every {kind:?}"), project(self.with_key(kind), vec![key(0), computed()]));
            }
            let rounds = [Function::Round, Function::Truncate, Function::Ceiling, Function::Floor];
            let rounds = rounds.into_iter().filter(|_| kind != Kind::Int);
            for function in [Function::Negate, Function::Absolute].into_iter().chain(rounds) {
                let computed = call(function, pg_type, vec![at()]);
                self.add(format!("{function:?} of {kind:?}"), project(small(self, kind), vec![key(0), computed]));
            }
            let zero = call(Function::Subtract, pg_type, vec![one(), one()]);
            self.add(
                format!("division by zero of {kind:?}"),
                project(small(self, kind), vec![call(Function::Divide, pg_type, vec![at(), zero])]),
            );
            let result = if kind == Kind::Float { PgType::FLOAT8 } else { PgType::NUMERIC };
            for extreme in [Aggregate::Sum, Aggregate::Average] {
                let call = aggregate(extreme, Some(at()), result);
                self.add(format!("{extreme:?} of {kind:?}"), group(small(self, kind), vec![], vec![call.clone()]));
                if kind != Kind::Float {
                    let none = filter(self.with_key(kind), compare(Comparison::Less, key(0), number(0)));
                    self.add(format!("{extreme:?} of every {kind:?}"), group(self.with_key(kind), vec![], vec![call.clone()]));
                    self.add(format!("{extreme:?} of no {kind:?}"), group(none, vec![], vec![call.clone()]));
                    let distinct = AggregateCall { distinct: true, ..call };
                    self.add(format!("{extreme:?} of distinct {kind:?}"), group(small(self, kind), vec![], vec![distinct]));
                }
            }
            for to in [PgType::TEXT, PgType::FLOAT8, PgType::INT8, PgType::NUMERIC, PgType::numeric(12, 1)] {
                self.add(format!("{kind:?} as {to}"), project(small(self, kind), vec![key(0), cast(to, at())]));
            }
        }
    }

    fn of_texts(&mut self) {
        let pg_type = self.pg_type(Kind::Text);
        let at = || Expression::column(1, pg_type);
        let text_type = PgType::TEXT;
        let mut made = vec![
            ("concat", call(Function::Concat, text_type, vec![at(), text("'\\")])),
            ("upper", call(Function::Upper, text_type, vec![at()])),
            ("lower", call(Function::Lower, text_type, vec![at()])),
            ("length", call(Function::Length, PgType::INT4, vec![at()])),
            ("octet length", call(Function::OctetLength, PgType::INT4, vec![at()])),
            ("trim", call(Function::Trim, text_type, vec![at()])),
            ("trim of", call(Function::Trim, text_type, vec![at(), text("a ")])),
            ("trim start", call(Function::TrimStart, text_type, vec![at()])),
            ("trim end", call(Function::TrimEnd, text_type, vec![at()])),
            ("replace", call(Function::Replace, text_type, vec![at(), text("a"), text("''")])),
            ("replace nothing", call(Function::Replace, text_type, vec![at(), text(""), text("x")])),
            ("position", call(Function::Position, PgType::INT4, vec![at(), text("'")])),
            ("position of nothing", call(Function::Position, PgType::INT4, vec![at(), text("")])),
            ("starts with", call(Function::StartsWith, PgType::BOOL, vec![at(), text("a")])),
            ("reverse", call(Function::Reverse, text_type, vec![at()])),
            ("null if", call(Function::NullIf, text_type, vec![at(), text("a")])),
            ("greatest", call(Function::Greatest, text_type, vec![at(), text("a")])),
            ("least", call(Function::Least, text_type, vec![at(), text("B")])),
        ];
        for (from, length) in [(1, 2), (0, 2), (-1, 3), (2, 0), (3, 100)] {
            made.push(("substring", call(Function::Substring, text_type, vec![at(), count_of(from), count_of(length)])));
        }
        made.push(("negative substring", call(Function::Substring, text_type, vec![at(), count_of(2), count_of(-1)])));
        made.push(("open substring", call(Function::Substring, text_type, vec![at(), count_of(2)])));
        for length in [0, 2, -1, -100] {
            made.push(("left", call(Function::Left, text_type, vec![at(), count_of(length)])));
            made.push(("right", call(Function::Right, text_type, vec![at(), count_of(length)])));
            made.push(("pad start", call(Function::PadStart, text_type, vec![at(), count_of(length), text("xy")])));
            made.push(("pad end", call(Function::PadEnd, text_type, vec![at(), count_of(length)])));
        }
        for (place, (name, expression)) in made.into_iter().enumerate() {
            self.add(format!("{name} {place}"), project(self.with_key(Kind::Text), vec![key(0), expression]));
        }
        for (place, pattern) in PATTERNS.into_iter().enumerate() {
            for negated in [false, true] {
                let (subject, pattern) = (Box::new(at()), Box::new(text(pattern)));
                let like = Expression::condition(Node::Like { subject, pattern, negated, case_insensitive: false });
                self.add(format!("like {place} negated {negated}"), filter(self.with_key(Kind::Text), like));
            }
        }
        for (place, content) in TEXTS.into_iter().enumerate() {
            self.add(format!("text {place}"), filter(self.with_key(Kind::Text), equal(at(), text(content))));
            self.add(
                format!("text below {place}"),
                filter(self.with_key(Kind::Text), compare(Comparison::Less, at(), text(content))),
            );
            self.add(format!("text shown {place}"), project(self.with_key(Kind::Text), vec![key(0), text(content)]));
        }
        for negated in [false, true] {
            let list = TEXTS.iter().map(|content| text(content)).take(12).collect();
            let member = Expression::condition(Node::In { subject: Box::new(at()), list, negated });
            self.add(format!("text in negated {negated}"), filter(self.with_key(Kind::Text), member));
        }
        let folded = Expression::condition(Node::Like {
            subject: Box::new(at()),
            pattern: Box::new(text("A%")),
            negated: false,
            case_insensitive: true,
        });
        self.add("ilike", filter(self.with_key(Kind::Text), folded));
        let key_text = cast(PgType::TEXT, key(0));
        self.add_ordered("numbers as texts in order", {
            let keys = vec![sorted(key_text, false, false)];
            project(top(self.with_key(Kind::Text), keys, 0, None), vec![key(0)])
        });
    }

    fn of_moments(&mut self, kinds: &[Kind]) {
        use DateField::{Day, DayOfWeek, DayOfYear, Epoch, Hour, IsoDayOfWeek, Minute, Month, Quarter, Second, Week, Year};
        for kind in [Kind::Date, Kind::Time, Kind::Timestamp, Kind::TimestampTz].into_iter().filter(|kind| kinds.contains(kind)) {
            let pg_type = PgType::with_typmod(self.pg_type(kind).oid, -1);
            let at = || Expression::column(1, pg_type);
            for field in [Year, Quarter, Month, Week, Day, DayOfWeek, IsoDayOfWeek, DayOfYear, Hour, Minute, Second, Epoch] {
                let of = |function, of| project(self.with_key(kind), vec![key(0), call(function, of, vec![at()])]);
                let made = [
                    (format!("extract {field:?} of {kind:?}"), of(Function::Extract(field), PgType::NUMERIC)),
                    (format!("date part {field:?} of {kind:?}"), of(Function::DatePart(field), PgType::FLOAT8)),
                    (format!("date trunc {field:?} of {kind:?}"), of(Function::DateTrunc(field), pg_type)),
                ];
                for (name, relation) in made {
                    self.add(name, relation);
                }
            }
            for to in [PgType::DATE, PgType::TIMESTAMP, PgType::TIMESTAMPTZ, PgType::TIME, PgType::TEXT] {
                self.add(format!("{kind:?} as {to}"), project(self.with_key(kind), vec![key(0), cast(to, at())]));
            }
        }
    }

    /// What nodes make of one another.
    fn of_shapes(&mut self) {
        let (int, text_type) = (self.pg_type(Kind::Int), self.pg_type(Kind::Text));
        let columns = [None, Some(Kind::Int), Some(Kind::Text)];
        let wide = |maker: &Self, place| maker.table(place, &columns);
        let (n, t) = (Expression::column(1, int), Expression::column(2, text_type));
        let (below, above) =
            (|k: Expression| compare(Comparison::Less, k, number(12)), |k| compare(Comparison::Greater, k, number(3)));
        let having = group(wide(self, 0), vec![t.clone()], vec![count(), aggregate(Aggregate::Maximum, Some(key(0)), KEY)]);
        self.add("having", filter(having, compare(Comparison::Greater, key(2), number(3))));
        let filtered = AggregateCall { filter: Some(is_null(t.clone(), true)), ..count() };
        self.add("filtered aggregate", group(wide(self, 0), vec![is_null(n.clone(), false)], vec![filtered, count()]));
        self.add("constant of one row", project(group(wide(self, 0), vec![], vec![count()]), vec![number(7)]));
        self.add(
            "condition on one row",
            filter(group(wide(self, 0), vec![], vec![count()]), compare(Comparison::Less, key(0), number(0))),
        );
        for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::Semi, JoinKind::Anti] {
            let (left, right) = (filter(wide(self, 0), below(key(0))), filter(wide(self, 1), above(key(0))));
            self.add(format!("filtered {kind:?}"), join(left.clone(), right.clone(), kind, equal(key(0), key(3))));
            let both = vec![equal(key(0), key(3)), compare(Comparison::LessOrEqual, key(0), number(8))];
            self.add(format!("narrowed {kind:?}"), join(left.clone(), right.clone(), kind, Expression::condition(Node::And(both))));
            let constant = project(right, vec![key(0), number(1)]);
            self.add(format!("constants {kind:?}"), join(left, constant, kind, equal(key(0), key(3))));
        }
        let third = join(wide(self, 0), wide(self, 1), JoinKind::Left, equal(key(0), key(3)));
        self.add("missing rows again", join(third.clone(), wide(self, 1), JoinKind::Left, equal(key(3), key(6))));
        self.add("missing rows only", filter(third, is_null(key(3), false)));
        let first = top(wide(self, 0), vec![sorted(key(0), true, false)], 0, Some(5));
        self.add("filter of top", filter(first.clone(), is_null(t.clone(), true)));
        self.add(
            "group of top",
            group(first.clone(), vec![], vec![count(), aggregate(Aggregate::Sum, Some(key(0)), PgType::NUMERIC)]),
        );
        self.add_ordered("projection of top", project(first.clone(), vec![call(Function::Add, KEY, vec![key(0), number(1)])]));
        self.add("join of top", join(first.clone(), wide(self, 1), JoinKind::Left, equal(key(0), key(3))));
        self.add_ordered("limit of top", Relation::Limit { input: Box::new(first.clone()), offset: 1, limit: Some(2) });
        self.add_ordered("offset alone", top(wide(self, 0), vec![sorted(key(0), false, false)], 20, None));
        self.add("nothing", Relation::Limit { input: Box::new(wide(self, 0)), offset: 0, limit: Some(0) });
        let union = Relation::Union { inputs: vec![first, wide(self, 1)] };
        self.add_ordered("top of union", top(project(union, vec![key(0)]), vec![sorted(key(0), true, true)], 2, Some(6)));
        let most = group(self.table(1, &[None]), vec![], vec![aggregate(Aggregate::Maximum, Some(key(0)), KEY)]);
        let subquery = |relation| Expression::new(KEY, Node::Subquery(Box::new(relation)));
        self.add("scalar subquery", filter(wide(self, 0), compare(Comparison::Less, key(0), subquery(most))));
        self.add("subquery of rows", project(wide(self, 0), vec![subquery(self.table(1, &[None]))]));
        let none = filter(self.table(1, &[None]), compare(Comparison::Less, key(0), number(0)));
        self.add("subquery of no row", project(wide(self, 0), vec![key(0), subquery(none)]));
        let values = Relation::Values {
            types: vec![KEY, PgType::TEXT],
            rows: vec![
                vec![Some(Value::Int(2)), Some(Value::Text("a''b\\".to_owned()))],
                vec![None, None],
                vec![Some(Value::Int(3)), None],
            ],
        };
        self.add("values", join(wide(self, 0), values, JoinKind::Inner, equal(key(0), key(3))));
        self.of_truth(&columns, &n, &t);
        self.of_windows(&columns, &t);
        self.of_repeated(&columns, &t);
    }

    /// What occurs more than once, which a store may compute once.
    fn of_repeated(&mut self, columns: &[Option<Kind>], t: &Expression) {
        let some = |maker: &Self| filter(maker.table(0, columns), compare(Comparison::Less, key(0), number(12)));
        let groups =
            |maker: &Self| group(some(maker), vec![t.clone()], vec![count(), aggregate(Aggregate::Maximum, Some(key(0)), KEY)]);
        let most = group(groups(self), vec![], vec![aggregate(Aggregate::Maximum, Some(key(2)), KEY)]);
        let greatest = compare(Comparison::Equal, key(2), Expression::new(KEY, Node::Subquery(Box::new(most))));
        self.add("aggregate in its own condition", filter(groups(self), greatest.clone()));
        let first = filter(self.table(1, &[None]), compare(Comparison::Greater, key(0), number(3)));
        let top = filter(groups(self), greatest);
        self.add("constants before what is repeated", join(first, top, JoinKind::Left, equal(key(0), key(3))));
        for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::Full, JoinKind::Semi, JoinKind::Anti] {
            self.add(format!("repeated {kind:?}"), join(groups(self), groups(self), kind, equal(key(2), key(5))));
        }
        let distinct = |maker: &Self| Relation::Distinct { input: Box::new(project(some(maker), vec![t.clone(), key(0)])) };
        let nested = |maker: &Self| group(distinct(maker), vec![key(1)], vec![count()]);
        let twice = join(nested(self), nested(self), JoinKind::Inner, equal(key(0), key(2)));
        self.add("repeated in what is repeated", join(distinct(self), twice, JoinKind::Inner, equal(key(1), key(2))));
    }

    fn of_truth(&mut self, columns: &[Option<Kind>], n: &Expression, t: &Expression) {
        let unknown = || equal(t.clone(), Expression::new(PgType::TEXT, Node::Literal(Some(Value::Text("a".to_owned())))));
        let positive = compare(Comparison::Greater, n.clone(), literal(n.pg_type, Value::Int(0)));
        let truths =
            [(Some(true), false), (Some(true), true), (Some(false), false), (Some(false), true), (None, false), (None, true)];
        for (truth, negated) in truths {
            let test = Expression::condition(Node::IsTruth { operand: Box::new(unknown()), truth, negated });
            self.add(format!("is {truth:?} negated {negated}"), filter(self.table(0, columns), test));
        }
        let not = |inner| Expression::condition(Node::Not(Box::new(inner)));
        self.add("not", filter(self.table(0, columns), not(unknown())));
        let either = Expression::condition(Node::Or(vec![unknown(), not(positive.clone())]));
        self.add("either", filter(self.table(0, columns), either.clone()));
        self.add("truth shown", project(self.table(0, columns), vec![key(0), either, unknown(), positive.clone()]));
        let calls = [Aggregate::BoolAnd, Aggregate::BoolOr].map(|call| aggregate(call, Some(positive.clone()), PgType::BOOL));
        self.add("all and any", group(self.table(0, columns), vec![is_null(t.clone(), false)], calls.to_vec()));
    }

    fn of_windows(&mut self, columns: &[Option<Kind>], t: &Expression) {
        let by_key = || vec![sorted(key(0), false, false)];
        let window = |function, arguments: Vec<Expression>, frame, pg_type| WindowCall {
            function,
            arguments,
            partition_by: vec![is_null(t.clone(), false)],
            order_by: by_key(),
            frame,
            pg_type,
        };
        let frame = |unit, start, end| Some(Frame { unit, start, end });
        let running = frame(FrameUnit::Range, Bound::UnboundedPreceding, Bound::CurrentRow);
        let near = frame(FrameUnit::Rows, Bound::Preceding(2), Bound::Following(1));
        let whole = frame(FrameUnit::Rows, Bound::UnboundedPreceding, Bound::UnboundedFollowing);
        let calls = [
            ("rank", window(WindowFunction::Rank, vec![], None, PgType::INT8)),
            ("dense rank", window(WindowFunction::DenseRank, vec![], None, PgType::INT8)),
            ("running sum", window(WindowFunction::Aggregate(Aggregate::Sum), vec![key(0)], running.clone(), PgType::NUMERIC)),
            ("near count", window(WindowFunction::Aggregate(Aggregate::CountRows), vec![], near.clone(), PgType::INT8)),
            ("near maximum", window(WindowFunction::Aggregate(Aggregate::Maximum), vec![t.clone()], near, PgType::TEXT)),
            ("lag", window(WindowFunction::Lag, vec![key(0), count_of(2), number(-1)], None, KEY)),
            ("lead", window(WindowFunction::Lead, vec![t.clone()], None, t.pg_type)),
            ("first value", window(WindowFunction::FirstValue, vec![t.clone()], running, t.pg_type)),
            ("last value", window(WindowFunction::LastValue, vec![key(0)], whole, KEY)),
        ];
        for (name, call) in calls {
            let windowed = Relation::Window { input: Box::new(self.table(0, columns)), calls: vec![call] };
            self.add(name, windowed.clone());
            self.add(format!("condition on {name}"), filter(windowed, is_null(key(0), true)));
        }
    }
}
