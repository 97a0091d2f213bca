"""psycopg 3: every check prints its name when it has passed."""

import datetime
import decimal
import os
import threading
import uuid

import psycopg
from psycopg import errors
from psycopg.types.json import Json, Jsonb

LOGIN = {
    "host": os.environ["TRIBUTARY_HOST"],
    "port": os.environ["TRIBUTARY_PORT"],
    "user": os.environ["TRIBUTARY_USER"],
    "password": os.environ["TRIBUTARY_PASSWORD"],
    "dbname": os.environ["TRIBUTARY_DATABASE"],
    "sslmode": "verify-full",
    "sslrootcert": os.environ["TRIBUTARY_CA"],
    "channel_binding": "require",
    "connect_timeout": 10,
}
UTC = datetime.timezone.utc
KEY = uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
CASES = [
    ("int2", -32768),
    ("int4", 2147483647),
    ("int8", -9223372036854775808),
    ("bool", True),
    ("bool", False),
    ("numeric", decimal.Decimal("123456789012345678901234567890.123456789")),
    ("numeric", decimal.Decimal("-0.00001")),
    ("float8", -0.1),
    ("float8", float("inf")),
    ("float4", 1.5),
    ("text", "naïve 漢字 🦀 '\"\\"),
    ("text", ""),
    ("date", datetime.date(2024, 2, 29)),
    ("timestamptz", datetime.datetime(2024, 2, 29, 10, 34, 56, 789012, UTC)),
    ("timestamp", datetime.datetime(1999, 12, 31, 23, 59, 59)),
    ("time", datetime.time(12, 34, 56, 789)),
    ("interval", datetime.timedelta(days=3, seconds=7, microseconds=5)),
    ("uuid", KEY),
    ("bytea", b"\x00\xff\x10"),
    ("int4[]", [1, None, 3]),
    ("int8[]", []),
    ("text[]", ["a b", 'c"d', None, ""]),
    ("bool[]", [True, False]),
    ("uuid[]", [KEY]),
    ("int4", None),
    ("text", None),
]
STORED = (
    1, -32768, 9223372036854775807, True, decimal.Decimal("12345.67890"),
    decimal.Decimal("123456789012345678901234567890.123456789"), 1.5, -0.1, "naïve 漢字 🦀", "abc", datetime.date(2024, 2, 29),
    datetime.datetime(2024, 2, 29, 10, 34, 56, 789012, UTC), datetime.datetime(1999, 12, 31, 23, 59, 59), KEY,
    {"a": [1, 2], "b": None}, {"z": 1}, b"\x00\xff\x10", [1, None, 3], ["a b", 'c"d', None],
)


def same(found, expected, what):
    if type(found) is not type(expected) or found != expected:
        raise AssertionError(f"{what}: {found!r} is not {expected!r}")


def parameters(connection):
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        placeholder = "%b" if binary else "%t"
        for name, value in CASES:
            found = cursor.execute(f"SELECT {placeholder}::{name}", (value,)).fetchone()[0]
            same(found, value, f"{name} binary={binary}")
        for wrapper, name in ((Json, "json"), (Jsonb, "jsonb")):
            document = {"a": [1, "é", None], "b": {"c": 1.5}}
            found = cursor.execute(f"SELECT {placeholder}::{name}", (wrapper(document),)).fetchone()[0]
            same(found, document, f"{name} binary={binary}")
    cursor = connection.execute("SELECT %s || '!', %s + 1, coalesce(%s, 7)", ("a", 41, None))
    same(cursor.fetchone(), ("a!", 42, 7), "inferred types")


def stored_values(connection):
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        same(cursor.execute("SELECT * FROM shop.kinds WHERE id = %s", (1,)).fetchone(), STORED, f"binary={binary}")
        nothing = cursor.execute("SELECT * FROM shop.kinds WHERE id = %s", (2,)).fetchone()
        same(nothing, (2, *[None] * 18), "nulls")
    for column, value in (("big", STORED[2]), ("exact", STORED[4]), ("words", STORED[8]), ("day", STORED[10]), ("at", STORED[11]),
                          ("key", KEY), ("bytes", STORED[16]), ("numbers", STORED[17]), ("yes", True)):
        found = connection.execute(f"SELECT id FROM shop.kinds WHERE {column} = %s", (value,)).fetchall()
        same(found, [(1,)], f"filter on {column}")


def prepared(connection):
    for turn in range(20):
        cursor = connection.execute("SELECT square FROM notes.numbers WHERE id = %s", (turn + 1,), prepare=True)
        same(cursor.fetchone(), ((turn + 1) ** 2,), "prepared")
    with connection.cursor() as cursor:
        cursor.executemany("SELECT %s::int4 * 2", [(n,) for n in range(50)], returning=True)
        doubled = [cursor.fetchone()[0]]
        while cursor.nextset():
            doubled.append(cursor.fetchone()[0])
    same(doubled, [n * 2 for n in range(50)], "executemany")


def pipeline(connection):
    with connection.pipeline():
        cursors = [connection.execute("SELECT %s::int4", (n,)) for n in range(10)]
        same([cursor.fetchone()[0] for cursor in cursors], list(range(10)), "pipeline")


