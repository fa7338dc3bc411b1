"""``kernel-evolve calibrate``: what this GPU can do at most, and the smallest difference that can be told on it."""

from __future__ import annotations

import json
import os
import tempfile
import time
from contextlib import closing
from pathlib import Path

import click

from evolve_core.cache import cache_folder, keep_text
from evolve_core.cli.defaults import TARGET
from evolve_core.errors import UsageError
from evolve_core.files import write_whole
from evolve_core.interpreter import resolve
from evolve_core.judge.calibration import Calibration, NotCalibrated, calibration_of
from evolve_core.judge.calibration_store import save
from evolve_core.judge.client import HostError, JudgeHost
from evolve_core.report import roofline
from evolve_core.workspace import find_workspace

DEADLINE_S = 180.0
"""Three times what it is meant to take at most."""


@click.command(name="calibrate")
@click.option("--python", default="", help="The interpreter with your torch and Triton.")
@click.option("--picture", type=click.Path(path_type=Path), default=None, help="Where to write the roofline (HTML).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(python: str, picture: Path | None, as_json: bool) -> None:
    """Measure this GPU: its peaks, its launch floor, and how far a kernel differs from itself.

    Takes up to a minute; nothing else should run on the GPU. The result is kept for this device and driver, and every
    later verdict on this machine rests on it.
    """
    found = _measured(resolve(find_workspace(Path.cwd()), os.environ, explicit=python).python)
    file = save(found)
    picture = picture or file.with_suffix(".html")
    write_whole(picture, roofline.page(found))
    if as_json:
        told = {**found.to_json(), "delta": found.delta, "file": str(file), "picture": str(picture)}
        click.echo(json.dumps(told, indent=2))
        return
    for name, figure in roofline.rows(found):
        click.echo(f"{name:24} {figure}")
    click.echo(f"kept in {file}\nroofline: {picture}")


def _measured(python: Path) -> Calibration:
    """Raises NotCalibrated with the place of the host's log, which says more than one sentence can."""
    log_file = cache_folder() / "calibrate.log"
    keep_text(log_file, "")
    with tempfile.TemporaryDirectory(prefix="kernel-evolve-") as folder, log_file.open("ab") as log:
        host = JudgeHost.start(python, Path(folder), TARGET, 1, log)
        with closing(host):
            if not host.info.devices:
                raise UsageError(
                    "There is no NVIDIA GPU here, so there is nothing to calibrate: run this on the machine that has "
                    "one. Without a GPU times are estimated, and no calibration is needed."
                )
            if host.info.missing:
                raise UsageError(host.info.missing[0].message)
            answer = host.calibrate(DEADLINE_S)
    try:
        return calibration_of(answer, time.time())
    except NotCalibrated as error:
        raise NotCalibrated(f"{error} The judge host's log is {log_file}.") from None
    except (KeyError, TypeError, ValueError) as error:
        raise HostError("host-failure", f"the host's answer to 'calibrate' is malformed: {error!r}") from error
