// The bucket's stream, as whoever comes first makes it.
import { randomBytes } from "node:crypto";

const settings = (bucket) => ({
  subjects: [`$KV.${bucket}.>`, `$KV.${bucket}=lease.>`],
  retention: "limits",
  max_consumers: -1,
  max_msgs: -1,
  max_bytes: -1,
  max_age: 0,
  max_msg_size: -1,
  max_msgs_per_subject: 1,
  discard: "old",
  allow_direct: true,
  allow_rollup_hdrs: true,
  allow_msg_ttl: true,
  allow_msg_schedules: true,
  republish: { src: `$KV.${bucket}.>`, dest: `${bucket}.changes.>`, headers_only: true },
});

/** newBucket is the stream to ask for, with an identity of its own: a bucket that is made anew is another fleet. */
export const newBucket = (bucket, replicas) => ({
  name: `KV_${bucket}`,
  description: "rolebus: who can do what",
  ...settings(bucket),
  storage: "file",
  num_replicas: replicas,
  deny_delete: true,
  metadata: { "rolebus.format": "1", "rolebus.fleet": randomBytes(9).toString("base64url") },
});

/** mismatches names the settings that a bucket of ours may not have otherwise. An old server drops what it does not know. */
export function mismatches(bucket, config) {
  const equal = (want, got) =>
    want !== null && typeof want === "object"
      ? Object.keys(want).every((key) => equal(want[key], got?.[key])) && Object.keys(want).length === Object.keys(got ?? {}).length
      : want === got;
  const wrong = Object.entries(settings(bucket)).filter(([name, want]) => !equal(want, config[name])).map(([name]) => name);
  if (config.metadata?.["rolebus.format"] !== "1") wrong.push("metadata rolebus.format");
  if (!config.metadata?.["rolebus.fleet"]) wrong.push("metadata rolebus.fleet");
  return wrong;
}
