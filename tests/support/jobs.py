"""Run a job on the session's worker, and read its outputs."""

from typing import Any

from deploy.local import LocalStack
from producer import Client, Outcome
from tests.support.patience import PATIENCE


def run(client: Client, source: str, **places: Any) -> Outcome:
    return client.submit(source, **places).wait(PATIENCE)


def stored(stack: LocalStack, key: str) -> bytes | None:
    client = stack.s3()
    listing = client.list_objects_v2(Bucket="cutouts", Prefix=key)
    if not any(item["Key"] == key for item in listing.get("Contents", [])):
        return None
    return client.get_object(Bucket="cutouts", Key=key)["Body"].read()
