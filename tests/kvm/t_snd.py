#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""virtio-snd with a sound device of its own: the sounder plays into a WAV file and records from one; what is in the
file is looked at by frequency and level, what was recorded by what the guest says."""

import re

import kvmtest
import wav
from kvmtest import expect

MMIO = "loc mem:0xf0000000 intr pic:5"
MMIO_WORDS = "mmio=0xf0000000,5"
LEVEL = 16384
PEAK = LEVEL / 32768


def sounder(b, words, options, seconds=kvmtest.WAIT_S):
    r = b.start(b.machine("sounder", words, f"vdev virtio-snd {options}"))
    r.wait(0, seconds)
    expect("guest: done ok" in r.out(), r.said())
    expect("guest_fault" not in r.err(), r.said())
    return r


def number(r, line, key):
    found = re.search(rf"snd: {line} .*\b{key}=(\d+)", r.out())
    expect(found, f"the guest did not say {line} {key}\n{r.said()}")
    return int(found[1])


def near(got, want, part, what):
    expect(abs(got - want) <= part * want, f"{what}: {got:.5f}, expected {want:.5f}")


def is_tone(samples, rate, hz, level, what):
    near(wav.tone(samples, rate, hz), level, 0.01, f"{what}: level of {hz} Hz")
    for other in (hz / 2, hz * 1.5, hz * 3):
        expect(wav.tone(samples, rate, other) < level / 100, f"{what}: {other} Hz is there too")


def play_once(b, words, options, name, frames, rate, hz):
    """Half a second of a tone, with buffers for a busy machine."""
    ms = frames * 1000 // rate
    r = sounder(b, f"play=tone:{hz}:{LEVEL}:{ms} rate={rate} periods=16 {words}", f"hostdev file:{name} {options}")
    w = wav.Wav(b.path(name))
    expect(w.rate == rate and w.riff_bytes == w.file_bytes, f"a header of {w.rate} Hz, {w.riff_bytes} bytes")
    expect(number(r, "played", "frames") == frames and number(r, "played", "errors") == 0, r.said())
    # Completions are the clock: the guest cannot be through before its sound is.
    expect(number(r, "played", "us") >= ms * 1000, r.said())
    return w


def check_play(b, words, options="", name="out.wav", frames=24000, rate=48000, hz=997):
    """The file has the tone whole. A machine that could not run the guest for longer than its buffers hold, gets
    another chance: then there is a gap, and it is what should be there."""
    for _ in range(5):
        w = play_once(b, words, options, name, frames, rate, hz)
        if all(wav.ends(samples) < frames for samples in w.channels):
            break
    for c, samples in enumerate(w.channels):
        expect(wav.ends(samples) < frames, f"channel {c} is longer than it was: {wav.ends(samples) + 1} frames")
        is_tone(samples[:frames], rate, hz, PEAK, f"channel {c}")
        expect(abs(wav.peak(samples) - PEAK) < 0.001, f"a peak of {wav.peak(samples)}")


def t_snd_play(b):
    """On each transport and ring, with and without kicks."""
    for words, options in (("", ""), ("packed=1", ""), ("indirect=0 event_idx=0", ""), (MMIO_WORDS, MMIO),
                           ("polling=1", ""), ("packed=1 polling=1 " + MMIO_WORDS, MMIO)):
        check_play(b, words, options)


def t_snd_formats(b):
    for words in ("format=s24", "format=s32 channels=1", "format=f32", "format=s16 channels=8 period=240",
                  "format=f32 period=960"):
        check_play(b, words, "channels 1:8")
    check_play(b, "format=s16 period=441", rate=44100, frames=22050)
    check_play(b, "format=s24 period=80", rate=8000, frames=4000)


def t_snd_runs(b):
    """Played, released and played again: one file; another format is another file."""
    r = sounder(b, f"runs=3 play=impulse:0:{LEVEL}:200", "hostdev file:out.wav streams 1:0")
    expect(r.out().count("snd: played") == 3 and "errors=0" in r.out(), r.said())
    hits = [i for i, v in enumerate(wav.Wav(b.path("out.wav")).channels[0]) if v]
    expect(len(hits) == 3 and hits[0] == 0, f"impulses at {hits}")
    expect(min(b2 - a for a, b2 in zip(hits, hits[1:])) >= 9600, f"impulses at {hits}")


def t_snd_late(b):
    """A guest that sends nothing for a while: a gap of silence, one xrun, nothing lost."""
    r = sounder(b, f"play=tone:1000:{LEVEL}:600 late_ms=120 period=240 periods=4", "hostdev file:out.wav streams 1:0")
    expect(number(r, "played", "xruns") >= 1, r.said())
    samples = wav.Wav(b.path("out.wav")).channels[0]
    quiet, longest, sounding = 0, 0, 0
    for v in samples[:wav.ends(samples) + 1]:
        quiet = 0 if v else quiet + 1
        longest = max(longest, quiet)
        sounding += v != 0
    expect(longest >= 48 * (120 - 4 * 5), f"a gap of {longest} frames")
    # Of 1000 Hz at 48000, two samples a turn are 0.
    expect(sounding == 600 * 46, f"{sounding} frames that sound, of {600 * 46}")


def t_snd_record(b):
    wav.write_tone(b.path("in.wav"), 440, 0.25, 2.0)
    for words, options in (("", ""), ("packed=1 " + MMIO_WORDS, MMIO), ("polling=1 period=240", "")):
        r = sounder(b, "record_ms=500 " + words, f"hostdev null capture file:in.wav {options}")
        for channel in (0, 1):
            heard = re.search(rf"snd: heard channel={channel} peak=(\d+) rms=(\d+)", r.out())
            expect(heard, r.said())
            near(int(heard[1]), 0.25 * 32767, 0.01, "peak")
            near(int(heard[2]), 0.25 * 32767 / 2 ** 0.5, 0.02, "rms")
        expect(number(r, "recorded", "errors") == 0, r.said())


def t_snd_both(b):
    """One card plays and records at the same time; the recording is silence, as nothing was given."""
    r = sounder(b, f"play=tone:500:{LEVEL}:400 record_ms=400", "hostdev file:out.wav")
    expect("snd: heard channel=0 peak=0 rms=0" in r.out(), r.said())
    is_tone(wav.Wav(b.path("out.wav")).part(0, 0.3), 48000, 500, PEAK, "played")


def t_snd_limits(b):
    """Fragments, channels, rates and formats that the configuration does not allow."""
    options = "hostdev null streams 1:0 rates 48000 formats s16 channels 2 fragment 1024:4096"
    for words in ("period=200", "period=2000", "channels=1", "rate=44100", "format=f32"):
        r = b.start(b.machine("sounder", f"play=tone:440:{LEVEL}:100 {words}", f"vdev virtio-snd {options}"))
        r.wait(0)
        expect("guest: FAILED SET_PARAMS of stream 0: 0x8002" in r.out(), r.said())
    sounder(b, f"play=tone:440:{LEVEL}:100", options)


def t_snd_no_device(b):
    """What cannot be opened is said before the guest runs, with its place."""
    for what, why in (("alsa:parley-has-none", "cannot be opened for playback"),
                      ("file:/nowhere/out.wav", "cannot be made: No such file")):
        r = b.start(b.machine("sounder", "", f"vdev virtio-snd hostdev {what}"))
        r.wait(64)
        expect(re.search(rf"vm\d+\.qvmconf:\d+:\d+: error: hostdev {re.escape(what)} {why}", r.err()), r.said())
    b.write("in.wav", b"RIFF\0\0\0\0WAVEnothing")
    r = b.start(b.machine("sounder", "", "vdev virtio-snd hostdev null capture file:in.wav"))
    r.wait(64)
    expect("capture file:in.wav cannot be recorded from: no WAV file" in r.err(), r.said())


def t_snd_alsa(b):
    """Through libasound, which writes what it is given to a file."""
    b.write("asoundrc", f"pcm.tofile {{ type file slave.pcm {{ type null }} file {b.path('alsa.raw')} format raw }}\n")
    r = b.start(b.machine("sounder", f"play=tone:997:{LEVEL}:500 format=s16",
                          "vdev virtio-snd hostdev alsa:tofile streams 1:0 rates 48000 formats s16"),
                env={"ALSA_CONFIG_PATH": b.path("asoundrc"), "PATH": "/usr/bin"})
    r.wait(0)
    expect("guest: done ok" in r.out() and number(r, "played", "errors") == 0, r.said())
    with open(b.path("alsa.raw"), "rb") as f:
        raw = f.read()
    samples = [int.from_bytes(raw[i:i + 2], "little", signed=True) / 32768 for i in range(0, len(raw), 4)]
    expect(len(samples) == 24000, f"{len(samples)} frames")
    is_tone(samples, 48000, 997, PEAK, "alsa")


def t_snd_hostile(b):
    """A guest that breaks every rule it can, while the card plays into a file."""
    for words, options in (("", ""), (MMIO_WORDS, MMIO)):
        r = b.start(b.machine("hostile", "wait_ms=5 every=11 rounds=30 " + words,
                              f"vdev virtio-snd hostdev file:out.wav {options}"))
        r.wait(0, 300)
        expect("guest: done ok" in r.out() and "lost=0" in r.out(), r.said())


if __name__ == "__main__":
    kvmtest.main(globals())
