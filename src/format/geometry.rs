//! `point`, `lseg`, `path`, `box`, `polygon`, `circle` and `line`: their canonical text (manual §8.8).
//!
//! What is taken is what PostgreSQL's readers take: outer parentheses may be left out or doubled, a comma between points may be missing,
//! and blanks may stand around numbers. A line through two points is refused, as its coefficients are computed.

use super::{fault, float};
use crate::error::{Diagnosis, sqlstate};
use crate::pgtype::PgType;

/// What cannot be read: between boxes of an array stand semicolons, which the reader of arrays does not know.
///
/// # Errors
/// 0A000 for arrays of `box`.
pub fn check_element(element: PgType) -> Result<(), Diagnosis> {
    if name(element) == Some("box") { Err(fault::unsupported("reading arrays of box is not supported")) } else { Ok(()) }
}

/// The canonical text of a value of a geometric type.
///
/// # Errors
/// 22P02, 22003 for numbers out of range, 0A000 for lines through two points.
pub fn canonical(pg_type: PgType, text: &str) -> Result<String, Diagnosis> {
    let Some(name) = name(pg_type) else { return Ok(text.to_owned()) };
    let mut input = Input { rest: text, text, name };
    let shown = match name {
        "point" => shown(&[input.pair()?]),
        "lseg" => format!("[{}]", shown(&input.points(2, true)?.0)),
        "box" => boxed(&input.points(2, false)?.0),
        "polygon" => {
            let count = input.pairs()?;
            format!("({})", shown(&input.points(count, false)?.0))
        }
        "path" => input.path()?,
        "circle" => input.circle()?,
        _ => input.line()?,
    };
    if input.rest.is_empty() { Ok(shown) } else { Err(input.invalid()) }
}

fn name(pg_type: PgType) -> Option<&'static str> {
    Some(match pg_type.oid {
        600 => "point",
        601 => "lseg",
        602 => "path",
        603 => "box",
        604 => "polygon",
        628 => "line",
        718 => "circle",
        _ => return None,
    })
}

type Point = (f64, f64);

