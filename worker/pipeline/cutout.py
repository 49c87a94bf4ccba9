"""An image's bytes to those of its cut-out and mask: decode → segment → refine → encode."""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final, Protocol, Self

import numpy as np

from producer.contract.options import Options
from producer.contract.outcome import RunFacts
from worker.errors import ImageTooLarge, SourceTooLarge
from worker.imaging import compose
from worker.imaging.decode import Header, Picture, open_image
from worker.imaging.encode import FORMATS, EncodeSettings, check_encodable, encode
from worker.imaging.masks import Box, Depth, Pixels
from worker.models.files.profile import DEFAULT_SIDE
from worker.models.files.store import ModelFile
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.memory_budget import MemoryBudget, Reservation
from worker.pipeline.memory_estimate import MemoryEstimate, estimate_memory
from worker.pipeline.presets import PRESETS
from worker.pipeline.refine import passed_through, refine
from worker.pipeline.segment import LoadedModel, Models, loaded, segment

_SPARE: Final = 1.5
"""How much larger than a model's input a picture for it alone is decoded, at least."""
_SOURCES: Final = 8
"""The part of the memory for images that is for encoded ones: decoded they are larger."""


class Readable(Protocol):
    """Has an encoded image: an opened file, or an object of the object store."""

    def read(self) -> bytes:
        """All of its bytes."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much may be worked on."""

    decoded: int
    """Pixels of one image."""
    matted: int
    """Pixels of one image whose alpha is solved for."""
    matting_seconds: float
    """After which that ends with what it has."""
    sources: MemoryBudget
    """Bytes of all encoded images that were read and are not yet decoded."""
    pictures: MemoryBudget
    """Bytes of all that is made of them, until it is stored.

    Apart from the sources: who holds some of both waits for nobody, so nobody waits for ever."""

    @classmethod
    def of(cls, *, decoded: int, matted: int, matting_seconds: float, memory: int) -> Self:
        """The limits of a process with so many bytes for images in flight."""
        sources = memory // _SOURCES
        return cls(
            decoded=decoded,
            matted=matted,
            matting_seconds=matting_seconds,
            sources=MemoryBudget(sources),
            pictures=MemoryBudget(memory - sources),
        )

    def check_source(self, length: int) -> None:
        """Raise `SourceTooLarge` where an encoded image alone would take more than there is."""
        if length > self.sources.total:
            raise SourceTooLarge(
                f"expected an object of at most {self.sources.total:,} bytes, an eighth of "
                f"CUTWORK_IMAGE_MEMORY; found {length:,}"
            )

    def check_matted(self, size: tuple[int, int]) -> None:
        """Raise `ImageTooLarge` where matting would take longer than allowed."""
        width, height = size
        if width * height > self.matted:
            raise ImageTooLarge(
                f"alpha_matting: expected at most {self.matted:,} pixels "
                f"(CUTWORK_MAX_MATTED_PIXELS), found {width}×{height} = {width * height:,}"
            )

    def check_picture(self, header: Header, needed: int) -> None:
        """Raise `ImageTooLarge` where an image would take more memory than there is."""
        width, height = header.size
        if needed > self.pictures.total:
            raise ImageTooLarge(
                f"expected an image that takes at most {self.pictures.total:,} bytes of memory, "
                f"seven eighths of CUTWORK_IMAGE_MEMORY; found a {header.format} of "
                f"{width}×{height} that with these options takes {needed:,}"
            )


