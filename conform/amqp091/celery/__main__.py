"""A Celery worker and its client on one broker. Prints one line of JSON per case, as the pika script does.

The worker is a process of its own, started as anybody starts it: `celery -A tasks worker`.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time
import traceback

PATIENCE = 60  # seconds until the worker must have answered


def celery_tasks(tasks):
    results = [tasks.add.delay(number, number) for number in range(200)]
    return {"done": sum(result.get(timeout=PATIENCE) == 2 * number for number, result in enumerate(results))}


def celery_acks_late(tasks):
    results = [tasks.rejected_once.delay() for _ in range(10)]
    return {"redelivered": sum(result.get(timeout=PATIENCE) for result in results)}


def celery_retries(tasks):
    results = [tasks.third_time.delay() for _ in range(10)]
    return {"retries": sorted(result.get(timeout=PATIENCE) for result in results)}


def celery_eta(tasks):
    asked = time.time()
    results = [tasks.now.apply_async(countdown=1) for _ in range(5)]
    return {"not_before": sum(result.get(timeout=PATIENCE) >= asked + 1 for result in results)}


CASES = [celery_tasks, celery_acks_late, celery_retries, celery_eta]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--tls-url")
    parser.add_argument("--ca")
    parser.add_argument("--only")
    arguments = parser.parse_args()
    only = arguments.only.split(",") if arguments.only else [case.__name__ for case in CASES]
    os.environ["CONFORM_URL"] = arguments.url
    here = pathlib.Path(__file__).parent
    command = [sys.executable, "-B", "-m", "celery", "--quiet", "-A", "tasks", "worker", "--pool", "threads", "--concurrency", "4", "--loglevel", "CRITICAL"]
    worker = subprocess.Popen(command, cwd=here, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    try:
        import tasks

        tasks.app.control.purge()
        for case in (case for case in CASES if case.__name__ in only):
            try:
                answer = case(tasks)
            except Exception as error:  # a case that breaks is an answer that differs
                traceback.print_exc()
                answer = {"broken": f"{type(error).__name__}: {error}"}
            print(json.dumps({"case": case.__name__, "answer": answer}), flush=True)
    finally:
        worker.terminate()
        worker.wait(timeout=PATIENCE)


main()
