# make demo | run | test | lint | bench | docs     (make help tells more)
VENV   := .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
JOBS   ?= 3
MINUTES ?= 30
CLIENTS ?= 2000
KILLS  ?= 200
FUZZ_SECONDS ?= 60
STORE  ?= sqlite

.PHONY: help demo run test fuzz soak soak-sip soak-calls soak-failover soak-overload soak-timers kill9 test-native compiled test-compiled lint bench docs clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    set everything up and see a real call go through each server (under a minute)"
	@echo "make run     start both servers with sample configuration on loopback ports; ctrl-c stops them"
	@echo "make test    run the tests; PYTEST='-k registrar' passes options on"
	@echo "make fuzz    atheris on each parser for $(FUZZ_SECONDS) s (FUZZ_SECONDS=, TARGETS=sdp), then the property tests"
	@echo "             with many random examples (FUZZ=tests/haproxy narrows these down)"
	@echo "make soak    $(CLIENTS) clients of crs call, post, vanish and come back for $(MINUTES) minutes (MINUTES=, CLIENTS=)"
	@echo "make kill9   crs is killed $(KILLS) times under load, and loses no message (KILLS=, STORE=redis)"
	@echo "make soak-sip  a million bad SIP messages for genproxy, whose memory stays flat (MESSAGES=)"
	@echo "make soak-calls  SIPp calls at 70 % of genproxy's maximum: none lost, memory flat, tables empty (MINUTES=, RATE=)"
	@echo "make soak-failover  SIPp calls while Genesis systems die and come back; no other call is lost (MINUTES=, RATE=)"
	@echo "make soak-overload  twice as many SIPp calls as genproxy can carry: it goes on (MINUTES=, RATE=)"
	@echo "make soak-timers  a phone of SIPp rings until genproxy's Timer C ends the call: four minutes"
	@echo "make test-native  the native forwarder under the address, undefined and thread sanitizers"
	@echo "make compiled     the hot path of SIP in machine code, below build/compiled; PYTHONPATH=build/compiled uses it"
	@echo "make test-compiled  genproxy's tests on that"
	@echo "make lint    ruff, mypy --strict, import rules"
	@echo "make bench   measure the hot paths beside their floors"
	@echo "make docs    write docs/settings-*.md, docs/commands-*.md and etc/ from the schemas"
	@echo "make clean   remove the virtual environment and every generated file"

demo: $(VENV)/.base
	@$(BIN)/python -m demo

run: $(VENV)/.base
	@$(BIN)/python -m demo.run

test: $(VENV)/.test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(PYTEST)

fuzz: $(VENV)/.fuzz
	$(BIN)/python -m fuzz $(FUZZ_SECONDS) $(TARGETS)
	HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -n $(JOBS) -m hypothesis --timeout 7200 $(or $(FUZZ),tests)

soak: $(VENV)/.test
	$(BIN)/python -m endurance.soak $(MINUTES) $(CLIENTS)

soak-sip: $(VENV)/.test
	$(BIN)/python -m endurance.bad_sip $(MESSAGES)

soak-calls: $(VENV)/.test
	$(BIN)/python -m endurance.calls $(MINUTES) $(RATE)

soak-failover: $(VENV)/.test
	$(BIN)/python -m endurance.failover $(MINUTES) $(RATE)

soak-overload: MINUTES = 0.5
soak-overload: $(VENV)/.test
	$(BIN)/python -m endurance.overload $(MINUTES) $(RATE)

soak-timers: $(VENV)/.test
	$(BIN)/python -m endurance.timers

kill9: $(VENV)/.test
	$(BIN)/python -m endurance.kills $(KILLS) $(STORE)

test-native: $(VENV)/.test
	tests/native/check $(BIN)/python

# A copy beside the source, so that whoever edits a module does not go on running its older machine code.
compiled: $(VENV)/.lint
	rm -rf build/compiled
	COMPILE=1 $(BIN)/python setup.py --quiet build --build-base build --build-lib build/compiled

# Not with -m pytest: that would find the source first.
test-compiled: compiled
	PYTHONPATH=build/compiled $(BIN)/pytest -n $(JOBS) --dist worksteal $(or $(PYTEST),tests/haproxy tests/rtlib/test_wheel.py tests/scenarios/sip_routing)

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.base
	$(BIN)/python -m bench $(BENCH)

docs: $(VENV)/.base
	$(BIN)/python tools/write_docs.py

NATIVE := setup.py rtlib/media/_forwarder.c $(wildcard rtlib/media/native/*.[ch])

# Four stamps, so that the demo does not wait for linters.
$(VENV)/.base: setup.cfg pyproject.toml $(NATIVE)
	@tools/make-venv $(PYTHON) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.test: $(VENV)/.base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

$(VENV)/.fuzz: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	@touch $@

$(VENV)/.lint: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[lint]'
	@touch $@

clean:
	rm -rf $(VENV) build dist run *.egg-info .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache rtlib/media/*.so
