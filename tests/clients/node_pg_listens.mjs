// node-postgres as a listener: its events while the connection idles, and not inside of a transaction.

import assert from "node:assert/strict";
import fs from "node:fs";
import { once } from "node:events";
import { createRequire } from "node:module";

const require = createRequire(process.env.TRIBUTARY_NODE_MODULES);
const pg = require("pg");

const login = {
  host: process.env.TRIBUTARY_HOST,
  port: Number(process.env.TRIBUTARY_PORT),
  user: process.env.TRIBUTARY_USER,
  password: process.env.TRIBUTARY_PASSWORD,
  database: process.env.TRIBUTARY_DATABASE,
  ssl: { ca: fs.readFileSync(process.env.TRIBUTARY_CA, "utf8") },
};
const [listener, other] = [new pg.Client(login), new pg.Client(login)];
await listener.connect();
await other.connect();

const told = [];
listener.on("notification", ({ processId, channel, payload }) => told.push([processId, channel, payload]));

async function next() {
  const signal = AbortSignal.timeout(10_000);
  while (told.length === 0) {
    await once(listener, "notification", { signal });
  }
  return told.shift();
}

await listener.query("LISTEN news");
await other.query("NOTIFY news, 'it''s on'");
assert.deepEqual(await next(), [other.processID, "news", "it's on"]);
await other.query("SELECT pg_notify($1, $2)", ["news", "by a function"]);
assert.deepEqual(await next(), [other.processID, "news", "by a function"]);
console.log("idle");

await listener.query("BEGIN");
await other.query("NOTIFY news, 'later'");
await listener.query("SELECT 1");
await new Promise((resolve) => setTimeout(resolve, 200));
assert.deepEqual(told, []);
await listener.query("COMMIT");
assert.deepEqual(await next(), [other.processID, "news", "later"]);
console.log("transactions");

await listener.query('LISTEN "file.orders"');
await other.query("INSERT INTO file.orders VALUES ($1, $2)", [7, "x"]);
const [, channel, payload] = await next();
assert.deepEqual([channel, JSON.parse(payload).key], ["file.orders", { id: 7 }]);
console.log("changes");

await listener.query("UNLISTEN *");
await other.query("NOTIFY news, 'unheard'");
assert.deepEqual((await listener.query("SELECT * FROM pg_listening_channels()")).rows, []);
assert.deepEqual(told, []);
await listener.end();
await other.end();
console.log("left");
