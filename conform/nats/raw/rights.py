"""Who may come in, and who may say and hear what: servers with users of the case's own."""

import base64
import json
import signal

import nkeys

from rig import case
from wire import Closed, Wire, until

ALICE = 'authorization { users = [ { user: alice, password: secret, permissions: PERMISSIONS } ] }'


def comes_in(server, **said):
    """What a login is answered."""
    wire = Wire(server.address, said)
    try:
        return wire.error()
    finally:
        wire.close()


def as_alice(rig, permissions):
    """A server on which alice may do only this, and her connection."""
    server = rig.server(ALICE.replace("PERMISSIONS", permissions))
    return rig.wire(server.address, user="alice", **{"pass": "secret"})


def told(wire, *lines):
    """The complaints about these lines, and whether the connection goes on."""
    wire.send(*lines)
    return [found[1] if found[0] == "-ERR" else found[0] for found in (op if isinstance(op, list) else ["message"] for op in wire.until_pong())]


@case
def login_with_a_password(rig):
    server = rig.server("authorization { user: alice, password: secret }")
    info = rig.wire(server.address, connect=None).info
    return {"asked": info.get("auth_required"), "right": comes_in(server, user="alice", **{"pass": "secret"}), "wrong": comes_in(server, user="alice", **{"pass": "no"}), "none": comes_in(server), "other": comes_in(server, user="bob", **{"pass": "secret"})}


@case
def login_with_a_token(rig):
    server = rig.server('authorization { token: "s3cr3t" }')
    return {"right": comes_in(server, auth_token="s3cr3t"), "wrong": comes_in(server, auth_token="no"), "none": comes_in(server)}


@case
def login_with_bcrypt(rig):
    hashed = "$2a$04$f9pLmFkRL2i807BWBnA0nei3hdqWQa1XUcebLSdLCzmW1qpHfIvPu"
    server = rig.server(f'authorization {{ user: alice, password: "{hashed}" }}')
    said = {"right": "a-long-enough-secret-1", "wrong": "no", "the hash itself": hashed}
    return {what: comes_in(server, user="alice", **{"pass": password}) for what, password in said.items()}


@case
def user_info_of_a_user(rig):
    """What she may do is listed, in no order."""
    rights = '{ publish: { allow: ["a.>", "$SYS.REQ.USER.INFO"], deny: "a.b" }, subscribe: { allow: ["_INBOX.>", "c", "d q"], deny: ["c.*"] }, allow_responses: { max: 3, expires: "2s" } }'
    wire = as_alice(rig, rights)
    wire.send("SUB _INBOX.1 1", "PUB $SYS.REQ.USER.INFO _INBOX.1 0", "")
    data = json.loads(wire.message().body)["data"]
    sorted_of = lambda grant: {name: sorted(filters) for name, filters in grant.items()}
    permissions = {name: sorted_of(of) if name != "responses" else of for name, of in data["permissions"].items()}
    return {**data, "permissions": permissions}


@case
def login_by_several_users(rig):
    server = rig.server('authorization { users = [ { user: a, password: "1" }, { user: b, password: "2" } ] }')
    return [comes_in(server, user=user, **{"pass": password}) for user, password in (("a", "1"), ("b", "2"), ("a", "2"))]


@case
def login_asked_with_a_nonce(rig):
    server = rig.server('authorization { users = [ { nkey: "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4" } ] }')
    info = rig.wire(server.address, connect=None).info
    return {"nonce": len(info["nonce"]), "unsigned": comes_in(server, nkey="UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"), "badly signed": comes_in(server, nkey="UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4", sig=base64.urlsafe_b64encode(b"x" * 64).decode().rstrip("=")), "unknown": comes_in(server, nkey="UA" + "A" * 54)}


@case
def login_signed_with_an_nkey(rig):
    key = nkeys.from_seed(b"SUAMK2FG4MI6UE3ACF3FK3OIQBCEIEZV7NSWFFEW63UXMRLFM2XLAXK4GY")
    public = key.public_key.decode()
    server = rig.server(f"authorization {{ users = [ {{ nkey: {public} }} ] }}")
    wire = Wire(server.address, None)
    sign = lambda nonce: base64.urlsafe_b64encode(key.sign(nonce.encode())).decode().rstrip("=")
    wire.send("CONNECT " + json.dumps({"nkey": public, "sig": sign(wire.info["nonce"]), "verbose": True}))
    right = wire.op()
    other = Wire(server.address, None)
    other.send("CONNECT " + json.dumps({"nkey": public, "sig": sign(wire.info["nonce"])}))
    return {"right": right, "of another nonce": other.error(), "nonces differ": wire.info["nonce"] != other.info["nonce"]}


@case
def login_too_late(rig):
    server = rig.server("authorization { user: alice, password: secret, timeout: 0.3 }")
    wire = rig.wire(server.address, connect=None)
    return wire.rest()


@case
def login_before_anything(rig):
    server = rig.server("authorization { user: alice, password: secret }")
    wire = rig.wire(server.address, connect=None)
    wire.send("SUB x 1")
    return wire.error()


@case
def nobody_in_particular(rig):
    server = rig.server("no_auth_user: guest\nauthorization { users = [ { user: guest, password: x, permissions: { publish: ok } } ] }")
    wire = rig.wire(server.address)
    return told(wire, "PUB ok 0", "", "PUB other 0", "")


@case
def may_publish(rig):
    wire = as_alice(rig, '{ publish: { allow: ["a.*", "b.>"], deny: "a.no" } }')
    return {subject: told(wire, f"PUB {subject} 0", "") for subject in ("a.x", "a.no", "b.c.d", "c", "a")}


