//! Expressions of a wanted type. Not here: truth values (`conditions`).

use super::super::tables::Type;
use super::{Maker, Quality, Scope, Value};

/// The types that SELECT lists show, the plainest first.
pub const SHOWN: &[Type] = &[
    Type::Int,
    Type::Big,
    Type::Text,
    Type::Numeric,
    Type::Small,
    Type::Date,
    Type::Moment,
    Type::Zoned,
    Type::Float,
    Type::Bool,
    Type::Uuid,
    Type::Bytes,
    Type::Interval,
];

impl Maker {
    /// A value of any type that the scope has.
    pub fn any_value(&mut self, scope: &Scope, depth: usize) -> Value {
        if !scope.fields.is_empty() && (depth == 0 || self.choices.chance(35)) {
            let field = &scope.fields[self.choices.below(scope.fields.len())];
            return Value { sql: field.sql.clone(), ty: field.ty, quality: field.quality };
        }
        let ty = *self.choices.pick(SHOWN);
        self.value(scope, ty, depth)
    }

    /// A value of a type; `depth` bounds how deep calls stand in calls.
    pub fn value(&mut self, scope: &Scope, ty: Type, depth: usize) -> Value {
        match self.choices.weighted(&[50, 8, 42]) {
            2 if depth > 0 => self.compound(scope, ty, depth - 1),
            1 => self.literal(ty),
            _ => self.field(scope, ty),
        }
    }

    /// A column, or a literal where there is none.
    pub fn field(&mut self, scope: &Scope, ty: Type) -> Value {
        let fields = scope.of_type(ty);
        if fields.is_empty() {
            return self.literal(ty);
        }
        let field = fields[self.choices.below(fields.len())];
        Value { sql: field.sql.clone(), ty, quality: field.quality }
    }

