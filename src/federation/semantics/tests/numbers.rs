//! Functions and aggregates over numbers, with the answers of PostgreSQL 15.18 on Linux.

type Cases = &'static [(&'static str, &'static str)];

/// Functions whose results leave the range of their type, or have none.
pub(super) const FUNCTIONS: Cases = &[
    (
        "select sign('NaN'::float8), sign('-0'::float8), sign(-2.5::float8), sign('-Infinity'::float8)",
        "double precision,double precision,double precision,double precision => 0|0|-1|-1",
    ),
    ("select power('1e-200'::float8, 2)", "22003: value out of range: underflow"),
    ("select power(10::float8, -400)", "22003: value out of range: underflow"),
    ("select power(10::float8, 400)", "22003: value out of range: overflow"),
    ("select exp(-800::float8)", "22003: value out of range: underflow"),
    ("select exp(800::float8)", "22003: value out of range: overflow"),
    ("select power('-Infinity'::float8, 1.5)", "2201F: a negative number raised to a non-integer power yields a complex result"),
    (
        "select power('-Infinity'::float8, -3), power('NaN'::float8, 0), power(1::float8, 'NaN'), power(0.5::float8, 'Infinity'), power(2::float8, -1074)",
        "double precision,double precision,double precision,double precision,double precision => -0|1|1|0|5e-324",
    ),
    ("select radians('5e-324'::float8)", "22003: value out of range: underflow"),
    (
        "select asinh(1), asinh(-3), asinh('-Infinity'), acosh(1), acosh(1.5), acosh('NaN'), atanh(0.5), atanh(-0.75), atanh(1), atanh('-0')",
        "double precision,double precision,double precision,double precision,double precision,double precision,double precision,double precision,double precision,double precision => 0.881373587019543|-1.8184464592320668|-Infinity|0|0.9624236501192069|NaN|0.5493061443340548|-0.9729550745276566|Infinity|-0",
    ),
    ("select acosh(0.5)", "22003: input is out of range"),
    ("select atanh(2)", "22003: input is out of range"),
    (
        "select sind(30), cosd(60), tand(45), cotd(45), sind(-450), cosd(90), tand(90), tand(180), cotd(0), cotd(-90)",
        "double precision,double precision,double precision,double precision,double precision,double precision,double precision,double precision,double precision,double precision => 0.5|0.5|1|1|-1|0|Infinity|0|Infinity|0",
    ),
    (
        "select sind(29.9), sind(47), cosd(61.5), cosd(200), tand(20), cotd(110), asind(0.5), asind(-0.7), acosd(-0.5), acosd(0.3), atand(1), atand(2), atan2d(1, -1)",
        "double precision,double precision,double precision,double precision,double precision,double precision,double precision,double precision,double precision,double precision,double precision,double precision,double precision => 0.4984877397538303|0.7313537016191705|0.47715876025960846|-0.9396926207859084|0.3639702342662024|-0.3639702342662024|30|-44.4270040008057|120|72.5423968762779|45|63.43494882292201|135",
    ),
    ("select sind('Infinity')", "22003: input is out of range"),
    ("select asind(1.1)", "22003: input is out of range"),
    ("select acosd('-1.1')", "22003: input is out of range"),
    ("select power('-Infinity'::numeric, 0.5)", "2201F: a negative number raised to a non-integer power yields a complex result"),
    (
        "select power('-Infinity'::numeric, 3), power('NaN'::numeric, 0), power(0.5, 'Infinity'::numeric), power(0.0, 0.5), power(2.5, -1)",
        "numeric,numeric,numeric,numeric,numeric => -Infinity|1|0|0.0000000000000000|0.4000000000000000",
    ),
    (
        "select power(5.5, 90), power(1.0000001, 30000000.5)",
        "numeric,numeric => 4291825486891350060807606587949227458256441856362045319877931889691.5919641933793445|20.085534914634226",
    ),
    ("select exp(10000.0)", "22003: value overflows numeric format"),
    (
        "select ln(1.05), log(1.05, 2), log('Infinity'::numeric, 2)",
        "numeric,numeric,numeric => 0.048790164169432003|14.20669908289047|0",
    ),
    ("select '1e39'::numeric::real", "22003: \"1000000000000000000000000000000000000000\" is out of range for type real"),
    (
        "select '1e-60'::numeric::float4",
        "22003: \"0.000000000000000000000000000000000000000000000000000000000001\" is out of range for type real",
    ),
    (
        "select '1e308'::numeric::float8, '5e-324'::numeric::float8, '1e-45'::numeric::real, 'Infinity'::numeric::real, 0.000::float8",
        "double precision,double precision,real,real,double precision => 1e+308|5e-324|1e-45|Infinity|0",
    ),
];

