//! Data of all layouts, cut at every place, against what PostgreSQL 15 makes of them.

use super::*;

fn marks(delimiter: u8, null: &str) -> Marks {
    Marks { delimiter, null: null.to_owned(), header: Header::Absent }
}

fn text() -> Layout {
    Layout::Text(marks(b'\t', "\\N"))
}

fn csv() -> Layout {
    Layout::Csv { marks: marks(b',', ""), quote: b'"', escape: b'"' }
}

fn columns(names: &[&str]) -> Vec<Wanted> {
    names.iter().map(|name| Wanted { name: (*name).to_owned(), ..Wanted::default() }).collect()
}

/// `line: value|value; …`, then what the data fail with. `~` is NULL, `^` what is missing.
fn rows_of(rows: &RawRows, width: usize) -> Vec<String> {
    let shown = |raw: Raw<'_>| match raw {
        Raw::Missing => "^".to_owned(),
        Raw::Null => "~".to_owned(),
        Raw::Value(bytes) => bytes.escape_ascii().to_string(),
    };
    let row = |row: usize| (0..width).map(|column| shown(rows.value(row, column))).collect::<Vec<_>>().join("|");
    rows.lines().iter().enumerate().map(|(place, line)| format!("{line}: {}", row(place))).collect()
}

fn read_pieces(layout: &Layout, columns: &[Wanted], pieces: &[&[u8]]) -> String {
    let mut reader = Reader::new("t", columns.to_vec(), layout.clone());
    let mut rows = RawRows::new(columns.len());
    let mut run = || {
        for piece in pieces {
            let mut input = *piece;
            while !input.is_empty() {
                reader.read(&mut input, &mut rows)?;
            }
        }
        reader.end(&mut rows)
    };
    let ended: Result<(), Diagnosis> = run();
    let mut told = rows_of(&rows, columns.len());
    if let Err(error) = ended {
        told.push(format!("{} {} [{}]", error.sqlstate, error.message, error.context.unwrap_or_default()));
    }
    told.join("; ")
}

/// The same however the data are cut.
fn check(layout: &Layout, columns: &[Wanted], given: &[u8], expected: &str) {
    assert_eq!(read_pieces(layout, columns, &[given]), expected, "{}", given.escape_ascii());
    for cut in 1..given.len() {
        let (front, back) = given.split_at(cut);
        assert_eq!(read_pieces(layout, columns, &[front, back]), expected, "{} | {}", front.escape_ascii(), back.escape_ascii());
    }
    let bytes: Vec<&[u8]> = given.chunks(1).collect();
    assert_eq!(read_pieces(layout, columns, &bytes), expected, "{} byte by byte", given.escape_ascii());
}

