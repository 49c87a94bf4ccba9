"""Profiles as people's editors write them."""

import codecs

from worker.models.files.profile import Profile


def test_a_byte_order_mark_is_skipped() -> None:
    data = codecs.BOM_UTF8 + b'{"size": 320, "sigmoid": true}\r\n'
    assert Profile.parse(data, name="x.json") == Profile(size=320, sigmoid=True)
