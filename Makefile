# make demo: the main job on real input.  make test: the tests.  make check: lint, types, contracts.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin

.PHONY: demo test check bench results clean

demo: $(VENV)/.installed
	$(RUN)/onelook demo $(if $(DATA),--data $(DATA))

test: $(VENV)/.installed-dev
	$(RUN)/python -m pytest

check: $(VENV)/.installed-dev
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports

bench: $(VENV)/.installed-dev
	$(RUN)/python benchmarks/recipes.py

results: $(VENV)/.installed-dev
	$(RUN)/python benchmarks/results.py

# The stamp is newer than what decides the environment, so the second time takes no time.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(RUN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) runs report.html
