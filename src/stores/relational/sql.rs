//! SQL text under construction, with the values it carries: bound beside it, or as proved literals inside it.

use super::super::value::Value;
use super::dialect::Dialect;
use super::literal;

/// A value that cannot be given to the store in this form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a value {0}")]
pub struct Unwritable(pub &'static str);

/// SQL text and its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Sql {
    dialect: Dialect,
    literals: bool,
    text: String,
    values: Vec<Value>,
}

impl Sql {
    /// Empty text whose values are bound as parameters.
    pub fn bound(dialect: Dialect) -> Self {
        Self { dialect, literals: false, text: String::new(), values: Vec::new() }
    }

    /// Empty PostgreSQL text whose values are written as literals, for `COPY`, which takes no parameters. The connection
    /// must run with `standard_conforming_strings = on`.
    pub fn literal() -> Self {
        Self { dialect: Dialect::Postgres, literals: true, text: String::new(), values: Vec::new() }
    }

    /// The dialect being written.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Appends text that is ours; never a value or an unquoted name.
    pub fn push(&mut self, ours: &str) {
        self.text.push_str(ours);
    }

    /// Appends a quoted name.
    pub fn push_name(&mut self, name: &str) {
        let quoted = self.dialect.quote(name);
        self.text.push_str(&quoted);
    }

    /// Appends a value: as the next placeholder, or as a literal.
    ///
    /// # Errors
    /// In literal mode, a text with a NUL byte or a number that is not one.
    pub fn push_value(&mut self, value: Value) -> Result<(), Unwritable> {
        if self.literals {
            return literal::write(&value, &mut self.text);
        }
        self.values.push(value);
        self.dialect.write_placeholder(self.values.len(), &mut self.text);
        Ok(())
    }

    /// Appends the next placeholder wrapped in a cast: `CAST($1 AS uuid)`. `sql_type` is ours or quoted by the caller.
    ///
    /// # Errors
    /// As [`Sql::push_value`].
    pub fn push_cast(&mut self, value: Value, sql_type: &str) -> Result<(), Unwritable> {
        self.push("CAST(");
        self.push_value(value)?;
        self.push(" AS ");
        self.push(sql_type);
        self.push(")");
        Ok(())
    }

    /// The text so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The parameters so far, in placeholder order.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The text and the parameters in placeholder order.
    pub fn into_parts(self) -> (String, Vec<Value>) {
        (self.text, self.values)
    }
}
