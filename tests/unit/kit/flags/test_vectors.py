"""1,000 vectors, from a fixed seed, that must come out as in openfeature-flagd-core 2.0, the reference."""

import copy
import json
import logging
import math
import random
from datetime import UTC, datetime

import pytest
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, OpenFeatureError

from atoll.kit.flags import Flags
from atoll.kit.flags.compiling import NAMES

DOCUMENTS, CONTEXTS = 250, 4
VARIANTS = {"a": "A", "b": "B", "true": "T", "false": "F", "1": "one", "2.5": "two and a half"}
EVALUATORS = {
    "either": {
        "or": [{"$ref": "staff"}, {"$ref": "near"}]
    },  # before what it uses: the reference replaces in this order
    "staff": {"ends_with": [{"var": "email"}, "@corp.com"]},
    "near": {"in": [{"var": "country"}, ["DE", "AT", "CH"]]},
}
PATHS = [
    "email", "country", "age", "plan", "version", "nobody", "tags", "tags.0", "tags.7", "tags.length", "address.city",
    "address.none.deeper", "email.0", "email.length", "targetingKey", "$flagd.flagKey", "$flagd.flagKey.length",
    "flag", "weights", "none", "score", "", "01", "0", 0, 1, 1.0, "born", "list.1.name", "list", "big", "empty",
]  # fmt: skip


OPERATORS = sorted(NAMES - {"log"})  # which the reference writes to stdout


