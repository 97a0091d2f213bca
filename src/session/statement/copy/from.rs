//! `COPY … FROM STDIN`: what is filled, how the rows are written that the client sends, and which of them are kept.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

use super::super::{Kind, refuse};
use super::{Given, Options, bad_value, check_delimiter, options, syntax, unavailable};
use crate::error::{Diagnosis, sqlstate};
use crate::federation::dml::Filled;
use crate::format::copy::{Header, Layout, Marks};

/// A `COPY … FROM STDIN`.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyIn {
    /// What is filled.
    pub filled: Filled,
    /// How the rows are written.
    pub layout: Layout,
    /// Columns in which what stands for NULL is a value.
    pub force_not_null: Vec<String>,
    /// Columns in which what stands for NULL is NULL in quotes too.
    pub force_null: Vec<String>,
}

/// Reads what follows `COPY table (columns) FROM STDIN`.
pub(super) fn parse(parser: &mut Parser<'_>, table: ObjectName, columns: Vec<Ident>, given: Options) -> Result<Kind, ParserError> {
    let settled = options(parser, given)?.settle_in();
    let condition = if parser.parse_keyword(Keyword::WHERE) { Some(Box::new(parser.parse_expr()?)) } else { None };
    Ok(match settled {
        Ok((layout, force_not_null, force_null)) => {
            let filled = Filled { table, columns, condition };
            Kind::CopyIn(Box::new(CopyIn { filled, layout, force_not_null, force_null }))
        }
        Err(error) => refuse(&error.sqlstate, &error.message),
    })
}

/// A layout, and the names of FORCE_NOT_NULL and FORCE_NULL.
type Settled = (Layout, Vec<String>, Vec<String>);

impl Options {
    /// [`Options::settle`] for rows that come in.
    fn settle_in(&self) -> Result<Settled, Diagnosis> {
        self.check_known()?;
        let is_csv = match self.text("format")? {
            None | Some("text") => false,
            Some("csv") => true,
            Some("binary") => return self.binary_in().map(|layout| (layout, Vec::new(), Vec::new())),
            Some(other) => return Err(bad_value(format!("COPY format \"{other}\" not recognized"))),
        };
        let marks = self.marks(is_csv)?;
        let layout = if is_csv { self.csv_in(marks)? } else { self.text_in(marks)? };
        self.check_frozen()?;
        Ok((layout, self.list("force_not_null")?, self.list("force_null")?))
    }

    fn binary_in(&self) -> Result<Layout, Diagnosis> {
        if let Some(name) = ["delimiter", "null"].into_iter().find(|name| self.get(name).is_some()) {
            return Err(syntax(format!("cannot specify {} in BINARY mode", name.to_uppercase())));
        }
        if self.header_in()? != Header::Absent {
            return Err(unavailable("cannot specify HEADER in BINARY mode"));
        }
        self.refuse_csv_options()?;
        self.check_frozen()?;
        Ok(Layout::Binary)
    }

    fn marks(&self, is_csv: bool) -> Result<Marks, Diagnosis> {
        let (delimiter, null) = if is_csv { (b',', "") } else { (b'\t', "\\N") };
        let header = self.header_in()?;
        let delimiter = self.byte("delimiter")?.unwrap_or(delimiter);
        let null = self.text("null")?.unwrap_or(null).to_owned();
        if matches!(delimiter, b'\n' | b'\r') {
            return Err(bad_value("COPY delimiter cannot be newline or carriage return"));
        }
        if null.contains(['\n', '\r']) {
            return Err(bad_value("COPY null representation cannot use newline or carriage return"));
        }
        Ok(Marks { delimiter, null, header })
    }

    fn text_in(&self, marks: Marks) -> Result<Layout, Diagnosis> {
        check_delimiter(marks.delimiter)?;
        self.refuse_csv_options()?;
        check_null(&marks)?;
        Ok(Layout::Text(marks))
    }

