"""S3 credentials that expire while workers use them, and are replaced."""

import json
import secrets
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tests.system.chaos.ground import Ground, Terrain
from tests.system.chaos.load import Load
from tests.system.chaos.rounds import Fault

Keys = tuple[str, str]

_LIFE: Final = timedelta(minutes=5)
"""The AWS SDK asks anew with every call when fewer than ten minutes are left."""
_STALE: Final = 1.0
"""Seconds for which only expired credentials are to be had."""


def _by_process(ground: Ground) -> dict[str, str]:
    """A worker whose credentials are what a command prints, as those of a role are."""
    if not _shown(ground).exists():
        keys = _new_keys()
        ground.stack.replace_s3_keys(ground.s3_server, keys)
        _show(ground, keys, life=_LIFE)
    config = ground.folder / "aws.config"
    config.write_text(f"[default]\ncredential_process = cat {_shown(ground)}\n")
    return {
        "AWS_CONFIG_FILE": str(config),
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
    }


def _expire(ground: Ground, load: Load) -> None:
    """The old ones expire, for a moment there are no others, then new ones; S3 forgets the old."""
    shown = json.loads(_shown(ground).read_text())
    old = (shown["AccessKeyId"], shown["SecretAccessKey"])
    new = _new_keys()
    before = ground.runs()
    load.send()
    ground.until_runs(before + 2)
    _show(ground, old, life=-_LIFE)
    time.sleep(_STALE)
    ground.stack.replace_s3_keys(ground.s3_server, old, new)
    time.sleep(0.2)
    _show(ground, new, life=_LIFE)
    time.sleep(_STALE)
    ground.stack.replace_s3_keys(ground.s3_server, new)


def _new_keys() -> Keys:
    return f"worker-{secrets.token_hex(4)}", secrets.token_hex(20)


def _shown(ground: Ground) -> Path:
    return ground.folder / "keys.json"


def _show(ground: Ground, keys: Keys, *, life: timedelta) -> None:
    value = {
        "Version": 1,
        "AccessKeyId": keys[0],
        "SecretAccessKey": keys[1],
        "Expiration": (datetime.now(UTC) + life).isoformat(),
    }
    whole = _shown(ground).with_suffix(".new")
    whole.write_text(json.dumps(value))
    whole.replace(_shown(ground))


FAULTS: Final = (
    Fault(
        name="keys-expire",
        what="S3 credentials expire and are replaced, S3 forgets the old ones",
        strike=_expire,
        terrain=Terrain(workers=1, environment=_by_process),
    ),
)
