"""A process whose device hangs ends, logs the reason, and requeues its jobs first."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.patience import PATIENCE
from worker.models.process_end import EXIT_CODE

SCRIPT = """
import ctypes, logging, sys, time, threading
from producer.observability.events import Events
from worker.models.watchdog import DeviceLost, Watchdog, waiting

logging.basicConfig(format="%(levelname)s %(message)s")
say = lambda word: print(word, flush=True)
"""
HUNG = (
    SCRIPT
    + """
class Requeue(Events):
    def process_ends(self, jobs): say(f"gave back, {jobs}")

dog = Watchdog(device_timeout=0.5, stage_timeout=0.5, events=Requeue())
"""
)


def started(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(script: str) -> tuple[int, str, str]:
    """Return exit status, output and log of a process that ends without a signal."""
    process = started(script)
    out, log = process.communicate(timeout=PATIENCE)
    return process.returncode, out, log


def test_a_call_that_hangs_ends_the_process() -> None:
    code, out, log = ended(HUNG + "with dog.watch('isnet on cuda:0'): time.sleep(600)")
    assert code == EXIT_CODE == 70
    assert out == "gave back, {}\n"
    (line,) = (line for line in log.splitlines() if line.startswith("CRITICAL "))
    assert line == (
        "CRITICAL isnet on cuda:0 has not answered for 0.5 s (CUTWORK_DEVICE_TIMEOUT): it hangs. "
        "This process ends with code 70; its jobs are unacknowledged, and go back to the queue"
    )
    # The traceback of the hanging call.
    assert 'File "<string>", line' in log


def test_a_call_that_hangs_in_one_of_several_threads_ends_the_process() -> None:
    code, _, log = ended(
        HUNG
        + """
def hang():
    with dog.watch("the hung one"): time.sleep(600)

threading.Thread(target=hang).start()
while True:
    with dog.watch("another"): time.sleep(0.01)
"""
    )
    assert code == EXIT_CODE
    assert "CRITICAL the hung one has not answered" in log


def test_events_that_hang_too_do_not_delay_the_end() -> None:
    script = """
class Hang(Events):
    def process_ends(self, jobs): time.sleep(600)

dog = Watchdog(device_timeout=0.2, events=Hang())
"""
    code, _, log = ended(SCRIPT + script + "with dog.watch('isnet on cuda:0'): time.sleep(600)")
    assert code == EXIT_CODE
    assert "isnet on cuda:0 has not answered" in log


def test_a_call_that_hangs_with_the_gil_ends_the_process_too() -> None:
    """`PyDLL` calls C without releasing the GIL, as an extension may."""
    code, out, log = ended(HUNG + "with dog.watch('x'): ctypes.PyDLL(None).sleep(600)")
    assert code == 1
    assert out == ""
    assert "Timeout (0:00:01)!" in log
    assert 'File "<string>", line' in log


def test_a_stage_that_hangs_ends_the_process() -> None:
    code, out, log = ended(
        HUNG
        + """
def job(name, action):
    with dog.job(name) as limit, limit("decode"): action()

hang = lambda: time.sleep(600)

def wait():
    with waiting(): hang()

for arguments in (("waits", wait), ("hangs too", hang)):
    threading.Thread(target=job, args=arguments).start()
job("hangs", hang)
"""
    )
    assert code == EXIT_CODE
    assert re.search("CRITICAL job hangs( too)?: the stage decode has not ended within 0.75 s", log)
    assert re.search("gave back, {('hangs( too)?': 'decode'(, |})){2}", out)


def test_a_stage_that_hangs_with_the_gil_ends_the_process_too() -> None:
    script = """
with dog.job("a") as limit:
    with limit("load"), dog.watch("loading x"): pass
    with limit("decode"): ctypes.PyDLL(None).sleep(600)
"""
    code, out, log = ended(HUNG.replace("device_timeout=0.5", "device_timeout=300") + script)
    assert (code, out) == (1, "")
    assert "Timeout (0:00:01)!" in log


def test_a_device_that_is_lost_ends_the_process() -> None:
    code, out, log = ended(
        HUNG + "with dog.watch('isnet on cuda:0'): raise DeviceLost('CUDA failure 700: gone')"
    )
    assert code == EXIT_CODE
    assert out == "gave back, {}\n"
    assert "CRITICAL isnet on cuda:0: the device is lost, and nothing runs on it again" in log
    assert "(CUDA failure 700: gone). This process ends with code 70" in log


def test_the_time_a_process_was_stopped_does_not_count() -> None:
    process = started(
        SCRIPT
        + """
dog = Watchdog(device_timeout=2, stage_timeout=2)
with dog.job("a") as limit, limit("decode"), dog.watch("stopped"):
    say("in")
    time.sleep(0.5)
say("out")
"""
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(2.5)
    os.kill(process.pid, signal.SIGCONT)
    out, log = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "out\n"), log


def test_calls_within_the_timeout_have_no_effect() -> None:
    code, out, log = ended(
        SCRIPT
        + """
dog = Watchdog(device_timeout=1, stage_timeout=1)
for _ in range(100):
    with dog.job("a") as limit, limit("model"), dog.watch("quick"): time.sleep(0.005)
with dog.job("a") as limit, limit("wait"): time.sleep(2.5)
time.sleep(1.5)
with dog.watch("once more"): pass
time.sleep(1.5)
say("out")
"""
    )
    assert (code, out, log) == (0, "out\n", "")
