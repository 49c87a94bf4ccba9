"""`python -m worker`."""

from producer.observability.log_format import format_stderr_warnings

try:
    from worker.cli.main import app
except ModuleNotFoundError as error:
    raise SystemExit(
        f"python -m worker needs {error.name}; install cutwork[worker-cpu] or cutwork[worker-gpu]"
    ) from error

if __name__ == "__main__":
    format_stderr_warnings()
    app(prog_name="python -m worker")
