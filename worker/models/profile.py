"""What a model expects of its input."""

from dataclasses import dataclass, replace
from typing import Final

from producer.options import Options
from worker.errors import OptionConflict


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Input of a model: size as (width, height), then `(x / 255 - mean) / std`."""

    size: tuple[int, int]
    mean: float | tuple[float, float, float] = 0.5
    std: float | tuple[float, float, float] = 1.0


UNKNOWN: Final = Profile(size=(1024, 1024))
"""For a model file of which nothing is known: ISNet's own figures."""


def adapt(
    profile: Profile, options: Options, *, fixed_size: tuple[int, int] | None, model: str
) -> Profile:
    """The profile with a job's options in it.

    The size is the one asked for, else the one the model file fixes, else the profile's. Raises
    `OptionConflict`, naming both sides, when the model takes another size than was asked for.
    """
    size = (options.size, options.size) if isinstance(options.size, int) else options.size
    wanted = size or fixed_size or profile.size
    if fixed_size is not None and wanted != fixed_size:
        raise OptionConflict(
            f"size: {model} takes {fixed_size[0]}×{fixed_size[1]} and no other, "
            f"found {wanted[0]}×{wanted[1]}"
        )
    return replace(
        profile,
        size=wanted,
        mean=profile.mean if options.mean is None else options.mean,
        std=profile.std if options.std is None else options.std,
    )
