"""Programs as children: Kafka's own command line tools on a class path, kcat, and what they print without what differs between two runs."""

import pathlib
import subprocess
import tempfile
import time

PATIENCE = 60  # seconds; a JVM may be slow to start
CASES = {}
# What Kafka 3's tools call otherwise.
KAFKA_3 = {
    "org.apache.kafka.tools.AclCommand": "kafka.admin.AclCommand",
    "org.apache.kafka.tools.BrokerApiVersionsCommand": "kafka.admin.BrokerApiVersionsCommand",
    "org.apache.kafka.tools.ConsoleProducer": "kafka.tools.ConsoleProducer",
    "--formatter-property": "--property",
    "--reader-property": "--property",
}


def case(function):
    """Register a case under the function's name; its module says of which family it is."""
    CASES.setdefault(function.__module__, {})[function.__name__] = function
    return function


class Rig:
    """One case's view of the broker."""

    def __init__(self, name, arguments):
        self.arguments = arguments
        self.stem = f"{name.replace('_', '-')}-{time.time_ns() // 1000000:x}"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="conform-kafka-"))
        self.running = []

    def name(self, suffix=""):
        return self.stem + suffix

    def java(self, program, *words, heap="128m"):
        otherwise = KAFKA_3 if self.arguments.family == "tools-3" else {}
        called = [otherwise.get(word, word) for word in (program, *words)]
        return ["java", f"-Xmx{heap}", "-XX:TieredStopAtLevel=1", "-cp", self.arguments.classpath, *called]

    def run(self, command, text="", patience=PATIENCE):
        """What it prints on both channels."""
        done = subprocess.run(command, input=text, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=patience)
        return done.stdout.replace(self.stem, "NAME")

    def tool(self, program, *words, text=""):
        """One of Kafka's tools, told where the broker is."""
        return self.run(self.java(program, "--bootstrap-server", self.arguments.bootstrap, *words), text)

    def start(self, command):
        """A program that runs beside the case until its end."""
        log = (self.folder / f"out-{len(self.running)}").open("w")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.running.append(process)
        return process

    def file(self, name, content):
        path = self.folder / name
        path.write_text(content)
        return path

    def close(self):
        for process in self.running:
            process.terminate()
        for process in self.running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        for path in sorted(self.folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self.folder.rmdir()


def lines(text):
    """Without what a tool advertises."""
    return [line.strip() for line in text.splitlines() if line.strip() and "KIP-848" not in line]


def until(happened, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while not (found := happened()):
        if time.monotonic() > deadline:
            raise RuntimeError("late")
        time.sleep(0.2)
    return found
