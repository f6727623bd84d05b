"""Writes blocks/*.packed and *.f32: 1,024 values per block format, unpacked by the `gguf` package from PyPI.

    pip install gguf numpy && python3 make_blocks.py
"""
import pathlib

import numpy as np
from gguf import GGMLQuantizationType as Type, quants

OUT = pathlib.Path(__file__).parent / "blocks"
SIZES = {"Q8_0": (32, 34, [0]), "Q4_0": (32, 18, [0]), "Q4_K": (256, 144, [0, 2]), "Q5_K": (256, 176, [0, 2]),
         "Q6_K": (256, 210, [208]), "Q4_1": (32, 20, [0, 2]), "Q5_0": (32, 22, [0]), "Q5_1": (32, 24, [0, 2]),
         "Q2_K": (256, 84, [80, 82]), "Q3_K": (256, 110, [108]), "IQ4_NL": (32, 18, [0]), "IQ4_XS": (256, 136, [0]),
         "MXFP4": (32, 17, [])}
rng = np.random.default_rng(20261121)

for name, (values, size, halves) in SIZES.items():
    blocks = rng.integers(0, 256, (1024 // values, size), dtype=np.uint8)
    for at in halves:  # the scales: ordinary halves, a negative one and a subnormal one among them
        scale = rng.normal(0, 0.05, len(blocks)).astype(np.float16)
        scale[0] = np.float16(3e-6)
        blocks[:, at:at + 2] = scale.view(np.uint8).reshape(-1, 2)
    if name == "MXFP4":  # exponents: the two subnormal ones, and ordinary ones
        blocks[:, 0] = np.r_[0, 1, rng.integers(110, 140, len(blocks) - 2)]
    (OUT / f"{name}.packed").write_bytes(blocks.tobytes())
    (OUT / f"{name}.f32").write_bytes(quants.dequantize(blocks, Type[name]).astype(np.float32).tobytes())

words = rng.integers(0, 2**16, 1024, dtype=np.uint16)
half = words[np.isfinite(words.view(np.float16))][:512]
(OUT / "F16.packed").write_bytes(half.tobytes())
(OUT / "F16.f32").write_bytes(half.view(np.float16).astype(np.float32).tobytes())
bfloat = words[(words & 0x7f80) != 0x7f80][:512]
(OUT / "BF16.packed").write_bytes(bfloat.tobytes())
(OUT / "BF16.f32").write_bytes((bfloat.astype(np.uint32) << 16).view(np.float32).tobytes())
