import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.MessageProperties;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** Publishes ten orders with confirms and reads them back, with RabbitMQ's Java client. */
public class Orders {
    static final String EXCHANGE = "example.shop", QUEUE = "example.orders.java", KEY = "order.java";
    static final int COUNT = 10;

    public static void main(String[] args) throws Exception {
        var factory = new ConnectionFactory();
        var url = Optional.ofNullable(System.getenv("AMQP_URL"));
        factory.setUri(url.orElse("amqp://guest:guest@localhost:5672/%2f"));
        try (var connection = factory.newConnection("orders"); var channel = connection.createChannel()) {
            channel.exchangeDeclare(EXCHANGE, "topic", true);
            channel.queueDeclare(QUEUE, true, false, false, null);
            channel.queuePurge(QUEUE);
            channel.queueBind(QUEUE, EXCHANGE, KEY);

            channel.confirmSelect();
            for (int number = 1; number <= COUNT; number++) {
                var body = ("order " + number).getBytes(StandardCharsets.UTF_8);
                channel.basicPublish(EXCHANGE, KEY, true, MessageProperties.PERSISTENT_TEXT_PLAIN, body);
            }
            channel.waitForConfirmsOrDie(10_000);
            System.out.println(COUNT + " orders are safe");

            var left = new CountDownLatch(COUNT);
            channel.basicQos(COUNT);
            channel.basicConsume(QUEUE, false, (tag, delivery) -> {
                System.out.println(new String(delivery.getBody(), StandardCharsets.UTF_8));
                channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
                left.countDown();
            }, tag -> { });
            if (!left.await(10, TimeUnit.SECONDS)) {
                throw new IllegalStateException("no order for ten seconds");
            }
        }
    }
}
