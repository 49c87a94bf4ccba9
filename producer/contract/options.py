"""How one image is to be cut out."""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    model_validator,
)

from producer.contract.s3_uri import Value

SMALLEST_STD: Final = 1e-6
_COLOUR: Final = re.compile(r"#([0-9A-Fa-f]{6}|[0-9A-Fa-f]{8})")
_MARGIN: Final = re.compile(r"[0-9]{1,5}|[0-9]{1,3}(\.[0-9]{1,3})?%")


def _one_or_three(value: object) -> object:
    """Let one number stand for the three channels without losing how it was written."""
    return tuple(value) if isinstance(value, list) else value


def _above_zero(value: float | tuple[float, float, float]) -> float | tuple[float, float, float]:
    if min(value if isinstance(value, tuple) else (value,)) < SMALLEST_STD:
        raise ValueError(f"every number must be greater than 0, at least {SMALLEST_STD:g}")
    return value


def _colour(text: str) -> str:
    if not _COLOUR.fullmatch(text):
        raise ValueError("expected #rrggbb or #rrggbbaa in hexadecimal digits")
    return text


def _margin(text: str) -> str:
    if not _MARGIN.fullmatch(text):
        raise ValueError("expected pixels, such as 20 and at most 99999, or per cent, such as 2.5%")
    return text


Number = Annotated[float, Field(ge=-1e6, le=1e6)]
Channels = Annotated[Number | tuple[Number, Number, Number], BeforeValidator(_one_or_three)]
Side = Annotated[int, Field(ge=32, le=4096)]
Size = Annotated[Side | tuple[Side, Side], BeforeValidator(_one_or_three)]
PositiveChannels = Annotated[Channels, AfterValidator(_above_zero)]
Level = Annotated[int, Field(ge=0, le=255)]
Preset = Literal["default", "isnet-segment", "segmentation-custom"]
ImageFormat = Literal["png", "webp", "avif", "tiff", "jpeg", "zip"]
MaskFormat = Literal["png", "webp", "avif", "tiff"]


class Options(Value):
    """How one image is to be cut out. The descriptions are the help texts of both command lines."""

    preset: Preset = Field(
        default="default",
        description="default: soft alpha, clean edges; isnet-segment and segmentation-custom: "
        "exactly what ISNetSegment and ImageSegmentationCustom do.",
    )
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
        description="Binary mask: 255 where the map is above this, else 0. "
        "None: soft (isnet-segment: 0.5).",
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
    std: PositiveChannels | None = Field(
        default=None, description="Divides the input after the mean; one number or three, above 0."
    )
    size: Size | None = Field(
        default=None, description="Input size of the model in pixels: one side, or width,height."
    )
    post_process_mask: bool = Field(
        default=False, description="Smooth the mask and make it binary, as rembg does."
    )
    alpha_matting: bool = Field(
        default=False, description="Solve for the alpha of uncertain edges (closed-form matting)."
    )
    alpha_matting_foreground_threshold: Level = Field(
        default=240, description="Mask levels above this are surely foreground, 0…255."
    )
    alpha_matting_background_threshold: Level = Field(
        default=20, description="Mask levels below this are surely background, 0…255."
    )
    alpha_matting_erode_size: Annotated[int, Field(ge=0, le=255)] = Field(
        default=10, description="Pixels by which both are eroded, to leave the edge uncertain."
    )
    estimate_foreground: bool | None = Field(
        default=None,
        description="Free soft edges of the background's colour. None: on in the default preset.",
    )
    background: Annotated[str, AfterValidator(_colour)] | None = Field(
        default=None, description="Colour behind the subject, #rrggbb or #rrggbbaa. None: none."
    )
    crop: bool = Field(default=False, description="Crop image and mask to the subject.")
    margin: Annotated[str, AfterValidator(_margin)] = Field(
        default="0",
        description="Room left around a crop: pixels, or per cent of the subject's longer side.",
    )
    image_format: ImageFormat = Field(
        default="png",
        description="Format of the cut-out; zip holds a colour JPEG and an alpha PNG, jpeg needs "
        "a background.",
    )
    mask_format: MaskFormat = Field(default="png", description="Format of the mask.")
    quality: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None,
        description="Of WebP, AVIF and JPEG, 1…100. None: WebP lossless, AVIF 80, JPEG 92.",
    )
    bit_depth: Literal[8, 16] = Field(
        default=8, description="Bits a channel of PNG and TIFF; 16 keeps what 16-bit input has."
    )
    if_exists: Literal["skip", "overwrite"] = Field(
        default="skip",
        description="Skip when the outputs carry this source, model and options as fingerprint.",
    )

    @property
    def opaque(self) -> bool:
        """Whether a background without transparency lies behind the subject."""
        colour = (self.background or "").lower()
        return len(colour) == len("#rrggbb") or (len(colour) > 0 and colour.endswith("ff"))

    @model_validator(mode="after")
    def _thresholds_leave_something_between(self) -> Self:
        foreground = self.alpha_matting_foreground_threshold
        background = self.alpha_matting_background_threshold
        if foreground < background:
            raise ValueError(
                "alpha_matting_foreground_threshold: expected at least the background's, found "
                f"{foreground} and {background}: what lies between would be both"
            )
        return self

    @model_validator(mode="after")
    def _formats_fit(self) -> Self:
        if self.image_format == "jpeg" and not self.opaque:
            raise ValueError(
                "image_format: jpeg has no transparency, expected an opaque background such as "
                f"#ffffff with it, found {self.background or 'none'}"
            )
        for name in ("image_format", "mask_format"):
            if self.bit_depth == 16 and getattr(self, name) not in ("png", "tiff"):
                raise ValueError(
                    f"bit_depth: 16 bits a channel fit png and tiff, found {name} "
                    f"{getattr(self, name)}"
                )
        return self
