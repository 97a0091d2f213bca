// postgres.js as a writer, with its own inserts, transactions and savepoints, on both stores.

import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(process.env.TRIBUTARY_NODE_MODULES);
const postgres = require("postgres");

const sql = postgres({
  host: process.env.TRIBUTARY_HOST,
  port: Number(process.env.TRIBUTARY_PORT),
  user: process.env.TRIBUTARY_USER,
  password: process.env.TRIBUTARY_PASSWORD,
  database: process.env.TRIBUTARY_DATABASE,
  ssl: { ca: fs.readFileSync(process.env.TRIBUTARY_CA, "utf8") },
  max: 1,
});
const ROWS = 500;
const code = (n) => `code ${String(n).padStart(3, "0")}`;

// Leaves these rows (code, amount) in the store's table.
async function fill(store, rows) {
  await sql`DELETE FROM ${sql(store)}.bins`;
  await sql`DELETE FROM ${sql(store)}.parts`;
  if (rows.length > 0) await sql`INSERT INTO ${sql(store)}.parts ${sql(rows.map(([name, amount]) => ({ code: name, amount })))}`;
}

async function contents(store, on = sql) {
  const rows = await on`SELECT code, amount FROM ${sql(store)}.parts ORDER BY code`;
  return rows.map((row) => [row.code, Number(row.amount)]);
}

