"""A child of the tests with TRITON_INTERPRET=1: imports once, then forks for each request on stdin, one JSON line each.

Request: ``{"module", "entry", "how": "check" | "profile" | "plain", "inputs": Python source of a dict}``. Answer:
``{"value": …}``, ``{"raised": [message, line]}`` or ``{"signal": number}``.
"""

import importlib
import json
import os
import sys
import warnings
from pathlib import Path

import torch

from evolve_core.judge.host.interpret.bounds import failure_location, run_checked
from evolve_core.judge.host.interpret.profile import profile_entry

HERE = Path(__file__).resolve().parent


def answer(request):
    module = importlib.import_module(request["module"])
    entry = getattr(module, request["entry"])
    torch.manual_seed(0)
    inputs = eval(request["inputs"], {"torch": torch})  # written by the tests beside this file
    try:
        if request["how"] == "profile":
            return {"value": profile_entry(entry, inputs)}
        if request["how"] == "plain":
            return {"value": flat(entry(**inputs))}
        run = run_checked(entry, inputs)
        return {"value": {"result": flat(run.result), "out_of_bounds": run.out_of_bounds}}
    except Exception as error:  # noqa: BLE001 - entries here raise on purpose
        return {"raised": failure_location(error, module.__file__)}


def flat(result):
    return result.double().flatten().tolist() if isinstance(result, torch.Tensor) else result


def serve():
    for line in sys.stdin:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            with os.fdopen(write, "w") as out:
                json.dump(answer(json.loads(line)), out)
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            text = pipe.read()
        _, status = os.waitpid(child, 0)
        print(text if text else json.dumps({"signal": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    warnings.simplefilter("error")
    sys.path[:0] = [str(HERE), str(HERE.parents[2] / "examples")]
    for module in ("kernels", "softmax", "layernorm", "matmul", "swiglu"):
        importlib.import_module(module)
    print("ready", flush=True)
    serve()
