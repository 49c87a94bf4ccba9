"""The examples of the pages, for a type checker without pydantic's plugin."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.pages import write_examples


def test_the_examples_of_the_pages_pass_pyright(tmp_path: Path) -> None:
    """Pyright knows nothing of pydantic but what the classes declare, as most editors."""
    write_examples(tmp_path)
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from producer import Job, Options\n\nJob(source=5)\nOptions(margin=0.5)\n")
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
    environment = os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}  # nor a look for updates
    done = subprocess.run(
        [*command, str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    errors = [item for item in found if item["severity"] == "error"]
    assert [item for item in errors if item["file"] != str(wrong)] == []
    assert sorted(item["range"]["start"]["line"] for item in errors) == [2, 3]


def test_importing_the_producer_imports_neither_celery_nor_redis() -> None:
    """Names are imported when they are used; the rest of the contract needs pydantic alone."""
    code = (
        "import sys, producer; heavy = {'celery', 'kombu', 'redis', 'pydantic', 'boto3'}; "
        "assert not heavy & set(sys.modules); "
        "producer.Job, producer.Options, producer.Outcome, producer.CutworkError; "
        "assert not heavy - {'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
