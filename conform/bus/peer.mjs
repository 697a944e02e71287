// A peer that speaks MassTransit's envelope by the book, with nothing but amqplib, and what runs its cases.
//
// Used by interop.mjs and shop.mjs. It starts the application, runs one case after the other, each on a connection of its own, and prints
// a line for each; the exit code is 1 if one failed. It shares no code with the library that is judged.
import { spawn } from "node:child_process";
import { strict as assert } from "node:assert";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const amqp = createRequire(import.meta.url)("amqplib"); // found through NODE_PATH too, which `import` ignores

export const ENVELOPE = "application/vnd.masstransit+json";

/** An envelope as a MassTransit service writes it: nulls where nothing is known. `type` is `Namespace:Type`. */
export function envelope(type, message, fields = {}) {
  return {
    messageId: randomUUID(), requestId: null, correlationId: null, conversationId: randomUUID(), initiatorId: null,
    sourceAddress: "rabbitmq://localhost/node_peer?temporary=true", destinationAddress: `rabbitmq://localhost/${type}`,
    responseAddress: null, faultAddress: null, messageType: [`urn:message:${type}`], message, expirationTime: null,
    sentTime: new Date().toISOString(), headers: {},
    host: { machineName: "node", processName: "node", processId: process.pid, assembly: "peer", assemblyVersion: "1.0.0",
      frameworkVersion: process.version, massTransitVersion: "8.5.0", operatingSystemVersion: process.platform },
    ...fields,
  };
}

class Peer {
  static async open(url) {
    const peer = new Peer();
    peer.connection = await amqp.connect(url);
    peer.channel = await peer.connection.createConfirmChannel();
    return peer;
  }
  /** Collect what arrives in a queue; `next` waits for one that is wanted. */
  async listen(queue, options = { noAck: true }) {
    const arrived = [], waiting = [];
    await this.channel.consume(queue, (message) => {
      const at = waiting.findIndex((one) => one.wanted(message));
      if (at >= 0) waiting.splice(at, 1)[0].resolve(message); else arrived.push(message);
    }, options);
    return {
      arrived,
      next: (wanted, ms = 60000) => new Promise((resolve, reject) => {
        const at = arrived.findIndex(wanted);
        if (at >= 0) return resolve(arrived.splice(at, 1)[0]);
        const timer = setTimeout(() => reject(new Error(`nothing came to ${queue}`)), ms);
        waiting.push({ wanted, resolve: (message) => { clearTimeout(timer); resolve(message); } });
      }),
    };
  }
  async tap(exchange) {
    await this.channel.assertExchange(exchange, "fanout", { durable: true });
    const { queue } = await this.channel.assertQueue("", { exclusive: true });
    await this.channel.bindQueue(queue, exchange, "");
    return this.listen(queue);
  }
  async temporary() {
    const name = `node_peer_${randomUUID()}`;
    await this.channel.assertExchange(name, "fanout", { durable: false, autoDelete: true });
    await this.channel.assertQueue(name, { exclusive: true, autoDelete: true });
    await this.channel.bindQueue(name, name, "");
    return { address: `rabbitmq://localhost/${name}?temporary=true`, ...(await this.listen(name)) };
  }
  async send(exchange, body, options = {}) {
    const bytes = Buffer.from(JSON.stringify(body));
    this.channel.publish(exchange, "", bytes, { contentType: ENVELOPE, persistent: true, messageId: body.messageId, ...options });
    await this.channel.waitForConfirms();
    return body;
  }
}

export const about = (id) => (message) => message.content.toString().toLowerCase().includes(id);

export function read(message, type) {
  assert.equal(message.properties.contentType, ENVELOPE);
  const body = JSON.parse(message.content);
  assert.equal(body.messageType[0], type);
  assert.equal(message.properties.messageId, body.messageId);
  assert.match(body.messageId, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  return body;
}

/** Start `program` with the broker's address, wait for READY, run the cases, stop it; ends this process. */
export async function run(cases, [program, ...rest]) {
  const url = rest.pop();
  const environment = { ...process.env, AMQP_URL: url, BROKER_URL: url };
  const service = spawn(program, rest, { env: environment, stdio: ["ignore", "pipe", "inherit"] });
  let failed = 0;
  try {
    const [line] = await once(createInterface(service.stdout), "line");
    assert.equal(line, "READY");
    for (const [name, one] of Object.entries(cases)) {
      const peer = await Peer.open(url);
      try {
        await one(peer);
        console.log(`ok      ${name}`);
      } catch (error) {
        failed += 1;
        console.log(`FAILED  ${name}: ${error.message}`);
      } finally {
        await peer.connection.close();
      }
    }
  } finally {
    service.kill("SIGTERM");
    await once(service, "exit");
  }
  console.log(`${Object.keys(cases).length - failed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}
