"""Small valid images in every readable format, with all metadata, to be damaged."""

import io
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import pillow_heif
import skimage.data
from PIL import Image, ImageCms, PngImagePlugin

SIZE: Final = (64, 48)
SRGB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

pillow_heif.register_heif_opener()


@cache
def originals() -> Mapping[str, bytes]:
    """Return valid files by name, with the extension of their format."""
    photo = Image.fromarray(skimage.data.coffee()).resize(SIZE)
    frames = [photo.rotate(angle) for angle in (90, 180)]
    clear = photo.copy()
    clear.putalpha(photo.convert("L"))
    exif = Image.Exif()
    exif[0x0112], exif[282], exif[283], exif[296] = 6, 300.0, 300.0, 2
    exif.get_ifd(0x8769)[0x9286] = b"a comment"
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "coffee", zip=True)
    texts.add_itxt("Author", "nobody", "en", "Author", zip=True)
    metadata = {"exif": exif, "icc_profile": SRGB}
    moving = {"save_all": True, "append_images": frames}
    deep = photo.convert("L").convert("I;16")
    return {
        "baseline.jpg": _saved(photo, "JPEG", **metadata),
        "progressive.jpg": _saved(photo, "JPEG", progressive=True, **metadata),
        "restarts.jpg": _saved(photo, "JPEG", restart_marker_rows=1, comment=b"a comment"),
        "cmyk.jpg": _saved(photo.convert("CMYK"), "JPEG"),
        "two.jpg": _saved(photo, "MPO", save_all=True, append_images=[frames[0].copy()]),
        "rgb.png": _saved(photo, "PNG", pnginfo=texts, dpi=(300, 300), **metadata),
        "palette.png": _saved(photo.quantize(16), "PNG", transparency=3),
        "deep.png": _saved(deep, "PNG"),
        "moving.png": _saved(photo, "PNG", duration=100, **moving),
        "moving.gif": _saved(photo, "GIF", comment=b"a comment", loop=0, **moving),
        "plain.tif": _saved(photo, "TIFF", **metadata),
        "deflate.tif": _saved(photo, "TIFF", compression="tiff_adobe_deflate"),
        "jpeg.tif": _saved(photo, "TIFF", compression="jpeg"),
        "pages.tif": _saved(photo, "TIFF", **moving),
        "big.tif": _saved(photo, "TIFF", big_tiff=True),
        "lossy.webp": _saved(photo, "WEBP", **metadata),
        "lossless.webp": _saved(clear, "WEBP", lossless=True),
        "moving.webp": _saved(photo, "WEBP", **moving),
        "photo.avif": _saved(photo, "AVIF", **metadata),
        "clear.avif": _saved(clear, "AVIF"),
        "photo.heic": _saved(photo, "HEIF", **metadata),
        "rgb.bmp": _saved(photo, "BMP"),
        "palette.bmp": _saved(photo.quantize(256), "BMP"),
    }


def _saved(image: Image.Image, image_format: str, **parameters: Any) -> bytes:
    buffer = io.BytesIO()
    # A copy: what an encoder leaves on an image reaches the next one.
    image.copy().save(buffer, image_format, **parameters)
    return buffer.getvalue()