    pub fn literal(&mut self, ty: Type) -> Value {
        let from: &[&str] = match ty {
            Type::Bool => &["true", "false", "NULL::boolean"],
            Type::Small => &["1::smallint", "0::smallint", "-2::smallint", "7::smallint"],
            Type::Int => &["1", "0", "-1", "7", "100", "NULL::integer"],
            Type::Big => &["1::bigint", "12::bigint", "-3::bigint", "5000000000", "NULL::bigint"],
            Type::Numeric => &["1.5", "0.25", "-10.50", "100::numeric", "0.0001", "NULL::numeric"],
            Type::Float => &["0.5::float8", "2::float8", "-0.25::float8", "'NaN'::float8", "1e10::float8"],
            Type::Text => &["'a'", "'Ada'", "''", "'zoe '", "'Ünï'", "'it''s'", "NULL::text"],
            Type::Date => &["DATE '2024-02-29'", "DATE '1969-12-31'", "DATE '0001-01-01'", "DATE '2300-01-01'"],
            Type::Moment => &["TIMESTAMP '2024-02-29 12:30:45.123456'", "TIMESTAMP '1969-12-31 23:59:59.999999'"],
            Type::Zoned => &["TIMESTAMPTZ '2024-02-29 12:30:45.123456+00'", "TIMESTAMPTZ '1969-12-31 23:59:59.999999+00'"],
            Type::Interval => &["INTERVAL '1 day'", "INTERVAL '1 mon -02:03:04.5'", "INTERVAL '0'"],
            Type::Uuid => &["UUID 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "NULL::uuid"],
            Type::Bytes => &["'\\x00ff'::bytea", "'\\x'::bytea"],
        };
        Value { sql: (*self.choices.pick(from)).to_owned(), ty, quality: Quality::Exact }
    }

    fn compound(&mut self, scope: &Scope, ty: Type, depth: usize) -> Value {
        if self.choices.chance(30) {
            return self.choice(scope, ty, depth);
        }
        match ty {
            Type::Small | Type::Int | Type::Big => self.whole(scope, ty, depth),
            Type::Numeric => self.numeric(scope, depth),
            Type::Float => self.float(scope, depth),
            Type::Text => self.text(scope, depth),
            Type::Date => self.date(scope, depth),
            Type::Moment => self.moment(scope, depth),
            Type::Zoned => self.zoned(scope, depth),
            Type::Interval => self.interval(scope, depth),
            Type::Bool => Value { sql: format!("({})", self.condition(scope, depth)), ty, quality: Quality::Exact },
            Type::Uuid | Type::Bytes => self.field(scope, ty),
        }
    }

    /// CASE and its kin, which exist for every type.
    fn choice(&mut self, scope: &Scope, ty: Type, depth: usize) -> Value {
        let (a, b) = (self.value(scope, ty, depth), self.value(scope, ty, depth));
        // Equal numbers of two columns may have different scales.
        let scales = if ty == Type::Numeric { Quality::Loose } else { Quality::Exact };
        let quality = a.quality.max(b.quality).max(scales);
        // The greatest and NULLIF compare equal values that look different, and take the first.
        let sql = match self.choices.below(if ty.is_plain() { 6 } else { 3 }) {
            0 => format!("COALESCE({}, {})", a.sql, b.sql),
            1 => format!("CASE WHEN {} THEN {} ELSE {} END", self.condition(scope, depth), a.sql, b.sql),
            2 => format!("CASE WHEN {} THEN {} END", self.condition(scope, depth), a.sql),
            3 => format!("NULLIF({}, {})", a.sql, b.sql),
            4 if ty != Type::Bool => format!("GREATEST({}, {})", a.sql, b.sql),
            5 if ty != Type::Bool => format!("LEAST({}, {})", a.sql, b.sql),
            _ => {
                let (c, d) = (self.field(scope, ty), self.literal(ty));
                format!("CASE {} WHEN {} THEN {} ELSE {} END", c.sql, d.sql, a.sql, b.sql)
            }
        };
        Value { sql, ty, quality }
    }

    fn whole(&mut self, scope: &Scope, ty: Type, depth: usize) -> Value {
        let name = match ty {
            Type::Small => "smallint",
            Type::Int => "integer",
            _ => "bigint",
        };
        let exact = |sql: String| Value { sql, ty, quality: Quality::Exact };
        if self.hazard() {
            return self.hazardous_whole(scope, ty, depth, name);
        }
        let a = self.value(scope, ty, depth);
        let divisor = *self.choices.pick(&["2", "3", "7", "10"]);
        exact(match self.choices.below(12) {
            0 => format!("({} % {divisor}::{name})", a.sql),
            1 => format!("({} / {divisor}::{name})", a.sql),
            2 => format!("length({})::{name}", self.value(scope, Type::Text, depth).sql),
            3 => format!("sign({})::{name}", a.sql),
            4 => {
                let part = *self.choices.pick(&["month", "day", "quarter"]);
                let from = self.time(scope, depth);
                format!("extract({part} FROM {from})::{name}")
            }
            5 => format!("(CASE WHEN {} THEN 1 ELSE 0 END)::{name}", self.condition(scope, depth)),
            6 => format!("(({a} % 1000::{name}) + ({} % 1000::{name}))::{name}", self.field(scope, ty).sql, a = a.sql),
            7 => format!("(({a} % 10::{name}) * ({} % 10::{name}))::{name}", self.field(scope, ty).sql, a = a.sql),
            8 => format!("strpos({}, {})::{name}", self.value(scope, Type::Text, depth).sql, self.literal(Type::Text).sql),
            9 => {
                // A constant would be cast when the statement is planned, whatever the condition says.
                let fields = scope.of_type(Type::Text);
                let text = fields.first().map_or("NULL::text".to_owned(), |field| field.sql.clone());
                format!("(CASE WHEN {text} ~ '^[0-9]{{1,4}}$' THEN {text}::{name} END)")
            }
            10 => format!("octet_length({})::{name}", self.value(scope, Type::Text, depth).sql),
            _ => format!("round({} % 100)::{name}", self.value(scope, Type::Numeric, depth).sql),
        })
    }

    fn hazardous_whole(&mut self, scope: &Scope, ty: Type, depth: usize, name: &str) -> Value {
        let (a, b) = (self.value(scope, ty, depth), self.field(scope, ty));
        let sql = match self.choices.below(8) {
            0 => format!("({} + {})", a.sql, b.sql),
            1 => format!("({} - {})", a.sql, b.sql),
            2 => format!("({} * {})", a.sql, b.sql),
            3 => format!("(- {})", a.sql),
            4 => format!("abs({})", a.sql),
            5 => format!("({} / NULLIF({}, 0))", a.sql, b.sql),
            6 => format!("round({})::{name}", self.value(scope, Type::Numeric, depth).sql),
            _ => format!("({} % NULLIF({}, 0))", a.sql, b.sql),
        };
        Value { sql, ty, quality: Quality::Exact }
    }

    fn numeric(&mut self, scope: &Scope, depth: usize) -> Value {
        let ty = Type::Numeric;
        let (a, b) = (self.value(scope, ty, depth), self.value(scope, ty, depth));
        let both = a.quality.max(b.quality);
        let of = |sql: String, quality: Quality| Value { sql, ty, quality };
        let digits = *self.choices.pick(&["2", "0", "1", "-1", "4"]);
        let divisor = *self.choices.pick(&["2", "3", "0.7", "-1.25"]);
        match self.choices.below(11) {
            0 => of(format!("({} + {})", a.sql, b.sql), both),
            1 => of(format!("({} - {})", a.sql, b.sql), both),
            2 => of(format!("({} * {})", a.sql, b.sql), both),
            3 => of(format!("round({}, {digits})", a.sql), Quality::Exact),
            4 => of(format!("trunc({}, {digits})", a.sql), Quality::Exact),
            5 => of(format!("({} / {divisor})", a.sql), Quality::Loose),
            6 => of(format!("abs({})", a.sql), a.quality),
            7 => {
                let whole = *self.choices.pick(&[Type::Int, Type::Big, Type::Small]);
                of(format!("{}::numeric", self.value(scope, whole, depth).sql), Quality::Exact)
            }
            8 => of(format!("({} % {divisor})", a.sql), Quality::Loose),
            9 => of(format!("{}({})", self.choices.pick(&["floor", "ceil"]), a.sql), Quality::Exact),
            _ => of(format!("(- {})", a.sql), a.quality),
        }
    }

    fn float(&mut self, scope: &Scope, depth: usize) -> Value {
        let ty = Type::Float;
        let a = self.value(scope, ty, depth);
        if self.hazard() {
            let b = self.field(scope, ty);
            let sign = self.choices.pick(&["+", "-", "*"]);
            return Value { sql: format!("({} {sign} {})", a.sql, b.sql), ty, quality: Quality::Loose };
        }
        let sql = match self.choices.below(7) {
            0 => format!("({} + 1)", a.sql),
            1 => format!("({} / 4)", a.sql),
            2 => format!("abs({})", a.sql),
            3 => {
                let number = *self.choices.pick(&[Type::Int, Type::Numeric, Type::Big, Type::Small]);
                format!("{}::float8", self.value(scope, number, depth).sql)
            }
            4 => format!("sqrt(abs({}))", a.sql),
            5 => format!("{}({})", self.choices.pick(&["floor", "ceil", "round", "trunc"]), a.sql),
            _ => format!("(- {})", a.sql),
        };
        Value { sql, ty, quality: Quality::Loose }
    }

    fn text(&mut self, scope: &Scope, depth: usize) -> Value {
        let (a, b) = (self.value(scope, Type::Text, depth), self.value(scope, Type::Text, depth));
        let (a, b) = (a.sql, b.sql);
        let count = *self.choices.pick(&["1", "2", "3", "0"]);
        let sql = match self.choices.below(18) {
            0 => format!("upper({a})"),
            1 => format!("lower({a})"),
            2 => format!("({a} || {b})"),
            3 => format!("substr({a}, {count}, 2)"),
            4 => format!("left({a}, {count})"),
            5 => format!("right({a}, {count})"),
            6 => format!("{}({a})", self.choices.pick(&["btrim", "ltrim", "rtrim"])),
            7 => format!("replace({a}, 'a', 'b')"),
            8 => format!("concat({a}, '-', {b})"),
            9 => {
                let ty = *self.choices.pick(&[Type::Int, Type::Date, Type::Moment, Type::Uuid, Type::Big, Type::Zoned]);
                format!("{}::text", self.field(scope, ty).sql)
            }
            10 => format!("reverse({a})"),
            11 => format!("lpad({a}, 4, '.')"),
            12 => format!("initcap({a})"),
            13 => format!("split_part({a}, 'a', 1)"),
            14 => format!("md5({a})"),
            15 => format!("translate({a}, 'aoe', 'xy')"),
            16 => format!("substring({a} FROM 2 FOR 3)"),
            _ => {
                let fields = scope.where_type(|ty| ty == Type::Numeric);
                match fields.iter().find(|field| field.quality == Quality::Exact) {
                    Some(field) => format!("{}::text", field.sql),
                    None => format!("rpad({a}, 3, '*')"),
                }
            }
        };
        Value { sql, ty: Type::Text, quality: Quality::Exact }
    }

    /// A date or moment.
    fn time(&mut self, scope: &Scope, depth: usize) -> String {
        let ty = *self.choices.pick(&[Type::Date, Type::Moment, Type::Zoned]);
        // Parts of infinite times are NULL or infinite, and an infinite number is no integer.
        let value = self.value(scope, ty, depth).sql;
        format!("(CASE WHEN isfinite({value}) THEN {value} END)")
    }

    fn date(&mut self, scope: &Scope, depth: usize) -> Value {
        let a = self.value(scope, Type::Date, depth).sql;
        let sql = match self.choices.below(5) {
            0 => format!("({a} + 1)"),
            1 => format!("({a} - 30)"),
            2 => format!("{}::date", self.value(scope, Type::Moment, depth).sql),
            3 => format!("{}::date", self.value(scope, Type::Zoned, depth).sql),
            _ => format!("date_trunc('month', {a})::date"),
        };
        Value { sql, ty: Type::Date, quality: Quality::Exact }
    }

    fn moment(&mut self, scope: &Scope, depth: usize) -> Value {
        let a = self.value(scope, Type::Moment, depth).sql;
        let step = *self.choices.pick(STEPS);
        let sql = match self.choices.below(5) {
            0 => format!("({a} + {step})"),
            1 => format!("({a} - {step})"),
            2 => format!("{}::timestamp", self.value(scope, Type::Date, depth).sql),
            3 => format!("date_trunc('{}', {a})", self.choices.pick(UNITS)),
            _ => format!("({} AT TIME ZONE '{}')", self.value(scope, Type::Zoned, depth).sql, self.choices.pick(super::ZONES)),
        };
        Value { sql, ty: Type::Moment, quality: Quality::Exact }
    }

    fn zoned(&mut self, scope: &Scope, depth: usize) -> Value {
        let a = self.value(scope, Type::Zoned, depth).sql;
        let step = *self.choices.pick(STEPS);
        let sql = match self.choices.below(5) {
            0 => format!("({a} + {step})"),
            1 => format!("({a} - {step})"),
            2 => format!("{}::timestamptz", self.value(scope, Type::Moment, depth).sql),
            3 => format!("date_trunc('{}', {a})", self.choices.pick(UNITS)),
            _ => format!("({} AT TIME ZONE '{}')", self.value(scope, Type::Moment, depth).sql, self.choices.pick(super::ZONES)),
        };
        Value { sql, ty: Type::Zoned, quality: Quality::Exact }
    }

    fn interval(&mut self, scope: &Scope, depth: usize) -> Value {
        let sql = if self.hazard() {
            let ty = *self.choices.pick(&[Type::Moment, Type::Zoned]);
            format!("({} - {})", self.value(scope, ty, depth).sql, self.field(scope, ty).sql)
        } else {
            let a = self.value(scope, Type::Interval, depth).sql;
            match self.choices.below(3) {
                0 => format!("({a} + INTERVAL '1 hour')"),
                1 => format!("(INTERVAL '1 day' * ({} % 100::smallint))", self.field(scope, Type::Small).sql),
                _ => format!("(- {a})"),
            }
        };
        Value { sql, ty: Type::Interval, quality: Quality::Loose }
    }
}

const STEPS: &[&str] = &["INTERVAL '1 day'", "INTERVAL '1 month'", "INTERVAL '-36 hours'", "INTERVAL '1 year 00:00:00.000001'"];
const UNITS: &[&str] = &["day", "month", "year", "hour", "minute", "quarter", "week"];
