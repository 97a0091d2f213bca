//! One value inside a document, borrowed from wherever the store's bytes lie: parsed JSON or raw BSON.

use super::Filling;

/// A value inside a document.
#[derive(Clone, Copy)]
pub enum DocumentValue<'a> {
    /// JSON `null`, BSON null or undefined.
    Null,
    /// A truth value.
    Bool(bool),
    /// Any integer that fits 64 bits.
    Int(i64),
    /// A double, NaN and infinities included.
    Double(f64),
    /// A decimal number.
    Decimal(Decimal),
    /// Milliseconds since 1970-01-01 UTC (BSON datetime).
    Date(i64),
    /// A BSON ObjectId.
    ObjectId([u8; 12]),
    /// A UUID (BSON binary subtype 4).
    Uuid([u8; 16]),
    /// Bytes with their BSON subtype.
    Binary(&'a [u8], u8),
    /// Text.
    Text(&'a str),
    /// A nested document.
    Document(&'a dyn Fields),
    /// An array.
    List(&'a dyn Elements),
    /// A type without a column form (regular expression, code, timestamp, min and max key): its name and its extended JSON.
    Other(&'static str, &'a str),
}

impl DocumentValue<'_> {
    /// The value's kind as error messages name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Int(_) => "integer",
            Self::Double(_) => "double",
            Self::Decimal(_) => "decimal",
            Self::Date(_) => "date",
            Self::ObjectId(_) => "objectId",
            Self::Uuid(_) => "uuid",
            Self::Binary(..) => "binary",
            Self::Text(_) => "text",
            Self::Document(_) => "document",
            Self::List(_) => "array",
            Self::Other(kind, _) => kind,
        }
    }
}

/// A decimal number: `unscaled × 10^exponent`, or one of the values without digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decimal {
    /// A number with digits.
    Finite {
        /// The digits with sign.
        unscaled: i128,
        /// The power of ten.
        exponent: i32,
    },
    /// Not a number.
    NaN,
    /// Above all numbers.
    Infinity,
    /// Below all numbers.
    NegativeInfinity,
}

/// What is called with each field of a document; its error ends the walk.
pub type VisitField<'v> = dyn FnMut(&str, DocumentValue<'_>) -> Result<(), Box<Mismatch>> + 'v;

/// What is called with each element of an array; its error ends the walk.
pub type VisitElement<'v> = dyn FnMut(DocumentValue<'_>) -> Result<(), Box<Mismatch>> + 'v;

/// The fields of a document, in its own order.
pub trait Fields {
    /// Calls `visit` with each field. Bytes that cannot be read are a [`Mismatch`].
    ///
    /// # Errors
    /// The first error of `visit`, or malformed bytes.
    fn visit(&self, visit: &mut VisitField<'_>) -> Result<(), Box<Mismatch>>;

    /// Puts each field that has a column where it belongs. Forms of documents in which a name is cheaper to compare than to
    /// find out do better than this by asking for the name that is expected.
    ///
    /// # Errors
    /// Values that their columns cannot hold, or malformed bytes.
    fn fill(&self, filling: &mut Filling<'_>) -> Result<(), Box<Mismatch>> {
        self.visit(&mut |name, value| match filling.find(name) {
            Some(place) => filling.take(place, value),
            None => Ok(()),
        })
    }
}

/// The elements of an array.
pub trait Elements {
    /// Calls `visit` with each element.
    ///
    /// # Errors
    /// The first error of `visit`, or malformed bytes.
    fn visit(&self, visit: &mut VisitElement<'_>) -> Result<(), Box<Mismatch>>;
}

/// A value that its column cannot hold. Boxed wherever it is returned, because a result is looked at for every value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} {rule}")]
pub struct Mismatch {
    /// The field inside the document, `address.zip`; empty for the document itself.
    pub path: String,
    /// The broken rule as a clause: `is text, not an integer`.
    pub rule: String,
    /// SQLSTATE of the failure.
    pub sqlstate: &'static str,
}

impl Mismatch {
    /// A mismatch whose path is still to be told by the caller.
    #[cold]
    pub fn new(sqlstate: &'static str, rule: impl Into<String>) -> Box<Self> {
        Box::new(Self { path: String::new(), rule: rule.into(), sqlstate })
    }

    /// The same mismatch below a field.
    #[must_use]
    #[cold]
    pub fn inside(mut self: Box<Self>, field: &str) -> Box<Self> {
        self.path = if self.path.is_empty() { field.to_owned() } else { format!("{field}.{}", self.path) };
        self
    }
}
