"""Django is set up once for the process, and each test module names its own addresses."""

from __future__ import annotations

import django
from django.conf import settings

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["testserver", "127.0.0.1", "api.test"],
        SECRET_KEY="-",
        DATABASES={},
        LOGGING_CONFIG=None,  # the process's logging is not ours alone: other tests look at it
    )
    django.setup()
