"""Why a layer of the sandbox is not to be had on this machine, and what would bring it: for people to read."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from . import landlock

_SETTINGS = Path("/proc/sys")


@dataclass(frozen=True)
class Lacking:
    """``layer`` is a key of ``hello``'s ``sandbox``; ``step`` is "" where there is none to take."""

    layer: str
    why: str
    step: str


def no_namespaces(number: int, settings: Path = _SETTINGS) -> Lacking:
    """``number``: the errno that making one met. The settings are Ubuntu's, Debian's and the kernel's own."""

    def said(name: str) -> str:
        try:
            return (settings / name).read_text().strip()
        except OSError:
            return ""

    if said("kernel/apparmor_restrict_unprivileged_userns") == "1":
        why = "AppArmor refuses user namespaces to programs that it does not know"
        step = (
            "install bubblewrap and load AppArmor's profile bwrap-userns-restrict (package apparmor-profiles), "
            "or sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        )
    elif said("kernel/unprivileged_userns_clone") == "0":
        why = "ordinary users may make none here"
        step = "sysctl kernel.unprivileged_userns_clone=1"
    elif said("user/max_user_namespaces") == "0":
        why = "the limit of user namespaces is 0"
        step = "sysctl user.max_user_namespaces=10000"
    else:
        why = f"the system refuses them: {os.strerror(number)}"
        step = (
            "in a container, start that with user namespaces allowed, with a seccomp profile that lets unshare through"
        )
    return Lacking("namespaces", why, step)


def no_bubblewrap(why: str) -> Lacking:
    step = "" if shutil.which("bwrap") else "install the package bubblewrap"
    return Lacking("bubblewrap", why, step)


def no_landlock(version: int) -> list[Lacking]:
    """What ``version`` of Landlock's ABI, 0 for none, leaves open; [] where it is all there."""
    release = platform.release()
    if not version:
        why = f"Linux {release} has none: it came with 5.13, and may be left out of what is started (lsm=)"
        return [Lacking("landlock", why, "use Linux 5.13 or newer, with landlock in the boot parameter lsm=")]
    if version < landlock.SCOPED_ABI:
        why = f"Linux {release} has ABI {version}, which confines no abstract Unix sockets"
        return [Lacking("sockets", why, f"use Linux 6.12 or newer (ABI {landlock.SCOPED_ABI})")]
    return []


def no_seccomp() -> Lacking:
    why = f"not for {platform.machine()}, or the kernel was built without CONFIG_SECCOMP_FILTER"
    return Lacking("seccomp", why, "use a kernel with seccomp filters on x86_64 or aarch64")
