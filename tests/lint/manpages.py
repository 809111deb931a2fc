#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""manpages.py ROOT pages | options NAME PROGRAM | selftest - man pages say what the programs do.

pages     docs/*.[158] are sound (mandoc -T lint); qvmconf.5 has every option, vdev, variable and window of the
          sources and none that they do not have; qvm.1 has their exit codes; examples and plans are those of the tree;
          docs/**/*.md name files that exist, protocol.md every message of vhost-user, no number of a decision
          stands twice
options   the page of NAME has the options of `PROGRAM --help`, and no other
selftest  plants a fault of each kind and sees it found
Exit status 0, 1 with a line for each problem, or 77 (skipped) where mandoc is missing.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return f.read()


def rendered(page):
    """The page as one line of plain text."""
    out = subprocess.run(["mandoc", "-T", "utf8", page], capture_output=True, check=True).stdout.decode()
    return " ".join(re.sub(".\b", "", out).split())


def items(source, macro):
    """What each .It line of an mdoc source declares with that macro, first of the line only."""
    for m in re.finditer(rf"^\.It {macro} (\S+)((?: , (?!\W)\S+)*)", source, re.M):
        yield m[1]
        yield from re.findall(r" , (\S+)", m[2])


# ---- docs/*.[158] ----

def check_lint(root):
    pages = sorted(glob.glob(os.path.join(root, "docs", "*.[158]")))
    if not pages:
        yield "docs: there are no man pages"
    for page in pages:
        r = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, check=False)
        yield from r.stdout.decode().splitlines()


def source_names(root):
    """Options, vdevs, options of vdevs, and variables that the sources know."""
    names = set(re.findall(r'\{ "([\w-]+)", CTX_', read(root, "qvm", "cfg_opts.c")))
    absent = re.search(r"\} absent\[\] = \{(.*?)\n\};", read(root, "qvm", "cfg_vdev.c"), re.S)
    names |= set(re.findall(r'^\t\{ "([\w-]+)",', absent[1], re.M))
    variables = re.search(r"\} set_vars\[\] = \{(.*?)\n\};", read(root, "qvm", "cfg_set.c"), re.S)
    names |= set(re.findall(r'^\t\{ "([\w-]+)",', variables[1], re.M))
    for path in glob.glob(os.path.join(root, "vdevs", "*.[ch]")) + [os.path.join(root, "qvm", "hosttypes.c")]:
        text = read(path)
        names |= set(re.findall(r'const struct vd_type \w+ = \{\s*\.name = "([\w-]+)"', text))
        names |= set(re.findall(r'\{ (?:\.name = )?"([\w-]+)", (?:\.kind = )?VD_ARG_', text))
    return names


def check_names(root):
    page = os.path.join(root, "docs", "qvmconf.5")
    text, names = rendered(page), source_names(root)
    for name in sorted(names):
        if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text):
            yield f"{page}: says nothing of '{name}'"
    known = names | {"mediator:", "vhost-user:"}
    for name in items(read(page), "Cm"):
        if name not in known and name != "vdev":
            yield f"{page}: '{name}' is nothing that the sources know"


def check_windows(root):
    page = os.path.join(root, "docs", "qvmconf.5")
    text = rendered(page)
    for name, value in re.findall(r"#define (MM_\w+_BASE) (0x[0-9a-f]+)ull", read(root, "qvm", "memmap.h")):
        if f"0x{int(value, 16):08x}" not in text:
            yield f"{page}: {name}, {value}, is not in the memory map"


def check_exit_codes(root):
    page = os.path.join(root, "docs", "qvm.1")
    enum = re.search(r"enum vm_exit \{(.*?)\};", read(root, "qvm", "vm.h"), re.S)[1]
    codes = set(re.findall(r"= (\d+),", enum))
    section = re.search(r"^\.Sh EXIT STATUS$(.*?)^\.Sh ", read(page), re.M | re.S)
    told = set(re.findall(r"^\.It (\d+)$", section[1] if section else "", re.M))
    for code in sorted(codes ^ told, key=int):
        yield f"{page}: exit code {code} is {'not in the page' if code in codes else 'in the page only'}"


def check_block(root, page, marker, folder, first_line):
    """The display behind each marker holds the file of that name, from that line on."""
    blocks = re.findall(rf'^\.\\" {marker}: (\S+)\n\.Bd [^\n]*\n(.*?)^\.Ed$', read(page), re.M | re.S)
    if not blocks:
        yield f"{page}: has no {marker}"
    for name, block in blocks:
        path = os.path.join(root, folder, name)
        want = "\n".join(read(path).split("\n")[first_line:]) if os.path.exists(path) else None
        if re.sub(r"^\\&", "", block, flags=re.M).replace("\\e", "\\") != want:
            yield f"{page}: the {marker} {name} is not what stands in {path}"


def check_examples(root):
    yield from check_block(root, os.path.join(root, "docs", "qvmconf.5"), "example", "conf/vms", 1)
    yield from check_block(root, os.path.join(root, "docs", "qvm.1"), "plan", "tests/golden/examples", 0)


REFERENCE = re.compile(r"(?:lib|proto|vdevs|qvm|mediator|hostd|hostctl|conf|docs|tests|tools|bench)/[\w./*-]*"
                       r"|(?:fz|t)_\w+\*?")


def check_references(root):
    """Files that the texts name in back quotes exist; programs may be named without ending, tests without folder."""
    for page in sorted(glob.glob(os.path.join(root, "docs", "**", "*.md"), recursive=True)):
        for quoted in re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", read(page), flags=re.M | re.S)):
            at = quoted if "/" in quoted else os.path.join("tests", "*", quoted + ".c")
            found = glob.glob(os.path.join(root, at)) or glob.glob(os.path.join(root, at + ".*"))
            if REFERENCE.fullmatch(quoted) and not found:
                yield f"{page}: `{quoted}` does not exist"


