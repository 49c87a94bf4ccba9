"""The worker's settings, read once from the environment variables `CUTWORK_*`."""

from pathlib import Path
from typing import Annotated, Literal

from platformdirs import user_cache_path
from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, StringConstraints
from pydantic_settings import NoDecode, SettingsConfigDict

from producer.config.s3_settings import S3Settings
from producer.config.settings import EnvironmentSettings, ProducerSettings
from worker.config.access import AllowedPrefix


def _items(value: object) -> object:
    """Split the value of a variable at its commas."""
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return value


def _prefixes(items: tuple[str, ...]) -> tuple[str, ...]:
    for item in items:
        AllowedPrefix.parse(item)
    return items


def _not_archive(name: str) -> str:
    if name in ("GLACIER", "DEEP_ARCHIVE"):
        raise ValueError("expected a class whose objects can be read at once, such as GLACIER_IR")
    return name


StorageClass = Annotated[
    str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_-]*$"), AfterValidator(_not_archive)
]
CannedAcl = Literal[
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
]
Count = Annotated[int, Field(ge=1)]
Attempts = Annotated[int, Field(ge=1, le=20)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_items)]
Prefixes = Annotated[Names, AfterValidator(_prefixes)]


class ModelSettings(EnvironmentSettings):
    """The settings for running models, with or without a queue.

    The docstring of a field is its description in the reference.
    """

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    model_cache: Path = Field(default_factory=lambda: user_cache_path("cutwork") / "models")
    """Folder of the model files, shared by all workers of a machine."""
    model_mirror: str | None = Field(default=None, pattern=r"^(https?://|file://|/)")
    """Folder or URL that is tried before a catalogue model's own sources."""
    model_cache_bytes: Count = 20 * 2**30
    """Largest size of that folder, in bytes; least recently used files go first."""
    accept_licenses: Names = ()
    """Ids of restrictive model licences that you accept, separated by commas."""
    model_memory: NonNegativeInt = 0
    """Bytes of RAM for loaded models; 0 means half of the RAM."""
    gpu_model_memory: NonNegativeInt = 0
    """Bytes of GPU memory for loaded models; 0 means half of the GPU's memory."""
    gpu_idle_seconds: float = Field(default=60, ge=0, le=86_400)
    """Seconds that an idle model stays on the GPU in the device mode `auto`."""
    batch: int = Field(default=4, ge=1, le=64)
    """Largest batch size on a GPU, in images; a CPU runs one image at a time."""
    tensorrt: bool = False
    """Whether GPUs run ONNX models with TensorRT; first loads then take minutes."""
    device_timeout: float = Field(default=300, gt=0, le=86_400)
    """Seconds that a device may take for a batch or a load before the process ends."""
    image_memory: NonNegativeInt = 0
    """Bytes of RAM for images of running jobs; 0 means three eighths of the RAM."""
    max_pixels: Count = 100_000_000
    """Largest image that is decoded, in pixels."""
    max_matted_pixels: Count = 24_000_000
    """Largest image for alpha matting, in pixels."""
    stage_timeout: float = Field(default=300, gt=0, le=86_400)
    """Seconds that a stage of a job may take; then the job ends, or the process if it hangs."""
    matting_seconds: float = Field(default=60, gt=0, le=86_400)
    """Seconds after which alpha matting stops and returns its result so far."""
    threads: int = Field(default=0, ge=0, le=1024)
    """Threads of one inference on a CPU; 0 means one per core."""
    cpu_engine: Literal["auto", "onnxruntime"] = "auto"
    """Engine of ONNX models on a CPU: `onnxruntime`, or `auto` to prefer Cutwork's."""


class OutputSettings(EnvironmentSettings):
    """How outputs are stored."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    storage_class: StorageClass | None = None
    """Storage class of outputs, such as `STANDARD_IA`; not one that must be restored first."""
    cache_control: str | None = Field(default=None, pattern=r"^[!-~]([ -~]*[!-~])?$")
    """Cache-Control of outputs, such as `public, max-age=86400`."""
    kms_key: str | None = Field(
        default=None, pattern=r"^(arn:aws[a-z-]*:kms:\S+|alias/[\w/-]+|[A-Za-z0-9-]+)$"
    )
    """KMS key that S3 encrypts outputs with: its id, ARN or alias."""
    acl: CannedAcl | None = None
    """Canned ACL of outputs, for buckets with ACLs."""

    def put_arguments(self) -> dict[str, str]:
        """Return the parameters of a PUT of S3 for these settings."""
        arguments = {
            "StorageClass": self.storage_class,
            "CacheControl": self.cache_control,
            "ServerSideEncryption": self.kms_key and "aws:kms",
            "SSEKMSKeyId": self.kms_key,
            "ACL": self.acl,
        }
        return {name: value for name, value in arguments.items() if value}


class WorkerSettings(ModelSettings, OutputSettings, ProducerSettings, S3Settings):
    """The settings of a worker."""

    read_from: Prefixes = Field(min_length=1)
    """Allow list of prefixes for source images, separated by commas."""
    write_to: Prefixes = Field(min_length=1)
    """Allow list of prefixes for outputs, separated by commas."""
    models_from: Prefixes = ()
    """Allow list of prefixes for models, separated by commas; none by default."""
    max_bytes: Count = 512 * 2**20
    """Largest source object that is fetched, in bytes."""
    preload: Names = ()
    """Models to load before the worker takes its first job, separated by commas."""
    takes: Names = ()
    """Job classes to take, by commas; by default all possible ones but `large`."""
    max_attempts: Attempts = 4
    """Largest number of attempts at a job that fails with transient errors."""
    max_deliveries: int = Field(default=3, ge=1, le=100)
    """Number of workers that may die with a job before it fails as `poison`."""
    grace: float = Field(default=60, ge=0, le=86_400)
    """Grace period in seconds from SIGTERM until unfinished jobs are requeued."""
    metrics_port: int = Field(default=0, ge=0, le=65_535)
    """Port for /metrics, /healthz and /readyz; 0 means none."""
    metrics_host: str = Field(default="127.0.0.1", min_length=1)
    """Address to listen on for that port; 0.0.0.0 means all."""
    outcome_ttl: int = Field(default=86_400, ge=60, le=31_536_000)
    """Seconds for which an outcome is kept."""
    s3_connect_timeout: float = Field(default=5, gt=0, le=3600)
    """Seconds that connecting to S3 may take."""
    s3_read_timeout: float = Field(default=30, gt=0, le=3600)
    """Seconds for which S3 may send nothing before a call fails."""
    s3_attempts: Attempts = 4
    """Largest number of attempts at one S3 call."""
