"""The errors of a job, each with a stable code.

    CutworkError
    ├── PermanentError          another attempt would fail too: the job fails
    │   ├── MalformedMessage    malformed_message
    │   ├── Forbidden           forbidden
    │   ├── SourceNotFound      source_not_found
    │   ├── SourceArchived      archived
    │   ├── BucketNotFound      bucket_not_found
    │   ├── AccessDenied        access_denied
    │   ├── StorageRefused      storage_refused
    │   ├── SourceTooLarge      source_too_large
    │   ├── EmptySource         empty_source
    │   ├── NotAnImage          not_an_image
    │   ├── CorruptImage        corrupt_image
    │   ├── UnsupportedImage    unsupported_image
    │   ├── ImageTooLarge       image_too_large
    │   ├── DecompressionBomb   decompression_bomb
    │   ├── UnknownModel        unknown_model
    │   ├── ModelHashMismatch   model_hash_mismatch
    │   ├── ModelInvalid        model_invalid
    │   ├── OptionConflict      option_conflict
    │   ├── LicenceNotAccepted  licence_not_accepted
    │   ├── GpuUnavailable      gpu_unavailable
    │   │   ├── GpuNoDriver     gpu_no_driver
    │   │   ├── GpuNoProvider   gpu_no_provider
    │   │   └── GpuWrongCuda    gpu_wrong_cuda
    │   ├── StageTimeout        stage_timeout
    │   ├── Poison              poison
    │   └── InternalError       internal_error
    └── TransientError          may pass: the job is tried up to CUTWORK_MAX_ATTEMPTS times
        ├── DeviceOutOfMemory   out_of_memory
        ├── StorageUnavailable  storage_unavailable
        ├── CredentialsRefused  credentials_refused
        ├── OutputsContested    outputs_contested
        ├── ModelUnavailable    model_unavailable
        └── MemoryExhausted     memory_exhausted

`worker.runtime.tasks` is the one place that decides about a retry.
"""

from typing import ClassVar


class CutworkError(Exception):
    """The root of all errors; the text says what was expected, what was found and what to do."""

    code: ClassVar[str]

    def __init_subclass__(cls, *, code: str | None = None) -> None:
        super().__init_subclass__()
        if code is not None:
            cls.code = code


class PermanentError(CutworkError):
    """An error that another attempt at the same job would meet again."""


class TransientError(CutworkError):
    """An error that may pass, so that another attempt can succeed."""


class MalformedMessage(PermanentError, code="malformed_message"):
    """The message is not a job of a version that this worker supports."""


class Forbidden(PermanentError, code="forbidden"):
    """The job names a bucket or prefix that this deployment does not allow."""


class SourceNotFound(PermanentError, code="source_not_found"):
    """The source object does not exist."""


class SourceArchived(PermanentError, code="archived"):
    """The source is in an archive storage class, such as Glacier, and has not been restored."""


class BucketNotFound(PermanentError, code="bucket_not_found"):
    """The bucket does not exist."""


class AccessDenied(PermanentError, code="access_denied"):
    """The object store denies this worker's credentials the operation."""


class StorageRefused(PermanentError, code="storage_refused"):
    """The object store rejected the request for a permanent reason."""


class SourceTooLarge(PermanentError, code="source_too_large"):
    """The source is larger than `CUTWORK_MAX_BYTES` or than ⅛ of `CUTWORK_IMAGE_MEMORY`."""


class EmptySource(PermanentError, code="empty_source"):
    """The source object is empty."""


class NotAnImage(PermanentError, code="not_an_image"):
    """The source does not begin like any supported image format."""


class CorruptImage(PermanentError, code="corrupt_image"):
    """The source begins like an image that is read but cannot be decoded completely."""


class UnsupportedImage(PermanentError, code="unsupported_image"):
    """The image has pixels that this worker does not read; the message names them."""


class ImageTooLarge(PermanentError, code="image_too_large"):
    """The image has more pixels than allowed or needs more than `CUTWORK_IMAGE_MEMORY`."""


class DecompressionBomb(PermanentError, code="decompression_bomb"):
    """The file would cost far more time or memory to decode than its pixels justify."""


class UnknownModel(PermanentError, code="unknown_model"):
    """The model is neither a catalogue name nor an existing model file."""


class ModelHashMismatch(PermanentError, code="model_hash_mismatch"):
    """The model file's SHA-256 differs from the requested one."""


class ModelInvalid(PermanentError, code="model_invalid"):
    """The model file is damaged, unsafe, too large, or of a shape that this worker cannot run."""


class OptionConflict(PermanentError, code="option_conflict"):
    """An option contradicts the model."""


class LicenceNotAccepted(PermanentError, code="licence_not_accepted"):
    """The model's licence restricts its use and is not in `CUTWORK_ACCEPT_LICENSES`."""


class GpuUnavailable(PermanentError, code="gpu_unavailable"):
    """A GPU is required, but the model could not be started on one."""


class GpuNoDriver(GpuUnavailable, code="gpu_no_driver"):
    """A GPU is required, but there is no NVIDIA driver, or it has no device."""


class GpuNoProvider(GpuUnavailable, code="gpu_no_provider"):
    """A GPU is required, but ONNX Runtime or PyTorch is a build without CUDA."""


class GpuWrongCuda(GpuUnavailable, code="gpu_wrong_cuda"):
    """A GPU is required, but the driver, CUDA or cuDNN has the wrong version."""


class StageTimeout(PermanentError, code="stage_timeout"):
    """A stage of the job took longer than `CUTWORK_STAGE_TIMEOUT`."""


class Poison(PermanentError, code="poison"):
    """Every worker that ran the job died, or had to be ended, before the job had an outcome."""


class InternalError(PermanentError, code="internal_error"):
    """A bug in Cutwork; the worker's log has the traceback."""


class DeviceOutOfMemory(TransientError, code="out_of_memory"):
    """The model, or a batch of one image, did not fit into the device's memory."""

    # Transient, because other models, processes and decoded images share the memory, and the next
    # attempt may run on another worker.


class StorageUnavailable(TransientError, code="storage_unavailable"):
    """The object store did not answer, or asked for fewer requests."""


class CredentialsRefused(TransientError, code="credentials_refused"):
    """The object store rejects this worker's credentials: expired, revoked or wrong."""


class OutputsContested(TransientError, code="outputs_contested"):
    """Another job with another source or options wrote the same outputs at the same time."""


class ModelUnavailable(TransientError, code="model_unavailable"):
    """None of the model's sources could be reached."""


class MemoryExhausted(TransientError, code="memory_exhausted"):
    """The worker had too little memory left for the image."""
