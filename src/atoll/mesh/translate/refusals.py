"""
What an instance is told where it may not call, or not as it did.

Never a line that the file would be refused for: a host is advised only in a form that the file takes, and a service
only where there is one. Names are looked up as domains, as Envoy takes no regular expression that could hold many. To
find {name} in a host costs memory wherever it stands, so it stands where nothing else will do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from atoll.mesh import ir
from atoll.model.system import Egress
from atoll.values.names import ITSELF

FORBIDDEN = 403
_ANY_PORT = "(:[0-9]+)?"
_PORT = "(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_ITSELF = rf"(([^:]+\.)?{'|'.join(map(re.escape, ITSELF))}){_ANY_PORT}"
_PLAIN = "[a-z0-9-]+"
_BARE = _LABEL + _PORT
_OUTSIDE = rf"({_LABEL}\.)+{_LABEL}{_PORT}"
_NO_HOST = (
    "it is no service, and no host that atoll.yaml could allow: write it in small letters, without a dot at its end,"
    " and with a port up to 65535"
)


@dataclass(frozen=True, slots=True)
class Refusals:
    """Those of one caller."""

    caller: str

    @property
    def _where(self) -> str:
        return f"under services.{self.caller}.calls in atoll.yaml"

    def no_tunnel(self, callee: str) -> ir.Refuse:
        """To who asks for a tunnel to a service that it may call: what reads HTTP_PROXY and not NO_PROXY does."""
        text = f"{callee} needs no tunnel: call `http://{callee}/` directly, without the proxy"
        return ir.Refuse(FORBIDDEN, text, ir.Asked.TUNNEL)

    def flags(self) -> tuple[ir.Refuse, ...]:
        """To who asks for flags and declares none."""
        mend = f"add `flags: [NAME]` under services.{self.caller} in atoll.yaml"
        return _any_way(f"{self.caller} may not ask for flags: {mend}")

    def other_way(self, authority: str, declared: Iterable[Egress]) -> Iterator[ir.Refuse]:
        """To who calls a host outside in another way than the file allows."""
        schemes = {egress.scheme for egress in declared}
        for scheme, asked in (("https", ir.Asked.TUNNEL), ("http", ir.Asked.ANYTHING)):
            if scheme not in schemes:
                mend = f"add `{scheme}://{authority}` {self._where}"
                yield ir.Refuse(FORBIDDEN, f"{self.caller} may not reach {{host}} by {scheme}: {mend}", asked)

    def hosts(self, reached: Iterable[str], services: Iterable[str]) -> Iterator[ir.VirtualHost]:
        """All but *reached* as they should be called, and hosts outside that it may call. *services* are all."""
        known = frozenset(reached)
        others = sorted(frozenset(services) - known - {self.caller})
        yield ir.VirtualHost("called oddly", tuple(f"{name}:*" for name in sorted(known)), self._called_oddly())
        if others:
            domains = tuple(domain for name in others for domain in (name, f"{name}:*"))
            yield ir.VirtualHost("other services", domains, self._others())
        yield ir.VirtualHost("undeclared", ("*",), (*self._itself(), *self._outside()))

    def _called_oddly(self) -> tuple[ir.Refuse, ...]:
        return _any_way("{host} is not how a service is called: call `http://{name}/`, without a port or a tunnel")

    def _others(self) -> tuple[ir.Refuse, ...]:
        no = f"{self.caller} may not call {{host}}"
        plain = ir.Refuse(FORBIDDEN, f"{no}: add `{{host}}` {self._where}", host=_PLAIN)
        return (plain, *_any_way(f"{no}: call `http://{{name}}/`, and add that name {self._where}"))

    def _itself(self) -> Iterator[ir.Refuse]:
        yield from _any_way(f"{self.caller} may not call itself", re.escape(self.caller) + _ANY_PORT)
        yield from _any_way(f"{{host}} is this instance of {self.caller} itself: no proxy leads there", _ITSELF)

    def _outside(self) -> Iterator[ir.Refuse]:
        reach = f"{self.caller} may not reach {{host}}"
        for scheme, asked in (("https", ir.Asked.TUNNEL), ("http", ir.Asked.ANYTHING)):
            add = f"add `{scheme}://{{host}}` {self._where}"
            yield ir.Refuse(FORBIDDEN, f"{reach}: no service is called so; for a host outside {add}", asked, _BARE)
            yield ir.Refuse(FORBIDDEN, f"{reach}: {add}", asked, _OUTSIDE)
        yield from _any_way(f"{reach}: {_NO_HOST}")


def _any_way(text: str, host: str = "") -> tuple[ir.Refuse, ...]:
    return tuple(ir.Refuse(FORBIDDEN, text, asked, host) for asked in (ir.Asked.TUNNEL, ir.Asked.ANYTHING))
