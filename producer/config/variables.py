"""The names of all variables of Cutwork, and a warning about those that it does not know."""

import logging
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

log = logging.getLogger(__name__)

_PREFIX: Final = "CUTWORK_"
KNOWN: Final = frozenset(
    _PREFIX + name
    for name in (
        *("ACCEPT_LICENSES", "ACL", "BATCH", "BROKER_TIMEOUT", "BROKER_URL", "CACHE_CONTROL"),
        *("CLASSES", "CONCURRENCY", "CPU_ENGINE", "DEVICE_TIMEOUT", "GPU_IDLE_SECONDS"),
        *("GPU_MODEL_MEMORY", "GRACE", "IMAGE_MEMORY", "KMS_KEY", "LOG_FORMAT"),
        *("MATTING_SECONDS", "MAX_ATTEMPTS", "MAX_BYTES", "MAX_DELIVERIES", "MAX_MATTED_PIXELS"),
        *("MAX_PIXELS", "METRICS_HOST", "METRICS_PORT", "MODELS_FROM", "MODEL_CACHE"),
        *("MODEL_CACHE_BYTES", "MODEL_MEMORY", "MODEL_MIRROR", "OUTCOME_TTL", "PRELOAD"),
        *(
            "READ_FROM",
            "REQUESTER_PAYS",
            "RESULT_BACKEND",
            "S3_ATTEMPTS",
            "S3_CONNECT_TIMEOUT",
            "S3_READ_TIMEOUT",
        ),
        *("SIGNING_CERTIFICATE", "SIGNING_KEY", "SIGNING_STORE", "SOURCE_AWS_ACCESS_KEY_ID"),
        *("SOURCE_AWS_ENDPOINT_URL", "SOURCE_AWS_PROFILE", "SOURCE_AWS_REGION"),
        *("SOURCE_AWS_SECRET_ACCESS_KEY", "SOURCE_AWS_SESSION_TOKEN", "STAGE_TIMEOUT"),
        *("STORAGE_CLASS", "TAKES", "TENANT", "TENANTS", "TENSORRT", "THREADS"),
        *("VISIBILITY_TIMEOUT", "WRITE_TO"),
    )
)
"""The variables of producers and workers: both often get the same environment."""
_SERVICE: Final = re.compile(r"\w+_SERVICE_(?:HOST|PORT)(?:_\w+)?|\w+_PORT_\d+_(?:TCP|UDP)\w*")
"""Names that Kubernetes derives from the Services of a namespace."""
_warned: set[str] = set()


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable that begins like ours and is none, with the nearest."""
    sentences = []
    for name in sorted({name for name in environment if name.startswith(_PREFIX)} - KNOWN):
        if _SERVICE.fullmatch(name) or environment[name].startswith(("tcp://", "udp://")):
            continue
        near = get_close_matches(name, sorted(KNOWN), n=1)
        advice = f"did you mean {near[0]}?" if near else "see docs/reference/variables.md"
        sentences.append(f"{name}: expected the name of a variable, found an unknown one; {advice}")
    return sentences


def warn_of_unknown_variables(environment: Mapping[str, str]) -> None:
    """Log a warning for each unknown variable, once per process."""
    for sentence in unknown_variables(environment):
        if sentence not in _warned:
            _warned.add(sentence)
            log.warning("%s", sentence)
