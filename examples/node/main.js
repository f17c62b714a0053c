#!/usr/bin/env node
import { fstatSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { connect } from "@nats-io/transport-node";

import { join } from "./client.js";

const help = `Joins a fleet of rolebus, and prints what it sees: one JSON object on a line.

  node main.js [options]

  --url      the NATS server, or several with commas between them   nats://127.0.0.1:4222
  --node     this process's stable name                             node- and the process id
  --roles    its roles, with commas between them; or several times  none
  --scope    the scope to join                                      default
  --bucket   the fleet's bucket                                     rolebus
  --ttl      its lease in milliseconds, at least 1000               15000
  --verbose  failures that it gets over, on stderr

Each line on stdin is a command: {"roles":["a"]}, {"meta":{"zone":"b"}}, {"leave":true}, or a call of somebody's method:
{"call":{"role":"api","method":"price","input":{"item":"tea"},"timeout":1000}}, with "cancel" after how many milliseconds to give up.
It handles a method itself, "wait": with the input {"ms":100} it answers {"waited":100} so much later.
Ctrl-C leaves, too, and so does the end of stdin if that is a pipe: whoever gave the commands is gone.
Ends with 0 after leaving, 3 when a newer process took its name, 2 for bad options, 1 otherwise.
`;

const print = (event) => console.log(JSON.stringify(event));
const fail = (code, message) => {
  console.error(`main.js: ${message}`);
  process.exitCode = code;
};

const methods = {
  async wait({ ms }, { signal }) {
    if (!(ms >= 0)) throw Object.assign(new RangeError(`ms is ${ms}, must be a number and not negative`), { code: "BAD_MS" });
    signal.addEventListener("abort", () => print({ event: "cancelled", error: signal.reason.message }));
    await sleep(ms, null, { signal });
    return { waited: ms };
  },
};

async function call(member, { cancel, ...what }) {
  try {
    const output = await member.call({ ...what, signal: cancel === undefined ? undefined : AbortSignal.timeout(cancel) });
    print({ event: "answer", output });
  } catch ({ name, kind = name, code, ran, message }) {
    print({ event: "answer", error: { kind, code: ran && code, ran, message } });
  }
}

function options() {
  const text = { type: "string" };
  const flag = { type: "boolean" };
  const several = { ...text, multiple: true };
  const known = { url: text, node: text, roles: several, scope: text, bucket: text, ttl: text, verbose: flag, help: flag };
  const { values } = parseArgs({ options: known });
  const { url = "nats://127.0.0.1:4222", node = `node-${process.pid}`, roles = [], ttl = "15000", ...rest } = values;
  return { ...rest, url, node, roles: roles.flatMap((some) => some.split(",")).filter((role) => role !== ""), ttl: Number(ttl) };
}

async function run({ verbose, url, ...opts }) {
  const nc = await connect({
    servers: url.split(","),
    name: `rolebus ${opts.node}`, // by this name the servers of an account may tell of our death
    timeout: 5000,
    maxReconnectAttempts: -1,
    reconnectDelayHandler: () => Math.random() * Math.min(1000, opts.ttl / 6), // its own are 2 s: that may be a whole lease
  });
  try {
    await stay(nc, verbose, opts);
  } finally {
    await nc.close();
  }
}

async function stay(nc, verbose, opts) {
  let shown;
  const member = await join(nc, { ...opts, methods }, (event, err) => {
    if (event === "failure" && verbose) console.error(`main.js: ${err.message}`);
    if (event !== "nodes") return;
    const nodes = Object.fromEntries(member.nodes().map(({ node, roles }) => [node, roles]));
    const meta = Object.fromEntries(member.nodes().filter((n) => n.meta).map((n) => [n.node, n.meta]));
    const now = JSON.stringify({ event, nodes, meta });
    if (now !== shown) console.log((shown = now));
  });

  const commands = createInterface({ input: process.stdin });
  commands.on("line", (line) => {
    try {
      const { leave, call: what, ...change } = JSON.parse(line);
      if (leave) member.leave();
      else if (what) call(member, what);
      else member.set(change);
    } catch (err) {
      print({ event: "error", error: err.message });
    }
  });
  const stdin = fstatSync(0);
  if (stdin.isFIFO() || stdin.isSocket()) commands.on("close", () => member.leave());
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => member.leave()); // the second one ends it at once

  try {
    await member.ended;
    print({ event: "left" });
  } catch (err) {
    const superseded = err.code === "superseded";
    print({ event: superseded ? "superseded" : "failed", error: err.message });
    fail(superseded ? 3 : 1, err.message);
  } finally {
    commands.close();
    process.stdin.destroy();
  }
}

try {
  const opts = options();
  if (opts.help) console.log(help);
  else await run(opts);
} catch (err) {
  fail(/^ERR_(ASSERTION|PARSE_ARGS)/.test(err.code) ? 2 : 1, err.message); // options that it does not take, or no server
}
