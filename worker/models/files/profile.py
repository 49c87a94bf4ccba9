"""Profiles: how to prepare a model's input and how to read its output."""

import codecs
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from producer.contract.options import Channels, Number, Options, PositiveChannels, Size
from producer.contract.validation_errors import explain
from worker.errors import ModelInvalid, OptionConflict

Layout = Literal["nchw", "nhwc"]

FULL_RANGE: Final = (0.0, 1.0)
"""The values of a saliency map for background and foreground."""

_LEAST_RANGE: Final = 1e-6

MAX_SIDE: Final = 4096
"""The longest side that `Size` allows."""

DEFAULT_SIDE: Final = 1024
"""ISNet's input size, for a model whose profile and graph both leave it open."""


def _both_sides(value: object) -> object:
    """Expand one side to a square."""
    return (value, value) if isinstance(value, int) else value


class Profile(BaseModel):
    """How a model's input is prepared: `(pixels / divisor - mean) / std`, resized to `size`.

    This is also the schema of the file `x.json` next to a custom `x.onnx`. Omitted fields have
    these defaults.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    size: Annotated[Size | None, BeforeValidator(_both_sides)] = Field(
        default=None, description="Input size in pixels: one side, or [width, height]."
    )
    mean: Channels = Field(default=0.5, description="Subtracted from the 0…1 input.")
    std: PositiveChannels = Field(default=1.0, description="Divides the input after the mean.")
    divisor: Literal["255", "max"] = Field(
        default="255", description="Divides pixel values to 0…1: 255, or the image's maximum."
    )
    resampling: Literal["lanczos", "bilinear"] = Field(
        default="lanczos",
        description="Filter for resizing; bilinear is torch's, without antialiasing.",
    )
    layout: Layout = Field(
        default="nchw", description="Order of the input's axes: batch, channels, height, width."
    )
    channels: Literal["rgb", "bgr"] = Field(
        default="rgb", description="Order of the colour channels."
    )
    output: StrictStr | StrictInt | None = Field(
        default=None,
        description="Name or index of the saliency map's output; none: chosen by its shape.",
    )
    channel: Annotated[StrictInt, Field(ge=0)] | None = Field(
        default=None,
        description="Index of the output's channel that is the foreground; none: it has only one.",
    )
    sigmoid: bool = Field(
        default=False, description="Apply a sigmoid, because the output is logits."
    )
    softmax: bool = Field(
        default=False,
        description="Apply a softmax over the channels, because they are logits of classes.",
    )
    range: tuple[Number, Number] = Field(
        default=FULL_RANGE,
        description="The map's values for background and foreground, such as [0, 255].",
    )
    stretch: bool = Field(
        default=True, description="Stretch each saliency map from its minimum and maximum to 0…1."
    )
    batch: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="The most images in a batch on a GPU; none: CUTWORK_BATCH.",
    )

    @model_validator(mode="after")
    def _validate_output(self) -> Self:
        if self.sigmoid and self.softmax:
            raise ValueError("sigmoid and softmax: expected at most one of them, found both")
        if self.softmax and self.channel is None:
            raise ValueError("softmax: expected `channel` too, the class that is the foreground")
        if abs(self.range[1] - self.range[0]) < _LEAST_RANGE:
            raise ValueError(
                f"range: expected two numbers at least {_LEAST_RANGE:g} apart, found "
                f"{list(self.range)}"
            )
        return self

    @property
    def sides(self) -> tuple[int, int] | None:
        """Width and height of the input; None if the profile leaves them open."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @classmethod
    def parse(cls, data: bytes, *, name: str) -> "Profile":
        """Parse the JSON of a profile. Raises `ModelInvalid`, which says what is wrong with it."""
        try:
            # Some editors begin a file with a byte order mark, which JSON does not have.
            return cls.model_validate_json(data.removeprefix(codecs.BOM_UTF8))
        except ValidationError as error:
            raise ModelInvalid(f"profile {name}: {explain(error)}") from error

    def facts(self) -> dict[str, Any]:
        """Return the non-default fields as JSON values, which are part of an output's fingerprint.

        `batch` is excluded: it does not change an image's saliency map. So is channel 0: without a
        `channel`, an output either has no other one or is refused.
        """
        excluded = {"batch"} if self.channel else {"batch", "channel"}
        return self.model_dump(mode="json", exclude_defaults=True, exclude=excluded)


def adapt(profile: Profile, options: Options) -> Profile:
    """Return the profile with the size, mean and std of a job's options, where given."""
    given = {"size": options.size, "mean": options.mean, "std": options.std}
    return profile.model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )


def input_size(
    profile: Profile, *, fixed: tuple[int | None, int | None], model: str
) -> tuple[int, int]:
    """Return width and height of a model's input.

    They come from the profile (with the job's options), otherwise from the graph (`fixed`), and
    otherwise are 1024. Raises `OptionConflict` when the graph fixes another size than the profile,
    and `ModelInvalid` when it fixes one that no option allows.
    """
    if any(side is not None and not 0 < side <= MAX_SIDE for side in fixed):
        raise ModelInvalid(
            f"{model}: expected an input of at most {MAX_SIDE:,} pixels a side, found "
            f"{fixed[0]}×{fixed[1]}"
        )
    width, height = profile.sides or (
        fixed[0] or fixed[1] or DEFAULT_SIDE,
        fixed[1] or fixed[0] or DEFAULT_SIDE,
    )
    if (fixed[0] or width, fixed[1] or height) != (width, height):
        takes = "×".join(str(side or "any") for side in fixed)
        raise OptionConflict(
            f"size: {model} takes {takes} only, its profile or the options ask for {width}×{height}"
        )
    return width, height
