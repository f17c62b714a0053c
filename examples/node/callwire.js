// What is on the wire of a call, and what it means. All of it is pure, and held against docs/vectors/calls.jsonl.
import { ok as check } from "node:assert/strict";
import { tokenOf } from "./wire.js";
const textType = "application/json"; // of whatever says nothing else
const bare = (type) => type.split(";")[0].trim().toLowerCase();
export const addressOf = ({ bucket, scope }, { node, incarnation }, method) => // that one life of one node hears
  `${bucket}.call.${tokenOf(scope)}.${tokenOf(node)}.${incarnation}.${tokenOf(method)}`;
/** mayHear says whether an answer may go there: one within the bucket, say, would be written with our rights. */
export const mayHear = (bucket, reply) => Boolean(reply) && !["$", `${bucket}.`].some((start) => reply.startsWith(start));
export const aliveOf = (reply) => (reply.split(".").at(-2) === "call" ? reply.replace(/[^.]*$/, "alive") : undefined);
/** waitsFor returns the headers of a request, by name: for how many milliseconds its caller waits, unless that goes without saying. */
export function waitsFor(timeout) {
  const whole = Math.max(1, Math.ceil(timeout));
  return whole === 5000 ? {} : { "Rolebus-Timeout": `${whole}` };
}
const read = (body) => JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body));
/** readRequest says what somebody wants: cancel, what to refuse, nothing (null), or that a method is run with an input. */
export function readRequest(headers, body) {
  if (headers["Rolebus-Call"]) return headers["Rolebus-Call"] === "cancel" ? { cancel: new TextDecoder().decode(body) } : null;
  const { "Rolebus-Timeout": waits = "", "Content-Type": type = "" } = headers;
  const timeout = waits === "" ? 5000 : /^\d+$/.test(waits) ? Number(waits) : NaN;
  if (!(timeout >= 1 && timeout <= 86_400_000)) return { refuse: "decode", text: `Rolebus-Timeout ${waits}: not 1 to 86400000 ms` };
  if (bare(type || textType) !== textType) return { refuse: "content-type", text: `the request is ${type}, not ${textType}` };
  try {
    return { timeout, input: read(body) };
  } catch (err) {
    return { refuse: "decode", text: `the input: ${err.message}` };
  }
}
function cut(text, most) { // to so many bytes, and not within a character
  const bytes = Buffer.from(text);
  let end = Math.min(most, bytes.length);
  while (end < bytes.length && (bytes[end] & 0xc0) === 0x80) end--;
  return bytes.toString("utf8", 0, end);
}
const isCode = (code) => typeof code === "string" && /^[!-~]{1,64}$/.test(code);
/** refusalOf returns an answer that is no output. A code is that of an error which a method threw. */
export function refusalOf(say, text, code = say) {
  const body = cut(text.toWellFormed(), 16_384);
  const line = (body || say).replace(/[\x00-\x1f\x7f]/g, " ").trim() || "error"; // eslint-disable-line no-control-regex
  const headers = { "Rolebus-Call": say, "Nats-Service-Error-Code": isCode(code) ? code : "unknown", "Nats-Service-Error": cut(line, 512) };
  return { headers, body };
}
const ran = {
  ...{ failed: "yes", encode: "yes", "too-large": "yes", timeout: "maybe", canceled: "maybe" },
  ...{ busy: "no", draining: "no", decode: "no", "content-type": "no" },
};
/** readAnswer says what came of a call: an output, or which error, and whether the method ran. */
export function readAnswer(headers, body) {
  const text = new TextDecoder().decode(body);
  const { "Rolebus-Call": kind, "Nats-Service-Error-Code": code = "", "Nats-Service-Error": line = "", "Content-Type": type } = headers;
  const say = kind || (code || line ? "failed" : "");
  const told = cut(text || (line === say ? "" : line), 16_384);
  if (say === "failed") return { error: say, ran: "yes", code: isCode(code) ? code : "unknown", text: told };
  if (say && !Object.hasOwn(ran, say)) return { error: "decode", ran: "maybe", text: `an answer of kind ${say}` };
  if (say) return { error: say, ran: ran[say], text: told };
  if (bare(type || textType) !== textType) return { error: "content-type", ran: "yes", text: `the answer is ${type}, not ${textType}` };
  try {
    return { output: read(body), ran: "yes" };
  } catch (err) {
    return { error: "decode", ran: "yes", text: `the output: ${err.message}` };
  }
}
/** CallError is why a call failed: its kind, the code that the method chose, and whether the method ran: "yes", "no", "maybe". */
export class CallError extends Error {
  constructor({ error, ran, code, text }) {
    check(["yes", "no", "maybe"].includes(ran));
    super(`${error}: ${text}`);
    Object.assign(this, { kind: error, ran, code });
  }
}
