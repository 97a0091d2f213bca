//! Key words: `pg_get_keywords()`, which drivers ask for (PostgreSQL 15 manual, appendix C), and one that is a function.

use datafusion::sql::sqlparser::ast::{Expr, ObjectName, ObjectNamePart, SetExpr, TableFactor};
use datafusion::sql::sqlparser::parser::Parser;

use super::dialect::call_with;
use super::name::fold;
use super::postgres::Postgres;

const NAME: &str = "pg_get_keywords";

/// A kind of key words: code, description, whether they may name an output without AS, and the words in order.
type Kind = (char, &'static str, bool, &'static str);

const KINDS: &[Kind] = &[
    ('C', "unreserved (cannot be function or type name)", false, "char character precision"),
    (
        'C',
        "unreserved (cannot be function or type name)",
        true,
        "between bigint bit boolean coalesce dec decimal exists extract float greatest grouping inout int integer \
         interval least national nchar none normalize nullif numeric out overlay position real row setof smallint \
         substring time timestamp treat trim values varchar xmlattributes xmlconcat xmlelement xmlexists xmlforest \
         xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable",
    ),
    (
        'R',
        "reserved",
        false,
        "array as create except fetch for from grant group having intersect into limit offset on order returning to union \
         where window with",
    ),
    (
        'R',
        "reserved",
        true,
        "all analyse analyze and any asc asymmetric both case cast check collate column constraint current_catalog \
         current_date current_role current_time current_timestamp current_user default deferrable desc distinct do else \
         end false foreign in initially lateral leading localtime localtimestamp not null only or placing primary \
         references select session_user some symmetric table then trailing true unique user using variadic when",
    ),
    ('T', "reserved (can be function or type name)", false, "isnull notnull overlaps"),
    (
        'T',
        "reserved (can be function or type name)",
        true,
        "authorization binary collation concurrently cross current_schema freeze full ilike inner is join left like \
         natural outer right similar tablesample verbose",
    ),
    ('U', "unreserved", false, "day filter hour minute month over second varying within without year"),
    (
        'U',
        "unreserved",
        true,
        "abort absolute access action add admin after aggregate also alter always asensitive assertion assignment at \
         atomic attach attribute backward before begin breadth by cache call called cascade cascaded catalog chain \
         characteristics checkpoint class close cluster columns comment comments commit committed compression \
         configuration conflict connection constraints content continue conversion copy cost csv cube current cursor \
         cycle data database deallocate declare defaults deferred definer delete delimiter delimiters depends depth \
         detach dictionary disable discard document domain double drop each enable encoding encrypted enum escape event \
         exclude excluding exclusive execute explain expression extension external family finalize first following force \
         forward function functions generated global granted groups handler header hold identity if immediate immutable \
         implicit import include including increment index indexes inherit inherits inline input insensitive insert \
         instead invoker isolation key label language large last leakproof level listen load local location lock locked \
         logged mapping match matched materialized maxvalue merge method minvalue mode move name names new next nfc nfd \
         nfkc nfkd no normalized nothing notify nowait nulls object of off oids old operator option options ordinality \
         others overriding owned owner parallel parameter parser partial partition passing password plans policy \
         preceding prepare prepared preserve prior privileges procedural procedure procedures program publication quote \
         range read reassign recheck recursive ref referencing refresh reindex relative release rename repeatable replace \
         replica reset restart restrict return returns revoke role rollback rollup routine routines rows rule savepoint \
         schema schemas scroll search security sequence sequences serializable server session set sets share show simple \
         skip snapshot sql stable standalone start statement statistics stdin stdout storage stored strict strip \
         subscription support sysid system tables tablespace temp template temporary text ties transaction transform \
         trigger truncate trusted type types uescape unbounded uncommitted unencrypted unknown unlisten unlogged until \
         update vacuum valid validate validator value version view views volatile whitespace work wrapper write xml yes \
         zone",
    ),
];

/// Functions without parentheses that the parser takes for columns.
const BARE: &[&str] = &["current_schema", "current_role"];

/// `current_schema` and `current_role` need no parentheses.
pub(super) fn call(expr: &mut Expr) {
    if let Expr::Identifier(name) = expr
        && name.quote_style.is_none()
        && let Some(function) = BARE.iter().find(|function| name.value.eq_ignore_ascii_case(function))
    {
        *expr = call_with(function, Vec::new());
    }
}

/// Puts the rows where a query calls the function in FROM.
pub(super) fn in_from(factor: &mut TableFactor) {
    let TableFactor::Table { name, args: Some(args), alias, .. } = factor else { return };
    if !args.args.is_empty() || !is_called(name) {
        return;
    }
    let alias = alias.take();
    if let Some(mut rows) = rows() {
        if let (Some(asked), TableFactor::Derived { alias: Some(own), .. }) = (alias, &mut rows) {
            own.name = asked.name;
            for (column, name) in own.columns.iter_mut().zip(asked.columns) {
                *column = name;
            }
        }
        *factor = rows;
    }
}

fn is_called(name: &ObjectName) -> bool {
    let parts: Vec<String> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(fold).collect();
    match parts.as_slice() {
        [function] => function == NAME,
        [schema, function] => schema == "pg_catalog" && function == NAME,
        _ => false,
    }
}

/// The rows as a subquery; its text holds our own words only.
fn rows() -> Option<TableFactor> {
    let row = |(code, description, is_bare, words): &Kind| {
        let label = if *is_bare { "can be bare label" } else { "requires AS" };
        let rows = words.split_whitespace().map(move |word| format!("('{word}', '{code}', {is_bare}, '{description}', '{label}')"));
        rows.collect::<Vec<String>>()
    };
    let values: Vec<String> = KINDS.iter().flat_map(row).collect();
    let text = format!("SELECT * FROM (VALUES {}) AS {NAME} (word, catcode, barelabel, catdesc, baredesc)", values.join(", "));
    let query = Parser::new(&Postgres).try_with_sql(&text).and_then(|mut parser| parser.parse_query()).ok()?;
    match *query.body {
        SetExpr::Select(select) => select.from.into_iter().next().map(|table| table.relation),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_words_stand_in_the_place_of_the_call() {
        let count = |sql: &str| {
            let mut query = Parser::new(&Postgres).try_with_sql(sql).unwrap().parse_query().unwrap();
            let SetExpr::Select(select) = query.body.as_mut() else { panic!("{sql}") };
            in_from(&mut select.from[0].relation);
            select.from[0].relation.to_string().matches("', '").count()
        };
        assert_eq!(
            count("SELECT * FROM pg_catalog.pg_get_keywords()"),
            KINDS.iter().map(|kind| kind.3.split(' ').count()).sum::<usize>() * 2
        );
        assert!(count("SELECT k.word FROM pg_get_keywords() AS k") > 800);
        assert_eq!(count("SELECT * FROM pg_get_keywords"), 0);
    }
}
