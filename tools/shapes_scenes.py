#!/usr/bin/env python3
"""Captioned scenes of one or two coloured shapes: grammar, vocabulary, held-out set and a batched renderer.

Grammar (words separated by white space, case-insensitive):
    prompt  = object [relation object] ["on" article colour "background"]
    object  = [article] [size] colour shape          article = a | an, optional everywhere
    relation = above | below | left of | right of | inside          (first object RELATION second object)
Never drawn: a background of the colour of an object, and `inside` with both objects of one colour.

Held out: a combination is "colour shape relation colour shape", one space between words, the relation as written. It
is held out, and never drawn in training, if the 64-bit FNV-1a hash of its UTF-8 bytes is 0 modulo 10.

Tokens: MAX_TOKENS = 16 ids: <bos>, one id per word (articles included, "left of" is two words), then <pad>.
The empty prompt (classifier-free guidance) is <bos> and 15 <pad>. No mask is ever applied.

Picture: 64x64 RGB; a byte b stands for b / 127.5 - 1. Pixel (row r, column c) covers [c, c+1] x [r, r+1], y is down.
Edges are smoothed by 4x4 samples a pixel. Painting order: background, second object, first object.
Shapes about their centre, of radius R; |x|, |y| <= E = 1.15 R for all:
    circle    x^2 + y^2 <= R^2
    square    |x|, |y| <= 0.886 R
    triangle  corners (0, -0.9375 R) and (+-1.0825 R, 0.9375 R), apex up
    star      five outer corners at radius 1.15 R (one straight up), inner corners at 0.55 R
    cross     |x| <= 0.4 R, |y| <= 1.05 R, or the same with x and y exchanged
Radii are uniform in ALONE, BESIDE or OUTER. The inner object of `inside` has R = f min((rho R_outer - 1.5) / kappa,
0.55 R_outer), f uniform in INNER, rho the outer's INSCRIBED and kappa the inner's CIRCUMSCRIBED radius at R = 1, and
the two anchors coincide; the anchor is the centre, for the triangle (0, 0.3125 R). All stay 1 pixel off the frame.
Beside each other along the relation's axis: gap in [2, min(10, what is free)], the pair anywhere; across it: a common
coordinate and up to 3 pixels each. Colours, shapes, relations, sizes and backgrounds are uniform over what is allowed.
"""
from __future__ import annotations

import argparse
import math
from typing import NamedTuple, Optional

import torch
from torch import Tensor

SIDE = 64
SAMPLES = 4  # per pixel and axis
SIZES = ["small", "medium", "large"]
COLOURS = ["red", "green", "blue", "yellow", "orange", "purple", "white", "black"]
SHAPES = ["circle", "square", "triangle", "star", "cross"]
RELATIONS = ["above", "below", "left of", "right of", "inside"]
INSIDE = 4
VOCABULARY = (["<pad>", "<bos>", "a", "an"] + SIZES + COLOURS + SHAPES
              + ["above", "below", "left", "right", "of", "inside", "on", "background"])
PAD, BOS = 0, 1
MAX_TOKENS = 16
RGB = [(225, 25, 25), (0, 150, 60), (25, 75, 225), (255, 225, 0),
       (255, 135, 0), (145, 40, 180), (255, 255, 255), (0, 0, 0)]

EXTENT = 1.15
ALONE = [(7.0, 9.0), (11.5, 14.5), (18.0, 22.0)]  # radius by size
BESIDE = [(5.5, 6.5), (8.0, 9.5), (11.0, 12.5)]
OUTER = [(20.0, 21.0), (22.5, 24.0), (25.5, 26.5)]
INNER = [(0.72, 0.76), (0.84, 0.88), (0.96, 1.0)]  # share of the room that the outer object leaves
INSCRIBED = [1.0, 0.886, 0.625, 0.55, 0.4 * math.sqrt(2)]  # by shape, about the anchor, at R = 1
CIRCUMSCRIBED = [1.0, 1.253, 1.25, 1.15, 1.124]
ANCHOR_Y = [0.0, 0.0, 0.3125, 0.0, 0.0]


class Scenes(NamedTuple):
    """B scenes as tensors [B]; `relation` is -1 for a single object (then the second object means nothing)."""
    relation: Tensor
    colour: Tensor  # [B, 2]
    shape: Tensor  # [B, 2]
    size: Tensor  # [B, 2]
    background: Tensor


