"""The options of a job: how one image is cut out."""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from producer.contract.s3_uri import CallerValue

SMALLEST_STD: Final = 1e-6
_COLOUR: Final = re.compile(r"#([0-9A-Fa-f]{6}|[0-9A-Fa-f]{8})")
_MARGIN: Final = re.compile(r"[0-9]{1,5}|[0-9]{1,3}(\.[0-9]{1,3})?%")
_EROSION: Final = re.compile(r"(25(\.0{1,3})?|(1?[0-9]|2[0-4])(\.[0-9]{1,3})?)%")


def _list_to_tuple(value: object) -> object:
    """Turn JSON's list into a tuple; one number stays a number and stands for all three."""
    return tuple(value) if isinstance(value, list) else value


def _validate_positive(
    value: float | tuple[float, float, float],
) -> float | tuple[float, float, float]:
    if min(value if isinstance(value, tuple) else (value,)) < SMALLEST_STD:
        raise ValueError(f"expected numbers greater than 0, at least {SMALLEST_STD:g}")
    return value


def _validate_colour(text: str) -> str:
    if not _COLOUR.fullmatch(text):
        raise ValueError("expected #rrggbb or #rrggbbaa in hexadecimal digits")
    return text


def _validate_erosion(text: str) -> str:
    if not _EROSION.fullmatch(text):
        raise ValueError("expected a percentage from 0% to 25%, such as 1%")
    return text


