"""Clients of the object stores, made in one way for producers and workers."""

import os
import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from producer.config.credentials import require_usable_credentials
from producer.config.s3_settings import S3Settings
from producer.config.settings import SettingsError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_AWS_HOST: Final = re.compile(r"(?:^|\.)(?:amazonaws\.(?:com|com\.cn|eu)|api\.aws)$")


def open_s3(
    settings: S3Settings,
    *,
    for_sources: bool = False,
    attempts: int,
    connect_timeout: float = 5,
    read_timeout: float = 30,
    connections: int = 10,
) -> "S3Client":
    """Return a client of the store of outputs and models, or `for_sources` of that of the sources.

    Raises `SettingsError` if the variables or profiles that the AWS SDK reads are wrong.
    """
    own_store = for_sources and settings.has_source_store
    prefix = "CUTWORK_SOURCE_AWS_" if own_store else "AWS_"
    require_usable_credentials(os.environ, prefix=prefix)
    config = Config(
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=connections,
    )
    try:
        create = _open_session(settings if own_store else None)
        client = create(config)
        if not is_aws(client):
            # Some stores keep the frames of a checksum trailer as part of the object.
            config = config.merge(
                Config(
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                )
            )
            client = create(config)
            # AWS may redirect between its regions. At a redirect of another store the SDK would
            # request the bucket's region, and do so endlessly if that request is redirected too.
            client.meta.events.register_last("before-parameter-build.s3", _disable_redirects)
    except (BotoCoreError, ValueError) as error:
        variables = f"{prefix}ENDPOINT_URL, {prefix}PROFILE and {prefix}REGION"
        raise SettingsError(
            f"S3: {error}; expected {variables} with values that the AWS SDK accepts"
        ) from error
    if settings.requester_pays:
        client.meta.events.register("before-parameter-build.s3", _pay_for_request)
    return client


def is_aws(client: "S3Client") -> bool:
    """Return whether the client's endpoint belongs to AWS."""
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    return _AWS_HOST.search(host) is not None


def _open_session(own: S3Settings | None) -> "Callable[[Config], S3Client]":
    """Return a function that creates a client, by the SDK's variables or by those of `own`."""
    # A new session, because the default one keeps the credentials that it found first.
    if own is None:
        return partial(_create, boto3.Session())
    session = botocore.session.Session(profile=own.source_aws_profile)
    endpoint = own.source_aws_endpoint_url or _profile_endpoint(session, own.source_aws_profile)
    boto3_session = boto3.Session(
        botocore_session=session,
        aws_access_key_id=own.source_aws_access_key_id,
        aws_secret_access_key=own.source_aws_secret_access_key,
        aws_session_token=own.source_aws_session_token,
        region_name=own.source_aws_region,
    )
    # AWS_ENDPOINT_URL names the other store.
    others: Any = {"ignore_configured_endpoint_urls": True}
    return lambda config: _create(boto3_session, config.merge(Config(**others)), endpoint)


def _create(session: boto3.Session, config: Config, endpoint: str | None = None) -> "S3Client":
    return session.client("s3", endpoint_url=endpoint, config=config)


def _profile_endpoint(session: botocore.session.Session, name: str | None) -> str | None:
    """Return the endpoint for S3 in the session's profile `name`, if it has one.

    Without a name the session has the profile of `AWS_PROFILE`, whose endpoint is that of the other
    store.
    """
    if name is None:
        return None
    profile: dict[str, Any] = session.get_scoped_config()
    services: dict[str, Any] = session.full_config.get("services", {})
    of_s3 = services.get(profile.get("services", ""), {}).get("s3", {})
    endpoint = of_s3.get("endpoint_url") or profile.get("endpoint_url")
    return str(endpoint) if endpoint else None


def _disable_redirects(context: dict[str, Any], **_: object) -> None:
    """Mark a request as redirected already, so that the SDK does not follow another redirect."""
    context["s3_redirect"]["redirected"] = True


def _pay_for_request(params: dict[str, Any], model: Any, **_: object) -> None:
    """Accept the cost of a request, where its operation has that parameter."""
    if "RequestPayer" in model.input_shape.members:
        params.setdefault("RequestPayer", "requester")
