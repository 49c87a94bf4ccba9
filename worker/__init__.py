"""Pull images from S3, cut out the foreground, write RGBA cut-outs and masks back."""

import os
import signal
from typing import Any


def __getattr__(name: str) -> Any:
    """Let `celery -A worker` find the app, and keep `import worker.imaging` free of Celery."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if os.getpid() == 1:
        # Of a container: what has no handler does not arrive, and Celery has its own only later.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    from producer.config.settings import ProducerSettings, SettingsError

    try:
        ProducerSettings.read()  # Before kombu reads the broker's URL, and fails without its name.
        from worker.runtime.celery_app import app
        from worker.runtime.tasks import segment  # noqa: F401 - a task is known once it is imported
    except SettingsError as error:
        raise SystemExit(f"cutwork: {error}") from error
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"cutwork: a worker needs {error.name}; install cutwork[worker-cpu] or "
            "cutwork[worker-gpu]"
        ) from error
    return app
