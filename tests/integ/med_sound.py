# SPDX-License-Identifier: Apache-2.0
"""Sound through the mediator, by what stands in the WAV file: a chime over music, a mediator that is killed while both
play, policy while it plays, hostile clients beside an honest one."""

import array
import json
import math
import os
import random
import struct
import subprocess
import time
import wave

import med
from med import Folder, Mediator, check

RATE, PERIOD = 48000, 240
POLICY = """
[sound speaker]
file = heard.wav
[voice cluster/chime]
device = speaker
class = safety
role = chime
[voice ivi/music]
device = speaker
class = best-effort
role = media
when-higher = duck
duck = 20
attack = 5ms
hold = 0ms
release = 100ms
"""
MUSIC, CHIME = (440, 0.5), (1000, 0.25)


def heard(folder):
    """The left channel, -1 … 1."""
    with wave.open(os.path.join(folder, "heard.wav")) as w:
        check((w.getnchannels(), w.getsampwidth(), w.getframerate()) == (2, 2, RATE), "the form of the file")
        samples = array.array("h", w.readframes(w.getnframes()))
    return [v / 32768 for v in samples[0::2]]


def level(x, hz):
    """Amplitude of a tone in @x."""
    step = 2 * math.pi * hz / RATE
    re = sum(v * math.cos(step * i) for i, v in enumerate(x))
    im = sum(v * math.sin(step * i) for i, v in enumerate(x))
    return 2 * math.hypot(re, im) / len(x)


def levels(x, hz, window=2400):
    return [level(x[i:i + window], hz) for i in range(0, len(x) - window, window)]


class Client:
    def __init__(self, m, voice, tone, ms):
        self.proc = subprocess.Popen([os.environ["SNDCLIENT"], m.socket(voice), str(tone[0]), str(tone[1]), str(ms)],
                                     stdout=subprocess.PIPE, text=True)
        check(self.proc.stdout.readline() == "playing\n", f"{voice} plays")

    def end(self):
        out = self.proc.communicate(timeout=40)[0]
        check(self.proc.returncode == 0, f"the client ended with {self.proc.returncode}: {out}")
        return json.loads(out)


def largest_step(x):
    return max(abs(b - a) for a, b in zip(x, x[1:]))


def chime_over_music():
    with Folder() as folder:
        m = Mediator(folder, POLICY)
        music = Client(m, "ivi/music", MUSIC, 3000)
        time.sleep(0.4)
        chime = Client(m, "cluster/chime", CHIME, 300)
        chime.end()
        check(music.end()["done"] == 600, "every message came back")
        m.stop()
        x = heard(folder)
        chimes, musics = levels(x, CHIME[0]), levels(x, MUSIC[0])
        during = [n for n, v in enumerate(chimes) if v > 0.249]
        check(len(during) >= 4, f"the chime is heard at its level: {chimes}")
        ducked = [musics[n] for n in during]
        check(all(abs(v - 0.05) < 0.004 for v in ducked), f"the music is 20 dB down: {ducked}")
        before, after = musics[during[0] - 2], musics[during[-1] + 5]
        check(abs(before - 0.5) < 0.01 and abs(after - 0.5) < 0.01, f"the music is at full level: {before}, {after}")
        # Nothing steps further than both tones at their steepest.
        steep = sum(2 * math.pi * hz / RATE * amplitude for hz, amplitude in (MUSIC, CHIME))
        check(largest_step(x) < steep * 1.1, f"no click: {largest_step(x)} of {steep}")


def killed_while_both_play():
    with Folder() as folder:
        m = Mediator(folder, POLICY)
        clients = [Client(m, "ivi/music", MUSIC, 4000), Client(m, "cluster/chime", CHIME, 4000)]
        for _ in range(3):
            time.sleep(0.3)
            m.kill()
            m.start()
        for c in clients:
            end = c.end()
            check(end["reconnects"] == 3 and end["errors"] == 0 and end["done"] == 800, f"nothing was seen: {end}")
        m.stop()
        check(max(levels(heard(folder), CHIME[0])[-8:]) > 0.2, "the chime goes on after the last kill")


def no_device_no_start():
    with Folder() as folder:
        m = Mediator(folder, POLICY.replace("heard.wav", "no/such/folder/x.wav"), start=False)
        r = subprocess.run([os.environ["MEDIATOR"], "--run-dir", m.run, m.policy], capture_output=True, text=True)
        check(r.returncode == 64 and "test.policy:2: error: sound 'speaker'" in r.stderr, f"{r.returncode}: {r.stderr}")


def not_heard_is_an_alarm():
    with Folder() as folder:
        m = Mediator(folder, POLICY.replace("heard.wav", "/dev/full"))
        chime = Client(m, "cluster/chime", CHIME, 600)
        m.told("safety_not_heard", "speaker")
        chime.end()
        m.stop()


class Hostile(med.Client):
    """Writes what it likes into its control queue."""

    def __init__(self, path):
        super().__init__(path)
        self.ask(med.GET_FEATURES)
        self.send(med.SET_PROTOCOL_FEATURES, struct.pack("<Q", 1 << 9))
        self.send(med.SET_FEATURES, struct.pack("<Q", med.F_VERSION_1 | med.F_PROTOCOL))
        self.memory()
        self.queue()

    def put(self, request, resp_bytes=256, head=0):
        """One request in descriptors head and head + 1."""
        at = self.DATA + 1024 * head
        self.mem[at:at + len(request)] = request
        struct.pack_into("<QIHHQIHH", self.mem, 16 * head, at, max(len(request), 1), med.NEXT, head + 1,
                         at + 512, resp_bytes, med.WRITE, 0)
        struct.pack_into("<H", self.mem, self.AVAIL + 4 + 2 * (self.avail % self.NUM), head)
        self.avail = (self.avail + 1) % 65536
        self.publish(self.avail)
        os.eventfd_write(self.kick, 1)


def hostile_beside_an_honest_one():
    rng = random.Random(5)
    with Folder() as folder:
        m = Mediator(folder, POLICY)
        chime = Client(m, "cluster/chime", CHIME, 1500)
        with Hostile(m.socket("ivi/music")) as h:
            for n in range(300):
                code = rng.choice([1, 2, 0x100, 0x101, 0x102, 0x103, 0x104, 0x105, 0x200, 0xffffffff])
                request = struct.pack("<I", code) + rng.randbytes(rng.choice([0, 1, 4, 12, 20, 60]))
                h.put(request, rng.choice([1, 4, 16, 256]), 2 * (n % 16))
        m.told("client_gone", "ivi/music")
        with Hostile(m.socket("ivi/music")) as h:
            h.publish(40000)  # far more than there is room for
            os.eventfd_write(h.kick, 1)
            check(h.ended(), "a client that lost its ring is dropped")
        m.told("client_dropped", "ivi/music")
        end = chime.end()
        check(end["errors"] == 0 and end["done"] == 300, f"the chime played on: {end}")
        m.stop()
        check(largest_step(heard(folder)) < 2 * math.pi * CHIME[0] / RATE * CHIME[1] * 1.1, "no click")


if __name__ == "__main__":
    chime_over_music()
    killed_while_both_play()
    hostile_beside_an_honest_one()
    no_device_no_start()
    not_heard_is_an_alarm()
    print("ok")
