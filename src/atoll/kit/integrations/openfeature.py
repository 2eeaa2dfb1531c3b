"""Our flags for code that asks through OpenFeature: a provider over a `FlagClient`."""

# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-return"
# An optional library: types are checked also where it is not installed.

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode, ProviderNotReadyError
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider import AbstractProvider, Metadata

from atoll.kit.flags import FlagClient, Kind, Notice

T = TypeVar("T")


class FlagProvider(AbstractProvider):
    """
    `api.set_provider(FlagProvider(client))`.

    Evaluates in this process and never waits, so the async methods are the sync ones. Says PROVIDER_READY,
    PROVIDER_CONFIGURATION_CHANGED and PROVIDER_STALE. The client stays its maker's to close.

    Args:
        client: what knows the flags.
        wait: how many seconds `initialize` waits for the first document.

    """

    def __init__(self, client: FlagClient, *, wait: float = 5.0) -> None:
        super().__init__()
        self._client = client
        self._wait = wait
        self._unsubscribe: Callable[[], None] = _nothing

    def get_metadata(self) -> Metadata:
        """The provider's name."""
        return Metadata(name="atoll")

    def initialize(self, evaluation_context: EvaluationContext) -> None:  # noqa: ARG002 - the SDK's signature
        """
        Waits for the first document. One that comes later still makes the provider ready.

        Raises:
            ProviderNotReadyError: there was none in time.

        """
        ready = self._client.ready(self._wait)
        self._unsubscribe()
        self._unsubscribe = self._client.subscribe(self._tell)
        if not ready and not self._client.ready(0):
            raise ProviderNotReadyError(self._client.problem or "no document of flags was read yet")

    def shutdown(self) -> None:
        """Says nothing any more."""
        self._unsubscribe()
        self._unsubscribe = _nothing

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """See `FlagClient.details`, as for all kinds."""
        return self._resolve("boolean", flag_key, default_value, evaluation_context)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """See `FlagClient.details`."""
        return self._resolve("string", flag_key, default_value, evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """See `FlagClient.details`."""
        return self._resolve("integer", flag_key, default_value, evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """See `FlagClient.details`."""
        return self._resolve("float", flag_key, default_value, evaluation_context)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[Any] | Mapping[str, Any],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[Any] | Mapping[str, Any]]:
        """See `FlagClient.details`."""
        return self._resolve("object", flag_key, default_value, evaluation_context)

    def _resolve(self, kind: Kind, key: str, default: T, asked: EvaluationContext | None) -> FlagResolutionDetails[T]:
        context = {} if asked is None else {**asked.attributes, "targetingKey": asked.targeting_key}
        found = self._client.details(key, default, context, kind=kind)
        return FlagResolutionDetails(
            value=found.value,
            error_code=ErrorCode(found.error_code) if found.error_code else None,
            error_message=found.message or None,
            reason=found.reason,
            variant=found.variant,
            flag_metadata=found.metadata,
        )

    def _tell(self, notice: Notice) -> None:
        if notice.kind == "ready":
            self.emit_provider_ready(ProviderEventDetails())
        elif notice.kind == "changed":
            self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=list(notice.keys)))
        elif notice.kind == "stale":
            self.emit_provider_stale(ProviderEventDetails(message=notice.message or None))


def _nothing() -> None:
    """Nothing to unsubscribe from."""
