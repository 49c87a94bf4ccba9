"""Ask the workers whether they would refuse every job with certain options."""

from typing import Any, Final, NamedTuple

from celery import Celery

from producer.contract.options import Options
from producer.store.routes import Routes

CHECK_OPTIONS: Final = "cutwork_check_options"
"""The name of the workers' remote command. Workers of earlier releases do not have it."""
_SECONDS: Final = 1.0


class Refusal(NamedTuple):
    """Why every job with these options would fail."""

    code: str
    message: str
    """What was expected, what was found, and what to do."""


def ask_workers(app: Celery, options: Options, tenant: str | None) -> tuple[int, Refusal | None]:
    """Return how many workers answered for a run's queue, and their refusal if all of them refuse.

    Takes a second. Raises the errors of the broker.
    """
    queue = Routes.from_app(app).bulk_queue(options, tenant)
    arguments = {"options": options.model_dump(mode="json", exclude_defaults=True)}
    replies: Any = app.control.broadcast(
        CHECK_OPTIONS, arguments=arguments, reply=True, timeout=_SECONDS
    )
    answers = [
        answer
        for reply in replies or []
        for answer in reply.values()
        if isinstance(answer, dict) and queue in (answer.get("queues") or ())
    ]
    refusals = [
        Refusal(str(answer["code"]), str(answer.get("message")))
        for answer in answers
        if answer.get("code")
    ]
    is_refused = bool(refusals) and len(refusals) == len(answers)
    return len(answers), refusals[0] if is_refused else None
