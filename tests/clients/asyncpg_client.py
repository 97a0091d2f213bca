"""asyncpg: binary parameters and results, its own type introspection, cursors, prepared statements."""

import asyncio
import datetime
import decimal
import json
import os
import ssl
import uuid

import asyncpg

UTC = datetime.timezone.utc
KEY = uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
CASES = [
    ("int2", -32768),
    ("int4", 2147483647),
    ("int8", -9223372036854775808),
    ("bool", True),
    ("numeric", decimal.Decimal("123456789012345678901234567890.123456789")),
    ("float8", -0.1),
    ("float4", 1.5),
    ("text", "naïve 漢字 🦀 '\"\\"),
    ("varchar", "abc"),
    ("date", datetime.date(2024, 2, 29)),
    ("timestamptz", datetime.datetime(2024, 2, 29, 10, 34, 56, 789012, UTC)),
    ("timestamp", datetime.datetime(1999, 12, 31, 23, 59, 59)),
    ("time", datetime.time(12, 34, 56, 789)),
    ("interval", datetime.timedelta(days=3, seconds=7)),
    ("uuid", KEY),
    ("bytea", b"\x00\xff\x10"),
    ("json", '{"a": 1}'),
    ("jsonb", '{"a": [1, "é"]}'),
    ("int4[]", [1, None, 3]),
    ("text[]", ["a b", 'c"d', None, ""]),
    ("uuid[]", [KEY]),
    ("numeric[]", [decimal.Decimal("1.5")]),
    ("timestamptz[]", [datetime.datetime(2024, 1, 1, tzinfo=UTC)]),
    ("int4", None),
    ("text", None),
]
STORED = (
    1, -32768, 9223372036854775807, True, decimal.Decimal("12345.67890"),
    decimal.Decimal("123456789012345678901234567890.123456789"), 1.5, -0.1, "naïve 漢字 🦀", "abc", datetime.date(2024, 2, 29),
    datetime.datetime(2024, 2, 29, 10, 34, 56, 789012, UTC), datetime.datetime(1999, 12, 31, 23, 59, 59), KEY,
    '{"a": [1, 2], "b": null}', '{"z": 1}', b"\x00\xff\x10", [1, None, 3], ["a b", 'c"d', None],
)


