// postgres.js: fetches array types at the start, prepares every query, streams with cursors.

import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(process.env.TRIBUTARY_NODE_MODULES);
const postgres = require("postgres");

const login = {
  host: process.env.TRIBUTARY_HOST,
  port: Number(process.env.TRIBUTARY_PORT),
  user: process.env.TRIBUTARY_USER,
  password: process.env.TRIBUTARY_PASSWORD,
  database: process.env.TRIBUTARY_DATABASE,
  ssl: { ca: fs.readFileSync(process.env.TRIBUTARY_CA, "utf8") },
  max: 1,
};
const sql = postgres(login);
const moment = new Date("2024-02-29T10:34:56.789Z");

const checks = {
  async parameters() {
    const [row] = await sql`
      SELECT ${-32768}::int2 AS small, ${2147483647}::int4 AS whole, ${"-9223372036854775808"}::int8 AS big, ${true}::bool AS yes,
        ${"12345678901234567890.123456789"}::numeric AS exact, ${-0.1}::float8 AS part, ${"naïve 漢字 🦀 '\"\\"}::text AS words,
        ${moment}::timestamptz AS at, ${"2024-02-29"}::date AS day, ${Buffer.from([0, 255])}::bytea AS bytes,
        ${sql.json({ a: [1, "é", null] })}::jsonb AS doc, ${[1, 2]}::int4[] AS numbers, ${["a b", 'c"d']}::text[] AS tags,
        ${null}::int4 AS nothing`;
    assert.deepEqual({ ...row }, {
      small: -32768,
      whole: 2147483647,
      big: "-9223372036854775808",
      yes: true,
      exact: "12345678901234567890.123456789",
      part: -0.1,
      words: "naïve 漢字 🦀 '\"\\",
      at: moment,
      day: new Date("2024-02-29"),
      bytes: Buffer.from([0, 255]),
      doc: { a: [1, "é", null] },
      numbers: [1, 2],
      tags: ["a b", 'c"d'],
      nothing: null,
    });
  },
  async array_types() {
    // Without NULLs: postgres.js does not read those inside arrays.
    const [row] = await sql`SELECT ARRAY[1, 2]::int8[] AS numbers, ARRAY['a b', 'c"d'] AS tags, ARRAY[true, false] AS bits`;
    assert.deepEqual([row.numbers, row.tags, row.bits], [["1", "2"], ["a b", 'c"d'], [true, false]]);
    const found = await sql`SELECT id FROM shop.orders WHERE id IN ${sql([1, 2, 3])} ORDER BY id`;
    assert.deepEqual(found.map((one) => one.id), ["1", "2"]);
  },
  async prepared() {
    for (let n = 1; n <= 20; n += 1) {
      const [row] = await sql`SELECT square FROM notes.numbers WHERE id = ${n}`;
      assert.equal(row.square, String(n * n));
    }
  },
  async streaming() {
    let seen = 0;
    let total = 0n;
    await sql`SELECT id, square FROM notes.numbers ORDER BY id`.cursor(5000, (rows) => {
      seen += rows.length;
      for (const row of rows) total += BigInt(row.square);
    });
    assert.equal(seen, 200000);
    assert.equal(total, (200000n * 200001n * 400001n) / 6n);
    let first = 0;
    await sql`SELECT n FROM generate_series(1, 1000000000) AS s(n)`.cursor(10, (rows) => {
      first += rows.length;
      return sql.CLOSE;
    });
    assert.equal(first, 10);
  },
  async typed_errors() {
    await assert.rejects(sql`SELECT * FROM nowhere`, { code: "42P01" });
    await assert.rejects(sql`SELECT 1/0`, { code: "22012" });
    await assert.rejects(sql`SELECT ${"x"}::int4`, { code: "22P02" });
    await assert.rejects(sql.unsafe("SELEC 1"), { code: "42601" });
    assert.equal((await sql`SELECT 1 AS one`)[0].one, 1);
  },
  async transactions() {
    const found = await sql.begin("read only", (inner) => inner`SELECT count(*) FROM shop.orders`);
    assert.equal(found[0].count, "2");
    await assert.rejects(
      sql.begin(async (inner) => {
        await inner`SELECT 1/0`.catch(() => {});
        await inner`SELECT 1`;
      }),
      // The driver rejects with the error that broke the transaction.
      { code: "22012" },
    );
    assert.equal((await sql`SELECT 1 AS one`)[0].one, 1);
  },
};

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log(name);
}
await sql.end();
const stranger = postgres({ ...login, password: "wrong" });
await assert.rejects(stranger`SELECT 1`, { code: "28P01" });
await stranger.end();
console.log("wrong_password");
