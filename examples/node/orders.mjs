// Publishes ten orders with confirms and reads them back, with amqplib.
import amqp from "amqplib";

const url = process.env.AMQP_URL ?? "amqp://guest:guest@localhost:5672/%2f";
const [exchange, queue, key, count] = ["example.shop", "example.orders.node", "order.node", 10];

const connection = await amqp.connect(url);
const channel = await connection.createConfirmChannel();
await channel.assertExchange(exchange, "topic", { durable: true });
await channel.assertQueue(queue, { durable: true });
await channel.purgeQueue(queue);
await channel.bindQueue(queue, exchange, key);

for (let number = 1; number <= count; number++) {
  channel.publish(exchange, key, Buffer.from(`order ${number}`), { persistent: true, mandatory: true });
}
await channel.waitForConfirms(); // throws if one was refused
console.log(`${count} orders are safe`);

await channel.prefetch(count);
await new Promise((resolve, reject) => {
  const late = setTimeout(() => reject(new Error("no order for ten seconds")), 10_000);
  let seen = 0;
  channel.consume(queue, (message) => {
    if (message === null) return reject(new Error("the queue is gone"));
    console.log(message.content.toString());
    channel.ack(message);
    late.refresh();
    if (++seen === count) {
      clearTimeout(late);
      resolve();
    }
  }).catch(reject);
});
await channel.close();
await connection.close();
