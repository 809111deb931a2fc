# SPDX-License-Identifier: Apache-2.0
"""What the tests of the mediator share: a mediator in a folder of its own, a vhost-user client that can break every
rule, a reader of its control socket. Programs come by environment: MEDIATOR, VUBLK, VUCLIENT."""

import array
import fcntl
import json
import mmap
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
SKIP = 77
WAIT_S = 10 * int(os.environ.get("MESON_TEST_TIMEOUT_MULTIPLIER", "1"))


def skip(why):
    print(f"SKIPPED: {why}")
    sys.exit(SKIP)


def check(ok, what):
    if not ok:
        raise AssertionError(what)


def wait_for(what, fn, secs=WAIT_S):
    end = time.monotonic() + secs
    while time.monotonic() < end:
        got = fn()
        if got:
            return got
        time.sleep(0.01)
    raise AssertionError(f"waited {secs} s for: {what}")


class Folder:
    """A temporary folder; on tmpfs if asked."""

    def __init__(self, shm=False):
        self.path = tempfile.mkdtemp(prefix="parley-med-", dir="/dev/shm" if shm else None)

    def __enter__(self):
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


class Mediator:
    """One process. Its log is kept in a file; stop() checks that it ended as asked."""

    def __init__(self, folder, policy, start=True, args=()):
        self.folder, self.proc, self.args = folder, None, args
        self.run = os.path.join(folder, "run")
        self.policy = os.path.join(folder, "test.policy")
        self.log_path = os.path.join(folder, "log")
        with open(self.policy, "w", encoding="utf-8") as f:
            f.write(policy)
        if start:
            self.start()

    def start(self):
        with open(self.log_path, "ab") as log:
            at = log.tell()
            self.proc = subprocess.Popen([os.environ["MEDIATOR"], *self.args, "--run-dir", self.run, self.policy],
                                         stderr=log)
        wait_for("ready", lambda: self.proc.poll() is not None or "ev=ready" in self.log()[at:])
        check(self.proc.poll() is None, f"the mediator did not start: {self.log()[at:]}")

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def events(self, kind, subject):
        """How many of them its log tells."""
        return sum(int(n) for n in re.findall(rf"ev={kind} share={re.escape(subject)} n=(\d+)", self.log()))

    def told(self, kind, subject, n=1):
        wait_for(f"{n} {kind} of {subject}", lambda: self.events(kind, subject) >= n)

    def socket(self, share):
        return os.path.join(self.run, "mediator", share.replace("/", ".") + ".sock")

    def kill(self):
        self.proc.kill()
        self.proc.wait()

    def stop(self):
        check(self.proc.poll() is None, f"the mediator died ({self.proc.returncode}): {self.log()}")
        self.proc.terminate()
        check(self.proc.wait(WAIT_S) == 0, f"exit code {self.proc.returncode}: {self.log()}")

    def fds(self):
        return len(os.listdir(f"/proc/{self.proc.pid}/fd"))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        elif self.proc and self.proc.poll() is None:
            self.kill()
        if kind:
            print(self.log()[-4000:])


