// Every kind of message that the interop application's contract names, exchanged with it by a peer in JavaScript.
//
// usage: node interop.mjs INTEROP_BINARY AMQP_URL
import { strict as assert } from "node:assert";
import { randomUUID } from "node:crypto";

import { about, envelope, read, run } from "./peer.mjs";

const NS = "Shop.Contracts";
const urn = (name) => `urn:message:${NS}:${name}`;

const cases = {
  async "a published order is announced"(peer) {
    const order = randomUUID(), tap = await peer.tap(`${NS}:OrderSubmitted`);
    const sent = await peer.send(`${NS}:SubmitOrder`, envelope(`${NS}:SubmitOrder`, { orderId: order, customer: "Nö", amount: "9.90", behavior: null }, { correlationId: order }));
    const body = read(await tap.next(about(order)), urn("OrderSubmitted"));
    assert.deepEqual(body.message, { orderId: order, customer: "Nö", amount: "9.90" });
    assert.equal(body.conversationId, sent.conversationId);
    assert.equal(body.initiatorId, order);
  },
  async "a request over a temporary queue is answered"(peer) {
    const order = randomUUID(), requestId = randomUUID(), inbox = await peer.temporary();
    await peer.send("submit-order", envelope(`${NS}:SubmitOrder`, { orderId: order, customer: "N", amount: 1 }, { requestId, responseAddress: inbox.address }));
    assert.equal(read(await inbox.next(about(requestId)), urn("OrderAccepted")).message.orderId, order);
    const again = randomUUID();
    await peer.send("check-order-status", envelope(`${NS}:CheckOrderStatus`, { orderId: order }, { requestId: again, responseAddress: inbox.address }));
    assert.equal(read(await inbox.next(about(again)), urn("OrderStatusResult")).message.status, "Submitted");
  },
  async "a request over direct reply-to is answered"(peer) {
    const requestId = randomUUID(), replies = await peer.listen("amq.rabbitmq.reply-to");
    const body = envelope(`${NS}:CheckOrderStatus`, { orderId: randomUUID() }, { requestId, responseAddress: "rabbitmq://localhost/amq.rabbitmq.reply-to" });
    await peer.send("check-order-status", body, { replyTo: "amq.rabbitmq.reply-to" });
    read(await replies.next(about(requestId)), urn("OrderNotFound"));
  },
  async "a failure ends in the error queue and in one fault"(peer) {
    const order = randomUUID(), faults = await peer.tap(`MassTransit:Fault--${NS}:SubmitOrder--`);
    await peer.channel.assertQueue("submit-order_error", { durable: true });
    const errors = await peer.listen("submit-order_error");
    const sent = await peer.send("submit-order", envelope(`${NS}:SubmitOrder`, { orderId: order, customer: "N", amount: 1, behavior: "fail" }));
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
    await peer.send("submit-order", envelope(`${NS}:CancelOrder`, { orderId: marker }));
    assert.equal((await skipped.next(about(marker))).properties.headers["MT-Reason"], "dead-letter");
  },
  async "raw JSON is taken by its header"(peer) {
    const order = randomUUID(), tap = await peer.tap(`${NS}:OrderSubmitted`);
    const headers = { "MT-MessageType": urn("SubmitOrder"), MessageId: randomUUID() };
    peer.channel.publish("submit-order", "", Buffer.from(JSON.stringify({ OrderId: order, Customer: "N", Amount: 2 })), { contentType: "application/json", headers });
    read(await tap.next(about(order)), urn("OrderSubmitted"));
  },
};

const [program, url] = process.argv.slice(2);
await run(cases, [program, "serve", url]);
