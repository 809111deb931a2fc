#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that break every rule: their own connection ends, another share's verified traffic sees nothing of it."""

import array
import fcntl
import os
import random
import resource
import select
import socket
import struct
import time

import med
from med import check

POLICY = """
[device disk]
path = img
[share good/data]
device = disk
class = safety
length = 8M
[share evil/data]
device = disk
class = best-effort
offset = 8M
length = 8M
fault-budget = 1000
[share quick/data]
device = disk
offset = 16M
length = 8M
fault-budget = 3
fault-window = 2s
[share shut/data]
device = disk
offset = 24M
length = 8M
fault-budget = 3
fault-window = 3600s
"""


def garbage(c):
    c.raw(os.urandom(4096))


def zero_bytes(c):
    c.raw(bytes(64))


def wrong_version(c):
    c.raw(struct.pack("<III", med.GET_FEATURES, 2, 0))


def long_payload(c):
    c.raw(struct.pack("<III", med.SET_FEATURES, 1, 1 << 20) + bytes(600))


def unknown_request(c):
    c.send(4711)


def half_message(c):
    c.raw(struct.pack("<III", med.SET_FEATURES, 1, 8) + b"abc")


def half_header(c):
    c.raw(b"\x01")


def many_descriptors(c):
    c.raw(struct.pack("<III", med.SET_OWNER, 1, 0), [c.memfd] * 32)


def descriptors_where_none_belong(c):
    c.send(med.SET_OWNER, b"", [c.memfd])


def features_not_offered(c):
    offered = struct.unpack("<Q", c.ask(med.GET_FEATURES))[0]
    c.send(med.SET_FEATURES, struct.pack("<Q", offered | 1 << 40))


def memory_without_descriptor(c):
    c.features()
    c.send(med.SET_MEM_TABLE, struct.pack("<IIQQQQ", 1, 0, 0, c.mem_bytes, c.UADDR, 0))


def memory_unsealed(c):
    fd = os.memfd_create("loose", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, c.mem_bytes)
    c.features()
    c.memory(fd=fd)
    os.close(fd)


def memory_too_short(c):
    c.features()
    c.memory(size=c.mem_bytes * 2)


def memory_without_end(c):
    """All of our address space, which is not its alone."""
    size = 1 << 46
    fd = os.memfd_create("huge", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, med.F_ADD_SEALS, med.F_SEAL_SHRINK)
    c.features()
    c.memory(size=size, fd=fd)
    os.close(fd)


def memory_far_offset(c):
    c.features()
    c.memory(off=1 << 62)


def memory_wraps(c):
    c.features()
    region = struct.pack("<QQQQ", (1 << 64) - 4096, c.mem_bytes, c.UADDR, 0)
    c.send(med.SET_MEM_TABLE, struct.pack("<II", 1, 0) + region, [c.memfd])


def memory_is_a_pipe(c):
    r, w = os.pipe()
    c.features()
    c.memory(fd=r)
    os.close(r)
    os.close(w)


def queue_out_of_range(c):
    c.features()
    c.memory()
    c.send(med.SET_VRING_NUM, struct.pack("<II", 999, 64))


def queue_size_not_a_power(c):
    c.features()
    c.memory()
    c.queue(num=63)


def ring_outside_memory(c):
    c.features()
    c.memory()
    c.send(med.SET_VRING_NUM, struct.pack("<II", 0, 64))
    c.send(med.SET_VRING_ADDR, struct.pack("<IIQQQQ", 0, 0, 0, 8, 16, 0))
    c.send(med.SET_VRING_KICK, struct.pack("<Q", 0), [c.kick])
    c.send(med.SET_VRING_ENABLE, struct.pack("<II", 0, 1))


def other_kick(c, fd):
    c.features()
    c.memory()
    c.queue(kick=fd)
    os.close(fd)


def kick_is_a_file(c):
    other_kick(c, os.open("/dev/zero", os.O_RDWR))


def kick_is_a_socket(c):
    a, b = socket.socketpair()
    b.send(b"x")
    other_kick(c, a.detach())
    b.close()


def kick_is_an_epoll(c):
    """Each look at it is as long as its owner likes."""
    ep = select.epoll()
    fd = os.dup(ep.fileno())
    ep.close()
    other_kick(c, fd)


def no_kick(c):
    c.features()
    c.memory()
    c.send(med.SET_VRING_NUM, struct.pack("<II", 0, 64))
    u = c.UADDR
    c.send(med.SET_VRING_ADDR, struct.pack("<IIQQQQ", 0, 0, u, u + c.USED, u + c.AVAIL, 0))
    c.send(med.SET_VRING_KICK, struct.pack("<Q", 1 << 8))
    c.send(med.SET_VRING_ENABLE, struct.pack("<II", 0, 1))


