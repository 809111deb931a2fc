#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""virtio-net between two VMs and to a tap of the host: content, order of start, coming back, pairs, hostile guests."""

import ctypes
import fcntl
import os
import re
import signal
import socket
import struct
import sys
import threading
import time

import kvmtest
from kvmtest import equal, expect

BULK = "32M"
CLONE_NEWNET = 0x40000000
TUNSETIFF, TUNSETPERSIST = 0x400454ca, 0x400454cb
SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFFLAGS, SIOCSARP, SIOCGIFHWADDR = 0x8916, 0x891c, 0x8914, 0x8955, 0x8927
VIRTIO_F_RING_PACKED = 1 << 34
MAGIC, DATA, ACK, PORT = 0x4e574b31, 1, 2, 7777
HEAD = struct.Struct("<IBBBBQII")


def worker(b, name, peer, words, extra="", dev="eth"):
    return b.machine("networker", words, f"vdev virtio-net name {dev} peer {peer} {extra}", name=name)


def pair(b, a_words, b_words, a_extra="", b_extra="", first="b"):
    """Two VMs, a and b, that name each other; @first is started first. Both runs, a's first."""
    conf = {"a": worker(b, "a", "b/eth", "ip=1 peer=2 " + a_words, a_extra),
            "b": worker(b, "b", "/dev/qvm/a/eth", "ip=2 peer=1 " + b_words, b_extra)}
    runs = {first: b.start(conf[first])}
    other = "a" if first == "b" else "b"
    runs[other] = b.start(conf[other])
    return runs["a"], runs["b"]


def received(run):
    m = run.until(r"net: received flow=\d+ frames=(\d+) bytes=(\d+) ms=\d+ merged=(\d+) again=(\d+) partial=(\d+)\s")
    return [int(x) for x in m.groups()]


def done(*runs):
    for r in runs:
        r.wait(0)
        expect("guest: done ok" in r.out(), r.said())


def t_bulk(b):
    """32 MiB, every word compared by the guest that receives them."""
    sender, receiver = pair(b, f"send={BULK}", "")
    _, n_bytes, merged, _, _ = received(receiver)
    expect(n_bytes >= 32 << 20, f"{n_bytes} bytes came")
    equal(merged, 0, "merged frames")
    done(sender, receiver)


def t_other_order(b):
    """The one that sends, and whose name sorts first, is there first; both send at once."""
    one, two = pair(b, "send=4M recv=1", "send=4M recv=1", first="a")
    received(one)
    received(two)
    done(one, two)


def t_jumbo(b):
    """Frames of 60 000 bytes in buffers of 2 KiB: merged by the guest, with sums left to the other end."""
    sender, receiver = pair(b, f"send={BULK} bs=60000 csum=1 win=16", "guest_csum=1 csum=1", "mtu 65000", "mtu 65000")
    frames, _, merged, _, partial = received(receiver)
    # A frame that was sent again, because this machine was slow, came twice.
    expect(merged >= frames, f"{merged} of {frames} frames were merged")
    expect(partial >= frames, f"the sum of {partial} of {frames} frames was left to us")
    done(sender, receiver)


def t_sums(b):
    """A sender that leaves its sums to others, a receiver that did not agree to it, and masks that differ."""
    sender, receiver = pair(b, "send=4M csum=1", "guest_csum=1", "peerfeats 0x1", "peerfeats 0x0")
    equal(received(receiver)[4], 0, "frames whose sum was left to us")
    done(sender, receiver)
    expect("features=0x130038021" in sender.out() and "features=0x130038020" in receiver.out(),
           sender.said() + receiver.said())


def t_no_merge(b):
    sender, receiver = pair(b, "send=4M", "mrg=0 rxbuf=1600 n_rx=4 event_idx=0 indirect=0")
    received(receiver)
    done(sender, receiver)


def t_mmio(b):
    """virtio by MMIO on one side."""
    extra = "loc mem:0xf0000000 intr pic:5"
    sender, receiver = pair(b, "send=4M mmio=0xf0000000,5", "", extra)
    received(receiver)
    done(sender, receiver)
    expect("dev=mmio-" in sender.out(), sender.said())


