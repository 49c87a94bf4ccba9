"""The memory that an image needs at each stage, computed from its header and the options.

The constants are bytes per pixel: the highest value measured for a stage, rounded up.
`make bench-memory` measures whole workers.
"""

from typing import Final, NamedTuple

from worker.imaging.decontaminate import LAYER_PIXELS
from worker.imaging.readers.stored import Facts
from worker.pipeline.recipe import Recipe

_DECODE_BY_FORMAT: Final = {"WEBP": 21, "HEIF": 21, "AVIF": 17, "TIFF": 15}
"""Formats whose decoders keep whole frames or strips in memory of their own."""
_DECODE_RGB, _DECODE_CONVERTED = 11, 16
"""All other formats that Pillow reads: stored as RGB or RGBA, and in another colour mode."""
_DECODE_BY_LIBVIPS: Final = 12
"""The picture of 16 bits, turned upright; in addition to twice a pixel as libvips holds it."""
_METADATA_COPIES: Final = 6
"""Of the metadata of a TIFF, by libtiff and libvips."""
_RESIZE_BILINEAR: Final = 24
"""Per pixel of the picture: resized in floating point for a model, as ISNetSegment does it."""
_RESIZE_LANCZOS: Final = 5
"""Per pixel of the picture: resized for a model by Pillow."""
_MODEL_INPUT: Final = 100
"""Per pixel of the model's input, in double precision."""
_NETWORK: Final = 600
"""Per pixel of the model's input beyond its usual size: the network's layers, in float32."""
_MASK: Final = {"default": 5, "isnet-segment": 17, "segmentation-custom": 3}
"""Per pixel of the picture while a saliency map becomes its mask, by preset."""
_POST_PROCESS: Final = 18
_FOREGROUND_COLOURS: Final = 76
"""Per pixel whose foreground colour is estimated: at most `LAYER_PIXELS` in the default preset, the
whole picture in rembg's."""
_DOUBLE_ALPHA: Final = 8
"""Alpha in double precision."""
_MATTING, _MATTING_UNKNOWN = 30, 550
"""Per pixel of a picture whose matte is solved for, and in addition per unknown pixel."""
_PICTURE_AND_MASK: Final = 12
"""The picture and its mask, with 16 bits."""
_UNKNOWN_SHARE: Final = 0.2
"""The share of unknown pixels that is assumed until the model has run."""
_ENCODE: Final = {"png": 9, "tiff": 9, "webp": 36, "avif": 42, "jpeg": 7, "zip": 9}
"""Per pixel of four 8-bit channels while they are encoded, with the encoded bytes; of noise."""
_ENCODE_MASK: Final = {"png": 4, "tiff": 4, "webp": 28, "avif": 24}
_FIXED: Final = 24 * 2**20
"""Bytes per image of any size: buffers for strips, and what allocators round up."""


class MemoryEstimate(NamedTuple):
    """Bytes of memory by stage."""

    decode: int
    model: int
    edges: int
    encode: int

    @property
    def peak(self) -> int:
        """Bytes at the stage that needs most."""
        return max(self)


def estimate_memory(
    header: Facts,
    recipe: Recipe,
    *,
    input_size: tuple[int, int] | None,
    usual_input_size: tuple[int, int],
) -> MemoryEstimate:
    """Return the memory that an image needs.

    `input_size` is width and height of the model's input, None without a model. Up to
    `usual_input_size` the network's layers belong to the model's memory instead of the image's.
    """
    options = recipe.options
    pixels = header.size[0] * header.size[1]
    sample = options.bit_depth // 8
    # Colours, the source's alpha and the mask.
    picture = (4 + header.has_transparency) * sample
    constant = 0
    cutout, work = 0, _POST_PROCESS * options.post_process_mask
    if recipe.want_image:
        # RGBA, its copy on a background, and the alpha.
        cutout = (5 if options.background is None else 9) * sample
    matted = options.alpha_matting
    if options.enabled and matted:
        work = max(work, round(_MATTING + _MATTING_UNKNOWN * _UNKNOWN_SHARE))
    if options.enabled and recipe.want_image and recipe.estimates_foreground(matted=matted):
        if recipe.preset.matches_rembg:
            work = max(work, _FOREGROUND_COLOURS + _DOUBLE_ALPHA)
        else:
            constant = (_FOREGROUND_COLOURS + _DOUBLE_ALPHA) * min(pixels, LAYER_PIXELS)
    encode = max(
        (4 + _ENCODE[options.image_format]) * recipe.want_image,
        # The encoded cut-out stays in memory while the mask is encoded.
        (4 * recipe.want_image + 1 + _ENCODE_MASK[options.mask_format]) * recipe.want_mask,
    )
    return MemoryEstimate(
        decode=_FIXED
        + max(pixels, header.decoded_pixels) * _decode(header, sixteen_bits=options.bit_depth == 16)
        + _METADATA_COPIES * header.metadata_bytes
        + header.copied_bytes,
        model=_FIXED + pixels * picture + _model(recipe, pixels, input_size, usual_input_size),
        edges=_FIXED + pixels * (picture + sample + max(cutout, work)) + constant,
        encode=_FIXED + pixels * sample * (1 + encode),
    )


def matting_memory(pixels: int, unknown: int) -> int:
    """Return the bytes for matting a picture, itself included, with `unknown` unknown pixels."""
    return _FIXED + (_MATTING + _PICTURE_AND_MASK) * pixels + _MATTING_UNKNOWN * unknown


def idle_memory(pixels: int) -> int:
    """Return the bytes of a picture and its mask while no stage works on them."""
    return _FIXED + _PICTURE_AND_MASK * pixels


def _decode(header: Facts, *, sixteen_bits: bool) -> int:
    if header.pixel_bytes:
        return _DECODE_BY_LIBVIPS + 2 * header.pixel_bytes
    plain = _DECODE_RGB if header.mode in ("RGB", "RGBA") else _DECODE_CONVERTED
    # 8-bit sources are widened after they are decoded.
    return max(_DECODE_BY_FORMAT.get(header.format, 0), plain) + 6 * sixteen_bits


def _model(
    recipe: Recipe,
    pixels: int,
    input_size: tuple[int, int] | None,
    usual_input_size: tuple[int, int],
) -> int:
    if input_size is None:
        return 0
    preset, sample = recipe.options.preset, recipe.options.bit_depth // 8
    resize = _RESIZE_BILINEAR if preset == "isnet-segment" else 3 + _RESIZE_LANCZOS
    inputs = input_size[0] * input_size[1]
    surplus = max(inputs - usual_input_size[0] * usual_input_size[1], 0)
    per_pixel = max(resize, sample * _MASK[preset])
    return pixels * per_pixel + _MODEL_INPUT * inputs + _NETWORK * surplus
