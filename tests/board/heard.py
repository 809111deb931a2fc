#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""heard.py FILE: what the board's sound card heard of sound.sh, by frequency and level: the music at its level, two of
three chimes at theirs with the music 12 dB lower under them, and the music back behind each.

The board's processors are emulated and may be late: then there is a gap, as on any machine that is too slow. So this
counts windows of 20 ms and says nothing of gaps; that there is none on a machine with processors is tests/kvm's."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "kvm"))
import wav  # noqa: E402

CHIME, CHIME_LEVEL, CHIME_WINDOWS = 1000, 0.5, 100
MUSIC, MUSIC_LEVEL = 2000, 0.25
DUCKED = MUSIC_LEVEL * 10 ** (-12 / 20)
CHIMES_HEARD = 2  # the one in the middle was played when there was no card
APART = 120  # windows: the music is alone for longer than that in between
PART = 0.7  # of what is played, at the least


def fail(text):
    print(f"heard: {text}")
    sys.exit(1)


def near(got, want, part=0.06):
    return abs(got - want) <= part * want


def levels(w, hz):
    n = w.rate // 50
    return [wav.tone(w.channels[0][i:i + n], w.rate, hz) for i in range(0, w.n - n + 1, n)]


def groups(indices, apart):
    """Runs of numbers with less than @apart between them."""
    found = []
    for i in indices:
        if found and i - found[-1][-1] < apart:
            found[-1].append(i)
        else:
            found.append([i])
    return found


def main():
    w = wav.Wav(sys.argv[1])
    if (w.rate, w.n_channels) != (48000, 2):
        fail(f"{w.rate} Hz, {w.n_channels} channels")
    chime, music = levels(w, CHIME), levels(w, MUSIC)
    chimes = groups([i for i, v in enumerate(chime) if near(v, CHIME_LEVEL)], APART)
    print("heard: chimes in windows", ", ".join(f"{g[0]}-{g[-1]} ({len(g)})" for g in chimes))
    if len(chimes) != CHIMES_HEARD:
        fail(f"{len(chimes)} chimes at {CHIME_LEVEL}, expected {CHIMES_HEARD}")
    for g in chimes:
        if not CHIME_WINDOWS * PART <= len(g) <= CHIME_WINDOWS:
            fail(f"a chime of {len(g)} windows, expected {CHIME_WINDOWS}")
        under = sum(near(music[i], DUCKED) for i in g)
        if under < PART * len(g):
            fail(f"the music is at {DUCKED:.3f} in {under} of the {len(g)} windows of a chime")
        if any(music[i] > MUSIC_LEVEL * 0.7 for i in g[1:-1]):
            fail("the music is loud under a chime")
    alone = [i for i, v in enumerate(music) if near(v, MUSIC_LEVEL) and chime[i] < 0.01]
    for first, last in zip([0] + [g[-1] for g in chimes], [g[0] for g in chimes] + [len(music)]):
        n = sum(first <= i <= last for i in alone)
        print(f"heard: music alone in {n} windows of {first}-{last}")
        if n < CHIME_WINDOWS * PART:
            fail(f"the music is at {MUSIC_LEVEL} in {n} windows between {first} and {last}, expected 2 s of it")


if __name__ == "__main__":
    main()
