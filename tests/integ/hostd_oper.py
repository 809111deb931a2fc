#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The operator's side: exit codes, JSON, peers that are not allowed, peers that break the protocol, consoles."""

import array
import json
import os
import pty
import select
import signal
import socket
import subprocess
import time

from hostd_world import (ALREADY, CONFIG, DENIED, FACTOR, FAILED, NO_HOSTD, NO_SUCH, NOT_RUNNING, OK, POLICY, TIMEOUT,
                         USAGE, WAIT_S, check, connect, frame, hello, main, read_to_end, same, wait_for)

NOBODY = 65534


def test_exit_codes(host):
    host.vm("a")
    host.vm("bad", "bad no such option")
    host.vm("slow", "never-ready")
    host.vm("dies", "fail kvm 64 no /dev/kvm")
    check("start it with" in host.ctl("list", want=NO_HOSTD)[2], "what to do stands in it")
    host.start()
    for args, want in (
            (("list",), OK), (("start", "a"), OK), (("start", "a"), ALREADY), (("start", "nosuch"), NO_SUCH),
            (("start", "bad"), CONFIG), (("check", "bad"), CONFIG), (("check", "a"), OK), (("start", "dies"), FAILED),
            (("start", "slow", "--timeout", "0.1"), TIMEOUT), (("kill", "slow"), OK), (("stop", "a"), OK),
            (("console", "a"), NOT_RUNNING), (("stop", "a"), ALREADY),
            (("lisst",), USAGE), ((), USAGE), (("start",), USAGE), (("list", "x"), USAGE), (("--nosuch",), USAGE),
            (("start", "a", "--timeout", "x"), USAGE), (("stats", "--watch", "-1"), USAGE),
            (("priorities", "x"), USAGE),
            (("help",), OK), (("help", "start"), OK), (("help", "nosuch"), USAGE), (("--version",), OK),
            (("--help",), OK), (("status", "../a"), NO_SUCH), (("status", ""), USAGE)):
        _, out, err = host.ctl(*args, want=want)
        check(bool(err) == (want != OK), f"{args}: a failure says why, a success does not: {err}")
        check("Traceback" not in err and err.count("\n") <= 30, err)
    check("did you mean 'list'" in host.ctl("lsit", want=USAGE)[2], "a typo of a verb")
    check("did you mean 'slow'" in host.ctl("status", "slwo", want=NO_SUCH)[2], "a typo of a name")
    host.end(signal.SIGKILL, want=-signal.SIGKILL)
    check("nobody listens" in host.ctl("list", want=NO_HOSTD)[2], "a socket whose hostd is dead")


def test_json(host):
    host.policy(POLICY)
    host.vm("a", "", "[vm]\nclass = safety\n")
    host.start()
    answer = host.json("list")
    same(set(answer), {"schema", "vms", "processes", "mode", "causes"})
    same(list(answer)[0], "schema")
    same(set(answer["vms"][0]), {"name", "state", "paused", "want", "class", "pid", "uptime_ms", "starts", "exit_code",
                                 "reason", "config"})
    same(answer["vms"][0]["exit_code"], None)
    same(set(answer["processes"][0]), {"name", "state", "pid", "uptime_ms", "starts", "reason"})
    same(host.json("start", "a")["vm"]["state"], "running")
    wait_for("its time", lambda: host.status("a")["uptime_ms"] > 0)
    answer = host.json("check")
    same((answer["ok"], [i["name"] for i in answer["items"]]), (True, ["a", "mediator"]))
    same(set(host.json("stats")), {"schema", "mediator_error", "mediator_hangs", "shares", "devices",
                                         "voices", "sounds", "vms"})
    same(host.json("version")["hostd"]["pid"], host.proc.pid)
    same(host.json("start", "a", want=ALREADY)["error"]["code"], "already")
    same(host.json("start", "bee", want=NO_SUCH)["error"], {
        "code": "no-such", "exit": 3, "text": f"there is no VM 'bee': {host.dir}/etc/vms has no bee.qvmconf"})
    events = [json.loads(line) for line in host.ctl("--json", "events")[1].split("\n") if line]
    check(any(e["subject"] == "a" and "running" in e["text"] for e in events), events)