fn number(value: f64) -> String {
    let mut out = Vec::new();
    float::write_f64(value, 1, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

fn shown(points: &[Point]) -> String {
    points.iter().map(|(x, y)| format!("({},{})", number(*x), number(*y))).collect::<Vec<_>>().join(",")
}

/// The upper right corner and the lower left one.
fn boxed(corners: &[Point]) -> String {
    let [first, second] = corners else { return shown(corners) };
    let ((right, left), (upper, lower)) = (ordered(first.0, second.0), ordered(first.1, second.1));
    shown(&[(right, upper), (left, lower)])
}

/// The greater of two numbers first; NaN is greatest.
fn ordered(first: f64, second: f64) -> (f64, f64) {
    let is_less = if first.is_nan() { false } else { second.is_nan() || first < second };
    if is_less { (second, first) } else { (first, second) }
}

struct Input<'t> {
    rest: &'t str,
    text: &'t str,
    name: &'static str,
}

impl<'t> Input<'t> {
    fn invalid(&self) -> Diagnosis {
        fault::invalid(self.name, self.text)
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(fault::is_space);
    }

    /// Takes a letter if it is next.
    fn take(&mut self, letter: char) -> bool {
        let taken = self.rest.strip_prefix(letter);
        self.rest = taken.unwrap_or(self.rest);
        taken.is_some()
    }

    fn expect(&mut self, letter: char) -> Result<(), Diagnosis> {
        if self.take(letter) { Ok(()) } else { Err(self.invalid()) }
    }

    /// What stands behind a parenthesis that is next, and blanks.
    fn behind_parenthesis(&self) -> Option<&'t str> {
        self.rest.strip_prefix('(').map(|rest| rest.trim_start_matches(fault::is_space))
    }

    fn number(&mut self) -> Result<f64, Diagnosis> {
        let end = self.rest.find(|letter: char| ",()[]{}<>".contains(letter)).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        float::read_f64(digits).map_err(
            |error| {
                if error.sqlstate == sqlstate::NUMERIC_VALUE_OUT_OF_RANGE { error } else { self.invalid() }
            },
        )
    }

    fn pair(&mut self) -> Result<Point, Diagnosis> {
        self.skip_blanks();
        let is_inside = self.take('(');
        let x = self.number()?;
        self.expect(',')?;
        let y = self.number()?;
        if is_inside {
            self.expect(')')?;
            self.skip_blanks();
        }
        Ok((x, y))
    }

    /// How many pairs of numbers the text has by its commas.
    fn pairs(&self) -> Result<usize, Diagnosis> {
        let commas = self.text.matches(',').count();
        if commas % 2 == 1 { Ok(commas.div_ceil(2)) } else { Err(self.invalid()) }
    }

    /// So many points, and whether they stand in square brackets, which only some types may.
    fn points(&mut self, count: usize, may_be_open: bool) -> Result<(Vec<Point>, bool), Diagnosis> {
        let mut depth = 0_usize;
        self.skip_blanks();
        let is_open = self.take('[');
        if is_open {
            if !may_be_open {
                return Err(self.invalid());
            }
            depth += 1;
        } else if let Some(behind) = self.behind_parenthesis()
            && (behind.starts_with('(') || self.rest.rfind('(') == Some(0))
        {
            self.rest = behind;
            depth += 1;
        }
        let mut points = Vec::new();
        for _ in 0..count {
            points.push(self.pair()?);
            self.take(',');
        }
        while depth > 0 {
            if !(self.take(')') || is_open && self.take(']')) {
                return Err(self.invalid());
            }
            depth -= 1;
            self.skip_blanks();
        }
        Ok((points, is_open))
    }

    fn path(&mut self) -> Result<String, Diagnosis> {
        let count = self.pairs()?;
        self.skip_blanks();
        let has_one = self.rest.rfind('(') == Some(0);
        if has_one {
            self.expect('(')?;
        }
        let (points, is_open) = self.points(count, true)?;
        if has_one {
            self.expect(')')?;
            self.skip_blanks();
        }
        Ok(if is_open { format!("[{}]", shown(&points)) } else { format!("({})", shown(&points)) })
    }

    fn circle(&mut self) -> Result<String, Diagnosis> {
        self.skip_blanks();
        let is_pointed = self.take('<');
        let mut depth = usize::from(is_pointed);
        if !is_pointed
            && let Some(behind) = self.behind_parenthesis()
            && behind.starts_with('(')
        {
            self.rest = behind;
            depth += 1;
        }
        let center = self.pair()?;
        self.take(',');
        let radius = self.number()?;
        if radius < 0.0 {
            return Err(self.invalid());
        }
        while depth > 0 {
            if !self.take(')') && !self.take('>') {
                return Err(self.invalid());
            }
            depth -= 1;
            self.skip_blanks();
        }
        Ok(format!("<{},{}>", shown(&[center]), number(radius)))
    }

    fn line(&mut self) -> Result<String, Diagnosis> {
        self.skip_blanks();
        if !self.take('{') {
            self.points(2, true)?;
            if !self.rest.is_empty() {
                return Err(self.invalid());
            }
            return Err(fault::unsupported("a line through two points is not supported"));
        }
        let a = self.number()?;
        self.expect(',')?;
        let b = self.number()?;
        self.expect(',')?;
        let c = self.number()?;
        self.expect('}')?;
        self.skip_blanks();
        if !self.rest.is_empty() {
            return Err(self.invalid());
        }
        // As near to zero as PostgreSQL's geometry takes for it.
        if a.abs() <= 1e-6 && b.abs() <= 1e-6 {
            let message = "invalid line specification: A and B cannot both be zero";
            return Err(Diagnosis::new(sqlstate::INVALID_TEXT_REPRESENTATION, message));
        }
        Ok(format!("{{{},{},{}}}", number(a), number(b), number(c)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(oid: u32, text: &str) -> Result<String, String> {
        let pg_type = PgType { oid, ..PgType::TEXT };
        canonical(pg_type, text).map_err(|error| error.sqlstate)
    }

    #[test]
    fn values_have_one_text() {
        for (oid, text, expected) in [
            (600, " ( 1 , -2.50 ) ", "(1,-2.5)"),
            (600, "1,nan", "(1,NaN)"),
            (601, "1,2,3,4", "[(1,2),(3,4)]"),
            (601, "((1,2),(3,4))", "[(1,2),(3,4)]"),
            (602, "(1,2),(3,4)", "((1,2),(3,4))"),
            (602, "(1,2,3,4)", "((1,2),(3,4))"),
            (602, "[ (1,2) , (3,4) ] ", "[(1,2),(3,4)]"),
            (603, "(1,4),(3,2)", "(3,4),(1,2)"),
            (604, "(1,2),(3,4),(5,6)", "((1,2),(3,4),(5,6))"),
            (628, "{1, 2e3, 0}", "{1,2000,0}"),
            (718, "((1,2),3)", "<(1,2),3>"),
            (718, "<(1,2) ,3> ", "<(1,2),3>"),
            (718, "1,2,3", "<(1,2),3>"),
        ] {
            assert_eq!(read(oid, text).as_deref(), Ok(expected), "{text}");
            assert_eq!(read(oid, expected).as_deref(), Ok(expected), "{expected}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for (oid, text, code) in [
            (600, "foo", "22P02"),
            (600, "", "22P02"),
            (600, "(1,2", "22P02"),
            (600, "(1,2) x", "22P02"),
            (600, "1e999,0", "22003"),
            (601, "(1,2)", "22P02"),
            (602, "(1,2,3)", "22P02"),
            (602, "foo", "22P02"),
            (603, "[(1,2),(3,4)]", "22P02"),
            (604, "(1,2),(3,4", "22P02"),
            (628, "{0,0,1}", "22P02"),
            (628, "{1,2}", "22P02"),
            (628, "(0,0),(1,1)", "0A000"),
            (718, "<(1,2),-3>", "22P02"),
        ] {
            assert_eq!(read(oid, text), Err(code.to_owned()), "{text}");
        }
        assert!(check_element(PgType { oid: 603, ..PgType::TEXT }).is_err());
        assert!(check_element(PgType { oid: 600, ..PgType::TEXT }).is_ok());
    }
}
