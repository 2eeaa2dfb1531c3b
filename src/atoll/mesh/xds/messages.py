"""The small change of Envoy's messages: durations, wrapped numbers, addresses, packed extensions."""

from __future__ import annotations

from envoy.config.core.v3.address_pb2 import Address, Pipe, SocketAddress
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import UInt32Value

from atoll.mesh import ir

NANOS = 1_000_000_000
ADS = ConfigSource(resource_api_version=ApiVersion.V3, ads=AggregatedConfigSource())
"""Where everything comes from: the one stream to the control plane."""


def seconds(value: float) -> Duration:
    """A duration."""
    nanos = round(value * NANOS)
    return Duration(seconds=nanos // NANOS, nanos=nanos % NANOS)


def count(value: int) -> UInt32Value:
    """A number that may be absent."""
    return UInt32Value(value=value)


def packed(message: Message) -> Any:
    """An extension, with its type. The bytes depend on the content only, so that its digest does."""
    return Any(
        type_url=f"type.googleapis.com/{message.DESCRIPTOR.full_name}",
        value=message.SerializeToString(deterministic=True),
    )


def delimited(number: int, value: bytes) -> bytes:
    """A length-delimited field of a message: bytes made once are sent as they are."""
    length, size = bytearray(), len(value)
    while size > 0x7F:  # noqa: PLR2004 - seven bits per byte
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes((number << 3 | 2,)) + bytes(length) + value


def address(where: ir.Inet | ir.Unix) -> Address:
    """A socket's address. Sockets in the file system are for this user only."""
    if isinstance(where, ir.Unix):
        return Address(pipe=Pipe(path=where.path, mode=0o600))
    return Address(
        socket_address=SocketAddress(
            address=where.ip, port_value=where.port, network_namespace_filepath=where.netns or ""
        )
    )
