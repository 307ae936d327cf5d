"""The research code that the tutorial ports: video and audio tokens, denoised together by dual-stream blocks."""
from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Snake(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.sin(self.alpha * x) ** 2 / self.alpha


class RMSNorm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class Stream(nn.Module):
    """What one stream owns: its norms, its projections, its feed-forward, and its modulation."""

    def __init__(self, dim: int, cond: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.ada = nn.Sequential(nn.SiLU(), nn.Linear(cond, 6 * dim))
        self.norm1 = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.q_norm, self.k_norm = RMSNorm(head_dim), RMSNorm(head_dim)
        self.proj = nn.Linear(heads * head_dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), Snake(4 * dim), nn.Linear(4 * dim, dim))

    def project(self, x: Tensor, shift: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.norm1(x) * (1 + scale) + shift
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [B, H, N, D] each
        return self.q_norm(q), self.k_norm(k), v


class PairBlock(nn.Module):
    def __init__(self, video: int, audio: int, cond: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.video = Stream(video, cond, heads, head_dim)
        self.audio = Stream(audio, cond, heads, head_dim)

    def forward(self, video: Tensor, audio: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        streams, x = (self.video, self.audio), [video, audio]
        rows = [s.ada(c).unsqueeze(1).chunk(6, dim=-1) for s in streams]
        sides = [s.project(x[i], rows[i][0], rows[i][1]) for i, s in enumerate(streams)]
        q, k, v = (torch.cat(part, dim=2) for part in zip(*sides))
        out = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), dim=-1) @ v
        out = out.transpose(1, 2).flatten(2).split([video.shape[1], audio.shape[1]], dim=1)
        for i, s in enumerate(streams):
            _, _, gate, shift_mlp, scale_mlp, gate_mlp = rows[i]
            x[i] = x[i] + gate * s.proj(out[i])
            x[i] = x[i] + gate_mlp * s.mlp(s.norm2(x[i]) * (1 + scale_mlp) + shift_mlp)
        return x[0], x[1]


class PairModel(nn.Module):
    def __init__(self, video_in: int = 8, audio_in: int = 4, video: int = 24, audio: int = 16, cond: int = 16,
                 heads: int = 2, head_dim: int = 8, depth: int = 2) -> None:
        super().__init__()
        self.cond = cond
        self.time = nn.Sequential(nn.Linear(cond, cond), nn.SiLU(), nn.Linear(cond, cond))
        self.video_in, self.audio_in = nn.Linear(video_in, video), nn.Linear(audio_in, audio)
        self.blocks = nn.ModuleList(PairBlock(video, audio, cond, heads, head_dim) for _ in range(depth))
        self.video_out, self.audio_out = nn.Linear(video, video_in), nn.Linear(audio, audio_in)

    def forward(self, video: Tensor, audio: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        half = self.cond // 2
        angles = 1000 * t[:, None] * torch.exp(-math.log(10000) * torch.arange(half, device=t.device) / half)
        c = self.time(torch.cat([angles.cos(), angles.sin()], dim=-1))
        video, audio = self.video_in(video), self.audio_in(audio)
        for block in self.blocks:
            video, audio = block(video, audio, c)
        return self.video_out(video), self.audio_out(audio)
