"""What a model expects of its input, and how its output is read."""

from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    ValidationError,
)

from producer.contract.options import Channels, Options, PositiveChannels, Size
from producer.contract.validation_errors import explain
from worker.errors import ModelInvalid, OptionConflict

Layout = Literal["nchw", "nhwc"]

DEFAULT_SIDE: Final = 1024
"""ISNet's, for a model whose size neither its profile nor its graph says."""


def _both_sides(value: object) -> object:
    """One side stands for a square."""
    return (value, value) if isinstance(value, int) else value


class Profile(BaseModel):
    """The input is `(pixels / divisor - mean) / std`, squashed to `size`.

    Also the schema of the `x.json` beside an `x.onnx` of one's own; what it leaves out is as here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    size: Annotated[Size | None, BeforeValidator(_both_sides)] = Field(
        default=None, description="Input size in pixels: one side, or [width, height]."
    )
    mean: Channels = Field(default=0.5, description="Subtracted from the 0…1 input.")
    std: PositiveChannels = Field(default=1.0, description="Divides the input after the mean.")
    divisor: Literal["255", "max"] = Field(
        default="255", description="What brings pixels to 0…1: 255, or the picture's own maximum."
    )
    resampling: Literal["lanczos", "bilinear"] = Field(
        default="lanczos", description="Filter to the input size; bilinear is torch's, unsmoothed."
    )
    layout: Layout = Field(
        default="nchw", description="Order of the input's axes: batch, channels, height, width."
    )
    channels: Literal["rgb", "bgr"] = Field(default="rgb", description="Order of the colours.")
    output: StrictStr | StrictInt | None = Field(
        default=None, description="Name or index of the output that is the map; none: found."
    )
    sigmoid: bool = Field(default=False, description="The output is logits.")
    stretch: bool = Field(
        default=True, description="Stretch each map to 0…1 by its minimum and maximum."
    )
    batch: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Images a GPU runs at once, at most; none: CUTWORK_BATCH.",
    )

    @property
    def sides(self) -> tuple[int, int] | None:
        """Width and height of the input; None where the profile leaves them open."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @classmethod
    def parse(cls, data: bytes, *, name: str) -> "Profile":
        """Read the JSON of a profile; `ModelInvalid` says what is wrong with it."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise ModelInvalid(f"profile {name}: {explain(error)}") from error

    def facts(self) -> dict[str, Any]:
        """What differs from the default, as JSON values: part of an output's fingerprint.

        How many images run at once is not: each has the same map as alone.
        """
        return self.model_dump(mode="json", exclude_defaults=True, exclude={"batch"})


def adapt(profile: Profile, options: Options) -> Profile:
    """The profile with a job's own size, mean and std in it."""
    given = {"size": options.size, "mean": options.mean, "std": options.std}
    return profile.model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )


def input_size(
    profile: Profile, *, fixed: tuple[int | None, int | None], model: str
) -> tuple[int, int]:
    """Width and height to feed a model.

    What the profile (with the job's options) asks for, else what the graph fixes, else 1024. Raises
    `OptionConflict`, naming both sides, when the graph fixes another width or height than is asked
    for.
    """
    width, height = profile.sides or (
        fixed[0] or fixed[1] or DEFAULT_SIDE,
        fixed[1] or fixed[0] or DEFAULT_SIDE,
    )
    if (fixed[0] or width, fixed[1] or height) != (width, height):
        takes = "×".join(str(side or "any") for side in fixed)
        raise OptionConflict(
            f"size: {model} takes {takes} and no other, its profile or the options ask for "
            f"{width}×{height}"
        )
    return width, height
