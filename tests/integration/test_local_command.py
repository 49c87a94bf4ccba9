"""`python -m worker segment`: one local file, both engines, no queue.

Where the model does not matter it is U²-Net's small one, which takes a fifth of ISNet's time.
"""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from PIL import Image
from typer.testing import CliRunner, Result

from tests.support.tiny_models import saved, value
from worker.cli.main import app

SMALL = ("--model", "u2netp")


def segment(*arguments: str | Path) -> Result:
    """Run the command in this process; unexpected errors are raised here."""
    return CliRunner().invoke(
        app, ["segment", *map(str, arguments)], env={"COLUMNS": "200"}, catch_exceptions=False
    )


def facts(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def pixels(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    with Image.open(path) as image:
        return np.asarray(image)


def test_onnx_and_torch_give_the_same_mask(
    tmp_path: Path, photographs: Path, isnet_pth: Path
) -> None:
    photograph = photographs / "astronaut.png"
    onnx, torch = tmp_path / "onnx.png", tmp_path / "torch.png"
    from_onnx = facts(segment(photograph, "--mask", onnx, "--json"))
    from_torch = facts(segment(photograph, "--mask", torch, "--model", isnet_pth, "--json"))
    assert from_onnx["run"]["engine"].startswith("cutwork")
    assert from_torch["run"]["engine"] == "torch"
    assert from_onnx["run"]["device"] == from_torch["run"]["device"] == "cpu"
    assert from_onnx["run"]["dtype"] == from_torch["run"]["dtype"] == "float32"
    difference = np.abs(pixels(onnx).astype(int) - pixels(torch))
    assert difference.max() <= 1
    assert 0.4 < from_onnx["foreground_share"] < 0.65


def test_the_chart_of_stages(tmp_path: Path, photographs: Path) -> None:
    done = segment(photographs / "coffee.png", tmp_path / "out.png", *SMALL, "--profile")
    assert done.exit_code == 0, done.stderr
    rows = re.findall(r"^ *(\w+) +\d+\.\d{3} +\d+% *(.*)$", done.stderr, re.MULTILINE)
    assert [stage for stage, _ in rows] == [
        *(
            "load",
            "kernels",
            "wait",
            "fetch",
            "decode",
            "prepare",
            "model",
            "mask",
            "edges",
            "encode",
        ),
        *("store", "total"),
    ]
    # Each bar begins where the one before ends; a very short stage has none.
    bars = [line for line in done.stderr.splitlines() if re.search("[█▌▍▐▕]", line)]
    starts = [len(line) - len(line.split("%")[1].lstrip()) for line in bars]
    assert len(bars) > 1
    assert starts == sorted(starts)
    assert re.search(r"total +\d+\.\d{3} +100%", done.stderr)


def test_cut_out_and_mask_agree(tmp_path: Path, photographs: Path) -> None:
    out, mask = tmp_path / "out.png", tmp_path / "mask.png"
    done = segment(photographs / "chelsea.png", out, "--mask", mask, *SMALL, "--threshold", "0.5")
    assert done.exit_code == 0, done.stderr
    rgba = pixels(out)
    assert np.array_equal(rgba[:, :, 3], pixels(mask))
    assert set(np.unique(rgba[:, :, 3])) == {0, 255}
    opaque = rgba[:, :, 3] == 255
    assert np.array_equal(rgba[opaque][:, :3], pixels(photographs / "chelsea.png")[opaque])
    assert "foreground" in done.stderr


def test_a_mask_alone(tmp_path: Path, photographs: Path) -> None:
    mask = tmp_path / "mask.webp"
    done = facts(
        segment(
            photographs / "rocket.jpg", "--mask", mask, *SMALL, "--mask-format", "webp", "--json"
        )
    )
    assert pixels(mask).shape[:2] == (427, 640)
    assert [path.name for path in tmp_path.iterdir()] == ["mask.webp"]
    assert "encode" in done["seconds"]


def test_every_kind_of_option_at_once(tmp_path: Path, photographs: Path) -> None:
    out, mask = tmp_path / "out.zip", tmp_path / "mask.avif"
    options = (
        *("--preset", "segmentation-custom", "--mean", "0.485,0.456,0.406", "--size", "320x320"),
        *("--alpha-matting", "--alpha-matting-erode-size", "4", "--post-process-mask"),
        *("--background", "#10204080", "--crop", "--margin", "5%", "--quality", "85"),
        *("--image-format", "zip", "--mask-format", "avif"),
    )
    done = facts(
        segment(photographs / "coffee.png", out, "--mask", mask, *SMALL, *options, "--json")
    )
    left, upper, right, lower = done["crop"]
    assert pixels(mask).shape[:2] == (lower - upper, right - left)
    assert zipfile.ZipFile(out).namelist() == ["colour.jpg", "alpha.png"]


def test_transparent_pixels_stay_transparent(tmp_path: Path, photographs: Path) -> None:
    source, out = tmp_path / "in.png", tmp_path / "out.png"
    with Image.open(photographs / "astronaut.png") as photograph:
        alpha = Image.new("L", photograph.size, 255)
        alpha.paste(0, (0, 0, 200, 512))
        photograph.putalpha(alpha)
        photograph.save(source)
    done = facts(segment(source, out, "--mask", tmp_path / "mask.png", *SMALL, "--json"))
    cut = pixels(out)[:, :, 3]
    assert np.array_equal(cut, pixels(tmp_path / "mask.png"))
    assert not cut[:, :200].any()
    assert cut[:, 200:].max() > 250
    assert done["bounding_box"][0] >= 200


def test_disabled_passes_the_picture_through_without_a_model(
    tmp_path: Path, photographs: Path
) -> None:
    out, mask = tmp_path / "out.webp", tmp_path / "mask.tiff"
    arguments = ("--no-enabled", "--image-format", "webp", "--mask-format", "tiff", "--json")
    command = [sys.executable, "-m", "worker", "segment", str(photographs / "coffee.png"), str(out)]
    ended = subprocess.run(
        [*command, "--mask", str(mask), *arguments], capture_output=True, text=True, check=True
    )
    done = json.loads(ended.stdout)
    assert done["run"] is None
    assert done["no_foreground"] is None
    assert out.read_bytes()[8:12] == b"WEBP"
    # WebP leaves out the alpha channel of an opaque picture.
    assert np.array_equal(pixels(out)[:, :, :3], pixels(photographs / "coffee.png"))
    assert not pixels(mask).any()


def test_a_blank_picture_has_no_foreground(tmp_path: Path) -> None:
    for colour in ("black", "white", "grey"):
        blank = tmp_path / f"{colour}.png"
        Image.new("RGB", (300, 200), colour).save(blank)
        done = facts(segment(blank, "--mask", tmp_path / "mask.png", *SMALL, "--json"))
        assert done["no_foreground"] is True, colour
        assert done["bounding_box"] is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("{in}", "{out}", "--threshold", "2"), "--threshold: input should be less than or equal"),
        (("{in}", "{out}", "--mean", "a,b"), "--mean: expected numbers separated by commas"),
        (("{in}", "{out}", "--size", "100"), "option_conflict: size: isnet-general-use takes 1024"),
        (("{in}", "{out}", "--model", "nothing"), "unknown_model: model: expected one of"),
        (("{in}", "{out}", "--model", "s3://models/a.onnx"), "unknown_model"),
        (("{in}", "{out}", "--model-sha256", "0" * 64), "model_hash_mismatch"),
        (("{in}",), "expected OUT, --mask, or both"),
        (("{in}", "{in}"), "must be three different files"),
        (("{in}", "{out}", "--mask", "{out}"), "must be three different files"),
        (("{in}", "/no/folder/out.png"), "/no/folder is not a folder"),
        (("{in}", "out.jpg"), "out.jpg would hold png: expected a name ending in .png"),
        (("[/red].png", "{out}"), "IN: expected an image file, found none at [/red].png"),
        (("/dev", "{out}"), "IN: expected an image file, found none at /dev"),
        (("/proc/self/mem", "{out}", "--no-enabled"), "cannot be read or written: Input/output"),
        (("{in}", "{out}", "--mean", "1e300"), "--mean"),
        (("/nowhere.jpg", "{out}"), "IN: expected an image file, found none at /nowhere.jpg"),
    ],
)
def test_errors_are_reported_in_one_sentence(
    tmp_path: Path, photographs: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    places = {"{in}": str(photographs / "coffee.png"), "{out}": str(tmp_path / "out.png")}
    done = segment(*(places.get(item, item) for item in arguments))
    assert done.exit_code != 0
    assert isinstance(done.exception, SystemExit)
    text = " ".join(done.stderr.replace("│", " ").split())
    assert sentence in text
    assert not (tmp_path / "out.png").exists()


def test_a_preferred_gpu_that_is_missing_gives_a_warning(tmp_path: Path, photographs: Path) -> None:
    arguments = ("--mask", tmp_path / "mask.png", *SMALL, "--device-mode", "prefer_gpu", "--json")
    done = facts(segment(photographs / "chelsea.png", *arguments))
    if done["run"]["device"] == "cpu":
        (warning,) = done["warnings"]
        assert f"the model is on the CPU ({done['run']['provider']}); " in warning
        assert done["run"]["fallback"].startswith("gpu_")


def test_a_required_gpu_that_is_missing_is_refused(tmp_path: Path, photographs: Path) -> None:
    mask = tmp_path / "mask.png"
    done = segment(photographs / "chelsea.png", "--mask", mask, "--device-mode", "require_gpu")
    if done.exit_code:
        assert "error: gpu_" in done.stderr
        assert "install" in done.stderr
    assert mask.exists() == (done.exit_code == 0)


def test_a_conflict_of_options_is_refused_before_the_image_is_read(tmp_path: Path) -> None:
    source = tmp_path / "no-image.png"
    source.write_bytes(b"not an image")
    arguments = (source, "--mask", tmp_path / "mask.png", *SMALL)
    assert "option_conflict: size" in segment(*arguments, "--size", "100").stderr
    assert "not_an_image" in segment(*arguments).stderr


def test_a_profile_next_to_a_custom_model(tmp_path: Path, photographs: Path) -> None:
    path = saved(
        tmp_path / "own.onnx",
        [helper.make_node("Relu", ["x"], ["y"])],
        [value("x", (1, 3, 64, 64))],
        [value("y", (1, 3, 64, 64))],
    )
    mask = tmp_path / "mask.png"
    arguments = (photographs / "coffee.png", "--mask", mask, "--model", path, "--json")
    refused = segment(*arguments).stderr
    assert f"model_invalid: {path}: expected an output that is a map" in refused
    for profile, sentence in (
        ({"output": "z"}, "asks for the output 'z', its graph has y (1, 3, 64, 64)"),
        ({"output": 0}, "say in the profile's `channel` which"),
        ({"output": 0, "channel": 0, "size": 128}, "own.onnx takes 64×64 only, its profile"),
        (
            {"output": 0, "channel": 0, "layout": "nhwc"},
            "says layout nhwc, its graph takes [1, 3, 64, 64]",
        ),
        ({"outputs": 0}, "own.json: outputs: extra inputs are not permitted"),
        ({"output": " " * 70_000}, "own.json: expected at most 65,536 bytes"),
    ):
        path.with_suffix(".json").write_text(json.dumps(profile))
        done = segment(*arguments)
        assert sentence in " ".join(done.stderr.split())
        assert not mask.exists()
    path.with_suffix(".json").write_text(json.dumps({"output": 0, "channel": 0, "mean": 0}))
    assert facts(segment(*arguments))["run"]["dtype"] == "none"


def test_a_stage_that_hangs_ends_the_command(tmp_path: Path) -> None:
    source, out = tmp_path / "in.png", tmp_path / "out.png"
    Image.new("RGB", (64, 48)).save(source)
    program = (
        "import sys, time; from PIL.PngImagePlugin import PngImageFile;"
        "PngImageFile.load = lambda self: time.sleep(600);"
        "from worker.cli.main import app; app(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "segment", source, out, "--no-enabled"],
        env=os.environ | {"CUTWORK_STAGE_TIMEOUT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, out.exists()) == (1, "", False)
    assert done.stderr.strip() == (
        "error: stage_timeout: job in.png: the stage decode has not ended within 1.5 s, 1.5 times "
        "CUTWORK_STAGE_TIMEOUT: it hangs"
    )