def test_follow_events(host):
    host.vm("a")
    host.start()
    p = subprocess.Popen([os.environ["HOSTCTL"], "--run-dir", str(host.dir / "run"), "--json", "events", "--follow"],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    host.ctl("start", "a")
    end = time.monotonic() + WAIT_S
    texts = []
    while time.monotonic() < end and not any("starting -> running" in t for t in texts):
        texts.append(json.loads(p.stdout.readline())["text"])
    check(any("starting -> running" in t for t in texts), texts)
    p.kill()
    p.communicate()


def test_strangers_are_denied(host):
    if os.getuid() != 0:
        print("     test_strangers_are_denied needs root: not run")
        return
    host.vm("a")
    host.start()
    os.chmod(host.dir, 0o755)
    for args in (("list",), ("start", "a"), ("stop", "a"), ("stats",), ("console", "a"), ("version",)):
        # From a shared folder: the build folder need not be open to nobody.
        p = run_as_nobody(host, args)
        same(p.returncode, DENIED, (args, p.stderr))
        check(b"be root" in p.stderr, p.stderr)
    same(host.status("a")["state"], "off")
    os.chmod(host.dir / "run/hostd.sock", 0o600)
    same(run_as_nobody(host, ("list",)).returncode, DENIED, "a socket that may not be opened")
    os.chmod(host.dir / "run/hostd.sock", 0o666)
    check_strangers_are_few(host)


def run_as_nobody(host, args):
    tool = host.dir / "hostctl"
    if not tool.exists():
        tool.write_bytes(open(os.environ["HOSTCTL"], "rb").read())
        tool.chmod(0o755)
    return subprocess.run([str(tool), "--run-dir", str(host.dir / "run"), *args], capture_output=True, timeout=30,
                          stdin=subprocess.DEVNULL, check=False, user=NOBODY, group=NOBODY, extra_groups=[],
                          env={**os.environ, "LSAN_OPTIONS": "detect_leaks=0"})


def check_strangers_are_few(host):
    """A stranger that connects many times neither locks the operator out nor gets further than a refusal."""
    code = ("import os, socket, sys, time\nos.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "v = []\n"
            "for i in range(200):\n    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
            "    v.append(s)\nprint('ready', flush=True)\ntime.sleep(30)\n")
    p = subprocess.Popen(["python3", "-c", code, str(host.dir / "run/hostd.sock")], stdout=subprocess.PIPE)
    same(p.stdout.readline(), b"ready\n")
    for _ in range(5):
        host.ctl("list")
    fds = len(os.listdir(f"/proc/{host.proc.pid}/fd"))
    check(fds < 60, f"hostd holds {fds} descriptors")
    p.kill()
    p.communicate()


BROKEN = [
    b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\x00\x10\x00", b"GET / HTTP/1.0\r\n\r\n", frame(b"\xff" * 20),
    frame(b""), frame(b"\xc2\x02\x00"), hello() + hello(), hello(9), hello() + frame(b"\x08\x01"),
    hello() + frame(b"\x08\x01\xd2\x02\x02\x08\x63"),               # VmRequest with a verb that there is not
    hello() + frame(b"\x08\x01\xd2\x02\x05\x12\x03a\x1bb"),         # a control character in a name
    hello() + frame(b"\x08\x01\xd2\x02\x05\x12\x03a\xff\xffb"[:12]),
    hello() + frame(b"\x08\x01\xd2\x02" + bytes([0x83, 0x20]) + b"\x12\x80\x20" + b"a" * 4096),
]


def test_broken_peers(host):
    host.vm("a")
    host.start()
    good = connect(host)
    good.sendall(hello())
    for i, data in enumerate(BROKEN):
        s = connect(host)
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        read_to_end(s)      # ends: a peer that keeps the connection open would time out here
        same(host.ctl("list")[0], OK, f"hostd lives after {i}")
    good.sendall(frame(b"\x08\x07\xc2\x02\x00"))        # ListRequest, id 7
    check(len(good.recv(4096)) > 4, "the others' connections live")


def fds(host):
    return len(os.listdir(f"/proc/{host.proc.pid}/fd"))


def test_descriptors_are_not_kept(host):
    host.start()
    time.sleep(0.1)         # the connection of start() may be closing yet
    before = fds(host)
    s = connect(host)
    r, w = os.pipe()
    for _ in range(20):
        s.sendmsg([hello() if _ == 0 else frame(b"\x08\x07\xc2\x02\x00")],
                  [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [r] * 16).tobytes())])
    s.recv(65536)
    os.close(r)
    os.close(w)
    host.ctl("list")
    wait_for("only the connection's own to be left", lambda: fds(host) <= before + 1)
    s.close()
    wait_for("its end", lambda: fds(host) <= before)


