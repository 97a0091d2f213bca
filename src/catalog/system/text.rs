//! Definitions as SQL text: what `pg_get_indexdef` and `pg_get_constraintdef` print.

use crate::catalog::name::quote_identifier;
use crate::catalog::object::{Constraint, ConstraintKind, Index};

fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| quote_identifier(name)).collect();
    quoted.join(", ")
}

/// `CREATE UNIQUE INDEX name ON schema.table USING btree (a, b)`
pub(super) fn index(index: &Index) -> String {
    let unique = if index.unique { "UNIQUE " } else { "" };
    let (name, schema, table) = (quote_identifier(&index.name), quote_identifier(&index.schema), quote_identifier(&index.table));
    format!("CREATE {unique}INDEX {name} ON {schema}.{table} USING btree ({})", list(&index.column_names))
}

/// `PRIMARY KEY (a)`, `FOREIGN KEY (a) REFERENCES schema.table(b)`
pub(super) fn constraint(constraint: &Constraint) -> String {
    let columns = list(&constraint.column_names);
    match (&constraint.kind, &constraint.references) {
        (ConstraintKind::Foreign, Some(far)) => {
            let target = if far.schema == constraint.schema {
                quote_identifier(&far.table)
            } else {
                format!("{}.{}", quote_identifier(&far.schema), quote_identifier(&far.table))
            };
            format!("FOREIGN KEY ({columns}) REFERENCES {target}({})", list(&far.column_names))
        }
        (kind, _) => format!("{} ({columns})", kind.words()),
    }
}
