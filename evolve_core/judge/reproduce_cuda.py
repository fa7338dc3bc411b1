"""How a script that has nothing of ours compiles a CUDA file and makes the launches that its task yields."""

from __future__ import annotations

LAUNCHED = r'''import ctypes, glob, re, shutil, struct, subprocess


def nvrtc():
    """NVRTC as CUDA builds of torch bring it, or as the system has it; None where there is none."""
    places = [os.path.join(root, "nvidia", "*", "lib", "libnvrtc*.so*") for root in sys.path]
    wheels = [name for place in places for name in glob.glob(place)]
    wheels = [name for name in sorted(wheels, reverse=True) if ".alt." not in name]
    for name in [*(one for one in wheels if "builtins" not in one), "libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"]:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        for one in wheels:  # NVRTC opens its built-in headers by their bare name: they must be loaded by then.
            if "builtins" in one and os.path.dirname(one) == os.path.dirname(name):
                ctypes.CDLL(one)
        return library


def compiled(source, architecture):
    """The binary of a CUDA file, by NVRTC, else by nvcc."""
    beside, library = os.path.dirname(SOURCE), nvrtc()
    if library is None:
        if shutil.which("nvcc") is None:
            sys.exit("there is no CUDA compiler: install a CUDA build of torch, or nvcc")
        file, out = os.path.join(FOLDER, "kernels.cu"), os.path.join(FOLDER, "kernels.cubin")
        with open(file, "w") as text:
            text.write(source)
        command = ["nvcc", "-cubin", f"-arch={architecture}", "-std=c++17", f"-I{beside}", "-o", out, file]
        subprocess.run(command, check=True)
        with open(out, "rb") as binary:
            return binary.read()
    toolkits = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    headers = [os.path.join(root, "include") for root in toolkits if root]
    headers += [name for root in sys.path for name in glob.glob(os.path.join(root, "nvidia", "*", "include"))]
    options = [f"--gpu-architecture={architecture}", "--std=c++17"]
    options = [one.encode() for one in options + [f"--include-path={one}" for one in (beside, *headers)]]
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
    status = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    what = "ProgramLog" if status else "CUBIN"
    getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    found = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{what}")(program, found)
    return sys.exit(found.value.decode()) if status else found.raw


def driver(function, *arguments):
    status = getattr(ctypes.CDLL("libcuda.so.1"), function)(*arguments)
    if status:
        sys.exit(f"{function}: CUDA error {status}")


def parameters(source, kernel):
    """The text of each parameter of a kernel."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", " ", source, flags=re.S)
    start = re.search(rf"__global__\b[^;{{}}]*?\b{re.escape(kernel)}\s*\(", text).end()
    found, depth = [""], 0
    for character in text[start:]:
        depth += {"(": 1, "<": 1, ")": -1, ">": -1}.get(character, 0)
        if depth < 0:
            break
        if character == "," and not depth:
            found.append("")
        else:
            found[-1] += character
    return [one for one in map(str.strip, found) if one not in ("", "void")]


def packed(value, parameter, size):
    """The bytes that a kernel reads of an argument."""
    if isinstance(value, torch.Tensor):
        return struct.pack("<Q", value.data_ptr())
    if "*" in parameter or "[" in parameter:
        return bytes(8)
    words = parameter.split("=")[0]
    if "bfloat16" in words:
        return struct.pack("<h", torch.tensor(float(value), dtype=torch.bfloat16).view(torch.int16).item())
    for word, form in (("half", "<e"), ("double", "<d"), ("float", "<f")):
        if re.search(rf"\b(__)?{word}\b", words):
            return struct.pack(form, value)
    return (int(value) % (1 << 8 * size)).to_bytes(size, "little")


def symbol_of(cubin, kernel):
    """A kernel's name in the binary: itself under extern "C", else the C++ name that holds its length and name."""
    names = [one.decode() for one in dict.fromkeys(re.findall(rb"\.text\.([A-Za-z_][\w$.]*)\0", cubin))]
    plain = kernel.rpartition("::")[2]
    return kernel if kernel in names else next(one for one in names if f"{len(plain)}{plain}" in one)


def launch(source, cubin, module, one):
    function = ctypes.c_void_p()
    driver("cuModuleGetFunction", ctypes.byref(function), module, symbol_of(cubin, str(one["kernel"])).encode())
    kept = []
    for number, (value, text) in enumerate(zip(one.get("arguments", ()), parameters(source, str(one["kernel"])))):
        offset, size = ctypes.c_size_t(), ctypes.c_size_t()
        driver("cuFuncGetParamInfo", function, ctypes.c_size_t(number), ctypes.byref(offset), ctypes.byref(size))
        kept.append(ctypes.create_string_buffer(packed(value, text, size.value), size.value))
    given = (ctypes.c_void_p * max(len(kept), 1))(*(ctypes.cast(each, ctypes.c_void_p) for each in kept))
    grid, block = ([*(s if isinstance(s, (tuple, list)) else [s]), 1, 1][:3] for s in (one["grid"], one["block"]))
    shared = int(one.get("shared_bytes", 0))
    if shared > 48 << 10:
        driver("cuFuncSetAttribute", function, 8, shared)  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    sizes = [ctypes.c_uint(int(size)) for size in (*grid, *block, shared)]
    stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
    driver("cuLaunchKernel", function, *sizes, stream, given, None)
    torch.cuda.synchronize()  # So that a crash shows which launch it was.


def launched(source):
    """The task's launches() with the kernels of ``source``, as a function of the inputs."""
    torch.empty(1, device="cuda")  # torch's context is current now
    major, minor = torch.cuda.get_device_capability()
    architecture = f"sm_{major}{minor}" + ("a" if (major, minor) == (9, 0) else "")
    cubin, module = compiled(source, architecture), ctypes.c_void_p()
    driver("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(cubin))

    def call(**inputs):
        steps = task.launches(**inputs)
        while True:
            try:
                launch(source, cubin, module, next(steps))
            except StopIteration as done:
                return done.value

    return call
'''
"""Needs SOURCE, FOLDER, ``task``, ``torch``, ``os`` and ``sys`` of the script; does what host/gpu/cuda_compiler.py,
signature.py and cuda_launch.py do."""
