"""What `cutwork sync` does: check the command, plan, and feed the run or print the plan."""

import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from botocore.exceptions import BotoCoreError, ClientError
from kombu.exceptions import KombuError

from producer.cli.detach import detach
from producer.cli.dry_run import show_dry_run
from producer.cli.feed import feed_and_report
from producer.cli.manifest_lines import check_lines
from producer.cli.run_reports import check_report_place
from producer.cli.run_view import RunView, choose_view
from producer.cli.terminal import give_up, open_client, refuse, unreachable
from producer.client import BrokerUnavailable, Client
from producer.config.s3_errors import S3Condition, classify
from producer.config.settings import SettingsError
from producer.contract.options import Options
from producer.contract.run import RunSpec
from producer.contract.s3_prefix import S3Prefix
from producer.store.runs import UnknownRun
from producer.store.unreadable_run import UnreadableRun
from producer.sync.feeder import Feeder
from producer.sync.listing.objects import ListingFailed, listing_client, source_listing_client
from producer.sync.manifest.manifest import (
    Manifest,
    ManifestError,
    ManifestUnavailable,
    open_manifest,
)
from producer.sync.options_check import require_accepted
from producer.sync.plan.layout import Layout
from producer.sync.plan.listing_plan import listing_plan
from producer.sync.plan.manifest_plan import manifest_plan
from producer.sync.plan.since import since_time
from producer.sync.plan.step import Plan


@dataclass(frozen=True, kw_only=True)
class SyncCommand:
    """The arguments of one `cutwork sync`."""

    source: str | None
    image: str | None
    mask: str | None
    manifest: str | None
    filters: Mapping[str, Any]
    """Values of other fields of `RunSpec`."""
    options: Options
    window: int | None
    is_dry: bool
    is_detached: bool
    report_to: str
    as_json: bool

    def run(self) -> None:
        """Run the command; always ends with an exit code of `ExitCode`."""
        if self.is_detached and self.manifest == "-":
            refuse(
                "--detach cannot read a manifest from standard input; save it as a file or an S3 "
                "object"
            )
        view = choose_view(as_json=self.as_json)
        with open_client() as client, ExitStack() as stack, _ending_on_errors(client):
            if not self.is_dry:
                check_report_place(self.report_to)
            lines = None
            if self.manifest:
                lines = stack.enter_context(open_manifest(self.manifest, s3=listing_client))
            self._go_on(client, self._spec(lines), lines, view)

    def _go_on(self, client: Client, spec: RunSpec, lines: Manifest | None, view: RunView) -> None:
        if lines:
            check_lines(lines, skip=spec.skip_bad_lines)
        if run := client.runs.find_unfinished(spec):
            # The stored one has the time that `--since 7d` stood for at the start.
            spec = client.runs.spec(run)
        else:
            with client.connections.asking(more=1):
                require_accepted(client.app, spec.options, client.tenant)
        plan = manifest_plan(lines) if lines else _listing_plan(spec)
        if self.is_dry:
            show_dry_run(client, spec, plan, as_json=self.as_json)
            return
        _warn_of_competing_runs(client, spec, view)
        if self.is_detached:
            detach(client, spec, run, as_json=self.as_json)
            return
        feeder = Feeder(
            tenant=client.tenant,
            spec=spec,
            plan=plan,
            app=client.app,
            ledger=client.runs,
            window=self.window,
            command=shlex.join(["cutwork", *sys.argv[1:]]),
            events=view,
            run=run,
        )
        feed_and_report(client, feeder, view, report_to=self.report_to)

    def _spec(self, lines: Manifest | None) -> RunSpec:
        """Return the specification of the run; raise `ValueError` if it is wrong."""
        given, options = self.filters["since_given"], self.options
        if self.filters["force"]:
            options = options.model_copy(update={"if_exists": "overwrite"})
        spec = RunSpec(
            source=self.source and str(S3Prefix.parse(self.source)),
            manifest=self.manifest,
            manifest_sha256=lines and lines.sha256,
            image=self.image and str(S3Prefix.parse(self.image)),
            mask=self.mask and str(S3Prefix.parse(self.mask)),
            options=options,
            since=since_time(given, now=time.time()) if given else None,
            **self.filters,
        )
        _check_kind(spec)
        return spec


def _listing_plan(spec: RunSpec) -> Plan:
    return listing_plan(spec, listing_client(), sources=source_listing_client())


@contextmanager
def _ending_on_errors(client: Client) -> Iterator[None]:
    """End the command with a sentence and the exit code that fits the error."""
    try:
        yield
    except ListingFailed as error:
        (refuse if _is_missing_bucket(error.__cause__) else give_up)(str(error))
    except (ManifestUnavailable, UnknownRun, UnreadableRun) as error:
        give_up(str(error))
    except (ManifestError, SettingsError, ValueError) as error:
        refuse(str(error))
    except (redis.RedisError, KombuError, BrokerUnavailable) as error:
        unreachable(client, error)


def _is_missing_bucket(error: BaseException | None) -> bool:
    if not isinstance(error, ClientError | BotoCoreError):
        return False
    return classify(error).condition is S3Condition.MISSING_BUCKET


def _check_kind(spec: RunSpec) -> None:
    """Raise `ValueError` unless the run has either prefixes or a manifest, not both."""
    if not spec.manifest:
        if spec.skip_bad_lines:
            raise ValueError("--skip-bad-lines: expected --manifest as well, found none")
        Layout.from_spec(spec)
        return
    allowed = {"manifest", "manifest_sha256", "options", "limit", "force", "skip_bad_lines"}
    misplaced = [
        name.replace("_", "-")
        for name, field in RunSpec.model_fields.items()
        if name not in {"since", *allowed} and getattr(spec, name) != field.default
    ]
    if misplaced:
        names = {"source": "IN", "image": "OUT", "since-given": "--since", "all-files": "--all"}
        raise ValueError(
            "--manifest names every source and destination; leave out "
            + ", ".join(names.get(name, f"--{name}") for name in misplaced)
        )


def _warn_of_competing_runs(client: Client, spec: RunSpec, view: RunView) -> None:
    """Warn about unfinished runs that write to the same prefixes: the last write would win."""
    targets = {prefix for prefix in (spec.image, spec.mask) if prefix}
    for record in client.runs.runs():
        is_other_sync = record.state == "running" and record.spec.digest() != spec.digest()
        if is_other_sync and targets & {record.spec.image, record.spec.mask}:
            view.notice(
                f"run {record.id} writes to the same prefix and is not finished; "
                f"stop it with `cutwork cancel {record.id}`"
            )