#[test]
fn lines_of_text_are_read_as_postgres_reads_them() {
    let two = columns(&["a", "b"]);
    let rows: &[(&[u8], &str)] = &[
        (b"", ""),
        (b"1\tx\n2\t\\N\n", "1: 1|x; 2: 2|~"),
        (b"1\tx", "1: 1|x"),
        (b"1\tx\r\n2\ty\r\n", "1: 1|x; 2: 2|y"),
        (b"1\tx\r2\ty\r", "1: 1|x; 2: 2|y"),
        (b"1\t\n", "1: 1|"),
        (b"1\tx\r", "1: 1|x"),
        (b"1\tx\\", "1: 1|x"),
        (b"1\tx\n\\.", "1: 1|x; 22P04 end-of-copy marker corrupt [COPY t, line 2]"),
        (b"\\\\\t\\b\\f\\n\\r\\t\\v\\q\n", "1: \\\\|\\x08\\x0c\\n\\r\\t\\x0bq"),
        (b"\\101\\60\t\\x41\\x4Ag\\xg\n", "1: A0|AJgxg"),
        (b"a\\\tb\tc\\\nd\n", "1: a\\tb|c\\nd"),
        (b"\\\\N\t\\NN\n", "1: \\\\N|NN"),
        (b"\\xc3\\xbc\t\xc3\xbc\n", "1: \\xc3\\xbc|\\xc3\\xbc"),
        (b"1\tx\n\\.\n2\ty\n", "1: 1|x"),
        (b"1\tx\r\n\\.\r\n2\ty\n", "1: 1|x"),
        (b"1\tx\\.\nrest", "1: 1|x"),
        (b"1\tx\\\\.\n", "1: 1|x\\\\."),
        (b"1\n", "1: 1|^; 22P04 missing data for column \"b\" [COPY t, line 1: \"1\"]"),
        (b"1\tx\n\n", "1: 1|x; 2: |^; 22P04 missing data for column \"b\" [COPY t, line 2: \"\"]"),
        (b"1\tx\n1\t2\t3\t4\n", "1: 1|x; 22P04 extra data after last expected column [COPY t, line 2: \"1\\t2\\t3\\t4\"]"),
        (b"1\tx\n2\ty\r\n", "1: 1|x; 22P04 literal carriage return found in data [COPY t, line 2]"),
        (b"1\tx\r\n2\ty\n", "1: 1|x; 22P04 literal newline found in data [COPY t, line 2]"),
        (b"1\tx\r\n2\ty\rz", "1: 1|x; 22P04 literal carriage return found in data [COPY t, line 2]"),
        (b"1\tx\n\\.x\n", "1: 1|x; 22P04 end-of-copy marker corrupt [COPY t, line 2]"),
        (b"1\tx\n\\.\r\n", "1: 1|x; 22P04 end-of-copy marker does not match previous newline style [COPY t, line 2]"),
        (b"1\tx\r\n\\.\n", "1: 1|x; 22P04 end-of-copy marker does not match previous newline style [COPY t, line 2]"),
        (b"1\tx\n2\t\xff\n", "1: 1|x; 22021 invalid byte sequence for encoding \"UTF8\": 0xff [COPY t, line 2]"),
        (b"1\t\0\n", "22021 invalid byte sequence for encoding \"UTF8\": 0x00 [COPY t, line 1]"),
        (b"1\t\\xff\n", "22021 invalid byte sequence for encoding \"UTF8\": 0xff [COPY t, line 1: \"1\\t\\xff\"]"),
        (b"1\t\\000\n", "22021 invalid byte sequence for encoding \"UTF8\": 0x00 [COPY t, line 1: \"1\\t\\000\"]"),
    ];
    for (given, expected) in rows {
        // The context shows the line as it is.
        let expected = expected.replace("\"1\\t", "\"1\t").replace("\t2\\t3\\t4\"", "\t2\t3\t4\"");
        check(&text(), &two, given, &expected);
    }
    check(&Layout::Text(marks(b'|', "")), &two, b"|a\\|b\n", "1: ~|a|b");
    check(&text(), &columns(&["a"]), b"\n\\N\n", "1: ; 2: ~");
    check(&text(), &[], b"\n\n", "1: ; 2: ");
    check(&text(), &[], b"x\n", "22P04 extra data after last expected column [COPY t, line 1: \"x\"]");
}

#[test]
fn lines_of_csv_are_read_as_postgres_reads_them() {
    let two = columns(&["a", "b"]);
    let rows: &[(&[u8], &str)] = &[
        (b"1,x\n2,\n3,\"\"\n", "1: 1|x; 2: 2|~; 3: 3|"),
        (b"\"a,b\",\"c\"\"d\"\r\ne\\,f\r\n", "1: a,b|c\\\"d; 2: e\\\\|f"),
        (b"\"a\nb\",c\nd,e\n", "1: a\\nb|c; 2: d|e"),
        (b"x,y\n\"a\nb\",c\nd,e\n", "1: x|y; 3: a\\nb|c; 4: d|e"),
        (b"a\"b,c\"d,e\n", "1: ab,cd|e"),
        (b" a , b \n", "1:  a | b "),
        (b"1,x\n\\.\n2,y\n", "1: 1|x"),
        (b"1,x\n\\.,y\n", "1: 1|x; 2: \\\\.|y"),
        (b"1,x\r\n\\.,y\r\n\\.\r\n", "1: 1|x; 2: \\\\.|y"),
        (b"1,\\.\n", "1: 1|\\\\."),
        (b"1,x\n\\.", "1: 1|x; 2: \\\\.|^; 22P04 missing data for column \"b\" [COPY t, line 2: \"\\.\"]"),
        (b"\\.a,b\n", "1: \\\\.a|b"),
        (b"1,\"x\n", "22P04 unterminated CSV quoted field [COPY t, line 1: \"1,\"x\n\"]"),
        (b"1,x\n2,y\r\n", "1: 1|x; 22P04 unquoted carriage return found in data [COPY t, line 2]"),
        (b"1,x\r\n2,y\n", "1: 1|x; 22P04 unquoted newline found in data [COPY t, line 2]"),
        (b"1,x,\n", "22P04 extra data after last expected column [COPY t, line 1: \"1,x,\"]"),
    ];
    for (given, expected) in rows {
        check(&csv(), &two, given, expected);
    }
    let other = Layout::Csv { marks: marks(b';', "nil"), quote: b'\'', escape: b'\\' };
    check(&other, &two, b"'a\\'b\\\\';'c\\d'\nnil;'nil'\n", "1: a\\'b\\\\|c\\\\d; 2: ~|nil");
    let mut forced = columns(&["a", "b"]);
    (forced[0].force_not_null, forced[1].force_null) = (true, true);
    check(&csv(), &forced, b",\"\"\n", "1: |~");
    check(&Layout::Csv { marks: marks(b',', "nil"), quote: b'"', escape: b'"' }, &forced, b"nil,\"nil\"\n", "1: nil|~");
}

