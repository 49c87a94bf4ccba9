"""What a worker refuses about its broker at the start: a wrong URL, and Redis Cluster."""

from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ClusterError
from redis.retry import Retry

from producer.config.broker_url import configuration_advice
from producer.config.settings import SettingsError
from producer.contract.validation_errors import hide_password

_SECONDS: Final = 5.0


def check_broker(url: str) -> None:
    """Raise `SettingsError` if no worker could ever work with the server at this URL.

    Celery waits for a server that does not answer yet, so this is no error.
    """
    server: Any = redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=_SECONDS,
        socket_connect_timeout=_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    with server:
        try:
            reply = server.execute_command("HELLO")
            # RESP2 sends a list of names and values.
            facts = (
                reply
                if isinstance(reply, dict)
                else dict(zip(reply[::2], reply[1::2], strict=True))
            )
            if facts.get("mode") == "cluster":
                raise ClusterError("the server is in cluster mode")
        except redis.RedisError as error:
            if advice := configuration_advice(error):
                raise SettingsError(
                    f"CUTWORK_BROKER_URL: the broker at {hide_password(url)} refuses ({error}); "
                    f"{advice}"
                ) from error
