#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""hostctl as a program of the operator's: logs, top, doctor, another host by ssh, completion in shells."""

import fcntl
import json
import os
import pty
import shutil
import struct
import subprocess
import termios
import time

from hostd_world import (FACTOR, NO_HOSTD, NO_SUCH, OK, POLICY, USAGE, WAIT_S, check, main, same, wait_for)

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def texts(host, *args):
    return [line["text"] for line in map(json.loads, host.ctl("--json", "logs", *args)[1].splitlines())]


def test_logs(host):
    host.vm("a", "stderr one of a\nprint printed by a\n")
    host.vm("b", "stderr <4>one of b\n")
    host.start()
    host.ctl("start", "a", "b")
    wait_for("what the guest printed", lambda: "printed by a" in texts(host))
    check("one of b" in texts(host) and "one of a" in texts(host), "all of all")
    check("one of b" not in texts(host, "a"), "one VM's")
    check("printed by a" not in texts(host, "--no-console", "a"), "without the console")
    same(texts(host, "--since", "@4000000000"), [])
    line = [json.loads(x) for x in host.ctl("--json", "logs", "b")[1].splitlines() if "one of b" in x][0]
    same((line["schema"], line["name"], line["from"], line["priority"]), (1, "b", "program", 4))
    check(any(" b " in x and "one of b" in x for x in host.ctl("logs")[1].splitlines()), "as text")
    # They are kept when the VM is off, and when it is started again.
    host.ctl("stop", "a")
    check("printed by a" in texts(host, "a"), "of a VM that is off")
    host.ctl("logs", "none", want=NO_SUCH)
    host.ctl("logs", "--since", "nonsense", want=USAGE)


def test_logs_follow(host):
    host.vm("a", "print printed by a\n")
    host.vm("b", "print printed by b\n")
    host.start()
    p = subprocess.Popen([os.environ["HOSTCTL"], "--run-dir", str(host.dir / "run"), "--json", "logs", "-f", "a"],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        # The connection of who follows is there when the second start is asked for: lines of the first may be early.
        host.ctl("start", "b", "a")
        while json.loads(p.stdout.readline())["text"] != "printed by a":
            pass
    finally:
        p.kill()
        p.communicate()


def test_many_lines(host):
    """Who writes much pushes out nobody else's lines."""
    host.vm("loud", "flood 5000\n")
    host.vm("quiet", "stderr only this\n")
    host.start()
    host.ctl("start", "quiet", "loud")
    wait_for("the end of the flood", lambda: "console line 4999" in texts(host, "loud"))
    check("only this" in texts(host, "quiet"), "the quiet one's line")
    check(len(texts(host)) < 2000, "few are kept")


def test_top_once(host):
    host.policy(POLICY)
    host.vm("cluster", "", "[vm]\nclass = safety\n")
    host.start()
    host.ctl("start", "cluster")
    wait_for("the mediator", lambda: host.mediator()["state"] == "running")
    out = host.ctl("top", "--once")[1]
    check("1 of 1 VMs run" in out and "cluster/root" in out and "BOUND" in out and "LADDER" in out, out)
    answer = host.json("top", "--once")
    same((answer["vms"][0]["name"], answer["shares"][0]["class"]), ("cluster", "safety"))
    check("devices" in answer and "processes" in answer, answer)


def test_top_terminal(host):
    """On a terminal of 8 rows and 30 columns: nothing scrolls, 'q' ends it, and the terminal is as before."""
    for i in range(20):
        host.vm(f"a-vm-with-a-long-name-{i}")
    host.start()
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(os.environ["HOSTCTL"], ["hostctl", "--run-dir", str(host.dir / "run"), "top", "--watch", "0.05"])
    before = termios.tcgetattr(fd)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 8, 30, 0, 0))
    got = b""
    end = time.monotonic() + WAIT_S
    while got.count(b"\x1b[J") < 3 and time.monotonic() < end:
        got += os.read(fd, 65536)
    # What stands between two pictures: the first may have been painted before the size was known.
    picture = got.split(b"\x1b[J")[2].decode().replace("\x1b[H", "").replace("\x1b[K", "")
    lines = picture.replace("\r", "").split("\n")
    same(len(lines), 8, picture)
    check(max(map(len, lines)) <= 30, picture)
    check("of 20 VMs run" in lines[0], picture)
    os.write(fd, b"q")
    rest = b""
    while True:
        try:
            more = os.read(fd, 65536)
        except OSError:
            break
        if not more:
            break
        rest += more
    check(b"\x1b[?1049l" in rest, rest)
    same(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), OK)
    same(before[3] & (termios.ICANON | termios.ECHO), termios.ICANON | termios.ECHO)
    os.close(fd)


