#!/usr/bin/env python3
"""The text-to-image model of shapes: SD3's dual-stream transformer (names as in diffusers) and a small text encoder.

Text encoder, on the ids of shapes_scenes.tokenize (E = hidden_size, no mask):
    h = token_embedding[ids] + position_embedding[0 .. 15]
    per layer:  h = h + attn(norm1(h));  h = h + ff.net.2(gelu_tanh(ff.net.0.proj(norm2(h))))
    states = final_norm(h) -> encoder_hidden_states [B, 16, E];   states[:, 0] -> pooled_projections [B, E]
LayerNorm with weight and bias, eps 1e-5; attn is softmax(q k^T / sqrt(d)) v with biases everywhere.

Flow: x_t = (1 - t) x0 + t noise, velocity noise - x0, the transformer sees 1000 t. Sampling is Euler from t = 1 over
sigma = s u / (1 + (s - 1) u), u = linspace(1, 1/n, n), then 0, with v = v_null + guidance (v_prompt - v_null).
"""
from __future__ import annotations

import json
import math
import struct
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shapes_scenes import BOS, MAX_TOKENS, PAD, SIDE, VOCABULARY

CONFIG = {
    "transformer": {
        "sample_size": SIDE, "patch_size": 4, "in_channels": 3, "out_channels": 3, "num_layers": 6,
        "attention_head_dim": 32, "num_attention_heads": 4, "joint_attention_dim": 96, "caption_projection_dim": 128,
        "pooled_projection_dim": 96, "pos_embed_max_size": 16, "dual_attention_layers": [], "qk_norm": "rms_norm"},
    "text_encoder": {
        "vocab_size": len(VOCABULARY), "max_position_embeddings": MAX_TOKENS, "hidden_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 3, "intermediate_size": 384, "hidden_act": "gelu_tanh", "layer_norm_eps": 1e-5,
        "pad_token_id": PAD, "bos_token_id": BOS},
    "scheduler": {"shift": 3.0, "sigmas": "linspace_1_to_1_over_n"},
    "steps": 30,
    "guidance": 3.0,
}


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """[B, H, N, d] each -> [B, N, H d]."""
    if hasattr(F, "scaled_dot_product_attention"):
        out = F.scaled_dot_product_attention(q, k, v)
    else:
        out = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), -1) @ v
    return out.transpose(1, 2).flatten(2)


def heads(x: Tensor, count: int) -> Tensor:
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale[:, None]) + shift[:, None]


class RMSNorm(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        y = x if x.dtype == torch.float64 else x.float()
        return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + 1e-6) * self.weight.to(y.dtype)).to(x.dtype)


class Projection(nn.Module):
    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, out)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.proj(x), approximate="tanh")


class FeedForward(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([Projection(dim, hidden), nn.Identity(), nn.Linear(hidden, dim)])

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2](self.net[0](x))


class Modulation(nn.Module):
    def __init__(self, dim: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.linear = nn.Linear(dim, parts * dim)

    def forward(self, temb: Tensor) -> tuple[Tensor, ...]:
        return self.linear(F.silu(temb)).chunk(self.parts, -1)


class JointAttention(nn.Module):
    def __init__(self, dim: int, num_heads: int, pre_only: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, dim) for _ in range(3))
        self.add_q_proj, self.add_k_proj, self.add_v_proj = (nn.Linear(dim, dim) for _ in range(3))
        self.norm_q, self.norm_k, self.norm_added_q, self.norm_added_k = (RMSNorm(dim // num_heads) for _ in range(4))
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])
        self.to_add_out = None if pre_only else nn.Linear(dim, dim)

    def forward(self, x: Tensor, c: Tensor) -> tuple[Tensor, Optional[Tensor]]:
        h = self.num_heads
        q = torch.cat([self.norm_q(heads(self.to_q(x), h)), self.norm_added_q(heads(self.add_q_proj(c), h))], 2)
        k = torch.cat([self.norm_k(heads(self.to_k(x), h)), self.norm_added_k(heads(self.add_k_proj(c), h))], 2)
        v = torch.cat([heads(self.to_v(x), h), heads(self.add_v_proj(c), h)], 2)
        image, text = attention(q, k, v).split([x.shape[1], c.shape[1]], 1)
        return self.to_out[0](image), None if self.to_add_out is None else self.to_add_out(text)


