"""Pull images from S3, cut out the foreground, write RGBA cut-outs and masks back."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Let `celery -A worker` find the app, while `import worker.mask` stays free of Celery."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from producer.settings import ProducerSettings, SettingsError

    try:
        ProducerSettings.read()  # Before kombu reads the broker's URL, and fails without its name.
        from worker.celery_app import app
        from worker.tasks import segment  # noqa: F401 - a task is known once it is imported
    except SettingsError as error:
        raise SystemExit(f"cutwork: {error}") from error
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"cutwork: a worker needs {error.name}; install cutwork[worker-cpu] or "
            "cutwork[worker-gpu]"
        ) from error
    return app
