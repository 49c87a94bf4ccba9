"""`python -m deploy.lint`, a part of `make check`: validate the files here that are not Python.

hadolint checks the Dockerfile, shellcheck the scripts, Compose its file, promtool the alerts and
the configuration. Kustomize builds every overlay, which is validated by the schemas of Kubernetes
and KEDA.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from deploy.manifests import FOLDER, OVERLAYS, ManifestInvalid, build, validate
from deploy.programs import promtool, run

_HERE: Final = Path(__file__).parent
_BIN: Final = Path(sys.executable).parent


def main() -> None:
    """Print a line for each valid file; exit with 1 and a sentence at the first invalid one."""
    try:
        for line in _checked():
            print(line)
    except (OSError, ManifestInvalid) as error:
        sys.exit(f"deploy: {error}")


def _checked() -> Iterator[str]:
    run(_BIN / "hadolint", _HERE / "Dockerfile")
    yield "Dockerfile: hadolint finds nothing"
    run(_BIN / "shellcheck", *sorted(_HERE.glob("*.sh")))
    yield "scripts: shellcheck finds nothing"
    compose = _HERE / "compose.yaml"
    run(_BIN / "docker-compose", "-f", compose, "--profile", "*", "config", "--quiet")
    yield "compose.yaml: Compose accepts it"
    for check, file in (("rules", "alerts.yml"), ("config", "prometheus.yml")):
        run(promtool(), "check", check, file, cwd=_HERE / "prometheus")
        yield f"prometheus/{file}: promtool accepts it"
    for overlay in OVERLAYS:
        manifests = build(FOLDER / overlay)
        for manifest in manifests:
            validate(manifest)
        yield f"kubernetes/{overlay}: {len(manifests)} manifests, all as their schemas say"


if __name__ == "__main__":
    main()
