"""A Django project in one file that removes backgrounds: `gunicorn django_app:application`."""

from functools import cache

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

from producer import BrokerUnavailable, Client, InvalidJob

settings.configure(ALLOWED_HOSTS=["localhost", "testserver"], ROOT_URLCONF=__name__)


@cache
def client() -> Client:
    """Return the client of this process, made at the first request: after gunicorn has forked."""
    return Client()


@require_POST
def submit(request: HttpRequest, key: str) -> HttpResponseBase:
    """Enqueue a photograph and return the id of its job."""
    try:
        handle = client().submit(f"s3://photos/{key}", image=f"s3://cutouts/{key}.png")
    except InvalidJob as error:
        return JsonResponse({"error": str(error)}, status=422)
    except BrokerUnavailable:
        return JsonResponse({"error": "try again later"}, status=503)
    return JsonResponse({"job": handle.id}, status=202)


@require_GET
def outcome(request: HttpRequest, job: str, key: str) -> HttpResponseBase:
    """Return the outcome of a job if there is one, without waiting: a thread is a whole worker."""
    handle = client().handle(job)
    found = handle.outcome()
    return JsonResponse(found.to_message() if found else {"job_id": job, "state": "pending"})


urlpatterns = [
    path("cutouts/<path:key>", submit),
    path("outcomes/<str:job>/<path:key>", outcome),
]
application = get_wsgi_application()
