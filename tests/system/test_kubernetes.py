"""The overlays of deploy/kubernetes are valid and agree with the code that they run."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.manifests import FOLDER, OVERLAYS, Manifest, ManifestInvalid, build, validate
from deploy.programs import promtool, run
from producer.cli.exit_codes import ExitCode
from producer.config.settings import ProducerSettings, celery_settings
from producer.contract.s3_prefix import S3Prefix
from tests.system.test_alerts import SHOWN, named
from worker.broker.consumed_queues import select_queues
from worker.config.settings import WorkerSettings

DEPLOY = FOLDER.parent
POOLS = tuple(name for name in OVERLAYS if name != "sync")
REQUEUE_SECONDS = 15
"""Seconds after CUTWORK_GRACE to requeue unfinished jobs; see docs/operate/deploy.md."""

built = cache(lambda overlay: build(FOLDER / overlay))


def of_kind(overlay: str, kind: str) -> dict[str, Any]:
    """Return the manifests of one kind by name."""
    return {
        manifest["metadata"]["name"]: manifest
        for manifest in built(overlay)
        if manifest["kind"] == kind
    }


def pods(overlay: str) -> Iterator[tuple[str, Any]]:
    """Yield a name and the specification of every pod of an overlay."""
    for kind in ("Deployment", "Job"):
        for name, manifest in of_kind(overlay, kind).items():
            yield f"{overlay} {name}", manifest["spec"]["template"]["spec"]


def workers(overlay: str) -> dict[str, Any]:
    """Return the pod specifications of the workers by the name of the Deployment."""
    return {
        name: manifest["spec"]["template"]["spec"]
        for name, manifest in of_kind(overlay, "Deployment").items()
        if name.startswith("worker")
    }


def variables(pod: Any) -> dict[str, str]:
    """Return the variables that a pod sets to a literal value."""
    return {item["name"]: item["value"] for item in pod["containers"][0]["env"] if "value" in item}


@pytest.fixture
def shared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Apply the ConfigMap of an overlay to this process's environment."""
    data: dict[str, str] = of_kind(request.param, "ConfigMap")["cutwork"]["data"]
    for name, value in data.items():
        monkeypatch.setenv(name, value)
    return data


def queues_of(classes: str) -> set[str]:
    """Return the queues that a pool with this value of CUTWORK_TAKES consumes."""
    table = celery_settings(ProducerSettings.read())["job_queues"]
    return set(select_queues(table, classes=classes.split(","), no_gpu=None))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_manifest_matches_its_schema(overlay: str) -> None:
    manifests = list(built(overlay))
    assert manifests
    for manifest in manifests:
        validate(manifest)


@pytest.mark.parametrize(
    ("overlay", "kind", "path"),
    [
        ("gpu", "Deployment", ("spec", "template", "spec", "containers", 0)),
        ("gpu", "NetworkPolicy", ("spec",)),
        ("keda", "ScaledObject", ("spec",)),
        ("keda", "ScaledObject", ("spec", "triggers", 0)),
        ("sync", "Job", ("spec", "podFailurePolicy")),
    ],
)
def test_an_unknown_field_is_detected(overlay: str, kind: str, path: tuple[Any, ...]) -> None:
    manifest: Manifest = deepcopy(next(iter(of_kind(overlay, kind).values())))
    place: Any = manifest
    for key in path:
        place = place[key]
    place["coolDown"] = 1
    with pytest.raises(ManifestInvalid, match=f"{kind} .*coolDown|expected only known fields"):
        validate(manifest)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_confined(overlay: str) -> None:
    for name, pod in pods(overlay):
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["runAsUser"] == 10001, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert pod["automountServiceAccountToken"] is False, name
        assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"], name  # noqa: S108 - a mount
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, name
        assert "memory" in container["resources"]["limits"], name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_manifest_contains_a_secret(overlay: str) -> None:
    assert not of_kind(overlay, "Secret")
    for name, pod in pods(overlay):
        given = {item["name"]: item for item in pod["containers"][0]["env"]}
        assert "secretKeyRef" in given["CUTWORK_BROKER_URL"]["valueFrom"], name
        secret = [key for key in variables(pod) if re.search("KEY|SECRET|PASSWORD|URL", key)]
        assert not secret, name