const checks = {
  async typed_values(store) {
    await sql`DELETE FROM ${sql(store)}.kinds`;
    const kept = {
      id: 1,
      big: "-9223372036854775808",
      yes: true,
      whole: -0.1,
      words: "naïve 漢字 🦀 '\"\\",
      day: new Date("2024-02-29"),
      bytes: Buffer.from([0, 255, 16]),
    };
    const rich = {
      small: -32768,
      exact: "123456789012345.67890",
      at: new Date("2024-02-29T10:34:56.789Z"),
      key: "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
      numbers: [1, 2],
      tags: ["a b", 'c"d'],
    };
    const columns = store === "shop" ? { ...kept, ...rich } : kept;
    const [inserted] = await sql`INSERT INTO ${sql(store)}.kinds ${sql(columns)} RETURNING ${sql(Object.keys(columns))}`;
    assert.deepEqual({ ...inserted, id: Number(inserted.id) }, columns);
    const { id, ...others } = columns;
    const [updated] = await sql`UPDATE ${sql(store)}.kinds SET ${sql(others)} WHERE id = ${id} RETURNING ${sql(Object.keys(others))}`;
    assert.deepEqual({ ...updated }, others);
    if (store === "shop") {
      const document = { a: [1, "é", null] };
      const [row] = await sql`UPDATE shop.kinds SET doc = ${sql.json(document)} RETURNING doc`;
      assert.deepEqual(row.doc, document);
    }
  },
  async returning(store) {
    await fill(store, []);
    const inserted = await sql`INSERT INTO ${sql(store)}.parts (code) VALUES (${"a"}), (${"b"}) RETURNING *`;
    assert.deepEqual([inserted.command, inserted.count], ["INSERT", 2]);
    assert.deepEqual(inserted.map((row) => [row.code, row.amount, row.label]), [["a", "1", null], ["b", "1", null]]);
    const updated = await sql`UPDATE ${sql(store)}.parts SET amount = amount + ${41} WHERE id = ${inserted[1].id} RETURNING amount`;
    assert.deepEqual([updated.count, updated[0].amount], [1, "42"]);
    const deleted = await sql`DELETE FROM ${sql(store)}.parts WHERE code IN ${sql(["b", "x"])}`;
    assert.deepEqual([deleted.command, deleted.count], ["DELETE", 1]);
    assert.deepEqual((await sql`UPDATE ${sql(store)}.parts SET label = NULL WHERE code = 'x'`).count, 0);
  },
  async many(store) {
    await fill(store, Array.from({ length: ROWS }, (_, n) => [code(n), n]));
    assert.deepEqual(await contents(store), Array.from({ length: ROWS }, (_, n) => [code(n), n]));
    // Sent without waiting for one another: a pipeline.
    const counts = await Promise.all(Array.from({ length: 100 }, (_, n) => sql`UPDATE ${sql(store)}.parts SET amount = 1 WHERE code = ${code(n)}`));
    assert.ok(counts.every((result) => result.count === 1));
    const results = await sql.begin((inner) =>
      Array.from({ length: ROWS }, (_, n) => inner`DELETE FROM ${sql(store)}.parts WHERE code = ${code(n)} AND amount = 1`),
    );
    assert.equal(results.reduce((total, result) => total + result.count, 0), 100);
    assert.equal((await contents(store)).length, ROWS - 100);
  },
  async conflicts(store) {
    await fill(store, [["a", 1]]);
    const rows = sql([{ code: "a", amount: 5 }, { code: "b", amount: 6 }]);
    assert.equal((await sql`INSERT INTO ${sql(store)}.parts ${rows} ON CONFLICT (code) DO NOTHING`).count, 1);
    const again = sql([{ code: "a", amount: 7 }, { code: "c", amount: 8 }]);
    const found = await sql`INSERT INTO ${sql(store)}.parts ${again} ON CONFLICT (code) DO UPDATE SET amount = excluded.amount RETURNING code`;
    assert.deepEqual(found.map((row) => row.code).sort(), ["a", "c"]);
    assert.deepEqual(await contents(store), [["a", 7], ["b", 6], ["c", 8]]);
  },
  async violations(store) {
    await fill(store, [["a", 1]]);
    const parts = sql(store);
    await assert.rejects(sql`INSERT INTO ${parts}.parts (code) VALUES (${"a"})`, { code: "23505", constraint_name: "parts_code_key", table_name: "parts" });
    await assert.rejects(sql`UPDATE ${parts}.parts SET code = ${null}`, { code: "23502", column_name: "code" });
    await assert.rejects(sql`UPDATE ${parts}.parts SET amount = ${-1}`, { code: "23514", constraint_name: "parts_amount_check" });
    await assert.rejects(sql`INSERT INTO ${parts}.bins (part) VALUES (${-1})`, { code: "23503" });
    assert.deepEqual(await contents(store), [["a", 1]]);
  },
  async transactions(store) {
    await fill(store, [["a", 1]]);
    const seen = await sql.begin(async (inner) => {
      await inner`INSERT INTO ${sql(store)}.parts (code) VALUES ('b')`;
      await assert.rejects(
        inner.savepoint(async (nested) => {
          await nested`UPDATE ${sql(store)}.parts SET amount = 5`;
          await nested`INSERT INTO ${sql(store)}.parts (code) VALUES ('a')`;
        }),
        { code: "23505" },
      );
      await inner.savepoint((nested) => nested`INSERT INTO ${sql(store)}.parts (code) VALUES ('c')`);
      return contents(store, inner);
    });
    assert.deepEqual(seen, [["a", 1], ["b", 1], ["c", 1]]);
    assert.deepEqual(await contents(store), seen);
    await assert.rejects(
      sql.begin(async (inner) => {
        await inner`DELETE FROM ${sql(store)}.parts`;
        throw new RangeError("given up");
      }),
      RangeError,
    );
    assert.deepEqual(await contents(store), seen);
    await assert.rejects(sql.begin("read only", (inner) => inner`DELETE FROM ${sql(store)}.parts`), { code: "25006" });
  },
  async failing_batches(store) {
    await fill(store, [["a", 1]]);
    const codes = Array.from({ length: ROWS }, (_, n) => code(n === 300 ? 299 : n));
    await assert.rejects(
      sql.begin((inner) => codes.map((one) => inner`INSERT INTO ${sql(store)}.parts (code) VALUES (${one})`)),
      { code: "23505" },
    );
    await assert.rejects(sql`INSERT INTO ${sql(store)}.parts ${sql(codes.map((one) => ({ code: one })))}`, { code: "23505" });
    assert.deepEqual(await contents(store), [["a", 1]]);
  },
};

for (const [name, check] of Object.entries(checks)) {
  for (const store of ["shop", "notes"]) await check(store);
  console.log(name);
}
await sql.end();
