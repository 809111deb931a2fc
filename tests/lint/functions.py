#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The size and shape of functions: at most 80 lines unless the function is one flat switch, control structures nested
at most 3 deep, one goto label at most. A function whose comment says "walks guest memory" has at most 40 lines.
"""

import re
from collections import namedtuple

import source

FUNCTION_LINES = 80
GUEST_WALK_LINES = 40
NESTING = 3
LABELS = 1
# A long function passes if this part of it is one switch whose cases hold no more than one level of their own.
SWITCH_PART = 0.75
SWITCH_NESTING = 2
GUEST_WALK = re.compile(r"walks\s+(?:\*\s*)?guest\s+(?:\*\s*)?memory", re.I)

EXCEPTIONS = {}

Token = namedtuple("Token", "text line")
# What the walk over a function's body finds out.
Shape = namedtuple("Shape", "nesting nesting_line labels switches")

_TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|->|\S")
_NAME = re.compile(r"[A-Za-z_]\w*$")
_PREPROCESSOR = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.M)
OPEN, CLOSE = "([{", ")]}"
NOT_A_CALL = {"return", "sizeof", "typeof", "__typeof__", "_Alignof", "case", "goto", "else", "do"}
CONTROL = {"if", "for", "while", "switch"}


def tokens_of(text):
    code = _PREPROCESSOR.sub(source.blank, source.code_only(text))
    return [Token(m.group(0), line) for line, row in enumerate(code.split("\n"), 1) for m in _TOKEN.finditer(row)]


def skip_balanced(tokens, i):
    """tokens[i] opens a bracket; the index behind the one that closes it."""
    depth = 0
    while i < len(tokens):
        depth += (tokens[i].text in OPEN) - (tokens[i].text in CLOSE)
        i += 1
        if depth == 0:
            break
    return i


def functions_of(tokens):
    """(name, index of the opening brace, index behind the closing one) of each function definition."""
    i, name = 0, None
    while i < len(tokens):
        text = tokens[i].text
        if text == "(":
            before = tokens[i - 1].text if i else ""
            if before == "START_TEST":
                before = tokens[i + 1].text
            i = skip_balanced(tokens, i)
            # The first name in front of a list is the function's, unless a macro in capitals came before it.
            if _NAME.match(before) and not before.startswith("__attribute") and (not name or name.isupper()):
                name = before
            continue
        if text == "{":
            end = skip_balanced(tokens, i)
            if name and tokens[i - 1].text != "=" and is_definition(tokens, i):
                yield name, i, end
            i, name = end, None
            continue
        if text in ";=":
            name = None
        i += 1


def is_definition(tokens, i):
    """A body follows a parameter list, or what a macro or an attribute put behind it."""
    return tokens[i - 1].text == ")" or _NAME.match(tokens[i - 1].text)


class Walk:
    """Walks the statements of a function's body, by the grammar as far as nesting needs it."""

    def __init__(self, tokens, start, end):
        self.tokens, self.i, self.end = tokens, start, end
        self.nesting, self.nesting_line = 0, tokens[start].line
        self.labels, self.switches = set(), []
        self.block(0)

    def text(self, ahead=0):
        return self.tokens[self.i + ahead].text if self.i + ahead < self.end else ""

    def block(self, depth):
        self.i += 1
        while self.i < self.end and self.text() != "}":
            self.statement(depth)
        self.i += 1

    def inner(self, depth):
        """The statement under a control structure; an else-if continues its if and nests no deeper."""
        if depth > self.nesting:
            self.nesting, self.nesting_line = depth, self.tokens[min(self.i, self.end - 1)].line
        self.statement(depth)

    def statement(self, depth):
        text = self.text()
        if text == "{":
            self.block(depth)
        elif text in CONTROL:
            self.control(text, depth)
        elif text == "do":
            self.i += 1
            self.inner(depth + 1)
            self.to_semicolon()
        elif text in ("case", "default"):
            while self.i < self.end and self.text() != ":":
                self.i += 1
            self.i += 1
        elif _NAME.match(text) and self.text(1) == ":":
            self.labels.add(text)
            self.i += 2
        elif self.is_loop_macro():
            self.i = skip_balanced(self.tokens, self.i + 1)
            self.inner(depth + 1)
        else:
            self.to_semicolon()

    def control(self, text, depth):
        line = self.tokens[self.i].line
        self.i = skip_balanced(self.tokens, self.i + 1)
        before, self.nesting = self.nesting, 0
        self.inner(depth + 1)
        own = self.nesting - depth
        self.nesting = max(before, self.nesting)
        if text == "switch":
            self.switches.append((line, self.tokens[self.i - 1].line, own))
        if text == "if" and self.text() == "else":
            self.i += 1
            if self.text() == "if":
                self.control("if", depth)
            else:
                self.inner(depth + 1)

    def is_loop_macro(self):
        """NAME(...) { or NAME(...) statement: a loop that a macro writes."""
        if not _NAME.match(self.text()) or self.text() in NOT_A_CALL or self.text(1) != "(":
            return False
        behind = skip_balanced(self.tokens, self.i + 1)
        return behind < self.end and (self.tokens[behind].text == "{" or self.tokens[behind].text in CONTROL)

    def to_semicolon(self):
        while self.i < self.end and self.text() != ";":
            if self.text() in OPEN:
                self.i = skip_balanced(self.tokens, self.i)
            elif self.text() == "}":
                return
            else:
                self.i += 1
        self.i += 1


def is_flat_switch(walk, lines):
    return any(last - first + 1 >= SWITCH_PART * lines and nesting <= SWITCH_NESTING
               for first, last, nesting in walk.switches)


def comment_above(file_lines, line):
    """The comment that ends in front of the definition whose body opens on this line."""
    i = line - 2
    while i >= 0 and file_lines[i].strip() and not file_lines[i].rstrip().endswith(("*/", "}", ";")):
        i -= 1
    above = []
    while i >= 0 and file_lines[i].strip() and (file_lines[i].lstrip().startswith(("*", "/*")) or
                                                file_lines[i].rstrip().endswith("*/")):
        above.insert(0, file_lines[i])
        i -= 1
    return "\n".join(above)


def check_function(path, file_lines, tokens, name, start, end):
    first, last = tokens[start].line, tokens[end - 1].line
    lines = last - first + 1
    walk = Walk(tokens, start, end)
    walks_guest = GUEST_WALK.search(comment_above(file_lines, first))
    limit = GUEST_WALK_LINES if walks_guest else FUNCTION_LINES
    if lines > limit and (walks_guest or not is_flat_switch(walk, lines)):
        yield source.Problem(path, first, name, f"{name}() has {lines} lines, {limit} at most")
    if walk.nesting > NESTING:
        yield source.Problem(path, walk.nesting_line, name, f"{name}() nests {walk.nesting} deep, {NESTING} at most")
    if len(walk.labels) > LABELS:
        yield source.Problem(path, first, name, f"{name}() has {len(walk.labels)} labels: undo with QCLEAN or a fini")


def check(tree):
    for path in tree.c_files():
        text = tree.text(path)
        tokens = tokens_of(text)
        file_lines = text.split("\n")
        for name, start, end in functions_of(tokens):
            yield from check_function(path, file_lines, tokens, name, start, end)


source.run(__name__)
