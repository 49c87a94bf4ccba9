"""A FastAPI service that removes backgrounds: `uvicorn fastapi_app:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request

from producer import BrokerUnavailable, Client, InvalidJob, OutcomeTimeout


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open one client for each server process, after the server has forked."""
    with Client() as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/cutouts/{key:path}", status_code=202)
async def submit(key: str, request: Request) -> dict[str, str]:
    """Enqueue a photograph and return the id of its job."""
    client: Client = request.app.state.client
    try:
        handle = await client.submit_async(f"s3://photos/{key}", image=f"s3://cutouts/{key}.png")
    except InvalidJob as error:
        raise HTTPException(422, str(error)) from error
    except BrokerUnavailable as error:
        raise HTTPException(503, "try again later", headers={"Retry-After": "10"}) from error
    return {"job": handle.id}


@app.get("/cutouts/{key:path}")
async def outcome(
    key: str,
    job: str,
    request: Request,
    wait: Annotated[float, Query(ge=0.1, le=60)] = 10,
) -> dict[str, Any]:
    """Return the outcome of a job, waiting for it for some seconds; the event loop stays free."""
    client: Client = request.app.state.client
    handle = client.handle(job)
    try:
        return (await handle.wait_async(wait)).to_message()
    except OutcomeTimeout:
        return {"job_id": job, "state": "pending"}
