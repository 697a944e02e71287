"""Messages, requests, services and logins."""

import asyncio
import ssl

import nats
import nats.micro
from nkeys import from_seed
from rig import PATIENCE, bodies, case, code, until

SEED, USER = b"SUAMK2FG4MI6UE3ACF3FK3OIQBCEIEZV7NSWFFEW63UXMRLFM2XLAXK4GY", None


async def settled(nc):
    """What was sent before is done. nats.py's PING overtakes what still waits to be written, so only the second answer shows that."""
    await nc.flush()
    await nc.flush()


async def some(subscription, count):
    return [await subscription.next_msg(PATIENCE) for _ in range(count)]


@case
async def publish_and_subscribe(rig):
    subscription = await rig.nc.subscribe(rig.name())
    await rig.nc.publish(rig.name(), b"one")
    await rig.nc.publish(rig.name(), b"")
    return bodies(await some(subscription, 2))


@case
async def subscribe_by_wildcards(rig):
    subscriptions = [await rig.nc.subscribe(rig.name(pattern)) for pattern in (".*", ".>", ".a.*")]
    await settled(rig.nc)
    for subject in ("x", "a.b", "a.b.c"):
        await rig.nc.publish(rig.name(f".{subject}"), subject.encode())
    await settled(rig.nc)
    return [bodies(await some(subscription, count)) for subscription, count in zip(subscriptions, (1, 3, 1))]


@case
async def headers_of_a_message(rig):
    subscription = await rig.nc.subscribe(rig.name())
    await rig.nc.publish(rig.name(), b"x", headers={"A": "1", "b-C": "two words"})
    (found,) = await some(subscription, 1)
    return [dict(sorted(found.headers.items())), found.data.decode()]


@case
async def large_messages(rig):
    subscription = await rig.nc.subscribe(rig.name())
    body = bytes(range(256)) * 4000
    await rig.nc.publish(rig.name(), body)
    (found,) = await some(subscription, 1)
    return [found.data == body, rig.nc.max_payload]


@case
async def queue_group_takes_each_once(rig):
    others = [await rig.connect() for _ in range(3)]
    got = [[] for _ in others]

    def taker(index):
        async def take(message):
            got[index].append(int(message.data))

        return take

    for index, nc in enumerate(others):
        await nc.subscribe(rig.name(), queue="workers", cb=taker(index))
        await settled(nc)
    for number in range(300):
        await rig.nc.publish(rig.name(), str(number).encode())

    async def all_there():
        return sum(map(len, got)) >= 300

    await until(all_there)
    return {"once": sorted(number for part in got for number in part) == list(range(300)), "all work": all(len(part) > 20 for part in got)}


@case
async def unsubscribe_after(rig):
    subscription = await rig.nc.subscribe(rig.name())
    await subscription.unsubscribe(limit=2)
    for number in range(4):
        await rig.nc.publish(rig.name(), str(number).encode())
    await settled(rig.nc)
    return bodies(await some(subscription, 2))


@case
async def request_is_answered(rig):
    async def respond(message):
        await message.respond(b"got " + message.data)

    await rig.nc.subscribe(rig.name(), cb=respond)
    asker = await rig.connect()
    return (await asker.request(rig.name(), b"this", timeout=PATIENCE)).data.decode()


@case
async def request_to_nobody(rig):
    return await code(rig.nc.request(rig.name(), b"", timeout=PATIENCE))


@case
async def request_without_an_answer(rig):
    await rig.nc.subscribe(rig.name())
    return await code(rig.nc.request(rig.name(), b"", timeout=0.2))


@case
async def many_requests_at_once(rig):
    async def respond(message):
        await message.respond(message.data)

    await rig.nc.subscribe(rig.name(), cb=respond)
    asker = await rig.connect()
    found = await asyncio.gather(*[asker.request(rig.name(), str(number).encode(), timeout=PATIENCE) for number in range(200)])
    return bodies(found) == [str(number) for number in range(200)]


@case
async def drain_takes_what_is_there(rig):
    got, nc = [], await rig.connect()

    async def take(message):
        got.append(message.data)

    await nc.subscribe(rig.name(), cb=take)
    await settled(nc)
    for _ in range(100):
        await rig.nc.publish(rig.name(), b"x")
    await settled(rig.nc)
    await settled(nc)
    await nc.drain()
    return [len(got), nc.is_closed]


@case
async def no_echo(rig):
    quiet = await rig.connect(no_echo=True)
    subscription = await quiet.subscribe(rig.name())
    await quiet.publish(rig.name(), b"own")
    await settled(quiet)
    await rig.nc.publish(rig.name(), b"other")
    return bodies(await some(subscription, 1))


