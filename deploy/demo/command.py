"""`make demo`: cut out photographs with a real broker, S3 server and worker into `demo-out/`."""

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import skimage.data
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from deploy.child import ChildFailed
from deploy.demo.contact_sheet import write_before_after, write_contact_sheet
from deploy.demo.image_facts import ImageFacts
from deploy.demo.page import write_page
from deploy.local import LocalStack
from producer import BrokerUnavailable, Client, Job, Options, OutcomeTimeout
from producer.contract.outcome import Outcome
from worker.cli.progress_bar import download_bar
from worker.config.settings import ModelSettings
from worker.errors import CutworkError
from worker.pipeline.factory import open_store

MODEL: Final = "isnet-general-use"
PHOTOGRAPHS: Final = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "motorcycle_left.png",
)
"""Files of scikit-image's wheel."""
_PUBLIC_DOMAIN: Final = ("astronaut", "chelsea", "coffee", "rocket")
"""Those whose before/after picture may be committed: public domain or CC0, see the README."""
WORKER_STARTS: Final = "starting a worker, which loads the model: half a minute or more …"
_SECONDS_AN_IMAGE: Final = 60
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN_SECONDS: Final = 0.5

console = Console()


def main() -> None:
    """Run the demo; exit with 130 on Ctrl-C and 1 on a failure, and leave no process behind."""
    stop_on_signals()
    started = time.monotonic()
    out = Path("demo-out")
    try:
        fetch_model()
        with tempfile.TemporaryDirectory(prefix="cutwork-demo-") as folder:
            shown = _run(Path(folder), out)
    except KeyboardInterrupt:
        no_more_interrupts()
        console.print("\ninterrupted; all child processes are stopped")
        sys.exit(130)
    except (ChildFailed, CutworkError, BrokerUnavailable, OutcomeTimeout) as error:
        console.print(f"[red]the demo failed[/]: {escape(str(error))}", soft_wrap=True)
        sys.exit(1)
    _write_pages(shown, out)
    done = sum(item.outcome.ok for item in shown)
    took = time.monotonic() - started
    console.print(f"{done} of {len(shown)} photographs cut out, {took:.0f} s in all")
    for name in ("index.html", "contact-sheet.png"):
        console.print(f"  [bold]{(out / name).resolve()}[/]", soft_wrap=True, highlight=False)
    sys.exit(0 if done == len(shown) else 1)


def stop_on_signals() -> None:
    """Handle every signal that asks for an end like Ctrl-C, which stops all child processes."""
    # A shell starts background commands with SIGINT ignored; Python then installs no handler.
    for number in (*_ENDING, signal.SIGALRM):
        signal.signal(number, _interrupt)
    sys.unraisablehook = _report_unraisable


def _report_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Report an exception that cannot be raised, but not the interrupt that is raised again."""
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    # Python reports and drops an exception inside a finalizer: the timer raises it again.
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
    raise KeyboardInterrupt


def no_more_interrupts() -> None:
    """Ignore further signals, so that a second Ctrl-C cannot interrupt the cleanup."""
    for number in (*_ENDING, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0)


def fetch_model() -> None:
    """Fetch the weights into the model cache unless they are there."""
    settings = ModelSettings.read()
    console.print(f"fetching the weights of {MODEL}, unless they are cached …", highlight=False)
    with download_bar(console) as progress:
        store = open_store(settings, progress=progress)
        file = store.resolve(MODEL)
    console.print(f"weights  {file.path}", highlight=False, soft_wrap=True)


def _run(folder: Path, out: Path) -> list[ImageFacts]:
    """Start the servers, cut out the photographs and stop the servers."""
    with LocalStack(folder) as stack, no_more_interrupts_on_exit():
        with console.status("starting a broker, an S3 server and a worker …"):
            stack.start_broker()
            console.print(f"broker   {stack.broker_url}", highlight=False)
            stack.start_s3()
            console.print(f"S3       {stack.s3_url}", highlight=False)
            worker = stack.start_worker(concurrency=2, CUTWORK_PRELOAD=MODEL)
            console.print(WORKER_STARTS)
            s3 = stack.s3()
            for bucket in ("photos", "cutouts"):
                s3.create_bucket(Bucket=bucket)
            for name, data in photographs().items():
                s3.put_object(Bucket="photos", Key=name, Body=data)
            stack.wait_for_worker(worker)
            console.print(f"worker   process {worker.pid}, threads pool", highlight=False)
        with stack.client() as client:
            outcomes = _follow(client)
        if out.exists():
            shutil.rmtree(out)
        out.mkdir()
        shown = []
        for name, outcome in outcomes.items():
            stem = Path(name).stem
            original = out / f"{stem}-original{Path(name).suffix}"
            original.write_bytes(photographs()[name])
            image, mask = out / f"{stem}.png", out / f"{stem}-mask.png"
            if outcome.ok:
                s3.download_file("cutouts", image.name, str(image))
                s3.download_file("cutouts", mask.name, str(mask))
            shown.append(
                ImageFacts(
                    name=name,
                    original=original,
                    cutout=image if outcome.ok else None,
                    mask=mask if outcome.ok else None,
                    outcome=outcome,
                )
            )
        return shown


def photographs() -> Mapping[str, bytes]:
    """Return the photographs by name."""
    folder = Path(skimage.data.__file__).parent
    return {name: (folder / name).read_bytes() for name in PHOTOGRAPHS}


def _follow(client: Client) -> dict[str, Outcome]:
    """Enqueue every photograph through the public API and wait for the outcomes."""
    jobs = [
        Job(
            source=f"s3://photos/{name}",
            image=f"s3://cutouts/{Path(name).stem}.png",
            mask=f"s3://cutouts/{Path(name).stem}-mask.png",
            options=Options(model=MODEL),
        )
        for name in PHOTOGRAPHS
    ]
    names = dict(zip((job.id for job in jobs), PHOTOGRAPHS, strict=True))
    columns = (
        TextColumn("cutting out"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    outcomes: dict[str, Outcome] = {}
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=len(jobs), rate="")
        started = time.monotonic()
        handles = client.submit_many(jobs)
        bar.console.print(f"queue    {len(handles)} photographs")
        for handle, outcome in client.as_completed(handles, _SECONDS_AN_IMAGE * len(jobs)):
            outcomes[names[handle.id]] = outcome
            if not outcome.ok:
                bar.console.print(f"[red]{names[handle.id]}[/] {outcome.code}: {outcome.message}")
            rate = len(outcomes) / (time.monotonic() - started)
            bar.update(task, advance=1, rate=f"{rate:.2f} images/s")
    return {name: outcomes[name] for name in PHOTOGRAPHS}


def _write_pages(shown: list[ImageFacts], out: Path) -> None:
    write_contact_sheet(shown, out / "contact-sheet.png")
    write_page(shown, out / "index.html", title="Cutwork demo")
    free = [item for item in shown if Path(item.name).stem in _PUBLIC_DOMAIN and item.outcome.ok]
    if free:
        write_before_after(free, out / "before-after.png")


@contextmanager
def no_more_interrupts_on_exit() -> Iterator[None]:
    """Ignore signals from the end of the block on, while the surrounding blocks clean up."""
    try:
        yield
    finally:
        no_more_interrupts()