def same(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: {found!r} is not {expected!r}")


async def parameters(connection):
    for name, value in CASES:
        same(await connection.fetchval(f"SELECT $1::{name}", value), value, name)
    same(await connection.fetchval("SELECT $1 + 1", 41), 42, "inferred")


async def stored_values(connection):
    same(tuple(await connection.fetchrow("SELECT * FROM shop.kinds WHERE id = $1", 1)), STORED, "stored")
    same(tuple(await connection.fetchrow("SELECT * FROM shop.kinds WHERE id = $1", 2)), (2, *[None] * 18), "nulls")
    for column, value in (("big", STORED[2]), ("exact", STORED[4]), ("words", STORED[8]), ("at", STORED[11]), ("key", KEY)):
        same(await connection.fetchval(f"SELECT id FROM shop.kinds WHERE {column} = $1", value), 1, column)
    same(await connection.fetchval("SELECT count(*) FROM shop.kinds WHERE id = ANY($1)", [1, 2, 3]), 2, "any")


async def prepared(connection):
    statement = await connection.prepare("SELECT square, label FROM notes.numbers WHERE id = $1")
    same([attribute.name for attribute in statement.get_attributes()], ["square", "label"], "attributes")
    same([parameter.name for parameter in statement.get_parameters()], ["int8"], "parameters")
    for n in range(1, 21):
        same(tuple(await statement.fetchrow(n)), (n * n, f"number {n}"), "prepared")


async def streaming(connection):
    seen = total = 0
    async with connection.transaction(readonly=True):
        async for row in connection.cursor("SELECT id, square FROM notes.numbers ORDER BY id", prefetch=1000):
            seen += 1
            total += row["square"]
        cursor = await connection.cursor("SELECT id FROM notes.numbers WHERE id > $1 ORDER BY id", 0)
        same([row[0] for row in await cursor.fetch(3)], [1, 2, 3], "bounded fetch")
        same(await connection.fetchval("SELECT 1"), 1, "between fetches")
        same([row[0] for row in await cursor.fetch(2)], [4, 5], "resumed")
    same((seen, total), (200_000, 200_000 * 200_001 * 400_001 // 6), "cursor")


async def typed_errors(connection):
    for statement, expected in (
        ("SELECT * FROM nowhere", asyncpg.UndefinedTableError),
        ("SELECT nothing FROM shop.orders", asyncpg.UndefinedColumnError),
        ("SELEC 1", asyncpg.PostgresSyntaxError),
        ("SELECT 1/0", asyncpg.DivisionByZeroError),
        ("SELECT 'x'::int4", asyncpg.InvalidTextRepresentationError),
        ("CREATE SCHEMA s", asyncpg.FeatureNotSupportedError),
    ):
        try:
            await connection.fetch(statement)
            raise AssertionError(f"{statement} did not fail")
        except expected:
            pass
        same(await connection.fetchval("SELECT 1"), 1, "usable")


async def transactions(connection):
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.fetch("SELECT 1/0")
    except asyncpg.DivisionByZeroError:
        pass
    try:
        await connection.fetch("SELECT 1")
        raise AssertionError("a failed transaction went on")
    except asyncpg.InFailedSQLTransactionError:
        pass
    await transaction.rollback()
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        same(await connection.fetchval("SHOW transaction_read_only"), "on", "read only")


async def introspection(connection):
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    same(await connection.fetchval("SELECT doc FROM shop.kinds WHERE id = 1"), {"a": [1, 2], "b": None}, "codec")
    await connection.reset_type_codec("jsonb", schema="pg_catalog")
    await connection.reload_schema_state()


async def copy(connection):
    records = [(1, 5), (2, None), (2, 4)]
    told = await connection.copy_records_to_table("stars", schema_name="notes", columns=["review", "stars"], records=records)
    same(told, "COPY 3", "tag")
    found = await connection.fetch("SELECT review, stars FROM notes.stars ORDER BY review, stars")
    same([tuple(row) for row in found], [(1, 5), (2, 4), (2, None)], "rows")
    await connection.execute("DELETE FROM notes.stars")


async def cancel(connection):
    try:
        await connection.fetchval("SELECT count(*) FROM generate_series(1, 1000000000000) AS s(n) WHERE n % 7 = 8", timeout=0.5)
        raise AssertionError("the query ended by itself")
    except asyncio.TimeoutError:
        pass
    same(await connection.fetchval("SELECT 1"), 1, "usable after a cancel")


async def pool(login):
    async with asyncpg.create_pool(min_size=2, max_size=2, **login) as connections:
        async def one(n):
            async with connections.acquire() as connection:
                await connection.execute(f"SET application_name = 'client {n}'")
                return await connection.fetchval("SELECT $1::int4", n)
        same(await asyncio.gather(*(one(n) for n in range(10))), list(range(10)), "pool")
        async with connections.acquire() as connection:
            same(await connection.fetchval("SHOW application_name"), "", "reset on release")


async def main():
    login = {
        "host": os.environ["TRIBUTARY_HOST"],
        "port": int(os.environ["TRIBUTARY_PORT"]),
        "user": os.environ["TRIBUTARY_USER"],
        "password": os.environ["TRIBUTARY_PASSWORD"],
        "database": os.environ["TRIBUTARY_DATABASE"],
        "ssl": ssl.create_default_context(cafile=os.environ["TRIBUTARY_CA"]),
        "timeout": 10,
    }
    connection = await asyncpg.connect(**login)
    for check in (parameters, stored_values, prepared, streaming, typed_errors, transactions, introspection, copy, cancel):
        await check(connection)
        print(check.__name__, flush=True)
    await connection.close()
    await pool(login)
    print("pool")


asyncio.run(main())
