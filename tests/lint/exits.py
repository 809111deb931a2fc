#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Where a process may end: in main.c, in qassert, and as _exit in the forked half of hostd/spawn.c. Nowhere else.

No path from guest or peer bytes reaches exit, abort or an assert; qassert() is for our own mistakes.
"""

import os
import re

import source

ENDING_CALLS = ("exit", "_exit", "_Exit", "quick_exit", "abort", "assert", "__builtin_trap", "raise", "pthread_exit")
# Whose functions end the process from afar.
ENDING_HEADERS = re.compile(r"^[ \t]*#[ \t]*include[ \t]*<(err|error)[.]h>", re.M)
ALLOWED = {
    "lib/qassert.c": ("abort", "exit", "_exit"),
    "hostd/spawn.c": ("_exit",),
}

EXCEPTIONS = {}


def check(tree):
    for path in tree.c_files(*source.PRODUCT_FOLDERS):
        for m in ENDING_HEADERS.finditer(source.code_only(tree.text(path))):
            line = source.line_at(tree.text(path), m.start())
            yield source.Problem(path, line, m.group(1), f"<{m.group(1)}.h> has no place here: return an error")
        for line, name in source.find_calls(tree.text(path), ENDING_CALLS):
            if name != "assert" and (os.path.basename(path) == "main.c" or name in ALLOWED.get(path, ())):
                continue
            why = "use qassert()" if name == "assert" else "return an error to the caller"
            yield source.Problem(path, line, name, f"{name}() has no place here: {why}")


source.run(__name__)