    fn csv_in(&self, marks: Marks) -> Result<Layout, Diagnosis> {
        let quote = self.byte("quote")?.unwrap_or(b'"');
        if quote == marks.delimiter {
            return Err(bad_value("COPY delimiter and quote must be different"));
        }
        let escape = self.byte("escape")?.unwrap_or(quote);
        if self.get("force_quote").is_some() {
            return Err(unavailable("COPY force quote only available using COPY TO"));
        }
        check_null(&marks)?;
        if marks.null.as_bytes().contains(&quote) {
            return Err(bad_value("CSV quote character must not appear in the NULL specification"));
        }
        Ok(Layout::Csv { marks, quote, escape })
    }

    fn refuse_csv_options(&self) -> Result<(), Diagnosis> {
        let rows = [
            ("quote", "quote"),
            ("escape", "escape"),
            ("force_quote", "force quote"),
            ("force_not_null", "force not null"),
            ("force_null", "force null"),
        ];
        match rows.into_iter().find(|(name, _)| self.get(name).is_some()) {
            Some((_, shown)) => Err(unavailable(format!("COPY {shown} available only in CSV mode"))),
            None => Ok(()),
        }
    }

    fn header_in(&self) -> Result<Header, Diagnosis> {
        match self.get("header") {
            Some(Given::Text(text)) if text.eq_ignore_ascii_case("match") => Ok(Header::Matched),
            _ => Ok(if self.header()? { Header::Skipped } else { Header::Absent }),
        }
    }

    /// No table of a store was made in the transaction that fills it.
    fn check_frozen(&self) -> Result<(), Diagnosis> {
        let is_frozen = match self.get("freeze") {
            None => false,
            Some(Given::None) => true,
            Some(Given::Text(text)) => match text.to_lowercase().as_str() {
                "true" | "on" | "1" => true,
                "false" | "off" | "0" => false,
                _ => return Err(syntax("freeze requires a Boolean value")),
            },
            Some(_) => return Err(syntax("freeze requires a Boolean value")),
        };
        if !is_frozen {
            return Ok(());
        }
        let message = "cannot perform COPY FREEZE because the table was not created or truncated in the current subtransaction";
        Err(Diagnosis::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message))
    }

    fn list(&self, name: &str) -> Result<Vec<String>, Diagnosis> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Given::Names(names)) => Ok(names.clone()),
            Some(_) => Err(bad_value(format!("argument to option \"{name}\" must be a list of column names"))),
        }
    }
}

