"""The remote command with which a producer asks whether a worker would refuse every such job."""

from typing import Any

from celery.worker.control import inspect_command
from pydantic import ValidationError

from producer.contract.errors import InvalidJob
from producer.contract.options import Options
from producer.store.options_check import CHECK_OPTIONS
from worker.errors import CutworkError, MalformedMessage
from worker.runtime import state


@inspect_command(name=CHECK_OPTIONS, args=[("options", dict)])
def check_options(_state: Any, options: object = None, **_: object) -> dict[str, Any]:
    """Return this worker's queues, and the code and message of a refusal if there is one."""
    runtime = state.current()
    answer: dict[str, Any] = {"queues": runtime.consumed_queues}
    try:
        given = Options.model_validate(options)
        if given.enabled:
            runtime.pipeline.models.store.check(given.model, sha256=given.model_sha256)
    except (InvalidJob, ValidationError) as error:
        return answer | {"code": MalformedMessage.code, "message": str(error)}
    except CutworkError as error:
        return answer | {"code": error.code, "message": str(error)}
    return answer
