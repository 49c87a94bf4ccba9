"""Read images from S3, cut out the foreground, and write cut-outs and masks back."""

import os
import signal
from typing import Any


def __getattr__(name: str) -> Any:
    """Import the app only for `celery -A worker`; `import worker.imaging` needs no Celery."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if os.getpid() == 1:
        # A container's first process ignores a signal that has no handler, and Celery installs its
        # handlers only later.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    from producer.config.settings import ProducerSettings, SettingsError

    try:
        # Unlike kombu's errors, those of the settings name the variable with the broker's URL.
        ProducerSettings.read()
        from worker.runtime import checks, lifecycle, tasks  # noqa: F401 - importing registers them
        from worker.runtime.celery_app import app
    except SettingsError as error:
        raise SystemExit(f"cutwork: {error}") from error
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"cutwork: a worker needs the package {error.name}; install cutwork[worker-cpu] or "
            "cutwork[worker-gpu]"
        ) from error
    return app