class Wording(NamedTuple):
    """Which optional words a caption holds."""
    articles: Tensor  # [B, 3] bool: first object, second object, background
    sizes: Tensor  # [B, 2] bool
    background: Tensor  # [B] bool


def fnv1a_64(text: str) -> int:
    value = 14695981039346656037
    for byte in text.encode("utf-8"):
        value = (value ^ byte) * 1099511628211 % 2**64
    return value


def combination(relation: int, colour: tuple[int, int], shape: tuple[int, int]) -> str:
    return f"{COLOURS[colour[0]]} {SHAPES[shape[0]]} {RELATIONS[relation]} {COLOURS[colour[1]]} {SHAPES[shape[1]]}"


def is_held_out(text: str) -> bool:
    return fnv1a_64(text) % 10 == 0


def combinations(held_out: bool) -> list[list[tuple[int, int, int, int]]]:
    """For each relation, the valid (colour, shape, colour, shape) that are, or are not, held out."""
    objects = [(colour, shape) for colour in range(len(COLOURS)) for shape in range(len(SHAPES))]
    return [[(c1, s1, c2, s2) for c1, s1 in objects for c2, s2 in objects
             if not (r == INSIDE and c1 == c2) and is_held_out(combination(r, (c1, c2), (s1, s2))) == held_out]
            for r in range(len(RELATIONS))]


def tokenize(prompt: str) -> list[int]:
    """The MAX_TOKENS ids of a prompt; ValueError names a word that is not in the vocabulary."""
    words = prompt.lower().split()
    for word in words:
        if word not in VOCABULARY[2:]:
            raise ValueError(f"unknown word '{word}'")
    if len(words) > MAX_TOKENS - 1:
        raise ValueError(f"{len(words)} words, at most {MAX_TOKENS - 1} fit")
    ids = [BOS] + [VOCABULARY.index(word) for word in words]
    return ids + [PAD] * (MAX_TOKENS - len(ids))


def detokenize(ids: list[int]) -> str:
    return " ".join(VOCABULARY[i] for i in ids if i not in (PAD, BOS))


