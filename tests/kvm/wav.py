# SPDX-License-Identifier: Apache-2.0
"""What a WAV file sounds like, with Python's own library alone: its samples, how much of a frequency is in a stretch
of them, where something begins."""

import math
import struct


class Wav:
    """A file of 16, 24 or 32 bits or float; samples are floats, one list a channel, 1.0 the loudest."""

    def __init__(self, path):
        with open(path, "rb") as f:
            data = f.read()
        if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
            raise ValueError(f"{path} is no WAV file")
        at, self.rate, body = 12, 0, b""
        while at + 8 <= len(data):
            name, length = data[at:at + 4], struct.unpack_from("<I", data, at + 4)[0]
            if name == b"fmt ":
                tag, self.n_channels, self.rate, _, block, self.bits = struct.unpack_from("<HHIIHH", data, at + 8)
            elif name == b"data":
                body = data[at + 8:at + 8 + length]
            at += 8 + length + (length & 1)
        self.tag, self.riff_bytes, self.file_bytes = tag, struct.unpack_from("<I", data, 4)[0] + 8, len(data)
        self.n = len(body) // block
        samples = self._samples(body[:self.n * block])
        self.channels = [samples[c::self.n_channels] for c in range(self.n_channels)]

    def _samples(self, body):
        if self.tag == 3:
            return list(struct.unpack(f"<{len(body) // 4}f", body))
        if self.bits == 16:
            return [v / 32768 for v in struct.unpack(f"<{len(body) // 2}h", body)]
        if self.bits == 24:
            return [int.from_bytes(body[i:i + 3], "little", signed=True) / 8388608 for i in range(0, len(body), 3)]
        return [v / 2147483648 for v in struct.unpack(f"<{len(body) // 4}i", body)]

    def seconds(self):
        return self.n / self.rate

    def part(self, begin_s, end_s, channel=0):
        return self.channels[channel][int(begin_s * self.rate):int(end_s * self.rate)]


def tone(samples, rate, hz):
    """The peak of the sine of @hz in @samples (Goertzel over a whole number of its turns, or nearly)."""
    turns = int(len(samples) * hz / rate)
    n = int(round(turns * rate / hz))
    w = 2 * math.pi * hz / rate
    c, s1, s2 = 2 * math.cos(w), 0.0, 0.0
    for v in samples[:n]:
        s1, s2 = v + c * s1 - s2, s1
    return 2 * math.sqrt(max(0.0, s1 * s1 + s2 * s2 - c * s1 * s2)) / max(n, 1)


def peak(samples):
    return max((abs(v) for v in samples), default=0.0)


def begins(samples, level=0.001):
    """The first sample that is louder, or None."""
    return next((i for i, v in enumerate(samples) if abs(v) > level), None)


def ends(samples, level=0.001):
    """The last one."""
    return next((len(samples) - 1 - i for i, v in enumerate(reversed(samples)) if abs(v) > level), None)


def steps(samples):
    """The largest change from one sample to the next: a click is larger than the sound's own."""
    return max((abs(b - a) for a, b in zip(samples, samples[1:])), default=0.0)


def write_tone(path, hz, level, seconds, rate=48000, channels=2):
    """A file of 16 bits."""
    frames = b"".join(struct.pack("<h", round(32767 * level * math.sin(2 * math.pi * hz * i / rate))) * channels
                      for i in range(int(seconds * rate)))
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(frames), b"WAVE", b"fmt ", 16, 1, channels, rate,
                       rate * channels * 2, channels * 2, 16, b"data", len(frames))
    with open(path, "wb") as f:
        f.write(head + frames)
