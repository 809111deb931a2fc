#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""units.py SERVICE SLICE SYSTEMD-ANALYZE HOSTD HOSTCTL: what systemd says of our units, installed in a folder of their
own with the programs that they name; and that what is opened to an attacker is no more than was decided."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

EXPOSED_MAX = 6.5   # of 10; systemd counts what a hypervisor's supervisor needs (devices, capabilities) against it


def main():
    service, unit_slice, analyze, *programs = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="parley-units.") as folder:
        root = pathlib.Path(folder)
        units = root / "units"
        units.mkdir()
        text = pathlib.Path(service).read_text(encoding="utf-8")
        for program in programs:
            here = root / os.path.basename(program)     # its own path may have spaces
            here.symlink_to(os.path.abspath(program))
            text = re.sub(r"(?<==)\S+/" + here.name + r"\b", str(here), text)
        (units / "parley-hostd.service").write_text(text, encoding="utf-8")
        shutil.copy(unit_slice, units / "parley.slice")
        env = dict(os.environ, SYSTEMD_UNIT_PATH=f"{units}:", SYSTEMD_LOG_LEVEL="warning")
        failed = 0
        for name in ("parley-hostd.service", "parley.slice"):
            said = subprocess.run([analyze, "verify", "--man=no", str(units / name)], env=env, capture_output=True,
                                  text=True, check=False)
            ours = [line for line in said.stderr.splitlines() if "parley" in line]
            if said.returncode or ours:
                print(f"{name}: systemd-analyze verify: {said.returncode}\n" + said.stdout + said.stderr)
                failed = 1
        said = subprocess.run([analyze, "security", "--offline=yes", "--no-pager",
                               f"--threshold={int(EXPOSED_MAX * 10)}", str(units / "parley-hostd.service")], env=env,
                              capture_output=True, text=True, check=False)
        if said.returncode:
            print(said.stdout + said.stderr)
            failed = 1
        for line in text.splitlines():
            if line and not line.startswith(("#", "[")) and line.count("=") == 0:
                print(f"parley-hostd.service: {line!r} is no setting")
                failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
