// What every client in any language is held against, needs no server: docs/vectors, those of levels L0 and L1, and the ring.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { addressOf, aliveOf, mayHear, readAnswer, readRequest, refusalOf, waitsFor } from "./callwire.js";
import { costOf, partitionsOf } from "./partitions.js";
import { afterRefusal, apply, joinAs, messageOf, nameOf, ownerOf, reach, readRecord, ringOf, roleOf, shown, stateOf, tokenOf } from "./wire.js";

const bytes = ({ body, body64 }) => (body64 === undefined ? Buffer.from(body) : Buffer.from(body64, "base64"));
const plain = (value) => JSON.parse(JSON.stringify(value)); // what is undefined is not there
const same = (got, want) => assert.deepEqual(plain(got), plain(want));

const who = { bucket: "rolebus", fleet: "F", scope: "s", node: "n" };

/** next is what joinAs and afterRefusal say. `again` is no question here: the client arms the lease once more in any case. */
function next(decide, { then, write }, found) {
  if (then === "stop") return assert.throws(decide, { code: "superseded" });
  const { incarnation, version, generation } = decide();
  const lease = () => messageOf(who, { incarnation, version: version + reach, gone: "expired", due: 1 }, generation);
  if (then === "fail") return assert.throws(lease, /no incarnation is left/);
  const { bound, expected = found.generation ?? 0 } = write;
  assert.deepEqual([incarnation, version, generation], [write.incarnation, write.version, expected]);
  assert.equal(JSON.parse(lease().body).version, bound);
}

const checks = {
  names({ name, token, error }) {
    if (error === undefined) {
      assert.equal(tokenOf(name), token);
      assert.equal(nameOf(token), name);
    } else if (name !== undefined) assert.throws(() => tokenOf(name));
    else assert.throws(() => nameOf(token));
  },
  roles({ value, role, roles, sorted, error }) {
    if (error !== undefined) assert.throws(() => stateOf({ ttl: 1000, roles: [role] }));
    else if (sorted !== undefined) assert.deepEqual(stateOf({ ttl: 1000, roles }).roles, sorted);
    else assert.equal(roleOf(value), role);
  },
  owner: ({ nodes, key, owner }) => assert.equal(ownerOf(nodes, key) ?? null, owner),
  partitions({ role, partitions, nodes, shares, held, owner, weights, costs = [] }) {
    assert.deepEqual(partitionsOf(nodes, role, partitions, { shares, held }), owner);
    costs.forEach((cost, i) => assert.ok(cost === null || costOf(BigInt(`0x${weights[i]}`), shares[i]) === BigInt(`0x${cost}`)));
  },
  ring: ({ nodes, ring }) => assert.deepEqual(ringOf(nodes), ring),
  records({ key, headers, is, ...vector }) {
    same(readRecord(key, headers["KV-Operation"]?.[0] ?? "PUT", bytes(vector)), is ?? null);
  },
  watch({ entries, nodes }) {
    const seen = new Map();
    for (const { key, operation, stored, ...vector } of entries) apply(seen, { key, operation, stored, body: bytes(vector) }, 0);
    const got = shown(seen, 0).map(({ scope, node, roles, doubted }) => ({ scope, node, roles, ...(doubted && { doubted }) }));
    assert.deepEqual(got, nodes);
  },
  refusals: ({ own, found, ...want }) => next(() => afterRefusal(own, found), want, found), // `grace` is for who reads at L2
  joins: ({ had, clock, found, ...want }) => next(() => joinAs(had, clock, found), want, found),
  calls({ address, timeout, request, reply, refusal, answer, is, subject, headers, body, answered, alive }) {
    if (address) assert.equal(addressOf(address, address, address.method), subject);
    else if (timeout !== undefined) assert.deepEqual(waitsFor(timeout), headers);
    else if (request) {
      const { text, ...got } = readRequest(request.headers, Buffer.from(request.body)) ?? { text: null };
      assert.deepEqual(text === null ? null : got, is);
    } else if (reply !== undefined) {
      assert.equal(mayHear("rolebus", reply), answered);
      assert.equal((answered && aliveOf(reply)) || null, alive);
    } else if (refusal) assert.deepEqual(refusalOf(refusal.say, refusal.text, refusal.code), { headers, body });
    else {
      const { code, text, ...got } = readAnswer(answer.headers, Buffer.from(answer.body));
      assert.deepEqual({ ...got, ...(is.code !== undefined && { code }), ...(is.text !== undefined && { text }) }, is);
    }
  },
  writes({ fleet, scope, node, incarnation, write, subject, headers, body }) {
    const { kind, version, due, expected } = write;
    const change = kind === "state" ? stateOf(write) : { gone: kind, due };
    const message = messageOf({ ...who, fleet, scope, node }, { incarnation, version, ...change }, expected);
    assert.deepEqual(message, { subject, headers, body });
  },
};

const vectors = new URL("../../docs/vectors/", import.meta.url);
for (const file of readdirSync(vectors).filter((name) => name.endsWith(".jsonl"))) {
  const lines = readFileSync(new URL(file, vectors), "utf8").trim().split("\n");
  const ours = lines.map((line) => JSON.parse(line)).filter(({ level }) => level === "L0" || level === "L1" || file === "ring.jsonl");
  if (ours.length === 0) continue;
  const check = checks[file.replace(".jsonl", "")] ?? (() => assert.fail(`nothing here checks ${file}`));
  test(file, async (t) => {
    for (const vector of ours) await t.test(vector.case, () => check(vector));
  });
}
