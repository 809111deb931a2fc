#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Guests with a virtio-snd each on one mediator, which plays into a WAV file: what was heard of each, how far music
goes down under a chime and that it comes back, twelve at once, and a mediator that is killed while they play."""

import os
import re
import signal
import time

import kvmtest
import wav
from kvmtest import expect
from t_snd import LEVEL, MMIO, MMIO_WORDS, PEAK, is_tone, near, number

SOUND = """
[sound speaker]
file = {folder}/heard.wav
rate = 48000
channels = 2
period = 5ms
"""
VOICE = """
[voice {name}/sound]
device = speaker
class = {klass}
role = {role}
when-higher = {rule}
duck = 12
attack = 5ms
release = 100ms
"""
DUCKED = 10 ** (-12 / 20)


def mediator(b, *voices):
    b.write("sound.policy", SOUND.format(folder=b.folder) +
            "".join(VOICE.format(name=name, klass=klass, role=role, rule=rule) for name, klass, role, rule in voices))
    return start_mediator(b, voices[-1][0])


def start_mediator(b, last):
    path = os.path.join(b.run_dir, f"mediator/{last}.sound.sock")
    r = kvmtest.Run(b, [b.mediator, "--run-dir", b.run_dir, b.path("sound.policy")])
    deadline = time.monotonic() + kvmtest.WAIT_S
    while not os.path.exists(path):
        expect(time.monotonic() < deadline and r.process.poll() is None, f"no socket {path}\n{r.said()}")
        time.sleep(0.01)
    return r


def guest(b, name, words, options="", ram="ram 64m"):
    return b.start(b.machine("sounder", words, f"vdev virtio-snd hostdev mediator:sound {options}", name=name, ram=ram))


def played(r):
    """A guest's end: everything was played, nothing failed."""
    r.wait(0)
    expect("guest: done ok" in r.out() and number(r, "played", "errors") == 0, r.said())


def end(r):
    r.signal(signal.SIGTERM)
    r.wait(0)


def heard(b, m):
    end(m)
    return wav.Wav(b.path("heard.wav"))


def levels(samples, rate, hz, window_s=0.02):
    """The level of @hz in each window."""
    n = int(rate * window_s)
    return [wav.tone(samples[i:i + n], rate, hz) for i in range(0, len(samples) - n + 1, n)]


def t_sndmed_tone(b):
    """On each transport; the tone is in the file at the level that it was sent with."""
    m = mediator(b, ("vm", "normal", "media", "mix"))
    r = guest(b, "vm", f"play=tone:1000:{LEVEL}:500 periods=16")
    played(r)
    expect(number(r, "played", "us") >= 490 * 1000, r.said())
    played(guest(b, "vm", f"play=tone:2000:{LEVEL}:500 periods=16 " + MMIO_WORDS, MMIO))
    w = heard(b, m)
    expect(w.rate == 48000 and w.n_channels == 2, "another format than the policy says")
    for hz, other in ((1000, 2000), (2000, 1000)):
        sounding = [v for v in levels(w.channels[0], w.rate, hz) if v > PEAK / 2]
        expect(len(sounding) >= 22, f"{hz} Hz sounds in {len(sounding)} windows of 20 ms")
        near(max(sounding), PEAK, 0.02, f"level of {hz} Hz")
    is_tone(w.part(wav.begins(w.channels[0]) / w.rate + 0.05, wav.begins(w.channels[0]) / w.rate + 0.25), w.rate, 1000,
            PEAK, "heard")


def t_sndmed_chime(b):
    """A chime over music: heard whole and at its level; the music goes down with it, by as much as the policy says,
    and comes back; neither clicks."""
    m = mediator(b, ("chime", "safety", "warning", "mix"), ("music", "best-effort", "media", "duck"))
    music = guest(b, "music", f"play=tone:400:{LEVEL // 2}:60000 periods=16")
    music.until("snd: started")
    time.sleep(0.5)  # so that there is something before it
    chime = guest(b, "chime", f"play=tone:2000:{LEVEL}:500 periods=16 period=240")
    played(chime)
    time.sleep(1.0)  # and something behind it
    end(music)
    w = heard(b, m)
    low, high = levels(w.channels[0], w.rate, 400), levels(w.channels[0], w.rate, 2000)
    on = [i for i, v in enumerate(high) if v > PEAK * 0.9]
    expect(22 <= len(on) <= 26, f"the chime sounds in {len(on)} windows of 20 ms")
    near(max(high), PEAK, 0.02, "level of the chime")
    first, last = on[0], on[-1]
    music_level = PEAK / 2
    before = [v for v in low[:first - 1] if v > music_level / 2]
    near(before[-1], music_level, 0.02, "the music before")
    for i in range(first + 1, last):
        near(low[i], music_level * DUCKED, 0.05, f"the music under the chime, window {i - first}")
    back = [v for v in low[last + 1:] if v > music_level * 0.97]
    expect(back, "the music did not come back")
    # The largest step that the two make together; a click is far above it.
    own = 2 * 3.1416 / w.rate * (2000 * PEAK + 400 * music_level)
    sounding = w.channels[0][wav.begins(w.channels[0]):wav.ends(w.channels[0])]
    expect(wav.steps(sounding) < own * 1.3, f"a step of {wav.steps(sounding):.4f}, at most {own:.4f}")


def t_sndmed_twelve(b):
    """Twelve guests at once, each with a tone of its own."""
    names = [f"vm{i}" for i in range(12)]
    m = mediator(b, *((n, "normal", "media", "mix") for n in names))
    level = LEVEL // 8
    guests = [guest(b, n, f"play=tone:{500 + 300 * i}:{level}:4000 periods=32", ram="ram 32m")
              for i, n in enumerate(names)]
    for r in guests:
        played(r)
    w = heard(b, m)
    for i, n in enumerate(names):
        sounding = [v for v in levels(w.channels[0], w.rate, 500 + 300 * i, 0.1) if v > level / 32768 * 0.9]
        expect(len(sounding) >= 30, f"{n} sounds in {len(sounding)} windows of 0.1 s")
        near(sorted(sounding)[len(sounding) // 2], level / 32768, 0.05, f"level of {n}")


def t_sndmed_killed(b):
    """kill -9 while two guests play: they go on by themselves with the next mediator, without an error."""
    voices = (("one", "safety", "warning", "mix"), ("two", "best-effort", "media", "mix"))
    m = mediator(b, *voices)
    guests = [guest(b, name, f"play=tone:{hz}:{LEVEL // 2}:5000 periods=8")
              for name, hz in (("one", 1000), ("two", 1700))]
    for r in guests:
        r.until("snd: started")
    time.sleep(0.5)
    m.signal(signal.SIGKILL)
    m.process.wait()
    os.rename(b.path("heard.wav"), b.path("heard-before.wav"))
    m = start_mediator(b, "two")
    for r in guests:
        played(r)
        expect(number(r, "played", "frames") == 240000, r.said())
        expect("needs_reset" not in r.out() and re.search("ev=backend_back", r.err()), r.said())
    w = heard(b, m)
    for hz in (1000, 1700):
        sounding = [v for v in levels(w.channels[0], w.rate, hz, 0.05) if v > PEAK / 2 * 0.9]
        expect(len(sounding) >= 20, f"{hz} Hz sounds in {len(sounding)} windows of 50 ms of the new mediator")


if __name__ == "__main__":
    kvmtest.main(globals())
