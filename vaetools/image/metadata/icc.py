"""ICC profiles that say what code points, or gamma and chromaticities, say; and grey ones in RGB.

Only display profiles of the simplest kind are written, version 4: a curve for each channel and, for
RGB, a matrix to the connection space. Reference: ICC.1:2022, ITU-T H.273, SMPTE ST 2084, BT.2100.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from vaetools.image.metadata.fields import Calibration, Cicp

D50 = (0xF6D6, 0x10000, 0xD32D)
"""The white of the connection space, as s15Fixed16."""

_D65 = (0.3127, 0.3290)
# H.273 table 2: red, green, blue and white, x and y.
_PRIMARIES = {
    1: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *_D65),
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.310, 0.316),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *_D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    8: (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, 0.310, 0.316),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *_D65),
}
# H.273 table 3 as ICC parametric curves: exponent; or exponent, a, b, c, d of type 3.
_BT709 = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_CURVES = {
    **dict.fromkeys((1, 6, 11, 12, 14, 15), _BT709),
    4: (2.2,),
    5: (2.8,),
    7: (1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4.0, 0.0912),
    8: (1.0,),
    13: (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
    17: (2.6,),
}
_NAMES = {
    (1, 13): "sRGB",
    (12, 13): "Display P3",
    (9, 16): "BT.2100 PQ",
    (9, 18): "BT.2100 HLG",
}
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_SAMPLES = 4096
_MAX_TAGS = 200


def colour_space(profile: bytes) -> str | None:
    """`RGB`, `GRAY`, `CMYK`, …; None if it is not a profile."""
    if len(profile) < 132 or profile[36:40] != b"acsp":
        return None
    return profile[16:20].decode("latin-1").strip()


def profile_of_cicp(cicp: Cicp, *, grey: bool) -> bytes | None:
    """A profile with the same colour space and a `cicp` tag; None where a profile cannot say it.

    PQ and HLG are given as their curves, without tone mapping: 1.0 is the brightest signal. Programs
    that know the `cicp` tag use it instead.
    """
    primaries, curve = _PRIMARIES.get(cicp.primaries), _curve_of(cicp.transfer)
    if primaries is None or curve is None or cicp.matrix or not cicp.full_range:
        return None
    name = _NAMES.get(cicp[:2], f"CICP {cicp.primaries}/{cicp.transfer}")
    tag = b"cicp\0\0\0\0" + bytes([*cicp[:3], 1])
    return _profile(name, primaries, curve, grey, {b"cicp": tag})


def profile_of_calibration(calibration: Calibration, *, grey: bool) -> bytes | None:
    """A profile with this gamma and these chromaticities; None if they are those of sRGB.

    PNG's 45455 beside the chromaticities of sRGB is how writers say sRGB to old readers. A missing
    gamma is taken as that of sRGB, missing chromaticities as those of sRGB.
    """
    primaries: tuple[float, ...] = _PRIMARIES[1]
    if calibration.chromaticities is not None:
        white, colours = calibration.chromaticities[:2], calibration.chromaticities[2:]
        primaries = tuple(value / 100000 for value in (*colours, *white))
    is_srgb = np.allclose(primaries, _PRIMARIES[1], atol=0.002)
    gamma = calibration.gamma
    if calibration.srgb_intent is not None or (is_srgb and (not gamma or abs(gamma - 45455) < 50)):
        return None
    if min(primaries[1::2]) <= 0 or (gamma and not 1000 <= gamma <= 1000000):
        return None
    curve = _parametric((100000 / gamma,) if gamma else _CURVES[13])
    return _profile("gamma and chromaticities", primaries, curve, grey, {})


def is_plain_srgb(cicp: Cicp) -> bool:
    """Whether code points say no more than that the colours are sRGB, or unknown."""
    return cicp[:2] in ((1, 13), (2, 2)) and cicp.full_range


def is_srgb(profile: bytes) -> bool:
    """Whether colours with this profile are, within a level of 255, those of sRGB without one."""
    from PIL import Image, ImageCms

    levels = np.linspace(0, 255, 9).astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 1, 3)
    samples = colours if colour_space(profile) == "RGB" else np.arange(256, dtype=np.uint8)[None]
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        shown = ImageCms.profileToProfile(
            Image.fromarray(samples), source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return False
    expected = samples if samples.ndim == 3 else samples[..., None]
    return shown is not None and int(np.abs(np.asarray(shown, int) - expected).max()) <= 1


def as_rgb(profile: bytes) -> bytes | None:
    """A GRAY profile as an RGB profile: equal channels have the same colours as grey had."""
    tags = _tags(profile)
    curve = tags.get(b"kTRC")
    if curve is None or profile[20:24] != b"XYZ ":
        return None
    return _profile("grey as RGB", _PRIMARIES[1], curve, False, {}, _copied(tags), profile[8:12])


def as_grey(profile: bytes) -> bytes | None:
    """An RGB profile as a GRAY profile, if its three curves are one: then its greys are neutral."""
    tags = _tags(profile)
    curves = {tags.get(tag) for tag in (b"rTRC", b"gTRC", b"bTRC")}
    curve = curves.pop()
    if curve is None or curves or profile[20:24] != b"XYZ " or b"A2B0" in tags:
        return None
    return _profile("greys of RGB", _PRIMARIES[1], curve, True, {}, _copied(tags), profile[8:12])


def _copied(tags: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    return {tag: tags[tag] for tag in (b"cprt", b"desc") if tag in tags}


def _tags(profile: bytes) -> dict[bytes, bytes]:
    if len(profile) < 132:
        return {}
    (count,) = struct.unpack_from(">L", profile, 128)
    found = {}
    for at in range(132, min(132 + 12 * min(count, _MAX_TAGS), len(profile) - 11), 12):
        tag, offset, size = struct.unpack_from(">4sLL", profile, at)
        if offset + size <= len(profile):
            found[tag] = profile[offset : offset + size]
    return found


def _profile(
    name: str,
    primaries: tuple[float, ...],
    curve: bytes,
    grey: bool,
    more: dict[bytes, bytes],
    described: Mapping[bytes, bytes] | None = None,
    version: bytes = b"\x04\x40\0\0",
) -> bytes | None:
    tags = {b"desc": _text(name), b"cprt": _text("No copyright, use freely")}
    tags |= described or {}
    tags[b"wtpt"] = _xyz(D50)
    if grey:
        tags[b"kTRC"] = curve
    else:
        try:
            matrix, adaptation = _colorants(primaries)
        except (np.linalg.LinAlgError, ZeroDivisionError):
            return None
        if not np.isfinite(matrix).all() or np.abs(matrix).max() > 4:
            return None
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
        tags[b"chad"] = b"sf32\0\0\0\0" + _fixed(adaptation.ravel())
        rounded = np.rint(matrix * 65536).astype(int)
        rounded[:, 1] += np.array(D50) - rounded.sum(axis=1)  # white is exactly D50
        for tag, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), rounded.T, strict=True):
            tags[tag] = _xyz(tuple(int(value) for value in column))
    return _assembled(tags | more, b"GRAY" if grey else b"RGB ", version)


def _assembled(tags: Mapping[bytes, bytes], space: bytes, version: bytes) -> bytes:
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    places: dict[bytes, int] = {}
    for tag, content in tags.items():
        if content not in places:
            places[content] = start + len(body)
            body += content.ljust(-(-len(content) // 4) * 4, b"\0")
        table += struct.pack(">4sLL", tag, places[content], len(content))
    head = struct.pack(
        ">L4s4s4s4s4s6H4s4sLLLQL3L4s",
        start + len(body),
        bytes(4),
        version,
        b"mntr",
        space,
        b"XYZ ",
        *(2026, 1, 1, 0, 0, 0),
        b"acsp",
        *(bytes(4), 0, 0, 0, 0, 0),
        *D50,
        bytes(4),
    )
    return head.ljust(128, b"\0") + struct.pack(">L", len(tags)) + table + body


def _colorants(primaries: tuple[float, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Columns red, green, blue in XYZ relative to D50; and the adaptation of the white (Bradford)."""
    *colours, white_x, white_y = primaries
    xyz = np.array([_tristimulus(*colours[i : i + 2]) for i in (0, 2, 4)]).T
    white = np.array(_tristimulus(white_x, white_y))
    matrix = xyz * np.linalg.solve(xyz, white)
    target = np.array(D50) / 65536
    gains = (_BRADFORD @ target) / (_BRADFORD @ white)
    adaptation = np.linalg.inv(_BRADFORD) @ np.diag(gains) @ _BRADFORD
    return adaptation @ matrix, adaptation


