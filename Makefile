.PHONY: setup demo test check fast kit bench

setup:  ## Python packages and tools into .venv
	@scripts/setup

demo: setup  ## run the example shop and print what to try
	@scripts/demo

play-%:  ## release a version of orders under load: healthy, failing, failing-rarely, slow, refusing, different; end
	@scripts/play $*

test:  ## everything: checks, unit, contract, attack and end-to-end tests
	@scripts/setup test
	@$(MAKE) --no-print-directory check
	.venv/bin/pytest -q tests/unit tests/simulation -n 2 --dist worksteal
	.venv/bin/pytest -q tests --ignore tests/unit --ignore tests/simulation -n 2 --dist loadfile

check:  ## lint, types, architecture
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo

fast: check  ## what to run before every commit
	.venv/bin/pytest -q tests/unit tests/simulation -n 2 --dist worksteal

kit:  ## the kit alone: every Python there is, its hooks' real libraries, branch coverage
	@scripts/kit

bench:  ## measure, side by side with peers
	.venv/bin/python -m benchmarks
