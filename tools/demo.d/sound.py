# SPDX-License-Identifier: Apache-2.0
"""Part two of the demo: what was heard. Which guest is how loud when, by the frequencies that only it plays; how far
the music went down under the chime; a picture of it."""

import array
import math
import os
import sys

RATE = 48000
POLICY = """
# What both play on; here a file, which holds what a loudspeaker would have had.
[sound speaker]
file = {wav}
rate = {rate}
channels = 2
period = 5ms

[voice cluster/sound]
device = speaker
class = safety
role = chime

[voice ivi/sound]
device = speaker
class = best-effort
role = media
when-higher = duck
duck = {duck}
attack = 5ms
hold = 100ms
release = 300ms
"""
VDEV = """\
vdev virtio-snd
    hostdev mediator:sound
    name sound
"""

# Multiples of 40 Hz: in a window of 25 ms each has a whole number of waves, and none leaks into another.
WINDOW = RATE // 40
MUSIC_HZ, MUSIC_LEVEL, NOTE_MS, BARS = (240, 320, 400, 480, 600), 9000, 200, 6
CHIME_HZ, CHIME_LEVEL, STRIKE_MS, STRIKES = 1760, 12000, 400, 3
DUCK_DB = 20
SILENT_DB = -72


def script(strokes):
    return " ".join(f"play={kind}:{hz}:{level}:{ms}" for kind, hz, level, ms in strokes)


def music():
    return script([("tone", hz, MUSIC_LEVEL, NOTE_MS) for hz in MUSIC_HZ] * BARS)


def music_seconds():
    return len(MUSIC_HZ) * BARS * NOTE_MS / 1000


def chime():
    return script([("chime", CHIME_HZ, CHIME_LEVEL, STRIKE_MS)] * STRIKES)


def chime_seconds():
    return STRIKES * STRIKE_MS / 1000


def policy(wav):
    return POLICY.format(wav=wav, rate=RATE, duck=DUCK_DB)


def read_left(path, from_frame=0):
    """The left channel from frame @from_frame on, as far as the file is written; 1.0 is the loudest."""
    samples = array.array("h")
    with open(path, "rb") as f:
        f.seek(44 + 4 * from_frame)
        body = f.read()
    samples.frombytes(body[:len(body) // 4 * 4])
    if sys.byteorder == "big":
        samples.byteswap()
    return samples[0::2]


def frames_of(path):
    return max(0, os.path.getsize(path) - 44) // 4


def begins(samples):
    return next((i for i, v in enumerate(samples) if v), None)


def amplitude(samples, hz):
    """Goertzel: the peak of that sine in the window."""
    c, s1, s2 = 2 * math.cos(2 * math.pi * hz / RATE), 0.0, 0.0
    for v in samples:
        s1, s2 = v + c * s1 - s2, s1
    return 2 * math.sqrt(max(0.0, s1 * s1 + s2 * s2 - c * s1 * s2)) / len(samples) / 32768


def decibels(level):
    return max(SILENT_DB, 20 * math.log10(level)) if level > 0 else SILENT_DB


class Heard:
    """Levels of both guests, in windows that begin where the music does."""

    def __init__(self, samples):
        self.start = begins(samples)
        if self.start is None:
            raise ValueError("nothing was heard")
        self.samples = samples[self.start:]
        windows = [self.samples[i:i + WINDOW] for i in range(0, len(self.samples) - WINDOW + 1, WINDOW)]
        self.music = [decibels(math.sqrt(sum(amplitude(w, hz) ** 2 for hz in MUSIC_HZ))) for w in windows]
        self.chime = [decibels(amplitude(w, CHIME_HZ)) for w in windows]
        full = decibels(CHIME_LEVEL / 32768)
        loud = [i for i, v in enumerate(self.chime) if v > full - 20]
        if not loud:
            raise ValueError("no chime was heard")
        self.first, self.last = loud[0], loud[-1]

    def middle(self, values):
        """Of none at all: silence. A machine that stood still for seconds leaves no time between two moments."""
        return sorted(values)[len(values) // 2] if values else SILENT_DB

    def before(self):
        return self.middle(self.music[2:self.first - 1])

    def ducked(self):
        return self.middle(self.music[self.first + 1:self.last])

    def after(self):
        """The music's level when its gain has come back, before it ends."""
        end = int(music_seconds() * RATE / WINDOW)
        return self.middle(self.music[self.last + 20:end - 2])

    def seconds(self, window):
        return window * WINDOW / RATE

    def save(self, path):
        """A file of the stretch that matters."""
        import wave     # pylint: disable=import-outside-toplevel
        with wave.open(path, "wb") as w:
            w.setnchannels(1)
            w.setsampwidth(2)
            w.setframerate(RATE)
            little = self.samples[:]
            if sys.byteorder == "big":
                little.byteswap()
            w.writeframes(little.tobytes())


# ---- the picture ----

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1000, 420, 70, 20, 50, 50
INK, GRID, MUSIC_INK, CHIME_INK, CHIME_BAND = "#222222", "#dddddd", "#1f5fbf", "#c0392b", "#fbe9e7"


class Plot:
    """Time to the right, decibels of full scale upward."""

    def __init__(self, seconds):
        # Of a Debian package that only this needs.
        from PIL import Image, ImageDraw  # pylint: disable=import-outside-toplevel
        self.seconds = seconds
        self.image = Image.new("RGB", (WIDTH, HEIGHT), "white")
        self.draw = ImageDraw.Draw(self.image)

    def x(self, t):
        return LEFT + (WIDTH - LEFT - RIGHT) * t / self.seconds

    def y(self, db):
        return TOP + (HEIGHT - TOP - BOTTOM) * db / SILENT_DB

    def axes(self):
        for db in range(0, SILENT_DB - 1, -12):
            self.draw.line([(LEFT, self.y(db)), (WIDTH - RIGHT, self.y(db))], GRID)
            self.draw.text((LEFT - 48, self.y(db) - 6), f"{db:4d} dB", INK)
        for t in range(int(self.seconds) + 1):
            self.draw.line([(self.x(t), TOP), (self.x(t), HEIGHT - BOTTOM)], GRID)
            self.draw.text((self.x(t) - 6, HEIGHT - BOTTOM + 8), f"{t} s", INK)

    def band(self, begin, end, text):
        self.draw.rectangle([(self.x(begin), TOP), (self.x(end), HEIGHT - BOTTOM)], CHIME_BAND)
        self.draw.text((self.x(begin) + 4, TOP + 4), text, CHIME_INK)

    def curve(self, values, ink, name, place):
        points = [(self.x((i + 0.5) * WINDOW / RATE), self.y(v)) for i, v in enumerate(values)]
        self.draw.line(points, ink, 2)
        self.draw.rectangle([(LEFT + 260 * place, 22), (LEFT + 260 * place + 18, 28)], ink)
        self.draw.text((LEFT + 260 * place + 24, 18), name, ink)


def draw(heard, path):
    """ImportError: there is nothing to draw with."""
    plot = Plot(len(heard.music) * WINDOW / RATE)
    plot.band(heard.seconds(heard.first), heard.seconds(heard.last + 1), "chime")
    plot.axes()
    plot.curve(heard.music, MUSIC_INK, "ivi: music (240 to 600 Hz)", 0)
    plot.curve(heard.chime, CHIME_INK, f"cluster: chime ({CHIME_HZ} Hz)", 1)
    plot.draw.text((LEFT, HEIGHT - 22), "What was heard of each guest, in windows of 25 ms; 0 dB is full scale.", INK)
    plot.image.save(path)