@pytest.mark.parametrize("overlay", POOLS)
def test_a_worker_has_time_for_its_graceful_shutdown(overlay: str) -> None:
    grace = float(of_kind(overlay, "ConfigMap")["cutwork"]["data"]["CUTWORK_GRACE"])
    for pod in workers(overlay).values():
        assert pod["terminationGracePeriodSeconds"] == grace + REQUEUE_SECONDS


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_all_read_the_same_settings(overlay: str) -> None:
    for name, pod in pods(overlay):
        assert pod["containers"][0]["envFrom"] == [{"configMapRef": {"name": "cutwork"}}], name


@pytest.mark.parametrize("shared", ["cpu", "gpu"], indirect=True)
def test_a_worker_accepts_the_settings(
    shared: dict[str, str], request: pytest.FixtureRequest
) -> None:
    settings = WorkerSettings.read(broker_url="redis://broker/0")
    assert settings.grace == float(shared["CUTWORK_GRACE"])
    fields = {f"CUTWORK_{name.upper()}" for name in WorkerSettings.model_fields}
    celery = (DEPLOY.parent / "celeryconfig.py").read_text()
    known = fields | set(re.findall(r'"(CUTWORK_\w+)"', celery))
    assert {name for name in shared if name.startswith("CUTWORK_")} <= known


@pytest.mark.parametrize(
    ("shared", "overlay"), [("cpu", "cpu"), ("gpu", "gpu")], indirect=["shared"]
)
@pytest.mark.usefixtures("shared")
def test_every_queue_belongs_to_exactly_one_pool(overlay: str) -> None:
    table = celery_settings(ProducerSettings.read())["job_queues"]
    served = [queues_of(variables(pod)["CUTWORK_TAKES"]) for pod in workers(overlay).values()]
    assert set.union(*served) == set(table)
    assert sum(map(len, served)) == len(table)


def test_a_gpu_worker_requests_a_gpu_and_runs_on_gpu_nodes() -> None:
    for name, pod in workers("gpu").items():
        assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1", name
        assert pod["containers"][0]["image"].startswith("cutwork/worker-gpu:"), name
        assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}, name
        assert "nvidia.com/gpu" in {item["key"] for item in pod["tolerations"]}, name


def test_single_jobs_go_before_runs() -> None:
    classes = of_kind("gpu", "PriorityClass")
    priorities = {name: classes[pod["priorityClassName"]] for name, pod in workers("gpu").items()}
    assert priorities["worker"]["value"] > priorities["worker-bulk"]["value"]
    assert priorities["worker-bulk"]["preemptionPolicy"] == "Never"


@pytest.mark.parametrize("shared", ["keda"], indirect=True)
@pytest.mark.usefixtures("shared")
def test_a_pool_scales_by_exactly_the_queues_that_it_consumes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUTWORK_CLASSES", "bulk,gpu,large")
    monkeypatch.setenv("CUTWORK_TENANTS", "shop,lab-2")
    table = celery_settings(ProducerSettings.read())["job_queues"]
    rules = []
    for name, pod in workers("keda").items():
        assert "replicas" not in of_kind("keda", "Deployment")[name]["spec"]
        (scaled,) = (
            item["spec"]
            for item in of_kind("keda", "ScaledObject").values()
            if item["spec"]["scaleTargetRef"] == {"name": name}
        )
        assert scaled["minReplicaCount"] == 0
        assert scaled["cooldownPeriod"] > 120  # CUTWORK_VISIBILITY_TIMEOUT
        queries = [trigger["metadata"]["query"] for trigger in scaled["triggers"]]
        metrics = set.union(*map(named, queries))
        assert {"cutwork_queue_backlog_seconds", "cutwork_queue_in_flight"} <= metrics <= SHOWN
        for query in queries:
            rules.append({"record": "scaled:by", "expr": query})
            for pattern in re.findall(r'queue=~"(.*)"', query):
                matched = {queue for queue in table if re.fullmatch(_unescape(pattern), queue)}
                assert matched == queues_of(variables(pod)["CUTWORK_TAKES"]), (name, query)
    groups = {"groups": [{"name": "scaling", "rules": rules}]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(groups))
    run(promtool(), "check", "rules", tmp_path / "rules.yml")


