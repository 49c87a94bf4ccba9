"""A client refuses a wrong address."""

import pytest

from producer import Client
from producer.config.settings import SettingsError


def test_a_wrong_url_is_refused() -> None:
    with pytest.raises(SettingsError, match="CUTWORK_BROKER_URL: "):
        Client("amqp://rabbit")
