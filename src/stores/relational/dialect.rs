//! How each SQL dialect quotes names, numbers parameters and spells truth values.

use super::super::schema::TableId;

/// An SQL dialect of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL: `"name"`, `$1`.
    Postgres,
    /// MySQL and MariaDB: `` `name` ``, `?`.
    MySql,
    /// SQLite: `"name"`, `?1`.
    Sqlite,
}

impl Dialect {
    /// A name in the dialect's quotes, with every quote inside it doubled.
    ///
    /// Names come from the store's own catalog, so their length and characters are already what the store accepts; none of
    /// the three stores can hold a NUL in a name, and one that claims to is cut out here because SQLite would end the
    /// statement at it.
    pub fn quote(self, name: &str) -> String {
        let mark = match self {
            Self::Postgres | Self::Sqlite => '"',
            Self::MySql => '`',
        };
        let mut quoted = String::with_capacity(name.len() + 2);
        quoted.push(mark);
        for character in name.chars().filter(|character| *character != '\0') {
            if character == mark {
                quoted.push(mark);
            }
            quoted.push(character);
        }
        quoted.push(mark);
        quoted
    }

    /// `"namespace"."table"`.
    pub fn table(self, table: &TableId) -> String {
        format!("{}.{}", self.quote(&table.namespace), self.quote(&table.name))
    }

    /// Appends the placeholder of parameter `number`, which starts at 1.
    pub fn write_placeholder(self, number: usize, text: &mut String) {
        match self {
            Self::Postgres => text.push('$'),
            Self::MySql => return text.push('?'),
            Self::Sqlite => text.push('?'),
        }
        text.push_str(itoa::Buffer::new().format(number));
    }

    /// The word before rows that stand in the place of a subquery: SQLite knows no list of rows.
    pub fn before_rows(self) -> &'static str {
        match self {
            Self::Postgres | Self::MySql => "",
            Self::Sqlite => "VALUES ",
        }
    }

    /// A condition that always or never holds.
    pub fn truth(self, truth: bool) -> &'static str {
        match (self, truth) {
            (Self::Postgres, true) => "TRUE",
            (Self::Postgres, false) => "FALSE",
            (Self::MySql | Self::Sqlite, true) => "1",
            (Self::MySql | Self::Sqlite, false) => "0",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_so_that_nothing_inside_can_end_them() {
        let rows = [
            ("plain", "\"plain\"", "`plain`"),
            ("select", "\"select\"", "`select`"),
            ("a\"b", "\"a\"\"b\"", "`a\"b`"),
            ("a`b", "\"a`b\"", "`a``b`"),
            ("\"; DROP TABLE x; --", "\"\"\"; DROP TABLE x; --\"", "`\"; DROP TABLE x; --`"),
            ("späce ünïcode 名", "\"späce ünïcode 名\"", "`späce ünïcode 名`"),
            ("nul\0led", "\"nulled\"", "`nulled`"),
            ("", "\"\"", "``"),
        ];
        for (name, double, back) in rows {
            assert_eq!(Dialect::Postgres.quote(name), double);
            assert_eq!(Dialect::Sqlite.quote(name), double);
            assert_eq!(Dialect::MySql.quote(name), back);
        }
    }

    #[test]
    fn placeholders_follow_the_dialect() {
        let rows = [(Dialect::Postgres, "$12"), (Dialect::MySql, "?"), (Dialect::Sqlite, "?12")];
        for (dialect, expected) in rows {
            let mut text = String::new();
            dialect.write_placeholder(12, &mut text);
            assert_eq!(text, expected);
        }
        let table = TableId { namespace: "my.db".to_owned(), name: "t".to_owned() };
        assert_eq!(Dialect::MySql.table(&table), "`my.db`.`t`");
        assert_eq!(Dialect::Postgres.truth(false), "FALSE");
    }
}
