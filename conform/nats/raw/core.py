"""The core protocol, word for word."""

import json

from rig import bodies, case
from wire import Closed, Late, Message, until

PATTERNS = ["a", "a.b", "a.*", "*.b", "a.>", ">", "*", "*.*", "a.*.c", "*.b.>", "a.b.c.>", "a.b*", "a.>b"]
SUBJECTS = ["a", "b", "a.b", "a.c", "b.b", "a.b.c", "b.b.c", "a.b.c.d", "a.b*", "a.>b", "A", "a.B"]


def heard(publisher, subscriber, fence):
    """What the subscriber was sent before a message that the publisher sends now, on a subject only for that."""
    publisher.publish(fence, "fence")
    return list(until_fence(subscriber, fence))


def until_fence(subscriber, fence):
    while (found := subscriber.op()) is not None:
        if isinstance(found, Message) and found.subject == fence:
            return
        yield found


def shown(found):
    return found.plain() if isinstance(found, Message) else found


def pair(rig, **options):
    """A publisher and a subscriber that also hears the fence."""
    publisher, subscriber = rig.wire(), rig.wire(**options)
    subscriber.subscribe(rig.name(".fence"), "fence")
    subscriber.until_pong()
    return publisher, subscriber, rig.name(".fence")


@case
def info(rig):
    wire = rig.wire(connect=None)
    said = wire.info
    version = [int(part) for part in said["version"].split("-")[0].split(".")]
    fixed = {name: said.get(name) for name in ("proto", "headers", "max_payload", "jetstream", "auth_required", "tls_required", "nonce", "api_lvl")}
    return {**fixed, "server_id": [said["server_id"][0], len(said["server_id"])], "named": bool(said["server_name"]), "new_enough": version >= [2, 12, 0], "client_ip": said["client_ip"], "numbered": said["client_id"] > 0, "port": said["port"] == int(rig.arguments.url.rsplit(":", 1)[1])}


@case
def client_ids_differ(rig):
    return len({rig.wire().info["client_id"] for _ in range(5)})


@case
def verbose(rig):
    wire = rig.wire(verbose=True)
    wire.send(f"SUB {rig.name()} 1", f"PUB {rig.name()} 2", "hi", "PING", "UNSUB 1", "PUB x 0", "")
    return [shown(wire.op()) for _ in range(7)]


@case
def verbs_in_any_case(rig):
    wire = rig.wire()
    wire.send(f"sub {rig.name()} 1", f"Pub {rig.name()} 1", "x", f"hpub {rig.name()} 12 13", "NATS/1.0\r\n\r\ny", "pInG")
    return [shown(found) for found in iter(wire.op, ["PONG"])]


@case
def blanks_between_words(rig):
    wire = rig.wire()
    name = rig.name()
    wire.send(f"SUB   {name}\t 7  ", f"PUB\t{name}  \t 2 ", "ok", f"PUB {name}\tback  1", "z", "UNSUB   7")
    return [found.plain() for found in wire.until_pong()]


@case
def one_byte_at_a_time(rig):
    wire = rig.wire()
    for byte in f"SUB {rig.name()} 1\r\nPUB {rig.name()} 5\r\na\r\nb\n\r\nPING\r\n".encode():
        wire.raw(bytes([byte]))
    return [shown(found) for found in iter(wire.op, ["PONG"])]


@case
def bare_line_feeds(rig):
    wire = rig.wire()
    wire.raw(f"SUB {rig.name()} 1\nPUB {rig.name()} 2\nhi\r\nPING\n".encode())
    return [shown(found) for found in iter(wire.op, ["PONG"])]


@case
def unknown_operations(rig):
    def said(*lines):
        wire = rig.wire()
        wire.send(*lines)
        return wire.error()

    return {line: said(line) for line in ("FOO", "MSG a 1 0", "HMSG", "SUBB a 1", "+OKK", "GET / HTTP/1.1", "\x00\x01", "P", "", "INFOO {}")}


@case
def operations_of_servers(rig):
    def said(line):
        wire = rig.wire()
        wire.send(line)
        return wire.error()

    return {line: said(line) for line in ("+OK", "-ERR 'x'", "PONG", "RS+ a b", "INFO {}")}


