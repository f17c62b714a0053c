import { byBytes, compare, readRecord } from "./wire.js";

const hour = 3_600_000;

/**
 * View is what a KV watch has shown so far, at level L0. It has no clock: `now` is any monotonic time in milliseconds.
 *
 *   unknown --- record ---> listed --- tombstone in time ---> ended, remembered for an hour
 *                           |    ^
 *        late tombstone,    v    | a newer life; the same one, if no tombstone buried it
 *        deleted, no more  doubted --- its time is over ---> ended, or unknown
 *        in the bucket
 */
export class View {
  #seen = new Map(); // by key: record, if it is shown; until, if it is doubted; end, its last tombstone, and when it came

  /** apply takes an entry of the watch: key, operation, body, and stored, when the server stored it. */
  apply({ key, operation, body, stored }, now) {
    const record = readRecord(key, operation, body);
    const seen = this.#seen.get(key) ?? {};
    if (record === null) {
      if (operation !== "PUT") this.#doubt(seen, now); // deleted by somebody who is not its owner
      return;
    }
    if (seen.end && compare(record, seen.end) <= 0) return;
    if (seen.record && compare(record, seen.record) < 0) return;
    if (!record.gone) {
      this.#seen.set(key, { ...seen, record, until: undefined });
      return;
    }
    this.#seen.set(key, seen);
    seen.end = record;
    seen.came = now;
    seen.until = undefined; // a tombstone above the last one: its owner lived after that
    const late = record.gone === "expired" && stored - record.due > 1000; // there was an outage
    if (late) this.#doubt(seen, now);
    else seen.record = undefined;
  }

  /** doubtAll is for when a new watch begins: who is not shown by it is gone with the bucket. */
  doubtAll(now) {
    for (const seen of this.#seen.values()) this.#doubt(seen, now);
  }

  #doubt(seen, now) {
    if (seen.record) seen.until ??= now + (seen.record.ttl * 4) / 3; // time enough for its owner to write it again
  }

  /** expire drops whose time is over. It says whether anybody was. */
  expire(now) {
    let dropped = false;
    for (const [key, seen] of this.#seen) {
      if (seen.until <= now) {
        seen.record = seen.until = undefined;
        dropped = true;
      }
      if (!seen.record && !(seen.came > now - hour)) this.#seen.delete(key);
    }
    return dropped;
  }

  /** nodes lists who is there, by the bytes of the names. */
  nodes() {
    const shown = [...this.#seen.values()].filter((seen) => seen.record);
    return shown
      .map(({ record: { scope, node, roles, meta }, until }) => ({ scope, node, roles, ...(meta && { meta }), ...(until && { doubted: true }) }))
      .sort((a, b) => byBytes(a.scope, b.scope) || byBytes(a.node, b.node));
  }
}
