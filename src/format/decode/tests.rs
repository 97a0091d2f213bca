//! Parameters of every type in both formats.

use super::*;

fn from_text(pg_type: PgType, text: &str) -> ScalarValue {
    parameter(pg_type, Format::Text, Some(text.as_bytes()), &DisplaySettings::default()).unwrap()
}

fn from_binary(pg_type: PgType, bytes: &[u8]) -> ScalarValue {
    parameter(pg_type, Format::Binary, Some(bytes), &DisplaySettings::default()).unwrap()
}

fn refusal(pg_type: PgType, format: Format, bytes: &[u8]) -> String {
    parameter(pg_type, format, Some(bytes), &DisplaySettings::default()).unwrap_err().sqlstate
}

#[test]
fn null_has_the_carrier_of_its_type() {
    for row in crate::pgtype::BUILTINS {
        let pg_type = PgType::with_typmod(row.oid, -1);
        let value = parameter(pg_type, Format::Text, None, &DisplaySettings::default()).unwrap();
        assert!(value.is_null());
        assert_eq!(value.data_type(), pg_type.carrier(), "{}", row.name);
    }
    let wide = PgType::numeric(60, 3);
    assert_eq!(parameter(wide, Format::Binary, None, &DisplaySettings::default()).unwrap().data_type(), wide.carrier());
}

#[test]
fn numerics_are_never_cut() {
    assert_eq!(from_text(PgType::numeric(38, 20), "12345678901234.5").to_string(), "12345678901234.50000000000000000000");
    assert_eq!(from_text(PgType::NUMERIC, "50.90"), ScalarValue::Utf8(Some("50.90".to_owned())));
    assert_eq!(refusal(PgType::INT8, Format::Text, b"50.9"), "22P02");
    assert_eq!(refusal(PgType::numeric(4, 2), Format::Text, b"123"), "22003");
}

#[test]
fn malformed_input_is_refused() {
    for oid in [16, 20, 21, 23, 26, 700, 701, 1700, 2950] {
        assert_eq!(refusal(PgType::with_typmod(oid, -1), Format::Binary, &[1, 2, 3]), "22P03", "{oid}");
    }
    assert_eq!(refusal(PgType::TEXT, Format::Text, b"a\xff"), "22021");
    assert_eq!(refusal(PgType::TEXT, Format::Binary, b"a\0b"), "22021");
    assert_eq!(refusal(PgType::INT4, Format::Text, b"99999999999"), "22003");
    assert_eq!(from_binary(PgType::INT4, &[0, 0, 1, 0]), ScalarValue::Int32(Some(256)));
}

