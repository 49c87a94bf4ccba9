"""The values of TIFF tags that decide about the pixels, and their names for messages.

Source: TIFF 6.0, sections 8, 18 to 20 and 23; the registries of libtiff and of Adobe for the rest.
"""

from typing import Final

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, SEPARATED, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
UNSTATED: Final = -1
"""In place of a photometric interpretation, which the raw files of Canon do not state."""
PHOTOMETRICS: Final = {
    UNSTATED: "pixels without a photometric interpretation (camera raw)",
    WHITE_IS_ZERO: "white-is-zero grey",
    BLACK_IS_ZERO: "grey",
    RGB: "RGB",
    PALETTE: "palette",
    4: "transparency mask",
    SEPARATED: "CMYK",
    YCBCR: "YCbCr",
    LAB: "CIE L*a*b*",
    9: "ICC L*a*b*",
    10: "ITU L*a*b*",
    32803: "colour filter array (camera raw)",
    32844: "LogL",
    32845: "LogLuv",
    34892: "linear raw",
}
NONE, JPEG, OLD_JPEG = 1, 7, 6
COMPRESSIONS: Final = {
    NONE: "none",
    2: "CCITT RLE",
    3: "CCITT group 3",
    4: "CCITT group 4",
    5: "LZW",
    OLD_JPEG: "old JPEG",
    JPEG: "JPEG",
    8: "deflate",
    32766: "NeXT",
    32771: "CCITT RLE by words",
    32773: "PackBits",
    32809: "ThunderScan",
    32946: "deflate",
    50001: "WebP",
}
"""Those that libvips decompresses."""
ZSTD, LZMA = 50000, 34925
_OTHER_COMPRESSIONS: Final = {
    9: "JBIG",
    10: "JBIG",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34676: "SGI log",
    34677: "SGI log",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG",
    LZMA: "LZMA",
    34926: "Zstandard",
    34927: "WebP",
    34933: "PNG",
    34934: "JPEG XR",
    ZSTD: "Zstandard",
    50002: "JPEG XL",
    52546: "JPEG XL",
}


UINT, INT, FLOAT, UNDEFINED = 1, 2, 3, 4
_SAMPLE_FORMATS: Final = {
    UINT: "{}-bit integers",
    INT: "{}-bit integers with a sign",
    FLOAT: "{}-bit floating point",
    UNDEFINED: "{} undefined bits",
    5: "{}-bit complex integers",
    6: "{}-bit complex floating point",
}
ASSOCIATED, UNASSOCIATED = 1, 2
"""Kinds of extra samples that are alpha."""


def compression_name(number: int) -> str:
    """Return the name of a compression; its number if it is unknown."""
    return COMPRESSIONS.get(number) or _OTHER_COMPRESSIONS.get(number) or str(number)


def sample_name(sample_format: int, bits: int) -> str:
    """Return what a sample is, such as "16-bit integers"."""
    return _SAMPLE_FORMATS.get(sample_format, "{} bits").format(bits)
