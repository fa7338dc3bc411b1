"""Where calibrations are kept: one small file in the user's cache for each device and driver.

A new driver or another device is another file, so that an old measurement never speaks for it. The folder is a cache:
a file that is damaged or gone means "not calibrated", and nothing else is lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from evolve_core.cache import cache_folder, keep
from evolve_core.judge.calibration import Calibration

_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")


def calibration_file(device_uuid: str, driver: str, environ: Mapping[str, str] | None = None) -> Path:
    """``calibration/UUID-DRIVER.json`` in the user's cache."""
    return cache_folder(environ) / "calibration" / f"{_UNSAFE.sub('_', f'{device_uuid}-{driver}')}.json"


def save(calibration: Calibration) -> Path:
    """Write it whole or not at all: a reader at that moment finds the old one or the new. Raises CannotWrite."""
    file = calibration_file(calibration.device_uuid, calibration.driver)
    keep(file, calibration.to_json())
    return file


def stored(device_uuid: str, driver: str) -> Calibration | None:
    """The calibration of this device under this driver; None where there is none that can be read."""
    try:
        found = Calibration.from_json(json.loads(calibration_file(device_uuid, driver).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if (found.device_uuid, found.driver) == (device_uuid, driver) else None