@case
def broken_publishes(rig):
    def said(*lines):
        wire = rig.wire()
        wire.send(*lines)
        return wire.error()

    return {line: said(line) for line in ("PUB", "PUB a", "PUB a b c 1", "PUB a -1", "PUB a x", "PUB a 1x", "PUB a 99999999999999999999", "HPUB a 1", "HPUB a 5 3", "HPUB a x 3", "HPUB a b c 1 2", "SUB", "SUB a", "SUB a b c d", "UNSUB", "UNSUB 1 2 3", "UNSUB 1 x")}


@case
def payload_without_its_end(rig):
    wire = rig.wire()
    wire.send("PUB a 2", "hello")
    return wire.error()


@case
def payload_too_large(rig):
    wire = rig.wire()
    largest = wire.info["max_payload"]
    wire.subscribe(rig.name(), "1")
    wire.publish(rig.name(), b"x" * largest)
    exact = len(wire.message().body) == largest
    wire.send(f"PUB {rig.name()} {largest + 1}")
    return {"exact": exact, "more": wire.error()}


@case
def headers_too_large(rig):
    wire = rig.wire()
    wire.send(f"HPUB a 12 {wire.info['max_payload'] + 1}")
    return wire.error()


@case
def control_line_too_long(rig):
    def said(count):
        wire = rig.wire()
        wire.send("PUB " + "a" * count + " 0", "")
        return wire.error()

    return {"4000": said(4000), "5000": said(5000), "no end": said(100_000)}


@case
def subjects_of_subscriptions(rig):
    def said(subject):
        wire = rig.wire()
        wire.send(f"SUB {subject} 1")
        return wire.error()

    return {subject: said(subject) for subject in ("a.", ".a", "a..b", ".", ">.a", "a.>.b", "a.>", "*", "a*", "a>", "a.b*c", "$X", "a/b", "ü")}


@case
def subjects_of_publishes(rig):
    def said(subject, **options):
        wire = rig.wire(**options)
        wire.send(f"PUB {subject} 0", "")
        return wire.error()

    subjects = ("a.", ".a", "a..b", "*", "a.*", ">", "a*", "ok")
    return {"plain": {subject: said(subject) for subject in subjects}, "pedantic": {subject: said(subject, pedantic=True) for subject in subjects}}


@case
def patterns(rig):
    publisher, subscriber, fence = pair(rig)
    for number, pattern in enumerate(PATTERNS):
        subscriber.subscribe(f"{rig.stem}.{pattern}", str(number))
    subscriber.until_pong()
    for subject in SUBJECTS:
        publisher.publish(f"{rig.stem}.{subject}", subject)
    found = {subject: [] for subject in SUBJECTS}
    for message in heard(publisher, subscriber, fence):
        found[message.body].append(PATTERNS[int(message.sid)])
    return {subject: sorted(patterns) for subject, patterns in found.items()}


@case
def wildcard_publish_is_literal(rig):
    publisher, subscriber, fence = pair(rig)
    subscriber.subscribe(rig.name(".a"), "1")
    subscriber.subscribe(rig.name(".*"), "2")
    subscriber.until_pong()
    publisher.publish(rig.name(".*"), "star")
    return sorted(message.sid for message in heard(publisher, subscriber, fence) if message.sid in "12")


@case
def two_subscriptions_get_two_copies(rig):
    wire = rig.wire()
    wire.send(f"SUB {rig.name()} 1", f"SUB {rig.name()} 2", f"PUB {rig.name()} 1", "x")
    return sorted(found.sid for found in wire.until_pong())


@case
def same_sid_again(rig):
    wire = rig.wire()
    wire.send(f"SUB {rig.name('.a')} 1", f"SUB {rig.name('.b')} 1", f"PUB {rig.name('.a')} 1", "a", f"PUB {rig.name('.b')} 1", "b")
    return [found.plain() for found in wire.until_pong()]


@case
def unsubscribe(rig):
    wire = rig.wire()
    name = rig.name()
    wire.send(f"SUB {name} 1", f"PUB {name} 1", "a", "UNSUB 1", f"PUB {name} 1", "b", "UNSUB 1", "UNSUB 77", "UNSUB 88 3")
    return [found.plain() for found in wire.until_pong()]


@case
def unsubscribe_after_some(rig):
    wire = rig.wire()
    name = rig.name()
    wire.send(f"SUB {name} 1", "UNSUB 1 3", *[line for body in "abcde" for line in (f"PUB {name} 1", body)])
    return bodies(wire.until_pong())