@dataclass(frozen=True, kw_only=True)
class CutOut:
    """What one image became."""

    format: str
    mode: str
    """Pillow's name of the pixel format as stored."""
    picture_size: tuple[int, int]
    """Width and height of the whole picture, upright, in pixels."""
    mask: Pixels
    """(H, W), upright and of the whole picture, also where the results are cropped."""
    crop: Box | None
    """Left, upper, right, lower of the results within the picture; None: all of it."""
    run: RunFacts | None
    """None when the model was not asked."""
    warnings: tuple[str, ...]
    image_bytes: bytes | None = None
    mask_bytes: bytes | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the results, in pixels."""
        if self.crop is None:
            return self.picture_size
        left, upper, right, lower = self.crop
        return right - left, lower - upper


def cut_out(
    source: Readable,
    options: Options,
    *,
    length: int,
    file: ModelFile | None,
    models: Models,
    limits: Limits,
    share: Reservation,
    watch: Stopwatch,
    want_image: bool = True,
    want_mask: bool = True,
) -> CutOut:
    """Cut the foreground out of an encoded image; raises what the stages raise.

    `source` holds the image's bytes, `length` of them, and is read once the model is ready. Only
    what is wanted is made: for large images colours and encoding are most of the time outside the
    model. `file` is the model's, None when `options.enabled` is off: then the picture passes
    through unchanged and the mask is all zero.

    `share` is of `limits.pictures`, empty: before a pixel is decoded it waits there for what the
    image takes at most, and in the end holds what the results take.
    """
    limits.check_source(length)
    with ExitStack() as held:
        # Before the image: a model that cannot be used is refused first.
        model = None
        if file is not None:
            model = held.enter_context(loaded(file, options, models=models, watch=watch))
        picture, cost = _decode(
            source,
            options,
            length=length,
            file=file,
            model=model,
            limits=limits,
            share=share,
            watch=watch,
            want_image=want_image,
            want_mask=want_mask,
        )
        share.keep(max(cost.model, cost.edges, cost.encode))
        found, run = np.zeros(picture.size[::-1], _depth(options)), None
        told: tuple[str, ...] = ()
        if model is not None:
            found, run, told = segment(picture, options, model=model, watch=watch)
    share.keep(max(cost.edges, cost.encode))
    crop = None
    warnings = (*picture.warnings, *told, *_unused(options, image=want_image, mask=want_mask))
    if model is None:
        pixels = passed_through(picture, options)
    else:
        with watch.stage("edges"):
            refined = refine(
                picture,
                found,
                options,
                want_image=want_image,
                share=share,
                matting_seconds=limits.matting_seconds,
                watch=watch,
            )
        pixels, found = refined.pixels, refined.mask
        crop = compose.crop_box(found, options.margin) if options.crop else None
        warnings += model.warnings + refined.warnings
        del refined
    share.keep(cost.encode)
    result = CutOut(
        format=picture.format,
        mode=picture.mode,
        picture_size=picture.size,
        mask=found,
        crop=crop,
        run=run,
        warnings=warnings,
    )
    settings = EncodeSettings(
        icc_profile=picture.icc_profile, dpi=picture.dpi, quality=options.quality
    )
    del picture
    _check_encodable(result.size, options, image=want_image, mask=want_mask)
    with watch.stage("encode"):
        image_bytes = mask_bytes = None
        if want_image:
            pixels = compose.crop(pixels, crop)
            image_bytes = encode(pixels, image_format=options.image_format, settings=settings)
        del pixels
        if want_mask:
            part = compose.crop(found, crop)
            plain = replace(settings, icc_profile=None)
            mask_bytes = encode(part, image_format=options.mask_format, settings=plain)
            del part
    share.keep(found.nbytes + len(image_bytes or b"") + len(mask_bytes or b""))
    return replace(result, image_bytes=image_bytes, mask_bytes=mask_bytes)


def _decode(
    source: Readable,
    options: Options,
    *,
    length: int,
    file: ModelFile | None,
    model: LoadedModel | None,
    limits: Limits,
    share: Reservation,
    watch: Stopwatch,
    want_image: bool,
    want_mask: bool,
) -> tuple[Picture, MemoryEstimate]:
    """Read and decode an image, once there is memory for it; gives what its stages take, too."""
    with limits.sources.share() as encoded:
        with watch.stage("wait"):
            encoded.take(length)
        with watch.stage("fetch"):
            data = source.read()
        with watch.stage("decode"):
            opened = open_image(data, max_pixels=limits.decoded)
            header = opened.header
            if not options.crop:
                _check_encodable(header.size, options, image=want_image, mask=want_mask)
            if model is not None and options.alpha_matting:
                limits.check_matted(header.size)
            estimate = estimate_memory(
                header,
                options,
                fed=None if model is None else model.size,
                usual=_usual_input(file, model),
                want_image=want_image,
                want_mask=want_mask,
            )
            limits.check_picture(header, estimate.most)
            with watch.stage("wait"):
                share.take(estimate.most)
            enough = _enough(options, model, want_image=want_image)
            picture = opened.decode(depth=_depth(options), min_size=enough)
    return picture, estimate


def _depth(options: Options) -> Depth:
    return np.uint16 if options.bit_depth == 16 else np.uint8


def may_shrink(options: Options, *, want_image: bool) -> bool:
    """Whether a picture may be decoded smaller: all that is made of it is what a model sees."""
    if want_image or options.alpha_matting or not options.enabled:
        return False
    return PRESETS[options.preset].may_shrink


def _enough(
    options: Options, model: LoadedModel | None, *, want_image: bool
) -> tuple[int, int] | None:
    if model is None or not may_shrink(options, want_image=want_image):
        return None
    return math.ceil(_SPARE * model.size[0]), math.ceil(_SPARE * model.size[1])


def _usual_input(file: ModelFile | None, model: LoadedModel | None) -> tuple[int, int]:
    """Width and height of a model's input whose layers are the model's own memory, not a job's."""
    if model is not None and model.engine.facts.device != "cpu":
        return model.size
    return (file and file.profile.sides) or (DEFAULT_SIDE, DEFAULT_SIDE)


def _check_encodable(size: tuple[int, int], options: Options, *, image: bool, mask: bool) -> None:
    if image:
        check_encodable(size, image_format=options.image_format)
    if mask:
        check_encodable(size, image_format=options.mask_format)


def _unused(options: Options, *, image: bool, mask: bool) -> Iterator[str]:
    """What was asked for and has no effect, each as a warning."""
    formats = [options.image_format] * image + [options.mask_format] * mask
    if options.quality is not None and not any(FORMATS[name].has_quality for name in formats):
        yield f"quality: {' and '.join(dict.fromkeys(formats))} has none"
    if options.margin != "0" and not options.crop:
        yield "margin: has no effect without crop"
    if options.background is not None and not image:
        yield "background: has no effect on a mask alone"
    if not options.enabled:
        for name in ("alpha_matting", "post_process_mask", "crop"):
            if getattr(options, name):
                yield f"{name}: has no effect with enabled=false"
    elif options.alpha_matting and not (image or PRESETS[options.preset].mattes_mask):
        yield f"alpha_matting: has no effect on a mask alone in the preset {options.preset}"
