# Two commands for a new user: `make demo` and `make test`. `make help` lists the others.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# More workers than cores: most tests wait for brokers, clocks and processes. Each worker collects all tests: 4 s of CPU.
TEST_WORKERS ?= $(shell echo $$(( $$(nproc) * 3 )))
LONG_WORKERS ?= $(shell echo $$(( $$(nproc) * 3 )))
# Without cached bytecode, each worker and each process of a test compiles every module again.
unexport PYTHONDONTWRITEBYTECODE
# without broker, process or camera: seconds
PURE := tests/core tests/contract tests/docs tests/vision $(wildcard tests/test_*.py)
# measured: 95.93 % of lines and branches, core 100 %; a command that ends by os._exit is not counted
COVERAGE_FLOOR := 95
COVERAGE_FLOOR_CORE := 100
# the files with long tests, the longest first: no worker waits for one of them at the end
LONG_FIRST := tests/faults tests/tills tests/systemd tests/chaos
LONG_FILES = $(sort $(shell grep -rl 'mark\.long' --include='test_*.py' tests))
LONG = $(foreach folder,$(LONG_FIRST),$(filter $(folder)/%,$(LONG_FILES))) $(filter-out $(LONG_FIRST:=/%),$(LONG_FILES))
PATIENT := -o faulthandler_timeout=1800

# The kernel runs an aarch64 ELF file with the emulator; F opens it now, so that a chroot needs no copy.
AARCH64_BINFMT := :qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:F

.DEFAULT_GOAL := help
.PHONY: help demo check test test-full test-long coverage docs docs-pictures lock chaos lint bench docs-site deb apt-repo clean mosquitto debootstrap faketime promtool reprepro haproxy chromium test-browser qemu picamera2 test-arm64 test-camera vivid test-vivid valgrind

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

demo: $(STAMP)-demo ## install into .venv, then run all parts on this machine once
	@$(BIN)/facepay demo $(ARGS)

check: lint ## format, ruff, mypy --strict and tests of pure code: less than a minute, after each change
	@$(BIN)/pytest -m "not long" -n auto --dist worksteal $(PURE)

# One run: the pure tests use the cores while the others wait. worksteal and tests/slow_first.py: no worker has a
# long test alone at the end.
test: lint mosquitto picamera2 ## lint, and every test without internet and camera: about 5 minutes on 2 cores
	@$(BIN)/pytest -m "not long" -n $(TEST_WORKERS) --dist worksteal

test-full: test test-long ## test, and the long tests: package in a minimal Debian, real systemd, browser

test-long: $(STAMP)-dev mosquitto picamera2 debootstrap faketime promtool reprepro haproxy chromium valgrind
	@$(BIN)/pytest -m long $(PATIENT) -n $(LONG_WORKERS) --dist loadfile --no-loadscope-reorder $(LONG)

# One worker per core: measured code needs more time, and a terminal under test has its own deadlines.
coverage: $(STAMP)-dev mosquitto picamera2 ## measure line and branch coverage; fails below the floor
	@$(BIN)/pytest -m "not long" -n auto --dist worksteal --cov --cov-report=
	@$(BIN)/coverage report --fail-under=$(COVERAGE_FLOOR)
	@$(BIN)/coverage report --include='agent/core/*' --fail-under=$(COVERAGE_FLOOR_CORE)

test-camera: $(STAMP)-dev debootstrap ## the real picamera2 on libcamera's virtual camera, in a separate Debian 13: needs root
	@$(BIN)/pytest -m long $(PATIENT) tests/camera/test_virtual_camera.py

test-browser: $(STAMP)-dev chromium ## the diagnostics page in a real headless Chromium
	@$(BIN)/pytest -m long $(PATIENT) tests/browser

test-arm64: $(STAMP)-dev debootstrap qemu ## the arm64 package in an emulated arm64 Debian: a few minutes, needs root
	@FACEPAY_ARM64=1 $(BIN)/pytest -m long $(PATIENT) tests/package/test_arm64.py

test-vivid: $(STAMP)-dev vivid ## the V4L2 camera against a real kernel's virtual device, in a virtual machine
	@FACEPAY_VIVID=1 $(BIN)/pytest -m long $(PATIENT) tests/camera/test_vivid.py

chaos: $(STAMP)-dev mosquitto ## kill, pause and flood the agent, kill the broker, cut connections, fill the disk: the zero-loss table
	@$(BIN)/python -m tests.chaos.run $(ARGS)

lint: $(STAMP)-dev ## ruff and mypy --strict
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-logo >/dev/null || $(BIN)/lint-imports --no-logo
	@$(BIN)/mypy

bench: $(STAMP)-bench mosquitto ## all measurements in one run: tables, goals and JSON (ARGS=--share: a file for a report)
	@$(BIN)/python -m tests.bench $(ARGS)

# Each module writes the pages that its docstring names. The examples of the contract come before its page.
DOC_PAGES := tests.contract.golden tests.contract.sides tests.contract.render tests.docs.reasons_page tests.docs.doctor_page \
  tests.docs.conditions_page tests.docs.faults_page tests.docs.metrics_page tests.docs.privacy_page tests.docs.retention_page tests.bench.page tests.broker_matrix.page

docs: $(STAMP)-dev ## write the generated pages of docs/
	@set -e; for page in $(DOC_PAGES); do echo "$$page" >&2; $(BIN)/python -m $$page; done

