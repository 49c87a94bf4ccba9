"""The check, at the start of a worker, that the object store keeps what outputs need."""

from collections.abc import Iterator

from botocore.exceptions import BotoCoreError, ClientError

from producer.config.s3_client import open_s3
from producer.config.s3_errors import S3Condition, classify
from producer.config.s3_round_trip import round_trip
from producer.config.settings import SettingsError
from producer.contract.s3_prefix import S3Prefix
from worker.config.access import AllowedPrefix
from worker.config.settings import WorkerSettings

_WRONG_SETTINGS = (S3Condition.NOT_IMPLEMENTED, S3Condition.REFUSED, S3Condition.INVALID_REQUEST)
"""What a store answers to a storage class, a key or an ACL that it does not accept."""


def check_outputs(settings: WorkerSettings) -> Iterator[str]:
    """Make one round trip in each bucket of `CUTWORK_WRITE_TO`; yield lines for the log.

    Raises `SettingsError` if outputs would be damaged or made again by every job, or if the store
    refuses the settings of outputs. A store that does not answer now is no reason not to start.
    """
    prefixes = {
        allowed.prefix.bucket: allowed.prefix
        for allowed in map(AllowedPrefix.parse, reversed(settings.write_to))
        if allowed.prefix is not None
    }
    if not prefixes:
        yield (
            "object store not checked: CUTWORK_WRITE_TO names no bucket; `cutwork doctor --write` "
            "checks one"
        )
        return
    s3 = open_s3(settings, attempts=1, connect_timeout=5, read_timeout=10)
    for prefix in prefixes.values():
        try:
            deviations = round_trip(
                s3, bucket=prefix.bucket, prefix=prefix.prefix, arguments=settings.put_arguments()
            )
        except (BotoCoreError, ClientError, RuntimeError) as error:
            yield _unchecked(prefix, error, settings)
            continue
        for deviation in deviations:
            sentence = f"object store, {prefix}: {deviation.part}: {deviation.sentence}"
            if deviation.is_fatal:
                raise SettingsError(
                    f"{sentence}; use another store, or correct the proxy in front of it"
                )
            yield sentence
        if not deviations:
            yield f"object store, {prefix}: keeps bytes and metadata, copies and lists"


def _unchecked(
    prefix: S3Prefix, error: BotoCoreError | ClientError | RuntimeError, settings: WorkerSettings
) -> str:
    failure = classify(error)
    arguments = settings.put_arguments()
    if arguments and failure.condition in _WRONG_SETTINGS:
        raise SettingsError(
            f"object store, {prefix}: expected that it accepts {', '.join(arguments)} of outputs, "
            f"found {failure.answer} ({error}); correct CUTWORK_STORAGE_CLASS, "
            "CUTWORK_CACHE_CONTROL, CUTWORK_KMS_KEY or CUTWORK_ACL"
        ) from error
    return f"object store, {prefix}: not checked ({failure.answer})"