class Maker:
    """Random targeting of every operator, simple and nested, and contexts to ask it with."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.one = self.random.choice

    def scalar(self):
        return self.one(
            [
                None, True, False, 0, 1, -1, 2, 17, 2.5, -0.5, 1.0, 1e20, "", "0", "1", "2.5", "a", "b", "DE", "corp",
                "inf", " 12 ", "1_0", "x,y", "Zürich", "@corp.com", "nan", "infinity", "null",
            ]
        )  # fmt: skip

    def value(self, depth):
        kind = self.random.random()
        if depth <= 0 or kind < 0.25:
            return self.scalar() if self.random.random() < 0.45 else self.var(0)
        if kind < 0.33:
            return [self.value(depth - 1) for _ in range(self.random.randrange(4))]
        return self.operation(depth)

    def values(self, depth, least, most):
        return [self.value(depth - 1) for _ in range(self.random.randint(least, most))]

    def var(self, depth):
        path = self.one(PATHS)
        if self.random.random() < 0.1 and depth > 0:
            path = self.value(depth - 1)
        return {"var": self.one([path, [path], [path, self.scalar()], [path, self.value(depth - 1)]])}

    def list(self, depth):
        return self.one(
            [{"var": "tags"}, {"var": "list"}, {"var": "weights"}, self.value(depth - 1), [1, 2, "b", None]]
        )

    def fractional(self, depth):
        shares = [
            self.one([[self.variant(depth)], [self.variant(depth), self.one([0, 1, 5, 25, 100, 3000])]])
            for _ in range(self.random.randint(1, 4))
        ] + [["a", self.one([1, 7, {"*": [{"var": "age"}, 1]}, {"var": "score"}, {"-": [0, 1]}])]]
        by = self.one([None, {"cat": [{"var": "$flagd.flagKey"}, {"var": "targetingKey"}]}, self.value(depth - 1)])
        return {"fractional": shares if by is None else [by, *shares]}

    def variant(self, depth):
        return self.one(["a", "b", "a", "b", None, True, False, 1, 2.5, {"if": [self.value(depth - 1), "a", "b"]}])

    def version(self):
        return self.one(
            [{"var": "version"}, "1.2.3", "v2", "2.0.0-rc.1", "1.10", "2.0.0+build", "2.0.0-rc.1.alpha", 1, 1.1]
        )

    def operation(self, depth):  # noqa: PLR0911 - one per shape of arguments
        name = self.one(OPERATORS)
        deeper = depth - 1
        if name in ("fractional", "var"):
            return getattr(self, name)(depth)
        if name == "$ref":
            return {"$ref": self.one(sorted(EVALUATORS))}
        if name == "sem_ver":
            return {name: [self.version(), self.one(["=", "!=", "<", "<=", ">", ">=", "^", "~"]), self.version()]}
        if name in ("map", "filter", "all", "some", "none"):
            return {name: [self.list(depth), self.inner(deeper)]}
        if name == "reduce":
            inner = self.one([{"+": [{"var": "accumulator"}, {"var": "current"}]}, self.inner(deeper)])
            return {name: [self.list(depth), inner, self.one([0, "", None, [1]])]}
        if name == "missing_some":
            return {name: [self.one([0, 1, 2]), self.one([["email", "nobody"], ["none", "empty", "age"]])]}
        if name == "missing":
            return {name: self.one([["email", "nobody"], ["none"], [["age", "x"]], "email", ["$flagd.flagKey"]])}
        least, most = {
            "!": (1, 1), "!!": (1, 1), "-": (1, 2), "substr": (2, 3), "<": (2, 3), "<=": (2, 3), ">": (2, 3),
            ">=": (2, 3),
            "if": (1, 7), "?:": (1, 4), "and": (1, 4), "or": (1, 4), "+": (0, 3), "*": (0, 3), "cat": (0, 4),
            "min": (1, 3), "max": (1, 3), "merge": (0, 3),
        }.get(name, (2, 2))  # fmt: skip
        return {name: self.values(depth, least, most)}

    def inner(self, depth):
        return self.one(
            [
                {"var": ""}, {"==": [{"var": ""}, "b"]}, {">": [{"var": "n"}, 1]}, {"var": "name"},
                {"var": "0"}, {"cat": [{"var": ""}, "!"]}, {"var": "$flagd.flagKey"}, self.value(depth),
                {"fractional": [["a"], ["b"]]}, {"fractional": [{"var": ""}, ["a"], ["b", 3]]},
            ]
        )  # fmt: skip

    def targeting(self):
        kind = self.random.random()
        if kind < 0.35:  # one operator, simple
            return self.operation(1)
        if kind < 0.75:  # as people write it
            pairs = [each for _ in range(self.random.randint(1, 3)) for each in (self.operation(2), self.variant(1))]
            return {"if": [*pairs, self.one(["a", "b", None, self.fractional(1)])]}
        return self.operation(4)

    def flag(self):
        return {
            "state": self.one(["ENABLED"] * 9 + ["DISABLED"]),
            "variants": VARIANTS,
            "defaultVariant": self.one(["a", "b", "a", None, True, ""]),
            "targeting": self.one([self.targeting()] * 19 + [{}]),
            "metadata": {"owner": "o", "n": 1},
        }

    def document(self):
        """A document of one flag that is allowed, whatever the dice said before."""
        while True:
            flag = self.flag()
            document = {
                "$evaluators": EVALUATORS,
                "metadata": {"set": "s", "n": 2},
                "flags": {self.one(["f", "größe"]): flag},
            }
            try:
                Flags.load(document)
            except ValueError:
                continue
            return document

    def context(self):
        key = self.one([{}, {"targetingKey": ""}, *[{"targetingKey": f"user-{self.random.randrange(10**6)}"}] * 8])
        attributes = {
            "email": self.one(["a@corp.com", "b@x.org", "", None]),
            "country": self.one(["DE", "FR", "at", None]),
            "age": self.one([17, 42, 42.5, "42", None, True]),
            "plan": self.one(["pro", "b", "a", 1]),
            "version": self.one(["1.2.3", "2.0.0-rc.1", "v2.1", "nonsense", "1.2.3-rc.01", None, 3]),
            "tags": self.one([["b", "a"], [], [1, 2, 3], "text", [[1], {"n": 2}], None]),
            "weights": self.one([["a", 10], [], [["a", 1], ["b", 2]]]),
            "list": [{"name": "x", "n": 1}, {"name": "y", "n": 2}],
            "address": self.one([{"city": "Kiel"}, {"city": None}, "Kiel"]),
            "flag": self.one([True, False]),
            "score": self.one([0, 3, 2.0, -4, math.nan]),
            "none": None,
            "big": self.one([2**70, -(2**65), 1e300, 0.1]),
            "born": datetime(2000, 1, 2, 3, 4, tzinfo=UTC),
            "empty": {},
            "1": "by text",
        }
        kept = {name: value for name, value in attributes.items() if self.random.random() < 0.85}
        return kept | key


def vectors():
    maker = Maker(20261101)
    return [
        (document, [maker.context() for _ in range(CONTEXTS)])
        for document in (maker.document() for _ in range(DOCUMENTS))
    ]


VECTORS = vectors()


def reference(document, key, context):
    core = FlagdCore()
    core.set_flags(copy.deepcopy(document))
    attributes = {name: value for name, value in context.items() if name != "targetingKey"}
    try:
        found = core._resolve(key, "default", EvaluationContext(context.get("targetingKey"), attributes))
    except OpenFeatureError as error:
        return ("default", None, "ERROR", error.error_code)
    except Exception:  # noqa: BLE001 - the SDK makes this of it
        return ("default", None, "ERROR", ErrorCode.GENERAL)
    return (found.value, found.variant, found.reason, found.error_code, dict(found.flag_metadata))


def ours(flags, key, context):
    found = flags.evaluate(key, context, "default")
    said = (found.value, found.variant, found.reason, found.error_code)
    return said if found.error_code else (*said, dict(found.metadata))


@pytest.fixture(autouse=True)
def quiet():
    logging.getLogger("openfeature.contrib").setLevel(logging.CRITICAL)


@pytest.mark.parametrize("number", range(DOCUMENTS))
def test_as_the_reference(number):
    document, contexts = VECTORS[number]
    flags = Flags.load(document)
    (key,) = document["flags"]
    for context in contexts:
        expected = reference(document, key, context)
        assert ours(flags, key, context) == expected, json.dumps(document["flags"], default=str) + str(context)


def test_the_vectors_ask_for_everything():
    said = json.dumps([document for document, _ in VECTORS])
    assert sum(len(contexts) for _, contexts in VECTORS) == 1000
    assert [name for name in NAMES - {"log"} if f'"{name}":' not in said] == []
    outcomes = [
        ours(Flags.load(document), *document["flags"], context)
        for document, contexts in VECTORS
        for context in contexts
    ]
    for reason, least in (("TARGETING_MATCH", 400), ("DEFAULT", 50), ("DISABLED", 20), ("ERROR", 20), ("STATIC", 5)):
        assert sum(each[2] == reason for each in outcomes) >= least, reason
    for variant in VARIANTS:
        assert any(each[1] == variant for each in outcomes), variant
