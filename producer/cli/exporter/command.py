"""`cutwork exporter`: serve queue metrics to Prometheus until a signal arrives."""

# The implementation is imported inside the command, so that `--help` stays fast.
from typing import Annotated

import typer


def exporter(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 9465,
    images_per_second: Annotated[
        float,
        typer.Option(min=0.001, help="Throughput of one worker, until workers have measured it."),
    ] = 0.55,
) -> None:
    """Serve queue metrics for Prometheus; works without any live worker."""
    from producer.cli.exporter.serve import serve

    serve(host=host, port=port, images_per_second=images_per_second)
