import { mismatches, newBucket } from "./bucket.js";
import { Stop } from "./link.js";
import { afterRefusal, compare, reach, readRecord } from "./wire.js";

/** Refused: the record is not of the generation that was expected. The server answered, so this is no failure. */
export class Refused extends Error {}

/**
 * Writer keeps a node's own record and lease. One call at a time, in turns:
 *
 *   check -> settle, if there is a reason to look -> arm, the heartbeat -> change, if something shall
 */
export class Writer {
  look = true; // there is a reason to read our own record before anything is written
  #ask;
  #name; // scope, node
  #bucket;
  #key; // of the record in the bucket
  #record; // the subjects
  #lease;
  #ttl;
  #fleet; // the bucket's identity
  #clock; // the server's time minus our own monotonic one
  #own = null; // the life: incarnation, version (sent last), bound (highest of any lease), heard (highest tombstone)
  #generation = 0; // of our record
  #sent; // roles and meta, as they were sent last
  #joined = false; // a record of this life may stand in the bucket, or has stood there

  constructor(ask, { bucket, scope, node, key, ttl }) {
    this.#ask = ask;
    this.#name = { scope, node };
    this.#bucket = bucket;
    this.#key = key;
    this.#record = `$KV.${bucket}.${key}`;
    this.#lease = `$KV.${bucket}=lease.${key}`;
    this.#ttl = ttl;
  }

  get incarnation() {
    return this.#own?.incarnation;
  }

