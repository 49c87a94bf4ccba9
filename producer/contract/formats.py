"""The format of an output follows from its name, or must not contradict it."""

from functools import lru_cache
from typing import Final

from pydantic import ValidationError

from producer.contract.errors import InvalidJob
from producer.contract.job import Job
from producer.contract.options import Options
from producer.contract.s3_uri import ImageRef
from producer.contract.validation_errors import explain

FORMAT_BY_SUFFIX: Final = {
    ".png": "png",
    ".webp": "webp",
    ".avif": "avif",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".zip": "zip",
}


def format_of_key(key: str) -> str | None:
    """Return the format that a key's suffix names, None if it names none that is written."""
    name = key.rpartition("/")[2]
    return FORMAT_BY_SUFFIX.get("." + name.rpartition(".")[2].lower()) if "." in name else None


def fit_formats(job: Job) -> Job:
    """Return the job with the formats that the names of its destinations ask for.

    Raises `InvalidJob` as `fit_options` does.
    """
    options = fit_options(job.options, image=job.image, mask=job.mask)
    return job if options is job.options else job.model_copy(update={"options": options})


def fit_options(options: Options, *, image: ImageRef | None, mask: ImageRef | None) -> Options:
    """Return the options with the formats that the names of the destinations ask for.

    A format that has its default, `png`, follows the suffix. Raises `InvalidJob` if another format
    contradicts the suffix, or if the options do not allow the format of the suffix. Other suffixes,
    and names without one, say nothing.
    """
    formats: dict[str, str] = {}
    for field, ref in (("image_format", image), ("mask_format", mask)):
        asked = getattr(options, field)
        named = (ref and format_of_key(ref.key)) or asked
        if named != asked and asked != Options.model_fields[field].default:
            raise InvalidJob(
                f"{field}: expected {named}, as the name {_last_part(ref)!r} says, found {asked}; "
                "change the format or the name"
            )
        formats[field] = named
    if formats == {field: getattr(options, field) for field in formats}:
        return options
    try:
        return _with_formats(options, formats["image_format"], formats["mask_format"])
    except ValidationError as error:
        names = " and ".join(repr(_last_part(ref)) for ref in (image, mask) if ref)
        raise InvalidJob(
            f"{explain(error)}; this format follows from the name, {names}: change the name or the "
            "options"
        ) from error


@lru_cache(maxsize=64)
def _with_formats(options: Options, image_format: str, mask_format: str) -> Options:
    values = {"image_format": image_format, "mask_format": mask_format}
    return Options.model_validate(options.model_dump() | values)


def _last_part(ref: ImageRef | None) -> str:
    return ref.key.rpartition("/")[2][-80:] if ref else ""
