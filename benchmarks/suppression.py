"""Speed of new-object suppression: on regions, and by a Python loop over pixels. Both must give equal results.

    python benchmarks/suppression.py                      # 1,000 masks of 160x240, both ways
    python benchmarks/suppression.py --masks 200

The masks resemble those of a forecaster: six objects, one or two of them of an unknown class, and small fragments.
The time is CPU time, so other work on the machine does not count.
"""

import argparse
import time

import numpy as np

from vidseg_utils.classes import N_CLASSES
from vidseg_utils.systems.suppression.rules import CLASS_DISTANCE, SMALL_PX, suppress_new_objects
from vidseg_utils.task import HEIGHT, WIDTH

NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def suppress_pixel_by_pixel(mask: np.ndarray, known: np.ndarray, *, small_px: float) -> np.ndarray:
    """The rule tree for one mask (H, W) uint8 and known (49,) bool, written as a loop over pixels."""
    answer = mask.copy()
    for pixels in _regions(mask):
        class_id = int(mask[pixels[0]])
        if known[class_id]:
            continue
        border = _known_border(mask, pixels, known)
        if border:
            decided = min(border, key=lambda other: (-border[other], other))
        elif len(pixels) < small_px or not known.any():
            decided = 0
        else:
            seen = [other for other in range(1, N_CLASSES) if known[other]]
            decided = min(seen, key=lambda other: (CLASS_DISTANCE[class_id, other], other))
        for pixel in pixels:
            answer[pixel] = decided
    for pixels in _regions(answer.copy()):
        if len(pixels) < small_px:
            for pixel in pixels:
                answer[pixel] = 0
    return answer


def _regions(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """The pixels (row, column) of each object region."""
    height, width = mask.shape
    visited = np.zeros(mask.shape, dtype=bool)
    regions = []
    for row in range(height):
        for column in range(width):
            if mask[row, column] == 0 or visited[row, column]:
                continue
            pixels, waiting = [], [(row, column)]
            visited[row, column] = True
            while waiting:
                y, x = waiting.pop()
                pixels.append((y, x))
                for dy, dx in NEIGHBOURS:
                    below, right = y + dy, x + dx
                    inside = 0 <= below < height and 0 <= right < width
                    if inside and not visited[below, right] and mask[below, right] == mask[row, column]:
                        visited[below, right] = True
                        waiting.append((below, right))
            regions.append(pixels)
    return regions


def _known_border(mask: np.ndarray, pixels: list[tuple[int, int]], known: np.ndarray) -> dict[int, int]:
    """Length of the region's border with each known class, in sides of pixels."""
    height, width = mask.shape
    border: dict[int, int] = {}
    for y, x in pixels:
        for dy, dx in NEIGHBOURS:
            below, right = y + dy, x + dx
            if 0 <= below < height and 0 <= right < width:
                other = int(mask[below, right])
                if known[other] and other != mask[y, x]:
                    border[other] = border.get(other, 0) + 1
    return border


def make_masks(n_masks: int, *, height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> tuple[np.ndarray, ...]:
    """(N, H, W) uint8 masks, and the known classes (N, 49) bool: most of those in the mask, and a few others."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    masks = np.zeros((n_masks, height, width), dtype=np.uint8)
    known = rng.random((n_masks, N_CLASSES)) < 0.05
    known[:, 0] = False
    for mask, seen in zip(masks, known, strict=True):
        for class_id in rng.choice(np.arange(1, N_CLASSES), size=6, replace=False):
            y, x, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0.06, 0.13) * height
            mask[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = class_id
            seen[class_id] = rng.random() < 0.75
        objects = np.flatnonzero(mask)
        for pixel in rng.choice(objects, size=min(12, len(objects)), replace=False):
            y, x = divmod(int(pixel), width)
            mask[y : y + rng.integers(1, 5), x : x + rng.integers(1, 5)] = rng.integers(N_CLASSES)
    return masks, known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5, help="of the version on regions; the fastest one is reported")
    arguments = parser.parse_args()
    masks, known = make_masks(arguments.masks)

    fast_ms = float("inf")
    for _ in range(arguments.repeats):
        start = time.process_time()
        fast = suppress_new_objects(masks, known, small_px=SMALL_PX)
        fast_ms = min(fast_ms, 1000 * (time.process_time() - start) / len(masks))
    start = time.process_time()
    slow = np.stack(
        [suppress_pixel_by_pixel(mask, seen, small_px=SMALL_PX) for mask, seen in zip(masks, known, strict=True)]
    )
    slow_ms = 1000 * (time.process_time() - start) / len(masks)
    if not np.array_equal(fast, slow):
        raise SystemExit(f"the two results differ in {int((fast != slow).any(axis=(1, 2)).sum())} masks")

    print(f"{len(masks)} masks of {masks.shape[1]}x{masks.shape[2]}; {(fast != masks).mean():.2%} of the pixels change")
    print(f"{'':24}{'ms per mask':>12}")
    print(f"{'loop over pixels':24}{slow_ms:12.3f}")
    print(f"{'regions':24}{fast_ms:12.3f}")
    print(f"equal results; {slow_ms / fast_ms:.0f} times as fast")


if __name__ == "__main__":
    main()
