"""The Celery app of a worker, and how it logs."""

import logging
import warnings
from typing import Any

from celery import Celery
from celery.signals import after_setup_logger, after_setup_task_logger, celeryd_init
from kombu.transport import TRANSPORT_ALIASES

from producer.config.settings import ProducerSettings, celery_settings
from producer.config.signing import register_signing
from producer.observability.log_format import format_stderr_warnings, install_line_formatter

log = logging.getLogger(__name__)

_settings = ProducerSettings.read()
register_signing(_settings.signing)
app = Celery("cutwork")
app.conf.update(celery_settings(_settings))
# For every task, Celery's own included.
app.Task.Strategy = "worker.broker.message_check:refuse_malformed"
# By name, so that `rediss://` keeps what kombu does for TLS, and logs show the broker's own URL.
TRANSPORT_ALIASES.update(
    redis="worker.broker.redis_transport:Transport",
    rediss="worker.broker.redis_transport:Transport",
)


@celeryd_init.connect
def _nothing_but_json(instance: Any, **_: object) -> None:
    if _settings.log_format == "json":
        instance.quiet = True  # Celery prints a banner.
        format_stderr_warnings()
        warnings.showwarning = _warn


def _warn(
    message: object,
    category: type[Warning],
    filename: str,
    lineno: int,
    *_: object,
    **__: object,
) -> None:
    log.warning("%s: %s (%s:%d)", category.__name__, message, filename, lineno)


@after_setup_logger.connect
@after_setup_task_logger.connect
def _tidy(logger: logging.Logger, **_: object) -> None:
    install_line_formatter(logger, form=_settings.log_format)
    # Celery would repeat every outcome in full beside our own line.
    logging.getLogger("celery.app.trace").setLevel(logging.WARNING)
    # So would libvips, of every picture it encodes.
    logging.getLogger("pyvips").setLevel(logging.WARNING)
