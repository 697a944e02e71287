// Messages of each kind, exchanged with the services of `examples/shop` by a peer in JavaScript: requests over both ways of replying,
// commands, events, a scheduled message, a fault, moves. Every single type is shop.py's.
//
// usage: node shop.mjs SHOP_BINARY AMQP_URL
import { strict as assert } from "node:assert";
import { randomUUID } from "node:crypto";

import { about, envelope, read, run } from "./peer.mjs";

const NS = "Shop.Demo";
const urn = (name) => `urn:message:${NS}:${name}`;

/** The next message about this order, of this type. */
const hear = async (queue, order, name) =>
  read(await queue.next((message) => about(order)(message) && JSON.parse(message.content).messageType[0] === urn(name)), urn(name));

const place = (peer, order, customer, product, fields = {}) =>
  peer.send("shop-order", envelope(`${NS}:PlaceOrder`, { orderId: order, customer, product }, { correlationId: order, ...fields }));

const cases = {
  async "an order is accepted and completed in one conversation"(peer) {
    const order = randomUUID(), requestId = randomUUID(), inbox = await peer.temporary();
    const done = await peer.tap(`${NS}:OrderCompleted`);
    const sent = await place(peer, order, "ada", "lamp", { requestId, responseAddress: inbox.address });
    const answer = await hear(inbox, order, "OrderAccepted");
    assert.equal(answer.requestId, requestId);
    const completed = await hear(done, order, "OrderCompleted");
    assert.deepEqual(completed.message, { orderId: order, product: "lamp" });
    assert.equal(completed.conversationId, sent.conversationId);
  },
  async "an order for nothing is refused by direct reply-to"(peer) {
    const order = randomUUID(), requestId = randomUUID(), replies = await peer.listen("amq.rabbitmq.reply-to");
    const body = envelope(`${NS}:PlaceOrder`, { orderId: order, customer: "ada", product: "" },
      { requestId, responseAddress: "rabbitmq://localhost/amq.rabbitmq.reply-to" });
    await peer.send("shop-order", body, { replyTo: "amq.rabbitmq.reply-to" });
    assert.equal((await hear(replies, order, "OrderRefused")).requestId, requestId);
  },
  async "the peer is the bank, and compensation follows its refusal"(peer) {
    const order = randomUUID(), payment = await peer.tap("shop-payment"), inventory = await peer.tap("shop-inventory");
    const cancelled = await peer.tap(`${NS}:OrderCancelled`);
    await place(peer, order, "absent-minded", "lamp");
    await hear(payment, order, "TakePayment");
    await peer.send(`${NS}:PaymentRefused`, envelope(`${NS}:PaymentRefused`, { orderId: order }, { correlationId: order }));
    assert.equal((await hear(cancelled, order, "OrderCancelled")).message.why, "payment refused");
    assert.deepEqual((await hear(inventory, order, "ReleaseStock")).message, { orderId: order, product: "lamp" });
  },
  async "what was scheduled comes in its time"(peer) {
    const order = randomUUID(), saga = await peer.tap("shop-order-saga"), cancelled = await peer.tap(`${NS}:OrderCancelled`);
    const payment = await peer.tap("shop-payment");
    const start = Date.now();
    await place(peer, order, "absent-minded", "lamp");
    await hear(payment, order, "TakePayment");
    await hear(saga, order, "PaymentLate");
    assert.ok(Date.now() - start > 4500, "five seconds ahead");
    assert.equal((await hear(cancelled, order, "OrderCancelled")).message.why, "payment late");
  },
  async "a failure ends in the error queue and in one fault"(peer) {
    const order = randomUUID(), faults = await peer.tap(`MassTransit:Fault--${NS}:OrderCompleted--`);
    await peer.channel.assertQueue("shop-recommendation_error", { durable: true });
    const errors = await peer.listen("shop-recommendation_error");
    const sent = await peer.send("shop-recommendation", envelope(`${NS}:OrderCompleted`, { orderId: order, product: "cursed-idol" }));
    const moved = await errors.next(about(order));
    assert.deepEqual(JSON.parse(moved.content), sent);
    assert.equal(moved.properties.headers["MT-Reason"], "fault");
    const fault = read(await faults.next(about(order)), `urn:message:MassTransit:Fault[[${NS}:OrderCompleted]]`);
    assert.deepEqual(fault.message.message, sent.message);
    assert.equal(faults.arrived.filter(about(order)).length, 0);
  },
  async "an unknown type is skipped, and raw JSON is taken by its header"(peer) {
    const marker = randomUUID(), order = randomUUID(), placed = await peer.tap(`${NS}:OrderPlaced`);
    await peer.channel.assertQueue("shop-order_skipped", { durable: true });
    const skipped = await peer.listen("shop-order_skipped");
    await peer.send("shop-order", envelope("Other.Shop:PlaceOrder", { orderId: marker }));
    assert.equal((await skipped.next(about(marker))).properties.headers["MT-Reason"], "dead-letter");
    const headers = { "MT-MessageType": urn("PlaceOrder"), MessageId: randomUUID() };
    const body = Buffer.from(JSON.stringify({ OrderId: order, Customer: "ada", Product: "lamp" }));
    peer.channel.publish("shop-order", "", body, { contentType: "application/json", headers });
    await hear(placed, order, "OrderPlaced");
  },
};

const [program, url] = process.argv.slice(2);
await run(cases, [program, "serve", url]);
