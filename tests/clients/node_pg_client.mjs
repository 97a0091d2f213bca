// node-postgres and pg-cursor: text parameters and results, named statements, cursors.

import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(process.env.TRIBUTARY_NODE_MODULES);
const pg = require("pg");
const Cursor = require("pg-cursor");

const login = {
  host: process.env.TRIBUTARY_HOST,
  port: Number(process.env.TRIBUTARY_PORT),
  user: process.env.TRIBUTARY_USER,
  password: process.env.TRIBUTARY_PASSWORD,
  database: process.env.TRIBUTARY_DATABASE,
  ssl: { ca: fs.readFileSync(process.env.TRIBUTARY_CA, "utf8") },
};
const key = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
const moment = new Date("2024-02-29T10:34:56.789Z");
const client = new pg.Client(login);

// [type, parameter, expected]; pg gives bigint and numeric as text.
const cases = [
  ["int2", -32768, -32768],
  ["int4", 2147483647, 2147483647],
  ["int8", "-9223372036854775808", "-9223372036854775808"],
  ["bool", true, true],
  ["numeric", "123456789012345678901234567890.123456789", "123456789012345678901234567890.123456789"],
  ["float8", -0.1, -0.1],
  ["float4", 1.5, 1.5],
  ["float8", Infinity, Infinity],
  ["text", "naïve 漢字 🦀 '\"\\", "naïve 漢字 🦀 '\"\\"],
  ["text", "", ""],
  ["timestamptz", moment, moment],
  ["uuid", key, key],
  ["json", { a: [1, "é", null] }, { a: [1, "é", null] }],
  ["jsonb", { a: { b: 1.5 } }, { a: { b: 1.5 } }],
  ["bytea", Buffer.from([0, 255, 16]), Buffer.from([0, 255, 16])],
  ["int4[]", [1, null, 3], [1, null, 3]],
  ["text[]", ["a b", 'c"d', null, ""], ["a b", 'c"d', null, ""]],
  ["int4", null, null],
  ["text", null, null],
];

async function failure(text, code, on = client) {
  await assert.rejects(on.query(text), (error) => {
    assert.equal(error.code, code, `${text}: ${error.message}`);
    return true;
  });
}

const checks = {
  async parameters() {
    for (const [type, value, expected] of cases) {
      const found = await client.query(`SELECT $1::${type} AS x`, [value]);
      assert.deepEqual(found.rows[0].x, expected, type);
    }
  },
  async stored_values() {
    const { rows, fields } = await client.query("SELECT * FROM shop.kinds WHERE id = $1", [1]);
    assert.equal(fields.length, 19);
    const { big, exact, wide, whole, words, at, doc, raw, bytes, numbers, tags } = rows[0];
    assert.deepEqual(
      { big, exact, wide, whole, words, at, doc, raw, bytes, numbers, tags },
      {
        big: "9223372036854775807",
        exact: "12345.67890",
        wide: "123456789012345678901234567890.123456789",
        whole: -0.1,
        words: "naïve 漢字 🦀",
        at: moment,
        doc: { a: [1, 2], b: null },
        raw: { z: 1 },
        bytes: Buffer.from([0, 255, 16]),
        numbers: [1, null, 3],
        tags: ["a b", 'c"d', null],
      },
    );
    const empty = await client.query("SELECT * FROM shop.kinds WHERE id = $1", [2]);
    assert.deepEqual(new Set(Object.values(empty.rows[0])), new Set([2, null]));
  },
  async prepared() {
    for (let n = 1; n <= 20; n += 1) {
      const found = await client.query({ name: "square", text: "SELECT square FROM notes.numbers WHERE id = $1", values: [n] });
      assert.deepEqual(found.rows, [{ square: String(n * n) }]);
    }
  },
  async streaming() {
    const cursor = client.query(new Cursor("SELECT id, square FROM notes.numbers ORDER BY id", []));
    let seen = 0;
    let total = 0n;
    for (;;) {
      const rows = await cursor.read(5000);
      if (rows.length === 0) break;
      seen += rows.length;
      for (const row of rows) total += BigInt(row.square);
    }
    await cursor.close();
    assert.equal(seen, 200000);
    assert.equal(total, (200000n * 200001n * 400001n) / 6n);
    const early = client.query(new Cursor("SELECT id AS n FROM notes.numbers WHERE id > $1 ORDER BY id", ["0"]));
    assert.deepEqual(await early.read(2), [{ n: "1" }, { n: "2" }]);
    await early.close();
    assert.deepEqual((await client.query("SELECT 1 AS one")).rows, [{ one: 1 }]);
  },
  async typed_errors() {
    await failure("SELECT * FROM nowhere", "42P01");
    await failure("SELECT nothing FROM shop.orders", "42703");
    await failure("SELEC 1", "42601");
    await failure("SELECT 1/0", "22012");
    await failure({ text: "SELECT $1::int4", values: ["x"] }, "22P02");
    await failure("CREATE SCHEMA more", "0A000");
    assert.deepEqual((await client.query("SELECT 1 AS one")).rows, [{ one: 1 }]);
  },
  async transactions() {
    await client.query("BEGIN");
    assert.equal((await client.query("SELECT count(*) FROM shop.orders")).rows[0].count, "2");
    await failure("SELECT 1/0", "22012");
    await failure("SELECT 1", "25P02");
    assert.equal((await client.query("COMMIT")).command, "ROLLBACK");
    await client.query("BEGIN READ ONLY");
    await client.query("SELECT 1");
    assert.equal((await client.query("COMMIT")).command, "COMMIT");
  },
  async several_statements() {
    const results = await client.query("SELECT 1 AS a; SELECT 2 AS b");
    assert.deepEqual(results.map((result) => result.rows), [[{ a: 1 }], [{ b: 2 }]]);
  },
  async pool() {
    const pool = new pg.Pool({ ...login, max: 3 });
    const found = await Promise.all(Array.from({ length: 12 }, (_, n) => pool.query("SELECT $1::int4 AS n", [n])));
    assert.deepEqual(found.map((result) => result.rows[0].n), Array.from({ length: 12 }, (_, n) => n));
    await pool.end();
  },
};

await client.connect();
for (const name of ["parameters", "stored_values", "prepared", "streaming", "typed_errors", "transactions", "several_statements"]) {
  await checks[name]();
  console.log(name);
}
await client.end();
const limited = new pg.Client({ ...login, statement_timeout: 300 });
await limited.connect();
await failure("SELECT count(*) FROM generate_series(1, 1000000000000) AS s(n) WHERE n % 7 = 8", "57014", limited);
assert.deepEqual((await limited.query("SELECT 1 AS one")).rows, [{ one: 1 }]);
await limited.end();
console.log("statement_timeout");
await checks.pool();
console.log("pool");
await assert.rejects(new pg.Client({ ...login, password: "wrong" }).connect(), { code: "28P01" });
console.log("wrong_password");
