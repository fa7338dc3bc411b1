"""The parts of the GPU side that need no GPU: messages, shared tensors, poison, locks, launch plans, processes."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from evolve_core.judge.host.copies import clone
from evolve_core.judge.host.distributions import VARIED, vary
from evolve_core.judge.host.gpu import channel as channel_module
from evolve_core.judge.host.gpu import device_memory
from evolve_core.judge.host.gpu.channel import BadMessage, Channel, PeerGone, PeerSilent
from evolve_core.judge.host.gpu.cuda_task import LaunchPlanError, _checked
from evolve_core.judge.host.gpu.driver import DriverError
from evolve_core.judge.host.gpu.forking import fork_child
from evolve_core.judge.host.gpu.inputs import UnsupportedInput, pack, unpack_values
from evolve_core.judge.host.gpu.lock import DeviceBusy, device_lock
from evolve_core.judge.host.gpu.nvml import others_computing
from evolve_core.judge.host.gpu.poison import fill, poisoned
from evolve_core.judge.host.gpu.signature import POINTER, SignatureError, as_argument, normalise, parameter_types
from evolve_core.judge.host.gpu.slots import BadLayout, Slot, SlotTooSmall
from evolve_core.judge.host.variations import SPECIAL


@pytest.fixture
def pair() -> Any:
    near, far = socket.socketpair()
    yield Channel(near), far
    near.close()
    far.close()


def test_messages_arrive_whole_whatever_the_pieces(pair: Any) -> None:
    channel, far = pair
    for piece in (b'{"a"', b": 1}\n{", b'"b": [2]}\n'):
        far.sendall(piece)
    assert channel.receive(1) == {"a": 1}
    assert channel.receive(1) == {"b": [2]}


@pytest.mark.parametrize("line", [b"nonsense\n", b"[1]\n", b"\xff\xfe\n"])
def test_what_is_no_object_is_a_bad_message(pair: Any, line: bytes) -> None:
    channel, far = pair
    far.sendall(line)
    with pytest.raises(BadMessage):
        channel.receive(1)


def test_a_message_without_end_is_refused(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    channel, far = pair
    monkeypatch.setattr(channel_module, "MESSAGE_LIMIT_BYTES", 1000)
    far.sendall(b"x" * 5000)
    with pytest.raises(BadMessage, match="more than"):
        channel.receive(1)


def test_silence_and_a_closed_end_are_told_apart(pair: Any) -> None:
    channel, far = pair
    with pytest.raises(PeerSilent):
        channel.receive(0.01)
    far.close()
    with pytest.raises(PeerGone):
        channel.receive(1)


TENSORS = {
    "contiguous": lambda: torch.randn(5, 7),
    "transposed": lambda: torch.randn(5, 7).t(),
    "expanded": lambda: torch.randn(1, 7).expand(5, 7),
    "shifted by one element": lambda: torch.randn(36)[1:].view(5, 7),
    "every second column": lambda: torch.randn(5, 14)[:, ::2],
    "one number": lambda: torch.tensor(3.5),
    "empty": lambda: torch.empty(0, 4),
    "half": lambda: torch.randn(9).half(),
    "bfloat16": lambda: torch.randn(9).bfloat16(),
    "bool": lambda: torch.tensor([True, False]),
    "int64": lambda: torch.arange(3),
    "complex": lambda: torch.randn(3, dtype=torch.complex64),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_passes_with_strides_and_alignment(name: str) -> None:
    slot = Slot(1 << 20)
    tensor = TENSORS[name]()
    (copy,) = slot.read(json.loads(json.dumps(slot.write([tensor]))), "cpu")
    assert torch.equal(copy, tensor)
    assert copy.dtype == tensor.dtype
    assert copy.stride() == tensor.stride()
    assert clone(tensor).stride() == tensor.stride()
    assert clone(tensor).storage_offset() == tensor.storage_offset()
    slot.close()


def test_several_tensors_do_not_touch_each_other() -> None:
    slot = Slot(1 << 20)
    tensors = [torch.full((n,), float(n)) for n in (3, 100, 1)]
    assert all(torch.equal(a, b) for a, b in zip(tensors, slot.read(slot.write(tensors), "cpu"), strict=True))
    slot.close()


def test_more_than_the_slot_holds_is_said() -> None:
    slot = Slot(1 << 20)
    with pytest.raises(SlotTooSmall, match="smaller workloads"):
        slot.write([torch.zeros(1 << 20)])
    slot.close()


@pytest.mark.parametrize(
    "change",
    [
        {"offset": 1 << 40},
        {"offset": -1},
        {"bytes": 4},
        {"shape": [1 << 30, 1 << 30]},
        {"shape": [-1, 7]},
        {"stride": [7]},
        {"stride": [-7, 1]},
        {"dtype": "object"},
        {"shift": 1 << 20},
        {"shape": "no"},
        {"shape": None},
    ],
)
def test_a_hostile_layout_reads_nothing(change: dict[str, Any]) -> None:
    slot = Slot(1 << 20)
    (entry,) = slot.write([torch.randn(5, 7)])
    with pytest.raises(BadLayout):
        slot.read([{**entry, **change}], "cpu")
    slot.close()


def test_memory_that_the_other_side_cannot_open_is_not_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing() -> Any:
        raise DriverError("cuIpcOpenMemHandle_v2: CUDA_ERROR_INVALID_VALUE")

    monkeypatch.setattr(device_memory, "_driver", refusing)
    slot = Slot(1 << 20)
    assert slot.can_open("")
    assert not slot.can_open("00" * device_memory.HANDLE_BYTES)
    assert not slot.can_open("no handle")
    assert slot.offer("cpu") == ""
    slot.stay_on_host()
    assert slot.offer("cuda") == ""
    assert slot.path == "host"
    slot.close()


def test_plain_values_travel_in_the_message() -> None:
    slot = Slot(1 << 20)
    inputs = {"x": torch.ones(2), "eps": 1e-5, "flag": True, "none": None, "dtype": torch.float16, "name": "n"}
    message = json.loads(json.dumps(pack(inputs, slot)))
    assert message["names"] == ["x"]
    assert unpack_values(message["values"]) == {key: value for key, value in inputs.items() if key != "x"}
    with pytest.raises(UnsupportedInput, match="input f is a object"):
        pack({"f": object()}, slot)
    slot.close()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int32, torch.bool])
def test_poison_fills_what_promises_nothing_and_only_that(dtype: torch.dtype) -> None:
    like = torch.zeros(4, dtype=dtype)
    for poison in ("nan", "zero"):
        wanted = fill(torch.zeros(4, dtype=dtype), poison)
        with poisoned(poison):
            made = [
                torch.empty(4, dtype=dtype),
                torch.empty_like(like),
                torch.empty_strided((4,), (1,), dtype=dtype),
                like.new_empty(4),
                like.new_empty_strided((4,), (1,)),
            ]
            assert torch.equal(torch.ones(3), torch.tensor([1.0, 1.0, 1.0]))
        assert all(torch.equal(one, wanted) or (one.isnan() & wanted.isnan()).all() for one in made)
    assert torch.empty.__name__ == "empty"


def test_a_device_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with device_lock("GPU-1", tmp_path, 1.0):
        with device_lock("GPU-2", tmp_path, 0.0):
            pass
        with pytest.raises(DeviceBusy, match="another measurement holds the GPU"), device_lock("GPU-1", tmp_path, 0.1):
            pass
    with device_lock("GPU-1", tmp_path, 0.0):
        pass


def test_the_lock_of_another_user_will_do(tmp_path: Path) -> None:
    """It can be read, and that is enough."""
    with umask(0o077), device_lock("GPU-1", tmp_path, 0.0):
        assert (tmp_path / "GPU-1.lock").stat().st_mode & 0o777 == 0o644
    (tmp_path / "GPU-1.lock").chmod(0o444)
    with device_lock("GPU-1", tmp_path, 0.0), pytest.raises(DeviceBusy), device_lock("GPU-1", tmp_path, 0.0):
        pass


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def test_only_a_busy_device_has_rivals() -> None:
    assert others_computing(None) == []
    assert others_computing({"busy_percent": 0, "processes": [7]}) == []
    assert others_computing({"busy_percent": None, "processes": [7]}) == []
    assert others_computing({"busy_percent": 90, "processes": [7]}) == [7]


@pytest.mark.parametrize("distribution", VARIED)
def test_other_values_keep_everything_else(distribution: str) -> None:
    x, index = torch.randn(8, 300).t(), torch.arange(4)
    inputs = {"x": x, "index": index, "eps": 1e-5, "one": torch.ones(1)}
    changed = vary(inputs, distribution)
    assert changed["x"].shape == x.shape
    assert changed["x"].stride() == x.stride()
    assert not torch.equal(changed["x"], x)
    assert bool(changed["x"].isfinite().all()) is (distribution != SPECIAL)
    assert changed["index"] is index
    assert changed["one"] is inputs["one"]
    assert x.abs().max() < 10  # the original is untouched


SOURCE = """
// __global__ void row_dot(double wrong);
__global__ void __launch_bounds__(128, 2) row_dot(const float* __restrict__ a, float *v, /* out, */ half* out,
    int rows, const unsigned int cols, std::int64_t stride, float scale = 1.0f, bool flag) { row(a); }