def streaming(connection):
    seen = total = 0
    with connection.cursor() as cursor:
        for identity, square, label in cursor.stream("SELECT id, square, label FROM notes.numbers ORDER BY id"):
            seen += 1
            total += square
            assert label == f"number {identity}"
    same((seen, total), (200_000, 200_000 * 200_001 * 400_001 // 6), "stream")
    with connection.cursor() as cursor:
        rows = cursor.stream("SELECT id FROM notes.numbers ORDER BY id")
        same(next(rows), (1,), "first row")
        rows.close()
    same(connection.execute("SELECT 1").fetchone(), (1,), "usable after an abandoned stream")


def typed_errors(connection):
    for statement, expected in (
        ("SELECT * FROM nowhere", errors.UndefinedTable),
        ("SELECT nothing FROM shop.orders", errors.UndefinedColumn),
        ("SELEC 1", errors.SyntaxError),
        ("SELECT 1/0", errors.DivisionByZero),
        ("SELECT 2147483647 + 1", errors.NumericValueOutOfRange),
        ("SELECT 'x'::int4", errors.InvalidTextRepresentation),
        ("SELECT nope(1)", errors.UndefinedFunction),
        ("CREATE SCHEMA more", errors.FeatureNotSupported),
    ):
        try:
            connection.execute(statement)
            raise AssertionError(f"{statement} did not fail")
        except expected as error:
            assert error.sqlstate == expected.sqlstate
        connection.execute("SELECT 1")
    try:
        connection.execute("SELECT nam FROM shop.customers")
    except errors.UndefinedColumn as error:
        assert "name" in error.diag.message_hint, error.diag.message_hint
        same(error.diag.statement_position, "8", "position")


def transactions(connection):
    connection.autocommit = False
    same(connection.execute("SELECT count(*) FROM shop.orders").fetchone(), (2,), "in a transaction")
    same(connection.info.transaction_status, psycopg.pq.TransactionStatus.INTRANS, "status")
    try:
        connection.execute("SELECT 1/0")
    except errors.DivisionByZero:
        pass
    try:
        connection.execute("SELECT 1")
        raise AssertionError("a failed transaction went on")
    except errors.InFailedSqlTransaction:
        pass
    connection.rollback()
    with connection.transaction():
        same(connection.execute("SELECT 2").fetchone(), (2,), "with transaction()")
        try:
            with connection.transaction():
                connection.execute("SELECT 1/0")
        except errors.DivisionByZero:
            pass
        same(connection.execute("SELECT 3").fetchone(), (3,), "after a savepoint")
    connection.commit()
    connection.read_only = True
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    same(connection.execute("SHOW transaction_isolation").fetchone(), ("repeatable read",), "isolation")
    connection.rollback()
    connection.read_only = connection.isolation_level = None
    connection.autocommit = True


def settings(connection):
    connection.execute("SET TimeZone = 'Europe/Berlin'")
    same(connection.info.parameter_status("TimeZone"), "Europe/Berlin", "ParameterStatus")
    found = connection.execute("SELECT '2024-07-01 12:00+00'::timestamptz").fetchone()[0]
    same(found.utcoffset(), datetime.timedelta(hours=2), "zone")
    connection.execute("RESET TimeZone")
    same(connection.info.parameter_status("TimeZone"), "UTC", "reset")


def copy(connection):
    fill = "COPY notes.stars (review, stars) FROM STDIN"
    with connection.cursor() as cursor:
        with cursor.copy(fill) as rows:
            for row in [(1, 5), (2, None), (1, 1)]:
                rows.write_row(row)
        same(cursor.rowcount, 3, "count")
        with cursor.copy(fill + " (FORMAT binary)") as rows:
            rows.set_types(["int8", "int8"])
            rows.write_row((2, 4))
        try:
            with cursor.copy(fill) as rows:
                rows.write_row((1, 2))
                rows.write_row(("x", 2))
            raise AssertionError("a text was taken for a number")
        except errors.InvalidTextRepresentation as error:
            same(error.diag.context, 'COPY stars, line 2, column review: "x"', "context")
        found = cursor.execute("SELECT review, stars FROM notes.stars ORDER BY review, stars").fetchall()
        same(found, [(1, 1), (1, 5), (2, 4), (2, None)], "rows")
        cursor.execute("DELETE FROM notes.stars")


def cancel(connection):
    timer = threading.Timer(0.5, connection.cancel_safe)
    timer.start()
    try:
        connection.execute("SELECT count(*) FROM generate_series(1, 1000000000000) AS s(n) WHERE n % 7 = 8")
        raise AssertionError("the query ended by itself")
    except errors.QueryCanceled:
        pass
    timer.join()
    same(connection.execute("SELECT 1").fetchone(), (1,), "usable after a cancel")


with psycopg.connect(**LOGIN, autocommit=True) as connection:
    assert connection.pgconn.ssl_in_use
    for check in (parameters, stored_values, prepared, pipeline, streaming, typed_errors, transactions, settings, copy, cancel):
        check(connection)
        print(check.__name__, flush=True)
try:
    psycopg.connect(**{**LOGIN, "password": "wrong"})
    raise AssertionError("a wrong password was taken")
except psycopg.OperationalError as error:
    assert "password authentication failed" in str(error), error
print("wrong_password")
