// What is on the wire: names, roles, records and lives. All of it is pure, and held against docs/vectors.

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }); // else a name may lose its first character
const plain = /[A-Za-z0-9_-]/;

/** tokenOf writes the name of a scope or a node as the one token that stands in subjects and keys. */
export function tokenOf(name) {
  if (typeof name !== "string" || !name.isWellFormed()) throw new RangeError(`name ${JSON.stringify(name)}: not UTF-8`);
  const hex = (byte) => "=" + byte.toString(16).toUpperCase().padStart(2, "0");
  const write = (byte) => (plain.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : hex(byte));
  const token = Array.from(Buffer.from(name), write).join("");
  if (token.length < 1 || token.length > 200) throw new RangeError(`name ${JSON.stringify(name)}: empty or too long`);
  return token;
}

/** nameOf is the exact inverse of tokenOf; it throws at what tokenOf would not have written. */
export function nameOf(token) {
  const bytes = token.replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  const name = utf8.decode(Buffer.from(bytes, "latin1"));
  if (tokenOf(name) !== token) throw new RangeError(`token ${JSON.stringify(token)} is no name`);
  return name;
}

/** byBytes compares texts by their UTF-8. JavaScript's own order, that of UTF-16, is another one beyond U+FFFF. */
export const byBytes = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b));

const isRole = (role) => {
  if (typeof role !== "string" || !role.isWellFormed()) return false;
  const size = Buffer.byteLength(role);
  return size >= 1 && size <= 4096;
};

/** rolesOf makes a set of a list of roles: sorted, each once. */
export function rolesOf(list) {
  const wrong = list.find((role) => !isRole(role));
  if (wrong !== undefined) throw new RangeError(`role ${JSON.stringify(wrong)}: not 1 to 4096 bytes of UTF-8`);
  return [...new Set(list)].sort(byBytes);
}

/** roleOf makes a role of any JSON value. A text stands for itself, unless it could be taken for another value. */
export function roleOf(value) {
  return rolesOf([typeof value === "string" && !isJSON(value) ? value : canonical(value)])[0];
}

function isJSON(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical)}]`;
  if (value === null || typeof value !== "object") {
    return JSON.stringify(value).replace(/[\u2028\u2029]/g, (c) => "\\u" + c.charCodeAt(0).toString(16));
  }
  const keys = Object.keys(value).sort(byBytes); // as JSON.stringify would not: it puts keys like "7" first
  return `{${keys.map((key) => `${canonical(key)}:${canonical(value[key])}`)}}`;
}

/** compare orders lives: the incarnation first. Nothing else says which of two states is newer. */
export const compare = (a, b) => a.incarnation - b.incarnation || a.version - b.version;

const fields = ["format", "fleet", "scope", "node", "incarnation", "version", "ttl", "roles", "meta", "gone", "due"];
const within = (n, from, to) => Number.isInteger(n) && n >= from && n <= to;
const isText = (text) => typeof text === "string";

/** isMeta tells whether something can be a node's metadata: text to text, no empty key. */
export function isMeta(meta) {
  if (meta === null || typeof meta !== "object" || Array.isArray(meta)) return false;
  return Object.entries(meta).every(([key, text]) => key !== "" && isText(text) && key.isWellFormed() && text.isWellFormed());
}

/**
 * readRecord reads an entry of the bucket. It returns null for what is none of ours, which is to be ignored.
 * @param {string} key `<scope token>.<node token>`
 * @param {string} operation PUT, DEL or PURGE
 * @param {Uint8Array} body
 */
export function readRecord(key, operation, body) {
  let record;
  try {
    record = JSON.parse(utf8.decode(body), (name, value) => {
      if (!name.isWellFormed() || (isText(value) && !value.isWellFormed())) throw new Error("half a surrogate pair");
      return value;
    });
    if (`${tokenOf(record.scope)}.${tokenOf(record.node)}` !== key) return null;
  } catch {
    return null;
  }
  const { format, scope, node, incarnation, version, ttl, roles, meta, gone, due } = record;
  const life = { scope, node, incarnation, version };
  const has = (field) => Object.hasOwn(record, field);
  if (format !== 1 || !within(incarnation, 1, 2 ** 53) || !within(version, 1, 2 ** 53)) return null;
  if (has("base") || has("roles") === has("gone") || fields.some((field) => record[field] === null)) return null;
  if (has("gone")) {
    const known = gone === "expired" ? within(due, 1, 2 ** 53) : gone === "left" && !has("due");
    return operation === "DEL" && known ? { ...life, gone, ...(has("due") && { due }) } : null;
  }
  if (operation !== "PUT" || !within(ttl, 1000, 86_400_000)) return null;
  if (!Array.isArray(roles) || !roles.every(isRole) || (has("meta") && !isMeta(meta))) return null;
  return { ...life, ttl, roles: rolesOf(roles), ...(has("meta") && Object.keys(meta).length > 0 && { meta }) };
}

/** reach is how many versions beyond a record's a lease may bury, so that not every change needs a new lease. */
export const reach = 1000;

/**
 * afterRefusal says what to do when a write of one's own record was refused and the record has been read.
 * @param {{incarnation: number, version: number, sent: number, bound: number}} own the version of the last write, the
 *   highest that was ever sent, and the highest that any lease may bury
 * @param {{what: string, incarnation?: number, version?: number, gone?: string, generation?: number}} found
 */
export function afterRefusal(own, found) {
  if (found.incarnation > own.incarnation) return { then: "stop", grace: false }; // a newer process has our name
  const mine = found.incarnation === own.incarnation;
  let { incarnation } = own;
  let version = 1 + Math.max(own.version, own.sent, own.bound, mine ? found.version : 0);
  if (version > 2 ** 52) [incarnation, version] = [incarnation + 1, 1];
  const expected = found.generation ?? 0;
  // If nothing is there, then what took the record may have taken the lease, too.
  const write = { incarnation, version, bound: version + reach, expected, again: expected === 0 };
  return { then: "write", write, grace: mine && found.gone === "expired" };
}
