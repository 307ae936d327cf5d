"""Writes the golden case of the tutorial's model: dump.py [FILE], from the root of the repository."""
import sys

import torch

sys.path += ["tools", "docs/tutorial"]
from dump_case import dump_case
from pair_model import PairModel

torch.manual_seed(0)
config = {"video_in": 8, "audio_in": 4, "video": 24, "audio": 16, "cond": 16, "heads": 2, "head_dim": 8, "depth": 2}
model = PairModel(**config)
for parameter in model.parameters():  # away from ones and zeros, so that nothing is right by chance
    torch.nn.init.normal_(parameter, mean=0.5 if parameter.ndim == 1 else 0.0, std=0.2)

inputs = {"video": torch.randn(2, 6, 8), "audio": torch.randn(2, 5, 4), "t": torch.tensor([0.25, 0.75])}
inside = [f"blocks.{i}.{s}.{part}" for i in range(2) for s in ("video", "audio") for part in ("qkv", "proj", "mlp")]
target = sys.argv[1] if len(sys.argv) > 1 else "tests/golden/tutorial/pair_model.safetensors"
dump_case(target, model, inputs, system="tutorial.pair_model", case="pair_model", config=config,
          output_names=["video", "audio"], inside=inside, source="docs/tutorial/dump.py",
          call=lambda m, video, audio, t: m(video, audio, t.detach()))  # nobody asks for the gradient of the time
print(target)
