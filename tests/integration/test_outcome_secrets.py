"""No text of an outcome contains a credential of the worker."""

import io

from PIL import Image

from deploy.local import LocalStack
from producer import Job, Options
from producer.contract.s3_uri import ImageRef
from tests.integration.test_storage import storage_with
from worker.config.settings import ModelSettings
from worker.models.files.store import ModelStore
from worker.pipeline.factory import open_limits, open_models
from worker.pipeline.job import Pipeline


def test_a_secret_in_a_warning_is_hidden(stack: LocalStack, store: ModelStore) -> None:
    source = ImageRef(bucket="photos", key="secrets.png")
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(buffer, "PNG")
    stack.s3().put_object(Bucket=source.bucket, Key=source.key, Body=buffer.getvalue())
    settings = ModelSettings.read()
    pipeline = Pipeline(
        storage=storage_with(stack),
        models=open_models(settings, store),
        limits=open_limits(settings),
        secrets=("effect without",),  # Words of the warning that this job gets.
    )
    options = Options(enabled=False, margin="5")
    image = ImageRef(bucket="cutouts", key="secrets.png")
    outcome = pipeline.run(Job(source=source, image=image, options=options))
    assert outcome.state == "done"
    assert outcome.warnings == ("margin: has no *** crop",)