template <typename T> __global__ void typed(T* x, T value) {}
extern "C" __global__ void none() {}
"""


def test_a_kernels_parameters_are_read_from_its_text() -> None:
    assert parameter_types(SOURCE, "row_dot") == [
        POINTER, POINTER, POINTER, "int", "unsigned int", "int64_t", "float", "bool",
    ]  # fmt: skip
    assert parameter_types(SOURCE, "none") == []
    with pytest.raises(SignatureError, match="cannot pass the parameter 'T value'"):
        parameter_types(SOURCE, "typed")
    with pytest.raises(SignatureError, match="defines no __global__ function absent"):
        parameter_types(SOURCE, "absent")
    assert normalise("float x[4]") == POINTER


def test_arguments_take_the_width_that_the_kernel_reads() -> None:
    assert isinstance(as_argument(3, "int", "k", 0), ctypes.c_int32)
    assert isinstance(as_argument(3, "long long", "k", 0), ctypes.c_int64)
    assert as_argument(3, "float", "k", 0).value == 3.0
    assert as_argument(1.5, "__half", "k", 0).value == struct.unpack("<H", struct.pack("<e", 1.5))[0]
    assert as_argument(1.5, "__nv_bfloat16", "k", 0).value == 0x3FC0
    assert as_argument(None, POINTER, "k", 0).value == 0


@pytest.mark.parametrize(
    ("value", "type_", "words"),
    [
        (1 << 40, "int", "does not fit int"),
        (-1, "unsigned", "does not fit unsigned"),
        (2.5, "int", "the kernel takes int"),
        (torch.ones(1), "int", "is a Tensor"),
        (3, POINTER, "pass a tensor"),
        (torch.ones(1), POINTER, "tensor on cpu"),
    ],
)
def test_an_argument_that_does_not_fit_is_refused_before_the_launch(value: Any, type_: str, words: str) -> None:
    with pytest.raises(SignatureError, match=words):
        as_argument(value, type_, "k", 0)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (7, "must yield dicts"),
        ({"kernel": "k"}, "must yield dicts"),
        ({"kernel": "k", "grid": 0, "block": 32}, "must be between 1"),
        ({"kernel": "k", "grid": (1, 70000, 1), "block": 32}, "must be between 1"),
        ({"kernel": "k", "grid": 1, "block": (1024, 2)}, "more than 1024 threads"),
        ({"kernel": "k", "grid": (1, 1, 1, 1), "block": 32}, "one to three numbers"),
    ],
)
def test_a_launch_that_no_device_takes_is_refused(plan: Any, words: str) -> None:
    with pytest.raises(LaunchPlanError, match=words):
        _checked(plan)


def test_a_child_says_how_it_ended() -> None:
    assert fork_child(lambda: None, "fine", 10, ()).wait(10) == 0
    killed = fork_child(lambda: time.sleep(60), "killed", 60, ())
    assert killed.wait(0.0) is None
    killed.kill()
    assert killed.wait(10) == -signal.SIGKILL
    assert fork_child(lambda: time.sleep(60), "late", 0.05, ()).wait(10) == -signal.SIGALRM


def test_a_child_dies_with_its_parent() -> None:
    reader, writer = os.pipe()

    def parent() -> None:
        grandchild = fork_child(lambda: time.sleep(60), "grandchild", 60, ())
        os.write(writer, str(grandchild.pid).encode())
        time.sleep(60)

    child = fork_child(parent, "parent", 60, (writer,))
    grandchild = int(os.read(reader, 32))
    os.close(reader)
    os.close(writer)
    child.kill()
    assert child.wait(10) == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while _is_running(grandchild) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _is_running(grandchild)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
