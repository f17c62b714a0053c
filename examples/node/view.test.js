// What has to do with time, and so is in no vector.
import assert from "node:assert/strict";
import { test } from "node:test";

import { View } from "./view.js";

const ttl = 3000;
const wait = 4000; // one and a third of it
const life = (incarnation, version, more) => ({ format: 1, scope: "s", node: "n", incarnation, version, ...more });
const entry = (operation, body, stored = 0) => ({ key: "s.n", operation, stored, body: Buffer.from(JSON.stringify(body)) });
const record = (incarnation, version) => entry("PUT", life(incarnation, version, { ttl, roles: [] }));
const expired = (incarnation, version, late) => entry("DEL", life(incarnation, version, { gone: "expired", due: 1 }), 1 + late);
const shown = (view) => view.nodes().map(({ doubted }) => (doubted ? "doubted" : "listed"));

test("a doubt ends, and the node with it", () => {
  const view = new View();
  view.apply(record(1, 1), 0);
  view.apply(expired(1, 1001, 2000), 100);
  assert.equal(view.expire(100 + wait - 1), false);
  assert.deepEqual(shown(view), ["doubted"]);
  assert.equal(view.expire(100 + wait), true);
  assert.deepEqual(shown(view), []);
  view.apply(record(1, 1), 100 + wait); // a watch that begins anew, after the bucket was restored
  assert.deepEqual(shown(view), [], "a tombstone is remembered");
});

test("a doubt begins anew if its owner lived meanwhile, and else does not", () => {
  const view = new View();
  view.apply(record(1, 1), 0);
  view.doubtAll(0);
  view.doubtAll(1000);
  view.apply(entry("DEL", ""), 2000);
  assert.equal(view.expire(wait), true);
  view.apply(record(1, 1), wait);
  assert.deepEqual(shown(view), ["listed"], "nothing has buried it");
  view.apply(expired(1, 1001, 2000), wait);
  view.apply(expired(1, 2001, 2000), wait + 1000);
  assert.equal(view.expire(wait + wait), false);
  view.apply(record(1, 2002), wait + wait);
  assert.deepEqual(shown(view), ["listed"]);
  assert.equal(view.expire(10 * wait), false);
});

test("a new watch shows who is still there", () => {
  const view = new View();
  view.apply(record(1, 5), 0);
  view.doubtAll(10);
  view.apply(record(1, 5), 20);
  assert.deepEqual(shown(view), ["listed"]);
  view.doubtAll(30);
  view.apply(record(1, 4), 40); // restored from a backup: not what is known
  assert.deepEqual(shown(view), ["doubted"]);
});

test("a tombstone is remembered for an hour", () => {
  const hour = 3_600_000;
  const view = new View();
  view.apply(expired(1, 1001, 0), 0);
  view.expire(hour - 1);
  view.apply(record(1, 1), hour - 1);
  assert.deepEqual(shown(view), []);
  view.expire(hour);
  view.apply(record(1, 1), hour);
  assert.deepEqual(shown(view), ["listed"]);
});
