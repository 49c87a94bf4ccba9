"""How one image is to be cut out."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from producer.reference import Value

SMALLEST_STD: Final = 1e-6


def _one_or_three(value: object) -> object:
    """Let one number stand for the three channels without losing how it was written."""
    return tuple(value) if isinstance(value, list) else value


def _above_zero(value: float | tuple[float, float, float]) -> float | tuple[float, float, float]:
    if min(value if isinstance(value, tuple) else (value,)) < SMALLEST_STD:
        raise ValueError(f"every number must be greater than 0, at least {SMALLEST_STD:g}")
    return value


Number = Annotated[float, Field(ge=-1e6, le=1e6)]
Channels = Annotated[Number | tuple[Number, Number, Number], BeforeValidator(_one_or_three)]
Side = Annotated[int, Field(ge=32, le=4096)]
Size = Annotated[Side | tuple[Side, Side], BeforeValidator(_one_or_three)]
ImageFormat = Literal["png", "webp", "tiff"]


class Options(Value):
    """How one image is to be cut out. The descriptions are the help texts of both command lines."""

    model: str = Field(
        default="isnet-general-use",
        min_length=1,
        max_length=2048,
        description="Catalogue name, or s3://bucket/key of an .onnx, .pth or .safetensors file.",
    )
    model_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="Refuse the model unless its file has this SHA-256."
    )
    threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Binary mask: alpha is 255 where the map is above this, else 0. None: soft.",
    )
    device_mode: Literal["auto", "prefer_gpu", "cpu", "require_gpu"] = Field(
        default="auto",
        description="auto: a GPU if there is one; prefer_gpu: the same, with a warning if there is "
        "none; cpu; require_gpu: a GPU or a refusal.",
    )
    enabled: bool = Field(
        default=True, description="Off: the image passes through unchanged, the mask is all zero."
    )
    mean: Channels | None = Field(
        default=None, description="Subtracted from the 0…1 input; one number or three (R,G,B)."
    )
    std: Annotated[Channels, AfterValidator(_above_zero)] | None = Field(
        default=None, description="Divides the input after the mean; one number or three, above 0."
    )
    size: Size | None = Field(
        default=None, description="Input size of the model in pixels: one side, or width,height."
    )
    image_format: ImageFormat = Field(
        default="png", description="Format of the RGBA cut-out (WebP is lossless)."
    )
    mask_format: ImageFormat = Field(
        default="png", description="Format of the 8-bit mask (WebP is lossless)."
    )
    if_exists: Literal["skip", "overwrite"] = Field(
        default="skip",
        description="Skip when the outputs carry this source, model and options as fingerprint.",
    )
