#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a mediator plays on and records from, as guests meet it: PCMs of libasound, which its plugins make of files here
(cards are the board's), and what is recorded, by whom."""

import math
import os
import re
import struct

import kvmtest
import wav
from kvmtest import expect
from t_snd import LEVEL, MMIO, MMIO_WORDS, PEAK, near, number
from t_sndmed import end, guest, levels, played

RATE = 48000
VOICE = """
[voice {name}/sound]
device = speaker
role = media
when-higher = mix
{more}
"""


def mediator(b, device, voices, env=None):
    """@voices: names and further keys. Returns when clients can connect."""
    b.write("sound.policy", f"[sound speaker]\nperiod = 5ms\nrate = {RATE}\n{device}\n" +
            "".join(VOICE.format(name=name, more=more) for name, more in voices))
    r = kvmtest.Run(b, [b.mediator, "--run-dir", b.run_dir, b.path("sound.policy")], env=env and {**os.environ, **env})
    r.until("ev=ready", where="err")
    return r


def write_steps(path, left, right, seconds):
    """Two channels that differ, so that nobody can take one for the other: 440 Hz each, of two levels."""
    frames = b"".join(struct.pack("<hh", *(round(32767 * level * math.sin(2 * math.pi * 440 * i / RATE))
                                           for level in (left, right))) for i in range(int(seconds * RATE)))
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(frames), b"WAVE", b"fmt ", 16, 1, 2, RATE, RATE * 4, 4,
                       16, b"data", len(frames))
    with open(path, "wb") as f:
        f.write(head + frames)
    return frames


def recorded(r, *level):
    """The guest heard each channel at its level, and got all that it asked for."""
    r.wait(0)
    expect("guest: done ok" in r.out() and number(r, "recorded", "errors") == 0, r.said())
    for channel, want in enumerate(level):
        found = re.search(rf"snd: heard channel={channel} peak=(\d+) rms=(\d+)", r.out())
        expect(found, r.said())
        near(int(found[1]), want * 32767, 0.01, f"peak of channel {channel}")
        near(int(found[2]), want * 32767 / 2 ** 0.5, 0.05, f"rms of channel {channel}")


def t_snddev_record(b):
    """What a device records is what the guests hear that may: whole, each channel its own, on each transport, while
    another one plays; who may not has no stream to record with."""
    write_steps(b.path("in.wav"), 0.5, 0.125, 60)
    m = mediator(b, f"file = {b.path('out.wav')}\nfile-capture = {b.path('in.wav')}",
                 (("one", "capture = 1"), ("two", "capture = 1"), ("three", "")))
    other = guest(b, "three", f"play=tone:1000:{LEVEL}:60000 periods=16")
    other.until("snd: started")
    for r in [guest(b, "one", "record_ms=500 periods=16"),
              guest(b, "two", f"record_ms=500 periods=16 {MMIO_WORDS}", MMIO)]:
        recorded(r, 0.5, 0.125)
    end(other)
    # Its only stream plays, so that stream 0 is none to record with and stream 1 is not there.
    for stream in (0, 1):
        r = guest(b, "three", f"record_ms=100 record={stream}")
        r.wait(0)
        expect(f"stream {stream} is not one to record" in r.out() and "streams=1 " in r.out(), r.said())
    end(m)


def asoundrc(b):
    """PCMs that write what they are given to a file, and give what stands in one, S16."""
    b.write("asoundrc", f"""
        pcm.tofile {{ type file slave.pcm {{ type null }} file "{b.path('heard.raw')}" format raw }}
        pcm.fromfile {{ type file slave.pcm {{ type null }} file /dev/null infile "{b.path('in.raw')}" format raw }}
        pcm.out {{ type plug slave {{ pcm tofile format S16_LE rate {RATE} channels 2 }} }}
        pcm.in {{ type plug slave {{ pcm fromfile format S16_LE rate {RATE} channels 2 }} }}
    """)
    return {"ALSA_CONFIG_PATH": b.path("asoundrc")}


def heard(b):
    with open(b.path("heard.raw"), "rb") as f:
        raw = f.read()
    return [v / 32768 for v in struct.unpack(f"<{len(raw) // 2}h", raw[:len(raw) // 4 * 4])[0::2]]


def sounding(b, hz):
    """Levels in windows of 20 ms, those that sound."""
    return [v for v in levels(heard(b), RATE, hz) if v > PEAK / 2]


def t_snddev_alsa(b):
    """Through libasound, in both directions, with plugins that convert: the level is that which was sent, and neither
    is quicker than real time."""
    frames = write_steps(b.path("in.wav"), 0.25, 0.0625, 60)
    b.write("in.raw", frames)
    m = mediator(b, "alsa = out\nalsa-capture = in", (("one", ""), ("two", "capture = 1")), env=asoundrc(b))
    player = guest(b, "one", f"play=tone:1000:{LEVEL}:1000 periods=16")
    recorded(guest(b, "two", "record_ms=500 periods=16"), 0.25, 0.0625)
    played(player)
    expect(number(player, "played", "us") >= 980 * 1000, player.said())
    end(m)
    loud = sounding(b, 1000)
    expect(len(loud) >= 45, f"the tone sounds in {len(loud)} windows of 20 ms")
    near(sorted(loud)[len(loud) // 2], PEAK, 0.02, "its level")


if __name__ == "__main__":
    kvmtest.main(globals())
