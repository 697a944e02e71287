"""The tasks that the worker runs. Results come back over AMQP's own rpc backend: the broker carries both ways."""

import os
import time

from celery import Celery
from celery.exceptions import Reject

app = Celery("conform", broker=os.environ["CONFORM_URL"], backend="rpc://")
app.conf.update(
    task_default_queue="conform.celery",
    task_acks_late=True,
    worker_prefetch_multiplier=2,
    task_reject_on_worker_lost=True,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
)


@app.task
def add(a, b):
    return a + b


@app.task(bind=True)
def rejected_once(self):
    """Given back to the queue the first time; says whether the broker marked it when it came again."""
    redelivered = bool(self.request.delivery_info.get("redelivered"))
    if not redelivered:
        raise Reject("once", requeue=True)
    return redelivered


@app.task(bind=True, max_retries=5)
def third_time(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.05)
    return self.request.retries


@app.task
def now():
    return time.time()
