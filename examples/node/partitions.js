// Who owns which partition: what docs/PROTOCOL.md says of it, held against docs/vectors/partitions.jsonl. All of it is pure.
import { fnv, scatter } from "./wire.js";

/** partitionsOf returns who owns each of n partitions of a role: of those with these names, by what each shall have, and who holds what now. */
export function partitionsOf(names, role, n, { shares = names.map(() => 1), held = [] } = {}) {
  const members = names.map((name, i) => ({ name, bytes: Buffer.from(name), share: shares[i] })).sort((a, b) => Buffer.compare(a.bytes, b.bytes));
  const total = members.reduce((sum, { share }) => sum + share, 0);
  const owner = Array(n).fill(null);
  if (total === 0) return owner;
  for (const m of members) Object.assign(m, { least: Math.floor((n * m.share) / total), more: (n * m.share) % total > 0 });
  let over = members.reduce((left, { least }) => left - least, n);
  const place = owner.map((_, p) => scatter(fnv(`${role}/${n}/${p}`)));
  const pair = (p, m) => {
    const weight = scatter(fnv(m.name) ^ place[p]);
    return { p, m, weight, cost: costOf(weight, m.share) };
  };
  const settle = (pairs) => {
    for (const { p, m } of pairs.sort((a, b) => compare(a.cost, b.cost) || compare(b.weight, a.weight) || a.p - b.p || Buffer.compare(a.m.bytes, b.m.bytes))) {
      if (owner[p] !== null || (m.least === 0 && !(m.more && over > 0))) continue;
      if (m.least > 0) m.least--;
      else [m.more, over] = [false, over - 1];
      owner[p] = m.name;
    }
  };
  const able = members.filter(({ share }) => share > 0);
  settle(held.flatMap((name, p) => able.filter((m) => m.name === name).map((m) => pair(p, m))));
  settle(owner.flatMap((_, p) => able.map((m) => pair(p, m))));
  return owner;
}

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

/** costOf is how bad a pair is: the logarithm of its weight, through what the member shall have. */
export function costOf(weight, share) {
  const length = weight.toString(2).length; // of 64 bits, from the first that is set
  let y = ((weight | 1n) << BigInt(64 - length)) >> 32n;
  let part = 0n;
  for (let i = 0; i < 24; i++) {
    y = (y * y) >> 31n;
    const bit = y >> 32n;
    part = (part << 1n) | bit;
    y >>= bit;
  }
  return (((BigInt(65 - length) << 24n) - part) << 24n) / BigInt(share);
}
