//! Whether two answers to a statement of the typed generator are the same, as far as its values are determined.

use std::cmp::Ordering;

use super::ask::Answer;
use super::compare;
use super::typed::Quality;

const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const NUMERIC: u32 = 1700;

/// How far sums of floats may lie apart, as a part of the larger: thousands of additions of numbers of very different size
/// lose less than this.
const TOLERANCE: f64 = 1e-9;

/// What differs; `None` when nothing does.
pub fn difference(ours: &Answer, expected: &Answer, ordered: bool, qualities: &[Quality]) -> Option<String> {
    let (ours, expected) = (settled(ours, qualities), settled(expected, qualities));
    let told = compare::difference(&ours, &expected, ordered)?;
    let approximate: Vec<usize> = (0..qualities.len()).filter(|at| qualities[*at] == Quality::Approximate).collect();
    match (&ours, &expected) {
        (Answer::Rows { columns: left, rows: ours }, Answer::Rows { columns: right, rows })
            if left == right && !approximate.is_empty() && near(ours, rows, &approximate) =>
        {
            None
        }
        _ => Some(told),
    }
}

/// An answer whose values look as all of their equals do, where which of them it is was open. There is one NaN.
fn settled(answer: &Answer, qualities: &[Quality]) -> Answer {
    let Answer::Rows { columns, rows } = answer else { return answer.clone() };
    let of = |(at, value): (usize, &Option<Vec<u8>>)| {
        let bytes = value.as_ref()?;
        let chosen = qualities.get(at).is_some_and(|quality| *quality >= Quality::Chosen);
        Some(match columns.get(at).map(|column| column.1) {
            Some(FLOAT8) => settled_double(bytes, chosen),
            Some(FLOAT4) if float(bytes).is_some_and(f64::is_nan) => f32::NAN.to_be_bytes().to_vec(),
            Some(FLOAT4) if chosen && float(bytes) == Some(0.0) => vec![0; 4],
            Some(NUMERIC) if chosen => settled_numeric(bytes),
            _ => bytes.clone(),
        })
    };
    let rows = rows.iter().map(|row| row.iter().enumerate().map(of).collect()).collect();
    Answer::Rows { columns: columns.clone(), rows }
}

fn float(bytes: &[u8]) -> Option<f64> {
    match bytes.len() {
        4 => Some(f32::from_be_bytes(bytes.try_into().ok()?).into()),
        8 => Some(f64::from_be_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}

fn settled_double(bytes: &[u8], chosen: bool) -> Vec<u8> {
    match float(bytes) {
        Some(value) if value.is_nan() => f64::NAN.to_be_bytes().to_vec(),
        Some(value) if chosen && value == 0.0 => vec![0; 8],
        _ => bytes.to_vec(),
    }
}

/// Without the scale it is shown with (bytes 6 and 7) and without zeros at the end (protocol of `numeric_send`).
fn settled_numeric(bytes: &[u8]) -> Vec<u8> {
    let (head, digits) = bytes.split_at(8.min(bytes.len()));
    let mut digits = digits.to_vec();
    while digits.ends_with(&[0, 0]) {
        digits.truncate(digits.len() - 2);
    }
    let (weight, sign) = match digits.is_empty() {
        true => ([0, 0], head.get(4..6).filter(|sign| sign[0] & 0x80 != 0).map_or([0, 0], |sign| [sign[0], sign[1]])),
        false => ([head[2], head[3]], [head[4], head[5]]),
    };
    let count = u16::try_from(digits.len() / 2).unwrap().to_be_bytes();
    [&count[..], &weight, &sign, &[0, 0], &digits].concat()
}

type Row = Vec<Option<Vec<u8>>>;

/// Whether rows are the same but for the last digits of some columns. The rows are matched by their other values.
fn near(ours: &[Row], expected: &[Row], approximate: &[usize]) -> bool {
    let (left, right) = (split(ours, approximate), split(expected, approximate));
    left.len() == right.len()
        && left.iter().zip(&right).all(|(a, b)| a.0 == b.0 && a.1.iter().zip(&b.1).all(|(x, y)| close(*x, *y)))
}

type Split = (Row, Vec<Option<f64>>);

fn split(rows: &[Row], approximate: &[usize]) -> Vec<Split> {
    let mut rows: Vec<Split> = rows
        .iter()
        .map(|row| {
            let rest = (0..row.len()).filter(|at| !approximate.contains(at)).map(|at| row[at].clone()).collect();
            (rest, approximate.iter().map(|at| row[*at].as_deref().and_then(float)).collect())
        })
        .collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| compared(&a.1, &b.1)));
    rows
}

fn compared(a: &[Option<f64>], b: &[Option<f64>]) -> Ordering {
    let each = a.iter().zip(b).map(|(x, y)| match (x, y) {
        (Some(x), Some(y)) => x.total_cmp(y),
        (x, y) => x.is_some().cmp(&y.is_some()),
    });
    each.fold(Ordering::Equal, Ordering::then)
}

fn close(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()),
        (a, b) => a.is_none() && b.is_none(),
    }
}

#[test]
fn only_what_is_determined_counts() {
    let rows = |oid: u32, values: &[&[u8]]| Answer::Rows {
        columns: vec![("a".to_owned(), oid)],
        rows: values.iter().map(|value| vec![Some(value.to_vec())]).collect(),
    };
    let doubles = |values: &[f64]| {
        let bytes: Vec<[u8; 8]> = values.iter().map(|value| value.to_be_bytes()).collect();
        rows(FLOAT8, &bytes.iter().map(|bytes| &bytes[..]).collect::<Vec<_>>())
    };
    let one = rows(NUMERIC, &[&[0, 1, 0, 0, 0, 0, 0, 1, 0, 1]]);
    let long = rows(NUMERIC, &[&[0, 2, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0]]);
    let cases = [
        (doubles(&[0.0]), doubles(&[-0.0]), Quality::Loose, false),
        (doubles(&[0.0]), doubles(&[-0.0]), Quality::Chosen, true),
        (doubles(&[f64::NAN]), doubles(&[-f64::NAN]), Quality::Exact, true),
        (doubles(&[0.1 + 0.2, 7.0]), doubles(&[7.0, 0.3]), Quality::Approximate, true),
        (doubles(&[0.1 + 0.2]), doubles(&[0.3]), Quality::Chosen, false),
        (doubles(&[0.300_001]), doubles(&[0.3]), Quality::Approximate, false),
        (one.clone(), long.clone(), Quality::Loose, false),
        (one, long, Quality::Chosen, true),
    ];
    for (ours, expected, quality, same) in cases {
        assert_eq!(difference(&ours, &expected, false, &[quality]).is_none(), same, "{quality:?} {ours} {expected}");
    }
}