def _pixels_to_text(value: object) -> object:
    """Return a whole number of pixels as the text that stands for it."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _validate_margin(text: str) -> str:
    if not _MARGIN.fullmatch(text):
        raise ValueError(
            "expected pixels, such as 20 and at most 99999, or a percentage, such as 2.5%"
        )
    return text


Number = Annotated[float, Field(ge=-1e6, le=1e6)]
Channels = Annotated[Number | tuple[Number, Number, Number], BeforeValidator(_list_to_tuple)]
Side = Annotated[int, Field(ge=32, le=4096)]
Size = Annotated[Side | tuple[Side, Side], BeforeValidator(_list_to_tuple)]
PositiveChannels = Annotated[Channels, AfterValidator(_validate_positive)]
Level = Annotated[int, Field(ge=0, le=255)]
Erosion = Annotated[
    str,
    AfterValidator(_validate_erosion),
    WithJsonSchema({"type": "string", "pattern": f"^({_EROSION.pattern})$"}),
]
Margin = Annotated[
    str | int,
    AfterValidator(_validate_margin),
    BeforeValidator(_pixels_to_text),
    WithJsonSchema({"type": "string"}),
]
Preset = Literal["default", "isnet-segment", "segmentation-custom"]
ImageFormat = Literal["png", "webp", "avif", "tiff", "jpeg", "zip"]
MaskFormat = Literal["png", "webp", "avif", "tiff"]


class Options(CallerValue):
    """How one image is cut out. The descriptions are also the help texts of both command lines."""

    preset: Preset = Field(
        default="default",
        description="default: soft alpha and decontaminated edges; isnet-segment and "
        "segmentation-custom: exactly as ISNetSegment and ImageSegmentationCustom.",
    )
    model: str = Field(
        default="isnet-general-use",
        min_length=1,
        max_length=2048,
        description="Catalogue name, or s3://bucket/key of an .onnx, .pth or .safetensors file.",
    )
    model_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="Expected SHA-256 of the model file; another file is refused."
    )
    threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Make the mask binary: 255 where the saliency map is above this (0–1), else 0. "
        "None: soft mask; the preset isnet-segment uses 0.5.",
    )
    device_mode: Literal["auto", "prefer_gpu", "cpu", "require_gpu"] = Field(
        default="auto",
        description="auto: a GPU if there is one; prefer_gpu: the same, with a warning if there is "
        "none; cpu: never a GPU; require_gpu: fail without a GPU.",
    )
    enabled: bool = Field(
        default=True, description="Off: the image is copied unchanged and the mask is all zero."
    )
    mean: Channels | None = Field(
        default=None, description="Subtracted from the 0–1 input; one number or three (R,G,B)."
    )
    std: PositiveChannels | None = Field(
        default=None,
        description="Divisor of the input after the mean; one number or three, above 0.",
    )
    size: Size | None = Field(
        default=None, description="Input size of the model in pixels: one number, or width,height."
    )
    post_process_mask: bool = Field(
        default=False, description="Smooth the mask and make it binary, as rembg does."
    )
    alpha_matting: bool = Field(
        default=False, description="Solve for the alpha of uncertain edges (closed-form matting)."
    )
    alpha_matting_foreground_threshold: Level = Field(
        default=240, description="Mask levels above this are sure foreground, 0–255."
    )
    alpha_matting_background_threshold: Level = Field(
        default=20, description="Mask levels below this are sure background, 0–255."
    )
    alpha_matting_erode_size: Level | Erosion | None = Field(
        default=None,
        description="Side of the square that erodes sure foreground and background: pixels, 0–255, "
        "or a percentage of the side of a square with the picture's area, such as 1%, which is 10 "
        "pixels of 1 megapixel. None: 1% in the preset default, else 10 pixels.",
    )
    estimate_foreground: bool | None = Field(
        default=None,
        description="Remove background colour from semi-transparent edges. "
        "None: on in the default preset.",
    )
    background: Annotated[str, AfterValidator(_validate_colour)] | None = Field(
        default=None,
        description="Colour behind the foreground in sRGB, #rrggbb or #rrggbbaa. "
        "None: transparent.",
    )
    crop: bool = Field(default=False, description="Crop cut-out and mask to the foreground.")
    margin: Margin = Field(
        default="0",
        description="Space around a crop: pixels, or a percentage of the foreground's longer side.",
    )
    image_format: ImageFormat = Field(
        default="png",
        description="Format of the cut-out; zip holds a colour JPEG and an alpha PNG, jpeg needs "
        "an opaque background.",
    )
    mask_format: MaskFormat = Field(default="png", description="Format of the mask.")
    quality: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None,
        description="WebP, AVIF or JPEG quality, 1–100. None: lossless WebP, AVIF 80, JPEG 92.",
    )
    bit_depth: Literal[8, 16] = Field(
        default=8,
        description="Bits per channel of PNG and TIFF; 16 keeps the precision of 16-bit sources.",
    )
    if_exists: Literal["skip", "overwrite"] = Field(
        default="skip",
        description="skip: keep outputs that have this job's fingerprint; overwrite: write anyway.",
    )

    @property
    def has_opaque_background(self) -> bool:
        """Whether the options have a background colour without transparency."""
        colour = (self.background or "").lower()
        return len(colour) == len("#rrggbb") or (len(colour) > 0 and colour.endswith("ff"))

    @model_validator(mode="after")
    def _validate_matting_thresholds(self) -> Self:
        foreground = self.alpha_matting_foreground_threshold
        background = self.alpha_matting_background_threshold
        if foreground < background:
            raise ValueError(
                "alpha_matting_foreground_threshold: expected at least "
                f"alpha_matting_background_threshold, found {foreground} and {background}: levels "
                "between them would be both foreground and background"
            )
        return self

    @model_validator(mode="after")
    def _validate_formats(self) -> Self:
        if self.image_format == "jpeg" and not self.has_opaque_background:
            raise ValueError(
                "image_format: jpeg has no transparency: expected an opaque background such as "
                f"#ffffff, found {self.background or 'none'}"
            )
        for name in ("image_format", "mask_format"):
            if self.bit_depth == 16 and getattr(self, name) not in ("png", "tiff"):
                raise ValueError(
                    f"bit_depth: expected {name} png or tiff with 16 bits per channel, found "
                    f"{getattr(self, name)}"
                )
        return self
