"""The alerts of `deploy/prometheus/alerts.yml`."""

from pathlib import Path
from typing import Final

import yaml

from deploy.reference.markdown import code

_ALERTS: Final = Path(__file__).parents[1] / "prometheus" / "alerts.yml"


def alerts() -> str:
    """Return a list of the alerts with their severity and a link to the runbook."""
    (group,) = yaml.safe_load(_ALERTS.read_text())["groups"]
    return "\n".join(map(_line, group["rules"]))


def _line(rule: dict[str, dict[str, str]]) -> str:
    severity, runbook = rule["labels"]["severity"], rule["annotations"]["runbook"]
    page, _, anchor = runbook.partition("#")
    return f"- {code(rule['alert'])} ({severity}): [runbook]({Path(page).name}#{anchor})"