fn check_null(marks: &Marks) -> Result<(), Diagnosis> {
    if marks.null.as_bytes().contains(&marks.delimiter) {
        return Err(bad_value("COPY delimiter must not appear in the NULL specification"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::parse;
    use super::*;

    fn copy(sql: &str) -> Result<CopyIn, (String, String)> {
        match parse(sql).map_err(|error| (error.sqlstate, error.message))?.remove(0).kind {
            Kind::CopyIn(copy) => Ok(*copy),
            Kind::Refused(error) => Err((error.sqlstate, error.message)),
            other => panic!("{other:?}"),
        }
    }

    fn layout(sql: &str) -> Layout {
        copy(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}")).layout
    }

    #[test]
    fn options_are_read_in_all_spellings() {
        let marks = |delimiter: u8, null: &str, header| Marks { delimiter, null: null.to_owned(), header };
        let text = Layout::Text(marks(b'\t', "\\N", Header::Absent));
        assert_eq!(layout("COPY t FROM STDIN"), text);
        assert_eq!(layout("copy s.t (a, \"B\") from stdout with (format text, freeze false);"), text);
        assert_eq!(layout("COPY BINARY t FROM STDIN"), Layout::Binary);
        assert_eq!(layout("COPY t FROM STDIN WITH BINARY"), Layout::Binary);
        let piped = Layout::Text(marks(b'|', "", Header::Absent));
        assert_eq!(layout("COPY t FROM STDIN USING DELIMITERS '|' WITH NULL AS ''"), piped);
        assert_eq!(layout("COPY t FROM STDIN DELIMITERS '|' NULL ''"), piped);
        let csv = Layout::Csv { marks: marks(b';', "nil", Header::Matched), quote: b'\'', escape: b'\\' };
        let new =
            "COPY t FROM STDIN (FORMAT csv, DELIMITER ';', NULL 'nil', HEADER Match, QUOTE '''', ESCAPE '\\', ENCODING 'UTF8')";
        assert_eq!(layout(new), csv);
        let old = copy("COPY t FROM STDIN CSV HEADER FORCE NOT NULL a, \"B\" FORCE NULL c WHERE a > 1 AND b IS NULL;").unwrap();
        assert_eq!(old.layout, Layout::Csv { marks: marks(b',', "", Header::Skipped), quote: b'"', escape: b'"' });
        assert_eq!((old.force_not_null, old.force_null), (vec!["a".to_owned(), "B".to_owned()], vec!["c".to_owned()]));
        assert_eq!(old.filled.condition.map(|condition| condition.to_string()).as_deref(), Some("a > 1 AND b IS NULL"));
        assert!(copy("COPY t FROM STDIN (FORMAT csv, FORCE_NULL (a)) WHERE true").unwrap().filled.condition.is_some());
    }

    #[test]
    fn options_that_do_not_fit_are_refused_as_postgres_does() {
        let rows = [
            ("COPY t FROM STDIN (FORMAT xml)", "22023", "COPY format \"xml\" not recognized"),
            ("COPY t FROM STDIN (DEFAULT 'x')", "42601", "option \"default\" not recognized"),
            ("COPY t FROM STDIN (NULL '', NULL '')", "42601", "conflicting or redundant options"),
            ("COPY t FROM STDIN (ENCODING 'latin1')", "0A000", "COPY in encoding \"latin1\" is not supported"),
            ("COPY t FROM STDIN (ENCODING 'x')", "22023", "argument to option \"encoding\" must be a valid encoding name"),
            (
                "COPY t FROM STDIN (ENCODING x, COLOUR red)",
                "22023",
                "argument to option \"encoding\" must be a valid encoding name",
            ),
            ("COPY t FROM STDIN (FORCE_NULL *)", "22023", "argument to option \"force_null\" must be a list of column names"),
            ("COPY t FROM STDIN (FORCE_QUOTE x)", "22023", "argument to option \"force_quote\" must be a list of column names"),
            (
                "COPY t FROM STDIN (DELIMITER 'ab', FORCE_NOT_NULL *)",
                "22023",
                "argument to option \"force_not_null\" must be a list of column names",
            ),
            ("COPY t FROM STDIN (QUOTE)", "42601", "quote requires a parameter"),
            ("COPY t FROM STDIN (FORMAT binary, DELIMITER '|')", "42601", "cannot specify DELIMITER in BINARY mode"),
            ("COPY t FROM STDIN (FORMAT binary, HEADER)", "0A000", "cannot specify HEADER in BINARY mode"),
            ("COPY t FROM STDIN (DELIMITER 'a')", "22023", "COPY delimiter cannot be \"a\""),
            ("COPY t FROM STDIN (DELIMITER E'\\n')", "22023", "COPY delimiter cannot be newline or carriage return"),
            ("COPY t FROM STDIN (NULL 'a|', DELIMITER '|')", "22023", "COPY delimiter must not appear in the NULL specification"),
            ("COPY t FROM STDIN (QUOTE '\"')", "0A000", "COPY quote available only in CSV mode"),
            ("COPY t FROM STDIN (FORCE_NULL (a))", "0A000", "COPY force null available only in CSV mode"),
            ("COPY t FROM STDIN (FORMAT csv, FORCE_QUOTE *)", "0A000", "COPY force quote only available using COPY TO"),
            ("COPY t FROM STDIN (FORMAT csv, QUOTE ',')", "22023", "COPY delimiter and quote must be different"),
            ("COPY t FROM STDIN (FREEZE)", "55000", {
                "cannot perform COPY FREEZE because the table was not created or truncated in the current subtransaction"
            }),
            ("COPY t FROM '/etc/passwd'", "42501", "COPY to or from files and programs is not allowed"),
            ("COPY t FROM PROGRAM 'id'", "42501", "COPY to or from files and programs is not allowed"),
        ];
        for (sql, code, message) in rows {
            assert_eq!(copy(sql), Err((code.to_owned(), message.to_owned())), "{sql}");
        }
        for sql in
            ["COPY (SELECT 1) FROM STDIN", "COPY t FROM STDIN WHERE", "COPY t TO STDOUT WHERE true", "COPY t FROM STDIN nonsense"]
        {
            assert_eq!(copy(sql).map(|_| ()).unwrap_err().0, "42601", "{sql}");
        }
    }
}
