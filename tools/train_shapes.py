#!/usr/bin/env python3
"""Trains the text-to-image model of shapes (shapes_model.py) on scenes drawn on the fly (shapes_scenes.py).

    train_shapes.py --steps 18000 --output examples/weights/shapes.safetensors --log docs/training/shapes_log.txt
                    --curve docs/training/shapes_loss.svg [--state FILE --minutes 9]
With --minutes, training stops early and writes --state; the same command then resumes it. The committed weights are two
such trainings: the second had --init (the weights of the first) --seed 21 --lr 1.5e-3 --stop 8500.

Rectified flow: x_t = (1 - t) x0 + t noise, the target is noise - x0, mean squared error, t logit-normal (LOGIT_MEAN,
LOGIT_STD) mixed with UNIFORM uniform draws; a tenth of the prompts is emptied for guidance. AdamW, cosine schedule,
exponential moving average of the weights, which is what is scored and saved (as bfloat16). Held-out combinations are
never drawn in training and are all that is scored.
"""
from __future__ import annotations

import argparse
import copy
import json
import math
import os
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from score_shapes import score
from shapes_model import CONFIG, ShapesModel, load, sample
from shapes_scenes import BOS, PAD, VOCABULARY, SceneSampler, captions, render
from to_safetensors import write_safetensors

LOGIT_MEAN, LOGIT_STD, UNIFORM = 0.8, 1.2, 0.1
DROPOUT = 0.1  # of prompts
BETAS, WEIGHT_DECAY, CLIP = (0.9, 0.99), 0.01, 1.0
EMA_DECAY = 0.999


def draw_batch(sampler: SceneSampler, batch: int, painter) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pictures x0, noise, times t in (0, 1) and token ids, all from the sampler's generator."""
    scenes = sampler.scenes(batch)
    x0 = painter(scenes, *sampler.layout(scenes))
    ids = captions(scenes, sampler.wording(batch))
    dropped = sampler.uniform(batch, 1) < DROPOUT
    ids = torch.where(dropped, torch.where(ids == BOS, BOS, PAD), ids)
    noise = torch.randn(x0.shape, device=x0.device, generator=sampler.generator)
    normal = torch.randn(batch, device=x0.device, generator=sampler.generator)
    t = torch.sigmoid(LOGIT_MEAN + LOGIT_STD * normal)
    t = torch.where(sampler.uniform(batch) < UNIFORM, sampler.uniform(batch), t)
    return x0, noise, t, ids


def flow_loss(model: ShapesModel, x0: Tensor, noise: Tensor, t: Tensor, ids: Tensor) -> Tensor:
    mix = t[:, None, None, None]
    velocity = model((1 - mix) * x0 + mix * noise, ids, 1000 * t)
    return F.mse_loss(velocity.float(), noise - x0)


def learning_rate(step: int, options: argparse.Namespace) -> float:
    if step < options.warmup:
        return options.lr * (step + 1) / options.warmup
    return options.lr * 0.5 * (1 + math.cos(math.pi * (step - options.warmup) / (options.steps - options.warmup)))


def evaluate(model: ShapesModel, count: int, steps: int, guidance: float, shift: float, seed: int = 1) -> str:
    """Accuracy of guided samples for `count` held-out pairs, as a line of text."""
    device = next(model.parameters()).device
    sampler = SceneSampler(device, seed, held_out=True, alone=0.0)
    scenes = sampler.scenes(count)
    ids = captions(scenes, sampler.wording(count))
    noise = torch.randn(count, 3, 64, 64, device=device, generator=sampler.generator)
    says = (ids == VOCABULARY.index("background")).any(1)
    asked = scenes._replace(background=torch.where(says, scenes.background, -1))
    result = score(sample(model, ids, noise, steps, guidance, shift), asked)
    return (f"held-out pairs {count} steps {steps} guidance {guidance:g} shift {shift:g}: colour {result.colour:.4f} "
            f"shape {result.shape:.4f} relation {result.relation:.4f} "
            f"background {result.background / says.float().mean().item():.4f} "
            f"all {1 - len(result.failures) / count:.4f}")


def save(path: str, model: nn.Module) -> None:
    tensors = {name: value.to(torch.bfloat16) for name, value in model.state_dict().items()}
    metadata = {"format": "pt", "config": json.dumps(CONFIG), "vocabulary": json.dumps(VOCABULARY)}
    write_safetensors(path, tensors, metadata)


def draw_curve(path: str, log: list[str]) -> None:
    """An SVG of the loss, logarithmic, against the step; the steps of a continued training follow on."""
    points: list[tuple[int, float]] = []
    before = step = 0
    for words in map(str.split, log):
        if words[0] == "step":
            before, step = before + (step if int(words[1]) < step else 0), int(words[1])
            points.append((before + step, float(words[3])))
    low = math.floor(10 * math.log10(min(loss for _, loss in points))) / 10
    high = math.ceil(10 * math.log10(max(loss for _, loss in points))) / 10
    last = points[-1][0]

    def place(step: float, log_loss: float) -> tuple[float, float]:
        return 60 + 620 * step / last, 20 + 300 * (high - log_loss) / (high - low)

    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 370" font-family="sans-serif" font-size="12">',
             '<rect width="700" height="370" fill="white"/>']
    for i in range(6):
        x, y = place(last * i / 5, high + (low - high) * i / 5)
        parts.append(f'<path d="M60 {y:.1f}H680M{x:.1f} 20V320" stroke="#ddd"/>')
        parts.append(f'<text x="54" y="{y + 4:.1f}" text-anchor="end">{10 ** (high + (low - high) * i / 5):.3g}</text>')
        parts.append(f'<text x="{x:.1f}" y="336" text-anchor="middle">{last * i // 5}</text>')
    line = " ".join("{:.1f},{:.1f}".format(*place(step, math.log10(loss))) for step, loss in points)
    parts += [f'<polyline points="{line}" fill="none" stroke="#1947a8" stroke-width="1.5"/>',
              '<text x="370" y="358" text-anchor="middle">step</text>',
              '<text x="66" y="14">training loss (mean squared error of the velocity)</text>', "</svg>"]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(parts) + "\n")


