"""psycopg 3 as a writer: every check runs on both stores and prints its name when it has passed."""

import datetime
import decimal
import os
import uuid

import psycopg
from psycopg import errors
from psycopg.types.json import Jsonb

LOGIN = {
    "host": os.environ["TRIBUTARY_HOST"],
    "port": os.environ["TRIBUTARY_PORT"],
    "user": os.environ["TRIBUTARY_USER"],
    "password": os.environ["TRIBUTARY_PASSWORD"],
    "dbname": os.environ["TRIBUTARY_DATABASE"],
    "sslmode": "verify-full",
    "sslrootcert": os.environ["TRIBUTARY_CA"],
    "connect_timeout": 10,
}
UTC = datetime.timezone.utc
ROWS = 500
# Column, value; what every store can keep comes first.
KEPT = [
    ("id", 1),
    ("big", -9223372036854775808),
    ("yes", True),
    ("whole", -0.1),
    ("words", "naïve 漢字 🦀 '\"\\"),
    ("day", datetime.date(2024, 2, 29)),
    ("local", datetime.datetime(1999, 12, 31, 23, 59, 59)),
    ("bytes", b"\x00\xff\x10"),
]
RICH = KEPT + [
    ("small", -32768),
    ("exact", decimal.Decimal("123456789012345.67890")),
    ("at", datetime.datetime(2024, 2, 29, 10, 34, 56, 789012, UTC)),
    ("key", uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
    ("doc", {"a": [1, "é", None], "b": {"c": 1.5}}),
    ("numbers", [1, None, 3]),
    ("tags", ["a b", 'c"d', None, ""]),
]


def same(found, expected, what):
    if type(found) is not type(expected) or found != expected:
        raise AssertionError(f"{what}: {found!r} is not {expected!r}")


def scalar(connection, query, parameters=None):
    return connection.execute(query, parameters).fetchone()[0]


def refused(expected, connection, query, parameters=None):
    try:
        connection.execute(query, parameters)
    except expected as error:
        same(error.sqlstate, expected.sqlstate, query)
        return error.diag
    raise AssertionError(f"{query} did not fail")


def fill(connection, store, rows):
    """Leaves these rows (code, amount) in the store's table."""
    connection.execute(f"DELETE FROM {store}.bins")
    connection.execute(f"DELETE FROM {store}.parts")
    for code, amount in rows:
        connection.execute(f"INSERT INTO {store}.parts (code, amount) VALUES (%s, %s)", (code, amount))


def contents(connection, store):
    return connection.execute(f"SELECT code, amount FROM {store}.parts ORDER BY code").fetchall()


def typed_values(connection, store):
    columns = RICH if store == "shop" else KEPT
    names = ", ".join(name for name, _ in columns)
    values = [Jsonb(value) if isinstance(value, dict) else value for _, value in columns]
    expected = tuple(value for _, value in columns)
    for binary in (False, True):
        connection.execute(f"DELETE FROM {store}.kinds")
        placeholders = ", ".join(["%b" if binary else "%t"] * len(columns))
        cursor = connection.cursor(binary=binary)
        insert = f"INSERT INTO {store}.kinds ({names}) VALUES ({placeholders}) RETURNING {names}"
        same(cursor.execute(insert, values).fetchone(), expected, f"returned, binary={binary}")
        same(cursor.execute(f"SELECT {names} FROM {store}.kinds").fetchone(), expected, f"read, binary={binary}")
        for name, value in zip((name for name, _ in columns[1:]), values[1:]):
            mark = "%b" if binary else "%t"
            cursor.execute(f"UPDATE {store}.kinds SET {name} = NULL WHERE id = 1")
            same(scalar(connection, f"SELECT {name} IS NULL FROM {store}.kinds"), True, f"{name} is gone")
            cursor.execute(f"UPDATE {store}.kinds SET {name} = {mark} WHERE {name} IS NULL", (value,))
            same(cursor.rowcount, 1, f"{name} set")
        same(cursor.execute(f"SELECT {names} FROM {store}.kinds").fetchone(), expected, f"updated, binary={binary}")
    connection.execute(f"INSERT INTO {store}.kinds ({names}) VALUES (2{', %s' * (len(columns) - 1)})", [None] * (len(columns) - 1))
    found = connection.execute(f"SELECT {names} FROM {store}.kinds WHERE id = 2").fetchone()
    same(found, (2, *[None] * (len(columns) - 1)), "nulls")


def returning(connection, store):
    fill(connection, store, [])
    cursor = connection.execute(f"INSERT INTO {store}.parts (code) VALUES (%s) RETURNING id, code, amount, label", ("a",))
    same((cursor.rowcount, cursor.statusmessage), (1, "INSERT 0 1"), "insert")
    identity, *others = cursor.fetchone()
    same((type(identity), others), (int, ["a", 1, None]), "the owner's identity and default")
    rows = connection.execute(
        f"INSERT INTO {store}.parts (code, amount, label) VALUES (%s, %s, %s), (%s, DEFAULT, %s) RETURNING id, amount + 1 AS more, *",
        ("b", 2, "two", "c", None),
    )
    same([column.name for column in rows.description], ["id", "more", "id", "code", "amount", "label"], "names")
    found = rows.fetchall()
    same([row[1:2] + row[3:] for row in found], [(3, "b", 2, "two"), (2, "c", 1, None)], "several rows")
    same(len({identity, *(row[0] for row in found)}), 3, "identities differ")
    cursor = connection.execute(f"UPDATE {store}.parts SET amount = amount * %s WHERE code <> %s RETURNING code, amount", (10, "a"))
    same(cursor.rowcount, 2, "update")
    same(sorted(cursor.fetchall()), [("b", 20), ("c", 10)], "updated")
    cursor = connection.execute(f"DELETE FROM {store}.parts WHERE amount >= %s RETURNING upper(code)", (10,))
    same((cursor.rowcount, cursor.statusmessage), (2, "DELETE 2"), "delete")
    same(sorted(cursor.fetchall()), [("B",), ("C",)], "deleted")
    same(contents(connection, store), [("a", 1)], "what is left")


def row_counts(connection, store):
    fill(connection, store, [("a", 1), ("b", 2), ("c", 3)])
    for statement, parameters, count in (
        (f"UPDATE {store}.parts SET label = %s", ("all",), 3),
        (f"UPDATE {store}.parts SET label = %s WHERE amount > %s", ("all", 1), 2),
        (f"UPDATE {store}.parts SET label = %s WHERE code = ANY(%s)", (None, ["a", "x"]), 1),
        (f"UPDATE {store}.parts SET amount = %s WHERE code = %s", (9, "nobody"), 0),
        (f"DELETE FROM {store}.parts WHERE code = %s", ("nobody",), 0),
        (f"DELETE FROM {store}.parts WHERE label IS NULL", (), 1),
        (f"INSERT INTO {store}.parts (code, amount) SELECT code || %s, amount FROM {store}.parts", ("2",), 2),
    ):
        same(connection.execute(statement, parameters).rowcount, count, statement)
    same(contents(connection, store), [("b", 2), ("b2", 2), ("c", 3), ("c2", 3)], "contents")


def many(connection, store):
    fill(connection, store, [])
    rows = [(f"code {n:03}", n, None if n % 7 == 0 else f"label {n}") for n in range(ROWS)]
    insert = f"INSERT INTO {store}.parts (code, amount, label) VALUES (%s, %s, %s)"
    with connection.cursor() as cursor:
        cursor.executemany(insert, rows)
        same(cursor.rowcount, ROWS, "inserted")
        cursor.executemany(f"UPDATE {store}.parts SET amount = amount + %s WHERE code = %s", [(1000, row[0]) for row in rows[:100]])
        same(cursor.rowcount, 100, "updated")
        cursor.executemany(f"DELETE FROM {store}.parts WHERE code = %s RETURNING amount", [(row[0],) for row in rows[90:110]],
                           returning=True)
        amounts = [cursor.fetchone()[0]]
        while cursor.nextset():
            amounts.append(cursor.fetchone()[0])
    same(amounts, [*range(1090, 1100), *range(100, 110)], "deleted")
    found = connection.execute(f"SELECT code, amount, label FROM {store}.parts ORDER BY code").fetchall()
    kept = [(code, amount + 1000 * (amount < 100), label) for code, amount, label in rows[:90] + rows[110:]]
    same(found, kept, "contents")


def pipelined(connection, store):
    fill(connection, store, [])
    with connection.pipeline(), connection.transaction():
        cursors = [
            connection.execute(f"INSERT INTO {store}.parts (code, amount) VALUES (%s, %s) RETURNING amount", (f"code {n:03}", n))
            for n in range(ROWS)
        ]
        counted = connection.execute(f"SELECT count(*), sum(amount) FROM {store}.parts")
        deleted = connection.execute(f"DELETE FROM {store}.parts WHERE amount >= %s", (10,))
        same([cursor.fetchone()[0] for cursor in cursors], list(range(ROWS)), "returned")
        same(counted.fetchone(), (ROWS, decimal.Decimal(ROWS * (ROWS - 1) // 2)), "read in the pipeline")
        same(deleted.rowcount, ROWS - 10, "deleted in the pipeline")
    same(contents(connection, store), [(f"code {n:03}", n) for n in range(10)], "contents")
    # What stands between two Syncs is one transaction, which the second row breaks.
    try:
        with connection.pipeline():
            for code in ("x", "y", "x"):
                connection.execute(f"INSERT INTO {store}.parts (code) VALUES (%s)", (code,))
        raise AssertionError("a pipeline with a duplicate did not fail")
    except errors.UniqueViolation:
        pass
    same(scalar(connection, f"SELECT count(*) FROM {store}.parts"), 10, "an unfinished pipeline leaves nothing")


def prepared(connection, store):
    fill(connection, store, [])
    for n in range(20):
        cursor = connection.execute(f"INSERT INTO {store}.parts (code, amount) VALUES (%s, %s)", (f"{n:02}", n), prepare=True)
        same(cursor.rowcount, 1, "insert")
        cursor = connection.execute(f"UPDATE {store}.parts SET amount = amount + %s WHERE code = %s RETURNING amount",
                                    (1, f"{n:02}"), prepare=True, binary=n % 2 == 0)
        same(cursor.fetchone(), (n + 1,), "update")
    same(contents(connection, store), [(f"{n:02}", n + 1) for n in range(20)], "contents")


def conflicts(connection, store):
    fill(connection, store, [("a", 1)])
    insert = f"INSERT INTO {store}.parts (code, amount) VALUES (%s, %s), (%s, %s)"
    cursor = connection.execute(f"{insert} ON CONFLICT DO NOTHING RETURNING code", ("a", 5, "b", 6))
    same((cursor.rowcount, cursor.fetchall()), (1, [("b",)]), "do nothing")
    cursor = connection.execute(f"{insert} ON CONFLICT (code) DO NOTHING", ("a", 5, "b", 6))
    same((cursor.rowcount, cursor.statusmessage), (0, "INSERT 0 0"), "do nothing at all")
    cursor = connection.execute(
        f"{insert} ON CONFLICT (code) DO UPDATE SET amount = excluded.amount, label = %s RETURNING code, amount, label",
        ("a", 10, "c", 7, "twice"),
    )
    same((cursor.rowcount, sorted(cursor.fetchall())), (2, [("a", 10, "twice"), ("c", 7, None)]), "do update")
    same(contents(connection, store), [("a", 10), ("b", 6), ("c", 7)], "contents")
    refused(errors.CardinalityViolation, connection, f"{insert} ON CONFLICT (code) DO UPDATE SET amount = excluded.amount",
            ("z", 1, "z", 2))
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {store}.parts (code, amount) VALUES (%s, %s) ON CONFLICT (code) DO UPDATE SET amount = excluded.amount",
                           [(f"code {n % 50}", n) for n in range(200)])
        same(cursor.rowcount, 200, "many upserts")
    same(connection.execute(f"SELECT min(amount), max(amount), count(*) FROM {store}.parts WHERE code LIKE 'code%%'").fetchone(),
         (150, 199, 50), "last one wins")


def violations(connection, store):
    fill(connection, store, [("a", 1)])
    told = refused(errors.UniqueViolation, connection, f"INSERT INTO {store}.parts (code) VALUES (%s)", ("a",))
    same((told.constraint_name, told.table_name), ("parts_code_key", "parts"), "unique")
    same(told.message_primary, 'duplicate key value violates unique constraint "parts_code_key"', "unique")
    told = refused(errors.NotNullViolation, connection, f"INSERT INTO {store}.parts (code) VALUES (%s)", (None,))
    same((told.column_name, told.table_name), ("code", "parts"), "not null")
    told = refused(errors.CheckViolation, connection, f"UPDATE {store}.parts SET amount = %s", (-1,))
    same((told.constraint_name, told.table_name), ("parts_amount_check", "parts"), "check")
    refused(errors.ForeignKeyViolation, connection, f"INSERT INTO {store}.bins (part) VALUES (%s)", (-1,))
    part = scalar(connection, f"SELECT id FROM {store}.parts")
    connection.execute(f"INSERT INTO {store}.bins (part) VALUES (%s)", (part,))
    refused(errors.ForeignKeyViolation, connection, f"DELETE FROM {store}.parts")
    refused(errors.InvalidTextRepresentation, connection, f"INSERT INTO {store}.parts (code, amount) VALUES ('x', 'many')")
    refused(errors.UndefinedColumn, connection, f"INSERT INTO {store}.parts (nothing) VALUES (%s)", (1,))
    refused(errors.NumericValueOutOfRange, connection, f"UPDATE {store}.parts SET amount = amount + %s", (9223372036854775807,))
    same(contents(connection, store), [("a", 1)], "nothing has changed")


def rollback(connection, store):
    fill(connection, store, [("a", 1)])
    connection.autocommit = False
    connection.execute(f"INSERT INTO {store}.parts (code) VALUES (%s)", ("b",))
    connection.execute(f"UPDATE {store}.parts SET amount = %s", (7,))
    same(contents(connection, store), [("a", 7), ("b", 7)], "own writes")
    connection.rollback()
    same(contents(connection, store), [("a", 1)], "after a rollback")
    connection.execute(f"DELETE FROM {store}.parts")
    refused(errors.NotNullViolation, connection, f"INSERT INTO {store}.parts (code) VALUES (NULL)")
    refused(errors.InFailedSqlTransaction, connection, f"INSERT INTO {store}.parts (code) VALUES ('c')")
    same(connection.info.transaction_status, psycopg.pq.TransactionStatus.INERROR, "status")
    connection.rollback()
    same(contents(connection, store), [("a", 1)], "after an error")
    connection.execute(f"INSERT INTO {store}.parts (code) VALUES (%s)", ("d",))
    connection.commit()
    connection.autocommit = True
    same(contents(connection, store), [("a", 1), ("d", 1)], "after a commit")
    try:
        with connection.transaction():
            connection.execute(f"DELETE FROM {store}.parts")
            raise KeyError("given up")
    except KeyError:
        pass
    same(contents(connection, store), [("a", 1), ("d", 1)], "after an exception")
    with connection.transaction(force_rollback=True):
        connection.execute(f"DELETE FROM {store}.parts")
        same(contents(connection, store), [], "own delete")
    same(contents(connection, store), [("a", 1), ("d", 1)], "after force_rollback")


def savepoints(connection, store):
    fill(connection, store, [("a", 1)])
    with connection.transaction():
        connection.execute(f"INSERT INTO {store}.parts (code) VALUES ('b')")
        try:
            with connection.transaction():
                connection.execute(f"UPDATE {store}.parts SET amount = 5")
                connection.execute(f"INSERT INTO {store}.parts (code) VALUES ('a')")
        except errors.UniqueViolation:
            pass
        same(contents(connection, store), [("a", 1), ("b", 1)], "after a failed savepoint")
        with connection.transaction():
            connection.execute(f"INSERT INTO {store}.parts (code) VALUES ('c')")
            with connection.transaction() as inner:
                connection.execute(f"DELETE FROM {store}.parts")
                raise psycopg.Rollback(inner)
        same(contents(connection, store), [("a", 1), ("b", 1), ("c", 1)], "after Rollback")
    same(contents(connection, store), [("a", 1), ("b", 1), ("c", 1)], "committed")


def failing_batches(connection, store):
    rows = [(f"code {n}",) for n in range(ROWS)]
    rows[300] = ("code 299",)
    insert = f"INSERT INTO {store}.parts (code) VALUES (%s)"
    # Under autocommit a batch is one pipeline, and so one transaction too.
    for autocommit in (False, True):
        fill(connection, store, [("a", 1)])
        connection.autocommit = autocommit
        try:
            with connection.cursor() as cursor:
                cursor.executemany(insert, rows)
            raise AssertionError("a batch with a duplicate did not fail")
        except errors.UniqueViolation:
            pass
        connection.rollback()
        connection.autocommit = True
        same(contents(connection, store), [("a", 1)], f"autocommit={autocommit}")
    with connection.transaction():
        connection.execute(insert, ("before",))
        try:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(insert, rows)
        except errors.UniqueViolation:
            pass
        connection.execute(insert, ("behind",))
    same([code for code, _ in contents(connection, store)], ["a", "before", "behind"], "a batch in a savepoint")


def own_reads(connection, store):
    fill(connection, store, [("a", 1), ("b", 2)])
    other = "notes" if store == "shop" else "shop"
    fill(connection, other, [("a", 10), ("c", 30)])
    with psycopg.connect(**LOGIN, autocommit=True) as witness, connection.transaction():
        connection.execute(f"UPDATE {store}.parts SET amount = amount + 100")
        connection.execute(f"INSERT INTO {store}.parts (code, amount) VALUES ('c', %s)", (3,))
        joined = f"SELECT x.code, x.amount, y.amount FROM {store}.parts x JOIN {other}.parts y USING (code) ORDER BY 1"
        same(connection.execute(joined).fetchall(), [("a", 101, 10), ("c", 3, 30)], "a join over both stores")
        same(scalar(connection, f"SELECT sum(amount) FROM {store}.parts"), decimal.Decimal(206), "an aggregate")
        with connection.cursor(name="own") as cursor:
            cursor.execute(f"SELECT code FROM {store}.parts ORDER BY code DESC")
            same(cursor.fetchall(), [("c",), ("b",), ("a",)], "a cursor")
        same(contents(witness, store), [("a", 1), ("b", 2)], "another session reads what is committed")
    same(contents(connection, store), [("a", 101), ("b", 102), ("c", 3)], "committed")
    connection.execute(f"INSERT INTO {store}.parts (code, amount) SELECT code || '!', amount FROM {other}.parts")
    same(contents(connection, store), [("a", 101), ("a!", 10), ("b", 102), ("c", 3), ("c!", 30)], "rows of the other store")


def read_only(connection, store):
    fill(connection, store, [("a", 1)])
    connection.read_only = True
    with connection.transaction():
        same(contents(connection, store), [("a", 1)], "reads")
        try:
            with connection.transaction():
                refused(errors.ReadOnlySqlTransaction, connection, f"DELETE FROM {store}.parts")
                raise psycopg.Rollback()
        except psycopg.Rollback:
            pass
    connection.read_only = None
    same(contents(connection, store), [("a", 1)], "nothing has changed")


def computed_conflicts(connection, store):
    fill(connection, store, [("a", 1)])
    insert = f"INSERT INTO {store}.parts AS p (code, amount) VALUES (%s, %s), (%s, %s) ON CONFLICT (code) DO UPDATE"
    cursor = connection.execute(f"{insert} SET amount = p.amount + excluded.amount, label = %s::text RETURNING code, amount, label",
                                ("a", 10, "c", 7, "twice"))
    same((cursor.rowcount, sorted(cursor.fetchall())), (2, [("a", 11, "twice"), ("c", 7, None)]), "do update")
    cursor = connection.execute(f"{insert} SET amount = excluded.amount WHERE p.amount > %s", ("a", 100, "c", 200, 10))
    same(cursor.rowcount, 1, "do update where")
    same(contents(connection, store), [("a", 100), ("c", 7)], "contents")


def defaults_again(connection, store):
    fill(connection, store, [("a", 5), ("b", 6)])
    cursor = connection.execute(f"UPDATE {store}.parts SET amount = DEFAULT WHERE code = %s RETURNING amount", ("a",))
    same(cursor.fetchall(), [(1,)], "the owner's default")


def schemas_of_violations(connection, store):
    fill(connection, store, [("a", 1)])
    for expected, statement in (
        (errors.UniqueViolation, f"INSERT INTO {store}.parts (code) VALUES ('a')"),
        (errors.NotNullViolation, f"INSERT INTO {store}.parts (code) VALUES (NULL)"),
        (errors.CheckViolation, f"UPDATE {store}.parts SET amount = -1"),
    ):
        told = refused(expected, connection, statement)
        same((told.schema_name, told.table_name), (store, "parts"), statement)


def definitions(connection, store):
    boxes = f"CREATE TABLE {store}.boxes (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text)"
    count = f"SELECT count(*) FROM {store}.boxes"
    # As the driver is without a word: every statement belongs to a transaction.
    with psycopg.connect(**LOGIN) as own:
        own.execute(boxes)
        own.execute(f"INSERT INTO {store}.boxes (name) VALUES (%s)", ("first",))
        same(scalar(own, count), 1, "own rows")
        refused(errors.UndefinedTable, connection, count)
        own.rollback()
        refused(errors.UndefinedTable, own, count)
        own.rollback()
        own.execute(boxes)
        try:
            with own.transaction():
                own.execute(f"ALTER TABLE {store}.boxes ADD COLUMN worth int")
                own.execute(f"INSERT INTO {store}.boxes (name, worth) VALUES (%s, %s)", ("second", 7))
                raise psycopg.Rollback()
        except psycopg.Rollback:
            pass
        own.execute(f"INSERT INTO {store}.boxes VALUES (%s, %s)", (1, "kept"))
    same(connection.execute(f"SELECT * FROM {store}.boxes").fetchall(), [(1, "kept")], "committed")
    connection.execute(f"DROP TABLE {store}.boxes")


with psycopg.connect(**LOGIN, autocommit=True) as writer:
    for check in (typed_values, returning, row_counts, many, pipelined, prepared, conflicts, violations, rollback, savepoints,
                  failing_batches, own_reads, read_only, computed_conflicts, defaults_again, schemas_of_violations, definitions):
        for name in ("shop", "notes"):
            check(writer, name)
        print(check.__name__, flush=True)
