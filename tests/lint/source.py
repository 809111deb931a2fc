# SPDX-License-Identifier: Apache-2.0
"""What every lint needs: the files of the tree, C without its comments and strings, and how to say what is wrong.

A lint is a module with
    check(tree)   yields Problem for each thing wrong
    EXCEPTIONS    {(path, key): reason}: what is allowed all the same, and why
and ends with source.run(__name__, ...). An exception that excuses nothing is itself a problem: the table stays true.
"""

import os
import re
import sys
from collections import namedtuple

# key names what an exception refers to: a function, an include, a word.
Problem = namedtuple("Problem", "path line key text")

C_ENDINGS = (".c", ".h")
SKIPPED_FOLDERS = {".git", "build", "__pycache__"}
PRODUCT_FOLDERS = ("lib", "proto", "vdevs", "qvm", "mediator", "hostd", "hostctl", "shm")


class Tree:
    """The source tree: what git ignores (build folders) is not part of it."""

    def __init__(self, root):
        self.root = os.path.abspath(root)
        self._bytes = {}
        self.paths = sorted(self._walk())

    def _walk(self):
        for folder, folders, files in os.walk(self.root):
            folders[:] = [f for f in folders if f not in SKIPPED_FOLDERS and not f.startswith("build-")]
            for name in files:
                path = os.path.join(folder, name)
                if not os.path.islink(path):
                    yield os.path.relpath(path, self.root)

    def data(self, path):
        if path not in self._bytes:
            with open(os.path.join(self.root, path), "rb") as f:
                self._bytes[path] = f.read()
        return self._bytes[path]

    def text(self, path):
        return self.data(path).decode("utf-8", "replace")

    def lines(self, path):
        return self.text(path).split("\n")

    def is_binary(self, path):
        return b"\0" in self.data(path)

    def c_files(self, *folders):
        """C files and headers; of these folders only, if any are named."""
        for path in self.paths:
            if path.endswith(C_ENDINGS) and (not folders or path.split(os.sep)[0] in folders):
                yield path


_NOT_CODE = re.compile(r"""
    /\*.*?\*/ | //[^\n]*                        # comments
  | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'   # strings and characters
""", re.S | re.X)


def blank(match):
    """As many lines and columns as before, so that a position in what is left is a position in the file."""
    text = match.group(0)
    if text[0] in "\"'":
        return text[0] + " " * (len(text) - 2) + text[0]
    return re.sub(r"[^\n]", " ", text)


def code_only(text):
    return _NOT_CODE.sub(blank, text)


def line_at(text, position):
    return text.count("\n", 0, position) + 1


def find_calls(text, names):
    """(line, name) for each call of one of these functions in C text."""
    code = code_only(text)
    for m in re.finditer(r"(?<![\w.>])(%s)\s*\(" % "|".join(map(re.escape, names)), code):
        yield line_at(code, m.start()), m.group(1)


def problems(module, tree):
    """What the lint finds once its exceptions are taken into account."""
    used = set()
    for p in module.check(tree):
        if (p.path, p.key) in module.EXCEPTIONS:
            used.add((p.path, p.key))
        else:
            yield p
    for path, key in sorted(set(module.EXCEPTIONS) - used):
        yield Problem(path, 0, key, f"the exception for '{key}' excuses nothing any more: take it out of the table")


def run(module_name):
    """A lint as a program: argument 1 is the root of the tree."""
    if module_name != "__main__":
        return
    module = sys.modules["__main__"]
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} ROOT")
    tree = Tree(sys.argv[1])
    if not tree.paths:
        sys.exit(f"{sys.argv[0]}: {sys.argv[1]} holds no files")
    found = list(problems(module, tree))
    for p in found:
        print(f"{p.path}:{p.line}: {p.text}")
    sys.exit(1 if found else 0)
