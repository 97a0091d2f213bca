// node-postgres as a writer: every check runs on both stores and prints its name when it has passed.

import assert from "node:assert/strict";
import fs from "node:fs";
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
const client = new pg.Client(login);
const ROWS = 500;

// What every store can keep, then what the PostgreSQL store keeps besides; pg gives bigint and numeric as text.
const kept = {
  id: "1",
  big: "-9223372036854775808",
  yes: true,
  whole: -0.1,
  words: "naïve 漢字 🦀 '\"\\",
  bytes: Buffer.from([0, 255, 16]),
};
const rich = {
  ...kept,
  small: -32768,
  exact: "123456789012345.67890",
  at: new Date("2024-02-29T10:34:56.789Z"),
  key: "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
  doc: { a: [1, "é", null] },
  numbers: [1, null, 3],
  tags: ["a b", 'c"d', null, ""],
};

async function refused(code, query, values) {
  let told;
  await assert.rejects(client.query(query, values), (error) => {
    told = error;
    assert.equal(error.code, code, error.message);
    return true;
  });
  return told;
}

// Leaves these rows (code, amount) in the store's table.
async function fill(store, rows) {
  await client.query(`DELETE FROM ${store}.bins; DELETE FROM ${store}.parts`);
  for (const row of rows) await client.query(`INSERT INTO ${store}.parts (code, amount) VALUES ($1, $2)`, row);
}

async function contents(store) {
  const found = await client.query({ text: `SELECT code, amount FROM ${store}.parts ORDER BY code`, rowMode: "array" });
  return found.rows.map(([code, amount]) => [code, Number(amount)]);
}