class SceneSampler:
    """Draws scenes on `device`; held_out selects which side of the split the pairs come from."""

    def __init__(self, device: str | torch.device, seed: int, held_out: bool = False, alone: float = 0.25) -> None:
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.alone = alone
        by_relation = combinations(held_out)
        longest = max(map(len, by_relation))
        self.counts = torch.tensor([len(rows) for rows in by_relation], device=self.device)
        self.table = torch.tensor([rows + rows[:1] * (longest - len(rows)) for rows in by_relation], device=self.device)

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, device=self.device, generator=self.generator)

    def choose(self, count: Tensor | int, *shape: int) -> Tensor:
        limit = torch.as_tensor(count, device=self.device)
        return torch.minimum((self.uniform(*shape) * limit).long(), limit - 1)

    def scenes(self, batch: int) -> Scenes:
        relation = self.choose(len(RELATIONS), batch)
        pair = self.table[relation, self.choose(self.counts[relation], batch)]
        colour, shape = pair[:, 0::2].clone(), pair[:, 1::2].clone()
        single = self.uniform(batch) < self.alone
        first = torch.stack([self.choose(len(COLOURS), batch), self.choose(len(SHAPES), batch)], 1)
        colour[:, 0] = torch.where(single, first[:, 0], colour[:, 0])
        shape[:, 0] = torch.where(single, first[:, 1], shape[:, 0])
        lottery = self.uniform(batch, len(COLOURS)).scatter(1, colour[:, :1], -1.0)
        lottery = torch.where(single[:, None], lottery, lottery.scatter(1, colour[:, 1:], -1.0))
        size = self.choose(len(SIZES), batch, 2)
        return Scenes(torch.where(single, -1, relation), colour, shape, size, lottery.argmax(1))

    def wording(self, batch: int) -> Wording:
        return Wording(self.uniform(batch, 3) < 0.9, self.uniform(batch, 2) < 0.5, self.uniform(batch) < 0.5)

    def layout(self, scenes: Scenes) -> tuple[Tensor, Tensor]:
        """Centres [B, 2 objects, (x, y)] and radii [B, 2], random within the rules above."""
        batch = scenes.relation.shape[0]
        inside = scenes.relation == INSIDE
        place = torch.where(inside, 2, torch.where(scenes.relation < 0, 0, 1))

        def constant(values: list) -> Tensor:
            return torch.tensor(values, device=self.device)

        ranges = constant([ALONE, BESIDE, OUTER])[place[:, None], scenes.size]
        radius = ranges[..., 0] + (ranges[..., 1] - ranges[..., 0]) * self.uniform(batch, 2)
        share = constant(INNER)[scenes.size[:, 0]]
        share = share[:, 0] + (share[:, 1] - share[:, 0]) * self.uniform(batch)
        room = constant(INSCRIBED)[scenes.shape[:, 1]] * radius[:, 1] - 1.5
        room = room / constant(CIRCUMSCRIBED)[scenes.shape[:, 0]]
        radius[:, 0] = torch.where(inside, share * torch.minimum(room, 0.55 * radius[:, 1]), radius[:, 0])
        extent = EXTENT * radius

        anywhere = 1 + extent[..., None] + (SIDE - 2 - 2 * extent[..., None]) * self.uniform(batch, 2, 2)
        anchor = constant(ANCHOR_Y)[scenes.shape] * radius
        inner = anywhere[:, 1].clone()
        inner[:, 1] += anchor[:, 1] - anchor[:, 0]

        total = 2 * extent.sum(1)
        gap = 2 + ((SIDE - 2 - total).clamp(2, 10) - 2) * self.uniform(batch)
        start = 1 + (SIDE - 2 - total - gap) * self.uniform(batch)
        ahead = (scenes.relation == 0) | (scenes.relation == 2)  # the first object has the smaller coordinate
        near, far = torch.where(ahead, extent[:, 0], extent[:, 1]), torch.where(ahead, extent[:, 1], extent[:, 0])
        low, high = start + near, start + 2 * near + gap + far
        along = torch.stack([torch.where(ahead, low, high), torch.where(ahead, high, low)], 1)
        widest = extent.max(1).values
        across = (1 + widest + (SIDE - 2 - 2 * widest) * self.uniform(batch))[:, None] + 6 * self.uniform(batch, 2) - 3
        across = torch.minimum(torch.maximum(across, 1 + extent), SIDE - 1 - extent)
        vertical = (scenes.relation < 2)[:, None]
        beside = torch.stack([torch.where(vertical, across, along), torch.where(vertical, along, across)], 2)

        centre = torch.where((place == 1)[:, None, None], beside, anywhere)
        centre[:, 0] = torch.where(inside[:, None], inner, centre[:, 0])
        return centre, radius


def captions(scenes: Scenes, wording: Wording) -> Tensor:
    """Token ids [B, MAX_TOKENS] of the captions."""
    device, absent = scenes.relation.device, torch.full_like(scenes.relation, -1)

    def word(text: str) -> int:
        return VOCABULARY.index(text)

    def when(condition: Tensor, ids: Tensor | int) -> Tensor:
        return torch.where(condition, torch.as_tensor(ids, device=device), absent)

    def article(colour: Tensor) -> Tensor:
        return torch.where(colour == COLOURS.index("orange"), word("an"), word("a"))

    pair = scenes.relation >= 0
    first_words = torch.tensor([word(r.split()[0]) for r in RELATIONS], device=device)
    always = torch.ones_like(pair)
    slots = [absent + 1 + BOS]
    for i, present in enumerate((always, pair)):
        if i == 1:
            slots += [when(pair, first_words[scenes.relation.clamp(min=0)]),
                      when((scenes.relation == 2) | (scenes.relation == 3), word("of"))]
        before = torch.where(wording.sizes[:, i], word("a"), article(scenes.colour[:, i]))
        slots += [when(present & wording.articles[:, i], before),
                  when(present & wording.sizes[:, i], word("small") + scenes.size[:, i]),
                  when(present, word("red") + scenes.colour[:, i]), when(present, word("circle") + scenes.shape[:, i])]
    named = wording.background
    slots += [when(named, word("on")), when(named & wording.articles[:, 2], article(scenes.background)),
              when(named, word("red") + scenes.background), when(named, word("background"))]
    ids = torch.stack(slots, 1)
    order = torch.arange(ids.shape[1], device=device) + 100 * (ids < 0)
    ids = ids.gather(1, order.argsort(1))[:, :MAX_TOKENS].clamp(min=PAD)
    return torch.nn.functional.pad(ids, (0, MAX_TOKENS - ids.shape[1]), value=PAD)