#[test]
fn every_carrier_is_the_one_its_type_names() {
    for (oid, text) in [
        (16, "t"),
        (17, "\\x01"),
        (20, "1"),
        (21, "1"),
        (23, "1"),
        (25, "x"),
        (26, "1"),
        (114, "{}"),
        (650, "10.0.0.0/8"),
        (700, "1"),
        (701, "1"),
        (829, "08:00:2b:01:02:03"),
        (869, "::1"),
        (1042, "x"),
        (1082, "2024-01-02"),
        (1083, "01:02:03"),
        (1114, "2024-01-02 03:04:05"),
        (1184, "2024-01-02 03:04:05+00"),
        (1186, "1 day"),
        (1266, "01:02:03+00"),
        (1562, "101"),
        (1700, "1.5"),
        (2205, "1"),
        (2950, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        (3802, "{}"),
    ] {
        let pg_type = PgType::with_typmod(oid, -1);
        assert_eq!(from_text(pg_type, text).data_type(), pg_type.carrier(), "{pg_type}");
        let array = pg_type.array().unwrap();
        assert_eq!(from_text(array, &format!("{{\"{}\",NULL}}", text.replace('\\', "\\\\"))).data_type(), array.carrier());
        assert_eq!(from_text(array, "{}").data_type(), array.carrier());
    }
}

#[test]
fn unknown_and_text_keep_what_looks_like_an_array() {
    for pg_type in [PgType::UNKNOWN, PgType::TEXT] {
        assert_eq!(from_text(pg_type, "{\"a\":1}"), ScalarValue::Utf8(Some("{\"a\":1}".to_owned())));
    }
}

fn words(all: &[i32]) -> Vec<u8> {
    all.iter().flat_map(|word| word.to_be_bytes()).collect()
}

#[test]
fn binary_arrays_are_read_and_malformed_ones_refused() {
    let int4s = PgType::INT4.array().unwrap();
    let from_words = from_binary(int4s, &words(&[1, 1, 23, 3, 1, 4, 7, -1, 4, 9]));
    assert_eq!(from_words, from_text(int4s, "{7,NULL,9}"));
    assert_eq!(from_binary(int4s, &words(&[0, 0, 23])), from_text(int4s, "{}"));
    for (sent, code) in [
        (words(&[1, 0, 20, 0, 1]), "42804"),
        (words(&[2, 0, 23, 1, 1, 1, 1, 4, 7]), "0A000"),
        (words(&[1, 0, 23, 1, 2, 4, 7]), "0A000"),
        (words(&[1, 0, 23, i32::MAX, 1, 4, 7]), "22P03"),
        (words(&[1, 0, 23, -1, 1]), "22P03"),
        (words(&[1, 0, 23, 1, 1, 400, 7]), "22P03"),
        (words(&[1, 0, 23, 1, 1, -2, 7]), "22P03"),
        (words(&[1, 0, 23, 1, 1, 4, 7, 7]), "22P03"),
        (words(&[7, 0, 23]), "22P03"),
        (words(&[1, 2, 23, 0, 1]), "22P03"),
        (vec![], "22P03"),
        (vec![0, 0], "22P03"),
    ] {
        assert_eq!(refusal(int4s, Format::Binary, &sent), code, "{sent:?}");
    }
}

#[test]
fn binary_values_beyond_the_carrier_are_refused() {
    assert_eq!(refusal(PgType::TIMESTAMP, Format::Binary, &9_223_000_000_000_000_000i64.to_be_bytes()), "22008");
    assert_eq!(refusal(PgType::DATE, Format::Binary, &(i32::MAX - 1).to_be_bytes()), "22008");
    assert_eq!(refusal(PgType::TIME, Format::Binary, &(-1i64).to_be_bytes()), "22008");
    assert_eq!(refusal(PgType::INTERVAL, Format::Binary, &words(&[i32::MAX, 0, 0, 0])), "22008");
    assert_eq!(refusal(PgType::JSONB, Format::Binary, b"\x02{}"), "22P03");
    assert_eq!(refusal(PgType::JSONB, Format::Binary, b"\x01{"), "22P02");
    assert_eq!(refusal(PgType::numeric(5, 2), Format::Binary, &[0, 0, 0, 0, 0xC0, 0, 0, 0]), "0A000");
}

#[test]
fn no_bytes_make_a_reader_panic() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..3_000 {
        let length = usize::try_from(next() % 40).unwrap();
        let mut bytes: Vec<u8> = (0..length).map(|_| next().to_be_bytes()[0]).collect();
        if round % 3 == 0 {
            bytes.iter_mut().for_each(|byte| *byte = b" 0123456789:-+.,eE{}\"\\[]()TZPYMDHSabcnul/"[usize::from(*byte) % 41]);
        }
        for row in crate::pgtype::BUILTINS {
            let scalar = PgType::with_typmod(row.oid, -1);
            for pg_type in std::iter::once(scalar).chain(scalar.array()) {
                for format in [Format::Text, Format::Binary] {
                    if let Ok(value) = parameter(pg_type, format, Some(&bytes), &DisplaySettings::default()) {
                        assert_eq!(value.data_type(), pg_type.carrier());
                    }
                }
            }
        }
    }
}