def call_is_a_full_pipe(c):
    """A write to it would wait for ever."""
    r, w = os.pipe()
    os.set_blocking(w, False)
    try:
        while True:
            os.write(w, bytes(4096))
    except BlockingIOError:
        os.set_blocking(w, True)
    c.features()
    c.memory()
    c.queue(call=w)
    os.close(w)
    c.pipe = r


def avail_runs_ahead(c):
    c.setup()
    c.put_avail(0, ahead=1000)


def head_out_of_range(c):
    c.setup()
    c.put_avail(5000)


def chain_loops(c):
    c.setup()
    c.put_desc(0, c.DATA, 16, med.NEXT, 1)
    c.put_desc(1, c.DATA, 16, med.NEXT, 0)
    c.put_avail(0)


def link_out_of_table(c):
    c.setup()
    c.put_desc(0, c.DATA, 16, med.NEXT, 999)
    c.put_avail(0)


def buffer_outside_memory(c):
    c.setup()
    c.put_desc(0, 1 << 50, 16, med.NEXT, 1)
    c.put_desc(1, c.DATA, 1, med.WRITE)
    c.put_avail(0)


def buffer_wraps(c):
    c.setup()
    c.put_desc(0, (1 << 64) - 8, 16, med.NEXT, 1)
    c.put_desc(1, c.DATA, 1, med.WRITE)
    c.put_avail(0)


def no_status(c):
    c.setup()
    c.put_desc(0, c.DATA, 16)
    c.put_avail(0)


def same_head_twice(c):
    """The same head made available again in one go: it is out when it comes the second time."""
    c.setup()
    c.mem[0x3000:0x3010] = struct.pack("<IIQ", med.T_FLUSH, 0, 0)
    c.put_desc(0, 0x3000, 16, med.NEXT, 1)
    c.put_desc(1, 0x3010, 1, med.WRITE)
    for i in range(3):
        struct.pack_into("<H", c.mem, c.AVAIL + 4 + 2 * i, 0)
    c.avail = 2
    c.put_avail(0)


ATTACKS = [
    garbage, zero_bytes, wrong_version, long_payload, unknown_request, half_message, half_header, many_descriptors,
    descriptors_where_none_belong, features_not_offered, memory_without_descriptor, memory_unsealed, memory_too_short,
    memory_without_end, memory_far_offset, memory_wraps, memory_is_a_pipe, queue_out_of_range, queue_size_not_a_power,
    ring_outside_memory, kick_is_a_file, kick_is_a_socket, kick_is_an_epoll, no_kick, call_is_a_full_pipe,
    avail_runs_ahead, head_out_of_range, chain_loops, link_out_of_table, buffer_outside_memory, buffer_wraps, no_status,
    same_head_twice,
]


def attacks():
    with med.Folder() as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, POLICY) as m:
            control = med.Control(m)
            faults = 0
            for attack in ATTACKS:
                good = med.vublk(m.socket("good/data"), "--verify", "--depth", 8, "--ops", 3000, "--read", 50, "--span",
                                 4 << 20)
                with med.Client(m.socket("evil/data")) as c:
                    try:
                        attack(c)
                    except (BrokenPipeError, ConnectionResetError):
                        pass
                    check(c.ended(), f"{attack.__name__}: the connection must end")
                try:
                    got = med.vublk_end(good)
                except AssertionError as e:
                    raise AssertionError(f"beside {attack.__name__}: {e}") from e
                check(got["errors"] == got["mismatches"] == 0, f"{attack.__name__}: {got}")
                med.wait_for("gone", lambda: not control.stats()[0]["evil/data"]["connected"])
                now = control.stats()[0]["evil/data"]["faults"]
                check(now > faults, f"{attack.__name__} was not counted: {now}")
                faults = now
            check(m.log().count("ev=client_dropped share=evil/data") == 1, "logged once, not for each: " + m.log())
            with med.Client(m.socket("evil/data")) as c:
                c.setup()
                check(c.request(med.T_IN, read=512)[0] == 0, "who behaves is served again")


def memory_cannot_be_cut_off():
    """The memory's seal holds, and a client that unmaps and goes away while requests are out hurts nobody."""
    with med.Folder() as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, POLICY) as m:
            with med.Client(m.socket("evil/data")) as c:
                c.setup()
                try:
                    os.ftruncate(c.memfd, 4096)
                    check(False, "the seal is broken")
                except PermissionError:
                    pass
                for _ in range(200):
                    c.put_desc(0, 0x3000, 16, med.NEXT, 1)
                    c.put_desc(1, c.DATA, 1 << 20, med.NEXT | med.WRITE, 2)
                    c.put_desc(2, 0x3010, 1, med.WRITE)
                    c.put_avail(0)
                    if c.used != struct.unpack_from("<H", c.mem, c.USED + 2)[0]:
                        c.used = struct.unpack_from("<H", c.mem, c.USED + 2)[0]
                    time.sleep(0.0005)
            check(med.vublk_end(med.vublk(m.socket("good/data"), "--ops", 100))["errors"] == 0, "served")


