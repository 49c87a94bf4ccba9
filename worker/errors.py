"""The errors of a job, each with a stable code.

    CutworkError
    ├── PermanentError          another attempt would fail too: the job fails
    │   ├── MalformedMessage    malformed_message
    │   ├── Forbidden           forbidden
    │   ├── SourceNotFound      source_not_found
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


class PermanentError(CutworkError):
    """An error that another attempt at the same job would meet again."""


class TransientError(CutworkError):
    """An error that may pass, so that another attempt can succeed."""


class MalformedMessage(PermanentError):
    """The message is not a job of a version that this worker supports."""

    code = "malformed_message"


class Forbidden(PermanentError):
    """The job names a bucket or prefix that this deployment does not allow."""

    code = "forbidden"


class SourceNotFound(PermanentError):
    """The source object does not exist."""

    code = "source_not_found"


class BucketNotFound(PermanentError):
    """The bucket does not exist."""

    code = "bucket_not_found"


class AccessDenied(PermanentError):
    """The object store denies this worker's credentials the operation."""

    code = "access_denied"


class StorageRefused(PermanentError):
    """The object store rejected the request for a permanent reason."""

    code = "storage_refused"


class SourceTooLarge(PermanentError):
    """The source is larger than `CUTWORK_MAX_BYTES` or than ⅛ of `CUTWORK_IMAGE_MEMORY`."""

    code = "source_too_large"


class EmptySource(PermanentError):
    """The source object is empty."""

    code = "empty_source"


class NotAnImage(PermanentError):
    """The source does not begin like any supported image format."""

    code = "not_an_image"


class CorruptImage(PermanentError):
    """The source begins like an image but cannot be decoded completely."""

    code = "corrupt_image"


class UnsupportedImage(PermanentError):
    """The image has a pixel format that this worker does not support."""

    code = "unsupported_image"


class ImageTooLarge(PermanentError):
    """The image has more pixels than allowed or needs more than `CUTWORK_IMAGE_MEMORY`."""

    code = "image_too_large"


class DecompressionBomb(PermanentError):
    """The file would cost far more time or memory to decode than its pixels justify."""

    code = "decompression_bomb"


class UnknownModel(PermanentError):
    """The model is neither a catalogue name nor an existing model file."""

    code = "unknown_model"


class ModelHashMismatch(PermanentError):
    """The model file's SHA-256 differs from the requested one."""

    code = "model_hash_mismatch"


class ModelInvalid(PermanentError):
    """The model file is damaged, unsafe or of a shape that this worker cannot run."""

    code = "model_invalid"


class OptionConflict(PermanentError):
    """An option contradicts the model."""

    code = "option_conflict"


class LicenceNotAccepted(PermanentError):
    """The model's licence restricts its use and is not in `CUTWORK_ACCEPT_LICENSES`."""

    code = "licence_not_accepted"


class GpuUnavailable(PermanentError):
    """A GPU is required, but the model could not be started on one."""

    code = "gpu_unavailable"


class GpuNoDriver(GpuUnavailable):
    """A GPU is required, but there is no NVIDIA driver, or it has no device."""

    code = "gpu_no_driver"


class GpuNoProvider(GpuUnavailable):
    """A GPU is required, but ONNX Runtime or PyTorch is a build without CUDA."""

    code = "gpu_no_provider"


class GpuWrongCuda(GpuUnavailable):
    """A GPU is required, but the driver, CUDA or cuDNN has the wrong version."""

    code = "gpu_wrong_cuda"


class Poison(PermanentError):
    """Every worker that ran the job died before the job had an outcome."""

    code = "poison"


class InternalError(PermanentError):
    """A bug in Cutwork; the worker's log has the traceback."""

    code = "internal_error"


class DeviceOutOfMemory(TransientError):
    """The model, or a batch of one image, did not fit into the device's memory."""

    # Transient, because other models, processes and decoded images share the memory, and the next
    # attempt may run on another worker.
    code = "out_of_memory"


class StorageUnavailable(TransientError):
    """The object store did not answer, or asked for fewer requests."""

    code = "storage_unavailable"


class CredentialsRefused(TransientError):
    """The object store rejects this worker's credentials: expired, revoked or wrong."""

    code = "credentials_refused"


class OutputsContested(TransientError):
    """Another job with another source or options wrote the same outputs at the same time."""

    code = "outputs_contested"


class ModelUnavailable(TransientError):
    """None of the model's sources could be reached."""

    code = "model_unavailable"


class MemoryExhausted(TransientError):
    """The worker had too little memory left for the image."""

    code = "memory_exhausted"
