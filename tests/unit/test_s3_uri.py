"""The buckets that an S3 URI may name: old ones, those of other stores, and access points."""

import pytest

from producer.contract.s3_prefix import S3Prefix
from producer.contract.s3_uri import ImageRef
from worker.config.access import AllowedPrefix

ACCESS_POINT = "arn:aws:s3:us-west-2:123456789012:accesspoint"
BUCKETS = [
    "photos",
    "my_bucket",
    "MyBucket",
    "_old",
    "b" * 255,
    f"{ACCESS_POINT}/my-point",
    f"{ACCESS_POINT}:my-point",
    "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint/p",
    "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap",
    "arn:aws:s3-object-lambda:us-east-1:123456789012:accesspoint/resize",
    "arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-01ac/accesspoint/reports",
]


@pytest.mark.parametrize("bucket", BUCKETS)
@pytest.mark.parametrize("key", ["a.jpg", "a/b c/ü.png", "/lead", "accesspoint/x"])
def test_bucket_and_key_are_told_apart(bucket: str, key: str) -> None:
    ref = ImageRef.parse(f"s3://{bucket}/{key}")
    assert (ref.bucket, ref.key) == (bucket, key)
    assert str(ref) == f"s3://{bucket}/{key}"


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_prefix_and_an_allow_list_take_the_same_buckets(bucket: str) -> None:
    assert S3Prefix.parse(f"s3://{bucket}") == (bucket, "")
    assert S3Prefix.parse(f"s3://{bucket}/in/x") == (bucket, "in/x/")
    allowed = AllowedPrefix.parse(f"s3://{bucket}/in")
    assert allowed.covers(ImageRef(bucket=bucket, key="in/a"))
    assert not allowed.covers(ImageRef(bucket=bucket, key="inner/a"))
    assert not allowed.covers(ImageRef(bucket="another", key="in/a"))


@pytest.mark.parametrize(
    "uri",
    [
        "s3://ab/a",
        "s3://-a-b/a",
        "s3://a b c/a",
        "s3://a:b:c/a",
        f"s3://{'b' * 256}/a",
        f"s3://{ACCESS_POINT}/point",
        f"s3://{ACCESS_POINT}/{'p' * 64}/a",
        "s3://arn:aws:sns:us-west-2:123456789012:accesspoint/p/a",
        "s3:///a",
        "s3://photos",
        "photos/a",
    ],
)
def test_anything_else_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        ImageRef.parse(uri)
