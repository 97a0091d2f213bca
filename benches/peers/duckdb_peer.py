"""DuckDB with its scanners, for `tributary bench --against duckdb`.

Reads one JSON object per line from standard input and writes one per line to standard output. The first says which stores to
attach, each further one is a query with its limit in seconds. The time is that of the query and of fetching its rows.
"""

import json
import sys
import threading
import time

import duckdb
from duckdb_extensions import import_extension

SCANNERS = {"postgres": "postgres_scanner", "mariadb": "mysql_scanner", "sqlite": "sqlite_scanner"}
TYPES = {"postgres": "postgres", "mariadb": "mysql", "sqlite": "sqlite"}


def attach(stores):
    connection = duckdb.connect()
    path = []
    for kind in sorted({store["kind"] for store in stores}):
        import_extension(SCANNERS[kind], con=connection)
        connection.execute(f"LOAD {SCANNERS[kind]}")
    for store in stores:
        address = store["address"].replace("'", "''")
        connection.execute(f"ATTACH '{address}' AS {store['name']} (TYPE {TYPES[store['kind']]}, READ_ONLY)")
        path.append(f"{store['name']}.{store['schema']}")
    connection.execute(f"SET search_path = '{','.join(path)}'")
    return connection


def text(value):
    if value is None:
        return None
    if isinstance(value, bool):
        return "t" if value else "f"
    return str(value)


def ask(connection, sql, limit_s):
    is_over = threading.Event()

    def stop():
        is_over.set()
        connection.interrupt()

    timer = threading.Timer(limit_s, stop)
    timer.start()
    started = time.perf_counter()
    try:
        rows = connection.execute(sql).fetchall()
        elapsed_ms = (time.perf_counter() - started) * 1000
        return {"elapsed_ms": elapsed_ms, "rows": [[text(cell) for cell in row] for row in rows]}
    except duckdb.Error as error:
        return {"timed_out": True} if is_over.is_set() else {"error": str(error).strip()}
    finally:
        timer.cancel()


def main():
    connection = None
    for line in sys.stdin:
        wanted = json.loads(line)
        if connection is None:
            try:
                connection = attach(wanted["stores"])
                answer = {"version": duckdb.__version__}
            except Exception as error:  # whatever it is, the reader of the answer must hear it
                answer = {"error": str(error).strip()}
        else:
            answer = ask(connection, wanted["sql"], wanted["limit_s"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