const checks = {
  async typed_values(store) {
    await client.query(`DELETE FROM ${store}.kinds`);
    const columns = store === "shop" ? rich : kept;
    const names = Object.keys(columns).join(", ");
    const marks = Object.keys(columns).map((_, n) => `$${n + 1}`).join(", ");
    const inserted = await client.query(`INSERT INTO ${store}.kinds (${names}) VALUES (${marks}) RETURNING ${names}`, Object.values(columns));
    assert.deepEqual(inserted.rows, [columns]);
    assert.deepEqual((await client.query(`SELECT ${names} FROM ${store}.kinds`)).rows, [columns]);
    for (const [name, value] of Object.entries(columns)) {
      const updated = await client.query(`UPDATE ${store}.kinds SET ${name} = $1 WHERE id = $2 RETURNING ${name}`, [value, 1]);
      assert.deepEqual(updated.rows, [{ [name]: value }]);
    }
  },
  async returning(store) {
    await fill(store, []);
    const inserted = await client.query(`INSERT INTO ${store}.parts (code) VALUES ($1), ($2) RETURNING *`, ["a", "b"]);
    assert.deepEqual([inserted.command, inserted.rowCount], ["INSERT", 2]);
    assert.deepEqual(inserted.rows.map(({ code, amount, label }) => [code, amount, label]), [["a", "1", null], ["b", "1", null]]);
    assert.equal(new Set(inserted.rows.map((row) => row.id)).size, 2);
    const updated = await client.query(`UPDATE ${store}.parts SET amount = amount + $1 WHERE id = $2 RETURNING amount`, [41, inserted.rows[1].id]);
    assert.deepEqual([updated.command, updated.rowCount, updated.rows], ["UPDATE", 1, [{ amount: "42" }]]);
    const deleted = await client.query(`DELETE FROM ${store}.parts WHERE amount = $1 RETURNING code`, [42]);
    assert.deepEqual([deleted.command, deleted.rowCount, deleted.rows], ["DELETE", 1, [{ code: "b" }]]);
    assert.deepEqual((await client.query(`DELETE FROM ${store}.parts WHERE code = 'b'`)).rowCount, 0);
    assert.deepEqual((await client.query(`UPDATE ${store}.parts SET label = 'x'`)).rowCount, 1);
  },
  // pg has no batches: a named statement again and again, and arrays.
  async many(store) {
    await fill(store, []);
    await client.query("BEGIN");
    const insert = { name: `insert ${store}`, text: `INSERT INTO ${store}.parts (code, amount) VALUES ($1, $2)` };
    for (let n = 0; n < ROWS; n += 1) assert.equal((await client.query({ ...insert, values: [`code ${n}`, n] })).rowCount, 1);
    const codes = Array.from({ length: ROWS }, (_, n) => `array ${n}`);
    const amounts = codes.map((_, n) => n);
    const unnested = await client.query(`INSERT INTO ${store}.parts (code, amount) SELECT * FROM unnest($1::text[], $2::int8[])`, [codes, amounts]);
    assert.equal(unnested.rowCount, ROWS);
    const found = await client.query(`SELECT count(*) AS rows, sum(amount) AS total FROM ${store}.parts`);
    assert.deepEqual(found.rows, [{ rows: String(2 * ROWS), total: String(ROWS * (ROWS - 1)) }]);
    assert.equal((await client.query("COMMIT")).command, "COMMIT");
    assert.equal((await client.query(`DELETE FROM ${store}.parts WHERE amount >= 10`)).rowCount, 2 * (ROWS - 10));
  },
  async conflicts(store) {
    await fill(store, [["a", 1]]);
    const insert = `INSERT INTO ${store}.parts (code, amount) VALUES ($1, $2)`;
    assert.equal((await client.query(`${insert} ON CONFLICT DO NOTHING`, ["a", 2])).rowCount, 0);
    const upsert = `${insert} ON CONFLICT (code) DO UPDATE SET amount = excluded.amount RETURNING code, amount`;
    assert.deepEqual((await client.query(upsert, ["a", 3])).rows, [{ code: "a", amount: "3" }]);
    assert.deepEqual((await client.query(upsert, ["b", 4])).rows, [{ code: "b", amount: "4" }]);
    assert.deepEqual(await contents(store), [["a", 3], ["b", 4]]);
  },
  async violations(store) {
    await fill(store, [["a", 1]]);
    const unique = await refused("23505", `INSERT INTO ${store}.parts (code) VALUES ($1)`, ["a"]);
    assert.deepEqual([unique.constraint, unique.table, unique.severity], ["parts_code_key", "parts", "ERROR"]);
    const missing = await refused("23502", `UPDATE ${store}.parts SET code = $1`, [null]);
    assert.deepEqual([missing.column, missing.table], ["code", "parts"]);
    const negative = await refused("23514", `UPDATE ${store}.parts SET amount = $1`, [-1]);
    assert.deepEqual([negative.constraint, negative.table], ["parts_amount_check", "parts"]);
    await refused("23503", `INSERT INTO ${store}.bins (part) VALUES ($1)`, [-1]);
    await refused("22P02", `INSERT INTO ${store}.parts (code, amount) VALUES ($1, $2)`, ["x", "many"]);
    assert.deepEqual(await contents(store), [["a", 1]]);
  },
  async rollback(store) {
    await fill(store, [["a", 1]]);
    await client.query("BEGIN");
    await client.query(`INSERT INTO ${store}.parts (code, amount) VALUES ($1, $2)`, ["b", 2]);
    await client.query(`UPDATE ${store}.parts SET amount = amount * 10`);
    assert.deepEqual(await contents(store), [["a", 10], ["b", 20]]);
    await client.query("ROLLBACK");
    assert.deepEqual(await contents(store), [["a", 1]]);
    await client.query("BEGIN");
    await client.query(`DELETE FROM ${store}.parts`);
    await refused("23502", `INSERT INTO ${store}.parts (code) VALUES ($1)`, [null]);
    await refused("25P02", `INSERT INTO ${store}.parts (code) VALUES ('c')`);
    assert.equal((await client.query("COMMIT")).command, "ROLLBACK");
    assert.deepEqual(await contents(store), [["a", 1]]);
  },
  async savepoints(store) {
    await fill(store, [["a", 1]]);
    await client.query("BEGIN");
    await client.query(`INSERT INTO ${store}.parts (code) VALUES ('b')`);
    await client.query("SAVEPOINT one");
    await client.query(`DELETE FROM ${store}.parts WHERE code = 'b'`);
    await refused("23505", `INSERT INTO ${store}.parts (code) VALUES ('a')`);
    await client.query("ROLLBACK TO SAVEPOINT one");
    await client.query(`INSERT INTO ${store}.parts (code) VALUES ('c')`);
    await client.query("SAVEPOINT two");
    await client.query(`UPDATE ${store}.parts SET amount = 5`);
    await client.query("RELEASE SAVEPOINT two");
    await client.query("ROLLBACK TO one; SAVEPOINT three");
    await client.query(`INSERT INTO ${store}.parts (code) VALUES ('d')`);
    await client.query("COMMIT");
    assert.deepEqual(await contents(store), [["a", 1], ["b", 1], ["d", 1]]);
  },
  // Several statements in one text are one transaction.
  async failing_batches(store) {
    await fill(store, [["a", 1]]);
    const texts = Array.from({ length: 100 }, (_, n) => `INSERT INTO ${store}.parts (code) VALUES ('code ${n === 60 ? 59 : n}')`);
    await refused("23505", texts.join("; "));
    assert.deepEqual(await contents(store), [["a", 1]]);
    texts[60] = `UPDATE ${store}.parts SET amount = 2`;
    const done = await client.query(texts.join("; "));
    assert.deepEqual([done.length, done[0].rowCount, done[60].command, done[60].rowCount], [100, 1, "UPDATE", 61]);
    assert.equal((await contents(store)).length, 100);
    const named = { name: `batch ${store}`, text: `INSERT INTO ${store}.parts (code) VALUES ($1)` };
    await client.query("BEGIN");
    await client.query({ ...named, values: ["x"] });
    await refused("23505", { ...named, values: ["a"] });
    await refused("25P02", { ...named, values: ["y"] });
    await client.query("ROLLBACK");
    assert.equal((await client.query({ ...named, values: ["x"] })).rowCount, 1);
    assert.equal((await contents(store)).length, 101);
  },
  async pooled(store) {
    await fill(store, [["shared", 0]]);
    const pool = new pg.Pool({ ...login, max: 3 });
    const one = async (n) => {
      const held = await pool.connect();
      await held.query("BEGIN");
      await held.query(`UPDATE ${store}.parts SET amount = amount + 1 WHERE code = 'shared'`);
      await held.query(`INSERT INTO ${store}.parts (code) VALUES ($1)`, [`code ${n}`]);
      await held.query("COMMIT");
      held.release();
    };
    await Promise.all(Array.from({ length: 20 }, (_, n) => one(n)));
    await pool.end();
    const found = await contents(store);
    assert.equal(found.length, 21);
    assert.deepEqual(found.at(-1), ["shared", 20]);
  },
};

await client.connect();
for (const [name, check] of Object.entries(checks)) {
  for (const store of ["shop", "notes"]) await check(store);
  console.log(name);
}
await client.end();
