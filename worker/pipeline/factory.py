"""The models of a process and its limits, built from its settings."""

from producer.observability.events import NO_EVENTS, Events
from worker.config.settings import ModelSettings
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


def open_watchdog(settings: ModelSettings) -> Watchdog:
    """Return the time limits of this process."""
    return Watchdog(device_timeout=settings.device_timeout, stage_timeout=settings.stage_timeout)


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