def t_packed(b):
    """Packed rings at both ends, by PCI and by MMIO: frames that fill many buffers, every word compared."""
    sender, receiver = pair(b, f"send={BULK} bs=60000 csum=1 win=16 packed=1",
                            "guest_csum=1 csum=1 packed=1 mmio=0xf0000000,5", "mtu 65000",
                            "mtu 65000 loc mem:0xf0000000 intr pic:5")
    frames, _, merged, _, _ = received(receiver)
    expect(merged >= frames, f"{merged} of {frames} frames were merged")
    done(sender, receiver)
    expect("dev=mmio-" in receiver.out(), receiver.said())
    for r in (sender, receiver):
        features = int(re.search(r"net: ready .* features=0x([0-9a-f]+) ", r.out())[1], 16)
        expect(features & VIRTIO_F_RING_PACKED, r.said())


def t_pairs(b):
    """Four queue pairs at one end, four at the other, a flow on each."""
    sender, receiver = pair(b, "send=16M pairs=4", "pairs=4", "queues 4", "queues 4")
    done(sender, receiver)
    flows = sorted(set(re.findall(r"received flow=(\d)", receiver.out())))
    equal(flows, ["0", "1", "2", "3"], "flows that came whole")


def t_fewer_pairs(b):
    """Four pairs at one end, one at the other."""
    sender, receiver = pair(b, "send=4M", "pairs=1", "queues 4", "")
    received(receiver)
    done(sender, receiver)
    expect("pairs=1 " in re.search("ev=link_up.*", sender.err())[0], sender.said())


def t_come_back(b):
    """One peer is killed and started again, twice: the other sees the link go and come, and serves it again."""
    stays = b.start(worker(b, "b", "a/eth", "ip=2 peer=1 times=0"))
    for n in range(1, 4):
        goes = b.start(worker(b, "a", "b/eth", "ip=1 peer=2 send=64M" if n < 3 else "ip=1 peer=2 send=4M"))
        stays.until(r"(?s)" + ".*net: link up" * n)
        if n < 3:
            time.sleep(0.05)
            goes.signal(signal.SIGKILL)
            goes.process.wait()
            stays.until(r"(?s)" + ".*net: link down" * n)
        else:
            done(goes)
            received(stays)
    stays.signal(signal.SIGQUIT)
    stays.wait(3)
    equal(os.path.exists(os.path.join(b.run_dir, "qvm", "b")), False, "the endpoint's folder is still there")


def t_disagree(b):
    """Names that do not match are said in words, on both sides, and both VMs run on."""
    one = b.start(worker(b, "a", "b/eth", "recv=1"))
    two = b.start(worker(b, "b", "c/eth", "recv=1"))
    one.until(r"its configuration says peer c/eth, and we are a/eth", "err")
    two.until(r"our configuration says peer c/eth", "err")
    three = b.start(worker(b, "d", "b/net0", "recv=1"))
    three.until(r"that VM runs, and has no virtio-net of this name", "err")
    for r in (one, two, three):
        expect("link up" not in r.out(), r.said())
        r.signal(signal.SIGQUIT)
        r.wait(3)


def t_unnamed(b):
    r = b.start(worker(b, "x", "b/eth", "").replace("system x", ""))
    r.wait(65)
    expect("VM without a name cannot be found" in r.err(), r.said())


def t_hostile(b):
    """A guest attacks its network device, queue by queue, while two others on the same board go on."""
    bad = b.start(b.machine("hostile", "every=6 rounds=20 wait_ms=5", "vdev virtio-net name eth peer b/eth queues 2",
                            name="a"))
    good = b.start(worker(b, "b", "a/eth", "ip=2 peer=1 times=0"))
    disturbed = b.start(worker(b, "c", "d/eth", "ip=3 peer=4 send=16M"))
    other = b.start(worker(b, "d", "c/eth", "ip=4 peer=3"))
    received(other)
    done(disturbed, other)
    bad.wait(0, 200)
    expect("lost=0" in bad.out() and "guest: done ok" in bad.out(), bad.said())
    expect(int(re.search(r"hostile: total attacks=(\d+)", bad.out())[1]) > 15, bad.said())
    expect(good.process.poll() is None, good.said())
    good.signal(signal.SIGQUIT)
    good.wait(3)