def test_doctor(host):
    """It needs no hostd; what it says of KVM is what kvmprobe says."""
    code, out, _ = host.ctl("doctor", want=None)
    answer = json.loads(host.ctl("--json", "doctor", want=None)[1])
    same(answer["schema"], 1)
    found = {f["name"]: f for f in answer["findings"]}
    same(set(found), {"kvm", "iommu", "cgroups", "io_uring", "realtime", "hugepages", "sound", "descriptors",
                      "locked-memory", "group"})
    same(code == OK, answer["ok"], out)
    same(answer["ok"], not any(f["state"] == "bad" for f in found.values()))
    for f in found.values():
        check(f["state"] in ("fine", "note", "bad") and f["text"] and f["name"] in out, f)
        check(f["state"] != "bad" or f["do"], f"{f}: what is bad has an advice")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        same(found["kvm"]["state"], "bad")


SSH = """#!/bin/sh
# What a real one is given, and what it does with it: a shell there reads the words behind the host.
printf '%s\\n' "$@" > "$SSH_SAID"
case $3 in (gone) exit 255;; (bare) exit 127;; esac
shift 3
PATH=$SSH_BIN:$PATH exec sh -c "$*"
"""


def over_ssh(host, *args, env=None):
    fake = host.dir / "fake"
    fake.mkdir(exist_ok=True)
    (fake / "ssh").write_text(SSH)
    (fake / "ssh").chmod(0o755)
    there = host.dir / "there"
    there.mkdir(exist_ok=True)
    if not (there / "hostctl").exists():
        (there / "hostctl").symlink_to(os.environ["HOSTCTL"])
    return subprocess.run(
        [os.environ["HOSTCTL"], *args], stdin=subprocess.DEVNULL, capture_output=True, timeout=60 * FACTOR, check=False,
        env={**os.environ, "PATH": f"{fake}:{os.environ['PATH']}", "SSH_SAID": str(host.dir / "said"),
             "SSH_BIN": str(there), **(env or {})})


def test_other_host(host):
    host.vm("a")
    host.start()
    run = ("--run-dir", str(host.dir / "run"))
    p = over_ssh(host, "-H", "root@board", "--json", *run, "list")
    same(p.returncode, OK, p.stderr)
    same(json.loads(p.stdout)["vms"][0]["name"], "a")
    said = (host.dir / "said").read_text().splitlines()
    same(said[:3], ["-T", "--", "root@board"])
    check("-H" not in said[3] and said[3].startswith("hostctl '--json'"), said)
    # The exit code is that of the hostctl there; words arrive as they are.
    same(over_ssh(host, "--host=board", *run, "start", "a").returncode, OK)
    p = over_ssh(host, "-Hboard", *run, "status", "it's; exit 0 $(id)")
    same((p.returncode, b"it's; exit 0 $(id)" in p.stderr), (NO_SUCH, True), p.stderr)
    same(over_ssh(host, "-H", "gone", "list").returncode, NO_HOSTD)
    same(over_ssh(host, "-H", "bare", "list").returncode, NO_HOSTD)
    same(over_ssh(host, "-H", "-oProxyCommand=id", "list").returncode, USAGE)
    same(over_ssh(host, "-H").returncode, USAGE)


def complete(host, *words):
    script = """. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _hostctl
printf '%s\\n' "${COMPREPLY[@]}" """
    p = subprocess.run(["bash", "-c", script, "bash", os.path.join(SOURCE, "hostctl/hostctl.bash"),
                        os.environ["HOSTCTL"], *words], capture_output=True, timeout=30 * FACTOR, check=False,
                       text=True)
    same((p.returncode, p.stderr), (0, ""), words)
    return p.stdout.split()


def test_completion(host):
    host.vm("cluster")
    host.vm("ivi")
    host.start()
    run = ("--run-dir", str(host.dir / "run"))
    same(complete(host, "sto"), ["stop"])
    same(complete(host, *run, "stop", ""), ["cluster", "ivi"])
    same(complete(host, *run, "--timeout", "3", "stop", "iv"), ["ivi"])
    same(complete(host, "--js"), ["--json"])
    same(complete(host, "policy", "re"), ["reload"])
    same(complete(host, "--run-dir", "/nowhere", "stop", ""), [])
    # Every verb that there is, and no other.
    same(sorted(complete(host, "")), sorted(line.split()[0] for line in host.ctl("help")[1].splitlines()
                                            if line.startswith("  ") and line[2] not in " -"))
    if shutil.which("zsh"):
        subprocess.run(["zsh", "-n", os.path.join(SOURCE, "hostctl/_hostctl")], check=True)


if __name__ == "__main__":
    main(globals())