@case
def unsubscribe_after_some_counts_from_the_start(rig):
    wire = rig.wire()
    name = rig.name()
    publishes = lambda some: [line for body in some for line in (f"PUB {name} 1", body)]
    wire.send(f"SUB {name} 1", *publishes("ab"), "UNSUB 1 3", *publishes("cd"))
    first = bodies(wire.until_pong())
    wire.send(f"SUB {name} 2", *publishes("efg"), "UNSUB 2 2", *publishes("h"))
    return {"three": first, "passed": bodies(wire.until_pong())}


@case
def unsubscribe_after_raised_and_lowered(rig):
    wire = rig.wire()
    name = rig.name()
    wire.send(f"SUB {name} 1", "UNSUB 1 1", "UNSUB 1 3", *[line for body in "abcd" for line in (f"PUB {name} 1", body)])
    return bodies(wire.until_pong())


@case
def queue_group(rig):
    publisher, subscriber, fence = pair(rig)
    others = [rig.wire() for _ in range(2)]
    for wire in (subscriber, *others):
        wire.subscribe(rig.name(), "1", queue="q")
        wire.subscribe(rig.name(".fence"), "fence")
        wire.until_pong()
    for number in range(300):
        publisher.publish(rig.name(), str(number))
    publisher.publish(fence)
    got = [[int(message.body) for message in until_fence(wire, fence)] for wire in (subscriber, *others)]
    everything = sorted(number for some in got for number in some)
    return {"each once": everything == list(range(300)), "shared": all(len(some) > 30 for some in got), "in order": all(some == sorted(some) for some in got)}


@case
def queue_groups_beside_plain_ones(rig):
    wire = rig.wire()
    name = rig.name()
    wire.send(f"SUB {name} q 1", f"SUB {name} q 2", f"SUB {name} other 3", f"SUB {name} 4", f"SUB {rig.stem}* 5", f"PUB {name} 1", "x")
    sids = [found.sid for found in wire.until_pong()]
    return {"of the queue": len([sid for sid in sids if sid in "12"]), "others": sorted(sid for sid in sids if sid not in "12")}


@case
def queue_group_over_patterns(rig):
    wire = rig.wire()
    wire.send(f"SUB {rig.name('.a')} q 1", f"SUB {rig.name('.*')} q 2", f"SUB {rig.name('.>')} q 3", f"PUB {rig.name('.a')} 1", "x")
    return len(wire.until_pong())


@case
def queue_member_leaves(rig):
    publisher, first, fence = pair(rig)
    second = rig.wire()
    for wire in (first, second):
        wire.subscribe(rig.name(), "1", queue="q")
        wire.until_pong()
    second.send("UNSUB 1")
    second.until_pong()
    for number in range(20):
        publisher.publish(rig.name(), str(number))
    return len(heard(publisher, first, fence))


@case
def echo_off(rig):
    publisher, other, fence = pair(rig)
    wire = rig.wire(echo=False)
    for one in (wire, other):
        one.listen(rig.name())
    wire.publish(rig.name(), "x")
    own = wire.until_pong()
    wire.publish(fence, "fence")
    return {"own": len(own), "others": len(list(until_fence(other, fence)))}


@case
def echo_off_in_a_queue(rig):
    publisher, other, fence = pair(rig)
    wire = rig.wire(echo=False)
    for one in (wire, other):
        one.subscribe(rig.name(), "1", queue="q")
        one.until_pong()
    for _ in range(20):
        wire.publish(rig.name(), "x")
    wire.publish(fence, "fence")
    return len(list(until_fence(other, fence)))


@case
def no_responders(rig):
    wire = rig.wire()
    wire.subscribe("_INBOX.nobody", "1")
    wire.publish(rig.name(), "x", "_INBOX.nobody")
    wire.publish_with(rig.name(".h"), {"A": "1"}, "x", "_INBOX.nobody")
    return [found.plain() for found in wire.until_pong()]


@case
def no_responders_only_to_who_listens(rig):
    wire = rig.wire()
    wire.subscribe("_INBOX.mine", "1")
    wire.publish(rig.name(), "x", "_INBOX.other")
    wire.publish(rig.name(), "x")
    return [found.plain() for found in wire.until_pong()]


@case
def no_responders_by_wildcard(rig):
    wire = rig.wire()
    wire.subscribe("_INBOX.some.*", "1")
    wire.publish(rig.name(), "x", "_INBOX.some.one")
    return [found.plain() for found in wire.until_pong()]


@case
def no_responders_off(rig):
    wire = rig.wire(no_responders=False)
    wire.subscribe("_INBOX.off", "1")
    wire.publish(rig.name(), "x", "_INBOX.off")
    return [found.plain() for found in wire.until_pong()]


