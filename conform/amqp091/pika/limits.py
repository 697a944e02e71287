"""Time to live, lengths, dead letters, priorities, delivery limits."""

from rig import Reader, attempt, case, count, drain, plain, publish, take, wait


def dead_letters(target, key=None):
    """Arguments of a queue whose dead letters go to another queue."""
    return {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": target} if key is None else {"x-dead-letter-exchange": target, "x-dead-letter-routing-key": key}


def death(properties):
    """The headers that dead-lettering writes, without times."""
    headers = plain(properties.headers or {})
    for entry in headers.get("x-death", []):
        entry["time"] = "<time>"
    return headers


@case
def ttl_queue(rig):
    channel = rig.channel()
    target = rig.queue(channel, ".target")
    queue = rig.queue(channel, arguments={"x-message-ttl": 100} | dead_letters(target))
    publish(channel, queue, "1", "2")
    got = take(channel, target, 2)
    return {"bodies": [body.decode() for _, _, body in got], "headers": death(got[0][1]), "expiration": got[0][1].expiration, "left": count(channel, queue)}


@case
def ttl_without_dead_letter_exchange(rig):
    channel = rig.channel()
    queue = rig.queue(channel, arguments={"x-message-ttl": 50})
    publish(channel, queue, "1", "2")
    wait(channel.connection, lambda: count(channel, queue) == 0)
    return "gone"


@case
def expiration_per_message(rig):
    channel = rig.channel()
    target = rig.queue(channel, ".target")
    queue = rig.queue(channel, arguments=dead_letters(target))
    publish(channel, queue, "x", expiration="50")
    _, properties, body = take(channel, target)[0]
    return {"body": body.decode(), "headers": death(properties), "expiration": properties.expiration}


@case
def shorter_ttl_wins(rig):
    channel = rig.channel()
    target = rig.queue(channel, ".target")
    short = rig.queue(channel, ".short", arguments={"x-message-ttl": 50} | dead_letters(target))
    long = rig.queue(channel, ".long", arguments={"x-message-ttl": 600000} | dead_letters(target))
    publish(channel, short, "queue's", expiration="600000")
    publish(channel, long, "message's", expiration="50")
    return sorted(body.decode() for _, _, body in take(channel, target, 2))


@case
def expiration_behind_the_head(rig):
    channel = rig.channel()
    target = rig.queue(channel, ".target")
    queue = rig.queue(channel, arguments=dead_letters(target))
    marker = rig.queue(channel, ".marker", arguments=dead_letters(target))
    publish(channel, queue, "head")
    publish(channel, queue, "short", expiration="50")
    publish(channel, marker, "marker", expiration="100")
    first = [body.decode() for _, _, body in take(channel, target)]
    head = drain(channel, queue)
    return {"expired_first": first, "delivered": head, "expired_then": [body.decode() for _, _, body in take(channel, target)]}


@case
def ttl_zero(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    target = rig.queue(channel, ".target")
    queue = rig.queue(channel, arguments={"x-message-ttl": 0} | dead_letters(target))
    publish(channel, queue, "nobody is there")
    dropped = [body.decode() for _, _, body in take(channel, target)]
    reader = Reader(connection.channel(), queue)
    publish(channel, queue, "somebody is")
    return {"dropped": dropped, "delivered": reader.wait(1).bodies}


@case
def maxlen_drop_head(rig):
    channel = rig.channel()
    queue = rig.queue(channel, arguments={"x-max-length": 2})
    publish(channel, queue, *"12345")
    wait(channel.connection, lambda: count(channel, queue) == 2)
    return drain(channel, queue)


@case
def maxlen_bytes(rig):
    channel = rig.channel()
    queue = rig.queue(channel, arguments={"x-max-length-bytes": 10})
    publish(channel, queue, "aaaa", "bbbb", "cccc", "dd")
    wait(channel.connection, lambda: count(channel, queue) == 3)
    return drain(channel, queue)


@case
def maxlen_dead_letter(rig):
    channel = rig.channel()
    target = rig.queue(channel, ".target")
    queue = rig.queue(channel, arguments={"x-max-length": 1} | dead_letters(target))
    publish(channel, queue, "1", "2")
    _, properties, body = take(channel, target)[0]
    return {"dead": body.decode(), "headers": death(properties), "kept": drain(channel, queue)}


@case
def maxlen_counts_ready_only(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    queue = rig.queue(channel, arguments={"x-max-length": 1})
    publish(channel, queue, "held")
    holder = connection.channel()
    tag = holder.basic_get(queue)[0].delivery_tag
    publish(channel, queue, "ready")
    holder.basic_nack(tag, requeue=True)
    wait(connection, lambda: count(channel, queue) == 1)
    return drain(channel, queue)


@case
def dead_letter_rejected_x_death(rig):
    connection = rig.connect()
    channel = rig.channel(connection)
    exchange = rig.exchange(channel, "topic", ".dlx")
    target = rig.bound(channel, exchange, ".target", "#")
    queue = rig.queue(channel, arguments={"x-dead-letter-exchange": exchange})
    publish(channel, queue, "bad", headers={"mine": 1}, message_id="m1", delivery_mode=2)
    tag = channel.basic_get(queue)[0].delivery_tag
    channel.basic_reject(tag, requeue=False)
    method, properties, body = take(channel, target)[0]
    return {"key": method.routing_key, "exchange": method.exchange, "redelivered": method.redelivered, "headers": death(properties), "message_id": properties.message_id, "mode": properties.delivery_mode, "body": body.decode()}


@case
def dead_letter_count_grows(rig):
    """A retry ladder: rejected into a waiting queue, expired back, three times."""
    channel = rig.channel()
    waiting = rig.name + ".waiting"
    queue = rig.queue(channel, arguments=dead_letters(waiting))
    rig.queue(channel, ".waiting", arguments={"x-message-ttl": 30} | dead_letters(queue))
    publish(channel, queue, "again")
    for _ in range(3):
        deadline_get(channel, queue)
    wait(channel.connection, lambda: count(channel, queue) == 1)
    _, properties, _ = channel.basic_get(queue, auto_ack=True)
    return death(properties)


def deadline_get(channel, queue):
    """Wait for one message and reject it."""
    wait(channel.connection, lambda: count(channel, queue) == 1)
    method, _, _ = channel.basic_get(queue)
    channel.basic_reject(method.delivery_tag, requeue=False)


@case
def dead_letter_cycle_is_dropped(rig):
    """Two queues that expire into each other: the message goes once around and is dropped, for nobody rejected it."""
    channel = rig.channel()
    other = rig.name + ".other"
    queue = rig.queue(channel, arguments={"x-message-ttl": 30} | dead_letters(other))
    rig.queue(channel, ".other", arguments={"x-message-ttl": 3000} | dead_letters(queue))
    publish(channel, queue, "round")
    wait(channel.connection, lambda: count(channel, queue) == 0 and count(channel, other) == 1)
    wait(channel.connection, lambda: count(channel, other) == 0)
    return {"queue": drain(channel, queue), "other": drain(channel, other)}


@case
def dead_letter_without_target(rig):
    channel = rig.channel()
    queue = rig.queue(channel, arguments={"x-dead-letter-exchange": "no.such.exchange"})
    publish(channel, queue, "x")
    channel.basic_reject(channel.basic_get(queue)[0].delivery_tag, requeue=False)
    publish(channel, queue, "goes on")
    return [body.decode() for _, _, body in take(channel, queue)]


@case
def dead_letter_own_x_death(rig):
    """A client that publishes an x-death of its own."""
    channel = rig.channel()
    target = rig.queue(channel, ".target")
    queue = rig.queue(channel, arguments=dead_letters(target))
    own = [{"queue": queue, "reason": "rejected", "count": 41, "exchange": "", "routing-keys": [queue]}]
    publish(channel, queue, "x", headers={"x-death": own})
    channel.basic_reject(channel.basic_get(queue)[0].delivery_tag, requeue=False)
    _, properties, _ = take(channel, target)[0]
    return death(properties)


@case
def dead_letter_keeps_cc(rig):
    channel = rig.channel()
    exchange = rig.exchange(channel, "direct", ".dlx")
    queue = rig.queue(channel, arguments={"x-dead-letter-exchange": exchange})
    target = rig.bound(channel, exchange, ".target", queue)
    copy = rig.bound(channel, exchange, ".copy", "also")
    publish(channel, queue, "x", headers={"CC": ["also"]})
    channel.basic_reject(channel.basic_get(queue)[0].delivery_tag, requeue=False)
    return {name: death(take(channel, name)[0][1]) for name in (target, copy)}


@case
def requeue_is_no_death(rig):
    channel = rig.channel()
    target = rig.queue(channel, ".target")
    queue = rig.queue(channel, arguments=dead_letters(target))
    publish(channel, queue, "x")
    channel.basic_nack(channel.basic_get(queue)[0].delivery_tag, requeue=True)
    _, properties, body = take(channel, queue)[0]
    return {"body": body.decode(), "headers": death(properties), "target": count(channel, target)}


@case
def priority_queue(rig):
    channel = rig.channel()
    queue = rig.queue(channel, arguments={"x-max-priority": 5})
    for body, priority in (("none", None), ("one", 1), ("five", 5), ("nine", 9), ("zero", 0), ("five again", 5), ("three", 3)):
        publish(channel, queue, body, priority=priority)
    return drain(channel, queue)


@case
def priority_without_support(rig):
    channel = rig.channel()
    queue = rig.queue(channel)
    publish(channel, queue, "1", priority=1)
    publish(channel, queue, "2", priority=9)
    return drain(channel, queue)


def rounds(rig, limit, give_back, number):
    """Take a message and give it back, so many times or until it is gone; the counters seen each time."""
    connection = rig.connect()
    channel = rig.channel(connection)
    target = rig.queue(channel, ".target", durable=True)
    arguments = {"x-queue-type": "quorum"} | dead_letters(target) | ({} if limit is None else {"x-delivery-limit": limit})
    queue = rig.queue(channel, durable=True, arguments=arguments)
    publish(channel, queue, "x")
    seen = []
    for _ in range(number):
        got = []
        wait(connection, lambda: got_one(channel, queue, got) or count(channel, target) > 0)
        if not got:
            break
        method, properties, _ = got[0]
        headers = properties.headers or {}
        seen.append([method.redelivered, headers.get("x-delivery-count"), headers.get("x-acquired-count")])
        give_back(channel, method.delivery_tag)
    return channel, target, seen


def got_one(channel, queue, got):
    method, properties, body = channel.basic_get(queue)
    if method is not None:
        got.append((method, properties, body))
    return bool(got)


@case
def delivery_limit_quorum(rig):
    channel, target, seen = rounds(rig, 2, lambda channel, tag: channel.basic_reject(tag, requeue=True), 5)
    _, properties, _ = take(channel, target)[0]
    headers = death(properties)
    return {"seen": seen, "x-death": headers["x-death"], "reason": headers["x-first-death-reason"], "x-delivery-count": headers.get("x-delivery-count")}


@case
def delivery_limit_default(rig):
    channel, target, seen = rounds(rig, None, lambda channel, tag: channel.basic_reject(tag, requeue=True), 30)
    return {"deliveries": len(seen), "dead": [body.decode() for _, _, body in take(channel, target)]}


@case
def quorum_nack_is_not_counted(rig):
    _, _, seen = rounds(rig, 2, lambda channel, tag: channel.basic_nack(tag, requeue=True), 5)
    return seen


@case
def delivery_limit_on_classic(rig):
    connection = rig.connect()
    return attempt(lambda: connection.channel().queue_declare("delivery_limit_on_classic", exclusive=True, arguments={"x-delivery-limit": 2}))