def fill_and_block(fd):
    """The mediator has made it nonblocking: its owner undoes that, and a write to it waits for ever."""
    os.set_blocking(fd, False)
    try:
        while True:
            os.eventfd_write(fd, (1 << 64) - 2)
    except BlockingIOError:
        pass
    os.set_blocking(fd, True)


def descriptors_that_block():
    """A full call or error eventfd of one client keeps the device's thread from nobody."""
    with med.Folder() as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, POLICY) as m:
            with med.Client(m.socket("evil/data")) as c:
                c.setup()
                fill_and_block(c.call)
                for _ in range(5):
                    check(c.request(med.T_IN, read=512)[0] == 0, "the client itself is served")
                check(med.vublk_end(med.vublk(m.socket("good/data"), "--ops", 500))["errors"] == 0, "others too")
                err = os.eventfd(0)
                c.send(med.SET_VRING_ERR, struct.pack("<Q", 0), [err])
                check(c.request(med.T_IN, read=512)[0] == 0, "the error descriptor is there")
                fill_and_block(err)
                c.put_avail(5000)
                med.wait_for("the fault", lambda: "ev=queue_broken share=evil/data" in m.log())
                check(med.vublk_end(med.vublk(m.socket("good/data"), "--ops", 500))["errors"] == 0, "others still")
                os.close(err)


def descriptors_run_out():
    """Who connects while there is no descriptor left waits, and is served when there is one."""
    with med.Folder() as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, POLICY) as m:
            now, most = resource.prlimit(m.proc.pid, resource.RLIMIT_NOFILE)
            check(now == most, "it takes what it may have")
            resource.prlimit(m.proc.pid, resource.RLIMIT_NOFILE, (m.fds(), most))
            with med.Client(m.socket("evil/data")) as c:
                med.wait_for("the event", lambda: "ev=accept_failed share=evil/data" in m.log())
                resource.prlimit(m.proc.pid, resource.RLIMIT_NOFILE, (now, most))
                c.setup()
                check(c.request(med.T_IN, read=512)[0] == 0, "served")


def misbehave(m, share, times):
    for _ in range(times):
        with med.Client(m.socket(share)) as c:
            try:
                head_out_of_range(c)
            except ConnectionError:
                pass        # it is shut already
            check(c.ended(), "it ends")


def knocking_at_a_closed_door():
    """A quarantined share is connected to as fast as can be: others are served."""
    with med.Folder() as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, POLICY) as m:
            misbehave(m, "shut/data", 3)
            good = med.vublk(m.socket("good/data"), "--verify", "--depth", 4, "--ops", 3000, "--span", 1 << 20)
            while good.poll() is None:
                for _ in range(50):
                    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                        s.connect(m.socket("shut/data"))
            check(med.vublk_end(good)["errors"] == 0, "served")


def memory_is_let_go():
    """What a client had mapped is taken down when it is gone, by a thread that nobody waits for."""
    with med.Folder() as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, POLICY) as m:
            def maps():
                with open(f"/proc/{m.proc.pid}/maps", encoding="ascii") as f:
                    return f.read().count("/memfd:client")

            fds = m.fds()
            for _ in range(20):
                with med.Client(m.socket("evil/data")) as c:
                    c.setup()
                    c.memory()
                    check(c.request(med.T_IN, read=1 << 20)[0] == 0, "served")
                    check(maps() >= 1, "mapped")
            med.wait_for("the memory to go", lambda: maps() == 0)
            med.wait_for("the descriptors to go", lambda: m.fds() == fds)