@case
def no_responders_want_headers(rig):
    return rig.wire(headers=False, no_responders=True).error()


@case
def no_responders_with_a_queue(rig):
    wire = rig.wire()
    wire.subscribe("_INBOX.q", "1")
    wire.subscribe(rig.name(), "2", queue="workers")
    wire.publish(rig.name(), "x", "_INBOX.q")
    return [found.plain() for found in wire.until_pong()]


@case
def headers(rig):
    wire = rig.wire()
    wire.subscribe(rig.name(), "1")
    blocks = ["NATS/1.0\r\n\r\n", "NATS/1.0\r\nA: 1\r\nA: 2\r\na:3\r\n\r\n", "NATS/1.0 503 Sorry\r\n\r\n", "NATS/1.0\r\nEmpty:\r\n\r\n", "NATS/1.0\r\nA:  two blanks \r\n\r\n"]
    for block in blocks:
        wire.publish_with(rig.name(), block, "body", "back")
    return [found.plain() for found in wire.until_pong()]


@case
def headers_that_are_none(rig):
    wire = rig.wire()
    wire.subscribe(rig.name(), "1")
    wire.publish_with(rig.name(), "rubbish", "body")
    return [shown(found) for found in wire.until_pong()]


@case
def headers_to_who_wants_none(rig):
    publisher, subscriber, fence = pair(rig, headers=False, no_responders=False)
    subscriber.listen(rig.name())
    publisher.publish_with(rig.name(), {"A": "1"}, "body", "back")
    return [found.plain() for found in heard(publisher, subscriber, fence)]


@case
def headers_from_who_said_none(rig):
    wire = rig.wire(headers=False, no_responders=False)
    wire.publish_with(rig.name(), {"A": "1"}, "body")
    return wire.error()


@case
def replies_are_handed_on(rig):
    publisher, subscriber, fence = pair(rig)
    subscriber.listen(rig.name())
    publisher.publish(rig.name(), "", "reply.to.me")
    publisher.publish(rig.name(), "with\r\nlines")
    return [found.plain() for found in heard(publisher, subscriber, fence)]


@case
def connect_again(rig):
    wire = rig.wire(verbose=True)
    wire.send('CONNECT {"verbose":true,"name":"again"}')
    return [wire.op(), wire.op(), wire.error()]


@case
def connect_broken(rig):
    def said(line):
        wire = rig.wire(connect=None)
        wire.send(line)
        return wire.error()

    lines = ("CONNECT {}", "CONNECT", "CONNECT {", "CONNECT []", "CONNECT {\"verbose\":1}", 'CONNECT {"protocol":7}', 'CONNECT {"protocol":-1}', "CONNECT {\"unknown\":{}}", "CONNECT null", 'CONNECT {"VERBOSE":false}', 'CONNECT {"tls_required":"x"}', 'CONNECT {"lang":null}')
    return {line: said(line) for line in lines}


@case
def without_connect(rig):
    wire = rig.wire(connect=None)
    wire.send(f"SUB {rig.name()} 1", f"PUB {rig.name()} 1", "x")
    found = []
    try:
        found = [shown(op) for op in wire.until_pong()]
    except (Closed, Late):
        found.append("closed")
    return found


@case
def many_in_one_write(rig):
    publisher, subscriber, fence = pair(rig)
    subscriber.listen(rig.name())
    publisher.send(*[line for number in range(5000) for line in (f"PUB {rig.name()} {len(str(number))}", str(number))])
    return [message.body for message in heard(publisher, subscriber, fence)] == [str(number) for number in range(5000)]


@case
def order_between_subjects(rig):
    publisher, subscriber, fence = pair(rig)
    subscriber.listen(rig.name(".>"))
    for number in range(1000):
        publisher.publish(rig.name(f".{number % 7}"), str(number))
    publisher.publish(fence)
    numbers = [message.body for message in until_fence(subscriber, fence) if message.sid == "1"]
    return numbers == [str(number) for number in range(1000)]


@case
def request_and_reply(rig):
    asker, responder = rig.wire(), rig.wire()
    responder.listen(rig.name())
    asker.subscribe("_INBOX.me", "1")
    asker.publish(rig.name(), "ping?", "_INBOX.me")
    asked = responder.message()
    responder.publish(asked.reply, "pong!")
    return asker.message().plain()


@case
def info_after_connect(rig):
    wire = rig.wire()
    wire.until_pong()
    wire.until_pong()
    names = ("connect_info", "remote_account", "acc_is_sys")
    return [{name: said[name] for name in names if name in said} for said in wire.later]


