"""An authority (client.pem), a server's certificate, and those of two clients, for the cases that speak TLS: certificates.py DIRECTORY."""

import pathlib
import sys

import trustme

home = pathlib.Path(sys.argv[1])
authority = trustme.CA()
authority.cert_pem.write_to_path(home / "client.pem")


def issue(name, *identities, **subject):
    issued = authority.issue_cert(*identities, **subject)
    issued.private_key_pem.write_to_path(home / f"{name}.key")
    for n, piece in enumerate(issued.cert_chain_pems):
        piece.write_to_path(home / f"{name}.pem", append=n > 0)


issue("server", "127.0.0.1", "localhost")
for client in ("conform-client", "conform-stranger"):
    issue(client, client, common_name=client, organization_name="Acme, Inc")