# ---- the host's network, in a network namespace of the test's own ----

def own_network():
    """This process, and what it starts, has no network but what it makes."""
    if not os.path.exists("/dev/net/tun"):
        kvmtest_skip("there is no /dev/net/tun")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        kvmtest_skip(f"a network namespace of our own is not permitted: {os.strerror(ctypes.get_errno())}")


def kvmtest_skip(why):
    print(f"skipped: {why}")
    sys.exit(kvmtest.SKIPPED)


def make_tap(name, multi=False):
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    flags = 0x0002 | 0x1000 | 0x4000 | (0x0100 if multi else 0)
    try:
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    except PermissionError as e:
        kvmtest_skip(f"a tap cannot be made: {e.strerror}")
    fcntl.ioctl(tun, TUNSETPERSIST, 1)
    os.close(tun)


def set_interface(s, name, address):
    ifname = name.encode()
    for request, ip in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, "255.255.255.0")):
        fcntl.ioctl(s, request, struct.pack("16sHH4s8x", ifname, socket.AF_INET, 0, socket.inet_aton(ip)))
    fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH14x", ifname, 0x1 | 0x40))


def set_neighbour(s, name, ip, mac):
    fcntl.ioctl(s, SIOCSARP, struct.pack("HH4s8xH14sI16s16s", socket.AF_INET, 0, socket.inet_aton(ip), 1, mac, 4, b"",
                                         name.encode()))


def mix(x):
    m = (1 << 64) - 1
    x ^= x >> 31
    x = x * 0x9e3779b97f4a7c15 & m
    return x ^ x >> 29