  /**
   * check asks for the stream's info: the server's time, the fleet, and whether the bucket is there; else it makes it. It
   * says whether the fleet is another one than before.
   */
  async check(made = false) {
    const asked = performance.now(); // before the request: rather a little late than buried early
    const info = await this.#ask(`$JS.API.STREAM.INFO.KV_${this.#bucket}`);
    if (info.error?.err_code === 10059 && !made) {
      await this.#make();
      return this.check(true);
    }
    if (info.error) throw new Error(`bucket ${this.#bucket}: ${info.error.description}`);
    const wrong = mismatches(this.#bucket, info.config);
    if (wrong.length > 0) throw new Stop("failed", `bucket ${this.#bucket} has other settings: ${wrong.join(", ")}`);
    this.#clock = Date.parse(info.ts) - asked;
    const before = this.#fleet;
    this.#fleet = info.config.metadata["rolebus.fleet"];
    if (this.#fleet === before) return false;
    return (this.look = true);
  }

  async #make() {
    for (const replicas of [3, 2, 1]) {
      const made = await this.#ask(`$JS.API.STREAM.CREATE.KV_${this.#bucket}`, newBucket(this.#bucket, replicas));
      const code = made.error?.err_code;
      if (code === undefined || code === 10058) return; // 10058: somebody else was quicker
      if (replicas === 1 || (code !== 10005 && code !== 10074)) throw new Error(`make bucket: ${made.error.description}`);
    }
  }

  /** settle reads our own record, and writes it, or writes it again, unless it is as we wrote it last. */
  async settle(want) {
    this.look = false; // first: what comes meanwhile is a new reason
    const found = await this.#read();
    const own = this.#own;
    if (own && found.what === "record" && compare(found, own) === 0 && own.heard < own.version) {
      this.#generation = found.generation;
      return;
    }
    const write = this.#joined ? this.#again(found) : this.#join(found);
    if (write.incarnation > 2 ** 53) throw new Stop("failed", `no incarnation is left for the name ${this.#name.node}`);
    if (write.incarnation !== own?.incarnation) this.#own = { incarnation: write.incarnation, bound: 0, heard: 0 };
    this.#own.version = write.version;
    this.#generation = write.expected;
    await this.arm(); // before the record, so that none ever stands without a lease
    await this.#write(want);
  }

  #join(found) {
    const incarnation = Math.max(Date.now(), 1 + (found.incarnation ?? 0), 1 + (this.#own?.incarnation ?? 0));
    return { incarnation, version: 1, expected: found.generation ?? 0 };
  }

  #again(found) {
    const own = { ...this.#own, sent: this.#own.version };
    own.bound = Math.max(own.bound, own.heard); // whoever else heard of that tombstone takes nothing below it
    const { then, write } = afterRefusal(own, found);
    if (then === "stop") throw new Stop("superseded", `a newer process has the name ${this.#name.node}`);
    return write;
  }

  async #read() {
    const { error, message } = await this.#ask(`$JS.API.STREAM.MSG.GET.KV_${this.#bucket}`, { last_by_subj: this.#record });
    if (error?.err_code === 10037) return { what: "nothing" };
    if (error?.err_code === 10059) return { what: "no stream" };
    if (error) throw new Error(`read ${this.#record}: ${error.description}`);
    const header = Buffer.from(message.hdrs ?? "", "base64").toString();
    const [, operation = "PUT"] = /^KV-Operation: *(\S+)/m.exec(header) ?? [];
    const record = readRecord(this.#key, operation, Buffer.from(message.data ?? "", "base64"));
    const what = record === null ? "unreadable" : record.gone ? "tombstone" : "record";
    return { what, generation: message.seq, ...record };
  }

  /**
   * arm is the heartbeat: the order to the server to bury us when our TTL is over, in place of the order before it. In a
   * turn it comes behind settle in any case: while the record was not ours yet somebody else's lease may have come in between.
   */
  async arm() {
    const version = this.#own.version + reach;
    this.#own.bound = Math.max(this.#own.bound, version); // also if this fails: it may have been stored
    const due = Math.floor(this.#clock + performance.now() + this.#ttl);
    await this.#store(this.#lease, { version, gone: "expired", due }, {
      "KV-Operation": "DEL",
      "Nats-Expected-Last-Subject-Sequence-Subject": this.#record,
      "Nats-Schedule": `@at ${new Date(due).toISOString()}`,
      "Nats-Schedule-TTL": "1h",
      "Nats-Schedule-Target": this.#record,
    });
  }

  /** change writes what shall be told, if it is anything new. It goes behind arm, so that the lease reaches far enough. */
  async change(want) {
    if (want !== this.#sent) {
      this.#own.version++;
      await this.#write(want);
    }
  }

  async #write(want) {
    this.#sent = want;
    const { roles, meta } = want;
    const state = { version: this.#own.version, ttl: this.#ttl, roles, meta: Object.keys(meta).length > 0 ? meta : undefined };
    const joined = this.#joined;
    this.#joined = true; // unless it is refused, it may be stored; then whoever has a larger incarnation came after us
    try {
      this.#generation = await this.#store(this.#record, state);
    } catch (err) {
      if (err instanceof Refused) this.#joined = joined;
      throw err;
    }
  }

  /** goodbye buries the record and removes the lease. If that cannot be done before a time the lease has to do it. */
  async goodbye(until) {
    while (this.#own && performance.now() < until) {
      try {
        // The version is the bound, so that no late record of this incarnation counts.
        await this.#store(this.#record, { version: this.#own.bound, gone: "left" }, {
          "KV-Operation": "DEL",
          "Nats-Schedule-Next": "purge",
          "Nats-Scheduler": this.#lease,
          "Nats-TTL": "1h",
        });
        return;
      } catch (err) {
        const found = err instanceof Refused ? await this.#read().catch(() => null) : null;
        if (found && (found.what !== "record" || found.incarnation !== this.#own.incarnation)) return;
        if (found) this.#generation = found.generation;
        else await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  /** store sends a change: in the header for who hears of it, in the body for who reads the bucket. */
  async #store(subject, { version, ...change }, more = {}) {
    const life = { incarnation: this.#own.incarnation, version };
    let header = JSON.stringify({ format: 1, fleet: this.#fleet, ...life, ...change });
    if (Buffer.byteLength(header) > 16_384) header = JSON.stringify({ format: 1, fleet: this.#fleet, ...life }); // a notice
    const fields = { ...more, "Nats-Expected-Last-Subject-Sequence": `${this.#generation}`, Rolebus: header };
    const { seq, error } = await this.#ask(subject, { format: 1, ...this.#name, ...life, ...change }, fields);
    if (error?.err_code === 10071 || error?.err_code === 10164) throw new Refused(error.description);
    if (error) throw new Error(`write ${subject}: ${error.description}`);
    return seq;
  }

  /** hear takes what the watch shows of our own record: whether it is a reason to look. */
  hear(record, generation) {
    const own = this.#own;
    if (record?.incarnation === own.incarnation && record.gone) own.heard = Math.max(own.heard, record.version);
    const asWritten = record && !record.gone && compare(record, own) === 0;
    const overtaken = record?.incarnation > own.incarnation || own.heard >= own.version;
    if (overtaken || (!asWritten && generation > this.#generation)) this.look = true; // below: it lags behind our own writes
    return this.look;
  }
}
