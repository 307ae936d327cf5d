#!/usr/bin/env python3
"""Scores pictures of shapes against the scenes they should show, by geometry alone.

Every pixel gets the nearest of the eight colours; the most frequent colour of the frame is the background. An object is
a 4-connected region of one other colour with at least MIN_INTERIOR pixels whose four neighbours belong to it (which
drops the mixed colours along edges), holes filled. Its shape is the one whose ideal picture of equal area and centroid
overlaps it best. Objects found are matched with the objects asked for so that most attributes agree. A relation holds
if exactly two objects were found and their centroids (or, for `inside`, the regions) lie as asked.
"""
from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from shapes_scenes import INSIDE, RGB, SHAPES, SIDE, Scenes, covers

MIN_INTERIOR = 6


class Object(NamedTuple):
    colour: int
    shape: int
    mask: Tensor  # [SIDE, SIDE] bool, holes filled
    x: float
    y: float


class Score(NamedTuple):
    colour: float
    shape: float
    relation: float
    background: float
    failures: list[int]


def shifts(image: Tensor, fill: int) -> Tensor:
    """The four neighbours of every pixel, [4, B, SIDE, SIDE]."""
    padded = F.pad(image, (1, 1, 1, 1), value=fill)
    return torch.stack([padded[:, 1:-1, :-2], padded[:, 1:-1, 2:], padded[:, :-2, 1:-1], padded[:, 2:, 1:-1]])


def regions(labels: Tensor) -> Tensor:
    """The smallest pixel index of each 4-connected region of equal labels, at all its pixels."""
    same = shifts(labels, -1) == labels
    index = torch.arange(SIDE * SIDE, device=labels.device).view(1, SIDE, SIDE).expand_as(labels).contiguous()
    while True:
        known = index
        for _ in range(16):
            index = torch.minimum(index, torch.where(same, shifts(index, 0), SIDE * SIDE).min(0).values)
        if torch.equal(index, known):
            return index


def fill_holes(masks: Tensor) -> Tensor:
    parts = regions(masks.long())
    frame = torch.cat([parts[:, 0], parts[:, -1], parts[:, :, 0], parts[:, :, -1]], 1)
    outside = torch.zeros(masks.shape[0], SIDE * SIDE, dtype=torch.bool, device=masks.device).scatter(1, frame, True)
    return masks | ~outside.gather(1, parts.flatten(1)).view_as(masks)


def nearest_shape(masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shape index and centroid (x, y) of each mask [n, SIDE, SIDE]."""
    pixel = torch.arange(SIDE, device=masks.device) + 0.5
    area = masks.flatten(1).sum(1).float()
    x = (masks * pixel[None, None]).flatten(1).sum(1) / area
    y = (masks * pixel[None, :, None]).flatten(1).sum(1) / area
    fine = torch.linspace(-1.2, 1.2, 481, device=masks.device)
    overlaps = []
    for k in range(len(SHAPES)):
        kind = torch.tensor(k, device=masks.device)
        unit = covers(kind, fine[None], fine[:, None])
        unit_area = unit.sum() * (fine[1] - fine[0]) ** 2
        unit_y = (unit * fine[:, None]).sum() / unit.sum()
        radius = (area / unit_area).sqrt()[:, None, None]
        ideal = covers(kind, (pixel - x[:, None, None]) / radius, (pixel[:, None] - y[:, None, None]) / radius + unit_y)
        overlaps.append((ideal & masks).flatten(1).sum(1) / (ideal | masks).flatten(1).sum(1))
    return torch.stack(overlaps).argmax(0), x, y


def find_objects(images: Tensor) -> tuple[list[list[Object]], Tensor]:
    """The objects of each picture [B, 3, SIDE, SIDE] in [-1, 1], and the background colours [B]."""
    palette = torch.tensor(RGB, device=images.device, dtype=torch.float32) / 127.5 - 1
    labels = (images.float()[:, None] - palette[None, :, :, None, None]).square().sum(2).argmin(1)
    frame = torch.cat([labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]], 1)
    background = F.one_hot(frame, len(RGB)).sum(1).argmax(1)
    index = regions(labels)
    interior = (shifts(index, -1) == index).all(0)
    weight = torch.zeros(labels.shape[0], SIDE * SIDE, device=labels.device).scatter_add(
        1, index.flatten(1), interior.flatten(1).float())
    owner, root = (weight >= MIN_INTERIOR).nonzero(as_tuple=True)
    colour = labels.flatten(1)[owner, root]
    keep = colour != background[owner]
    owner, root, colour = owner[keep], root[keep], colour[keep]
    masks = fill_holes(index[owner] == root[:, None, None])
    shape, x, y = nearest_shape(masks)
    found: list[list[Object]] = [[] for _ in range(images.shape[0])]
    for i, item in enumerate(zip(owner.tolist(), colour.tolist(), shape.tolist(), x.tolist(), y.tolist())):
        found[item[0]].append(Object(item[1], item[2], masks[i], item[3], item[4]))
    return found, background


def holds(relation: int, first: Object, second: Object) -> bool:
    if relation == INSIDE:
        return bool((second.mask | ~first.mask).all()) and not torch.equal(first.mask, second.mask)
    across, down = second.x - first.x, second.y - first.y
    if relation < 2:
        return abs(down) > abs(across) and (down > 0) == (relation == 0)
    return abs(across) > abs(down) and (across > 0) == (relation == 2)


def score(images: Tensor, scenes: Scenes) -> Score:
    """Shares of right colours and shapes (over objects), relations (over pairs) and backgrounds (over pictures)."""
    found, background = find_objects(images)
    colours = shapes = objects = relations = pairs = 0
    failures = []
    for i, seen in enumerate(found):
        relation = int(scenes.relation[i])
        asked = list(zip(scenes.colour[i].tolist(), scenes.shape[i].tolist()))[:2 if relation >= 0 else 1]
        best = (-1, False, 0, 0)
        indices: list = list(range(len(seen))) + [None] * len(asked)
        for a in indices:
            for b in indices if len(asked) == 2 else [None]:
                if a is not None and a == b:
                    continue
                match = [None if j is None else seen[j] for j in (a, b)[:len(asked)]]
                c = sum(m is not None and m.colour == want[0] for m, want in zip(match, asked))
                s = sum(m is not None and m.shape == want[1] for m, want in zip(match, asked))
                right = len(asked) == 2 and len(seen) == 2 and None not in match and holds(relation, match[0], match[1])
                best = max(best, (c + s, right, c, s))
        objects += len(asked)
        colours, shapes = colours + best[2], shapes + best[3]
        pairs, relations = pairs + (len(asked) == 2), relations + best[1]
        if best[0] < 2 * len(asked) or (len(asked) == 2 and not best[1]) or len(seen) != len(asked):
            failures.append(i)
    ground = (background == scenes.background).float().mean().item()
    return Score(colours / objects, shapes / objects, relations / max(pairs, 1), ground, failures)
