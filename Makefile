# make demo: the main job on real input.  make test: the quick tests.  make test-all: every test.
# make fuzz SECONDS=60: read changed copies of good inputs, so long for each kind of them.
# make golden: write tests/golden again.  make check: lint, types, contracts.  make docs: the documentation site, in site/.
PYTHON ?= python3
# Test processes, of one thread each: threads of several processes would wait for each other.
JOBS ?= 2
VENV := .venv
RUN := $(VENV)/bin
PYTEST := OMP_NUM_THREADS=1 $(RUN)/python -m pytest -n $(JOBS) --dist loadfile

.PHONY: demo test test-all check fuzz docs bench results golden clean

demo: $(VENV)/.installed
	$(RUN)/onelook demo $(if $(DATA),--data $(DATA))

test: $(VENV)/.installed-dev
	$(PYTEST) -m "not slow"

test-all: $(VENV)/.installed-dev
	$(PYTEST)

check: $(VENV)/.installed-dev
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports

bench: $(VENV)/.installed-dev
	$(RUN)/python benchmarks/recipes.py

fuzz: $(VENV)/.installed-dev
	$(RUN)/python tests/fuzz/fuzz.py --seconds $(or $(SECONDS),60)

docs: $(VENV)/.installed-dev
	$(RUN)/mkdocs build --strict

results: $(VENV)/.installed-dev
	$(RUN)/python benchmarks/results.py

golden: $(VENV)/.installed-dev
	$(RUN)/python tests/golden/make.py

# The stamp is newer than what decides the environment, so the second time takes no time.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[train]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(RUN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	touch $@

clean:
	rm -rf $(VENV) runs site report.html