@case
def may_subscribe(rig):
    wire = as_alice(rig, '{ subscribe: { allow: ["a.*", "q work"], deny: ["a.no"] } }')
    return {subject: told(wire, f"SUB {subject} 1") for subject in ("a.x", "a.no", "a.*", "c", ">", "q work", "q other", "q")}


@case
def denied_messages_are_held_back(rig):
    server = rig.server('authorization { users = [ { user: alice, password: s, permissions: { subscribe: { allow: ">", deny: "a.no" } } }, { user: bob, password: s } ] }')
    alice, bob = rig.wire(server.address, user="alice", **{"pass": "s"}), rig.wire(server.address, user="bob", **{"pass": "s"})
    alice.listen("a.*")
    for subject in ("a.yes", "a.no", "a.end"):
        bob.publish(subject)
    return [message.subject for message in alice.messages(2)]


@case
def may_answer(rig):
    server = rig.server('authorization { users = [ { user: alice, password: s, permissions: { subscribe: "work", publish: { deny: ">" }, allow_responses: { max: 2, expires: "1m" } } }, { user: bob, password: s } ] }')
    alice, bob = rig.wire(server.address, user="alice", **{"pass": "s"}), rig.wire(server.address, user="bob", **{"pass": "s"})
    alice.listen("work")
    bob.subscribe("_INBOX.bob", "1")
    bob.publish("work", "do", "_INBOX.bob")
    asked = alice.message()
    answers = [told(alice, f"PUB {asked.reply} 1", str(number)) for number in range(3)]
    return [answers, [message.body for message in bob.messages(2)], told(alice, "PUB elsewhere 0", "")]


@case
def default_permissions(rig):
    server = rig.server('authorization { default_permissions: { publish: "open", subscribe: "open" }, users = [ { user: a, password: s }, { user: b, password: s, permissions: { publish: "mine" } } ] }')
    a, b = rig.wire(server.address, user="a", **{"pass": "s"}), rig.wire(server.address, user="b", **{"pass": "s"})
    return [told(a, "PUB open 0", "", "PUB mine 0", "", "SUB open 1", "SUB x 2"), told(b, "PUB open 0", "", "PUB mine 0", "", "SUB x 2")]


@case
def replies_may_be_denied(rig):
    wire = as_alice(rig, '{ publish: { allow: "a" } }')
    wire.send("SUB _INBOX.x 1")
    return told(wire, "PUB a _INBOX.x 0", "")


@case
def accounts_are_apart(rig):
    server = rig.server("accounts { A { users = [ { user: a, password: s } ] }, B { users = [ { user: b, password: s } ] } }")
    a, again, b = [rig.wire(server.address, user=user, **{"pass": "s"}) for user in "aab"]
    for wire in (again, b):
        wire.listen(">")
    a.publish("secret", "x")
    seen = again.message().body
    b.publish("own", "y")
    return [seen, b.message().subject]


@case
def accounts_have_streams_of_their_own(rig):
    server = rig.server("jetstream { store_dir: \"STORE\" }\naccounts { A { jetstream: enabled, users = [ { user: a, password: s } ] }, B { jetstream: enabled, users = [ { user: b, password: s } ] }, C { users = [ { user: c, password: s } ] } }")

    def ask(user, subject, payload=""):
        wire = rig.wire(server.address, user=user, **{"pass": "s"})
        wire.subscribe("_INBOX.x", "1")
        wire.publish("$JS.API." + subject, payload, "_INBOX.x")
        answer = wire.message()
        found = json.loads(answer.body) if answer.body else {"status": answer.status}
        return found.get("error") or found.get("status") or found.get("streams", "ok")

    config = json.dumps({"name": "S", "subjects": ["s"]})
    return [ask("a", "STREAM.CREATE.S", config), ask("b", "STREAM.NAMES"), ask("b", "STREAM.CREATE.S", config), ask("a", "STREAM.NAMES"), ask("c", "INFO")]


@case
def account_limits(rig):
    server = rig.server("jetstream { store_dir: \"STORE\" }\naccounts { A { jetstream { max_mem: 1MB, max_file: 2MB, max_streams: 1, max_consumers: 1 }, users = [ { user: a, password: s } ] } }")
    wire = rig.wire(server.address, user="a", **{"pass": "s"})
    wire.subscribe("_INBOX.x", "1")

    def ask(subject, payload=None):
        wire.publish("$JS.API." + subject, json.dumps(payload) if payload else "", "_INBOX.x")
        return json.loads(wire.message().body)

    limits = ask("INFO")["limits"]
    first = ask("STREAM.CREATE.S", {"name": "S", "subjects": ["s"]}).get("error")
    return [limits, first, ask("STREAM.CREATE.T", {"name": "T", "subjects": ["t"]}).get("error")]


@case
def without_jetstream(rig):
    server = rig.server("")
    wire = rig.wire(server.address)
    wire.subscribe("_INBOX.x", "1")
    wire.publish("$JS.API.INFO", "", "_INBOX.x")
    return [wire.info.get("jetstream"), wire.message().status]


@case
def users_are_read_again(rig):
    server = rig.server("authorization { users = [ { user: a, password: one } ] }")
    wire = rig.wire(server.address, user="a", **{"pass": "one"})
    before = comes_in(server, user="a", **{"pass": "two"})
    server.write("authorization { users = [ { user: a, password: two } ] }")
    server.signal(signal.SIGHUP)
    until(lambda: comes_in(server, user="a", **{"pass": "two"}) == [None, "open"])
    try:
        rest = wire.rest()
    except Closed:
        rest = "closed"
    return {"before": before, "old": comes_in(server, user="a", **{"pass": "one"}), "whoever was there": rest, "said": "Reloaded server configuration" in server.output()}
