"""The audio of a drive: the engine, the tires, the rain, and the passing cars."""

import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segdeploy.datasets.synthetic.world import ONCOMING, ONCOMING_COUNT, SIGHT, SPEED, World

RATE = 48000
"""Samples per second."""
VELOCITY = 343.0
"""Speed of sound, in meters per second."""
PEAK = 0.7
"""Magnitude of the loudest sample, where 1 is full scale."""

LONGEST = 60.0
"""Seconds of audio that are computed at once; the audio of a longer drive repeats them."""

Floats = npt.NDArray[np.float64]


def drive_audio(world: World, seconds: float) -> Floats:
    """Return the audio of a drive.

    Args:
        world: The street.
        seconds: Duration; more than 0.

    Returns:
        (samples, 2) left and right in [-1, 1], at `RATE`.
    """
    time = np.arange(max(round(seconds * RATE), 1)) / RATE
    random = np.random.default_rng([*world.seed, 17])
    own = 0.5 * _engine(time, random) + 0.35 * _noise(len(time), random, low=60, high=700)
    if world.light.rain:
        own = own + 0.5 * _noise(len(time), random, low=2500, high=12000)
    both = np.stack([own, own], axis=1)
    ahead = world.traveled(ONCOMING, count=ONCOMING_COUNT, period=SIGHT, speed=-SPEED, time=time)
    for distances in ahead:
        both += _passing(
            time,
            np.mod(distances + SIGHT / 2, SIGHT) - SIGHT / 2,
            -world.lane - world.course,
            random,
        )
    fade = np.minimum(1.0, np.minimum(time, time[::-1]) / 0.15)[:, None]
    return np.asarray(both * fade * PEAK / max(float(np.abs(both).max()), 1e-9))


def _engine(time: Floats, random: np.random.Generator) -> Floats:
    """Return the sound of a four-stroke engine at a slowly varying speed."""
    turns = 34 + 2.5 * np.sin(0.6 * time + random.uniform(0, 6)) + 0.8 * np.sin(2.3 * time)
    phase = 2 * np.pi * np.cumsum(turns) / RATE
    strengths = (1.0, 0.75, 0.3, 0.42, 0.12, 0.16, 0.05, 0.07)
    hum = sum(
        strength * np.sin((number + 1) * phase + random.uniform(0, 6))
        for number, strength in enumerate(strengths)
    )
    return np.asarray(hum) / 2.5


def _noise(count: int, random: np.random.Generator, *, low: float, high: float) -> Floats:
    """Return noise of deviation 1 between two frequencies in hertz, falling with frequency."""
    spectrum = np.fft.rfft(random.standard_normal(count))
    frequencies = np.fft.rfftfreq(count, 1 / RATE)
    weight = (
        np.sqrt(low / np.maximum(frequencies, low))
        / (1 + (frequencies / high) ** 4)
        * (frequencies > low / 2)
    )
    noise = np.fft.irfft(spectrum * weight, count)
    return np.asarray(noise / max(float(noise.std()), 1e-9))


def _passing(time: Floats, ahead: Floats, across: float, random: np.random.Generator) -> Floats:
    """Return the sound of one passing car with Doppler effect and direction, (samples, 2).

    Args:
        time: Time of each sample, in seconds.
        ahead: Distance of the car ahead of the camera at that time, in meters.
        across: Distance to the right of the camera at which it passes, in meters.
        random: Source of its pitch.
    """
    distance = np.hypot(ahead, across)
    approach = -np.gradient(distance, time) if len(time) > 1 else np.zeros_like(time)
    pitch = random.uniform(70, 110) * VELOCITY / (VELOCITY - np.clip(approach, -60, 60))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    hum = np.sin(phase) + 0.6 * np.sin(2 * phase) + 0.35 * np.sin(3 * phase)
    heard = (0.45 * hum + 1.1 * _noise(len(time), random, low=200, high=2400)) * (
        across / distance
    ) ** 2
    side = across / distance
    right = np.sqrt((1 + 0.85 * side) / 2)
    left = np.sqrt((1 - 0.85 * side) / 2)
    return np.stack([heard * left, heard * right], axis=1)


def write_drive_audio(path: Path, world: World, seconds: float) -> None:
    """Write the audio of a drive as a 16-bit WAV file; a drive of hours takes no more memory.

    Args:
        path: Path of the file.
        world: The street.
        seconds: Duration; more than 0.
    """
    samples = drive_audio(world, min(seconds, LONGEST))
    content = np.round(samples.clip(-1, 1) * 32767).astype("<i2")
    missing = max(round(seconds * RATE), 1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(content.shape[1])
        file.setsampwidth(content.itemsize)
        file.setframerate(RATE)
        while missing > 0:
            file.writeframes(content[:missing].tobytes())
            missing -= len(content)
