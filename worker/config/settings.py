"""The worker's settings, read from `CUTWORK_*` variables once, at the edge."""

from pathlib import Path
from typing import Annotated, Literal

from platformdirs import user_cache_path
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from producer.config.settings import EnvironmentSettings, ProducerSettings
from worker.config.access import AllowedPrefix


def _items(value: object) -> object:
    """Split a comma-separated variable."""
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return value


def _prefixes(items: tuple[str, ...]) -> tuple[str, ...]:
    for item in items:
        AllowedPrefix.parse(item)
    return items


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_items)]
Prefixes = Annotated[Names, AfterValidator(_prefixes)]


class ModelSettings(EnvironmentSettings):
    """What running a model takes, with or without a queue."""

    model_cache: Path = Field(
        default_factory=lambda: user_cache_path("cutwork") / "models",
        description="Folder for model files, shared by all workers of a machine.",
    )
    model_mirror: str | None = Field(
        default=None,
        pattern=r"^(https?://|file://|/)",
        description="Folder or URL tried before a catalogue model's own sources.",
    )
    model_cache_bytes: int = Field(
        default=20 * 2**30,
        ge=1,
        description="Bytes model files may fill; above, the least recently used go.",
    )
    accept_licenses: Names = Field(
        default=(), description="Licences with restrictions that you accept, by their ids."
    )
    model_memory: int = Field(
        default=0,
        ge=0,
        description="Bytes of RAM that loaded models may fill; 0 = half of it.",
    )
    gpu_model_memory: int = Field(
        default=0,
        ge=0,
        description="Bytes of GPU memory that loaded models may fill; 0 = half of it.",
    )
    gpu_idle_seconds: float = Field(
        default=60,
        ge=0,
        le=86_400,
        description="Seconds an idle model stays on the GPU under `auto`.",
    )
    batch: int = Field(
        default=4, ge=1, le=64, description="Images a GPU runs at once, at most; a CPU runs one."
    )
    tensorrt: bool = Field(
        default=False,
        description="Run ONNX models in TensorRT on a GPU; the first load takes minutes.",
    )
    device_timeout: float = Field(
        default=300,
        gt=0,
        le=86_400,
        description="Seconds a device may take for a batch or a load; then the process ends.",
    )
    image_memory: int = Field(
        default=0,
        ge=0,
        description="Bytes of RAM that images in flight may fill; 0 = three eighths of it.",
    )
    max_pixels: int = Field(
        default=100_000_000, ge=1, description="Largest image, in pixels, that is decoded."
    )
    max_matted_pixels: int = Field(
        default=24_000_000,
        ge=1,
        description="Largest image, in pixels, that is matted.",
    )
    matting_seconds: float = Field(
        default=60,
        gt=0,
        le=86_400,
        description="Seconds after which matting ends with what it has.",
    )
    threads: int = Field(
        default=0, ge=0, le=1024, description="Threads of one inference on a CPU; 0 = every core."
    )
    cpu_engine: Literal["auto", "onnxruntime"] = Field(
        default="auto",
        description="What runs ONNX models on a CPU: `onnxruntime`, or `auto`, ours where it can.",
    )


class WorkerSettings(ModelSettings, ProducerSettings):
    """What a worker needs to know."""

    read_from: Prefixes = Field(
        min_length=1, description="Prefixes images may be read from, separated by commas."
    )
    write_to: Prefixes = Field(
        min_length=1, description="Prefixes results may be written to, separated by commas."
    )
    models_from: Prefixes = Field(
        default=(), description="Prefixes models may be loaded from; none by default."
    )
    max_bytes: int = Field(
        default=512 * 2**20, ge=1, description="Largest source object, in bytes, that is fetched."
    )
    preload: Names = Field(default=(), description="Models to load before the first job is taken.")
    takes: Names = Field(
        default=(),
        description="Classes of jobs to take; none: all it can do, but for those too large.",
    )
    max_attempts: int = Field(
        default=4, ge=1, le=20, description="Times a job is tried while errors may pass."
    )
    max_deliveries: int = Field(
        default=3,
        ge=1,
        le=100,
        description="Workers a job may end before it is given up.",
    )
    grace: float = Field(
        default=60,
        ge=0,
        le=86_400,
        description="Seconds from SIGTERM until what is unfinished is given back.",
    )
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65_535,
        description="Port for /metrics, /healthz and /readyz; 0 = none.",
    )
    metrics_host: str = Field(
        default="127.0.0.1", min_length=1, description="Address of that port; 0.0.0.0 for all."
    )
    outcome_ttl: int = Field(
        default=86_400, ge=60, le=31_536_000, description="Seconds an outcome is kept."
    )
    s3_connect_timeout: float = Field(
        default=5, gt=0, le=3600, description="Seconds to connect to S3."
    )
    s3_read_timeout: float = Field(
        default=30, gt=0, le=3600, description="Seconds S3 may stay silent."
    )
    s3_attempts: int = Field(default=4, ge=1, le=20, description="Times one S3 call is tried.")
