//! What may be the name of a store, a schema, a view, a role or the database.

use crate::catalog::keyword::is_reserved;

/// Most bytes in an identifier (PostgreSQL manual, "Identifiers and Key Words": `NAMEDATALEN` - 1).
const NAME_BYTES_MAX: usize = 63;

/// Schemas that Tributary itself fills.
const OWN_SCHEMAS: &[&str] = &["information_schema", "public", "tributary"];

/// The rule that `name` breaks as an identifier that needs no quotes.
pub(super) fn broken_rule(name: &str) -> Option<String> {
    let mut characters = name.chars();
    let starts_well = characters.next().is_some_and(|first| first.is_ascii_lowercase() || first == '_');
    let goes_on = characters.all(|next| next.is_ascii_lowercase() || next.is_ascii_digit() || next == '_');
    if !starts_well || !goes_on {
        return Some("is not a name of lowercase letters, digits and underscores that starts with a letter".to_owned());
    }
    if name.len() > NAME_BYTES_MAX {
        return Some(format!("is longer than {NAME_BYTES_MAX} bytes"));
    }
    is_reserved(name).then(|| "is a reserved key word of SQL".to_owned())
}

/// The rule that `name` breaks as the name of a schema that a store fills.
pub(super) fn broken_schema_rule(name: &str) -> Option<String> {
    if OWN_SCHEMAS.contains(&name) || name.starts_with("pg_") {
        return Some("is the name of a schema that Tributary itself fills".to_owned());
    }
    broken_rule(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_need_no_quotes() {
        let long = "x".repeat(64);
        let rows = [
            ("shop", true),
            ("_shop2", true),
            ("", false),
            ("2shop", false),
            ("Shop", false),
            ("my-shop", false),
            ("größe", false),
            ("order", false),
            ("orders", true),
            (&long, false),
            (&long[1..], true),
        ];
        for (name, expected) in rows {
            assert_eq!(broken_rule(name).is_none(), expected, "{name}");
        }
    }

    #[test]
    fn stores_do_not_take_our_schemas() {
        for name in ["public", "pg_catalog", "pg_temp_1", "information_schema", "tributary"] {
            assert!(broken_schema_rule(name).is_some(), "{name}");
        }
        assert_eq!(broken_schema_rule("pgstore"), None);
    }
}
