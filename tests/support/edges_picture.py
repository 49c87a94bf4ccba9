"""Make `docs/edges.png`: an edge of one photograph, cut out in three ways, on a bright colour.

python -m tests.support.edges_picture OUT.png
"""

import io
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageDraw, ImageFont

from producer.contract.options import Options
from tests.support.cutting import cut_alone
from tests.support.photographs import photograph
from tests.system.fidelity import Systems

WAYS: Final[dict[str, dict[str, Any]]] = {
    "plain: the wall shines through": {"estimate_foreground": False},
    "default: the hair's own colour": {},
    "default with --alpha-matting": {"alpha_matting": True},
}
# NASA's portrait of Eileen Collins, public domain.
PHOTOGRAPH: Final = "astronaut.png"
PART: Final = (150, 10, 215, 90)
SCALE: Final = 6
CAPTION: Final = 40


def main(out: Path) -> None:
    """Write the image."""
    width, height = (PART[2] - PART[0]) * SCALE, (PART[3] - PART[1]) * SCALE
    sheet = Image.new("RGB", (len(WAYS) * (width + 12) - 12, height + CAPTION), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=22)
    with tempfile.TemporaryDirectory() as folder:
        systems = Systems(Path(folder))
        for column, (caption, given) in enumerate(WAYS.items()):
            options = Options(background="#ff1fb4", **given)
            file = systems.store.resolve(options.model)
            data = photograph(PHOTOGRAPH)
            cut_out = cut_alone(data, options, file=file, models=systems.models)
            part = Image.open(io.BytesIO(cut_out.image_bytes or b"")).crop(PART)
            left = column * (width + 12)
            sheet.paste(part.resize((width, height), Image.Resampling.NEAREST), (left, 0))
            draw.text((left + 4, height + 8), caption, "black", font)
    sheet.quantize(256).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
