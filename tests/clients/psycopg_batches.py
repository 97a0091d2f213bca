"""psycopg 3: batches and COPY over stores that have neither, and in transactions over two stores; prints each check that has passed."""

import os

import psycopg
from psycopg import errors

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
ROWS = 200
STORES = ("shop", "crm", "field")


def same(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: {found!r} is not {expected!r}")


def insert(store):
    return f"INSERT INTO {store}.parts (_id, code, amount) VALUES (%s, %s, %s)"


def rows(first=0, count=ROWS):
    return [(n, f"code {n:03}", n) for n in range(first, first + count)]


def told(connection, store):
    return connection.execute(f"SELECT count(*), sum(amount) FROM {store}.parts").fetchone()


def empty(connection):
    for store in STORES:
        connection.execute(f"DELETE FROM {store}.parts")


def many(connection, store):
    with connection.cursor() as cursor:
        cursor.executemany(insert(store), rows())
        same(cursor.rowcount, ROWS, "inserted")
        cursor.executemany(f"UPDATE {store}.parts SET amount = amount + %s WHERE _id = %s", [(1000, n) for n in range(0, ROWS, 2)])
        same(cursor.rowcount, ROWS // 2, "changed")
        cursor.executemany(f"DELETE FROM {store}.parts WHERE code = %s", [(f"code {n:03}",) for n in range(10)])
        same(cursor.rowcount, 10, "deleted")
        same(told(connection, store), (190, sum(range(10, ROWS)) + 95 * 1000), "left")


def many_returning(connection, store):
    found = []
    with connection.cursor() as cursor:
        cursor.executemany(f"{insert(store)} RETURNING _id, upper(code)", rows(), returning=True)
        while True:
            found.extend(cursor.fetchall())
            if not cursor.nextset():
                break
    same(found, [(n, code.upper()) for n, code, _ in rows()], "returned")


def many_upserts(connection, store):
    statement = f"{insert(store)} ON CONFLICT (_id) DO UPDATE SET amount = parts.amount + excluded.amount"
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows(count=50))
        cursor.executemany(statement, rows(first=40, count=20))
        same(cursor.rowcount, 20, "met or added")
    same(told(connection, store), (60, sum(range(60)) + sum(range(40, 50))), "left")


def failing(connection, store):
    connection.execute(insert(store), (7, "taken", 7))
    for expected, spoilt in ((errors.UniqueViolation, rows()), (errors.UniqueViolation, [(1, "one", 1), (2, "taken", 2)])):
        try:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(insert(store), spoilt)
        except expected:
            pass
        else:
            raise AssertionError("a batch with a duplicate did not fail")
        same(told(connection, store), (1, 7), "nothing of the batch is left")


def copied(connection, store):
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY {store}.parts (_id, code, amount) FROM STDIN") as copy:
            for row in rows():
                copy.write_row(row)
        same(cursor.rowcount, ROWS, "copied")
        with cursor.copy(f"COPY {store}.parts (_id, code, amount) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int8", "text", "int8"])
            copy.write_row((1000, "binary", None))
    same(told(connection, store), (ROWS + 1, sum(range(ROWS))), "left")
    try:
        with connection.cursor() as cursor, cursor.copy(f"COPY {store}.parts (_id, code) FROM STDIN") as copy:
            copy.write("2000\tfine\n2001\tbinary\n")
    except errors.UniqueViolation:
        pass
    else:
        raise AssertionError("COPY of a duplicate did not fail")
    same(told(connection, store), (ROWS + 1, sum(range(ROWS))), "nothing of a failed COPY is left")


def of_two_stores(connection):
    for first, second, promised in (
        ("shop", "crm", "two-phase: shop, crm"),
        ("shop", "field", "last resource: shop; last: field"),
        ("crm", "field", "last resource: crm; last: field"),
    ):
        empty(connection)
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(insert(first), rows())
            cursor.executemany(insert(second), rows(first=1000))
            with cursor.copy(f"COPY {second}.parts (_id, code, amount) FROM STDIN") as copy:
                copy.write_row((1, "copied", 1))
        same(connection.execute("SHOW tributary.last_commit").fetchone()[0], promised, "promised")
        left = (told(connection, first)[0], told(connection, second)[0])
        same(left, (ROWS, ROWS + 1), "in both")
        try:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(f"DELETE FROM {first}.parts WHERE _id = %s", [(n,) for n in range(50)])
                cursor.executemany(insert(second), [(2000, "new", 1), (2001, "copied", 1)])
        except errors.UniqueViolation:
            pass
        else:
            raise AssertionError("a batch with a duplicate did not fail")
        same((told(connection, first)[0], told(connection, second)[0]), left, "in neither")


def savepoints_of_two_stores(connection):
    empty(connection)
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(insert("shop"), rows())
        try:
            with connection.transaction():
                cursor.executemany(insert("shop"), rows(first=300, count=10))
                cursor.executemany(insert("crm"), [*rows(count=10), (5, "again", 5)])
        except errors.UniqueViolation:
            pass
        else:
            raise AssertionError("a batch with a duplicate did not fail")
        cursor.executemany(insert("crm"), rows(count=20))
    same((told(connection, "shop")[0], told(connection, "crm")[0]), (ROWS, 20), "behind the savepoint")


with psycopg.connect(**LOGIN, autocommit=True) as writer:
    for check in (many, many_returning, many_upserts, failing, copied):
        for name in STORES:
            empty(writer)
            check(writer, name)
        print(check.__name__, flush=True)
    for check in (of_two_stores, savepoints_of_two_stores):
        check(writer)
        print(check.__name__, flush=True)
