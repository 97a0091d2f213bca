"""psycopg 3 as a listener: its generator of notifications while the connection idles, and not inside of a transaction."""

import json
import os

import psycopg

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


def same(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: {found!r} is not {expected!r}")


def told(connection, count, seconds=10):
    found = [(note.pid, note.channel, note.payload) for note in connection.notifies(timeout=seconds, stop_after=count)]
    same(len(found), count, "notifications")
    return found


with psycopg.connect(**LOGIN, autocommit=True) as listener, psycopg.connect(**LOGIN, autocommit=True) as other:
    process = other.info.backend_pid
    listener.execute("LISTEN news")
    listener.execute('LISTEN "More news"')
    other.execute("NOTIFY news, 'it''s on'")
    other.execute("SELECT pg_notify(%s, %s)", ("More news", ""))
    same(told(listener, 2), [(process, "news", "it's on"), (process, "More news", "")], "in their order")
    print("idle", flush=True)

    with listener.transaction():
        other.execute("NOTIFY news, 'later'")
        same(listener.execute("SELECT 1").fetchone(), (1,), "a row")
        same(list(listener.notifies(timeout=0.2)), [], "nothing inside of a transaction")
    same(told(listener, 1), [(process, "news", "later")], "one behind a transaction")
    print("transactions", flush=True)

    listener.execute('LISTEN "file.orders"')
    other.execute("INSERT INTO file.orders VALUES (%s, %s)", (7, "x"))
    [(_, channel, payload)] = told(listener, 1)
    same((channel, json.loads(payload)["key"]), ("file.orders", {"id": 7}), "a change")
    print("changes", flush=True)

    listener.execute("UNLISTEN *")
    other.execute("NOTIFY news, 'unheard'")
    same(listener.execute("SELECT * FROM pg_listening_channels()").fetchall(), [], "channels")
    same(list(listener.notifies(timeout=0.2)), [], "nothing that was not listened to")
    print("left", flush=True)
