"""`python -m tests.system.fuzz`: fuzz each target for a minute; findings go to `fuzz-out/`."""

import argparse
import subprocess
import sys
from pathlib import Path

from tests.system.fuzz.seeds import LONGEST, SEEDS, write_seeds

SECONDS_PER_INPUT = 10
MEGABYTES = 2048
"""The memory limit of the whole process; accepted pictures have at most a million pixels."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz ARGS=", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"from {', '.join(SEEDS)}")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--out", type=Path, default=Path("fuzz-out"))
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - set(SEEDS):
        parser.error(f"expected targets of {', '.join(SEEDS)}, found {', '.join(unknown)}")
    failed = [
        name
        for name in arguments.targets or SEEDS
        if not fuzz(name, arguments.seconds, arguments.out)
    ]
    if failed:
        print(f"findings in {', '.join(failed)}: the inputs are in {arguments.out}/*/findings")
    return len(failed)


def fuzz(target: str, seconds: int, out: Path) -> bool:
    """Run one target in its own process; return whether it had no findings."""
    corpus, findings = out / target / "corpus", out / target / "findings"
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    write_seeds(target, corpus)
    command = [
        *(sys.executable, "-m", f"tests.system.fuzz.{target}", str(corpus)),
        *(f"-max_total_time={seconds}", f"-timeout={SECONDS_PER_INPUT}"),
        *(f"-rss_limit_mb={MEGABYTES}", f"-max_len={LONGEST}", f"-artifact_prefix={findings}/"),
        "-print_final_stats=1",
    ]
    return subprocess.run(command, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
