#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""run.py replay.pml - every state of the in-flight protocol's model is sound, and each mistake on purpose is found.

PARLEY_MODEL_LONG=1 looks at more writes, kills and broken connections, for minutes. Exit status 77: spin is not there.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

SKIP = 77
MEGABYTES, DEPTH = 1024, 20000
LONG = os.environ.get("PARLEY_MODEL_LONG", "") not in ("", "0")

# What must hold: (definitions, the fewest states that are a search worth the name).
SOUND = [({"KILLS": 2, "HANGUPS": 0}, 500000), ({"KILLS": 1, "HANGUPS": 1}, 500000)]
if LONG:
    MEGABYTES = 6000
    SOUND += [({"KILLS": 2, "HANGUPS": 1}, 1000000), ({"KILLS": 3, "HANGUPS": 0}, 1000000),
              ({"KILLS": 2, "HANGUPS": 0, "WRITES_1": 2}, 1000000)]

# Mistakes, and what breaks: a word of the model's assertion.
WRONG = {
    "WRONG_NO_CALL": "last_used==",            # a guest is not called for what a dead back end had published
    "WRONG_MARK_LATE": "last_used==|busy",     # marked as in flight only when the device has it
    "WRONG_NO_CHAIN": "busy|answered|disk",    # published without being chained first
    "WRONG_UNMARK_FIRST": "last_used==",       # marks cleared before the used index is published
    "WRONG_NO_REPAIR": "busy|answered|disk",   # the marks of a published batch are left
    "WRONG_NO_LOCK": "answered",               # not waiting for the I/O of the one before
}


def run(folder, *argv, timeout=600):
    r = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)
    return r.returncode, r.stdout + r.stderr


def build(folder, defines, optimize):
    flags = [f"-D{k}={v}" if v is not None else f"-D{k}" for k, v in defines.items()]
    code, out = run(folder, "spin", "-a", *flags, "replay.pml")
    if code:
        sys.exit(f"spin does not understand the model:\n{out}")
    # A model of ours and a program of spin's: its warnings are not ours.
    code, out = run(folder, os.environ.get("CC", "cc").split()[0], optimize, "-w", "-DSAFETY",
                    f"-DMEMLIM={MEGABYTES}", "-o", "pan", "pan.c")
    if code:
        sys.exit(f"the verifier does not compile:\n{out}")


def search(folder, defines, optimize="-O2"):
    """(whole: every state was seen, states, what broke or None)"""
    build(folder, defines, optimize)
    _, out = run(folder, "./pan", "-E", f"-m{DEPTH}", timeout=3600)
    states = re.search(r"([\d.e+]+) states, stored", out)
    broke = re.search(r"assertion violated (.*?) \(at depth", out)
    if not states or "out of memory" in out or "max search depth too small" in out or \
            (not broke and "errors: 0" not in out):
        sys.exit(f"{defines}: the search did not come to its end:\n{out}")
    return "Search not completed" not in out, int(float(states[1])), broke[1] if broke else None


def main():
    if not shutil.which("spin"):
        print("spin is not installed: tools/packages test")
        return SKIP
    with tempfile.TemporaryDirectory(prefix="parley-model.") as folder:
        shutil.copy(sys.argv[1], os.path.join(folder, "replay.pml"))
        for defines, least in SOUND:
            whole, states, broke = search(folder, defines)
            if broke or not whole:
                sys.exit(f"{defines}: broken: {broke}")
            if states < least:
                sys.exit(f"{defines}: {states} states: that model does nothing")
            print(f"sound: {defines}, {states} states")
        for name, what in WRONG.items():
            _, states, broke = search(folder, {"KILLS": 1, "HANGUPS": 0, name: None}, "-O0")
            if not broke:
                sys.exit(f"{name} was not found in {states} states: the model cannot fail")
            if not re.search(what, broke):
                sys.exit(f"{name} broke {broke}, which is not what it ought to")
            print(f"found: {name}: {broke}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
