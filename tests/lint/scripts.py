#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Scripts: an interpreter that is on every machine that builds Parley, a syntax it understands, leave to be run."""

import os
import subprocess

import source

# First line: the program that reads the script without running it; None is this one.
INTERPRETERS = {
    "#!/bin/bash": "bash",
    "#!/bin/sh": "sh",
    "#!/bin/busybox sh": "sh",
    "#!/usr/bin/python3": None,
}

EXCEPTIONS = {}


def python_fault(path, text):
    try:
        compile(text, path, "exec")
    except SyntaxError as e:
        return e.lineno or 0, e.msg
    return None


def shell_fault(shell, text):
    run = subprocess.run([shell, "-n"], input=text, text=True, capture_output=True, check=False)
    return (0, run.stderr.strip().split("\n")[0]) if run.returncode else None


def check(tree):
    for path in tree.paths:
        if tree.is_binary(path):
            continue
        text = tree.text(path)
        first = text.split("\n", 1)[0]
        if not first.startswith("#!"):
            if path.endswith(".py"):
                first = "#!/usr/bin/python3"
            else:
                continue
        elif not os.access(os.path.join(tree.root, path), os.X_OK):
            yield source.Problem(path, 1, "mode", "it says how it is run, and may not be: chmod +x")
        if first not in INTERPRETERS:
            yield source.Problem(path, 1, "interpreter", f"{first}: one of {', '.join(INTERPRETERS)}")
            continue
        shell = INTERPRETERS[first]
        fault = shell_fault(shell, text) if shell else python_fault(path, text)
        if fault:
            yield source.Problem(path, fault[0], "syntax", fault[1])


source.run(__name__)
