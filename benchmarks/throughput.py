"""Images per second through broker and S3, compared with the bare model and rembg."""

import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Final, Literal

import numpy as np
import onnx
import rembg

from benchmarks.figure import Figure
from benchmarks.photographs import jpegs
from benchmarks.servers import servers
from deploy.local import LocalStack
from producer import Client, Options
from worker.config.settings import ModelSettings
from worker.models.engines.onnx.full_precision import convert_to_float32
from worker.models.engines.onnx.providers import CPU
from worker.observability.stopwatch import Stopwatch
from worker.pipeline.factory import open_models, open_store
from worker.pipeline.recipe import Recipe
from worker.pipeline.segment import load_model

MODEL: Final = "isnet-general-use"
_OPTIONS: Final = Options(model=MODEL)
_ROUNDS: Final = 3
_IMAGES: Final = 8
_BARE: Final = 4
_THREADS: Final = 4


class Site:
    """Workers with a broker, an S3 server and photographs."""

    def __init__(self, stack: LocalStack, client: Client, options: Options) -> None:
        self._stack = stack
        self._client = client
        self._options = options
        self._sent = 0

    def rate(self, megapixels: float, *, mask: bool, images: int = _IMAGES) -> float:
        """Return images per second between the first and the last outcome."""
        names = list(jpegs(megapixels))
        for name, data in jpegs(megapixels).items():
            self._stack.s3().put_object(Bucket="photos", Key=f"{megapixels}/{name}", Body=data)
        handles = []
        for number in range(images):
            self._sent += 1
            handles.append(
                self._client.submit(
                    f"s3://photos/{megapixels}/{names[number % len(names)]}",
                    image=f"s3://cutouts/{self._sent}.png",
                    mask=f"s3://cutouts/{self._sent}-mask.png" if mask else None,
                    options=self._options,
                )
            )
        ended = []
        for handle in handles:
            outcome = handle.wait(600)
            if outcome.state != "done":
                raise RuntimeError(f"{outcome.code}: {outcome.message}")
            ended.append(outcome.finished_at)
        ended.sort()
        return (images - 1) / (ended[-1] - ended[0])


@contextmanager
def site(
    *, workers: int = 1, threads: int = _THREADS, options: Options = _OPTIONS
) -> Iterator[Site]:
    """Start worker processes, which have loaded the model and cut out an image."""
    with servers() as (stack, _):
        started = [
            stack.start_worker(concurrency=threads, CUTWORK_PRELOAD=MODEL) for _ in range(workers)
        ]
        for worker in started:
            stack.wait_for_worker(worker)
        with stack.client() as client:
            here = Site(stack, client, options)
            here.rate(0.25, mask=True, images=2 * workers)
            yield here


def against_the_bare_model() -> list[Figure]:
    """Measure the model in a loop and jobs through broker and S3 in turns."""
    bare, through = [], []
    with site() as here, in_a_process(bare_model) as loop:
        for _ in range(_ROUNDS):
            bare.append(loop(_BARE))
            through.append(here.rate(1, mask=True))
    return [
        Figure(
            what="images/s through broker and S3 ÷ images/s of the bare model in a loop, 1 MP, CPU",
            value=median(through) / median(bare),
            at_least=0.9,
            how=f"{median(through):.3f} ÷ {median(bare):.3f} images/s; RGBA PNG and mask",
            samples={"through, images/s": through, "bare, images/s": bare},
        )
    ]


def against_rembg() -> list[Figure]:
    """Measure rembg on the bytes of an image and jobs through broker and S3 in turns."""
    figures = []
    with site() as here, in_a_process(rembg_loop) as loop:
        for megapixels, at_least in ((1, 1.5), (6, 2.0)):
            theirs, ours = [], []
            for _ in range(_ROUNDS):
                theirs.append(loop(_BARE, megapixels))
                ours.append(here.rate(megapixels, mask=False))
            figures.append(
                Figure(
                    what=f"images/s ÷ those of rembg, {megapixels} MP, CPU",
                    value=median(ours) / median(theirs),
                    at_least=at_least,
                    how=f"{median(ours):.3f} ÷ {median(theirs):.3f} images/s; JPEG to RGBA PNG",
                    samples={"ours, images/s": ours, "rembg, images/s": theirs},
                )
            )
    return figures


Loop = Callable[..., float]


@contextmanager
def in_a_process(make: Callable[[], Loop]) -> Iterator[Loop]:
    """Run a loop in its own process, so that it does not affect other measurements."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(make, theirs), daemon=True)
    process.start()
    theirs.close()

    def loop(*arguments: float) -> float:
        ours.send(arguments)
        rate: float = ours.recv()
        return rate

    try:
        loop(1)
        yield loop
    finally:
        process.terminate()
        process.join()


def _serve(make: Callable[[], Loop], pipe: Connection) -> None:
    loop = make()
    while True:
        pipe.send(loop(*pipe.recv()))


def bare_model(cpu_engine: Literal["auto", "onnxruntime"] = "auto") -> Loop:
    """Run only inference on a prepared input, with a worker's engine."""
    settings = ModelSettings.read().model_copy(update={"cpu_engine": cpu_engine})
    store = open_store(settings)
    models = open_models(settings, store)
    resources = ExitStack()
    recipe = Recipe.resolve(Options(model=MODEL), file=store.resolve(MODEL))
    model = resources.enter_context(load_model(recipe, models=models, watch=Stopwatch()))
    width, height = model.input_size
    image = np.random.default_rng(0).random((1, 3, height, width), np.float32)

    def loop(images: int) -> float:
        began = time.perf_counter()
        for _ in range(images):
            model.engine.infer(image)
        return images / (time.perf_counter() - began)

    return loop


def rembg_loop(provider: str = CPU) -> Loop:
    """Run `rembg.remove` on the same weights in full precision, with all outputs."""
    # The only folder from which rembg loads models.
    folder = os.environ["U2NET_HOME"] = tempfile.mkdtemp(prefix="cutwork-bench-")
    path = Path(folder) / "isnet.onnx"
    model = onnx.load(open_store(ModelSettings.read()).resolve(MODEL).path)
    convert_to_float32(model)
    onnx.save(model, path)
    chosen = [*dict.fromkeys((provider, CPU))]
    session = rembg.new_session("dis_custom", providers=chosen, model_path=str(path))
    shutil.rmtree(folder)
    if session.inner_session.get_providers()[0] != provider:
        raise RuntimeError(f"expected rembg on {provider}, which did not start")

    def loop(images: int, megapixels: float = 1) -> float:
        sources = list(jpegs(megapixels).values())
        began = time.perf_counter()
        for number in range(images):
            rembg.remove(sources[number % len(sources)], session=session)
        return images / (time.perf_counter() - began)

    return loop
