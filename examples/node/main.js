#!/usr/bin/env node
import { fstatSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { Member } from "./client.js";

const help = `Joins a fleet of rolebus, and prints what it sees: one JSON object on a line.

  node main.js [options]

  --url      the NATS server, or several with commas between them   nats://127.0.0.1:4222
  --node     this process's stable name                             node- and the process id
  --roles    its roles, with commas between them; or several times  none
  --scope    the scope to join                                      default
  --bucket   the fleet's bucket                                     rolebus
  --ttl      its lease in milliseconds, at least 1000               15000
  --verbose  failures that it gets over, on stderr

Each line on stdin is a command: {"roles":["a"]}, {"meta":{"zone":"b"}}, {"leave":true}.
Ctrl-C leaves, too, and so does the end of stdin if that is a pipe: whoever gave the commands is gone.
Ends with 0 after leaving, 3 when a newer process took its name, 2 for bad options, 1 otherwise.
`;

const print = (event) => console.log(JSON.stringify(event));
const fail = (code, message) => {
  console.error(`main.js: ${message}`);
  process.exitCode = code;
};

function options() {
  const text = { type: "string" };
  const flag = { type: "boolean" };
  const known = { url: text, node: text, roles: { ...text, multiple: true }, scope: text, bucket: text, ttl: text, verbose: flag, help: flag };
  const { values } = parseArgs({ options: known });
  const { url = "nats://127.0.0.1:4222", node = `node-${process.pid}`, roles = [], ttl = "15000", ...rest } = values;
  return { ...rest, url, node, roles: roles.flatMap((some) => some.split(",")).filter((role) => role !== ""), ttl: Number(ttl) };
}

async function run({ verbose, ...opts }) {
  const member = await Member.join(opts);
  let shown;
  const show = () => {
    const nodes = Object.fromEntries(member.nodes().map(({ node, roles }) => [node, roles]));
    const meta = Object.fromEntries(member.nodes().filter((n) => n.meta).map((n) => [n.node, n.meta]));
    const now = JSON.stringify({ event: "nodes", nodes, meta });
    if (now !== shown) console.log((shown = now));
  };
  member.on("joined", () => print({ event: "joined" }));
  member.on("nodes", show);
  if (verbose) member.on("failure", (err) => console.error(`main.js: ${err.message}`));

  const commands = createInterface({ input: process.stdin });
  commands.on("line", (line) => {
    try {
      const { leave, ...change } = JSON.parse(line);
      if (leave) member.leave();
      else member.set(change);
    } catch (err) {
      print({ event: "error", error: err.message });
    }
  });
  const stdin = fstatSync(0);
  if (stdin.isFIFO() || stdin.isSocket()) commands.on("close", () => member.leave());
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => member.leave()); // the second one ends it at once

  member.on("end", (err) => {
    print(err ? { event: err.code, error: err.message } : { event: "left" });
    if (err) fail(err.code === "superseded" ? 3 : 1, err.message);
    commands.close();
    process.stdin.destroy();
  });
}

try {
  const opts = options();
  if (opts.help) console.log(help);
  else await run(opts);
} catch (err) {
  fail(err instanceof RangeError || err.code?.startsWith("ERR_PARSE_ARGS") ? 2 : 1, err.message);
}