def _tristimulus(x: float, y: float) -> tuple[float, float, float]:
    return x / y, 1.0, (1 - x - y) / y


def _curve_of(transfer: int) -> bytes | None:
    if transfer in _CURVES:
        return _parametric(_CURVES[transfer])
    signal = np.linspace(0, 1, _SAMPLES)
    if transfer == 16:
        return _sampled(_pq(signal))
    return _sampled(_hlg(signal)) if transfer == 18 else None


def _pq(signal: NDArray[Any]) -> NDArray[Any]:
    """ST 2084: signal to light, 1.0 for 10000 cd/m²."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = signal ** (1 / m2)
    light: NDArray[Any] = (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    return light


def _hlg(signal: NDArray[Any]) -> NDArray[Any]:
    """BT.2100: signal to scene light, without the system gamma, which is not for each channel."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    light: NDArray[Any] = np.where(
        signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12
    )
    return light


def _parametric(parameters: tuple[float, ...]) -> bytes:
    kind = 0 if len(parameters) == 1 else 3
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + _fixed(parameters)


def _sampled(values: NDArray[Any]) -> bytes:
    samples = np.rint(np.clip(values, 0, 1) * 65535).astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">L", len(samples)) + bytes(samples.tobytes())


def _fixed(values: Any) -> bytes:
    return b"".join(struct.pack(">l", round(float(value) * 65536)) for value in values)


def _xyz(values: tuple[int, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3l", *values)


def _text(text: str) -> bytes:
    content = text.encode("utf-16-be")
    head = struct.pack(">4sLLL2s2sLL", b"mluc", 0, 1, 12, b"en", b"US", len(content), 28)
    return head + content
