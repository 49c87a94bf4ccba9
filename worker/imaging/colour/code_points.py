"""Code points for colour (CICP), as in `colr` boxes of HEIC and AVIF and in cICP of PNG.

Source: Recommendation ITU-T H.273 (2024), tables 2 and 3.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from worker.imaging.colour import curves
from worker.imaging.colour.curves import Curve, Parametric
from worker.imaging.colour.icc import ColourSpace, Primaries, write_profile

_UNSPECIFIED: Final = 2
_BT709, _BT2020, _SRGB, _PQ, _HLG = 1, 9, 13, 16, 18

_D65: Final = (0.3127, 0.3290)
_C: Final = (0.310, 0.316)
_SMPTE170: Final = Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65)
BT709_PRIMARIES: Final = Primaries((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65)

_PRIMARIES: Final[Mapping[int, tuple[str, Primaries]]] = {
    _BT709: ("BT.709", BT709_PRIMARIES),
    4: ("BT.470 M", Primaries((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C)),
    5: ("BT.601 625", Primaries((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65)),
    6: ("BT.601 525", _SMPTE170),
    7: ("SMPTE 240M", _SMPTE170),
    8: ("film", Primaries((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C)),
    _BT2020: ("BT.2020", Primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65)),
    10: ("XYZ", Primaries((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1 / 3, 1 / 3))),
    11: ("DCI-P3", Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351))),
    12: ("Display P3", Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65)),
    22: ("EBU 3213", Primaries((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65)),
}
_CURVES: Final[Mapping[int, tuple[str, Curve]]] = {
    1: ("BT.709", curves.BT709),
    4: ("gamma 2.2", Parametric(2.2)),
    5: ("gamma 2.8", Parametric(2.8)),
    6: ("BT.601", curves.BT709),
    7: ("SMPTE 240M", curves.SMPTE240),
    8: ("linear", Parametric(1.0)),
    9: ("log 100:1", curves.logarithmic(2)),
    10: ("log 316:1", curves.logarithmic(2.5)),
    11: ("xvYCC", curves.BT709),
    12: ("BT.1361", curves.BT709),
    _SRGB: ("sRGB", curves.SRGB),
    14: ("BT.2020", curves.BT709),
    15: ("BT.2020", curves.BT709),
    _PQ: ("PQ", curves.pq),
    17: ("SMPTE 428", curves.SMPTE428),
    _HLG: ("HLG", curves.hlg),
}


class CodePoints(NamedTuple):
    """Colour of RGB pixels by the numbers of H.273."""

    primaries: int
    transfer: int

    @property
    def are_srgb(self) -> bool:
        """Whether they name sRGB; one of the two may be unspecified."""
        return self in ((_BT709, _SRGB), (_BT709, _UNSPECIFIED), (_UNSPECIFIED, _SRGB))

    @property
    def are_unspecified(self) -> bool:
        """Whether they say that the file states no colour."""
        return self == (_UNSPECIFIED, _UNSPECIFIED)


def profile_of(points: CodePoints, warnings: list[str]) -> bytes | None:
    """Return an ICC profile for RGB pixels with these code points; None for sRGB.

    What is unspecified is as in sRGB, but PQ and HLG have the primaries of BT.2020. Code points
    without a meaning add a sentence to `warnings`, as do PQ and HLG: a reader that knows nothing of
    them shows light above diffuse white as white.
    """
    primaries, transfer = points
    if transfer == _UNSPECIFIED:
        transfer = _SRGB
    if primaries == _UNSPECIFIED:
        primaries = _BT2020 if transfer in (_PQ, _HLG) else _BT709
    if (primaries, transfer) == (_BT709, _SRGB):
        return None
    if primaries not in _PRIMARIES or transfer not in _CURVES:
        warnings.append(
            "colour: expected primaries and a transfer function of ITU-T H.273, found the code "
            f"points {points.primaries} and {points.transfer}, which are ignored"
        )
        return None
    if transfer in (_PQ, _HLG):
        warnings.append(
            f"colour: {_CURVES[transfer][0]}, high dynamic range: readers that do not know it show "
            f"everything above {curves.HDR_WHITE:.0f} cd/m² as white"
        )
    return write_profile(_space(primaries, transfer))


def hdr_space(points: tuple[int, int] | None) -> ColourSpace | None:
    """Return the colour space of code points with PQ or HLG; None for others."""
    if points is None or points[0] not in _PRIMARIES or points[1] not in (_PQ, _HLG):
        return None
    return _space(*points)


def _space(primaries: int, transfer: int) -> ColourSpace:
    """Return the colour space of code points that have one."""
    (name, chromaticities), (curve_name, curve) = _PRIMARIES[primaries], _CURVES[transfer]
    return ColourSpace(f"{name}, {curve_name}", chromaticities, curve, (primaries, transfer))
