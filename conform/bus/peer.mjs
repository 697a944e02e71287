// A peer that speaks MassTransit's envelope by the book, with nothing but amqplib, against the interop application.
//
// usage: node peer.mjs INTEROP_BINARY AMQP_URL
//
// Starts the application and exchanges each kind of message with it: publish, send, request over a temporary queue and over direct
// reply-to, faults, moves, raw JSON. Prints one line per case; exits 1 if one failed. It shares no code with the library it judges.
import { spawn } from "node:child_process";
import { strict as assert } from "node:assert";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const amqp = createRequire(import.meta.url)("amqplib"); // found through NODE_PATH too, which `import` ignores

const [binary, url] = process.argv.slice(2);
const NS = "Shop.Contracts";
const ENVELOPE = "application/vnd.masstransit+json";
const urn = (name) => `urn:message:${NS}:${name}`;

/** An envelope as a MassTransit service writes it: nulls where nothing is known. */
function envelope(name, message, fields = {}) {
  return {
    messageId: randomUUID(), requestId: null, correlationId: null, conversationId: randomUUID(), initiatorId: null,
    sourceAddress: "rabbitmq://localhost/node_peer?temporary=true", destinationAddress: `rabbitmq://localhost/${NS}:${name}`,
    responseAddress: null, faultAddress: null, messageType: [urn(name)], message, expirationTime: null,
    sentTime: new Date().toISOString(), headers: {},
    host: { machineName: "node", processName: "node", processId: process.pid, assembly: "peer", assemblyVersion: "1.0.0",
      frameworkVersion: process.version, massTransitVersion: "8.5.0", operatingSystemVersion: process.platform },
    ...fields,
  };
}

class Peer {
  static async open() {
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
      next: (wanted, ms = 15000) => new Promise((resolve, reject) => {
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

const about = (id) => (message) => message.content.toString().toLowerCase().includes(id);

function read(message, type) {
  assert.equal(message.properties.contentType, ENVELOPE);
  const body = JSON.parse(message.content);
  assert.equal(body.messageType[0], type);
  assert.equal(message.properties.messageId, body.messageId);
  assert.match(body.messageId, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  return body;
}

const cases = {
  async "a published order is announced"(peer) {
    const order = randomUUID(), tap = await peer.tap(`${NS}:OrderSubmitted`);
    const sent = await peer.send(`${NS}:SubmitOrder`, envelope("SubmitOrder", { orderId: order, customer: "Nö", amount: "9.90", behavior: null }, { correlationId: order }));
    const body = read(await tap.next(about(order)), urn("OrderSubmitted"));
    assert.deepEqual(body.message, { orderId: order, customer: "Nö", amount: "9.90" });
    assert.equal(body.conversationId, sent.conversationId);
    assert.equal(body.initiatorId, order);
  },
  async "a request over a temporary queue is answered"(peer) {
    const order = randomUUID(), requestId = randomUUID(), inbox = await peer.temporary();
    await peer.send("submit-order", envelope("SubmitOrder", { orderId: order, customer: "N", amount: 1 }, { requestId, responseAddress: inbox.address }));
    assert.equal(read(await inbox.next(about(requestId)), urn("OrderAccepted")).message.orderId, order);
    const again = randomUUID();
    await peer.send("check-order-status", envelope("CheckOrderStatus", { orderId: order }, { requestId: again, responseAddress: inbox.address }));
    assert.equal(read(await inbox.next(about(again)), urn("OrderStatusResult")).message.status, "Submitted");
  },
  async "a request over direct reply-to is answered"(peer) {
    const requestId = randomUUID(), replies = await peer.listen("amq.rabbitmq.reply-to");
    const body = envelope("CheckOrderStatus", { orderId: randomUUID() }, { requestId, responseAddress: "rabbitmq://localhost/amq.rabbitmq.reply-to" });
    await peer.send("check-order-status", body, { replyTo: "amq.rabbitmq.reply-to" });
    read(await replies.next(about(requestId)), urn("OrderNotFound"));
  },
  async "a failure ends in the error queue and in one fault"(peer) {
    const order = randomUUID(), faults = await peer.tap(`MassTransit:Fault--${NS}:SubmitOrder--`);
    await peer.channel.assertQueue("submit-order_error", { durable: true });
    const errors = await peer.listen("submit-order_error");
    const sent = await peer.send("submit-order", envelope("SubmitOrder", { orderId: order, customer: "N", amount: 1, behavior: "fail" }));
    const moved = await errors.next(about(order));
    assert.deepEqual(JSON.parse(moved.content), sent);
    assert.equal(moved.properties.headers["MT-Reason"], "fault");
    assert.equal(moved.properties.headers["MT-Fault-RetryCount"], 3);
    const fault = read(await faults.next(about(order)), `urn:message:MassTransit:Fault[[${NS}:SubmitOrder]]`);
    assert.deepEqual(fault.message.message, sent.message);
    assert.match(fault.message.exceptions[0].message, /asked to fail/);
    assert.equal(faults.arrived.filter(about(order)).length, 0);
  },
  async "an unknown type is skipped"(peer) {
    const marker = randomUUID();
    await peer.channel.assertQueue("submit-order_skipped", { durable: true });
    const skipped = await peer.listen("submit-order_skipped");
    await peer.send("submit-order", envelope("CancelOrder", { orderId: marker }));
    assert.equal((await skipped.next(about(marker))).properties.headers["MT-Reason"], "dead-letter");
  },
  async "raw JSON is taken by its header"(peer) {
    const order = randomUUID(), tap = await peer.tap(`${NS}:OrderSubmitted`);
    const headers = { "MT-MessageType": urn("SubmitOrder"), MessageId: randomUUID() };
    peer.channel.publish("submit-order", "", Buffer.from(JSON.stringify({ OrderId: order, Customer: "N", Amount: 2 })), { contentType: "application/json", headers });
    read(await tap.next(about(order)), urn("OrderSubmitted"));
  },
};

const service = spawn(binary, ["serve"], { env: { ...process.env, AMQP_URL: url }, stdio: ["ignore", "pipe", "inherit"] });
let failed = 0;
try {
  const [line] = await once(createInterface(service.stdout), "line");
  assert.equal(line, "READY");
  for (const [name, run] of Object.entries(cases)) {
    const peer = await Peer.open();
    try {
      await run(peer);
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
