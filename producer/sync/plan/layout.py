"""Where a run over a prefix reads its sources and writes its outputs."""

from typing import NamedTuple, Self

from producer.contract.run import RunSpec
from producer.contract.s3_prefix import S3Prefix
from producer.sync.plan.naming import EXTENSIONS, Naming, Template
from producer.sync.plan.selection import Selection


class Layout(NamedTuple):
    """The prefixes, names and filters of a run, checked against each other."""

    source: S3Prefix
    image: Naming | None
    """The names of the cut-outs; None if none are wanted."""
    mask: Naming | None
    """The names of the masks; None if none are wanted."""
    template: Template
    selection: Selection

    @classmethod
    def from_spec(cls, spec: RunSpec) -> Self:
        """Check the specification of a run over a prefix; send no request.

        Raises `ValueError` if a prefix, the name template or a pattern is invalid, if sources and
        outputs would share a prefix, or if cut-outs and masks would have the same keys.
        """
        if spec.source is None:
            raise ValueError("expected a source prefix, s3://bucket/prefix, or a manifest")
        source = S3Prefix.parse(spec.source)
        template = Template.parse(spec.name)
        formats = {"image": spec.options.image_format, "mask": spec.options.mask_format}
        namings: dict[str, Naming] = {}
        for kind, uri in (("image", spec.image), ("mask", spec.mask)):
            if uri is None:
                continue
            target = S3Prefix.parse(uri)
            if target == source:
                raise ValueError(
                    f"{kind}: expected a prefix other than the source's, found {target} for both; "
                    "the next run would take the outputs for sources"
                )
            namings[kind] = Naming(
                source=source, target=target, template=template, image_format=formats[kind]
            )
        image, mask = namings.get("image"), namings.get("mask")
        if image is None and mask is None:
            raise ValueError("expected a prefix for cut-outs, for masks, or for both; found none")
        if image is not None and mask is not None and image.has_same_keys(mask):
            extension = EXTENSIONS.get(formats["mask"], formats["mask"])
            raise ValueError(
                f"expected two prefixes for image and mask, found {image.target} for both, and "
                f".{extension} for both or no {{ext}} in {spec.name!r}"
            )
        selection = Selection(
            source=source,
            outputs=[naming.target for naming in namings.values()],
            include=spec.include,
            exclude=spec.exclude,
            since=spec.since,
            ignore_case=spec.ignore_case,
            all_files=spec.all_files,
        )
        return cls(source, image, mask, template, selection)