@case
def user_info(rig):
    answer = rig.request("$SYS.REQ.USER.INFO")
    said = json.loads(answer.body)
    server, data = said["server"], said["data"]
    return {"server": {name: bool(server.get(name)) for name in ("name", "host", "id", "ver", "jetstream", "flags", "time")}, **{name: data.get(name) for name in ("account", "account_name", "permissions")}}


@case
def connections_of_the_account(rig):
    server = rig.server("authorization { users = [{ user: me, password: x }] }")
    me = rig.wire(server.address, user="me", **{"pass": "x"}, name="me", lang="raw", version="1.2.3")
    me.subscribe("r", "1")
    me.subscribe("b.*", "2")
    other = rig.wire(server.address, user="me", **{"pass": "x"}, name="other")
    other.subscribe("c", "1")
    other.until_pong()

    def asked(subject, body=""):
        me.publish(subject, body, "r")
        return json.loads(me.message().body)

    page, system = "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.SERVER.PING.CONNZ"
    plain = asked(page)
    first = plain["data"]["connections"][0]
    names = lambda body, subject=page: [one["name"] for one in asked(subject, json.dumps(body))["data"]["connections"]]
    refused = lambda body: [asked(page, body).get("error", {}).get("code"), "data" in asked(page, body)]
    full = asked(system, json.dumps({"auth": True, "subscriptions": True, "sort": "subs"}))["data"]["connections"]
    return {
        "told by": {name: bool(plain["server"].get(name)) for name in ("name", "host", "id", "ver", "time")},
        "page": {name: plain["data"][name] for name in ("num_connections", "total", "offset", "limit")},
        "one": {name: first.get(name) for name in ("kind", "type", "ip", "name", "lang", "version", "subscriptions", "in_msgs", "out_msgs", "pending_bytes")},
        "fields": sorted(first),
        "full": [[one["name"], one["authorized_user"], one.get("account"), one["name_tag"], sorted(one["subscriptions_list"])] for one in full],
        "detail": asked(page, '{"subscriptions_detail": true}')["data"]["connections"][1]["subscriptions_list_detail"][0]["subject"],
        "names": [names({}), names({"sort": "subs"}), names({"offset": 1}), names({"limit": 1}), names({"limit": -1}), names({"state": 1}), names({"state": 9}), names({"user": "you"}), names({"acc": "you"}), names({"filter_subject": "c"}), names({"cid": first["cid"]}), names({"unknown": 1}, system)],
        "refused": {body: refused(body) for body in ("x", "[]", " ", '{"sort": 5}', '{"limit": 1.5}', '{"state": "open"}')},
        "wrong": [asked(page, json.dumps(body))["error"] for body in ({"sort": "size"}, {"sort": "stop"}, {"sort": "reason", "state": 2})],
        "null": asked(page, "null")["data"]["total"],
    }


@case
def sums_of_the_account(rig):
    server = rig.server("authorization { users = [{ user: me, password: x }] }")
    me = rig.wire(server.address, user="me", **{"pass": "x"})
    me.listen("r")
    gone = rig.wire(server.address, user="me", **{"pass": "x"})
    gone.publish("r", "12345")
    me.message()
    gone.close()

    def asked(body=""):
        me.publish("$SYS.REQ.ACCOUNT.PING.STATZ", body, "r")
        return json.loads(me.message().body)

    until(lambda: asked()["data"]["account_statz"][0]["conns"] == 1)
    (sums,) = asked('{"accounts": ["other"]}')["data"]["account_statz"]
    return {"account": [sums[name] for name in ("acc", "name", "conns", "leafnodes", "total_conns", "slow_consumers")], "fields": sorted(sums), "parts": sorted(sums["received"]), "has": [sums["received"]["msgs"] > 1, sums["received"]["bytes"] >= 5, sums["sent"]["msgs"] > 1], "refused": asked("x")["error"]["code"]}


@case
def requests_to_the_system_that_a_user_may_not_make(rig):
    tails = ("SERVER.PING", "SERVER.PING.STATSZ", "SERVER.PING.VARZ", "ACCOUNT.$G.CONNZ", "ACCOUNT.PING.SUBSZ", "ACCOUNT.PING.INFO", "ACCOUNT.PING.JSZ", "ACCOUNT.NSUBS")
    return {tail: rig.request("$SYS.REQ." + tail).status for tail in tails}
