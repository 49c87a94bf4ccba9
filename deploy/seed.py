"""Fill the empty S3 server of deploy/compose.yaml with two buckets and some photographs."""

import sys
from pathlib import Path

import boto3
from botocore.exceptions import ClientError

BUCKETS = ("photos", "cutouts")


def main(*pictures: str) -> None:
    """Create missing buckets, and upload the photographs into the first."""
    s3 = boto3.client("s3")
    for bucket in BUCKETS:
        try:
            s3.create_bucket(Bucket=bucket)
        except ClientError as error:
            # It exists from an earlier start.
            if not error.response["Error"]["Code"].startswith("BucketAlready"):
                raise
    for picture in map(Path, pictures):
        s3.upload_file(str(picture), BUCKETS[0], picture.name)


if __name__ == "__main__":
    main(*sys.argv[1:])
