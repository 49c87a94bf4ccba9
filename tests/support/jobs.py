"""Jobs to submit, and what the session's worker makes of them."""

from typing import Any

from deploy.local import LocalStack
from producer import Client, Job, Outcome
from tests.support.patience import PATIENCE


def job_of(number: int) -> Job:
    return Job.model_validate(
        {"source": f"s3://photos/{number}.jpg", "image": f"s3://cutouts/{number}.png"}
    )


def run(client: Client, source: str, **places: Any) -> Outcome:
    return client.submit(source, **places).wait(PATIENCE)


def stored(stack: LocalStack, key: str) -> bytes | None:
    client = stack.s3()
    listing = client.list_objects_v2(Bucket="cutouts", Prefix=key)
    if not any(item["Key"] == key for item in listing.get("Contents", [])):
        return None
    return client.get_object(Bucket="cutouts", Key=key)["Body"].read()
