"""A server with a configuration of a case's own, started as a user starts nats-server. Used by the scripts in Python."""

import json
import pathlib
import shlex
import signal
import socket
import subprocess
import tempfile
import time
import traceback
import urllib.request

PATIENCE = 60.0  # seconds; how long a start, an end or a page may take


class Server:
    """A server of a case's own, started as a user starts nats-server."""

    def __init__(self, arguments, config, words=(), certificates=False):
        if not arguments.server:
            raise Unable()
        self.folder = tempfile.TemporaryDirectory(prefix="conform-nats-")
        home = pathlib.Path(self.folder.name)
        self.port, self.http = free_port(), free_port()
        tls = f'cert_file: "{arguments.tls}/server.pem", key_file: "{arguments.tls}/server.key"'
        self.config = home / "server.conf"
        self.write(config.replace("CERTIFICATE", tls).replace("STORE", str(home / "store")))
        self.log = open(home / "log", "w+")
        command = [*shlex.split(arguments.server), "-c", str(self.config), "-a", "127.0.0.1", "-p", str(self.port), "-m", str(self.http), *words]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT, cwd=home)
        self.address = f"127.0.0.1:{self.port}"
        self.home = home
        self._wait()

    def _wait(self):
        deadline = time.monotonic() + PATIENCE
        while not self._up():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server does not listen: {self.output()[-600:]}")
            time.sleep(0.02)

    def write(self, config):
        self.config.write_text(config + "\n")

    def _up(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the server ended with {self.process.returncode}: {self.output()[-600:]}")
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def output(self):
        return pathlib.Path(self.log.name).read_text()

    def signal(self, number):
        self.process.send_signal(number)

    def get(self, path):
        """A page of its monitoring."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=PATIENCE) as answer:
            return json.loads(answer.read())

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.folder.cleanup()


def broken(error):
    """The answer of a case that broke, and how it came to that, for whom it surprises."""
    return {"answer": {"broken": f"{type(error).__name__}: {error}"}, "why": "".join(traceback.format_exception(error))}


class Unable(Exception):
    """Nobody said how to start a server."""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