def check_messages(root):
    page = os.path.join(root, "docs", "protocol.md")
    enum = re.search(r"enum qvhu_req \{(.*?)\};", read(root, "lib", "qvhu.h"), re.S)[1]
    for name in re.findall(r"QVHU_(\w+) =", enum):
        if not re.search(rf"\b{name}\b", read(page)):
            yield f"{page}: {name} is not in the table of messages"


def check_decisions(root):
    numbers = [name[:4] for name in os.listdir(os.path.join(root, "docs", "decisions"))]
    for number in sorted({n for n in numbers if numbers.count(n) > 1}):
        yield f"docs/decisions: two have the number {number}"


def check_pages(root):
    for check in (check_lint, check_names, check_windows, check_exit_codes, check_examples, check_references,
                  check_messages, check_decisions):
        yield from check(root)


# ---- one program ----

def page_options(page):
    """The long options that a page has an item for."""
    told = set()
    for line in re.findall(r"^\.It .*$", read(page), re.M):
        told |= set(re.findall(r"Fl (?:Fl |-|\\-)([a-z][a-z0-9-]*)", line))
    return told


def check_options(root, name, help_text):
    pages = glob.glob(os.path.join(root, "docs", name + ".[18]"))
    if not pages:
        yield f"docs: {name} has no man page"
        return
    offered = set(re.findall(r"(?<![\w-])--([a-z][a-z0-9-]*)", help_text))
    told = page_options(pages[0])
    for option in sorted(offered - told):
        yield f"{pages[0]}: --{option} of {name} --help has no .It"
    for option in sorted(told - offered):
        yield f"{pages[0]}: --{option} is not in {name} --help"


# ---- selftest ----

# A file, what is replaced in it, with what, and a word of the problem that must be found.
FAULTS = (
    ("docs/qvm.1", ".Sh SIGNALS", ".Shh SIGNALS", "Shh"),
    ("docs/threat-model.md", "`lib/qblk.c`", "`lib/qblock.c`", "qblock.c"),
    ("docs/threat-model.md", "`fz_qblk`", "`fz_qblock`", "fz_qblock"),
    ("lib/qvhu.h", "QVHU_GET_STATUS = 40,", "QVHU_GET_STATUS = 40,\n\tQVHU_GET_MORE = 41,", "GET_MORE"),
    ("docs/qvmconf.5", ".It Cm batch Ar", ".It Cm batsh Ar", "'batsh' is nothing"),
    ("vdevs/pl011.c", '.name = "pl011"', '.name = "pl013"', "pl013"),
    ("qvm/cfg_opts.c", '{ "runmask", CTX_CPU', '{ "quota", CTX_CPU', "quota"),
    ("qvm/cfg_opts.c", '{ "cluster", CTX_CPU', '{ "clusters", CTX_CPU', "'cluster' is nothing"),
    ("qvm/memmap.h", "0x2f020000ull", "0x2f0a0000ull", "MM_ARM64_ITS_BASE"),
    ("qvm/vm.h", "VM_EXIT_VDEV = 6", "VM_EXIT_VDEV = 8", "exit code 8"),
    ("conf/vms/linux-x86.qvmconf", "ram 1m,511m", "ram 1m,255m", "linux-x86.qvmconf"),
    ("tests/golden/examples/linux-x86.plan", "511 MiB", "255 MiB", "linux-x86.plan"),
)


def plant(root, to, path, text):
    """A tree of links at @to in which the file @path alone is another."""
    root, at = os.path.abspath(root), ""
    for name in os.listdir(root):
        os.symlink(os.path.join(root, name), os.path.join(to, name))
    for part in path.split("/")[:-1]:
        at = os.path.join(at, part)
        os.unlink(os.path.join(to, at))
        os.mkdir(os.path.join(to, at))
        for name in os.listdir(os.path.join(root, at)):
            os.symlink(os.path.join(root, at, name), os.path.join(to, at, name))
    os.unlink(os.path.join(to, path))
    with open(os.path.join(to, path), "w", encoding="utf-8") as f:
        f.write(text)


def selftest(root):
    for path, old, new, want in FAULTS:
        with tempfile.TemporaryDirectory() as tmp:
            text = read(root, path)
            if old not in text:
                yield f"selftest: {path} has no '{old}' any more"
                continue
            plant(root, tmp, path, text.replace(old, new))
            found = list(check_pages(tmp))
            if not any(want in line for line in found):
                yield f"selftest: '{new}' in {path} was not found; found: {found}"
    help_text = "  ".join(f"--{option}" for option in sorted(page_options(os.path.join(root, "docs", "qvm.1"))))
    for text, want in ((help_text + " --turbo", "--turbo"), (help_text.replace("--check", ""), "--check")):
        if not any(want in line for line in check_options(root, "qvm", text)):
            yield f"selftest: {want} was not found"
    yield from check_options(root, "qvm", help_text)


def main():
    root, what, rest = sys.argv[1], sys.argv[2], sys.argv[3:]
    if not shutil.which("mandoc"):
        print("skipped: there is no mandoc (tools/packages test)")
        return 77
    if what == "options":
        name, program = rest
        help_text = subprocess.run([program, "--help"], capture_output=True, check=True).stdout.decode()
        problems = list(check_options(root, name, help_text))
    else:
        problems = list({"pages": check_pages, "selftest": selftest}[what](root))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