/// Aggregates over pairs.
pub(super) const PAIRS: Cases = &[
    (
        "select corr(y, x), covar_pop(y, x), covar_samp(y, x), regr_r2(y, x), regr_slope(y, x), regr_intercept(y, x) from (values (2.5, 1), (3.1, 2), (7.7, 3), (null, 4), (9, null)) v(y, x)",
        "double precision,double precision,double precision,double precision,double precision,double precision => 0.9139230570463734|1.7333333333333336|2.6000000000000005|0.8352553542009887|2.6000000000000005|-0.7666666666666675",
    ),
    (
        "select regr_count(y, x), regr_avgx(y, x), regr_avgy(y, x), regr_sxx(y, x), regr_syy(y, x), regr_sxy(y, x) from (values (2.5, 1), (3.1, 2), (7.7, 3), (null, 4), (9, null)) v(y, x)",
        "bigint,double precision,double precision,double precision,double precision,double precision => 3|2|4.433333333333334|2|16.186666666666667|5.200000000000001",
    ),
    (
        "select regr_count(y, x), corr(y, x), regr_sxx(y, x), regr_r2(y, x), regr_slope(y, x), covar_samp(y, x) from (values (2, 1)) v(y, x)",
        "bigint,double precision,double precision,double precision,double precision,double precision => 1||0|||",
    ),
    ("select regr_count(y, x), regr_avgx(y, x) from (values (2, 1)) v(y, x) where y > 2", "bigint,double precision => 0|"),
    ("select corr(y, x), regr_r2(y, x) from (values (2, 1), (2, 3)) v(y, x)", "double precision,double precision => |1"),
    ("select regr_syy(y, x) from (values ('1e200'::float8, 1), ('-1e200', 3)) v(y, x)", "22003: value out of range: overflow"),
    ("select regr_count(y, x) from (values ('1e200'::float8, 1), ('-1e200', 3)) v(y, x)", "bigint => 2"),
    (
        "select regr_slope(y, x), regr_syy(y, x) from (values ('Infinity'::float8, 1), (2, 3)) v(y, x)",
        "double precision,double precision => NaN|NaN",
    ),
    (
        "select regr_count(distinct y, x), covar_pop(distinct y, x), regr_sxy(y, x) filter (where x > 1) from (values (2.5, 1), (3.1, 2), (2.5, 1)) v(y, x)",
        "bigint,double precision,double precision => 2|0.15000000000000013|0",
    ),
    (
        "select covar_pop(y, x) over (order by x), regr_count(y, x) over () from (values (2.5, 1), (3.1, 2), (7.7, 3)) v(y, x) order by x",
        "double precision,bigint => 0|3;0.15000000000000013|3;1.7333333333333336|3",
    ),
    (
        "select g, regr_sxy(y, x), regr_count(y, x) from (values (1, 2.5, 1), (2, 3.1, 2), (1, 7.7, 3), (2, null, 1)) v(g, y, x) group by g order by g",
        "integer,double precision,bigint => 1|5.200000000000001|2;2|0|1",
    ),
    ("select regr_slope('1', 2), corr(null, 1)", "double precision,double precision => |"),
    ("select corr('a'::text, 1)", "42883: function corr(text, integer) does not exist"),
    ("select corr(1)", "42883: function corr(integer) does not exist"),
];
