"""Manifests in S3."""

import gzip
import hashlib
from typing import TYPE_CHECKING

import pytest

from deploy.local import LocalStack
from producer.sync.manifest.manifest import (
    ManifestError,
    open_manifest,
)

if TYPE_CHECKING:
    pass


def test_an_object_in_s3_is_a_manifest(stack: LocalStack) -> None:
    s3 = stack.s3()
    content = gzip.compress(
        b"source,image,mask\n"
        b"s3://photos/a.jpg,s3://cutouts/a.png,s3://cutouts/a-mask.png\n"
        b"photos/d.jpg,s3://cutouts/d.png,\n"
    )
    s3.put_object(Bucket="private", Key="lists/m.csv.gz", Body=content)
    with open_manifest("s3://private/lists/m.csv.gz", s3=stack.s3) as manifest:
        assert manifest.sha256 == hashlib.sha256(content).hexdigest()
        assert [bad.number for bad in manifest.check()] == [3]
        assert [line.number for line in manifest.lines()] == [2]
    with (
        pytest.raises(ManifestError, match=r"s3://private/none\.csv.*check AWS_ENDPOINT_URL"),
        open_manifest("s3://private/none.csv", s3=stack.s3),
    ):
        pass
