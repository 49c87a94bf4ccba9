"""An object store that fails, stalls, cuts its answers short, or no longer knows us."""

import time
from typing import Final

from tests.system.chaos.ground import Ground, until
from tests.system.chaos.load import Load
from tests.system.chaos.rounds import Fault, Strike
from tests.system.chaos.s3_proxy import CutBody, Hold, Refuse, S3Fault

_ALL: Final = ("GET", "HEAD", "PUT", "DELETE")


def _for_a_while(fault: S3Fault, *methods: str, seconds: float = 1.5, share: float = 1) -> Strike:
    """Every such request, or a share of them, while the jobs run."""

    def strike(ground: Ground, load: Load) -> None:
        with ground.store.failing(fault, *methods, share=share) as rule:
            load.send()
            until(lambda: rule.struck, "a request that is struck")
            time.sleep(seconds)

    return strike


def _now_and_then(ground: Ground, load: Load) -> None:
    """As long as the load runs: 5 % of all calls."""
    with ground.store.failing(Refuse(500, "InternalError"), *_ALL, share=0.05):
        load.send()
        ground.over = time.monotonic()
        load.wait(40)


def _a_few(fault: S3Fault, *methods: str, place: str, times: int = 4) -> Strike:
    """So many requests below a place."""

    def strike(ground: Ground, load: Load) -> None:
        with ground.store.failing(fault, *methods, place=place, times=times) as rule:
            load.send()
            until(lambda: rule.struck >= times, f"{times} requests that are struck")

    return strike


def _stall(ground: Ground, load: Load) -> None:
    """Requests that take 30 s, for as long as it takes everybody to give up on them."""
    with ground.store.failing(Hold(seconds=30), *_ALL, times=6) as rule:
        load.send()
        until(lambda: rule.struck >= 6, "6 requests that are held")
        ground.over = time.monotonic()
        load.wait(40)


FAULTS: Final = (
    Fault(
        name="s3-500",
        what="S3 answers 500 for 1.5 s",
        strike=_for_a_while(Refuse(500, "InternalError"), *_ALL),
    ),
    Fault(
        name="s3-slow-down",
        what="S3 answers 503 SlowDown for 1.5 s",
        strike=_for_a_while(Refuse(503, "SlowDown"), *_ALL),
    ),
    Fault(
        name="s3-expired",
        what="S3 answers 403 ExpiredToken for 1.5 s",
        strike=_for_a_while(Refuse(403, "ExpiredToken"), *_ALL),
    ),
    Fault(
        name="s3-cuts-bodies",
        what="S3 cuts bodies half-way",
        strike=_a_few(CutBody(), "GET", place="photos", times=6),
    ),
    Fault(name="s3-stalls", what="S3 takes 30 s for a request", strike=_stall),
    Fault(
        name="s3-unreliable",
        what="5 % of all S3 calls fail",
        strike=_now_and_then,
        items=24,
    ),
)