def test_half_a_request(host):
    """A client that stops in the middle of a frame holds up nobody."""
    host.start()
    v = []
    for _ in range(20):
        s = connect(host)
        s.sendall(hello() + b"\xff\xff\x0f\x00half")
        v.append(s)
    start = time.monotonic()
    host.ctl("list")
    check(time.monotonic() - start < 5 * FACTOR, "answered at once")


def test_does_not_read(host):
    """A client that asks and asks, and never reads, is dropped; hostd's memory is bounded."""
    host.vm("a")
    host.start()
    s = connect(host)
    s.sendall(hello())
    s.setblocking(False)
    end = time.monotonic() + WAIT_S
    dropped = False
    while not dropped and time.monotonic() < end:
        try:
            s.send(frame(b"\x08\x07\xc2\x02\x00") * 100)
        except BlockingIOError:
            time.sleep(0.001)
        except (BrokenPipeError, ConnectionResetError):
            dropped = True
    check(dropped, "it was dropped")
    wait_for("the log", lambda: "why=does_not_read" in host.log_text())
    with open(f"/proc/{host.proc.pid}/status", encoding="ascii") as f:
        rss = [int(line.split()[1]) for line in f if line.startswith("VmRSS")][0]
    if "asan" not in os.environ["HOSTD"]:
        check(rss < 32 << 10, f"{rss} KiB")


