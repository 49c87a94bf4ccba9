"""A run of sync as a plan: listings of sources and outputs, opened as its specification says."""

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from producer.contract.run import RunSpec
from producer.contract.s3_prefix import S3Prefix
from producer.sync.listing.objects import DEFAULT_THREADS, find_object, list_objects
from producer.sync.listing.page import Entry
from producer.sync.plan.existing_outputs import ExistingOutputs
from producer.sync.plan.naming import EXTENSIONS, Naming, Template
from producer.sync.plan.planner import Output, Planned, Planner, Resend, reserved_prefixes
from producer.sync.plan.selection import Selection

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


class Layout(NamedTuple):
    """A checked specification: where sources are and outputs go, under which names."""

    source: S3Prefix
    image: Naming | None
    mask: Naming | None
    template: Template
    selection: Selection


def check_layout(spec: RunSpec) -> Layout:
    """Read a specification of prefixes; `ValueError` says what cannot be, before anything is."""
    if spec.source is None:
        raise ValueError("expected a source, s3://bucket/folder; a manifest names every place")
    source = S3Prefix.parse(spec.source)
    template = Template.parse(spec.name)
    formats = {"image": spec.options.image_format, "mask": spec.options.mask_format}
    namings: dict[str, Naming] = {}
    for kind, text in (("image", spec.image), ("mask", spec.mask)):
        if text is None:
            continue
        target = S3Prefix.parse(text)
        if target == source:
            raise ValueError(
                f"{kind}: expected another place than the source's, found {target} for both; "
                "outputs would be taken for sources"
            )
        namings[kind] = Naming(
            source=source, target=target, template=template, image_format=formats[kind]
        )
    image, mask = namings.get("image"), namings.get("mask")
    if image is None and mask is None:
        raise ValueError("expected a place for cut-outs, one for masks, or both; found none")
    if image is not None and mask is not None and image.same_keys(mask):
        extension = EXTENSIONS.get(formats["mask"], formats["mask"])
        raise ValueError(
            f"expected two places for image and mask, found {image.target} for both, and "
            f".{extension} for both or no {{ext}} in {spec.name!r}"
        )
    selection = Selection(
        source=source,
        outputs=[naming.target for naming in namings.values()],
        include=spec.include,
        exclude=spec.exclude,
        since=spec.since,
    )
    return Layout(source, image, mask, template, selection)


def compare(
    spec: RunSpec, *, s3: "S3Client", cursor: str = "", threads: int = DEFAULT_THREADS
) -> Generator[Planned, None, None]:
    """What is to become of every source above the key `cursor`, in key order.

    `s3` is a `listing_client`. Listings are read as the plan is: closing the iterator ends them.
    Raises `ValueError` on a wrong specification before the first request, and `ListingFailed`.
    """
    places = check_layout(spec)
    resend: Resend | None = (
        "forced" if spec.force else "changed_options" if spec.changed_options else None
    )
    return _compare(places, resend, s3=s3, cursor=cursor, threads=threads)


def _compare(
    places: Layout, resend: Resend | None, *, s3: "S3Client", cursor: str, threads: int
) -> Generator[Planned, None, None]:
    source = places.source

    def output(naming: Naming | None) -> Output | None:
        if naming is None:
            return None
        existing = None if resend else _existing(naming, s3=s3, cursor=cursor, threads=threads)
        return Output(naming, existing)

    def list_earlier(beginning: str) -> Iterator[Entry]:
        return list_objects(s3, bucket=source.bucket, prefix=beginning, threads=1)

    image, mask = output(places.image), output(places.mask)
    outputs = [one for one in (image, mask) if one is not None]
    planner = Planner(
        selection=places.selection,
        image=image,
        mask=mask,
        resend=resend,
        cursor=cursor,
        list_earlier=list_earlier,
        has_unique_names=places.template.has_suffix,
        reserved=reserved_prefixes(outputs, [source, *(one.naming.target for one in outputs)]),
    )
    entries = list_objects(
        s3, bucket=source.bucket, prefix=source.prefix, after=cursor, threads=threads
    )
    with closing(entries):
        yield from planner.plan(entries)


def _existing(naming: Naming, *, s3: "S3Client", cursor: str, threads: int) -> ExistingOutputs:
    target = naming.target
    after = naming.beginning(cursor) if cursor else ""
    return ExistingOutputs(
        list_objects(s3, bucket=target.bucket, prefix=target.prefix, after=after, threads=threads),
        after=after,
        find_object=lambda key: find_object(s3, bucket=target.bucket, key=key),
    )