#[test]
fn headers_are_skipped_or_matched() {
    let two = columns(&["a", "B"]);
    let with = |header| Layout::Csv { marks: Marks { header, ..marks(b',', "") }, quote: b'"', escape: b'"' };
    check(&with(Header::Skipped), &two, b"anything\n1,x\n", "2: 1|x");
    check(&with(Header::Matched), &two, b"a,B\n1,x\n", "2: 1|x");
    check(&with(Header::Skipped), &two, b"", "");
    check(&with(Header::Skipped), &two, b"\\.\n", "");
    check(&with(Header::Matched), &two, b"a,B\n\\.\n", "");
    check(&with(Header::Matched), &two, b"a,B", "");
    let none = "22P04 wrong number of fields in header line: got 1, expected 2 [COPY t, line 1: \"\"]";
    check(&with(Header::Matched), &two, b"", none);
    check(&with(Header::Matched), &two, b"\\.\n", none);
    let plain = Layout::Text(Marks { header: Header::Matched, ..marks(b'\t', "\\N") });
    check(&plain, &two, b"\\.\n", none);
    let unnamed = "22P04 column name mismatch in header line field 1: got \"\", expected \"a\" [COPY t, line 1: \"\"]";
    check(&plain, &columns(&["a"]), b"", unnamed);
    for (given, expected) in [
        ("a\n", "22P04 wrong number of fields in header line: got 1, expected 2 [COPY t, line 1: \"a\"]"),
        ("a,b,\n", "22P04 wrong number of fields in header line: got 3, expected 2 [COPY t, line 1: \"a,b,\"]"),
        ("a,b\n", "22P04 column name mismatch in header line field 2: got \"b\", expected \"B\" [COPY t, line 1: \"a,b\"]"),
        (
            ",B\n",
            "22P04 column name mismatch in header line field 1: got null value (\"\"), expected \"a\" [COPY t, line 1: \",B\"]",
        ),
    ] {
        check(&with(Header::Matched), &two, given.as_bytes(), expected);
    }
}

