// What every client in any language is held against, needs no server: docs/vectors, those of levels L0 and L1.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { View } from "./view.js";
import { afterRefusal, nameOf, readRecord, roleOf, rolesOf, tokenOf } from "./wire.js";

function vectors(file, check) {
  const lines = readFileSync(new URL(`../../docs/vectors/${file}.jsonl`, import.meta.url), "utf8").trim().split("\n");
  const ours = lines.map((line) => JSON.parse(line)).filter(({ level }) => level === "L0" || level === "L1");
  test(file, async (t) => {
    assert.notEqual(ours.length, 0);
    for (const vector of ours) await t.test(vector.case, () => check(vector));
  });
}

const bytes = ({ body, body64 }) => (body64 === undefined ? Buffer.from(body) : Buffer.from(body64, "base64"));

vectors("names", ({ name, token, error }) => {
  if (error === undefined) {
    assert.equal(tokenOf(name), token);
    assert.equal(nameOf(token), name);
  } else if (name !== undefined) assert.throws(() => tokenOf(name));
  else assert.throws(() => nameOf(token));
});

vectors("roles", ({ value, role, roles, sorted, error }) => {
  if (error !== undefined) assert.throws(() => rolesOf([role]));
  else if (sorted !== undefined) assert.deepEqual(rolesOf(roles), sorted);
  else assert.equal(roleOf(value), role);
});

vectors("records", ({ key, headers, is, ...vector }) => {
  const record = readRecord(key, headers["KV-Operation"]?.[0] ?? "PUT", bytes(vector));
  assert.deepEqual(record, is ?? null);
});

vectors("watch", ({ entries, nodes }) => {
  const view = new View();
  for (const { key, operation, stored, ...vector } of entries) view.apply({ key, operation, stored, body: bytes(vector) }, 0);
  assert.deepEqual(view.nodes(), nodes);
});

vectors("refusals", ({ own, found, then, write, grace }) => {
  assert.deepEqual(afterRefusal(own, found), { then, ...(write && { write }), grace });
});
