"""Everything that can go wrong with a job, each with a stable code.

    CutworkError
    ├── PermanentError          trying again gives the same: the job ends as failed
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
    └── TransientError          may pass: the job is tried again a bounded number of times
        ├── DeviceOutOfMemory   out_of_memory
        ├── StorageUnavailable  storage_unavailable
        ├── CredentialsRefused  credentials_refused
        ├── OutputsContested    outputs_contested
        ├── ModelUnavailable    model_unavailable
        └── MemoryExhausted     memory_exhausted

Permanent or transient decides about a retry, in one place: `worker.runtime.tasks`.
"""

from typing import ClassVar


class CutworkError(Exception):
    """Root of the tree; the text says what was expected, what was found and what to do."""

    code: ClassVar[str]


class PermanentError(CutworkError):
    """Trying the same job again would end the same way."""


class TransientError(CutworkError):
    """The same job may succeed a little later."""


class MalformedMessage(PermanentError):
    """The message is not a job of a version this worker knows."""

    code = "malformed_message"


class Forbidden(PermanentError):
    """The job names a place this deployment does not allow."""

    code = "forbidden"


class SourceNotFound(PermanentError):
    """There is no object at the key."""

    code = "source_not_found"


class BucketNotFound(PermanentError):
    """There is no such bucket."""

    code = "bucket_not_found"


class AccessDenied(PermanentError):
    """The object store does not let this worker's credentials do it."""

    code = "access_denied"


class StorageRefused(PermanentError):
    """The object store refused the request for a reason that will not pass."""

    code = "storage_refused"


class SourceTooLarge(PermanentError):
    """The object has more bytes than `CUTWORK_MAX_BYTES`, or ⅛ of `CUTWORK_IMAGE_MEMORY`."""

    code = "source_too_large"


class EmptySource(PermanentError):
    """The object has no bytes."""

    code = "empty_source"


class NotAnImage(PermanentError):
    """The bytes begin like no image format this worker reads."""

    code = "not_an_image"


class CorruptImage(PermanentError):
    """The bytes begin like an image but cannot be decoded to the end."""

    code = "corrupt_image"


class UnsupportedImage(PermanentError):
    """An image, but of a pixel format this worker does not cut out."""

    code = "unsupported_image"


class ImageTooLarge(PermanentError):
    """The image has more pixels than allowed, or takes more than `CUTWORK_IMAGE_MEMORY`."""

    code = "image_too_large"


class DecompressionBomb(PermanentError):
    """The file is built so that reading it costs far more than its pixels do."""

    code = "decompression_bomb"


class UnknownModel(PermanentError):
    """Neither a catalogue name nor a model file that is there."""

    code = "unknown_model"


class ModelHashMismatch(PermanentError):
    """The model file's SHA-256 is not the one asked for."""

    code = "model_hash_mismatch"


class ModelInvalid(PermanentError):
    """The file is no model this worker can run: broken, unsafe, or of another shape."""

    code = "model_invalid"


class OptionConflict(PermanentError):
    """An option contradicts the model."""

    code = "option_conflict"


class LicenceNotAccepted(PermanentError):
    """The model's licence restricts its use and is not in `CUTWORK_ACCEPT_LICENSES`."""

    code = "licence_not_accepted"


class GpuUnavailable(PermanentError):
    """`require_gpu` was asked for and the model cannot run on a GPU here: it did not start."""

    code = "gpu_unavailable"


class GpuNoDriver(GpuUnavailable):
    """The same, as there is no NVIDIA driver, or it has no device."""

    code = "gpu_no_driver"


class GpuNoProvider(GpuUnavailable):
    """The same, as ONNX Runtime or torch is a build without CUDA."""

    code = "gpu_no_provider"


class GpuWrongCuda(GpuUnavailable):
    """The same, as the driver, or CUDA or cuDNN, is of another version than needed."""

    code = "gpu_wrong_cuda"


class Poison(PermanentError):
    """Every worker that began the job ended before it had an outcome."""

    code = "poison"


class InternalError(PermanentError):
    """A fault of ours; the worker's log has the traceback."""

    code = "internal_error"


class DeviceOutOfMemory(TransientError):
    """The model, or one image in it, did not fit into the device's memory, tried on its own."""

    # May pass: other models, other processes and the decoded images of other jobs share the memory,
    # and the next attempt may run on another worker.
    code = "out_of_memory"


class StorageUnavailable(TransientError):
    """The object store did not answer, or asked to slow down."""

    code = "storage_unavailable"


class CredentialsRefused(TransientError):
    """The object store does not know this worker's credentials: expired, revoked, or wrong."""

    code = "credentials_refused"


class OutputsContested(TransientError):
    """Another job wrote to the same places meanwhile, with another source or options."""

    code = "outputs_contested"


class ModelUnavailable(TransientError):
    """None of the model's sources could be reached."""

    code = "model_unavailable"


class MemoryExhausted(TransientError):
    """The worker had no memory left for the image."""

    code = "memory_exhausted"
