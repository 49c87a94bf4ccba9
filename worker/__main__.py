"""`python -m worker`."""

from producer.observability.log_format import tidy_stderr

try:
    from worker.cli.main import app
except ModuleNotFoundError as error:
    raise SystemExit(
        f"python -m worker needs {error.name}; install cutwork[worker-cpu] or cutwork[worker-gpu]"
    ) from error

if __name__ == "__main__":
    tidy_stderr()
    app(prog_name="python -m worker")
