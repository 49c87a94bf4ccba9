"""The worker's Celery app and its logging."""

import logging
import os
import sys
import warnings
from typing import Any

from celery import Celery
from celery.app.trace import setup_worker_optimizations
from celery.signals import after_setup_logger, after_setup_task_logger, celeryd_init

from producer.config.settings import ProducerSettings, SettingsError, celery_settings
from producer.config.signing import register_signing
from producer.observability.log_format import format_stderr_warnings, install_line_formatter
from worker.broker import celery_patches, kombu_patches
from worker.runtime import outage_log
from worker.runtime.start_options import check_options, unique_node_name

log = logging.getLogger(__name__)

format_stderr_warnings()  # Celery sets up the log later.
_settings = ProducerSettings.read()
register_signing(_settings.signing)
app = Celery("cutwork")
app.conf.update(celery_settings(_settings))
kombu_patches.install()
celery_patches.install(app)
outage_log.install()


@celeryd_init.connect
def _apply_options(instance: Any, options: dict[str, Any], **_: object) -> None:
    try:
        # Celery passes the number on to its pool alone.
        app.conf.worker_concurrency = check_options(options, sys.argv)
    except SettingsError as error:
        raise SystemExit(f"cutwork: {error}") from error
    instance.hostname = unique_node_name(instance.hostname, pid=os.getpid())
    # Celery has just done this with the name from before.
    setup_worker_optimizations(app, instance.hostname)


@celeryd_init.connect
def _log_only_json(instance: Any, **_: object) -> None:
    if _settings.log_format == "json":
        instance.quiet = True  # Celery would print a banner.
        format_stderr_warnings()
        warnings.showwarning = _log_warning


def _log_warning(
    message: object, category: type[Warning], filename: str, lineno: int, *_: object, **__: object
) -> None:
    log.warning("%s: %s (%s:%d)", category.__name__, message, filename, lineno)


@after_setup_logger.connect
@after_setup_task_logger.connect
def _set_up_logger(logger: logging.Logger, **_: object) -> None:
    install_line_formatter(logger, form=_settings.log_format)
    # Celery would log every outcome in full in addition to the line that the task logs.
    logging.getLogger("celery.app.trace").setLevel(logging.WARNING)
