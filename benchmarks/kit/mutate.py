"""
Mutation testing of the kit: break one operator, constant or condition at a time, and see whether a test notices.

    python benchmarks/kit/mutate.py resilience/breaker.py resilience/retry.py aio/alarms.py [--every N] [--lines N...]

Works on a copy of the source in a temporary directory; prints the mutants that no test noticed. With `--lines` only the
mutants of these lines: to ask again about the survivors of an earlier run.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.Div, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def mutants(tree: ast.Module) -> Iterator[tuple[str, ast.Module]]:
    """Every mutant of `tree` with a line that says what was changed."""
    for at, node in enumerate(ast.walk(tree)):
        changed = copy.deepcopy(tree)
        twin = list(ast.walk(changed))[at]
        what = ""
        match twin:
            case ast.Compare(ops=[op, *_]) if type(op) in SWAPS:
                twin.ops[0] = SWAPS[type(op)]()  # type: ignore[call-overload]
                what = f"{type(op).__name__} -> {SWAPS[type(op)].__name__}"
            case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op) if type(op) in SWAPS:
                twin.op = SWAPS[type(op)]()  # type: ignore[assignment]
                what = f"{type(op).__name__} -> {SWAPS[type(op)].__name__}"
            case ast.If(test=test):
                twin.test = ast.UnaryOp(ast.Not(), test)
                what = "if not"
            case ast.Constant(value=bool() as value):
                twin.value = not value
                what = f"{value} -> {not value}"
            case ast.Constant(value=int() | float() as value):
                twin.value = value + 1
                what = f"{value} -> {value + 1}"
            case ast.Expr(value=ast.Call()):
                twin.value = ast.Constant(None)
                what = "call left out"
        if what and not _is_event(node):
            yield (
                f"line {getattr(node, 'lineno', '?')}: {what}: {ast.unparse(node)[:90]}",
                ast.fix_missing_locations(changed),
            )


def _is_event(node: ast.AST) -> bool:
    return "events.emit" in ast.unparse(node)[:40]


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("modules", nargs="+")
    options.add_argument("--every", type=int, default=1, help="only each N-th mutant")
    options.add_argument("--lines", type=int, nargs="*", default=[], help="only mutants of these lines")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(ROOT / "src", Path(scratch, "src"))
        shutil.copytree(ROOT / "tests/unit/kit", Path(scratch, "tests"))
        environment = os.environ | {"PYTHONPATH": f"{scratch}/src", "PYTHONDONTWRITEBYTECODE": "1"}
        tests = [
            sys.executable,
            "-m",
            "pytest",
            "-xq",
            "-p",
            "no:cacheprovider",
            "--timeout=20",
            "--import-mode=importlib",
        ]
        tests += [
            f"{scratch}/tests/test_{each}.py"
            for each in (
                "breaker",
                "retry",
                "timeout",
                "deadline",
                "bulkhead",
                "parts",
                "cancellation",
                "life",
                "model",
            )
        ]
        if subprocess.run(tests, env=environment, cwd=scratch, capture_output=True, check=False).returncode:
            sys.exit("the tests fail without any mutant: nothing can be learned")
        for module in given.modules:
            path = Path(scratch, "src/atoll/kit", module)
            original = path.read_text()
            tried = survived = 0
            for what, changed in list(mutants(ast.parse(original)))[:: given.every]:
                if given.lines and int(what.split()[1].rstrip(":")) not in given.lines:
                    continue
                path.write_text(ast.unparse(changed))
                try:
                    done = subprocess.run(
                        tests, env=environment, cwd=scratch, capture_output=True, timeout=90, check=False
                    )
                    noticed = done.returncode != 0
                except subprocess.TimeoutExpired:
                    noticed = True
                tried += 1
                if not noticed:
                    survived += 1
                    print(f"  survived: {module} {what}", flush=True)
            path.write_text(original)
            print(f"{module}: {tried - survived} of {tried} mutants noticed", flush=True)


if __name__ == "__main__":
    main()
