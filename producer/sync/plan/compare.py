"""A run of sync as a plan: listings of sources and outputs, opened as its specification says."""

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from producer.contract.run import RunSpec
from producer.contract.s3_prefix import S3Prefix
from producer.sync.listing.objects import PARALLEL, find_object, list_objects
from producer.sync.listing.page import Entry
from producer.sync.plan.existing import Existing
from producer.sync.plan.naming import EXTENSIONS, Naming, Template
from producer.sync.plan.planner import Output, Planned, Planner, Resend, forbidden_prefixes
from producer.sync.plan.selection import Selection

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


class Places(NamedTuple):
    """A checked specification: where sources are and outputs go, under which names."""

    source: S3Prefix
    image: Naming | None
    mask: Naming | None
    template: Template
    selection: Selection


def check_places(spec: RunSpec) -> Places:
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
    return Places(source, image, mask, template, selection)


def compare(
    spec: RunSpec, *, s3: "S3Client", cursor: str = "", parallel: int = PARALLEL
) -> Generator[Planned, None, None]:
    """What is to become of every source above the key `cursor`, in key order.

    `s3` is a `listing_client`. Listings are read as the plan is: closing the iterator ends them.
    Raises `ValueError` on a wrong specification before the first request, and `ListingFailed`.
    """
    places = check_places(spec)
    resend: Resend | None = (
        "forced" if spec.force else "changed_options" if spec.changed_options else None
    )
    return _compare(places, resend, s3=s3, cursor=cursor, parallel=parallel)


def _compare(
    places: Places, resend: Resend | None, *, s3: "S3Client", cursor: str, parallel: int
) -> Generator[Planned, None, None]:
    source = places.source

    def output(naming: Naming | None) -> Output | None:
        if naming is None:
            return None
        existing = None if resend else _existing(naming, s3=s3, cursor=cursor, parallel=parallel)
        return Output(naming, existing)

    def earlier(beginning: str) -> Iterator[Entry]:
        return list_objects(s3, bucket=source.bucket, prefix=beginning, parallel=1)

    image, mask = output(places.image), output(places.mask)
    outputs = [one for one in (image, mask) if one is not None]
    planner = Planner(
        selection=places.selection,
        image=image,
        mask=mask,
        resend=resend,
        cursor=cursor,
        earlier=earlier,
        names_have_suffix=places.template.takes_suffix,
        forbidden=forbidden_prefixes(outputs, [source, *(one.naming.target for one in outputs)]),
    )
    entries = list_objects(
        s3, bucket=source.bucket, prefix=source.prefix, after=cursor, parallel=parallel
    )
    with closing(entries):
        yield from planner.plan(entries)


def _existing(naming: Naming, *, s3: "S3Client", cursor: str, parallel: int) -> Existing:
    target = naming.target
    after = naming.beginning(cursor) if cursor else ""
    return Existing(
        list_objects(
            s3, bucket=target.bucket, prefix=target.prefix, after=after, parallel=parallel
        ),
        after=after,
        find=lambda key: find_object(s3, bucket=target.bucket, key=key),
    )
