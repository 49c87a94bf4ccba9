"""The plan of a run over a manifest: every valid line is sent."""

from collections.abc import Generator

from producer.sync.manifest.manifest import Manifest
from producer.sync.plan.step import Plan, Step


def manifest_plan(manifest: Manifest) -> Plan:
    """Return a plan that sends every valid line of a manifest; its cursor is a line number."""

    def plan(cursor: str) -> Generator[Step, None, None]:
        for number, source, image, mask in manifest.lines(int(cursor or 0)):
            yield Step(str(number), "send", "listed", source=source, image=image, mask=mask)

    return plan