def covers(shape: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Whether the shape of radius 1 holds the point (x, y)."""
    ax, ay = x.abs(), y.abs()
    angle = torch.atan2(x, -y).abs()  # from straight up
    fifth = 2 * math.pi / 5
    folded = torch.minimum(torch.remainder(angle, fifth), fifth - torch.remainder(angle, fifth))
    r = torch.sqrt(x * x + y * y)
    u, v = r * torch.cos(folded), r * torch.sin(folded)
    inner_u, inner_v = 0.55 * math.cos(fifth / 2), 0.55 * math.sin(fifth / 2)
    star = (inner_u - 1.15) * v - inner_v * (u - 1.15) >= 0
    circle = r <= 1
    square = torch.maximum(ax, ay) <= 0.886
    triangle = (y <= 0.9375) & (ax * (1.875 / 1.0825) - 0.9375 <= y)
    cross = (torch.minimum(ax, ay) <= 0.4) & (torch.maximum(ax, ay) <= 1.05)
    return torch.where(shape == 0, circle, torch.where(shape == 1, square, torch.where(
        shape == 2, triangle, torch.where(shape == 3, star, cross))))


def render(scenes: Scenes, centre: Tensor, radius: Tensor) -> Tensor:
    """Pictures [B, 3, SIDE, SIDE] in [-1, 1]."""
    device = centre.device
    first = torch.zeros(centre.shape[0], SIDE, SIDE, device=device)
    second = torch.zeros_like(first)
    pair = (scenes.relation >= 0)[:, None, None]
    pixel = torch.arange(SIDE, device=device)
    place = centre[..., None, None]
    scale, shape = radius[..., None, None], scenes.shape[..., None, None]
    for i in range(SAMPLES):
        for j in range(SAMPLES):
            y, x = (pixel + (i + 0.5) / SAMPLES)[:, None], (pixel + (j + 0.5) / SAMPLES)[None]
            hit = [covers(shape[:, k], (x - place[:, k, 0]) / scale[:, k], (y - place[:, k, 1]) / scale[:, k])
                   for k in range(2)]
            first = first + hit[0].float()
            second = second + (hit[1] & ~hit[0] & pair).float()
    palette = torch.tensor(RGB, device=device, dtype=torch.float32) / 127.5 - 1
    ground = palette[scenes.background][..., None, None]
    colour = palette[scenes.colour][..., None, None]
    weight = torch.stack([first, second], 1)[:, :, None] / SAMPLES**2
    return ground + weight[:, 0] * (colour[:, 0] - ground) + weight[:, 1] * (colour[:, 1] - ground)


def contact_sheet(images: Tensor, columns: int) -> bytes:
    """A binary PPM of pictures [B, 3, H, W] in [-1, 1], a white line between them."""
    images = (images.clamp(-1, 1) * 127.5 + 127.5).round().byte().cpu()
    images = torch.nn.functional.pad(images, (2, 2, 2, 2), value=200)
    blank = -images.shape[0] % columns
    images = torch.cat([images, images.new_full((blank, *images.shape[1:]), 200)])
    batch, channels, height, width = images.shape
    sheet = images.view(batch // columns, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    sheet = sheet.reshape(batch // columns * height, columns * width, channels).contiguous()
    return f"P6 {sheet.shape[1]} {sheet.shape[0]} 255\n".encode() + bytes(sheet.flatten().tolist())


def main(argv: Optional[list[str]] = None) -> None:
    parser = argparse.ArgumentParser(description="List the held-out combinations, or draw scenes to a PPM file.")
    parser.add_argument("--held-out", action="store_true", help="print every held-out combination")
    parser.add_argument("--draw", metavar="FILE", help="draw 64 scenes and print their captions")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    if options.held_out:
        for relation, rows in enumerate(combinations(held_out=True)):
            for c1, s1, c2, s2 in rows:
                print(combination(relation, (c1, c2), (s1, s2)))
    if options.draw:
        sampler = SceneSampler("cpu", options.seed)
        scenes = sampler.scenes(64)
        for ids in captions(scenes, sampler.wording(64)).tolist():
            print(detokenize(ids))
        with open(options.draw, "wb") as file:
            file.write(contact_sheet(render(scenes, *sampler.layout(scenes)), columns=8))


if __name__ == "__main__":
    main()
