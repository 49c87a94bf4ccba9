"""Serve queue metrics to Prometheus until a signal arrives."""

import logging
import signal
from functools import partial
from importlib.util import find_spec
from typing import Final

from producer.cli.terminal import give_up, refuse
from producer.client import celery_app
from producer.config.settings import ProducerSettings, SettingsError
from producer.observability.http_server import HttpServer
from producer.observability.log_format import install_line_formatter
from producer.store import queue_status
from producer.store import runs as run_ledger
from producer.store.ledger import Ledger
from producer.store.routes import Routes

_BROKER_SECONDS: Final = 2.0
"""Below a scraper's own timeout, so that the scrape reports an unavailable broker."""
_MAX_LOGGED: Final = 1000
"""The number of messages that are remembered as logged."""
_END_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT})

log = logging.getLogger(__name__)


def serve(*, host: str, port: int, images_per_second: float) -> None:
    """Serve the metrics until a signal arrives."""
    if find_spec("prometheus_client") is None:
        refuse("the exporter needs prometheus_client; install cutwork[exporter]")
    # Imported here: the other commands work without the extra.
    from producer.cli.exporter.figures import Figures
    from producer.cli.exporter.metrics import Metrics, exporter_pages

    # Before any thread starts: only this thread receives signals, in `sigwait` below.
    signal.pthread_sigmask(signal.SIG_BLOCK, _END_SIGNALS)
    try:
        settings = ProducerSettings.read()
        routes = Routes.from_app(celery_app(settings))
    except (SettingsError, ValueError) as error:
        refuse(str(error))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    install_line_formatter(logging.getLogger(), form=settings.log_format)
    for module in (queue_status, run_ledger):
        module.log.addFilter(_RepeatFilter())
    ledger = Ledger(settings.broker_url, timeout=_BROKER_SECONDS, retries=1)
    read = partial(Figures.read, ledger, routes, images_per_second=images_per_second)
    try:
        server = HttpServer(exporter_pages(Metrics(read)), host=host, port=port)
    except OSError as error:
        give_up(f"cannot listen on {host}:{port} ({error}); choose another --host or --port")
    server.start()
    log.info("listening on http://%s:%d/metrics", *server.server_address[:2])
    received = signal.sigwait(_END_SIGNALS)
    # Scrapes in progress may be cut off: Prometheus scrapes again. Nothing else needs cleanup.
    log.info("stopped by %s", signal.Signals(received).name)


class _RepeatFilter(logging.Filter):
    """Drops repeated messages: the exporter meets the same unreadable entries at every scrape."""

    def __init__(self) -> None:
        super().__init__()
        self._logged: dict[str, None] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if message in self._logged:
            return False
        if len(self._logged) >= _MAX_LOGGED:
            self._logged.pop(next(iter(self._logged)))
        self._logged[message] = None
        return True
