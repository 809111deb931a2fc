#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A lint that cannot fail is no lint: each rule must find the fault planted for it, and nothing in what is right.

A row is (lint, path, text, key): in a tree that holds nothing but this file, the lint finds exactly the problem with
this key, or, where the key is None, nothing.
"""

import os
import subprocess
import sys
import tempfile

import calls
import exits
import form
import functions
import layers
import scripts
import source
import words

SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n"


def body(lines, text="\tstep();\n"):
    return "static void f(void)\n{\n" + text * lines + "}\n"


def switch(cases):
    rows = "".join(f"\tcase {n}:\n\t\tif (n)\n\t\t\tstep();\n\t\tbreak;\n" for n in range(cases))
    return "static void f(int n)\n{\n\tswitch (n) {\n" + rows + "\t}\n}\n"


def tabbed(text):
    """Statements as one writes them here, with > for a tab."""
    return "void f(void)\n{\n" + text.replace(">", "\t") + "}\n"


DEEP_BRACES = tabbed(">if (a) {\n>>for (;;) {\n>>>while (b) {\n>>>>if (c)\n>>>>>g();\n>>>}\n>>}\n>}\n")
DEEP_BARE = tabbed(">if (a)\n>>for (;;)\n>>>while (b)\n>>>>do\n>>>>>g();\n>>>>while (c);\n")
DEEP_MACRO = tabbed(">if (a)\n>>for (;;)\n>>>while (b)\n>>>>LIST_FOREACH(x, y, z) {\n>>>>>g();\n>>>>}\n")
DEEP_ELSE = tabbed(">if (a)\n>>g();\n>else if (b)\n>>g();\n>else if (c)\n>>g();\n>else if (d)\n>>g();\n")
LADDER = tabbed(">if (a)\n>>goto one;\n>goto two;\none:\n>g();\ntwo:\n>return;\n")
LITERALS = tabbed(">*x = (struct y){ .a = { { { { 1 } } } } };\n>g(&(struct y){ 0 }, ({ int z = 1; z; }));\n")

ROWS = (
    (layers, "lib/a.c", '#include "qvm/cfg.h"\n', "qvm/cfg.h"),
    (layers, "lib/a.c", '#include "proto/ctl.h"\n', "proto/ctl.h"),
    (layers, "lib/a.h", '# include "vdevs/vdev.h"\n', "vdevs/vdev.h"),
    (layers, "lib/a.c", '#include "lib/qdef.h"\n#include <stdint.h>\n', None),
    (layers, "lib/a.c", "#include <linux/kvm.h>\n", "linux/kvm.h"),
    (layers, "proto/a.c", '#include "hostd/vm.h"\n', "hostd/vm.h"),
    (layers, "vdevs/a.c", '#include "qvm/bus.h"\n', "qvm/bus.h"),
    (layers, "vdevs/a.c", "#include <linux/kvm.h>\n", "linux/kvm.h"),
    (layers, "vdevs/a.c", "int f(void) { return open(p, 0); }\n", "open"),
    (layers, "vdevs/a.c", "void *f(void) { return fopen (p, m); }\n", "fopen"),
    (layers, "vdevs/a.c", "int f(struct b *b) { return b->ops->open(b) + b.open(b) + reopen(b); }\n", None),
    (layers, "vdevs/a.c", "/* open() is the host's, and so is #include \"qvm/bus.h\" */\n", None),
    (layers, "mediator/a.c", '#include "vdevs/vdev.h"\n', "vdevs/vdev.h"),
    (layers, "mediator/a.c", '#include "hostd/vm.h"\n', "hostd/vm.h"),
    (layers, "hostd/a.c", '#include "qvm/cfg.h"\n', "qvm/cfg.h"),
    (layers, "hostctl/a.c", '#include "hostd/vm.h"\n', "hostd/vm.h"),
    (layers, "qvm/arch/x86/a.c", '#include "mediator/sched.h"\n', "mediator/sched.h"),
    (layers, "qvm/arch/x86/a.c", '#include "qvm/vm.h"\n#include "vdevs/vdev.h"\n#include <linux/kvm.h>\n', None),
    (layers, "qvm/a.c", '#include "vm.h"\n', "vm.h"),
    (layers, "qvm/a.c", '#include "dsdt.hex"\n', None),
    (layers, "qvm/a.c", '#include "../dsdt.hex"\n', "../dsdt.hex"),
    (layers, "qvm/a.c", '#include "../lib/qdef.h"\n', "../lib/qdef.h"),
    (layers, "qvm/a.c", "#include <lib/qdef.h>\n", "lib/qdef.h"),
    (exits, "qvm/a.c", "void f(void) { exit(1); }\n", "exit"),
    (exits, "lib/a.c", "void f(void) { abort(); }\n", "abort"),
    (exits, "vdevs/a.c", "void f(int n) { assert(n); }\n", "assert"),
    (exits, "mediator/main.c", "void f(int n) { assert(n); }\n", "assert"),
    (exits, "mediator/main.c", "void f(void) { exit(0); }\n", None),
    (exits, "hostd/a.c", "void f(void) { _exit(0); }\n", "_exit"),
    (exits, "hostd/spawn.c", "void f(void) { _exit(0); }\n", None),
    (exits, "hostd/spawn.c", "void f(void) { exit(0); }\n", "exit"),
    (exits, "lib/qassert.c", "void f(void) { abort(); }\n", None),
    (exits, "lib/a.c", "#include <err.h>\nvoid f(void) { errx(1, m); }\n", "err"),
    (exits, "hostd/a.c", "#include <assert.h>\nstatic_assert(1, m);\n", None),
    (exits, "hostd/a.c", "static void err(int n);\nvoid f(void) { err(1); }\n", None),
    (exits, "lib/a.c", 'static_assert(1, "exit(1)");\nvoid f(void) { qassert(1); on_exit_x(1); }\n', None),
    (calls, "lib/a.c", "void f(char *s) { strcpy(s, t); }\n", "strcpy"),
    (calls, "tests/unit/t_a.c", "void f(char *s) { sprintf(s, t); }\n", "sprintf"),
    (calls, "hostd/a.c", "void f(char *s) { system(s); }\n", "system"),
    (calls, "hostctl/a.c", "int f(char *s) { return atoi(s); }\n", "atoi"),
    (calls, "bench/a.h", "void f(char *s) { gets(s); }\n", "gets"),
    (calls, "lib/a.c", 'void f(char *s) { snprintf(s, 1, "atoi(s)"); cfg->system(s); qvm_system(s); }\n', None),
    (form, "lib/a.c", "int a;\n", "spdx"),
    (form, "tools/a", "#!/bin/sh\ntrue\n", "spdx"),
    (form, "tools/a", "#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\ntrue\n", None),
    (form, "lib/meson.build", "x = 1\n", "spdx"),
    (form, "lib/a.c", SPDX + "int a; \n", "space"),
    (form, "lib/a.c", SPDX + "int a;\n\t\n", "space"),
    (form, "lib/a.c", SPDX + "/*" + "-" * 97 + "*/\n", "columns"),
    (form, "lib/a.c", SPDX + "\t/*" + "-" * 88 + "*/\n", None),
    (form, "lib/a.c", SPDX + "\t/*" + "-" * 89 + "*/\n", "columns"),
    (form, "tools/a.py", "# SPDX-License-Identifier: Apache-2.0\n#" + "-" * 120 + "\n", "columns"),
    (form, "lib/a.c", SPDX + "int f(int a,\n        int b);\n", "tabs"),
    (form, "lib/a.c", SPDX + "int f(int a,\n      int b);\n", None),
    (form, "lib/a.c", SPDX + "/* TO" + "DO: more */\n", "unfinished"),
    (form, "lib/a.c", SPDX + "int a;", "end"),
    (form, "lib/a.c", SPDX + "int a;\n\n", "end"),
    (form, "lib/a.c", SPDX + "int a;\n" * 1000, "length"),
    (form, "lib/a.c", SPDX + "int a;\n" * 999, None),
    (form, "lib/a.h", SPDX + "#pragma once\n" + "int a;\n" * 199, "length"),
    (form, "lib/a.h", SPDX + "#pragma once\n" + "int a;\n" * 198, None),
    (form, "lib/a.h", SPDX + "#include <stdint.h>\n#pragma once\n", "once"),
    (form, "lib/a.h", SPDX + "#ifndef A\n#define A\n#endif\n", "once"),
    (form, "lib/a.o", "\0", "binary"),
    (form, "tests/fuzz/corpus/a", "\0", None),
    (form, "tests/fuzz/corpus/a", "\0" * 65537, "binary"),
    (words, "README.md", "cd /" + "work/main\n", "path"),
    (words, "tools/a", "x=/" + "home/me/parley\n", "path"),
    (words, "docs/a.md", "see /" + "root/parley\n", "path"),
    (words, "docs/a.md", "HOME=/" + "root; cd lib/" + "work/on; /" + "workspace/on\n", None),
    (words, "tools/a", "https://deb." + "debian.org/debian\n", "host"),
    (words, "tools/a.py", "pip install -i https://pypi." + "org/simple\n", "host"),
    (scripts, "tools/a", "#!/bin/bash\nif true; then\n", "syntax"),
    (scripts, "tools/a", "#!/bin/sh\na() { echo; \n", "syntax"),
    (scripts, "tools/a", "#!/bin/busybox sh\ncase a in\n", "syntax"),
    (scripts, "tools/a", "#!/usr/bin/python3\nx = (\n", "syntax"),
    (scripts, "tools/a.py", "x = (\n", "syntax"),
    (scripts, "tools/a", "#!/usr/bin/perl\n", "interpreter"),
    (scripts, "tools/a", "#!/bin/bash\nset -eu\ndiff <(echo) <(echo)\n", None),
    (scripts, "tools/a", "#!/usr/bin/python3\nx = ()\n", None),
    (functions, "lib/a.c", body(79), "f"),
    (functions, "lib/a.c", body(78), None),
    (functions, "tests/unit/t_a.c", "START_TEST(a)\n{\n" + "\tx();\n" * 79 + "}\nEND_TEST\n", "a"),
    (functions, "lib/a.c", "/* Walks guest memory. */\n" + body(39), "f"),
    (functions, "lib/a.c", "/* Walks guest memory. */\n" + body(38), None),
    (functions, "lib/a.c", "/*\n * f() - this walks\n * guest memory\n */\n" + body(39), "f"),
    (functions, "lib/a.c", "/* Walks guest memory. */\nint a;\n" + body(39), None),
    (functions, "lib/a.c", switch(30), None),
    (functions, "lib/a.c", switch(19).replace("\tswitch", "\tstep();\n" * 30 + "\tswitch"), "f"),
    (functions, "lib/a.c", switch(30).replace("\t\t\tstep", "\t\t\tfor (;;)\n\t\t\t\tstep"), "f"),
    (functions, "lib/a.c", DEEP_BRACES, "f"),
    (functions, "lib/a.c", DEEP_BARE, "f"),
    (functions, "lib/a.c", DEEP_MACRO, "f"),
    (functions, "lib/a.c", DEEP_ELSE, None),
    (functions, "lib/a.c", LADDER, "f"),
    (functions, "lib/a.c", LADDER.replace("\ntwo:", "").replace("two", "one"), None),
    (functions, "lib/a.c", LITERALS, None),
    (functions, "lib/a.c", "static int rows[] = {\n" + "\tf(1),\n" * 100 + "};\n", None),
    (functions, "lib/a.c", "struct a {\n" + "\tint (*f)(void);\n" * 100 + "};\n", None),
)


def plant(root, path, text):
    whole = os.path.join(root, path)
    os.makedirs(os.path.dirname(whole) or root, exist_ok=True)
    with open(whole, "w", encoding="utf-8") as f:
        f.write(text)
    if text.startswith("#!"):
        os.chmod(whole, 0o755)


def check_row(lint, path, text, key):
    with tempfile.TemporaryDirectory() as root:
        plant(root, path, text)
        got = {p.key for p in lint.check(source.Tree(root))}
    want = {key} if key else set()
    if got == want:
        return True
    print(f"{lint.__name__}: {path}: found {sorted(got)}, not {sorted(want)}, in:\n{text[:200]}\n")
    return False


def check_exceptions():
    """An exception excuses its own problem only, and one that excuses nothing is told."""
    with tempfile.TemporaryDirectory() as root:
        plant(root, "lib/a.c", "void f(char *s) { strcpy(s, t); gets(s); }\n")
        tree = source.Tree(root)
        kept = calls.EXCEPTIONS
        calls.EXCEPTIONS = {("lib/a.c", "strcpy"): "planted", ("lib/b.c", "strcpy"): "planted"}
        got = [(p.path, p.key) for p in source.problems(calls, tree)]
        calls.EXCEPTIONS = kept
    return got == [("lib/a.c", "gets"), ("lib/b.c", "strcpy")]


def check_mode():
    """What says how it is run can be run."""
    with tempfile.TemporaryDirectory() as root:
        plant(root, "tools/a", "#!/bin/sh\ntrue\n")
        os.chmod(os.path.join(root, "tools/a"), 0o644)
        return [p.key for p in scripts.check(source.Tree(root))] == ["mode"]


def check_program(lint):
    """As meson runs it: silence and 0 where all is right, otherwise the place, and 1."""
    row = next(r for r in ROWS if r[0] is lint and r[3])
    with tempfile.TemporaryDirectory() as root:
        plant(root, row[1], row[2])
        bad = subprocess.run([sys.executable, lint.__file__, root], capture_output=True, text=True)
    return bad.returncode == 1 and bad.stdout.startswith(row[1] + ":") and not bad.stderr


def main():
    lints = (layers, exits, calls, form, words, scripts, functions)
    failed = [row for row in ROWS if not check_row(*row)]
    failed += [lint for lint in lints if not check_program(lint)]
    if not check_exceptions():
        failed.append("exceptions")
    if not check_mode():
        failed.append("mode")
    print(f"{len(ROWS) + len(lints) + 2 - len(failed)} checks passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)


main()
