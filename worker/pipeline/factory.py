"""The models of a process, its limits and its object store, built from its settings."""

from collections.abc import Callable
from functools import partial
from typing import Final, NoReturn

from producer.config.s3_client import open_s3
from producer.observability.events import NO_EVENTS, Events
from worker.config.access import AllowedPrefix
from worker.config.settings import ModelSettings, WorkerSettings
from worker.models.activity import Hang
from worker.models.engines.budget import Budget, machine_memory
from worker.models.engines.cache import ModelCache
from worker.models.engines.load import make_loader
from worker.models.files.download import Progress, no_progress
from worker.models.files.file_cache import FileCache
from worker.models.files.store import ModelStore, RemoteModels
from worker.models.inference import Inference
from worker.models.watchdog import Watchdog
from worker.pipeline.limits import Limits
from worker.pipeline.segment import Models
from worker.pipeline.storage import S3Storage

_BACKOFF_SECONDS: Final = 20.0
"""The longest pause of the SDK between two attempts."""


def open_file_cache(settings: ModelSettings) -> FileCache:
    """Return the cache of model files on disk."""
    return FileCache(settings.model_cache, max_bytes=settings.model_cache_bytes)


def open_store(
    settings: ModelSettings,
    *,
    remote: RemoteModels | None = None,
    local_paths: bool = False,
    progress: Progress = no_progress,
) -> ModelStore:
    """Return the store of model files; see `ModelStore` for the arguments."""
    return ModelStore(
        open_file_cache(settings),
        accepted=settings.accept_licenses,
        mirror=settings.model_mirror,
        remote=remote,
        local_paths=local_paths,
        progress=progress,
    )


def open_watchdog(
    settings: ModelSettings, *, end: Callable[[Hang], NoReturn] | None = None
) -> Watchdog:
    """Return the time limits of this process; `end` as for `Watchdog`."""
    return Watchdog(
        device_timeout=settings.device_timeout, stage_timeout=settings.stage_timeout, end=end
    )


def open_models(
    settings: ModelSettings,
    store: ModelStore,
    *,
    watchdog: Watchdog | None = None,
    events: Events = NO_EVENTS,
) -> Models:
    """Return a store with an empty cache of loaded models, which reports to `events`."""
    watchdog = watchdog or open_watchdog(settings)
    load = make_loader(
        threads=settings.threads,
        file_cache=open_file_cache(settings),
        batch=settings.batch,
        tensorrt=settings.tensorrt,
        own_engine=settings.cpu_engine == "auto",
        watch=watchdog.watch,
    )
    budget = Budget.of(
        memory=settings.model_memory,
        gpu_memory=settings.gpu_model_memory,
        gpu_idle=settings.gpu_idle_seconds,
    )
    cache = ModelCache(load, budget=budget, events=events)
    inference = Inference(cache=cache, watchdog=watchdog, events=events)
    return Models(store=store, cache=cache, inference=inference)


def open_limits(settings: ModelSettings) -> Limits:
    """Return the limits of this process."""
    return Limits.of(
        max_pixels=settings.max_pixels,
        max_matted_pixels=settings.max_matted_pixels,
        matting_seconds=settings.matting_seconds,
        # Half of the memory is for models, and an eighth for everything else.
        memory=settings.image_memory or machine_memory() * 3 // 8,
    )


def open_storage(
    settings: WorkerSettings, *, connections: int, events: Events = NO_EVENTS
) -> S3Storage:
    """Return the storage of a worker; the AWS SDK reads credentials and endpoint as usual."""
    open_client = partial(
        open_s3,
        settings,
        connect_timeout=settings.s3_connect_timeout,
        read_timeout=settings.s3_read_timeout,
        attempts=settings.s3_attempts,
        connections=connections,
    )
    client = open_client()
    return S3Storage(
        client,
        source_client=open_client(for_sources=True) if settings.has_source_store else None,
        read_from=[AllowedPrefix.parse(item) for item in settings.read_from],
        write_to=[AllowedPrefix.parse(item) for item in settings.write_to],
        models_from=[AllowedPrefix.parse(item) for item in settings.models_from],
        max_bytes=settings.max_bytes,
        put_arguments=settings.put_arguments(),
        patience=settings.s3_attempts
        * (settings.s3_connect_timeout + settings.s3_read_timeout + _BACKOFF_SECONDS),
        events=events,
    )
