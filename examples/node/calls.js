import { createInbox, Empty, headers as newHeaders, NoRespondersError } from "@nats-io/transport-node";
import * as wire from "./callwire.js";
import { tokenOf } from "./wire.js";
const nobody = (err) => err instanceof NoRespondersError || err.cause instanceof NoRespondersError || err.isNoResponders?.();
const headersOf = (msg) => Object.fromEntries((msg.headers?.keys() ?? []).map((name) => [name, msg.headers.get(name)]));
function send(nc, subject, { body = Empty, headers = {} }, reply) {
  const all = newHeaders();
  for (const [name, value] of Object.entries(headers)) all.set(name, value);
  nc.publish(subject, body, { reply, headers: Object.keys(headers).length > 0 ? all : undefined });
}
const ended = (text, say) => Object.assign(new DOMException(text, "AbortError"), { say }); // say: what its caller hears, if anything
/** serve handles methods, functions of an input and { signal }, in whatever life open says that this process has now. */
export function serve(nc, { bucket, scope, node, methods, most = 1000 }) {
  const running = new Map(); // by where the answer goes: how to end it
  let subs = [], life, draining = false, idle = () => {};
  const close = (all) => nc.isClosed() || all.forEach((sub) => sub.unsubscribe());
  function open(incarnation) {
    if (incarnation === life) return;
    close(subs);
    life = incarnation;
    subs = Object.entries(methods).map(([name, method]) => {
      const callback = (err, msg) => err || take(method, msg);
      return nc.subscribe(wire.addressOf({ bucket, scope }, { node, incarnation }, name), { callback });
    });
  }
  function answer(msg, what) {
    try {
      if (wire.mayHear(bucket, msg.reply)) send(nc, msg.reply, what);
    } catch {
      // the connection is closed, and nobody can be told
    }
  }
  const refuse = (msg, say, text, code) => answer(msg, wire.refusalOf(say, text, code));
  function take(method, msg) {
    const request = wire.readRequest(headersOf(msg), msg.data);
    if (request === null || (msg.reply && !wire.mayHear(bucket, msg.reply))) return;
    if ("cancel" in request) running.get(request.cancel)?.abort(ended("its caller has given up"));
    else if (draining) refuse(msg, "draining", "it is about to leave");
    else if (request.refuse) refuse(msg, request.refuse, request.text);
    else if (running.size >= most) refuse(msg, "busy", `${most} run`);
    else run(method, msg, request);
  }
  async function run(method, msg, { timeout, input }) {
    const [end, key] = [new AbortController(), msg.reply || Symbol("nobody waits")];
    const late = setTimeout(() => end.abort(ended("its time is over", "timeout")), timeout);
    const watch = setInterval(() => look(msg.reply, end), 1000);
    running.set(key, end);
    try {
      const output = await method(input, { signal: end.signal });
      give(msg, output);
    } catch (err) {
      const { say, message } = end.signal.reason ?? {};
      if (!end.signal.aborted || err?.name !== "AbortError") refuse(msg, "failed", `${err?.message ?? err}`, err?.code);
      else if (say) refuse(msg, say, message);
    } finally {
      clearTimeout(late);
      clearInterval(watch);
      running.delete(key);
      if (running.size === 0) idle();
    }
  }
  function give(msg, output) {
    let body;
    try {
      body = JSON.stringify(output ?? null);
    } catch (err) {
      return refuse(msg, "encode", `the output: ${err.message}`);
    }
    if (Buffer.byteLength(body) > nc.info.max_payload) refuse(msg, "too-large", `the output: ${Buffer.byteLength(body)} bytes`);
    else answer(msg, { body });
  }
  async function look(reply, end) { // whether the caller still lives
    const alive = wire.mayHear(bucket, reply) && wire.aliveOf(reply);
    if (alive) await nc.request(alive, Empty, { timeout: 900 }).catch((err) => nobody(err) && end.abort(ended("its caller is gone")));
  }
  async function drain(patience) { // refuses what is new, and waits for what runs
    draining = true;
    const over = new Promise((resolve) => setTimeout(resolve, patience).unref());
    if (running.size > 0) await Promise.race([over, new Promise((resolve) => (idle = resolve))]);
  }
  function stop() {
    close(subs);
    for (const end of running.values()) end.abort(ended("the node stops", "canceled"));
  }
  return { open, drain, stop };
}
/** caller returns call, and look, which is to be called when the nodes have changed. */
export function caller(nc, { bucket, scope, nodes, online }) {
  const inbox = `${createInbox()}.call.`; // so that a callee can find out whether we still live
  const waiting = new Map(); // by the last token
  let sub, count = 0;
  const fail = (error, ran, text) => new wire.CallError({ error, ran, text });
  const lives = ({ node, incarnation }) => nodes().some((n) => n.node === node && n.incarnation === incarnation && !n.doubted);
  function hear(err, msg) {
    const pending = waiting.get(msg?.subject.slice(inbox.length));
    if (err || !pending) return; // too late
    if (msg.headers?.code === 503 && msg.data.length === 0) return pending.nobody();
    const { output, ...rest } = wire.readAnswer(headersOf(msg), msg.data);
    pending.settle(rest.error ? new wire.CallError(rest) : undefined, output);
  }
  async function why(of) { // nobody listens there: is the node gone, or has it no such method?
    const request = nc.request(`${bucket}.probe.${tokenOf(scope)}.${tokenOf(of.node)}`, Empty, { timeout: 1000 });
    const there = await request.then((msg) => msg.json().incarnation === of.incarnation).catch(() => false);
    return there ? fail("no-method", "no", `${of.node} does not handle it`) : fail("unreachable", "no", `${of.node} is gone`);
  }
  /** call asks one node of the role, once. It throws a CallError, or what signal was aborted with. */
  async function call({ role, node, method, input, timeout = 5000, signal }) {
    signal?.throwIfAborted();
    const able = nodes().filter((n) => !n.doubted && (node ? n.node === node : n.roles.includes(role)));
    if (able.length === 0) throw fail("no-node", "no", `nobody has the role ${role ?? node}`);
    if (!online()) throw fail("unreachable", "no", "not connected");
    const to = able[Math.floor(Math.random() * able.length)];
    const [subject, token, body] = [wire.addressOf({ bucket, scope }, to, method), `${++count}`, JSON.stringify(input ?? null)];
    if (Buffer.byteLength(body) > nc.info.max_payload) throw fail("too-large", "no", `the input: ${Buffer.byteLength(body)} bytes`);
    sub ??= nc.subscribe(`${inbox}*`, { callback: hear });
    const { promise, resolve, reject } = withResolvers();
    const settle = (err, output) => (err ? reject(err) : resolve(output));
    const cancel = { headers: { "Rolebus-Call": "cancel" }, body: inbox + token };
    function giveUp(err) {
      settle(err);
      if (!nc.isClosed()) send(nc, subject, cancel);
    }
    const gone = () => lives(to) || giveUp(fail("unreachable", "maybe", `${to.node} has gone`));
    const aborted = () => giveUp(signal.reason);
    const late = setTimeout(() => giveUp(fail("timeout", "maybe", `${to.node} did not answer in ${timeout} ms`)), timeout);
    signal?.addEventListener("abort", aborted, { once: true });
    waiting.set(token, { settle, gone, nobody: () => why(to).then(settle) });
    try {
      send(nc, subject, { headers: wire.waitsFor(timeout), body }, inbox + token);
      return await promise;
    } finally {
      clearTimeout(late);
      waiting.delete(token);
      signal?.removeEventListener("abort", aborted);
    }
  }
  return { call, look: () => waiting.forEach((pending) => pending.gone()), stop: () => nc.isClosed() || sub?.unsubscribe() };
}
function withResolvers() { // Promise has it from Node.js 22 on
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}
