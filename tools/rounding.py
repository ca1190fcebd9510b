"""The instructions with which chapters compute, and so the order in which they round sums.

A chapter's outputs are stored as the ``canonical`` rounding gives them: one thread, and of a
processor only what all x86 processors of ten years have. MKL is told to be ``COMPATIBLE``, since
each of its faster ways sums otherwise on processors of another maker. The same bits then come out
on all of them; ``plain`` and ``native`` imitate machines on which they do not. A GPU, which draws
other random numbers, is hidden from all three.

    python tools/rounding.py native pytest --nbval book
"""

import os
import platform
import sys
from pathlib import Path

#: Threads: one, since a sum that is divided among threads is another sum.
THREADS = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")}

#: What processors call themselves that know the instructions below.
X86 = ("x86_64", "AMD64")

ROUNDINGS = {
    "canonical": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4,AVX512_ICL,AVX512_SPR",
        "FAISS_OPT_LEVEL": "avx2",
        "NUMBA_CPU_NAME": "haswell",
    },
    # the plainest instructions there are
    "plain": {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3,X86_V4,AVX512_ICL,AVX512_SPR",
        "FAISS_OPT_LEVEL": "generic",
        "NUMBA_CPU_NAME": "generic",
    },
    # all that this processor has: AVX-512 where it has it
    "native": {},
}


def settings(name: str) -> dict[str, str | None]:
    """Environment variables of a rounding; None: not to be set."""
    if name not in ROUNDINGS:
        raise ValueError(f"got rounding {name!r}, expected one of {', '.join(ROUNDINGS)}")
    # other architectures know none of these instructions
    chosen = ROUNDINGS[name] if platform.machine() in X86 else {}
    unset = dict.fromkeys({variable for values in ROUNDINGS.values() for variable in values})
    return {**unset, **chosen, **THREADS, "CUDA_VISIBLE_DEVICES": ""}


def apply(name: str = "canonical") -> None:
    """Set them in this process, for the libraries that are not loaded yet, and its children."""
    for variable, value in settings(name).items():
        if value is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = value
    # a user's own start-up file would run in every kernel
    if Path(os.environ.get("PYTHONSTARTUP", "")).name != "shift_seeds.py":
        os.environ.pop("PYTHONSTARTUP", None)


if __name__ == "__main__":
    apply(sys.argv[1])
    os.execvp(sys.argv[2], sys.argv[2:])