def train(options: argparse.Namespace) -> None:
    begin = time.time()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(options.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    model = ShapesModel(CONFIG)
    model.initialise()
    model.to(device)
    ema = copy.deepcopy(model).requires_grad_(False).eval()
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}]
    fused = {"fused": True} if device.type == "cuda" else {}
    optimizer = torch.optim.AdamW(groups, lr=options.lr, betas=BETAS, **fused)
    sampler = SceneSampler(device, options.seed)
    step, earlier = 0, 0.0  # `earlier`: seconds of the runs that this one resumes
    lines: list[str] = []

    def say(text: str) -> None:
        print(text, flush=True)
        lines.append(text)
        with open(options.log, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    if options.state and os.path.exists(options.state):
        state = torch.load(options.state, map_location=device)
        model.load_state_dict(state["model"])
        ema.load_state_dict(state["ema"])
        optimizer.load_state_dict(state["optimizer"])
        sampler.generator.set_state(state["generator"].cpu())
        step, lines, earlier = state["step"], state["lines"], state["seconds"]
    else:
        if options.init:
            for network in (model, ema):
                network.load_state_dict(load(options.init)[0].state_dict())
            if os.path.exists(options.log):
                with open(options.log, encoding="utf-8") as file:
                    lines = file.read().splitlines()
            say(f"# continued from {os.path.basename(options.init)}")
        count = sum(p.numel() for p in model.parameters())
        table = sum(b.numel() for b in model.buffers())
        say(f"# {count} parameters + {table} position table; seed {options.seed}, batch {options.batch}, "
            f"{options.steps} steps, lr {options.lr:g}, warm-up {options.warmup}, AdamW {BETAS}, "
            f"weight decay {WEIGHT_DECAY}, clip {CLIP:g}, EMA {EMA_DECAY}, prompt dropout {DROPOUT}, "
            f"t logit-normal({LOGIT_MEAN}, {LOGIT_STD}) + {UNIFORM} uniform; PyTorch {torch.__version__}, "
            f"{torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'}, bfloat16 autocast")
    end = options.stop or options.steps
    loss_of, painter = (torch.compile(flow_loss), torch.compile(render)) if options.compile else (flow_loss, render)

    total, since, reported = torch.zeros((), device=device), time.time(), step
    while step < end:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options)
        inputs = draw_batch(sampler, options.batch, painter)
        with torch.autocast(device.type, torch.bfloat16):
            loss = loss_of(model, *inputs)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        with torch.no_grad():
            decay = min(EMA_DECAY, (1 + step) / (10 + step))
            torch._foreach_mul_(list(ema.parameters()), decay)
            torch._foreach_add_(list(ema.parameters()), list(model.parameters()), alpha=1 - decay)
        total += loss.detach()
        if step % options.report == 0 or step == end:
            mean = total.item() / (step - reported)
            rate = options.batch * (step - reported) / (time.time() - since)
            say(f"step {step} loss {mean:.5f} grad {norm.item():.3f} lr {learning_rate(step - 1, options):.2e} "
                f"pictures/s {rate:.0f} elapsed {earlier + time.time() - begin:.0f} s")
            total.zero_()
            since, reported = time.time(), step
            if not math.isfinite(mean):
                raise SystemExit("the loss is not finite")
            stop = options.minutes and time.time() - begin > 60 * options.minutes and step < end
            if stop or step == end or step % options.evaluate == 0:
                say(evaluate(ema, options.score, CONFIG["steps"], CONFIG["guidance"], CONFIG["scheduler"]["shift"]))
                save(options.output, ema)
                draw_curve(options.curve, lines)
                since = time.time()
            if stop:
                torch.save({"model": model.state_dict(), "ema": ema.state_dict(), "optimizer": optimizer.state_dict(),
                            "generator": sampler.generator.get_state(), "step": step, "lines": lines,
                            "seconds": earlier + time.time() - begin}, options.state)
                return
    final, _ = load(options.output)
    final.to(device)
    say(evaluate(final, 4 * options.score, CONFIG["steps"], CONFIG["guidance"], CONFIG["scheduler"]["shift"], seed=2))
    for steps, guidance, shift in options.grid or []:
        say(evaluate(final, 2 * options.score, int(steps), guidance, shift, seed=3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=18000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--warmup", type=int, default=500)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--report", type=int, default=100, help="steps between log lines")
    parser.add_argument("--evaluate", type=int, default=1500, help="steps between scores, a multiple of --report")
    parser.add_argument("--score", type=int, default=512, help="pictures a score takes (four times as many at the end)")
    parser.add_argument("--output", default="examples/weights/shapes.safetensors")
    parser.add_argument("--log", default="docs/training/shapes_log.txt")
    parser.add_argument("--curve", default="docs/training/shapes_loss.svg")
    parser.add_argument("--init", default="", help="start from these weights and continue their log")
    parser.add_argument("--state", default="", help="where an interrupted run is kept")
    parser.add_argument("--stop", type=int, default=0, help="end at this step of the schedule, a multiple of --report")
    parser.add_argument("--minutes", type=float, default=0, help="stop, and write --state, after this long")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--grid", type=lambda s: [tuple(map(float, item.split(","))) for item in s.split()],
                        help="further settings to score at the end: 'steps,guidance,shift ...'")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
