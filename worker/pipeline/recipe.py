"""What a job asks for, resolved once: its options, their preset and the model's profile."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from producer.contract.options import Options
from worker.imaging.encode import FORMATS
from worker.imaging.masks import Depth
from worker.models.files.profile import Profile, adapt
from worker.models.files.store import ModelFile
from worker.pipeline.presets import PRESETS, Preset


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one image is cut out, and which outputs are made of it."""

    options: Options
    preset: Preset
    file: ModelFile | None
    """The model with its own profile; None where `options.enabled` is off."""
    profile: Profile | None
    """The model's profile with the values of the preset and the options; None without a model."""
    want_image: bool
    want_mask: bool

    @classmethod
    def resolve(
        cls,
        options: Options,
        *,
        file: ModelFile | None,
        want_image: bool = True,
        want_mask: bool = True,
    ) -> Self:
        """Return the recipe of a job's options and its model."""
        preset = PRESETS[options.preset]
        return cls(
            options=options,
            preset=preset,
            file=file,
            profile=None if file is None else adapt(preset.profile_for(file.profile), options),
            want_image=want_image,
            want_mask=want_mask,
        )

    @property
    def depth(self) -> Depth:
        """The dtype of all pixels: uint8 or uint16."""
        return np.uint16 if self.options.bit_depth == 16 else np.uint8

    @property
    def formats(self) -> Sequence[str]:
        """The formats of the wanted outputs."""
        options = self.options
        return [options.image_format] * self.want_image + [options.mask_format] * self.want_mask

    @property
    def threshold(self) -> float | None:
        """The threshold of the mask; None keeps it soft."""
        given = self.options.threshold
        return self.preset.threshold if given is None else given

    @property
    def erode_size(self) -> int | str:
        """The erosion of matting's trimap: pixels, or a percentage such as `1%`."""
        given = self.options.alpha_matting_erode_size
        return self.preset.erode_size if given is None else given

    @property
    def mattes(self) -> bool:
        """Whether alpha matting is asked for and changes a wanted output."""
        return self.options.alpha_matting and (self.want_image or self.preset.mattes_mask)

    @property
    def can_shrink(self) -> bool:
        """Whether the image may be decoded smaller, because only the model sees its pixels."""
        if self.want_image or self.options.alpha_matting or not self.options.enabled:
            return False
        return self.preset.may_shrink

    def estimates_foreground(self, *, matted: bool) -> bool:
        """Whether soft edges get the subject's own colour; `matted` says if a matte was solved for.

        `estimate_foreground` does not count with a matte. Without one, and unless the option says
        otherwise, rembg estimates the colours also where it could not solve for the matte.
        """
        if matted or self.options.estimate_foreground is None:
            return self.preset.estimates_foreground or self.options.alpha_matting
        return self.options.estimate_foreground

    def warnings(self) -> Iterator[str]:
        """Yield a warning for each option that has no effect."""
        options, formats = self.options, self.formats
        if options.quality is not None and not any(FORMATS[name].has_quality for name in formats):
            yield f"quality: {' and '.join(dict.fromkeys(formats))} has none"
        if options.margin != "0" and not options.crop:
            yield "margin: has no effect without crop"
        if options.background is not None and not self.want_image:
            yield "background: has no effect on a mask alone"
        if not options.enabled:
            for name in ("alpha_matting", "post_process_mask", "crop"):
                if getattr(options, name):
                    yield f"{name}: has no effect with enabled=false"
        elif options.alpha_matting and not self.mattes:
            yield f"alpha_matting: has no effect on a mask alone in the preset {options.preset}"
