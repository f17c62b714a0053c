import { ok as check } from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { jetstream } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { headers, nuid } from "@nats-io/transport-node";
import { caller, serve } from "./calls.js";
import * as wire from "./wire.js";

/** join makes this process a member, at level L1 of docs/PROTOCOL.md. README.md says what it takes, tells and returns. */
export async function join(nc, { node, scope = "default", bucket = "rolebus", ttl = 15_000, roles = [], meta, methods = {} }, tell = () => {}) {
  check(/^[\w-]+$/.test(bucket), `bucket ${bucket}: only A-Z a-z 0-9 - _`);
  const key = `${wire.tokenOf(scope)}.${wire.tokenOf(node)}`;
  const name = `KV_${bucket}`; // of the stream
  const js = jetstream(nc, { timeout: Math.max(400, ttl / 5) }); // several attempts must fit into a lease
  const { streams } = await js.jetstreamManager(false);
  const now = () => performance.now();
  const plan = { want: { roles, meta }, look: 0, until: Infinity, online: true }; // look: when to see to everything anew
  let own = {}, joined = false; // our life: incarnation, version and state as sent last, generation; whether it may be stored
  let fleet, clock, watch, seen = new Map(), alarm = new AbortController(); // clock: the server's time minus our own

  const nodes = () => wire.shown(seen, now());
  const served = serve(nc, { bucket, scope, node, methods });
  const calling = caller(nc, { bucket, scope, nodes, online: () => plan.online });
  const change = (news) => { Object.assign(plan, news); alarm.abort(); };
  function set(news) {
    const want = wire.stateOf({ ...plan.want, ...news, ttl });
    const size = Buffer.byteLength(wire.json({ scope, node, ...want })) + 1200; // with the other fields, and what is added
    check(size + Math.min(size, 16_384) <= (nc.info?.max_payload ?? 2 ** 20), "roles and metadata are too many for the server");
    change({ want });
  }
  const settings = {
    ...{ subjects: [`$KV.${bucket}.>`, `$KV.${bucket}=lease.>`], retention: "limits", discard: "old", max_msgs_per_subject: 1 },
    ...{ max_consumers: -1, max_msgs: -1, max_bytes: -1, max_age: 0, max_msg_size: -1 },
    ...{ allow_direct: true, allow_rollup_hdrs: true, allow_msg_ttl: true, allow_msg_schedules: true },
    republish: { src: `$KV.${bucket}.>`, dest: `${bucket}.changes.>`, headers_only: true },
  };
  const marker = () => ({ "rolebus.format": "1", "rolebus.fleet": nuid.next() });
  const make = (num_replicas) => streams.add({ ...settings, name, deny_delete: true, num_replicas, metadata: marker() });
  async function look() {
    const asked = now(); // before the request: rather buried a little late than early
    plan.look = asked + 60_000; // before, too: what comes meanwhile is a new reason
    const missing = (err) => (err.code === 10059 ? make(3).catch(() => make(1)) : Promise.reject(err)); // 1: not a cluster
    const { config, ts } = await streams.info(name).catch(missing);
    const { "rolebus.format": format, "rolebus.fleet": identity } = config.metadata ?? {};
    const wrong = Object.keys(settings).filter((field) => wire.json(settings[field]) !== wire.json(config[field] ?? null));
    check(format === "1" && identity && wrong.length === 0, `bucket ${bucket} has other settings, or no marker: ${wrong}`);
    [fleet, clock] = [identity, Date.parse(ts) - asked];
    const message = await streams.getMessage(name, { last_by_subj: `$KV.${bucket}.${key}` });
    const record = message && wire.readRecord(key, message.header.get("KV-Operation") || "PUT", message.data);
    const found = { ...record, what: record?.roles ? "record" : "none", generation: message?.seq };
    if (record?.roles && wire.compare(record, own) === 0) own.generation = message.seq;
    else if (joined) own = wire.afterRefusal({ ...own, bound: own.version + wire.reach }, found);
    else own = wire.joinAs({ here: own.incarnation }, Date.now(), found);
  }
  async function store(change) {
    if (!plan.online) throw Object.assign(new Error("not connected"), { code: "ENOTCONN" }); // a late lease fires at once
    const message = wire.messageOf({ bucket, fleet, scope, node }, { incarnation: own.incarnation, ...change }, own.generation);
    const all = headers();
    for (const [field, value] of Object.entries(message.headers)) all.set(field, value);
    return (await js.publish(message.subject, message.body, { headers: all })).seq;
  }
  const arm = () => store({ version: own.version + wire.reach, gone: "expired", due: Math.floor(clock + now() + ttl) });
  async function turn() {
    const anew = now() >= plan.look;
    if (anew && plan.online) await look(); // else the next line fails, and at once
    if (plan.until < Infinity) return store({ version: own.version + wire.reach, gone: "left" }); // above all late records
    served.open(own.incarnation); // before anybody can know of it
    await arm(); // before the record, so that none ever stands without a lease
    if (own.state !== plan.want) {
      Object.assign(own, { version: own.version + (own.state ? 1 : 0), state: plan.want });
      [own.generation, joined] = [await store({ version: own.version, ...own.state }), true];
    }
    if (!anew) return;
    await arm(); // once more: whatever took the record, or had it before, may have taken the lease
    watch?.stop();
    watch = await (await new Kvm(js).open(bucket)).watch({ key: `${wire.tokenOf(scope)}.*` });
    wire.doubtAll(seen, now());
    hear(watch).catch((err) => tell("failure", err));
  }
  async function hear(entries) {
    for await (const { key: of, operation, value: body, revision, created } of entries) {
      const record = wire.apply(seen, { key: of, operation, body, stored: created.getTime() }, now());
      calling.look();
      tell("nodes");
      if (of !== key || (record?.roles && wire.compare(record, own) === 0)) continue; // as we sent it
      if (record?.incarnation === own.incarnation && record.gone) own.version = Math.max(own.version, record.version + 1);
      if (record?.gone || revision > own.generation || record?.incarnation > own.incarnation) change({ look: 0 });
    }
  }
  async function run() {
    for (let failures = 0; now() < plan.until && (joined || plan.until === Infinity); ) {
      try {
        if (await turn()) return; // that was goodbye
        failures = 0;
      } catch (err) {
        if (/superseded|ERR_ASSERTION|Permission/.test([err.code, err.name, err.cause?.name]) || nc.isClosed()) throw err;
        tell("failure", err);
        joined ||= own.state !== undefined && ![10071, 10164, "ENOTCONN"].includes(err.code); // neither refused nor unsent
        [plan.look, failures] = [0, failures + 1];
      }
      calling.look(); // a doubt may have run out
      tell("nodes");
      const pause = failures ? Math.min(10 * 2 ** failures, 1000, ttl / 6) : Math.min(ttl / 3, 5000) * (1 - Math.random() / 10);
      await sleep(pause, null, { signal: alarm.signal }).catch(() => (alarm = new AbortController()));
    }
  }
  (async () => { // what it tells between the two does not count
    for await (const { type: t } of nc.status()) if (/^(dis|re)connect$/.test(t)) change({ online: t === "reconnect", look: 0 });
  })();
  const isInbox = (reply) => reply && !["$", `${bucket}.`].some((prefix) => reply.startsWith(prefix)); // else we might write
  const answer = () => JSON.stringify({ format: 1, server: nc.info.server_id, incarnation: own.incarnation, passive: true });
  nc.subscribe(`${bucket}.probe.${key}`, { callback: (err, msg) => !err && isInbox(msg.reply) && msg.respond(answer()) });
  async function leave(patience = 5000) {
    if (Object.keys(methods).length > 0) {
      set({ roles: [] });
      await sleep(250); // until then others may not have heard of it, and choose us
      await served.drain(patience);
    }
    change({ until: now() + Math.min(ttl, 5000) });
  }
  const stop = () => [served, calling].forEach((part) => part.stop());
  set({});
  return { nodes, set, call: calling.call, leave, ended: run().finally(stop) };
}