class HostEnd(threading.Thread):
    """The worker's other end on a socket of the host: takes frames in order, says how far it is, checks some words."""

    def __init__(self, s):
        super().__init__(daemon=True)
        self.s, self.expected, self.bytes, self.last, self.wrong = s, 0, 0, False, None

    def run(self):
        self.s.settimeout(kvmtest.WAIT_S)
        try:
            while not self.last:
                frame, sender = self.s.recvfrom(65536)
                self.take(frame, sender)
        except OSError as e:
            self.wrong = self.wrong or f"{e} after {self.expected} frames"

    def take(self, frame, sender):
        magic, kind, flow, last, _, epoch, seq, words = HEAD.unpack_from(frame)
        if magic != MAGIC or kind != DATA:
            return
        if seq == self.expected and len(frame) == HEAD.size + 8 * words:
            got = struct.unpack_from(f"<{words}Q", frame, HEAD.size)
            for w in (0, words // 2, words - 1):
                if got[w] != mix(epoch + seq * 0x10001 + w & (1 << 64) - 1):
                    self.wrong = f"frame {seq}, word {w}"
            self.expected += 1
            self.bytes += 8 * words
            self.last = last
        if self.last or seq % 16 == 0 or seq != self.expected - 1:
            self.s.sendto(HEAD.pack(MAGIC, ACK, flow, 0, 0, epoch, self.expected, 0), sender)


def host_socket(name):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    set_interface(s, name, "10.77.0.2")
    s.bind(("10.77.0.2", PORT))
    return s


def to_host(b, peer, words, extra="", name="vp0"):
    """A worker sends to a socket of the host behind @peer; then the host sends to the worker."""
    guest = b.start(worker(b, "a", peer, "ip=1 peer=2 linger_ms=200 " + words, extra))
    mac = bytes.fromhex(guest.until(r"mac=(\S{17}) ")[1].replace(":", ""))
    return guest, mac


def t_tap(b):
    """Guest to host through the kernel's own IP and UDP, with sums left to it and by it."""
    own_network()
    make_tap("vp0")
    s = host_socket("vp0")
    guest, mac = to_host(b, "tap:vp0", "send=8M csum=1 guest_csum=1")
    set_neighbour(s, "vp0", "10.77.0.1", mac)
    end = HostEnd(s)
    end.start()
    end.join()
    expect(not end.wrong and end.bytes >= 8 << 20, f"{end.wrong}, {end.bytes} bytes\n{guest.said()}")
    done(guest)
    expect("net: sent bytes=8388608" in guest.out(), guest.said())


def t_tap_receive(b):
    """Host to guest, with and without the guest taking unfinished sums: what the kernel leaves open is finished."""
    own_network()
    make_tap("vp0")
    s = host_socket("vp0")
    for words, partial in (("guest_csum=1", True), ("guest_csum=0", False)):
        guest, mac = to_host(b, "/dev/vdevpeers/vp0", "recv=1 " + words)
        set_neighbour(s, "vp0", "10.77.0.1", mac)
        guest.until("net: link up")
        s.settimeout(0.2)
        acked, count, deadline = 0, 200, time.monotonic() + kvmtest.WAIT_S
        while acked < count:
            expect(time.monotonic() < deadline, f"{acked} of {count} frames\n{guest.said()}")
            for seq in range(acked, min(count, acked + 32)):
                content = struct.pack("<100Q", *(mix(7 + seq * 0x10001 + w) for w in range(100)))
                s.sendto(HEAD.pack(MAGIC, DATA, 0, seq == count - 1, 0, 7, seq, 100) + content, ("10.77.0.1", PORT))
            try:
                while True:
                    acked = max(acked, HEAD.unpack_from(s.recv(2048))[6])
            except TimeoutError:
                pass
        expect((received(guest)[4] > 0) == partial, guest.said())
        done(guest)
        expect("say peer tap:vp0" in guest.err(), guest.said())


def t_tap_pairs(b):
    """A tap with several queues, all used, and one that has not so many."""
    own_network()
    make_tap("vp0", multi=True)
    make_tap("vp1")
    s = host_socket("vp0")
    guest, mac = to_host(b, "tap:vp0", "send=2M pairs=2", "queues 2")
    set_neighbour(s, "vp0", "10.77.0.1", mac)
    ends = {}
    s.settimeout(kvmtest.WAIT_S)
    while not (len(ends) == 2 and all(e.last for e in ends.values())):
        frame, sender = s.recvfrom(65536)
        ends.setdefault(HEAD.unpack_from(frame)[2], HostEnd(s)).take(frame, sender)
    expect(not any(e.wrong for e in ends.values()), str([e.wrong for e in ends.values()]))
    done(guest)
    bad = b.start(worker(b, "a", "tap:vp1", "", "queues 2"))
    bad.wait(64)
    expect("queues here and multi_queue there must agree" in bad.err(), bad.said())


def t_bridge(b):
    """Two guests on a bridge of the host; their taps go with them."""
    own_network()
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        fcntl.ioctl(s, 0x89a0, b"br0\0")  # SIOCBRADDBR
    except OSError as e:
        kvmtest_skip(f"this kernel makes no bridge: {e.strerror}")
    set_interface(s, "br0", "10.77.0.9")
    receiver = b.start(worker(b, "b", "bridge:br0", "ip=2 peer=1"))
    receiver.until("net: link up")
    sender = b.start(worker(b, "a", "bridge:br0", "ip=1 peer=2 send=4M win=32"))
    received(receiver)
    done(sender, receiver)
    names = [n for _, n in socket.if_nameindex()]
    expect(not any(n.startswith("qvm") for n in names), f"left behind: {names}")


def t_no_tap(b):
    """What cannot be had is said in a sentence."""
    own_network()
    make_tap("vp0")
    keep = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(keep, TUNSETIFF, struct.pack("16sH22x", b"vp0", 0x0002 | 0x1000 | 0x4000))
    for peer, says in (("tap:vp0", "in use by another program"), ("tap:lo", "no tap"),
                       ("bridge:br7", "there is no bridge br7"), ("bridge:lo", "lo is no bridge")):
        r = b.start(worker(b, "a", peer, ""))
        r.wait(64)
        expect(says in r.err(), r.said())
    os.close(keep)


if __name__ == "__main__":
    kvmtest.main(globals())