class JointBlock(nn.Module):
    def __init__(self, dim: int, num_heads: int, pre_only: bool) -> None:
        super().__init__()
        self.norm1 = Modulation(dim, 6)
        self.norm1_context = Modulation(dim, 2 if pre_only else 6)
        self.attn = JointAttention(dim, num_heads, pre_only)
        self.ff = FeedForward(dim, 4 * dim)
        self.ff_context = None if pre_only else FeedForward(dim, 4 * dim)

    def forward(self, x: Tensor, c: Tensor, temb: Tensor) -> tuple[Tensor, Tensor]:
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = self.norm1(temb)
        context = self.norm1_context(temb)
        c_scale, c_shift = context if self.ff_context is None else (context[1], context[0])
        image, text = self.attn(modulate(x, shift, scale), modulate(c, c_shift, c_scale))
        x = x + gate[:, None] * image
        x = x + gate_mlp[:, None] * self.ff(modulate(x, shift_mlp, scale_mlp))
        if self.ff_context is not None:
            c = c + context[2][:, None] * text
            c = c + context[5][:, None] * self.ff_context(modulate(c, context[3], context[4]))
        return x, c


class PatchEmbed(nn.Module):
    def __init__(self, channels: int, dim: int, patch: int, side: int, table_side: int) -> None:
        super().__init__()
        self.side, self.table_side = side, table_side
        self.proj = nn.Conv2d(channels, dim, patch, patch)
        place = torch.arange(table_side, dtype=torch.float64) * (side / table_side)
        angle = place[:, None] * 10000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
        axis = torch.cat([angle.sin(), angle.cos()], 1)  # [table_side, dim / 2]
        table = torch.cat([axis[None].expand(table_side, -1, -1), axis[:, None].expand(-1, table_side, -1)], 2)
        self.register_buffer("pos_embed", table.reshape(1, table_side**2, dim).float())

    def forward(self, x: Tensor) -> Tensor:
        start = (self.table_side - self.side) // 2
        table = self.pos_embed.unflatten(1, (self.table_side, -1))[:, start:start + self.side, start:start + self.side]
        return self.proj(x).flatten(2).transpose(1, 2) + table.flatten(1, 2)


class MLP(nn.Module):
    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(dim, out), nn.Linear(out, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(x)))


class TimeTextEmbed(nn.Module):
    def __init__(self, dim: int, pooled: int) -> None:
        super().__init__()
        self.timestep_embedder, self.text_embedder = MLP(256, dim), MLP(pooled, dim)

    def forward(self, timestep: Tensor, pooled: Tensor) -> Tensor:
        rate = torch.exp(-math.log(10000) * torch.arange(128, device=timestep.device, dtype=timestep.dtype) / 128)
        angle = timestep[:, None] * rate
        wave = torch.cat([angle.cos(), angle.sin()], 1).to(self.timestep_embedder.linear_1.weight.dtype)
        return self.timestep_embedder(wave) + self.text_embedder(pooled)


class Transformer(nn.Module):
    def __init__(self, config: dict) -> None:
        super().__init__()
        self.patch, self.out_channels = config["patch_size"], config["out_channels"]
        num_heads = config["num_attention_heads"]
        dim, layers = num_heads * config["attention_head_dim"], config["num_layers"]
        side = config["sample_size"] // self.patch
        self.pos_embed = PatchEmbed(config["in_channels"], dim, self.patch, side, config["pos_embed_max_size"])
        self.time_text_embed = TimeTextEmbed(dim, config["pooled_projection_dim"])
        self.context_embedder = nn.Linear(config["joint_attention_dim"], dim)
        self.transformer_blocks = nn.ModuleList([JointBlock(dim, num_heads, i == layers - 1) for i in range(layers)])
        self.norm_out = Modulation(dim, 2)
        self.proj_out = nn.Linear(dim, self.patch**2 * self.out_channels)

    def forward(self, hidden_states: Tensor, encoder_hidden_states: Tensor, pooled: Tensor, timestep: Tensor) -> Tensor:
        temb = self.time_text_embed(timestep, pooled)
        x, c = self.pos_embed(hidden_states), self.context_embedder(encoder_hidden_states)
        for block in self.transformer_blocks:
            x, c = block(x, c, temb)
        scale, shift = self.norm_out(temb)
        x = self.proj_out(modulate(x, shift, scale))
        side, p = hidden_states.shape[-1] // self.patch, self.patch
        x = x.view(x.shape[0], -1, side, p, p, self.out_channels)
        return x.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


