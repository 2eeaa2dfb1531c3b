"""
What an instance is told where it may not call, or not as it did.

Never a line that the file would be refused for: a host is advised only in a form that the file takes, and a service
only where there is one. Names are looked up as domains, as Envoy takes no regular expression that could hold many.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from atoll.mesh import ir
from atoll.model.system import Egress
from atoll.values.names import ITSELF

FORBIDDEN = 403
_PORT = "(:[0-9]+)?"
_ITSELF = rf"(([^:]+\.)?{'|'.join(map(re.escape, ITSELF))})\.?{_PORT}"
_PLAIN = r"[a-z0-9-]+(:80)?"
_TOO_HIGH = r".*:([7-9][0-9]{4}|6[6-9][0-9]{3}|65[6-9][0-9]{2}|655[4-9][0-9]|6553[6-9])"
_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_VALID_PORT = "(:[1-9][0-9]{0,4})?"
_BARE = _LABEL + _VALID_PORT
_OUTSIDE = rf"({_LABEL}\.)+{_LABEL}{_VALID_PORT}"
_CAPITALS = ".*[A-Z].*"
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
        yield ir.VirtualHost("called oddly", _domains(_oddly, sorted(known)), self._called_oddly())
        if others:
            yield ir.VirtualHost("other services", _domains(_spelled, others), self._others())
        yield ir.VirtualHost("undeclared", ("*",), (*self._itself(), *self._outside()))

    def _called_oddly(self) -> tuple[ir.Refuse, ...]:
        text = "{name} is not called as {host}: call `http://{name}/`, without a port or a tunnel"
        return (*self._capitals(), *_any_way(text))

    def _capitals(self) -> tuple[ir.Refuse, ...]:
        """Envoy looks domains up whatever their letters."""
        return _any_way(f"{self.caller} may not call {{host}}: the names of services have small letters", _CAPITALS)

    def _others(self) -> tuple[ir.Refuse, ...]:
        add = f"add `{{name}}` {self._where}"
        plain = ir.Refuse(FORBIDDEN, f"{self.caller} may not call {{name}}: {add}", host=_PLAIN)
        oddly = f"{self.caller} may not call {{host}}: {add}, and call `http://{{name}}/`, without a port or a tunnel"
        return (*self._capitals(), plain, *_any_way(oddly))

    def _itself(self) -> Iterator[ir.Refuse]:
        yield from _any_way(f"{self.caller} may not call itself", rf"{re.escape(self.caller)}\.?{_PORT}")
        yield from _any_way(f"{{host}} is this instance of {self.caller} itself: no proxy leads there", _ITSELF)

    def _outside(self) -> Iterator[ir.Refuse]:
        reach = f"{self.caller} may not reach {{host}}"
        yield from _any_way(f"{reach}: {_NO_HOST}", _TOO_HIGH)
        for scheme, asked in (("https", ir.Asked.TUNNEL), ("http", ir.Asked.ANYTHING)):
            add = f"add `{scheme}://{{host}}` {self._where}"
            yield ir.Refuse(FORBIDDEN, f"{reach}: no service is called so; for a host outside {add}", asked, _BARE)
            yield ir.Refuse(FORBIDDEN, f"{reach}: {add}", asked, _OUTSIDE)
        yield from _any_way(f"{reach}: {_NO_HOST}")


def _any_way(text: str, host: str = "") -> tuple[ir.Refuse, ...]:
    return tuple(ir.Refuse(FORBIDDEN, text, asked, host) for asked in (ir.Asked.TUNNEL, ir.Asked.ANYTHING))


def _oddly(name: str) -> tuple[str, ...]:
    """Habits from Compose (a port) and from DNS (a dot at the end)."""
    return f"{name}:*", f"{name}.", f"{name}.:*"


def _spelled(name: str) -> tuple[str, ...]:
    return name, *_oddly(name)


def _domains(spell: Callable[[str], tuple[str, ...]], names: Iterable[str]) -> tuple[str, ...]:
    return tuple(domain for name in names for domain in spell(name))
