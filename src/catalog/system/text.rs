//! Definitions as SQL text: what `pg_get_indexdef` and `pg_get_constraintdef` print.

use crate::catalog::keyword::quote_identifier;
use crate::catalog::object::{Constraint, ConstraintKind, Index};
use crate::stores::schema::Action;

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

/// `PRIMARY KEY (a)`, `FOREIGN KEY (a) REFERENCES schema.table(b) ON DELETE CASCADE`, `CHECK (a > 0)`
pub(super) fn constraint(constraint: &Constraint) -> String {
    let columns = list(&constraint.column_names);
    match (&constraint.kind, &constraint.references) {
        (ConstraintKind::Foreign, Some(far)) => {
            let target = if far.schema == constraint.schema {
                quote_identifier(&far.table)
            } else {
                format!("{}.{}", quote_identifier(&far.schema), quote_identifier(&far.table))
            };
            let action = |when: &str, action: Action| match action {
                Action::NoAction => String::new(),
                other => format!(" ON {when} {}", other.words()),
            };
            let (update, delete) = (action("UPDATE", far.on_update), action("DELETE", far.on_delete));
            format!("FOREIGN KEY ({columns}) REFERENCES {target}({}){update}{delete}", list(&far.column_names))
        }
        (ConstraintKind::Check, _) => format!("CHECK ({})", constraint.condition.as_deref().unwrap_or_default()),
        (kind, _) => format!("{} ({columns})", kind.words()),
    }
}