class SelfAttention(nn.Module):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, dim) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(dim, dim)])

    def forward(self, x: Tensor) -> Tensor:
        return self.to_out[0](attention(*(heads(f(x), self.num_heads) for f in (self.to_q, self.to_k, self.to_v))))


class TextLayer(nn.Module):
    def __init__(self, dim: int, num_heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn, self.ff = SelfAttention(dim, num_heads), FeedForward(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.ff(self.norm2(x))


class TextEncoder(nn.Module):
    def __init__(self, config: dict) -> None:
        super().__init__()
        dim = config["hidden_size"]
        self.token_embedding = nn.Embedding(config["vocab_size"], dim)
        self.position_embedding = nn.Embedding(config["max_position_embeddings"], dim)
        self.layers = nn.ModuleList([TextLayer(dim, config["num_attention_heads"], config["intermediate_size"])
                                     for _ in range(config["num_hidden_layers"])])
        self.final_norm = nn.LayerNorm(dim)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        x = self.token_embedding(ids) + self.position_embedding.weight[:ids.shape[1]]
        for layer in self.layers:
            x = layer(x)
        states = self.final_norm(x)
        return states, states[:, 0]


class ShapesModel(nn.Module):
    def __init__(self, config: dict) -> None:
        super().__init__()
        self.transformer = Transformer(config["transformer"])
        self.text_encoder = TextEncoder(config["text_encoder"])

    def initialise(self) -> None:
        """Xavier for projections, N(0, 0.02) for embeddings, zero for every modulation and the output (adaLN-Zero)."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                nn.init.xavier_uniform_(module.weight.flatten(1))
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        for module in self.modules():
            if isinstance(module, Modulation):
                nn.init.zeros_(module.linear.weight)
        nn.init.zeros_(self.transformer.proj_out.weight)

    def forward(self, x: Tensor, ids: Tensor, timestep: Tensor) -> Tensor:
        return self.transformer(x, *self.text_encoder(ids), timestep)


def sigmas(steps: int, shift: float) -> list[float]:
    base = torch.linspace(1, 1 / steps, steps)
    return (shift * base / (1 + (shift - 1) * base)).tolist() + [0.0]


@torch.no_grad()
def sample(model: ShapesModel, ids: Tensor, noise: Tensor, steps: int, guidance: float, shift: float) -> Tensor:
    """Guided Euler sampling, [B, 3, SIDE, SIDE], not clamped."""
    empty = torch.tensor([BOS] + [PAD] * (MAX_TOKENS - 1), device=ids.device).expand_as(ids)
    states, pooled = model.text_encoder(torch.cat([empty, ids]))
    x, schedule = noise, sigmas(steps, shift)
    for sigma, following in zip(schedule, schedule[1:]):
        timestep = torch.full((2 * x.shape[0],), 1000 * sigma, device=x.device, dtype=x.dtype)
        null, prompt = model.transformer(torch.cat([x, x]), states, pooled, timestep).chunk(2)
        x = x + (following - sigma) * (null + guidance * (prompt - null))
    return x


def load(path: str) -> tuple[ShapesModel, dict]:
    """The model of a bf16 safetensors file, widened to float32, and its config."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = bytearray(file.read())
    config = json.loads(header.pop("__metadata__")["config"])
    state = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        assert entry["dtype"] == "BF16", f"{name}: expected BF16"
        state[name] = torch.frombuffer(data[start:end], dtype=torch.bfloat16).reshape(entry["shape"]).float()
    model = ShapesModel(config)
    model.load_state_dict(state)
    return model.eval(), config
