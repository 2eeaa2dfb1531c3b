"""
What Envoy answers by itself, as sentences that say what to do.

These are looked through where Envoy has no answer of anybody else's, so requests that are passed on pay nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLogFilter, ExtensionFilter, ResponseFlagFilter
from envoy.extensions.access_loggers.filters.cel.v3.cel_pb2 import ExpressionFilter
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    LocalReplyConfig,
    ResponseMapper,
)

from atoll.mesh.xds.messages import packed
from atoll.mesh.xds.routes import plain_text

_TO_PUBLIC = {
    "UH": "no instance can answer now: none is ready, or all are failing; try again soon",
    "UO": "too many requests at once; try again soon",
    "UT": "no answer in time",
    "UC": "what serves this broke the connection before it answered: whether it has done it, nobody knows",
    "UR": "what serves this broke the request off before it answered: whether it has done it, nobody knows",
    "UF": "what serves this cannot be reached now; try again soon",
    "UPE": "what serves this does not speak the version of HTTP that it was asked in (%PROTOCOL%): ask in another,"
    " or say what it speaks with services.NAME.protocol in atoll.yaml",
}
_NO_PATH = "nothing is served here: the gateway makes no tunnels (CONNECT), and * is no path"
_NOT_PASSED_ON = {
    "path_normalization_failed": "this path is not passed on: it holds an encoded slash or backslash (%%2F, %%5C),"
    " a zero byte (%%00), or a #",
    "missing_host_header": "this request does not say which host it is for (Host)",
    "http1.codec_error": "this is not well-formed HTTP",
    "low_version": "the gateway speaks HTTP/1.1 and HTTP/2, and nothing older",
    "upgrade_failed": "the gateway passes on no upgrade but that to WebSocket",
    "route_not_found": _NO_PATH,
    "absolute_path_rejected": _NO_PATH,
}
"""By Envoy's word for why. A route that refuses has another, and so keeps its own text."""


def to_instance(caller: str) -> LocalReplyConfig:
    """To a service about its callees, by their names."""
    texts = {
        "UH": "%ROUTE_NAME% has no instance that can answer now: none is ready, or all are failing",
        "UO": f"{caller} has as many calls to %ROUTE_NAME% open as it may (concurrency)",
        "UT": f"%ROUTE_NAME% did not answer {caller} in time",
        "UC": "%ROUTE_NAME% broke the connection before it answered: whether it has done what was asked, nobody knows",
        "UR": "%ROUTE_NAME% broke the request off before it answered: whether it has done it, nobody knows",
        "UF": "%ROUTE_NAME% cannot be reached now",
        "UPE": "%ROUTE_NAME% does not speak the version of HTTP that it was asked in (%PROTOCOL%): say what it"
        " speaks with services.%ROUTE_NAME%.protocol in atoll.yaml",
    }
    return LocalReplyConfig(mappers=_by_flag(texts))


def to_public() -> LocalReplyConfig:
    """To anybody, without a word about what is inside."""
    return LocalReplyConfig(mappers=[*_by_flag(_TO_PUBLIC), *_by_details(_NOT_PASSED_ON)])


def _by_flag(texts: Mapping[str, str]) -> Iterator[ResponseMapper]:
    for flag, text in texts.items():
        chosen = AccessLogFilter(response_flag_filter=ResponseFlagFilter(flags=[flag]))
        yield ResponseMapper(filter=chosen, body_format_override=plain_text(text))


def _by_details(texts: Mapping[str, str]) -> Iterator[ResponseMapper]:
    for details, text in texts.items():
        expression = packed(ExpressionFilter(expression=f"response.code_details == '{details}'"))
        chosen = AccessLogFilter(extension_filter=ExtensionFilter(name=f"because {details}", typed_config=expression))
        yield ResponseMapper(filter=chosen, body_format_override=plain_text(text))
