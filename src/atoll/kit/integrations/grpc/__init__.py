"""
The kit in gRPC for Python: interceptors for clients and servers, sync and asyncio, for all four kinds of calls.

gRPC carries deadlines itself, so the client only shortens its time-out, and the server opens a scope from the
time that is left. What may live here: `status` (what an outcome means), `details` (what a call is sent with),
`clients`, `aio_clients`, `servers`; nothing third-party but grpcio.

A stream holds what its policy admits it to for as long as it lasts. A stream of answers is tried again as long as
nothing of it was seen; a call whose requests are a stream is not, because they are gone.
"""

from __future__ import annotations

from atoll.kit.integrations.grpc.aio_clients import AsyncClient, async_clients
from atoll.kit.integrations.grpc.clients import Client
from atoll.kit.integrations.grpc.servers import AsyncServer, Server
from atoll.kit.integrations.grpc.status import classify

__all__ = ["AsyncClient", "AsyncServer", "Client", "Server", "async_clients", "classify"]
