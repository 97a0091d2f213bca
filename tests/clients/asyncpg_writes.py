"""asyncpg as a writer, in binary throughout: every check runs on both stores and prints its name when it has passed."""

import asyncio
import datetime
import decimal
import os
import ssl
import uuid

import asyncpg

UTC = datetime.timezone.utc
ROWS = 500
KEPT = {
    "id": 1,
    "big": -9223372036854775808,
    "yes": True,
    "whole": -0.1,
    "words": "naïve 漢字 🦀 '\"\\",
    "day": datetime.date(2024, 2, 29),
    "local": datetime.datetime(1999, 12, 31, 23, 59, 59),
    "bytes": b"\x00\xff\x10",
}
RICH = KEPT | {
    "small": -32768,
    "exact": decimal.Decimal("123456789012345.67890"),
    "at": datetime.datetime(2024, 2, 29, 10, 34, 56, 789012, UTC),
    "key": uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "doc": '{"a": [1, "é", null]}',
    "numbers": [1, None, 3],
    "tags": ["a b", 'c"d', None, ""],
}


def same(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: {found!r} is not {expected!r}")


async def refused(expected, connection, query, *values):
    try:
        await connection.execute(query, *values)
    except expected as error:
        same(error.sqlstate, expected.sqlstate, query)
        return error
    raise AssertionError(f"{query} did not fail")


async def fill(connection, store, rows):
    """Leaves these rows (code, amount) in the store's table."""
    await connection.execute(f"DELETE FROM {store}.bins; DELETE FROM {store}.parts")
    for code, amount in rows:
        await connection.execute(f"INSERT INTO {store}.parts (code, amount) VALUES ($1, $2)", code, amount)


async def contents(connection, store):
    return [tuple(row) for row in await connection.fetch(f"SELECT code, amount FROM {store}.parts ORDER BY code")]


async def typed_values(connection, store):
    await connection.execute(f"DELETE FROM {store}.kinds")
    columns = RICH if store == "shop" else KEPT
    names, values = ", ".join(columns), tuple(columns.values())
    marks = ", ".join(f"${n + 1}" for n in range(len(columns)))
    insert = f"INSERT INTO {store}.kinds ({names}) VALUES ({marks}) RETURNING {names}"
    same(tuple(await connection.fetchrow(insert, *values)), values, "returned")
    same(tuple(await connection.fetchrow(f"SELECT {names} FROM {store}.kinds")), values, "read")
    nothing = (2, *[None] * (len(columns) - 1))
    same(tuple(await connection.fetchrow(insert, *nothing)), nothing, "nulls")
    for name, value in columns.items():
        updated = await connection.execute(f"UPDATE {store}.kinds SET {name} = $1 WHERE id = $2 AND {name} = $1", value, 1)
        same(updated, "UPDATE 1", name)
    same(tuple(await connection.fetchrow(f"SELECT {names} FROM {store}.kinds WHERE id = 1")), values, "as before")
    # The driver encodes by the types that the server has told for the parameters.
    try:
        await connection.execute(f"INSERT INTO {store}.kinds (id, big) VALUES ($1, $2)", 3, "many")
        raise AssertionError("a text was taken for a number")
    except asyncpg.DataError:
        pass


async def returning(connection, store):
    await fill(connection, store, [])
    statement = await connection.prepare(f"INSERT INTO {store}.parts (code, label) VALUES ($1, $2) RETURNING id, code, amount, label")
    same([kind.name for kind in statement.get_parameters()], ["text", "text"], "parameters")
    same([(column.name, column.type.name) for column in statement.get_attributes()],
         [("id", "int8"), ("code", "text"), ("amount", "int8"), ("label", "text")], "attributes")
    rows = [await statement.fetchrow(f"code {n}", None) for n in range(20)]
    same([tuple(row)[1:] for row in rows], [(f"code {n}", 1, None) for n in range(20)], "returned")
    same(len({row["id"] for row in rows}), 20, "identities differ")
    found = await connection.fetch(f"UPDATE {store}.parts SET amount = amount + $1 WHERE code = ANY($2) RETURNING amount, code",
                                   41, ["code 1", "code 2"])
    same(sorted(map(tuple, found)), [(42, "code 1"), (42, "code 2")], "update")
    same(await connection.fetchval(f"DELETE FROM {store}.parts WHERE code = $1 RETURNING id", "code 1"), rows[1]["id"], "delete")
    same(await connection.fetch(f"DELETE FROM {store}.parts WHERE code = $1 RETURNING id", "code 1"), [], "nothing to delete")


async def row_counts(connection, store):
    await fill(connection, store, [("a", 1), ("b", 2), ("c", 3)])
    for expected, statement, *values in (
        ("INSERT 0 2", f"INSERT INTO {store}.parts (code) VALUES ($1), ($2)", "d", "e"),
        ("UPDATE 5", f"UPDATE {store}.parts SET label = $1", "all"),
        ("UPDATE 2", f"UPDATE {store}.parts SET label = NULL WHERE amount > $1", 1),
        ("UPDATE 0", f"UPDATE {store}.parts SET label = NULL WHERE amount > $1", 100),
        ("DELETE 2", f"DELETE FROM {store}.parts WHERE label IS NULL"),
        ("DELETE 0", f"DELETE FROM {store}.parts WHERE code = $1", "nobody"),
        ("INSERT 0 3", f"INSERT INTO {store}.parts (code) SELECT code || $1 FROM {store}.parts", "!"),
    ):
        same(await connection.execute(statement, *values), expected, statement)
    same([code for code, _ in await contents(connection, store)], ["a", "a!", "d", "d!", "e", "e!"], "contents")


async def many(connection, store):
    await fill(connection, store, [])
    rows = [(f"code {n:03}", n) for n in range(ROWS)]
    await connection.executemany(f"INSERT INTO {store}.parts (code, amount) VALUES ($1, $2)", rows)
    same(await contents(connection, store), rows, "inserted")
    await connection.executemany(f"UPDATE {store}.parts SET amount = $2 WHERE code = $1", [(code, -n + ROWS) for code, n in rows])
    same(await contents(connection, store), [(code, ROWS - n) for code, n in rows], "updated")
    found = await connection.fetchmany(f"DELETE FROM {store}.parts WHERE code = $1 RETURNING amount", [(code,) for code, _ in rows[:50]])
    same([row[0] for row in found], [ROWS - n for n in range(50)], "deleted")
    same(await connection.fetchval(f"SELECT count(*) FROM {store}.parts"), ROWS - 50, "what is left")


async def conflicts(connection, store):
    await fill(connection, store, [("a", 1)])
    insert = f"INSERT INTO {store}.parts (code, amount) VALUES ($1, $2)"
    same(await connection.execute(f"{insert} ON CONFLICT DO NOTHING", "a", 2), "INSERT 0 0", "do nothing")
    same(await connection.fetchval(f"{insert} ON CONFLICT (code) DO NOTHING RETURNING id", "a", 2), None, "no row")
    upsert = f"{insert} ON CONFLICT (code) DO UPDATE SET amount = excluded.amount, label = $3 RETURNING amount, label"
    same(tuple(await connection.fetchrow(upsert, "a", 7, "twice")), (7, "twice"), "do update")
    same(tuple(await connection.fetchrow(upsert, "b", 8, "once")), (8, None), "no conflict")
    await connection.executemany(f"{insert} ON CONFLICT ON CONSTRAINT parts_code_key DO UPDATE SET amount = excluded.amount",
                                 [(f"code {n % 50}", n) for n in range(200)])
    found = await connection.fetchrow(f"SELECT min(amount), max(amount), count(*) FROM {store}.parts WHERE code LIKE 'code%'")
    same(tuple(found), (150, 199, 50), "last one wins")


async def violations(connection, store):
    await fill(connection, store, [("a", 1)])
    error = await refused(asyncpg.UniqueViolationError, connection, f"INSERT INTO {store}.parts (code) VALUES ($1)", "a")
    same((error.constraint_name, error.table_name), ("parts_code_key", "parts"), "unique")
    error = await refused(asyncpg.NotNullViolationError, connection, f"UPDATE {store}.parts SET code = $1", None)
    same((error.column_name, error.table_name), ("code", "parts"), "not null")
    error = await refused(asyncpg.CheckViolationError, connection, f"INSERT INTO {store}.parts (code, amount) VALUES ('x', $1)", -1)
    same((error.constraint_name, error.table_name), ("parts_amount_check", "parts"), "check")
    await refused(asyncpg.ForeignKeyViolationError, connection, f"INSERT INTO {store}.bins (part) VALUES ($1)", -1)
    await refused(asyncpg.UndefinedColumnError, connection, f"UPDATE {store}.parts SET nothing = 1")
    same(await contents(connection, store), [("a", 1)], "nothing has changed")


async def rollback(connection, store):
    await fill(connection, store, [("a", 1)])
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(f"INSERT INTO {store}.parts (code, amount) VALUES ($1, $2)", "b", 2)
    await connection.execute(f"UPDATE {store}.parts SET amount = amount * $1", 10)
    same(await contents(connection, store), [("a", 10), ("b", 20)], "own writes")
    cursor = await connection.cursor(f"SELECT amount FROM {store}.parts ORDER BY amount DESC")
    same([row[0] for row in await cursor.fetch(10)], [20, 10], "a portal")
    await transaction.rollback()
    same(await contents(connection, store), [("a", 1)], "after a rollback")
    try:
        async with connection.transaction():
            await connection.execute(f"DELETE FROM {store}.parts")
            await connection.execute(f"INSERT INTO {store}.parts (code) VALUES ($1)", None)
        raise AssertionError("NULL was taken")
    except asyncpg.NotNullViolationError:
        pass
    same(await contents(connection, store), [("a", 1)], "after an error")
    async with connection.transaction(isolation="repeatable_read"):
        await connection.execute(f"UPDATE {store}.parts SET amount = 2")
    same(await contents(connection, store), [("a", 2)], "after a commit")
    async with connection.transaction(readonly=True):
        await refused(asyncpg.ReadOnlySQLTransactionError, connection, f"DELETE FROM {store}.parts")


async def savepoints(connection, store):
    await fill(connection, store, [("a", 1)])
    async with connection.transaction():
        await connection.execute(f"INSERT INTO {store}.parts (code) VALUES ('b')")
        try:
            async with connection.transaction():
                await connection.execute(f"DELETE FROM {store}.parts WHERE code = 'b'")
                await connection.execute(f"INSERT INTO {store}.parts (code) VALUES ('a')")
        except asyncpg.UniqueViolationError:
            pass
        same(await contents(connection, store), [("a", 1), ("b", 1)], "after a failed savepoint")
        async with connection.transaction():
            await connection.execute(f"INSERT INTO {store}.parts (code) VALUES ('c')")
            inner = connection.transaction()
            await inner.start()
            await connection.execute(f"UPDATE {store}.parts SET amount = 5")
            await inner.rollback()
        same(await contents(connection, store), [("a", 1), ("b", 1), ("c", 1)], "after a rollback to a savepoint")
    same(await contents(connection, store), [("a", 1), ("b", 1), ("c", 1)], "committed")


async def failing_batches(connection, store):
    rows = [(f"code {n}",) for n in range(ROWS)]
    rows[300] = ("code 299",)
    insert = f"INSERT INTO {store}.parts (code) VALUES ($1)"
    await fill(connection, store, [("a", 1)])
    # executemany is atomic by itself, as its documentation promises.
    for _ in range(2):
        try:
            await connection.executemany(insert, rows)
            raise AssertionError("a batch with a duplicate did not fail")
        except asyncpg.UniqueViolationError:
            pass
        same(await contents(connection, store), [("a", 1)], "a batch by itself")
    async with connection.transaction():
        await connection.execute(insert, "before")
        try:
            async with connection.transaction():
                await connection.executemany(insert, rows)
        except asyncpg.UniqueViolationError:
            pass
        await connection.executemany(insert, [("behind",), ("last",)])
    same([code for code, _ in await contents(connection, store)], ["a", "before", "behind", "last"], "a batch in a savepoint")


async def pooled(login, store):
    async with asyncpg.create_pool(min_size=3, max_size=3, **login) as pool:
        async with pool.acquire() as connection:
            await fill(connection, store, [("shared", 0)])
        async def one(n):
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute(f"UPDATE {store}.parts SET amount = amount + 1 WHERE code = 'shared'")
                await connection.execute(f"INSERT INTO {store}.parts (code, amount) VALUES ($1, $2)", f"code {n:02}", n)
        await asyncio.gather(*(one(n) for n in range(30)))
        async with pool.acquire() as connection:
            expected = [*((f"code {n:02}", n) for n in range(30)), ("shared", 30)]
            same(await contents(connection, store), expected, "no update is lost between sessions")


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
    for check in (typed_values, returning, row_counts, many, conflicts, violations, rollback, savepoints, failing_batches):
        for store in ("shop", "notes"):
            await check(connection, store)
        print(check.__name__, flush=True)
    await connection.close()
    for store in ("shop", "notes"):
        await pooled(login, store)
    print("pooled")


asyncio.run(main())
