"""Kafka Streams: a word count, stopped and started again in its midst."""

import pathlib

from console import CONSUMER, PRODUCER, TOPICS
from rig import case, lines, until

HERE = pathlib.Path(__file__).parent


@case
def streams_word_count(rig):
    source, sink = rig.name(".lines"), rig.name(".counts")
    for topic in (source, sink):
        rig.tool(TOPICS, "--create", "--topic", topic, "--partitions", "2")
    say = lambda *texts: rig.tool(PRODUCER, "--topic", source, text="\n".join(texts) + "\n")

    def counts():
        shown = ["--formatter-property", "print.key=true", "--timeout-ms", "4000"]
        found = lines(rig.tool(CONSUMER, "--topic", sink, "--from-beginning", *shown))
        return dict(line.split("\t") for line in found if "\t" in line and line.count("\t") == 1)

    def run(state):
        program = [*rig.java("unused")[:-1], str(HERE / "WordCount.java"), rig.arguments.bootstrap, rig.name(".app"), source, sink, str(rig.folder / state)]
        return rig.start(program)

    def wait(wanted):
        return until(lambda: (found := counts()) == wanted and found, patience=90)

    first = run("state-1")
    say("all streams lead", "to kafka", "all of them")
    before = wait({"all": "2", "streams": "1", "lead": "1", "to": "1", "kafka": "1", "of": "1", "them": "1"})
    first.terminate()
    first.wait(30)
    say("hello kafka streams")
    run("state-2")  # on an empty disk: the state must come from its changelog
    after = wait(before | {"hello": "1", "kafka": "2", "streams": "2"})
    internal = sorted(line.replace("NAME.app-", "") for line in lines(rig.tool(TOPICS, "--list")) if line.startswith("NAME.app-"))
    return {"counts": after, "internal": [name.split("-")[-1] for name in internal]}
