"""Stands between a client and a broker and keeps what the client says: one file per API and version, for the tests of the codec.

    python3 conform/kafka/record.py --listen 9292 --broker 127.0.0.1:9192 --client librdkafka [--into kafka/tests/golden]

The broker must advertise the proxy's port (`KAFKA_ADVERTISED_PORT=9292 peers/kafka.sh start`). A file holds one request without its length:
header and body, as it came. Of several requests of one API and version the longest up to BYTES_MAX is kept: it says most. Ends with ctrl-c.
"""

import argparse
import pathlib
import socket
import struct
import threading

BYTES_MAX = 2048
BROKER = (b"broker-1-", b"AddPartitionsManager-client-1")  # client ids under which the broker talks to itself through the advertised port
APIS = {
    0: "produce", 1: "fetch", 2: "list_offsets", 3: "metadata", 8: "offset_commit", 9: "offset_fetch", 10: "find_coordinator",
    11: "join_group", 12: "heartbeat", 13: "leave_group", 14: "sync_group", 15: "describe_groups", 16: "list_groups",
    17: "sasl_handshake", 18: "api_versions", 19: "create_topics", 20: "delete_topics", 21: "delete_records", 22: "init_producer_id",
    23: "offset_for_leader_epoch", 24: "add_partitions_to_txn", 25: "add_offsets_to_txn", 26: "end_txn", 28: "txn_offset_commit",
    29: "describe_acls", 30: "create_acls", 31: "delete_acls", 32: "describe_configs", 33: "alter_configs", 35: "describe_log_dirs",
    36: "sasl_authenticate", 37: "create_partitions", 42: "delete_groups", 43: "elect_leaders", 44: "incremental_alter_configs",
    45: "alter_partition_reassignments", 46: "list_partition_reassignments", 47: "offset_delete", 48: "describe_client_quotas",
    49: "alter_client_quotas", 50: "describe_user_scram_credentials", 51: "alter_user_scram_credentials", 55: "describe_quorum",
    57: "update_features", 60: "describe_cluster", 61: "describe_producers", 65: "describe_transactions", 66: "list_transactions",
    68: "consumer_group_heartbeat", 69: "consumer_group_describe", 71: "get_telemetry_subscriptions", 72: "push_telemetry",
    74: "list_config_resources", 75: "describe_topic_partitions",
}  # fmt: skip


def keep(folder, request):
    key, version, _, name_bytes = struct.unpack_from(">hhih", request)
    if request[10 : 10 + max(name_bytes, 0)].startswith(BROKER):
        return
    path = folder / f"{APIS.get(key, f'api_{key}')}-v{version}.bin"
    old = path.stat().st_size if path.exists() else 0
    if old < len(request) <= BYTES_MAX:
        path.write_bytes(request)


def exactly(stream, count):
    parts = []
    while count:
        part = stream.recv(min(count, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def requests(client, broker, folder):
    """What the client says: kept, then handed on."""
    try:
        while True:
            length = exactly(client, 4)
            request = exactly(client, struct.unpack(">i", length)[0])
            keep(folder, request)
            broker.sendall(length + request)
    except (EOFError, OSError):
        close(client, broker)


def answers(client, broker):
    try:
        while data := broker.recv(1 << 16):
            client.sendall(data)
    except OSError:
        pass
    close(client, broker)


def close(*streams):
    for stream in streams:
        try:
            stream.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other direction was faster


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", type=int, default=9292)
    parser.add_argument("--broker", default="127.0.0.1:9192")
    parser.add_argument("--client", required=True)
    parser.add_argument("--into", type=pathlib.Path, default=pathlib.Path("kafka/tests/golden"))
    arguments = parser.parse_args()
    folder = arguments.into / arguments.client
    folder.mkdir(parents=True, exist_ok=True)
    host, port = arguments.broker.rsplit(":", 1)
    listener = socket.create_server(("127.0.0.1", arguments.listen))
    while True:
        client, _ = listener.accept()
        broker = socket.create_connection((host, int(port)))
        threading.Thread(target=requests, args=(client, broker, folder), daemon=True).start()
        threading.Thread(target=answers, args=(client, broker), daemon=True).start()


try:
    main()
except KeyboardInterrupt:
    pass
