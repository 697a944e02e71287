"""Connections that are encrypted, with and without a login."""

from rig import case, offsets, records, values

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@case
def tls_roundtrip(rig):
    topic = rig.topic()
    client = rig.client.encrypted(rig.arguments.tls, rig.arguments.ca)
    placed = client.produce(topic, records("a", "b", "c"))
    read = client.read(topic, 3)
    return {"placed": placed, "read": values(read), "offsets": offsets(read)}


@case
def tls_unknown_authority(rig):
    return "refused" if rig.client.distrusts(rig.arguments.tls) else "connected"


@case
def tls_logins(rig):
    verdict = lambda mechanism, password: rig.client.login(rig.arguments.sasl_tls, mechanism, "alice", password, ca=rig.arguments.ca)
    return {mechanism: [verdict(mechanism, "alice-secret"), verdict(mechanism, "guess")] for mechanism in MECHANISMS}
