"""Every Triton kernel is compiled for a GPU, which takes no GPU: what the interpreter lets pass must not fail there."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

SCRIPT = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from bathyscope.dictionaries.kernels.gpu import above, largest, product, rows, unit_rows


def compile_for(target, kernel, types, num_warps=4, num_stages=3, **constants):
    free = iter(types.split())
    signature = {name: "constexpr" if name in constants else next(free) for name in kernel.arg_names}
    positions = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=positions)
    options = {"num_warps": num_warps, "num_stages": num_stages}
    made = triton.compile(source, target=target, options=options)
    print(kernel.__name__, constants, made.metadata.shared, "bytes shared", flush=True)


target = GPUTarget("cuda", CAPABILITY, 32)
for x, size in (("*bf16", 2), ("*fp32", 4)):
    for tile in product.TILES[size]:
        cut = {"ROWS": tile.rows, "COLUMNS": product.COLUMNS, "STEPS": tile.steps, "IS_WHOLE": size == 2,
               "PRECISION": "ieee", "num_warps": tile.num_warps, "num_stages": tile.num_stages}
        three = f"{x} {x} {x} "
        compile_for(target, product._first, three + "*i32 " * 4 + "i32 " * 4, M=4, ABSOLUTE=False, **cut)
        compile_for(target, product._rest, three + "*i32 " * 3 + "i32 " * 5, M=4, ABSOLUTE=True, **cut)
        compile_for(target, product._all, three + "*fp32 " + "i32 " * 3, **cut)
        compile_for(target, above._write_above, three + "*fp32 *fp32 *i32 *i32 " + "i32 " * 4, **cut)
    wide = {"PAIRS": rows.PAIRS, "WIDTH": rows.WIDTH}
    compile_for(target, rows._mix_rows, f"{x} {x} {x} *i64 {x} {x} *fp32 i32 i32 i32", HAS_BIAS=True, SIGN=-1, **wide)
    compile_for(target, rows._compare_rows, f"{x} {x} *i64 *fp32 {x} i32 i32", **wide)
    compile_for(target, rows._gather_tokens, f"*i64 *i64 {x} {x} *fp32 {x} i32 i32", **wide)
    compile_for(target, unit_rows._project, f"{x} {x} i32", WIDTH=unit_rows.WIDTH)
    compile_for(target, unit_rows._normalise, f"{x} i32", WIDTH=unit_rows.WIDTH)
entries = {"num_warps": 8, "ABSOLUTE": True, "BLOCK": largest.BLOCK, "ROWS": 1}
compile_for(target, largest._keep_largest, "*fp32 *fp32 *i32 *i32 " + "i32 " * 4, FROM_VALUES=True, **entries)
compile_for(target, largest._keep_largest, "*i32 *i32 *i32 *i32 " + "i32 " * 4, FROM_VALUES=False, **entries)
"""


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
def test_every_kernel_compiles(capability, tmp_path):
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    script = SCRIPT.replace("CAPABILITY", str(capability))
    (tmp_path / "compile.py").write_text(script)
    done = subprocess.run(
        [sys.executable, tmp_path / "compile.py"], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("bytes shared") == 2 * (2 * 4 + 5) + 2
