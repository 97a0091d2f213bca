"""asyncpg: batches and COPY in binary over three stores, and in transactions over two of them; prints each check that has passed."""

import asyncio
import os
import ssl

import asyncpg

ROWS = 200
STORES = ("shop", "crm", "field")


def same(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: {found!r} is not {expected!r}")


def insert(store):
    return f"INSERT INTO {store}.parts (_id, code, amount) VALUES ($1, $2, $3)"


def rows(first=0, count=ROWS):
    return [(n, f"code {n:03}", n) for n in range(first, first + count)]


async def told(connection, store):
    return tuple(await connection.fetchrow(f"SELECT count(*), sum(amount)::bigint FROM {store}.parts"))


async def empty(connection):
    for store in STORES:
        await connection.execute(f"DELETE FROM {store}.parts")


async def refused(expected, run):
    try:
        await run
    except expected:
        return
    raise AssertionError(f"nothing failed with {expected.__name__}")


async def many(connection, store):
    await connection.executemany(insert(store), rows())
    changes = [(1000, n) for n in range(0, ROWS, 2)]
    await connection.executemany(f"UPDATE {store}.parts SET amount = amount + $1 WHERE _id = $2", changes)
    await connection.executemany(f"DELETE FROM {store}.parts WHERE code = $1", [(f"code {n:03}",) for n in range(10)])
    same(await told(connection, store), (190, sum(range(10, ROWS)) + 95 * 1000), "left")


async def many_upserts(connection, store):
    statement = f"{insert(store)} ON CONFLICT (_id) DO UPDATE SET amount = parts.amount + excluded.amount"
    await connection.executemany(statement, rows(count=50))
    await connection.executemany(statement, rows(first=40, count=20))
    same(await told(connection, store), (60, sum(range(60)) + sum(range(40, 50))), "left")


async def failing(connection, store):
    await connection.execute(insert(store), 150, "taken", 7)
    # A batch of the driver is a transaction, also outside of a block.
    await refused(asyncpg.UniqueViolationError, connection.executemany(insert(store), rows()))
    same(await told(connection, store), (1, 7), "nothing of the batch is left")


async def copied(connection, store):
    columns = ["_id", "code", "amount"]
    tag = await connection.copy_records_to_table("parts", schema_name=store, records=rows(), columns=columns)
    same(tag, f"COPY {ROWS}", "tag")
    again = connection.copy_records_to_table("parts", schema_name=store, records=[(900, "fine", 1), *rows(count=1)], columns=columns)
    await refused(asyncpg.UniqueViolationError, again)
    same(await told(connection, store), (ROWS, sum(range(ROWS))), "nothing of a failed COPY is left")


async def of_two_stores(connection):
    for first, second, promised in (
        ("shop", "crm", "two-phase: shop, crm"),
        ("shop", "field", "last resource: shop; last: field"),
        ("crm", "field", "last resource: crm; last: field"),
    ):
        await empty(connection)
        async with connection.transaction():
            await connection.executemany(insert(first), rows())
            await connection.executemany(insert(second), rows(first=1000))
            await connection.copy_records_to_table(
                "parts", schema_name=second, records=[(1, "copied", 1)], columns=["_id", "code", "amount"]
            )
        same(await connection.fetchval("SHOW tributary.last_commit"), promised, "promised")
        left = ((await told(connection, first))[0], (await told(connection, second))[0])
        same(left, (ROWS, ROWS + 1), "in both")

        async def spoilt():
            async with connection.transaction():
                await connection.executemany(f"DELETE FROM {first}.parts WHERE _id = $1", [(n,) for n in range(50)])
                await connection.executemany(insert(second), [(2000, "new", 1), (2001, "copied", 1)])

        await refused(asyncpg.UniqueViolationError, spoilt())
        same(((await told(connection, first))[0], (await told(connection, second))[0]), left, "in neither")


async def main():
    connection = await asyncpg.connect(
        host=os.environ["TRIBUTARY_HOST"],
        port=int(os.environ["TRIBUTARY_PORT"]),
        user=os.environ["TRIBUTARY_USER"],
        password=os.environ["TRIBUTARY_PASSWORD"],
        database=os.environ["TRIBUTARY_DATABASE"],
        ssl=ssl.create_default_context(cafile=os.environ["TRIBUTARY_CA"]),
        timeout=10,
    )
    for check in (many, many_upserts, failing, copied):
        for store in STORES:
            await empty(connection)
            await check(connection, store)
        print(check.__name__, flush=True)
    await of_two_stores(connection)
    print("of_two_stores")
    await connection.close()


asyncio.run(main())