def test_a_pool_stays_while_jobs_are_pending_or_metrics_are_missing() -> None:
    worker = of_kind("keda", "ScaledObject")["worker"]["spec"]
    queries = [trigger["metadata"]["query"] for trigger in worker["triggers"]]
    assert "max(cutwork_pending)" in queries
    assert {item["metadata"]["ignoreNullValues"] for item in worker["triggers"]} == {"false"}
    assert worker["fallback"]["replicas"] >= 1


def test_the_page_has_every_overlay() -> None:
    page = (DEPLOY.parent / "docs" / "operate" / "deploy.md").read_text()
    table = page.partition("| overlay |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([\w-]+)`", table, re.MULTILINE) == list(OVERLAYS)
    assert {path.parent.name for path in FOLDER.glob("*/kustomization.yaml")} == {"base", *OVERLAYS}


@pytest.mark.parametrize("shared", ["keda-redis"], indirect=True)
@pytest.mark.usefixtures("shared")
def test_keda_redis_reads_every_list_of_a_pool_and_the_unacknowledged_jobs() -> None:
    steps = celery_settings(ProducerSettings.read())["broker_transport_options"]["priority_steps"]
    for name, pod in workers("keda-redis").items():
        scaled = of_kind("keda-redis", "ScaledObject")[name]["spec"]
        lists = [trigger["metadata"]["listName"] for trigger in scaled["triggers"]]
        queues = queues_of(variables(pod)["CUTWORK_TAKES"])
        expected = {f"{queue}:{step}" if step else queue for queue in queues for step in steps}
        assert set(lists) == expected | {"unacked"}
        assert len(lists) == len(set(lists))


@pytest.mark.parametrize("shared", ["cpu"], indirect=True)
def test_the_policy_agrees_with_the_page_and_the_settings(shared: dict[str, str]) -> None:
    page = (DEPLOY.parent / "docs" / "operate" / "s3.md").read_text()
    (read,) = re.findall(r"^\| worker, on what it reads \| (.*) \|$", page, re.MULTILINE)
    (write,) = re.findall(r"^\| worker, on what it writes \| (.*) \|$", page, re.MULTILINE)
    policy = json.loads((DEPLOY / "s3-policy.json").read_text())
    allowed: dict[str, set[str]] = {}
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        for resource in statement["Resource"]:
            place = "s3://" + resource.removeprefix("arn:aws:s3:::").removesuffix("/*")
            allowed.setdefault(place, set()).update(statement["Action"])
    for variable, actions in (("CUTWORK_READ_FROM", read), ("CUTWORK_WRITE_TO", write)):
        for place in shared[variable].split(","):
            bucket = f"s3://{S3Prefix.parse(place).bucket}"
            granted = allowed[place] | allowed[bucket]
            assert granted == set(re.findall(r"`(s3:\w+)`", actions)), place
    places = [*shared["CUTWORK_READ_FROM"].split(","), *shared["CUTWORK_WRITE_TO"].split(",")]
    assert allowed.keys() == {
        *places,
        *(f"s3://{S3Prefix.parse(place).bucket}" for place in places),
    }


def _unescape(text: str) -> str:
    """Resolve the escapes of a PromQL string."""
    return text.replace("\\\\", "\\")


def test_the_job_s_policy_fits_the_exit_codes() -> None:
    """Images that failed and wrong commands end the Job; what could not go on is tried again."""
    (job,) = of_kind("sync", "Job").values()
    rules = job["spec"]["podFailurePolicy"]["rules"]
    assert rules[0]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    (codes,) = [rule["onExitCodes"]["values"] for rule in rules if rule["action"] == "FailJob"]
    assert codes == [ExitCode.FAILED, ExitCode.WRONG_COMMAND]
    assert job["spec"]["backoffLimit"] > 0
