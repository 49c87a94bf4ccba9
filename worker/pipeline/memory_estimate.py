"""How much memory an image takes on its way, by what is asked of it, known before it is decoded.

The figures are bytes a pixel: the most that was measured of a stage, rounded up.
`make bench-memory` measures whole workers.
"""

from typing import Final, NamedTuple

from producer.contract.options import Options
from worker.imaging.decode import Header
from worker.imaging.decontaminate import LAYER_PIXELS
from worker.pipeline.presets import PRESETS

_DECODE: Final = {"WEBP": 21, "HEIF": 21, "AVIF": 17, "TIFF": 15}
"""Of these formats, whose decoders keep whole frames or strips of their own."""
_DECODE_PLAIN, _DECODE_CONVERTED, _DECODE_WIDE = 11, 16, 28
"""Of the others: as RGB or RGBA, from another kind of pixels, and with 16 bits kept."""
_BILINEAR: Final = 24
"""Of a picture, in floating point, on its way to a model as ISNetSegment feeds it."""
_SQUASHED: Final = 5
"""Of a picture on its way to a model through Pillow."""
_INPUT: Final = 100
"""Of the model's input, in double precision."""
_NETWORK: Final = 600
"""Of the model's input above its usual size: the network's own layers, in float32."""
_MAP: Final = {"default": 5, "isnet-segment": 17, "segmentation-custom": 3}
"""Of a picture while a map becomes its mask, by preset."""
_POST_PROCESS: Final = 18
_ESTIMATE: Final = 76
"""Of what the subject's colour is estimated for: at most some of the picture in the default preset,
all of it in rembg's."""
_SHARES: Final = 8
"""Of alpha in double precision."""
_MATTED, _MATTED_UNKNOWN = 30, 550
"""Of a picture that is matted, and of each of its unknown pixels besides."""
_BESIDE: Final = 12
"""Of the picture itself and its mask, of 16 bits."""
_MATTED_SHARE: Final = 0.2
"""Unknown pixels that a picture to be matted is taken to have; it is known behind the model."""
_ENCODE: Final = {"png": 9, "tiff": 9, "webp": 36, "avif": 42, "jpeg": 7, "zip": 9}
"""Of a picture of four channels of 8 bits while it is encoded, its bytes included: of noise."""
_ENCODE_MASK: Final = {"png": 4, "tiff": 4, "webp": 28, "avif": 24}
"""Of a mask."""
_FIXED: Final = 24 * 2**20
"""Bytes of any image: what is made of some rows at a time, and what allocators round up."""


class MemoryEstimate(NamedTuple):
    """Bytes of memory, by stage."""

    decode: int
    model: int
    edges: int
    encode: int

    @property
    def most(self) -> int:
        """Bytes from the first stage to the last."""
        return max(self)


def estimate_memory(
    header: Header,
    options: Options,
    *,
    fed: tuple[int, int] | None,
    usual: tuple[int, int],
    want_image: bool,
    want_mask: bool,
) -> MemoryEstimate:
    """What an image takes.

    `fed`: width and height of the model's input, None where no model is asked; `usual`: those up to
    which its layers count as the model's own memory.
    """
    pixels = header.size[0] * header.size[1]
    deep = options.bit_depth // 8
    # Its colours, its own alpha and the mask.
    picture = (4 + header.transparent) * deep
    whole = 0
    result, work = 0, _POST_PROCESS * options.post_process_mask
    if want_image:
        # The cut-out, what lies before a background, and where the subject is.
        result = (5 if options.background is None else 9) * deep
    if options.enabled and options.alpha_matting:
        work = max(work, round(_MATTED + _MATTED_UNKNOWN * _MATTED_SHARE))
    if options.enabled and want_image and _estimates(options):
        if PRESETS[options.preset].as_rembg:
            work = max(work, _ESTIMATE + _SHARES)
        else:
            whole = (_ESTIMATE + _SHARES) * min(pixels, LAYER_PIXELS)
    encode = max(
        (4 + _ENCODE[options.image_format]) * want_image,
        # The bytes of a finished cut-out wait for those of the mask.
        (4 * want_image + 1 + _ENCODE_MASK[options.mask_format]) * want_mask,
    )
    return MemoryEstimate(
        decode=_FIXED + pixels * _decode(header, wide=options.bit_depth == 16),
        model=_FIXED + pixels * picture + _model(options, pixels, fed, usual),
        edges=_FIXED + pixels * (picture + deep + max(result, work)) + whole,
        encode=_FIXED + pixels * deep * (1 + encode),
    )


def matting(pixels: int, unknown: int) -> int:
    """Bytes of a picture that is matted, itself included, with so many of its pixels unknown."""
    return _FIXED + (_MATTED + _BESIDE) * pixels + _MATTED_UNKNOWN * unknown


def in_hand(pixels: int) -> int:
    """Bytes of a picture and its mask while nothing is done with them."""
    return _FIXED + _BESIDE * pixels


def _decode(header: Header, *, wide: bool) -> int:
    if header.sixteen and wide:
        return _DECODE_WIDE
    taken = _DECODE_PLAIN if header.mode in ("RGB", "RGBA") else _DECODE_CONVERTED
    # Eight bits are widened once they are there.
    return max(_DECODE.get(header.format, 0), taken) + 6 * wide


def _model(
    options: Options, pixels: int, fed: tuple[int, int] | None, usual: tuple[int, int]
) -> int:
    if fed is None:
        return 0
    squash = _BILINEAR if options.preset == "isnet-segment" else 3 + _SQUASHED
    inputs = fed[0] * fed[1]
    surplus = max(inputs - usual[0] * usual[1], 0)
    wide = options.bit_depth // 8
    return pixels * max(squash, wide * _MAP[options.preset]) + _INPUT * inputs + _NETWORK * surplus


def _estimates(options: Options) -> bool:
    if options.alpha_matting or options.estimate_foreground is None:
        return PRESETS[options.preset].estimates_foreground or options.alpha_matting
    return options.estimate_foreground
