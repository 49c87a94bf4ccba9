"""The plan of a run over a prefix: sources are listed and compared with the outputs."""

from collections.abc import Generator
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from producer.contract.run import RunSpec
from producer.sync.listing.objects import find_object, list_objects
from producer.sync.listing.page import time_text
from producer.sync.plan.check_sources import check_sources, source_reader
from producer.sync.plan.existing_outputs import ExistingOutputs
from producer.sync.plan.layout import Layout
from producer.sync.plan.naming import Naming
from producer.sync.plan.planner import Output, Planner, reserved_prefixes
from producer.sync.plan.step import Plan, Resend, Step

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


def listing_plan(spec: RunSpec, s3: "S3Client", *, sources: "S3Client | None" = None) -> Plan:
    """Return the plan of a run over a prefix; its cursor is the key of a source.

    `s3` is a `listing_client`, and so is `sources`, for sources in a store of their own. Listings
    are read while the plan is read, and closing the plan's generator ends them. Raises `ValueError`
    as `Layout.from_spec` does, before the first request; the generator raises `ListingFailed`.
    """
    sources = sources or s3
    layout = Layout.from_spec(spec)
    source = layout.source
    resend: Resend | None = (
        "forced" if spec.force else "changed_options" if spec.changed_options else None
    )

    def open_output(naming: Naming | None, cursor: str) -> Output | None:
        if naming is None or resend:
            return Output(naming, None) if naming else None
        bucket, prefix = naming.target
        after = naming.beginning(cursor) if cursor else ""
        existing = ExistingOutputs(
            list_objects(s3, bucket=bucket, prefix=prefix, after=after),
            after=after,
            find_object=lambda key: find_object(s3, bucket=bucket, key=key),
        )
        return Output(naming, existing)

    def plan(cursor: str) -> Generator[Step, None, None]:
        image, mask = open_output(layout.image, cursor), open_output(layout.mask, cursor)
        planner = Planner(
            bucket=source.bucket,
            selection=layout.selection,
            image=image,
            mask=mask,
            resend=resend,
            cursor=cursor,
            list_earlier=lambda beginning: list_objects(
                sources, bucket=source.bucket, prefix=beginning, threads=1
            ),
            has_unique_names=layout.template.has_suffix,
            checks_sources=spec.check_sources,
            now=time_text(datetime.now(UTC)),
            reserved=reserved_prefixes(filter(None, (image, mask)), source),
        )
        entries = list_objects(sources, bucket=source.bucket, prefix=source.prefix, after=cursor)
        with closing(entries):
            read_source = source_reader(s3, is_required=spec.check_sources)
            yield from check_sources(planner.plan(entries), read_source)

    return plan
