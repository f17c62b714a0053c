// What has to do with time, and so is in no vector.
import assert from "node:assert/strict";
import { test } from "node:test";

import { apply, doubtAll, shown } from "./wire.js";

const hour = 3_600_000;
const ttl = 3000;
const wait = 4000; // one and a third of it
const life = (incarnation, version, more) => ({ format: 1, scope: "s", node: "n", incarnation, version, ...more });
const entry = (operation, body, stored = 0) => ({ key: "s.n", operation, stored, body: Buffer.from(JSON.stringify(body)) });
const record = (incarnation, version) => entry("PUT", life(incarnation, version, { ttl, roles: [] }));
const expired = (incarnation, version, late) => entry("DEL", life(incarnation, version, { gone: "expired", due: 1 }), 1 + late);
const states = (seen, now) => shown(seen, now).map(({ doubted }) => (doubted ? "doubted" : "listed"));

test("a doubt ends, and the node with it", () => {
  const seen = new Map();
  apply(seen, record(1, 1), 0);
  apply(seen, expired(1, 1001, 2000), 100);
  assert.deepEqual(states(seen, 100 + wait - 1), ["doubted"]);
  assert.deepEqual(states(seen, 100 + wait), []);
  apply(seen, record(1, 1), 100 + wait); // a watch that begins anew, after the bucket was restored
  assert.deepEqual(states(seen, 100 + wait), [], "a tombstone is remembered");
});

test("a doubt begins anew if its owner lived meanwhile, and else does not", () => {
  const seen = new Map();
  apply(seen, record(1, 1), 0);
  doubtAll(seen, 0);
  doubtAll(seen, 1000);
  apply(seen, entry("DEL", ""), 2000);
  assert.deepEqual(states(seen, wait - 1), ["doubted"]);
  assert.deepEqual(states(seen, wait), []);
  apply(seen, record(1, 1), wait);
  assert.deepEqual(states(seen, wait), ["listed"], "nothing has buried it");
  apply(seen, expired(1, 1001, 2000), wait);
  apply(seen, expired(1, 2001, 2000), wait + 1000);
  assert.deepEqual(states(seen, wait + wait), ["doubted"]);
  apply(seen, expired(1, 3001, 2000), wait + wait + 1000);
  apply(seen, record(1, 3002), wait + wait + 1000);
  assert.deepEqual(states(seen, 10 * wait), ["listed"]);
});

test("a late tombstone brings nobody back", () => {
  const seen = new Map();
  apply(seen, record(1, 1), 0);
  apply(seen, expired(1, 1001, 0), 10);
  apply(seen, expired(1, 2001, 2000), 20);
  assert.deepEqual(states(seen, 20), []);
});

test("a new watch shows who is still there", () => {
  const seen = new Map();
  apply(seen, record(1, 5), 0);
  doubtAll(seen, 10);
  apply(seen, record(1, 5), 20);
  assert.deepEqual(states(seen, 20), ["listed"]);
  doubtAll(seen, 30);
  apply(seen, record(1, 4), 40); // restored from a backup: not what is known
  assert.deepEqual(states(seen, 40), ["doubted"]);
});

test("a tombstone is remembered for an hour", () => {
  const seen = new Map();
  apply(seen, expired(1, 1001, 0), 0);
  doubtAll(seen, hour);
  apply(seen, record(1, 1), hour);
  assert.deepEqual(states(seen, hour), []);
  doubtAll(seen, hour + 1);
  apply(seen, record(1, 1), hour + 1);
  assert.deepEqual(states(seen, hour + 1), ["listed"]);
});
