"""S3 credentials that expire while workers use them, and are replaced."""

import json
import secrets
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tests.system.chaos.cluster import Cluster, ClusterSpec
from tests.system.chaos.load import Load
from tests.system.chaos.rounds import Fault

Keys = tuple[str, str]

_LIFETIME: Final = timedelta(minutes=5)
"""The AWS SDK refreshes credentials at every call when fewer than ten minutes are left."""
_STALE_SECONDS: Final = 1.0
"""How long only expired credentials are available."""


def _by_process(cluster: Cluster) -> dict[str, str]:
    """Return variables that make a worker read its credentials from a command, as for a role."""
    if not _keys_file(cluster).exists():
        keys = _new_keys()
        cluster.stack.replace_s3_keys(cluster.s3_server, keys)
        _write_keys(cluster, keys, life=_LIFETIME)
    config = cluster.folder / "aws.config"
    config.write_text(f"[default]\ncredential_process = cat {_keys_file(cluster)}\n")
    return {
        "AWS_CONFIG_FILE": str(config),
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
    }


def _expire(cluster: Cluster, load: Load) -> None:
    """Expire the keys, provide new ones a moment later, and make S3 forget the old ones."""
    shown = json.loads(_keys_file(cluster).read_text())
    old = (shown["AccessKeyId"], shown["SecretAccessKey"])
    new = _new_keys()
    before = cluster.runs()
    load.send()
    cluster.until_runs(before + 2)
    _write_keys(cluster, old, life=-_LIFETIME)
    time.sleep(_STALE_SECONDS)
    cluster.stack.replace_s3_keys(cluster.s3_server, old, new)
    time.sleep(0.2)
    _write_keys(cluster, new, life=_LIFETIME)
    time.sleep(_STALE_SECONDS)
    cluster.stack.replace_s3_keys(cluster.s3_server, new)


def _new_keys() -> Keys:
    return f"worker-{secrets.token_hex(4)}", secrets.token_hex(20)


def _keys_file(cluster: Cluster) -> Path:
    return cluster.folder / "keys.json"


def _write_keys(cluster: Cluster, keys: Keys, *, life: timedelta) -> None:
    value = {
        "Version": 1,
        "AccessKeyId": keys[0],
        "SecretAccessKey": keys[1],
        "Expiration": (datetime.now(UTC) + life).isoformat(),
    }
    whole = _keys_file(cluster).with_suffix(".new")
    whole.write_text(json.dumps(value))
    whole.replace(_keys_file(cluster))


FAULTS: Final = (
    Fault(
        name="keys-expire",
        what="S3 credentials expire and are replaced, S3 forgets the old ones",
        inject=_expire,
        spec=ClusterSpec(workers=1, environment=_by_process),
    ),
)