def say(m, envelope, fds=()):
    """A tool that says @envelope: all that the mediator answered, to a whole message behind its Hello; b"": hung up."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(med.WAIT_S)
        s.connect(os.path.join(m.run, "mediator", "control.sock"))
        hello = med.field(2, med.field(1, 1) + med.field(3, "evil") + med.field(4, 1))
        anc = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        s.sendall(struct.pack("<I", len(hello)) + hello)
        s.sendmsg([struct.pack("<I", len(envelope)) + envelope], anc)
        got, n = b"", 0
        try:
            while n < 2:    # its Hello, and one more
                some = s.recv(65536)
                if not some:
                    return b""
                got, n = got + some, 0
                rest = got
                while len(rest) >= 4 and len(rest) >= 4 + struct.unpack("<I", rest[:4])[0]:
                    rest, n = rest[4 + struct.unpack("<I", rest[:4])[0]:], n + 1
        except ConnectionResetError:
            return b""
        return got


def control_messages():
    """Who speaks to the control socket and is no hostd: every kind of message, with what does not belong in it."""
    rng = random.Random(7)
    bodies = [b"", med.field(1, "\x1b[2J\x07"), med.field(1, "x" * 3000), med.field(1, b"\xff\xfe"),
              med.field(1, 1 << 40) + med.field(2, "no/such") + med.field(3, "key=value"),
              b"".join(med.field(1, f"evil/s{i}") + med.field(2, "good/data") for i in range(16)),
              med.field(1, 1) + med.field(2, "stall") + med.field(3, "good/data") + med.field(4, "for=1s")]
    with med.Folder() as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, POLICY) as m:
            before, shown = sorted(os.listdir(m.run + "/mediator")), med.Control(m).policy("show")
            good = med.vublk(m.socket("good/data"), "--verify", "--depth", 4, "--ops", 3000, "--span", 1 << 20)
            answered = 0
            for number in [*range(2, 5), *range(10, 37), *range(40, 56), 1000]:
                for body in (*bodies, bytes(rng.randrange(256) for _ in range(rng.randrange(1, 60)))):
                    with open(os.devnull, "rb") as f:
                        answered += bool(say(m, med.field(1, 9) + med.field(number, body), [f.fileno()] * 3))
            check(answered > 50, f"{answered} were answered")
            check(med.vublk_end(good)["errors"] == 0, "served meanwhile")
            control = med.Control(m)
            check(control.policy("show") == shown, "the policy is what it was")
            check(sorted(os.listdir(m.run + "/mediator")) == before, "so are the sockets")
            check(control.inject("list")[0] != 0, "nothing can be made to fail")
            fds = m.fds()
            for _ in range(20):
                say(m, med.field(1, 9) + med.field(21, med.field(1, 1)), [0] * 16)
            med.wait_for("their descriptors to go", lambda: m.fds() <= fds)


def one_client_at_a_time():
    with med.Folder() as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, POLICY) as m:
            first = med.Client(m.socket("evil/data"))
            first.setup()
            second = med.Client(m.socket("evil/data"))
            second.send(med.GET_FEATURES)
            second.sock.settimeout(0.5)
            try:
                check(not second.sock.recv(1), "the second is not hung up on")
                check(False, "the second must wait")
            except TimeoutError:
                pass
            check(first.request(med.T_IN, read=512)[0] == 0, "the first goes on")
            first.close()
            second.sock.settimeout(med.WAIT_S)
            second._exactly(20)
            second.setup()
            check(second.request(med.T_IN, read=512)[0] == 0, "then it is the second's turn")
            second.close()


def quarantine():
    """Until it is over; its time is so long here that nothing ends on a slow machine before we have looked."""
    with med.Folder() as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, POLICY) as m:
            control = med.Control(m)
            misbehave(m, "shut/data", 3)
            med.wait_for("the event", lambda: "ev=client_quarantined share=shut/data" in m.log())
            s = med.wait_for("gone", lambda: (s := control.stats()[0]["shut/data"]) and not s["connected"] and s)
            check(s["quarantined"] == 1 and s["faults"] == 3, f"{s}")
            with med.Client(m.socket("shut/data")) as c:
                check(c.ended(), "refused from now on")
            check(not control.stats()[0]["good/data"]["quarantined"], "it alone")
            check(med.vublk_end(med.vublk(m.socket("good/data"), "--ops", 100))["errors"] == 0, "others are served")
            check(control.policy("unquarantine", "shut/data")[0] == 0, "an operator ends it")
            med.wait_for("its end", lambda: not control.stats()[0]["shut/data"]["quarantined"])
            check(control.stats()[0]["shut/data"]["faults"] == 3, "over, not forgotten")
            with med.Client(m.socket("shut/data")) as c:
                c.setup()
                check(c.request(med.T_IN, read=512)[0] == 0, "served again")
            misbehave(m, "shut/data", 2)
            check(not control.stats()[0]["shut/data"]["quarantined"], "the count begins anew")


def quarantine_ends_by_itself():
    with med.Folder() as d:
        med.image(d + "/img", 32)
        with med.Mediator(d, POLICY) as m:
            def quarantined():
                misbehave(m, "quick/data", 1)
                return "ev=client_quarantined share=quick/data" in m.log()

            med.wait_for("three within the window", quarantined)
            med.wait_for("its end", lambda: "ev=quarantine_ended share=quick/data" in m.log())
            with med.Client(m.socket("quick/data")) as c:
                c.setup()
                check(c.request(med.T_IN, read=512)[0] == 0, "served again")


med.run_tests(attacks, memory_cannot_be_cut_off, descriptors_that_block, descriptors_run_out, knocking_at_a_closed_door,
              memory_is_let_go, control_messages, one_client_at_a_time, quarantine, quarantine_ends_by_itself)
