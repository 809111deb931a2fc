#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""units.py SYSTEMD-ANALYZE UNIT... -- PROGRAM...: what systemd says of our units, installed in a folder of their own
with the programs that they name; and that what is opened to an attacker is no more than was decided."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

# Of 10; systemd counts what a hypervisor's supervisor needs (devices, capabilities) against it.
EXPOSED_MAX = {"parley-hostd.service": 6.5, "parley-mediator@.service": 4.5, "parley-metrics.service": 2.0}


def install(units, path, programs, root):
    """The unit's text, with programs that are there; its name."""
    text = pathlib.Path(path).read_text(encoding="utf-8")
    for program in programs:
        here = root / os.path.basename(program)     # its own path may have spaces
        text = re.sub(r"(?<==)\S+/" + here.name + r"(?=\s)", str(here), text)
    name = os.path.basename(path)
    (units / name).write_text(text, encoding="utf-8")
    return name, text


def check(analyze, unit, name, text, env):
    """Number of faults, which were told."""
    failed = 0
    said = subprocess.run([analyze, "verify", "--man=no", str(unit)], env=env, capture_output=True, text=True,
                          check=False)
    if said.returncode or [line for line in said.stderr.splitlines() if "parley" in line]:
        print(f"{name}: systemd-analyze verify: {said.returncode}\n" + said.stdout + said.stderr)
        failed += 1
    if name in EXPOSED_MAX:
        said = subprocess.run([analyze, "security", "--offline=yes", "--no-pager",
                               f"--threshold={int(EXPOSED_MAX[name] * 10)}", str(unit)], env=env, capture_output=True,
                              text=True, check=False)
        if said.returncode:
            print(said.stdout + said.stderr)
            failed += 1
    for line in text.splitlines():
        if line and not line.startswith(("#", "[")) and "=" not in line:
            print(f"{name}: {line!r} is no setting")
            failed += 1
    return failed


def main():
    analyze, *rest = sys.argv[1:]
    paths, programs = rest[:rest.index("--")], rest[rest.index("--") + 1:]
    with tempfile.TemporaryDirectory(prefix="parley-units.") as folder:
        root = pathlib.Path(folder)
        units = root / "units"
        units.mkdir()
        for program in programs:
            (root / os.path.basename(program)).symlink_to(os.path.abspath(program))
        env = dict(os.environ, SYSTEMD_UNIT_PATH=f"{units}:", SYSTEMD_LOG_LEVEL="warning")
        failed = 0
        for name, text in [install(units, path, programs, root) for path in paths]:
            # A template is looked at as one of its instances.
            unit = units / name.replace("@.", "@test.")
            if not unit.exists():
                unit.symlink_to(units / name)
            failed += check(analyze, unit, name, text, env)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