def vublk(sock, *args):
    """Starts it; vublk_end() gives what it printed."""
    return subprocess.Popen([os.environ["VUBLK"], "--patience", str(3 * WAIT_S), *map(str, args), sock],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def vublk_end(p, code=0):
    out, err = p.communicate(timeout=120)
    check(p.returncode == code, f"vublk ended with {p.returncode}, not {code}: {out.decode()} {err.decode()}")
    return json.loads(out) if out else None


def image(path, mib, fill=None):
    with open(path, "wb") as f:
        if fill is None:
            f.truncate(mib * MIB)
        else:
            for _ in range(mib):
                f.write(fill * (MIB // len(fill)))


# ---- vhost-user, as a client that may lie ----

GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 1, 2, 3, 5
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR = 12, 13, 14
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, SET_VRING_ENABLE, GET_CONFIG = 15, 16, 18, 24
F_FLUSH, F_DISCARD, F_WRITE_ZEROES, F_PROTOCOL, F_VERSION_1 = 1 << 9, 1 << 13, 1 << 14, 1 << 30, 1 << 32
T_IN, T_OUT, T_FLUSH, T_GET_ID, T_DISCARD, T_WRITE_ZEROES = 0, 1, 4, 8, 11, 13
NEXT, WRITE, INDIRECT = 1, 2, 4
F_SEAL_SHRINK, F_ADD_SEALS = 2, 1033


class Client:
    NUM, AVAIL, USED, DATA, UADDR = 64, 0x1000, 0x2000, 0x10000, 0x7F0000000000

    def __init__(self, path, mem_bytes=4 * MIB, seal=True):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(WAIT_S)
        self.sock.connect(path)
        self.mem_bytes = mem_bytes
        self.memfd = os.memfd_create("client", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        os.ftruncate(self.memfd, mem_bytes)
        if seal:
            fcntl.fcntl(self.memfd, F_ADD_SEALS, F_SEAL_SHRINK)
        self.mem = mmap.mmap(self.memfd, mem_bytes)
        self.mem16 = memoryview(self.mem).cast("H")
        self.kick, self.call = os.eventfd(0), os.eventfd(0)
        self.avail = self.used = 0

    def close(self):
        self.sock.close()
        self.mem16.release()
        self.mem.close()
        for fd in (self.memfd, self.kick, self.call):
            os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def raw(self, data, fds=()):
        anc = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([data], anc)

    def send(self, req, payload=b"", fds=()):
        self.raw(struct.pack("<III", req, 1, len(payload)) + payload, fds)

    def ask(self, req, payload=b""):
        self.send(req, payload)
        head = self._exactly(12)
        return self._exactly(struct.unpack("<III", head)[2])

    def _exactly(self, n):
        data = b""
        while len(data) < n:
            some = self.sock.recv(n - len(data))
            if not some:
                raise ConnectionError("hung up")
            data += some
        return data

    def ended(self):
        """Waits until the mediator has hung up."""
        try:
            while self.sock.recv(4096):
                pass
        except ConnectionError:
            pass
        except TimeoutError:
            return False
        return True

    def features(self, without=0):
        offered = struct.unpack("<Q", self.ask(GET_FEATURES))[0]
        self.send(SET_PROTOCOL_FEATURES, struct.pack("<Q", 1 << 9))
        self.send(SET_OWNER)
        want = F_VERSION_1 | F_PROTOCOL | F_FLUSH | F_DISCARD | F_WRITE_ZEROES
        self.send(SET_FEATURES, struct.pack("<Q", want & offered & ~without))
        return offered

    def memory(self, size=None, off=0, fd=None):
        region = struct.pack("<QQQQ", 0, size or self.mem_bytes, self.UADDR, off)
        self.send(SET_MEM_TABLE, struct.pack("<II", 1, 0) + region, [self.memfd if fd is None else fd])

    def queue(self, kick=None, call=None, num=NUM):
        u = self.UADDR
        self.send(SET_VRING_NUM, struct.pack("<II", 0, num))
        self.send(SET_VRING_ADDR, struct.pack("<IIQQQQ", 0, 0, u, u + self.USED, u + self.AVAIL, 0))
        self.send(SET_VRING_BASE, struct.pack("<II", 0, 0))
        self.send(SET_VRING_CALL, struct.pack("<Q", 0), [self.call if call is None else call])
        self.send(SET_VRING_KICK, struct.pack("<Q", 0), [self.kick if kick is None else kick])
        self.send(SET_VRING_ENABLE, struct.pack("<II", 0, 1))

    def setup(self, without=0):
        offered = self.features(without)
        self.memory()
        self.queue()
        return offered

    def put_desc(self, i, addr, length, flags=0, link=0):
        struct.pack_into("<QIHH", self.mem, i * 16, addr, length, flags, link)

    def publish(self, index):
        """The index of the available ring, in one store: struct.pack_into() writes a nought first, and a mediator that
        polls may see that."""
        self.mem16[(self.AVAIL + 2) // 2] = index

    def put_avail(self, head, ahead=1):
        struct.pack_into("<H", self.mem, self.AVAIL + 4 + 2 * (self.avail % self.NUM), head)
        self.avail = (self.avail + ahead) & 0xFFFF
        self.publish(self.avail)
        os.eventfd_write(self.kick, 1)

    def request(self, kind, sector=0, data=b"", read=0, at=DATA):
        """One request, waited for: status, and what was read. @at is where the data stands."""
        meta = 0x3000
        self.mem[meta : meta + 16] = struct.pack("<IIQ", kind, 0, sector)
        self.mem[meta + 16 : meta + 17] = b"\xff"
        self.mem[at : at + len(data)] = data
        n = len(data) or read
        self.put_desc(0, meta, 16, NEXT, 1 if n else 2)
        self.put_desc(1, at, n, NEXT | (0 if data else WRITE), 2)
        self.put_desc(2, meta + 16, 1, WRITE)
        self.put_avail(0)
        self.used = (self.used + 1) & 0xFFFF
        wait_for("an answer", lambda: struct.unpack_from("<H", self.mem, self.USED + 2)[0] == self.used)
        return self.mem[meta + 16], bytes(self.mem[at : at + read])

    def batch(self, n):
        """@n reads of 512 bytes, made available before the mediator is told; waits for all."""
        meta = 0x3000
        for i in range(n):
            at = meta + 32 * i
            self.mem[at : at + 16] = struct.pack("<IIQ", T_IN, 0, i)
            self.put_desc(3 * i, at, 16, NEXT, 3 * i + 1)
            self.put_desc(3 * i + 1, self.DATA + 512 * i, 512, NEXT | WRITE, 3 * i + 2)
            self.put_desc(3 * i + 2, at + 16, 1, WRITE)
            struct.pack_into("<H", self.mem, self.AVAIL + 4 + 2 * ((self.avail + i) % self.NUM), 3 * i)
        self.avail = (self.avail + n) & 0xFFFF
        self.publish(self.avail)
        os.eventfd_write(self.kick, 1)
        self.used = (self.used + n) & 0xFFFF
        wait_for("the answers", lambda: struct.unpack_from("<H", self.mem, self.USED + 2)[0] == self.used)

    def zero(self, kind, sector, sectors, unmap=False):
        return self.request(kind, 0, struct.pack("<QII", sector, sectors, int(unmap)))[0]


# ---- the control socket ----


def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def parse(data):
    """Field number → list of values: numbers, or bytes."""
    got, at = {}, 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            b = data[at]
            at += 1
            n |= (b & 0x7F) << shift
            shift += 7
            if b < 0x80:
                return n

    while at < len(data):
        key = number()
        if key & 7 == 0:
            value = number()
        elif key & 7 == 2:
            n = number()
            value, at = data[at : at + n], at + n
        else:
            raise AssertionError(f"wire type {key & 7}")
        got.setdefault(key >> 3, []).append(value)
    return got


SHARE = {1: "share", 2: "device", 3: "class", 4: "connected", 5: "quarantined", 6: "read_ops", 7: "read_bytes",
         8: "write_ops", 9: "write_bytes", 10: "flush_ops", 11: "errors", 12: "faults", 13: "queued", 14: "in_flight",
         15: "latency", 16: "wait", 17: "bound_ns", 18: "bound_violations", 19: "throttled",
         20: "limited", 30: "signals", 40: "target_ns", 41: "missed", 42: "cpu_ns", 43: "cpu_waits"}
DEVICE = {1: "device", 2: "slots", 3: "reserve", 4: "lower_cap", 5: "in_flight", 6: "service", 7: "service_max_ns",
          8: "priorities", 30: "io_inline", 31: "io_fixed", 32: "io_plain", 33: "io_bounced", 34: "rounds",
          35: "enters", 40: "ladder_step", 41: "ladder_ups", 46: "pinned_bytes", 47: "pin_failures"}
LATENCY = {1: "n", 2: "p50_ns", 3: "p99_ns", 4: "p999_ns", 5: "max_ns"}


def named(data, names):
    fields = parse(data)
    got = {}
    for number, name in names.items():
        value = fields.get(number, [0])[-1]
        if name in ("latency", "wait", "service"):
            value = named(value or b"", LATENCY)
        got[name] = value.decode() if isinstance(value, bytes) else value
    return got


class Control:
    def __init__(self, mediator):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(WAIT_S)
        self.sock.connect(os.path.join(mediator.run, "mediator", "control.sock"))
        self._send(field(2, field(1, 1) + field(3, "test") + field(4, os.getpid())))
        check(2 in self._recv(), "the first message is Hello")

    def _send(self, envelope):
        self.sock.sendall(struct.pack("<I", len(envelope)) + envelope)

    def _recv(self):
        data = b""
        while len(data) < 4 or len(data) < 4 + struct.unpack("<I", data[:4])[0]:
            more = self.sock.recv(65536 if len(data) >= 4 else 4 - len(data))
            check(more, "the control socket hung up")
            data += more
        return parse(data[4:])

    def ask(self, body, number):
        self._send(field(1, 7) + field(number, body))
        reply = self._recv()
        check(reply[1] == [7], "the reply carries the id")
        return reply

    def stats(self, share="", reset=False):
        reply = self.ask(field(1, share) + field(2, int(reset)), 22)
        if 23 not in reply:
            return None
        m = parse(reply[23][0])
        shares = [named(s, SHARE) for s in m.get(1, [])]
        return {s["share"]: s for s in shares}, [named(d, DEVICE) for d in m.get(2, [])]

    def priorities(self, on, device=""):
        return 4 in self.ask(field(1, device) + field(2, int(on)), 24)

    def policy(self, verb, name="", *settings):
        """(error code, 0 = done; text). Code 9: the change before is not taken yet."""
        reply = self.ask(field(1, ("show", "check", "reload", "set", "unquarantine").index(verb)) + field(2, name) +
                         b"".join(field(3, s) for s in settings), 26)
        if 27 in reply:
            return 0, b"".join(parse(reply[27][0]).get(1, [])).decode()
        error = parse(reply[3][0])
        return error[1][0], error[2][0].decode()

    def inject(self, verb, kind="", obj="", *settings):
        """(error code, 0 = done; text, or what is injected: rows of values by name)."""
        reply = self.ask(field(1, ("list", "add", "clear", "kill").index(verb)) + field(2, kind) + field(3, obj) +
                         b"".join(field(4, s) for s in settings), 30)
        names = ("id", "kind", "device", "share", "ops", "count_left", "left_ns", "delay_ns", "hits")
        if 31 in reply:
            return 0, [{**dict.fromkeys(names, 0), **named(f, dict(enumerate(names, 1)))}
                       for f in parse(reply[31][0]).get(1, [])]
        error = parse(reply[3][0])
        return error[1][0], error[2][0].decode()

    def explain(self, share):
        """The slowest requests: rows of numbers by name; None: no such share."""
        reply = self.ask(field(1, share), 28)
        names = ("age_ns", "op", "sector", "bytes", "latency_ns", "wait_ns", "bound_ns", "safety_there", "lower_there",
                 "barriers_there", "own_before", "safety_passed", "lower_passed")
        if 29 not in reply:
            return None
        return [{**dict.fromkeys(names, 0), **named(f, dict(enumerate(names, 1)))}
                for f in parse(reply[29][0]).get(1, [])]

    def close(self):
        self.sock.close()


def run_tests(*tests):
    """Each in turn; the first failure ends the run with its name."""
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(AssertionError("too late")))
    for test in tests:
        start = time.monotonic()
        signal.alarm(60 * WAIT_S // 10)
        try:
            test()
        except BaseException:
            print(f"FAILED {test.__name__}", flush=True)
            raise
        print(f"ok {test.__name__} ({time.monotonic() - start:.1f} s)", flush=True)
    signal.alarm(0)
