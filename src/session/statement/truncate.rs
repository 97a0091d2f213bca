//! `TRUNCATE`, as PostgreSQL's grammar has it.

use datafusion::sql::sqlparser::ast::{self, CascadeOption, ObjectName, TruncateIdentityOption, TruncateTableTarget};

use super::{Kind, refuse};
use crate::error::sqlstate;

/// A parsed `TRUNCATE`.
#[derive(Debug, Clone)]
pub struct Truncating {
    /// The tables, and whether `ONLY` stands before them.
    pub tables: Vec<(ObjectName, bool)>,
    /// `RESTART IDENTITY`
    pub restarts: bool,
    /// `CASCADE`
    pub cascades: bool,
}

/// The kind of a parsed `TRUNCATE`.
pub(super) fn classify(truncate: ast::Truncate) -> Kind {
    let ast::Truncate { table_names, partitions, table: _, if_exists, identity, cascade, on_cluster } = truncate;
    let foreign = [(if_exists, "EXISTS"), (partitions.is_some(), "PARTITION"), (on_cluster.is_some(), "ON")];
    if let Some((_, word)) = foreign.iter().find(|(is_there, _)| *is_there) {
        return refuse(sqlstate::SYNTAX_ERROR, &format!("syntax error at or near \"{word}\""));
    }
    let named = |target: TruncateTableTarget| {
        let TruncateTableTarget { name, only, has_asterisk: _ } = target;
        (name, only)
    };
    let (restarts, cascades) =
        (matches!(identity, Some(TruncateIdentityOption::Restart)), matches!(cascade, Some(CascadeOption::Cascade)));
    Kind::Truncate(Box::new(Truncating { tables: table_names.into_iter().map(named).collect(), restarts, cascades }))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn every_word_of_it_is_read() {
        let read = |text: &str| match parse(text).unwrap().remove(0).kind {
            Kind::Truncate(truncating) => {
                let tables: Vec<String> = truncating.tables.iter().map(|(name, only)| format!("{name} {only}")).collect();
                format!("{} {} {}", tables.join(", "), truncating.restarts, truncating.cascades)
            }
            Kind::Refused(error) => error.sqlstate,
            other => format!("{other:?}"),
        };
        assert_eq!(read("TRUNCATE a"), "a false false false");
        assert_eq!(read("truncate table only s.a, b * restart identity cascade"), "s.a true, b false true true");
        assert_eq!(read("TRUNCATE a CONTINUE IDENTITY RESTRICT"), "a false false false");
        assert_eq!(read("TRUNCATE IF EXISTS a"), "42601");
        assert_eq!(read("PREPARE p AS TRUNCATE a"), "42601");
    }
}
