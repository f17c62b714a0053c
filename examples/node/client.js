import { EventEmitter } from "node:events";

import { jetstream } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";

import { Link, Stop } from "./link.js";
import { View } from "./view.js";
import { isMeta, readRecord, rolesOf, tokenOf } from "./wire.js";
import { Refused, Writer } from "./writer.js";

/**
 * Member is one node in one scope, at level L1 of docs/PROTOCOL.md. It tells by events:
 *
 *   joined        its record is stored
 *   nodes         what nodes() shows may have changed
 *   failure, err  a turn failed, and is tried again; for a log
 *   end, err      it has stopped: without an error after leave(), else err.code says why
 */
export class Member extends EventEmitter {
  #options;
  #key; // of its record in the bucket
  #link;
  #writer;
  #want; // the roles and metadata to be told: a new object whenever they change
  #joined = false;
  #view = new View();
  #watch;
  #watchDue = true;
  #leaving = false;
  #woken = false;
  #wakeUp = () => {};

  /** join connects and starts; what follows, the events tell. It throws if there is no server, and at bad options. */
  static async join({ url, node, scope = "default", bucket = "rolebus", ttl = 15_000, roles = [], meta = {} }) {
    if (!/^[A-Za-z0-9_-]+$/.test(bucket)) throw new RangeError(`bucket ${JSON.stringify(bucket)}: only A-Z a-z 0-9 - _`);
    if (!Number.isInteger(ttl) || ttl < 1000 || ttl > 86_400_000) throw new RangeError(`ttl ${ttl}: 1000 to 86400000 ms`);
    const member = new Member();
    member.#key = `${tokenOf(scope)}.${tokenOf(node)}`;
    member.#options = { url, node, scope, bucket, ttl, key: member.#key };
    member.#link = await Link.open(member.#options, () => member.#back());
    member.#writer = new Writer(member.#link.ask.bind(member.#link), member.#options);
    try {
      member.set({ roles, meta });
    } catch (err) {
      await member.#link.nc.close();
      throw err;
    }
    member.#answerProbes();
    member.#run();
    return member;
  }

  /** nodes lists who is there, itself included, as the bucket says. */
  nodes() {
    return this.#view.nodes();
  }

  /** set changes roles, metadata or both. Changes that come while one is written go together in the next. */
  set({ roles = this.#want.roles, meta = this.#want.meta }) {
    if (!Array.isArray(roles) || !isMeta(meta)) throw new RangeError("roles are a list, metadata is text to text");
    const want = { roles: rolesOf(roles), meta };
    // In the body, and again in the header, unless it is too large for that; and the server adds to it.
    const body = Buffer.byteLength(JSON.stringify({ ...this.#options, ...want }));
    const size = body + Math.min(body, 16_384) + 1024;
    if (size > this.#link.maxPayload) throw new RangeError(`roles and metadata: ${size} bytes are too many for the server`);
    this.#want = want;
    this.#wake();
  }

  /** leave says goodbye, then closes everything. */
  leave() {
    this.#leaving = true;
    this.#wake();
  }

  async #run() {
    const { ttl } = this.#options;
    const ticker = setInterval(() => this.#view.expire(performance.now()) && this.emit("nodes"), 100);
    let stop;
    for (let failures = 0; !this.#leaving && !stop; ) {
      let pause = (ttl / 3) * (1 - Math.random() / 10);
      try {
        await this.#turn();
        failures = 0;
      } catch (err) {
        if (err instanceof Stop) stop = err;
        else this.emit("failure", err);
        this.#writer.look = true; // nobody knows what was stored
        pause = err instanceof Refused && failures === 0 ? 0 : Math.min(20 * 2 ** failures, 1000, ttl / 6);
        failures++;
      }
      if (!stop) await this.#sleep(pause);
    }
    if (!stop) await this.#writer.goodbye(performance.now() + Math.min(ttl, 5000));
    clearInterval(ticker);
    await this.#link.nc.close();
    this.emit("end", stop);
  }

  async #turn() {
    if (await this.#writer.check()) this.#watchDue = true; // in a bucket made anew the old watch hears nothing
    if (this.#writer.look) await this.#writer.settle(this.#want);
    await this.#writer.arm();
    await this.#writer.change(this.#want);
    if (!this.#joined) this.emit("joined", (this.#joined = true));
    if (this.#watchDue) await this.#watchAnew();
  }

  async #watchAnew() {
    this.#watchDue = false; // first: what comes meanwhile is a new reason
    try {
      const js = jetstream(this.#link.nc, { timeout: this.#link.patience }); // the next heartbeat waits for this
      const bucket = await new Kvm(js).open(this.#options.bucket);
      const watch = await bucket.watch({ key: `${tokenOf(this.#options.scope)}.*` });
      this.#watch?.stop();
      this.#watch = watch;
      this.#view.doubtAll(performance.now());
      this.#follow(watch);
    } catch (err) {
      this.#watchDue = true;
      throw err;
    }
  }

  async #follow(watch) {
    try {
      for await (const { key, operation, value: body, revision, created } of watch) {
        if (watch !== this.#watch) return; // the bucket of before: its generations are not ours
        if (key === this.#key && this.#writer.hear(readRecord(key, operation, body), revision)) this.#wake();
        this.#view.apply({ key, operation, body, stored: created.getTime() }, performance.now());
        this.emit("nodes");
      }
    } catch (err) {
      this.emit("failure", err);
    }
    if (watch !== this.#watch) return;
    this.#watchDue = true; // a watch that ended by itself
    this.#wake();
  }

  #back() {
    this.#writer.look = this.#watchDue = true;
    this.#wake();
  }

  /** answerProbes tells the neighbours that it is there, and asks nobody itself. */
  #answerProbes() {
    const { bucket } = this.#options;
    const { nc } = this.#link;
    const callback = (err, msg) => {
      // Else anybody could make it write into the bucket.
      if (err || !msg.reply || msg.reply.startsWith("$") || msg.reply.startsWith(`${bucket}.`)) return;
      msg.respond(JSON.stringify({ format: 1, server: nc.info.server_id, incarnation: this.#writer.incarnation, passive: true }));
    };
    nc.subscribe(`${bucket}.probe.${this.#key}`, { callback });
  }

  #wake() {
    this.#woken = true;
    this.#wakeUp();
  }

  async #sleep(ms) {
    let timer;
    await new Promise((resolve) => {
      this.#wakeUp = resolve;
      timer = setTimeout(resolve, this.#woken ? 0 : ms);
    });
    clearTimeout(timer);
    this.#woken = false;
  }
}
