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