docs-pictures: $(STAMP)-dev mosquitto chromium ## make the pictures of docs/: command line, page and payer's screen
	@$(BIN)/python -m tests.docs.screens
	@$(BIN)/python -m tests.browser.pictures
	@$(BIN)/python -m tests.browser.payer_pictures

lock: $(STAMP)-dev ## resolve the dependencies of pyproject.toml: packaging/lock/*.txt
	@$(BIN)/python packaging/lock.py

docs-site: $(STAMP)-docs ## the pages as a searchable site in site/; a broken link is an error
	@$(BIN)/mkdocs build --strict --quiet --clean
	@echo "site/ is built. Read it with: $(BIN)/python -m http.server --bind 127.0.0.1 --directory site 8000"

deb: $(STAMP)-dev ## build the Debian package for this release in dist/ (ARGS="--arch arm64" for arm64)
	@$(BIN)/python packaging/build_deb.py $(ARGS)

apt-repo: $(STAMP)-dev ## put the packages of this version in dist into the ring canary of a signed apt repository in dist/apt (ARGS="--promote canary early")
	@$(BIN)/python packaging/apt_repo.py $(ARGS)

mosquitto: ## install the broker of the tests: from apt as root; otherwise print the command
	@if command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing mosquitto from apt" >&2; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq mosquitto mosquitto-clients >/dev/null; \
	else \
	  echo "The tests need a mosquitto broker. Install it with: sudo apt-get install mosquitto mosquitto-clients"; exit 1; fi

# Without root the tests that need these programs are skipped with a reason.
qemu:
	@[ "$$(id -u)" = 0 ] || { echo "test-arm64 needs root: debootstrap, chroot, binfmt_misc"; exit 1; }
	@[ -x /usr/bin/qemu-aarch64-static ] || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq qemu-user-static >/dev/null; }
	@[ -e /proc/sys/fs/binfmt_misc/register ] || mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
	@[ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || printf '%s' '$(AARCH64_BINFMT)' > /proc/sys/fs/binfmt_misc/register

vivid:
	@( for program in qemu-system-x86_64 busybox cpio depmod v4l2-ctl; do command -v $$program >/dev/null || exit 1; done ) || \
	  { [ "$$(id -u)" = 0 ] || { echo "test-vivid needs, once, as root: apt-get install qemu-system-x86 busybox-static cpio kmod v4l-utils"; exit 1; }; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq qemu-system-x86 busybox-static cpio kmod v4l-utils >/dev/null; }

# Tests read the wheel and never run it, because there is no libcamera. Without the wheel they are skipped with a reason.
picamera2: $(STAMP)-dev
	@ls $(VENV)/picamera2/*.whl >/dev/null 2>&1 || \
	  $(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
	    --dest $(VENV)/picamera2 'picamera2>=0.3.31,<0.4' >/dev/null 2>$(VENV)/pip.log || \
	  echo "no picamera2 wheel from the package index: its contract tests are skipped" >&2

faketime:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1; then \
	  echo "installing faketime from apt" >&2; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq faketime >/dev/null; fi

valgrind:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v valgrind >/dev/null; then \
	  echo "installing valgrind from apt" >&2; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq valgrind >/dev/null; fi

promtool:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! { command -v promtool && command -v prometheus-alertmanager; } >/dev/null; then \
	  echo "installing prometheus and prometheus-alertmanager from apt" >&2; \
	  apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus prometheus-alertmanager >/dev/null; fi

reprepro:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! { command -v reprepro && command -v gpg; } >/dev/null; then \
	  echo "installing reprepro from apt" >&2; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends reprepro gpg gpg-agent >/dev/null; fi

haproxy:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! { [ -x /usr/sbin/haproxy ] && [ -x /usr/bin/redis-server ]; }; then \
	  echo "installing haproxy and redis-server from apt" >&2; \
	  apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends haproxy redis-server >/dev/null; fi

chromium:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! { [ -x /usr/bin/chromium ] && [ -e /usr/share/fonts/truetype/wqy ] && [ -x /usr/bin/cage ] && [ -x /usr/bin/Xwayland ]; }; then \
	  echo "installing chromium, a kiosk compositor and a Chinese font from apt" >&2; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-wqy-zenhei cage xwayland >/dev/null; fi

debootstrap:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  ! { command -v debootstrap && command -v systemd-nspawn; } >/dev/null; then \
	  echo "installing debootstrap and systemd-container from apt" >&2; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq debootstrap systemd-container >/dev/null; fi

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "facepay-agent needs Python 3.11 or newer as '$(PYTHON)'. Install it, or name another interpreter: make demo PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's venv module is missing. Install it with: sudo apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# The packages of the lock, checked by hash; then this project itself, without network access.
$(STAMP)-%: $(VENV)/bin/python pyproject.toml packaging/lock/%.txt
	@echo "installing facepay-agent[$*] into $(VENV) (once)" >&2
	@{ $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r packaging/lock/$*.txt && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .; } 2>$(VENV)/pip.log || \
	  { grep -v 'is ignored' $(VENV)/pip.log | tail -n 15; echo "Installing failed. Check the network or the package index of pip, then run the command again."; exit 1; }
	@touch $@

clean: ## remove all generated files
	rm -rf $(VENV) dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
