"""S3 credentials that expire while workers use them, and are replaced."""

import json
import secrets
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tests.system.chaos.load import Load
from tests.system.chaos.rounds import Fault
from tests.system.chaos.testbed import Testbed, TestbedSpec

Keys = tuple[str, str]

_LIFETIME: Final = timedelta(minutes=5)
"""The AWS SDK refreshes credentials at every call when fewer than ten minutes are left."""
_STALE_SECONDS: Final = 1.0
"""How long only expired credentials are available."""


def _by_process(testbed: Testbed) -> dict[str, str]:
    """Return variables that make a worker read its credentials from a command, as for a role."""
    if not _keys_file(testbed).exists():
        keys = _new_keys()
        testbed.stack.replace_s3_keys(testbed.s3_server, keys)
        _write_keys(testbed, keys, life=_LIFETIME)
    config = testbed.folder / "aws.config"
    config.write_text(f"[default]\ncredential_process = cat {_keys_file(testbed)}\n")
    return {
        "AWS_CONFIG_FILE": str(config),
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
    }


def _expire(testbed: Testbed, load: Load) -> None:
    """Expire the keys, provide new ones a moment later, and make S3 forget the old ones."""
    shown = json.loads(_keys_file(testbed).read_text())
    old = (shown["AccessKeyId"], shown["SecretAccessKey"])
    new = _new_keys()
    before = testbed.runs()
    load.send()
    testbed.until_runs(before + 2)
    _write_keys(testbed, old, life=-_LIFETIME)
    time.sleep(_STALE_SECONDS)
    testbed.stack.replace_s3_keys(testbed.s3_server, old, new)
    time.sleep(0.2)
    _write_keys(testbed, new, life=_LIFETIME)
    time.sleep(_STALE_SECONDS)
    testbed.stack.replace_s3_keys(testbed.s3_server, new)


def _new_keys() -> Keys:
    return f"worker-{secrets.token_hex(4)}", secrets.token_hex(20)


def _keys_file(testbed: Testbed) -> Path:
    return testbed.folder / "keys.json"


def _write_keys(testbed: Testbed, keys: Keys, *, life: timedelta) -> None:
    value = {
        "Version": 1,
        "AccessKeyId": keys[0],
        "SecretAccessKey": keys[1],
        "Expiration": (datetime.now(UTC) + life).isoformat(),
    }
    whole = _keys_file(testbed).with_suffix(".new")
    whole.write_text(json.dumps(value))
    whole.replace(_keys_file(testbed))


FAULTS: Final = (
    Fault(
        name="keys-expire",
        what="S3 credentials expire and are replaced, S3 forgets the old ones",
        inject=_expire,
        spec=TestbedSpec(workers=1, environment=_by_process),
    ),
)
