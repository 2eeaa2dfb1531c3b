"""
The kit in other people's libraries: one module per library, each importing that library and nothing else third-party.

`asgi` and `wsgi` need none; `httpx`, `aiohttp`, `requests`, `grpc`, `openfeature`, `opentelemetry`, `prometheus` need
theirs.
"""
