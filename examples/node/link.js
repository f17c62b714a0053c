// The connection: requests that are answered, or fail, and are never sent later.
import { connect, errors, headers } from "@nats-io/transport-node";

/** Stop ends a member for good. `code` is "superseded", or "failed". */
export class Stop extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export class Link {
  #connected = true;
  #patience;

  /**
   * open connects; it fails if there is no server.
   * @param {{url: string, node: string, ttl: number}} options
   * @param {() => void} back is called whenever the connection is back
   */
  static async open({ url, node, ttl }, back) {
    const link = new Link();
    link.#patience = Math.max(400, ttl / 5); // for one answer, in ms: several attempts must fit into a lease
    link.nc = await connect({
      servers: url.split(","),
      name: `rolebus ${node}`, // by this name the servers of an account may tell of our death
      maxReconnectAttempts: -1,
      reconnectDelayHandler: () => 20 + Math.random() * Math.min(1000, ttl / 6), // its own are 2 s: that may be a whole lease
      timeout: 5000,
    });
    link.maxPayload = link.nc.info.max_payload;
    link.#follow(back);
    return link;
  }

  async #follow(back) {
    for await (const { type } of this.nc.status()) {
      if (type === "disconnect") this.#connected = false; // until "reconnect": each dial is a "reconnecting"
      if (type !== "reconnect") continue;
      this.#connected = true;
      back();
    }
  }

  get patience() {
    return this.#patience;
  }

  /** ask sends a request and returns the answer, which is JSON. */
  async ask(subject, body, fields = {}) {
    if (this.nc.isClosed()) throw new Stop("failed", "the connection is closed for good");
    // The client would keep it while it dials, and send it afterwards: a lease that comes late fires at once.
    if (!this.#connected) throw new Error("not connected");
    const all = Object.keys(fields).length > 0 ? headers() : undefined;
    for (const [name, value] of Object.entries(fields)) all.set(name, value);
    try {
      const payload = body === undefined ? "" : JSON.stringify(body);
      return (await this.nc.request(subject, payload, { timeout: this.#patience, headers: all })).json();
    } catch (err) {
      const refused = [err, err.cause].find((e) => e instanceof errors.PermissionViolationError);
      if (refused) throw new Stop("failed", refused.message); // it will not get better by itself
      throw new Error(`${subject}: ${err.message}`, { cause: err });
    }
  }
}