fn file(rows: &[u8]) -> Vec<u8> {
    [b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x02xx".as_slice(), rows].concat()
}

#[test]
fn binary_files_are_read_as_postgres_reads_them() {
    let two = columns(&["a", "b"]);
    let row: &[u8] = b"\0\x02\0\0\0\x01x\xff\xff\xff\xff";
    let end: &[u8] = b"\xff\xff";
    let rows: Vec<(Vec<u8>, &str)> = vec![
        (file(end), ""),
        (file(b""), ""),
        (file(b"\0"), ""),
        (file(&[row, row, end].concat()), "1: x|~; 2: x|~"),
        (file(row), "1: x|~"),
        (file(&[row, end, b"x"].concat()), "1: x|~; 22P04 received copy data after EOF marker [COPY t, line 2]"),
        (file(&[row, b"\0\x03"].concat()), "1: x|~; 22P04 row field count is 3, expected 2 [COPY t, line 2]"),
        (file(b"\0\x02\0\0\0\x01x\xff\xff\xff\xfe"), "1: x|^; 22P04 invalid field size [COPY t, line 1]"),
        (file(b"\0\x02\0\0\0\x01x\0\0\0\x02y"), "1: x|^; 22P04 unexpected EOF in COPY data [COPY t, line 1]"),
        (file(b"\0\x02\0\0\0\x01x\0\0"), "1: x|^; 22P04 unexpected EOF in COPY data [COPY t, line 1]"),
        (b"".to_vec(), "22P04 COPY file signature not recognized []"),
        (b"1\tx\n".to_vec(), "22P04 COPY file signature not recognized []"),
        (b"PGCOPY\n\xff\r\n\0\0\0".to_vec(), "22P04 invalid COPY file header (missing flags) []"),
        (b"PGCOPY\n\xff\r\n\0\0\0\0\0\0".to_vec(), "22P04 invalid COPY file header (missing length) []"),
        (b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x02x".to_vec(), "22P04 invalid COPY file header (wrong length) []"),
        (b"PGCOPY\n\xff\r\n\0\0\x01\0\0\0\0\0\0".to_vec(), "22P04 invalid COPY file header (WITH OIDS) []"),
        (b"PGCOPY\n\xff\r\n\0\0\x02\0\0\0\0\0\0".to_vec(), "22P04 unrecognized critical flags in COPY file header []"),
    ];
    for (given, expected) in rows {
        check(&Layout::Binary, &two, &given, expected);
    }
}

#[test]
fn rows_are_full_before_they_are_many() {
    let given = "1\n".repeat(ROWS_MAX + 10);
    let mut reader = Reader::new("t", columns(&["a"]), text());
    let (mut rows, mut input) = (RawRows::new(1), given.as_bytes());
    reader.read(&mut input, &mut rows).unwrap();
    assert!(rows.is_full());
    assert_eq!((rows.len(), input.len()), (ROWS_MAX, 20));
    rows.clear();
    reader.read(&mut input, &mut rows).unwrap();
    assert_eq!((rows.len(), rows.lines()[0], input.len()), (10, 2_049, 0));
    let wide = format!("{}\n", "x".repeat(BYTES_MAX)).repeat(3);
    let (mut rows, mut input) = (RawRows::new(1), wide.as_bytes());
    Reader::new("t", columns(&["a"]), text()).read(&mut input, &mut rows).unwrap();
    assert_eq!(rows.len(), 1);
}

#[test]
fn as_many_rows_are_read_as_are_asked_for_unless_they_are_wide() {
    let full = |width: usize, asked: usize| {
        let names: Vec<String> = (0..width).map(|place| format!("c{place}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let given = format!("{}\n", "\t".repeat(width - 1)).repeat(ROWS_MOST + 5);
        let (mut rows, mut input) = (RawRows::new(width), given.as_bytes());
        rows.ask_for(asked);
        Reader::new("t", columns(&names), text()).read(&mut input, &mut rows).unwrap();
        rows.len()
    };
    for (width, asked, expected) in [
        (1, 3, 3),
        (1, 0, 1),
        (1, ROWS_MOST, ROWS_MOST),
        (1, usize::MAX, ROWS_MOST),
        (16, ROWS_MOST, ROWS_MOST),
        (32, ROWS_MOST, VALUES_MAX / 32),
        (100, ROWS_MOST, ROWS_MAX),
        (100, 7, 7),
    ] {
        assert_eq!(full(width, asked), expected, "{width} columns, {asked} rows");
    }
}

#[test]
fn long_values_are_shown_by_their_first_characters() {
    assert_eq!(shown(b"short"), "short");
    let long = format!("{}ü", "x".repeat(99));
    assert_eq!(shown(long.as_bytes()), format!("{}...", "x".repeat(99)));
    assert_eq!(in_column(("t", 3), "b", Raw::Value(b"x"), false), "COPY t, line 3, column b: \"x\"");
    assert_eq!(in_column(("t", 3), "b", Raw::Null, false), "COPY t, line 3, column b: null input");
    assert_eq!(in_column(("t", 3), "b", Raw::Value(b"x"), true), "COPY t, line 3, column b");
    assert_eq!((in_lines("t", 4, 4), in_lines("t", 4, 9)), ("COPY t, line 4".to_owned(), "COPY t, lines 4 to 9".to_owned()));
}
