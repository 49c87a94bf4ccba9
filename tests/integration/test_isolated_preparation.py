"""The process that prepares a graph ends with the worker that started it."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

PREPARE = (
    "import sys; from pathlib import Path; "
    "from worker.models.engines.onnx.isolated import prepare_isolated; "
    "prepare_isolated(Path(sys.argv[1]), Path(sys.argv[2]), full_precision=True, name='own')"
)


@pytest.mark.skipif(sys.platform != "linux", reason="relies on PR_SET_PDEATHSIG")
def test_the_process_does_not_outlive_a_worker_that_is_killed(tmp_path: Path) -> None:
    source = tmp_path / "own.onnx"
    os.mkfifo(source)
    worker = subprocess.Popen([sys.executable, "-c", PREPARE, source, tmp_path / "new.part"])
    with worker, source.open("wb") as pipe:  # Opened as soon as the process reads its file.
        worker.kill()
        poll = select.poll()
        poll.register(pipe, select.POLLERR)
        assert poll.poll(60_000), "the process still reads the file"
