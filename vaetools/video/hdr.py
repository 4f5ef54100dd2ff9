"""Side data of frames: static HDR metadata (SMPTE ST 2086, CTA-861.3), and what is not kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import av


def static_hdr(frame: av.VideoFrame) -> dict[str, str]:
    """Mastering display and content light level (SMPTE ST 2086, CTA-861.3) as x265 writes them."""
    found: dict[str, str] = {}
    side_data: Any = frame.side_data
    for data in side_data:
        kind = getattr(getattr(data, "type", None), "name", "")
        if kind not in ("CONTENT_LIGHT_LEVEL", "MASTERING_DISPLAY_METADATA"):
            continue
        values = np.frombuffer(bytes(data), np.int32)
        if kind == "CONTENT_LIGHT_LEVEL" and values.size >= 2:
            found["max-cll"] = f"{values[0]},{values[1]}"
        if kind == "MASTERING_DISPLAY_METADATA" and values.size >= 22 and values[20] and values[21]:
            parts = values[:20].reshape(10, 2).astype(float)
            ratios = parts[:, 0] / np.where(parts[:, 1] == 0, 1, parts[:, 1])
            rx, ry, gx, gy, bx, by, wx, wy = (round(50000 * value) for value in ratios[:8])
            low, high = round(10000 * ratios[8]), round(10000 * ratios[9])
            found["master-display"] = (
                f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({high},{low})"
            )
    return found


_NAMES = {
    "A53_CC": "closed captions",
    "AFD": "active format description",
    "AMBIENT_VIEWING_ENVIRONMENT": "ambient viewing environment",
    "DOVI_METADATA": "Dolby Vision",
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "DYNAMIC_HDR_PLUS": "HDR10+",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
    "ICC_PROFILE": "ICC profile",
    "S12M_TIMECODE": "time codes of frames",
    "SPHERICAL": "spherical projection",
    "STEREO3D": "stereo 3D",
}
"""Side data that changes what is shown, in words."""


def side_data_not_kept(frame: av.VideoFrame) -> Iterator[str]:
    """Names of what belongs to a frame beside its pixels, and is not written."""
    side_data: Any = frame.side_data
    for data in side_data:
        name = _NAMES.get(getattr(getattr(data, "type", None), "name", ""))
        if name is not None:
            yield name