@case
async def reconnects_and_goes_on(rig):
    subscription = await rig.nc.subscribe(rig.name())
    await settled(rig.nc)
    if not rig.restart():
        return None

    async def back():
        return rig.nc.is_connected and rig.nc.stats["reconnects"] >= 1

    await until(back)
    await rig.nc.flush(PATIENCE)
    await rig.nc.publish(rig.name(), b"after")
    return bodies(await some(subscription, 1))


@case
async def service_requests(rig):
    service = await nats.micro.add_service(rig.nc, name="adder", version="1.2.3", description="adds")

    async def add(request):
        if request.data == b"bad":
            await request.respond_error("400", "cannot add")
        else:
            await request.respond(str(sum(map(int, request.data.split()))).encode())

    await service.add_endpoint(name="add", subject=rig.name(), handler=add)
    await settled(rig.nc)
    asker = await rig.connect()
    good = await asker.request(rig.name(), b"1 2 3", timeout=PATIENCE)
    bad = await asker.request(rig.name(), b"bad", timeout=PATIENCE)
    await service.stop()
    return [good.data.decode(), bad.headers.get("Nats-Service-Error-Code"), bad.headers.get("Nats-Service-Error")]


@case
async def service_discovery(rig):
    import json

    name = rig.name().replace("_", "-")
    service = await nats.micro.add_service(rig.nc, name=name, version="1.2.3")

    async def nothing(request):
        await request.respond(b"")

    await service.add_endpoint(name="do", subject=rig.name(), handler=nothing)
    await settled(rig.nc)
    asker = await rig.connect()
    await asker.request(rig.name(), b"", timeout=PATIENCE)
    ask = lambda verb: asker.request(f"$SRV.{verb}.{name}", b"", timeout=PATIENCE)
    ping, info, stats = [json.loads((await ask(verb)).data) for verb in ("PING", "INFO", "STATS")]
    await service.stop()
    return {"ping": ping["version"], "info": [endpoint["name"] for endpoint in info["endpoints"]], "stats": [endpoint["num_requests"] for endpoint in stats["endpoints"]], "group": info["endpoints"][0]["queue_group"]}


async def login(rig, server, **options):
    """Whether these credentials are good for something."""
    try:
        nc = await rig.connect(server.address, allow_reconnect=False, **options)
        await nc.flush(PATIENCE)
        return "in"
    except Exception as error:
        return "refused" if "Authorization" in str(error) or "authorization" in str(error) else f"{type(error).__name__}: {error}"


@case
async def login_by_password(rig):
    server = rig.server("authorization { user: alice, password: secret }")
    return [await login(rig, server, user="alice", password="secret"), await login(rig, server, user="alice", password="no"), await login(rig, server)]


@case
async def login_by_hashed_password(rig):
    server = rig.server('authorization { user: alice, password: "$2a$04$f9pLmFkRL2i807BWBnA0nei3hdqWQa1XUcebLSdLCzmW1qpHfIvPu" }')
    return [await login(rig, server, user="alice", password="a-long-enough-secret-1"), await login(rig, server, user="alice", password="no")]


@case
async def login_by_token(rig):
    server = rig.server("authorization { token: s3cr3t }")
    return [await login(rig, server, token="s3cr3t"), await login(rig, server, token="no")]


@case
async def login_by_nkey(rig):
    key = from_seed(SEED)
    server = rig.server(f"authorization {{ users = [ {{ nkey: {key.public_key.decode()} }} ] }}")
    return [await login(rig, server, nkeys_seed_str=SEED.decode()), await login(rig, server)]


@case
async def rights_of_a_user(rig):
    server = rig.server("authorization { users = [ { user: a, password: s, permissions: { publish: [ok, \"_INBOX.>\"], subscribe: [ok, \"_INBOX.>\"] } } ] }")
    told = []

    async def note(error):
        told.append(str(error))

    nc = await rig.connect(server.address, user="a", password="s", error_cb=note)
    subscription = await nc.subscribe("ok")
    await nc.publish("other", b"")
    await settled(nc)
    await nc.publish("ok", b"fine")
    found = bodies(await some(subscription, 1))

    async def complained():
        return bool(told)

    await until(complained)
    return [found, ['permissions violation for publish to "other"' in text.lower() for text in told]]


@case
async def over_tls(rig):
    server = rig.server("tls { CERTIFICATE }")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    nc = await rig.connect(f"tls://{server.address}", tls=context)
    subscription = await nc.subscribe("a")
    await nc.publish("a", b"hidden")
    return bodies(await some(subscription, 1))
