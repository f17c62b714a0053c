// What is on the wire, and what follows from it. All of it is pure, and held against docs/vectors.
import { ok as check } from "node:assert/strict";
const byBytes = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)); // JavaScript's own order is that of UTF-16
const isText = (value) => typeof value === "string" && value.isWellFormed();
const isNumber = (n, least = 1, most = Number.MAX_SAFE_INTEGER) => Number.isInteger(n) && n >= least && n <= most;
export const reach = 1000; // how many versions beyond a record's its lease may bury
export const compare = (a, b) => a.incarnation - b.incarnation || a.version - b.version; // which life is newer
export function tokenOf(name) { // of a scope or a node, as it stands in subjects
  const hex = (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`;
  const token = encodeURIComponent(isText(name) ? name : "").replace(/[.!~*'()]/g, hex).replaceAll("%", "=");
  check(isNumber(token.length, 1, 200), `name ${JSON.stringify(name)}: empty, too long, or no text`);
  return token;
}
export function nameOf(token) {
  const name = decodeURIComponent(token.replaceAll("=", "%"));
  check(tokenOf(name) === token, `token ${token}: no name`);
  return name;
}
export function stateOf({ ttl, roles, meta = {} }) { // as all write it: the roles sorted, each once; no metadata if it is empty
  check(isNumber(ttl, 1000, 86_400_000), `ttl ${ttl}: not 1000 to 86400000 ms`);
  const isRole = (role) => isText(role) && isNumber(Buffer.byteLength(role), 1, 4096);
  check(Array.isArray(roles) && roles.every(isRole), "roles: not a list of texts of 1 to 4096 bytes of UTF-8");
  const isMap = Object(meta) === meta && !Array.isArray(meta) && !Object.hasOwn(meta, "");
  check(isMap && Object.entries(meta).flat().every(isText), "metadata: not text to text, or a key is empty");
  return { ttl, roles: [...new Set(roles)].sort(byBytes), meta: Object.keys(meta).length > 0 ? meta : undefined };
}
export function json(value, keys) { // no spaces, and the keys sorted, unless their order is given
  if (Array.isArray(value)) return `[${value.map((item) => json(item))}]`;
  if (Object(value) !== value) return JSON.stringify(value).replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029");
  const there = (keys ?? Object.keys(value).sort(byBytes)).filter((key) => value[key] !== undefined);
  return `{${there.map((key) => `${json(key)}:${json(value[key])}`)}}`;
}
const orNull = (attempt) => { try { return attempt(); } catch { return null; } };
export const roleOf = (value) => (isText(value) && orNull(() => [JSON.parse(value)]) === null ? value : json(value));
export const readRecord = (key, operation, body) => orNull(() => { // null is none of ours
  const record = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body));
  const { format, fleet, scope, node, incarnation, version, ttl, gone, due } = record;
  const lacks = (...fields) => fields.every((field) => record[field] === undefined); // null is not undefined
  check(!JSON.stringify(record).replaceAll("\\\\", "").includes("\\ud")); // so it writes half a surrogate pair, and nothing else
  check(format === 1 && isNumber(incarnation) && isNumber(version) && fleet !== null && ttl !== null);
  check(json(key.split(".").map(nameOf)) === json([scope, node]) && lacks("base", "added", "removed"));
  const isGone = lacks("roles", "meta") && (gone === "expired" ? isNumber(due) : gone === "left" && lacks("due"));
  check(isGone ? operation === "DEL" : operation === "PUT" && lacks("gone", "due"));
  return { scope, node, incarnation, version, ...(isGone ? { gone, due } : stateOf(record)) };
});
export function messageOf({ bucket, fleet, scope, node }, { incarnation, version, ...news }, seq) { // that stores the news
  check(isNumber(incarnation), `no incarnation is left for the name ${node}`);
  const write = (object) => json({ format: 1, ...object }, ["format", ...Object.keys(object)]);
  const [record, lease] = ["", "=lease"].map((kind) => `$KV.${bucket}${kind}.${tokenOf(scope)}.${tokenOf(node)}`);
  const body = write({ scope, node, incarnation, version, ...news });
  const whole = write({ fleet, incarnation, version, ...news });
  const told = Buffer.byteLength(whole) <= 16_384 ? whole : write({ fleet, incarnation, version }); // else only a notice
  const headers = { "Nats-Expected-Last-Subject-Sequence": `${seq}`, Rolebus: told, ...(news.gone && { "KV-Operation": "DEL" }) };
  if (news.gone === "left") Object.assign(headers, { "Nats-TTL": "1h", "Nats-Scheduler": lease, "Nats-Schedule-Next": "purge" });
  if (news.gone !== "expired") return { subject: record, body, headers };
  Object.assign(headers, { "Nats-Expected-Last-Subject-Sequence-Subject": record, "Nats-Schedule-Target": record });
  Object.assign(headers, { "Nats-Schedule": `@at ${new Date(news.due).toISOString()}`, "Nats-Schedule-TTL": "1h" });
  return { subject: lease, body, headers };
}
const life = (incarnation, version, { generation = 0 }) => ({ incarnation, version, generation });
const superseded = Object.assign(new Error("a newer process has this name"), { code: "superseded" });
export function afterRefusal({ incarnation, version, sent = version, bound }, found) { // as what to write our record again
  check(!(found.incarnation > incarnation), superseded);
  const next = 1 + Math.max(version, sent, bound, found.incarnation === incarnation ? found.version : 0);
  return next > 2 ** 52 ? life(incarnation + 1, 1, found) : life(incarnation, next, found);
}
export function joinAs({ first = 0, newest = 0, here = 0 }, clock, found) { // as what to write it at first
  const { incarnation = 0, version } = found.what === "record" ? found : {};
  if (incarnation > 0 && incarnation === here) return afterRefusal({ incarnation, version, bound: version + reach }, found);
  check(first === 0 || incarnation <= newest, superseded);
  return life(Math.max(first || clock, here + 1, 1 + (found.incarnation ?? 0)), 1, found);
}
const nobody = { incarnation: 0, version: 0, ttl: 0 };
const doubted = ({ record }, now) => now + (record.ttl * 4) / 3; // until then its owner can write it again
/** apply takes an entry of the watch into `seen`, a Map: by key the record, shown until when, and end, its last tombstone. */
export function apply(seen, { key, operation, body, stored }, now) {
  const record = readRecord(key, operation, body);
  const known = seen.get(key) ?? { record: nobody, until: now, end: nobody };
  if (!record && operation !== "PUT") known.until = Math.min(known.until, doubted(known, now)); // not by its owner
  if (!record || compare(record, known.end) <= 0 || compare(record, known.record) < 0) return record;
  const lives = record.gone === "expired" && stored - record.due > 1000 && known.until > now; // late: there was an outage
  const news = record.gone ? { end: record, until: lives ? doubted(known, now) : now } : { record, until: Infinity };
  seen.set(key, { ...known, ...news });
  return record;
}
export function doubtAll(seen, now) { // when a new watch begins: who is not shown by it is gone with the bucket
  for (const known of seen.values()) known.until = Math.min(known.until, doubted(known, now));
  for (const [key, { until }] of seen) if (until < now - 3_600_000) seen.delete(key); // a tombstone counts for an hour
}
export const shown = (seen, now) =>
  [...seen.values()].filter(({ until }) => until > now).map(({ record, until }) => ({ ...record, doubted: until < Infinity }));
const u64 = (n) => BigInt.asUintN(64, n);
export const fnv = (text) => Buffer.from(text).reduce((h, byte) => u64((h ^ BigInt(byte)) * 0x100000001b3n), 0xcbf29ce484222325n);
export const scatter = (x) => [[30n, 0xbf58476d1ce4e5b9n], [27n, 0x94d049bb133111ebn], [31n, 1n]].reduce((x, [by, times]) => u64((x ^ (x >> by)) * times), x);
/** ownerOf returns the node to which a key belongs, of those with these names: the same one in every process and language. */
export function ownerOf(names, key) {
  const place = scatter(fnv(key));
  const weighed = names.map((name) => ({ name, weight: scatter(fnv(name) ^ place) }));
  const better = (a, b) => (a.weight === b.weight ? Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)) < 0 : a.weight > b.weight);
  return weighed.reduce((best, one) => (best && !better(one, best) ? best : one), undefined)?.name;
}
/** ringOf returns names in the order of the ring in which the nodes of L3 look after each other. */
export function ringOf(names) {
  const placed = names.map((name) => ({ name, place: scatter(fnv(name)) }));
  const order = (a, b) => (a.place === b.place ? Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)) : a.place < b.place ? -1 : 1);
  return placed.sort(order).map(({ name }) => name);
}
