"""asyncpg as a listener: its callbacks run while the connection idles, and not inside of a transaction."""

import asyncio
import json
import os
import ssl

import asyncpg

LOGIN = {
    "host": os.environ["TRIBUTARY_HOST"],
    "port": int(os.environ["TRIBUTARY_PORT"]),
    "user": os.environ["TRIBUTARY_USER"],
    "password": os.environ["TRIBUTARY_PASSWORD"],
    "database": os.environ["TRIBUTARY_DATABASE"],
    "timeout": 10,
}


def same(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: {found!r} is not {expected!r}")


async def main():
    context = ssl.create_default_context(cafile=os.environ["TRIBUTARY_CA"])
    listener, other = [await asyncpg.connect(**LOGIN, ssl=context) for _ in range(2)]
    told = asyncio.Queue()

    def hear(_connection, process, channel, payload):
        told.put_nowait((process, channel, payload))

    async def next_one():
        return await asyncio.wait_for(told.get(), 10)

    process = other.get_server_pid()
    await listener.add_listener("news", hear)
    await listener.add_listener("More news", hear)
    await other.execute("NOTIFY news, 'it''s on'")
    same(await next_one(), (process, "news", "it's on"), "a notification")
    await other.execute("SELECT pg_notify($1, $2)", "More news", "")
    same(await next_one(), (process, "More news", ""), "one without a payload")
    print("idle", flush=True)

    async with listener.transaction():
        await other.execute("NOTIFY news, 'later'")
        same(await listener.fetchval("SELECT 1"), 1, "a row")
        await asyncio.sleep(0.2)
        same(told.empty(), True, "nothing inside of a transaction")
    same(await next_one(), (process, "news", "later"), "one behind a transaction")
    await listener.execute("NOTIFY news, 'own'")
    same(await next_one(), (listener.get_server_pid(), "news", "own"), "one of its own")
    print("transactions", flush=True)

    await listener.add_listener("file.orders", hear)
    await other.execute("INSERT INTO file.orders VALUES ($1, $2)", 7, "x")
    _, channel, payload = await next_one()
    same((channel, json.loads(payload)["key"]), ("file.orders", {"id": 7}), "a change")
    print("changes", flush=True)

    await listener.remove_listener("news", hear)
    await other.execute("NOTIFY news, 'unheard'")
    await listener.reset()
    same(await listener.fetch("SELECT * FROM pg_listening_channels()"), [], "nothing behind a reset")
    same(told.empty(), True, "nothing that was not listened to")
    await listener.close()
    await other.close()
    print("left", flush=True)


asyncio.run(main())