def test_start_goes_on_without_its_client(host):
    host.conf("[hostd]\nstart-timeout = 2s\n")
    host.vm("a", "never-ready")
    host.start()
    p = subprocess.Popen([os.environ["HOSTCTL"], "--run-dir", str(host.dir / "run"), "start", "a"],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    host.wait_state("a", "starting")
    p.kill()
    p.wait()
    same(host.status("a")["state"], "starting")
    host.wait_state("a", "failed")


def test_two_wait_for_one_start(host):
    host.vm("a", "fail kvm 64 no /dev/kvm")
    host.vm("b")
    host.start()
    argv = [os.environ["HOSTCTL"], "--run-dir", str(host.dir / "run"), "start"]
    both = [subprocess.Popen([*argv, "a"], stderr=subprocess.DEVNULL) for _ in range(2)]
    for p in both:
        same(p.wait(30), FAILED)


# ---- consoles ----

def console(host, *args, **kw):
    return subprocess.Popen([os.environ["HOSTCTL"], "--run-dir", str(host.dir / "run"), "console", *args],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)


def read_until(f, what, secs=WAIT_S):
    got, end = b"", time.monotonic() + secs
    while what not in got:
        check(time.monotonic() < end, f"waited for {what!r}, got {got!r}")
        if select.select([f], [], [], 0.1)[0]:
            more = os.read(f if isinstance(f, int) else f.fileno(), 65536)
            check(more, f"ended before {what!r}: {got!r}")
            got += more
    return got


def test_console_pipe(host):
    host.vm("a", "print hello")
    host.start()
    host.ctl("start", "a")
    p = console(host, "a", stdin=subprocess.PIPE)
    read_until(p.stdout, b"hello\n")
    p.stdin.write(b"ping\n")
    p.stdin.flush()
    read_until(p.stdout, b"echo:ping\n")
    reader = console(host, "--no-input", "a", stdin=subprocess.DEVNULL)
    read_until(reader.stdout, b"hello\necho:ping\n")
    second = console(host, "--no-replay", "a", stdin=subprocess.PIPE)       # the keyboard is taken
    wait_for("the second to be there", lambda: len(os.listdir(f"/proc/{second.pid}/fd")) >= 4)
    second.stdin.write(b"not heard\n")
    second.stdin.flush()
    p.stdin.write(b"pong\n")
    p.stdin.close()
    read_until(p.stdout, b"echo:pong\n")
    check(b"not heard" not in read_until(reader.stdout, b"echo:pong\n"), "one writer")
    host.ctl("stop", "a")
    for each in (p, reader, second):
        same(each.wait(WAIT_S), OK, "a console ends with its VM")
        each.stdout.close()
        each.stderr.close()
    second.stdin.close()


def test_console_tty(host):
    host.vm("a", "print hello")
    host.start()
    host.ctl("start", "a")
    master, slave = pty.openpty()
    before = subprocess.run(["stty", "-a"], stdin=slave, capture_output=True, check=True).stdout
    p = console(host, "a", stdin=slave)
    read_until(p.stdout, b"hello\n")
    wait_for("raw mode", lambda: b"-icanon" in subprocess.run(["stty", "-a"], stdin=slave, capture_output=True,
                                                             check=True).stdout)
    os.write(master, b"x\x03y")         # Ctrl-C is the guest's
    read_until(p.stdout, b"echo:x\x03y")
    os.write(master, b"\x1d")
    same(p.wait(WAIT_S), OK, "Ctrl-] leaves")
    same(subprocess.run(["stty", "-a"], stdin=slave, capture_output=True, check=True).stdout, before,
         "the terminal is as before")
    p = console(host, "a", stdin=slave)
    read_until(p.stdout, b"hello\n")
    wait_for("raw mode", lambda: b"-icanon" in subprocess.run(["stty", "-a"], stdin=slave, capture_output=True,
                                                             check=True).stdout)
    p.terminate()
    p.wait(WAIT_S)
    same(subprocess.run(["stty", "-a"], stdin=slave, capture_output=True, check=True).stdout, before,
         "after a signal as well")
    same(host.status("a")["state"], "running")
    p.communicate()
    os.close(master)
    os.close(slave)


def test_slow_reader_is_dropped(host):
    host.vm("a", "after 600 ended 0 guest powered off")
    host.start()
    host.ctl("start", "a")
    slow = console(host, "a", stdin=subprocess.DEVNULL)        # nobody reads its stdout
    typing = console(host, "--no-replay", "a", stdin=subprocess.PIPE)
    os.set_blocking(typing.stdin.fileno(), False)       # it does not read either once its own stdout is full
    for _ in range(200):
        try:
            os.write(typing.stdin.fileno(), b"x" * 4096)
        except BlockingIOError:
            time.sleep(0.001)
        except BrokenPipeError:
            break
    start = time.monotonic()
    host.ctl("list")
    check(time.monotonic() - start < 5 * FACTOR, "hostd is not held up")
    host.wait_state("a", "off")
    for p in (slow, typing):
        p.kill()
        p.communicate()


def test_vm_that_does_not_read_its_console(host):
    host.vm("a", "no-console-read")
    host.start()
    host.ctl("start", "a")
    p = console(host, "a", stdin=subprocess.PIPE)
    os.set_blocking(p.stdin.fileno(), False)
    sent = 0
    end = time.monotonic() + 1
    while time.monotonic() < end:
        try:
            sent += os.write(p.stdin.fileno(), b"y" * 65536)
        except BlockingIOError:
            time.sleep(0.01)
    check(sent < 4 << 20, f"its writer is stopped, not stored: {sent}")
    host.ctl("list")
    host.ctl("kill", "a")
    p.kill()
    p.communicate()


main(globals())
